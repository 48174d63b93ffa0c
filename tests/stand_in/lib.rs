//! A stand-in for `libnvidia-ml`: the C interface of NVIDIA's library over cards that a file tells.
//!
//! Tests load it through the same path as the real library (`--nvml-lib`); it is never installed,
//! and no default name finds it. The JSON file beside it, its own path and `.json`
//! ([`state::State`]), is read again with each call, so that a test can move memory, add a process,
//! raise an Xid, lose a card, answer any code, or hang. A test copies the library, and so has its
//! cards for itself.
//!
//! It refuses what the real one refuses: calls before `nvmlInit_v2`, handles that it did not give,
//! unknown UUIDs, wrong struct versions, buffers that are too small.
//!
//! The only unsafe code of the project is here: exported symbols and the caller's pointers. Layouts
//! come from the bindings that the caller is built with.
#![expect(unsafe_code, reason = "the C interface of a shared library")]

mod device;
mod events;
mod processes;
mod state;

use std::ffi::{c_char, c_int, c_uint};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

use nvml_wrapper_sys::bindings as nv;
use state::{Card, State};

/// What a call answers when it does not succeed.
pub(crate) type Code = nv::nvmlReturn_t;

/// How often a call that hangs looks whether it still has to.
const LOOK: Duration = Duration::from_millis(10);

/// How often the library was initialised and not shut down.
static USERS: AtomicUsize = AtomicUsize::new(0);
/// UUIDs of the handles that were given out; a handle is a place in it.
static HANDLES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The first handle: null and small numbers are no handles.
const FIRST: usize = 0x5_1a7e_0000;

/// The state as the file tells it now; `NVML_ERROR_UNKNOWN` if it cannot be read.
pub(crate) fn load() -> Result<State, Code> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    let path = PATH.get_or_init(beside).as_ref();
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| serde_json::from_str(&text).ok())
        .ok_or(nv::nvmlReturn_enum_NVML_ERROR_UNKNOWN)
}

/// The file beside this library: the kernel tells which file the code here is mapped from.
fn beside() -> Option<PathBuf> {
    let here = (beside as fn() -> Option<PathBuf>) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let is_here = |line: &&str| {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        range.is_some_and(|(from, to)| {
            number(from).is_some_and(|from| from <= here) && number(to).is_some_and(|to| here < to)
        })
    };
    let path = maps.lines().find(is_here)?.split_whitespace().nth(5)?;
    Some(PathBuf::from(format!("{path}.json")))
}

/// One call: hangs or fails if it is told to, refuses before the library is initialised.
pub(crate) fn call(symbol: &str, body: impl FnOnce(&State) -> Result<(), Code>) -> Code {
    let answer = || {
        if USERS.load(Ordering::SeqCst) == 0 {
            return Err(nv::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
        }
        let state = wait_out(|state| state.hang.iter().any(|it| it == symbol))?;
        match state.fail.get(symbol) {
            Some(code) => Err(*code),
            None => body(&state),
        }
    };
    answer().err().unwrap_or(nv::nvmlReturn_enum_NVML_SUCCESS)
}

/// One call about one card.
pub(crate) fn on_card(
    symbol: &str,
    device: nv::nvmlDevice_t,
    body: impl FnOnce(&State, &Card) -> Result<(), Code>,
) -> Code {
    call(symbol, |_| {
        let uuid = uuid_of(device).ok_or(nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT)?;
        let hangs = |state: &State| {
            let card = state.find(&uuid);
            card.is_some_and(|card| card.hang.iter().any(|it| it == symbol || it == "*"))
        };
        let state = wait_out(hangs)?;
        let card = state.find(&uuid).ok_or(nv::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST)?;
        if card.lost {
            return Err(nv::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST);
        }
        match card.fail.get(symbol) {
            Some(code) => Err(*code),
            None => body(&state, card),
        }
    })
}

/// Waits as long as the file says that the call hangs.
fn wait_out(hangs: impl Fn(&State) -> bool) -> Result<State, Code> {
    loop {
        let state = load()?;
        if !hangs(&state) {
            return Ok(state);
        }
        pause(LOOK);
    }
}

/// Waits. Parking a thread would leave something of this library in it, which may be unloaded.
pub(crate) fn pause(span: Duration) {
    static NEVER: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    if let Ok(guard) = NEVER.0.lock() {
        drop(NEVER.1.wait_timeout(guard, span));
    }
}

/// The handle of a card, made if there is none yet.
pub(crate) fn handle_of(uuid: &str) -> Result<nv::nvmlDevice_t, Code> {
    let mut handles = HANDLES.lock().map_err(|_| nv::nvmlReturn_enum_NVML_ERROR_UNKNOWN)?;
    let place = handles.iter().position(|it| it == uuid).unwrap_or_else(|| {
        handles.push(uuid.to_owned());
        handles.len() - 1
    });
    Ok(std::ptr::without_provenance_mut(FIRST + place))
}

fn uuid_of(device: nv::nvmlDevice_t) -> Option<String> {
    let place = device.addr().checked_sub(FIRST)?;
    HANDLES.lock().ok()?.get(place).cloned()
}

/// Writes to where the caller wants it.
pub(crate) fn put<T>(place: *mut T, value: T) -> Result<(), Code> {
    if place.is_null() {
        return Err(nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT);
    }
    // SAFETY: the interface asks for a pointer to one writable value, and it is not null.
    unsafe { place.write(value) };
    Ok(())
}

/// Writes a text with its NUL into a buffer of the caller.
pub(crate) fn put_text(buffer: *mut c_char, length: c_uint, text: &str) -> Result<(), Code> {
    if buffer.is_null() {
        return Err(nv::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(nv::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE);
    }
    // SAFETY: the interface asks for a buffer of `length` bytes, and the text and its NUL fit.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, text.len());
        buffer.add(text.len()).write(0);
    }
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Code {
    let symbol = "nvmlInit_v2";
    let state = match wait_out(|state| state.hang.iter().any(|it| it == symbol)) {
        Ok(state) => state,
        Err(code) => return code,
    };
    match state.fail.get(symbol) {
        Some(code) => *code,
        None => {
            USERS.fetch_add(1, Ordering::SeqCst);
            nv::nvmlReturn_enum_NVML_SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Code {
    match USERS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |users| users.checked_sub(1)) {
        Ok(_) => nv::nvmlReturn_enum_NVML_SUCCESS,
        Err(_) => nv::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED,
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> Code {
    call("nvmlSystemGetDriverVersion", |state| put_text(version, length, &state.driver))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> Code {
    call("nvmlSystemGetCudaDriverVersion_v2", |state| put(version, state.cuda))
}
