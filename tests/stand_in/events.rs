//! Sets of events: Xids of the file that come after a set was made, each once.

use std::collections::BTreeMap;
use std::ffi::{c_uint, c_ulonglong};
use std::sync::Mutex;
use std::time::Duration;

use nvml_wrapper_sys::bindings as nv;

use crate::{Code, LOOK, call, handle_of, load, on_card, pause, put, uuid_of};

const INVALID: Code = nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const TIMEOUT: Code = nv::nvmlReturn_enum_NVML_ERROR_TIMEOUT;
const XID: u64 = nv::nvmlEventTypeXidCriticalError as u64;

/// One set: the cards that it watches, and how many Xids it has seen.
#[derive(Debug, Default)]
struct Set {
    cards: Vec<String>,
    seen: usize,
}

/// Every set that is not freed, by its handle.
static SETS: Mutex<BTreeMap<usize, Set>> = Mutex::new(BTreeMap::new());

fn on_set<T>(
    set: nv::nvmlEventSet_t,
    body: impl FnOnce(&mut Set) -> Result<T, Code>,
) -> Result<T, Code> {
    let mut sets = SETS.lock().map_err(|_| nv::nvmlReturn_enum_NVML_ERROR_UNKNOWN)?;
    body(sets.get_mut(&set.addr()).ok_or(INVALID)?)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetCreate(set: *mut nv::nvmlEventSet_t) -> Code {
    call("nvmlEventSetCreate", |state| {
        let mut sets = SETS.lock().map_err(|_| nv::nvmlReturn_enum_NVML_ERROR_UNKNOWN)?;
        let handle = sets.last_key_value().map_or(1, |(last, _)| last + 1);
        sets.insert(handle, Set { cards: Vec::new(), seen: state.xids.len() });
        put(set, std::ptr::without_provenance_mut(handle))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetFree(set: nv::nvmlEventSet_t) -> Code {
    call("nvmlEventSetFree", |_| {
        let mut sets = SETS.lock().map_err(|_| nv::nvmlReturn_enum_NVML_ERROR_UNKNOWN)?;
        sets.remove(&set.addr()).map(drop).ok_or(INVALID)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSupportedEventTypes(
    device: nv::nvmlDevice_t,
    types: *mut c_ulonglong,
) -> Code {
    on_card("nvmlDeviceGetSupportedEventTypes", device, |_, _| put(types, XID))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceRegisterEvents(
    device: nv::nvmlDevice_t,
    types: c_ulonglong,
    set: nv::nvmlEventSet_t,
) -> Code {
    on_card("nvmlDeviceRegisterEvents", device, |_, card| {
        if types & !XID != 0 {
            return Err(nv::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED);
        }
        on_set(set, |set| {
            set.cards.push(card.uuid.clone());
            Ok(())
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetWait_v2(
    set: nv::nvmlEventSet_t,
    data: *mut nv::nvmlEventData_t,
    timeout: c_uint,
) -> Code {
    call("nvmlEventSetWait_v2", |_| {
        let rounds = u128::from(timeout).div_ceil(LOOK.as_millis().max(1));
        for round in 0..=rounds {
            if let Some((uuid, xid)) = next(set)? {
                return deliver(data, &uuid, xid);
            }
            if round < rounds {
                pause(LOOK.min(Duration::from_millis(timeout.into())));
            }
        }
        Err(TIMEOUT)
    })
}

fn next(set: nv::nvmlEventSet_t) -> Result<Option<(String, u64)>, Code> {
    let state = load()?;
    on_set(set, |set| {
        while let Some(xid) = state.xids.get(set.seen) {
            set.seen += 1;
            if set.cards.contains(&xid.uuid) {
                return Ok(Some((xid.uuid.clone(), xid.xid)));
            }
        }
        Ok(None)
    })
}

fn deliver(data: *mut nv::nvmlEventData_t, uuid: &str, xid: u64) -> Result<(), Code> {
    let device = handle_of(uuid)?;
    debug_assert_eq!(uuid_of(device).as_deref(), Some(uuid));
    put(
        data,
        nv::nvmlEventData_t {
            device,
            eventType: XID,
            eventData: xid,
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        },
    )
}
