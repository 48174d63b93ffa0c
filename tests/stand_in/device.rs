//! The calls about one card.

use std::ffi::{CStr, c_char, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings as nv;

use crate::{Code, call, handle_of, on_card, put, put_text};

const MIB: u64 = 1024 * 1024;
const INVALID: Code = nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const UNSUPPORTED: Code = nv::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
const NOT_FOUND: Code = nv::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
const LOST: Code = nv::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Code {
    call("nvmlDeviceGetCount_v2", |state| put(count, state.cards.len() as c_uint))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nv::nvmlDevice_t) -> Code {
    call("nvmlDeviceGetHandleByIndex_v2", |state| {
        let card = state.cards.get(index as usize).ok_or(INVALID)?;
        match card.lost {
            true => Err(LOST),
            false => put(device, handle_of(&card.uuid)?),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    device: *mut nv::nvmlDevice_t,
) -> Code {
    call("nvmlDeviceGetHandleByUUID", |state| {
        if uuid.is_null() {
            return Err(INVALID);
        }
        // SAFETY: the interface asks for a text that ends with NUL, and it is not null.
        let uuid = unsafe { CStr::from_ptr(uuid) }.to_str().map_err(|_| INVALID)?;
        let card = state.find(uuid).ok_or(NOT_FOUND)?;
        match card.lost {
            true => Err(LOST),
            false => put(device, handle_of(&card.uuid)?),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(
    device: nv::nvmlDevice_t,
    uuid: *mut c_char,
    length: c_uint,
) -> Code {
    on_card("nvmlDeviceGetUUID", device, |_, card| put_text(uuid, length, &card.uuid))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetName(
    device: nv::nvmlDevice_t,
    name: *mut c_char,
    length: c_uint,
) -> Code {
    on_card("nvmlDeviceGetName", device, |_, card| put_text(name, length, &card.name))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPciInfo_v3(
    device: nv::nvmlDevice_t,
    pci: *mut nv::nvmlPciInfo_t,
) -> Code {
    on_card("nvmlDeviceGetPciInfo_v3", device, |_, card| {
        let part = |n: usize| {
            let text = card.pci.split([':', '.']).nth(n).unwrap_or_default();
            c_uint::from_str_radix(text, 16).unwrap_or_default()
        };
        let mut info = nv::nvmlPciInfo_t {
            busIdLegacy: [0; 16],
            domain: part(0),
            bus: part(1),
            device: part(2),
            pciDeviceId: 0,
            pciSubSystemId: 0,
            busId: [0; 32],
        };
        for (place, byte) in info.busId.iter_mut().take(31).zip(card.pci.bytes()) {
            *place = byte.cast_signed() as c_char;
        }
        // The legacy form has four digits of the domain.
        for (place, byte) in info.busIdLegacy.iter_mut().take(15).zip(card.pci.bytes().skip(4)) {
            *place = byte.cast_signed() as c_char;
        }
        put(pci, info)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMinorNumber(device: nv::nvmlDevice_t, minor: *mut c_uint) -> Code {
    on_card("nvmlDeviceGetMinorNumber", device, |_, card| put(minor, card.minor))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nv::nvmlDevice_t,
    memory: *mut nv::nvmlMemory_v2_t,
) -> Code {
    on_card("nvmlDeviceGetMemoryInfo_v2", device, |_, card| {
        if memory.is_null() {
            return Err(INVALID);
        }
        // SAFETY: the interface asks for a struct whose version the caller has set.
        let version = unsafe { (&raw const (*memory).version).read() };
        if version as usize != size_of::<nv::nvmlMemory_v2_t>() | (2 << 24) {
            return Err(nv::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
        }
        let total = card.memory.ok_or(UNSUPPORTED)?;
        let (reserved, used) = (card.reserved, card.used());
        let free = total.saturating_sub(reserved + used) * MIB;
        let (total, reserved, used) = (total * MIB, reserved * MIB, used * MIB);
        put(memory, nv::nvmlMemory_v2_t { version, total, reserved, free, used })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUtilizationRates(
    device: nv::nvmlDevice_t,
    rates: *mut nv::nvmlUtilization_t,
) -> Code {
    on_card("nvmlDeviceGetUtilizationRates", device, |state, card| {
        if card.is_cut() || state.is_instance(&card.uuid) {
            return Err(UNSUPPORTED);
        }
        put(rates, nv::nvmlUtilization_t { gpu: card.busy.ok_or(UNSUPPORTED)?, memory: 0 })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperature(
    device: nv::nvmlDevice_t,
    sensor: nv::nvmlTemperatureSensors_t,
    temperature: *mut c_uint,
) -> Code {
    on_card("nvmlDeviceGetTemperature", device, |_, card| match sensor {
        0 => put(temperature, card.temperature.ok_or(UNSUPPORTED)?),
        _ => Err(INVALID),
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerUsage(device: nv::nvmlDevice_t, power: *mut c_uint) -> Code {
    on_card("nvmlDeviceGetPowerUsage", device, |_, card| put(power, card.power.ok_or(UNSUPPORTED)?))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigMode(
    device: nv::nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Code {
    on_card("nvmlDeviceGetMigMode", device, |_, card| {
        let mig = card.mig.as_ref().ok_or(UNSUPPORTED)?;
        put(current, mig.current)?;
        put(pending, mig.pending)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: nv::nvmlDevice_t, count: *mut c_uint) -> Code {
    on_card("nvmlDeviceGetMaxMigDeviceCount", device, |_, card| {
        put(count, card.mig.as_ref().ok_or(UNSUPPORTED)?.devices.len() as c_uint)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nv::nvmlDevice_t,
    index: c_uint,
    instance: *mut nv::nvmlDevice_t,
) -> Code {
    on_card("nvmlDeviceGetMigDeviceHandleByIndex", device, |_, card| {
        let mig = card.mig.as_ref().ok_or(UNSUPPORTED)?;
        let found = mig.devices.get(index as usize).ok_or(INVALID)?;
        put(instance, handle_of(&found.as_ref().ok_or(NOT_FOUND)?.uuid)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEccMode(
    device: nv::nvmlDevice_t,
    current: *mut nv::nvmlEnableState_t,
    pending: *mut nv::nvmlEnableState_t,
) -> Code {
    on_card("nvmlDeviceGetEccMode", device, |_, card| {
        card.ecc.ok_or(UNSUPPORTED)?;
        put(current, 1)?;
        put(pending, 1)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nv::nvmlDevice_t,
    kind: nv::nvmlMemoryErrorType_t,
    counter: nv::nvmlEccCounterType_t,
    count: *mut c_ulonglong,
) -> Code {
    on_card("nvmlDeviceGetTotalEccErrors", device, |_, card| match (kind, counter) {
        (0, 0 | 1) => put(count, 0),
        (1, 0 | 1) => put(count, card.ecc.ok_or(UNSUPPORTED)?),
        _ => Err(INVALID),
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPersistenceMode(
    device: nv::nvmlDevice_t,
    mode: *mut nv::nvmlEnableState_t,
) -> Code {
    on_card("nvmlDeviceGetPersistenceMode", device, |_, _| put(mode, 1))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeMode(
    device: nv::nvmlDevice_t,
    mode: *mut nv::nvmlComputeMode_t,
) -> Code {
    on_card("nvmlDeviceGetComputeMode", device, |_, card| put(mode, card.compute_mode))
}
