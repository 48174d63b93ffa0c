//! The calls about the processes on a card: two steps each, first the number, then the list.

use std::ffi::{c_uint, c_ulonglong};
use std::sync::atomic::{AtomicU32, Ordering};

use nvml_wrapper_sys::bindings as nv;

use crate::state::{Card, Process};
use crate::{Code, on_card, put};

const MIB: u64 = 1024 * 1024;
const INVALID: Code = nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
const TOO_SMALL: Code = nv::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;

/// How often too few processes were told.
static GREW: AtomicU32 = AtomicU32::new(0);

/// Answers with a list as the interface does: `INSUFFICIENT_SIZE` and the number that is needed if
/// the buffer is too small, which is how callers ask for the number.
fn put_list<T>(buffer: *mut T, count: *mut c_uint, list: Vec<T>, missing: u32) -> Result<(), Code> {
    if count.is_null() {
        return Err(INVALID);
    }
    // SAFETY: the interface asks for a pointer to the buffer's size, and it is not null.
    let room = unsafe { count.read() } as usize;
    put(count, (list.len() as c_uint).saturating_sub(missing))?;
    if room < list.len() {
        return Err(TOO_SMALL);
    }
    if buffer.is_null() && !list.is_empty() {
        return Err(INVALID);
    }
    for (place, item) in list.into_iter().enumerate() {
        // SAFETY: the caller's buffer has room for `room` values, at least as many as these.
        unsafe { buffer.add(place).write(item) };
    }
    Ok(())
}

fn running(
    card: &Card,
    count: *mut c_uint,
    infos: *mut nv::nvmlProcessInfo_t,
    is_wanted: impl Fn(&Process) -> bool,
) -> Result<(), Code> {
    let wanted = card.processes.iter().filter(|it| is_wanted(it));
    let list = wanted.map(|it| nv::nvmlProcessInfo_t {
        pid: it.pid,
        usedGpuMemory: it.memory.map_or(u64::MAX, |mib| mib * MIB),
        gpuInstanceId: u32::MAX,
        computeInstanceId: u32::MAX,
    });
    // A caller that asks for the number has no buffer: only then processes "appear" afterwards.
    let grows = infos.is_null()
        && card.growing.by > 0
        && GREW.fetch_add(1, Ordering::SeqCst) < card.growing.times;
    put_list(infos, count, list.collect(), if grows { card.growing.by } else { 0 })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nv::nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nv::nvmlProcessInfo_t,
) -> Code {
    on_card("nvmlDeviceGetComputeRunningProcesses_v3", device, |_, card| {
        running(card, count, infos, |it| !it.graphics)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nv::nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nv::nvmlProcessInfo_t,
) -> Code {
    on_card("nvmlDeviceGetGraphicsRunningProcesses_v3", device, |_, card| {
        running(card, count, infos, |it| it.graphics)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetProcessUtilization(
    device: nv::nvmlDevice_t,
    samples: *mut nv::nvmlProcessUtilizationSample_t,
    count: *mut c_uint,
    since: c_ulonglong,
) -> Code {
    on_card("nvmlDeviceGetProcessUtilization", device, |state, card| {
        if card.is_cut() || state.is_instance(&card.uuid) {
            return Err(nv::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED);
        }
        let fresh = card.processes.iter().filter(|it| it.sampled_at > since);
        let list: Vec<_> = fresh
            .filter_map(|it| {
                Some(nv::nvmlProcessUtilizationSample_t {
                    pid: it.pid,
                    timeStamp: it.sampled_at,
                    smUtil: it.busy?,
                    memUtil: 0,
                    encUtil: 0,
                    decUtil: 0,
                })
            })
            .collect();
        match list.is_empty() {
            true => Err(nv::nvmlReturn_enum_NVML_ERROR_NOT_FOUND),
            false => put_list(samples, count, list, 0),
        }
    })
}
