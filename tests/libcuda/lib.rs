//! A libcuda that is none: the functions that the cuda device calls, with the emulator behind them.
//!
//! `cargo build --example cuda` makes `target/*/examples/libcuda.so`; with its folder in `LD_LIBRARY_PATH`
//! the cuda device runs where there is no GPU, so that its own code is tested: handles, order, copies,
//! arguments, errors. It is as unkind as a driver may be: nothing happens before somebody waits, a thread
//! without a context is refused, and after a fault nothing works.
//!
//! `VGG_FT_FAKE_CUDA` holds words that change it: `no-card`, `old-driver` (PTX is refused), `no-graphs`,
//! `old-card`, `hopper` (a GPU of 9.0), `driver=12000` (for 12.0), `memory=BYTES`, `fault=KERNEL` or `fault=KERNEL:N` (from its Nth launch on), `full=FUNCTION:N`
//! (out of memory at the Nth call of that function of graphs and all later ones), `graphs=N` (room for so many),
//! `slow-wait=MS` (so long until somebody who waits for the stream begins to), `code=N` (the answer after a fault),
//! `surfaces=FUNCTION` (errors of earlier work come up at calls of that function, too), `refuse=FUNCTION:N:CODE`
//! (its Nth call alone, the first if not given, answers so, as an invalid value if not given), `name=WORDS` and `sms=N`
//! (of the GPU).

// Names and signatures are NVIDIA's; a fault in here should end the test that met it.
#![allow(non_snake_case, clippy::missing_safety_doc, clippy::unwrap_used, clippy::too_many_arguments)]
// Every pointer is the caller's, as NVIDIA's manual asks; saying so at each would say nothing.
#![allow(missing_docs, clippy::undocumented_unsafe_blocks)]

mod graph;
mod machine;
mod tensor;

use machine::*;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use vgg_ft::device::gpu::driver::Driver;

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> c_uint {
    match flags {
        _ if word("no-card").is_some() => NO_DEVICE,
        0 => OK,
        _ => INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> c_uint {
    let usual = || if word("old-driver").is_some() { 10020 } else { 12040 };
    unsafe { *version = word("driver").map_or_else(usual, |version| version.parse().unwrap()) };
    OK
}

fn text(code: c_uint) -> Option<(&'static CStr, &'static CStr)> {
    Some(match code {
        OUT_OF_MEMORY => (c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        INVALID_VALUE => (c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
        NO_DEVICE => (c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
        INVALID_CONTEXT => (c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
        UNSUPPORTED_PTX_VERSION => (
            c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            c"the provided PTX was compiled with an unsupported toolchain.",
        ),
        NOT_SUPPORTED => (c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
        ILLEGAL_ADDRESS => (c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
        LAUNCH_TIMEOUT => (c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated"),
        _ => return None,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: c_uint, to: *mut *const c_char) -> c_uint {
    let Some((name, _)) = text(code) else { return INVALID_VALUE };
    unsafe { *to = name.as_ptr() };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: c_uint, to: *mut *const c_char) -> c_uint {
    let Some((_, text)) = text(code) else { return INVALID_VALUE };
    unsafe { *to = text.as_ptr() };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> c_uint {
    unsafe { *count = 1 };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, number: c_int) -> c_uint {
    unsafe { *device = number };
    if number == 0 { OK } else { INVALID_VALUE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, _: c_int) -> c_uint {
    let text = CString::new(word("name").unwrap_or_else(|| "No GPU, the emulator".into())).unwrap();
    assert!(len as usize > text.count_bytes(), "the name and its NUL");
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name, text.count_bytes() + 1) };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _: c_int) -> c_uint {
    unsafe { *bytes = memory() };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, _: c_int) -> c_uint {
    let machine = machine();
    let limits = machine.emulator.limits();
    let capability = match () {
        () if word("old-card").is_some() => 61,
        () if word("turing").is_some() => 75,
        () => limits.capability,
    };
    let answer = match attribute {
        1 => limits.threads,
        2..=4 => limits.block[attribute as usize - 2],
        5..=7 => limits.grid[attribute as usize - 5],
        8 => limits.shared,
        16 => word("sms").map_or(1, |sms| sms.parse().unwrap()),
        75 => capability / 10,
        76 => capability % 10,
        97 => limits.shared_opt_in,
        _ => return INVALID_VALUE,
    };
    unsafe { *value = answer as c_int };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, _: c_int) -> c_uint {
    unsafe { *context = THE_ONE };
    OK
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(_: c_int) -> c_uint {
    OK
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: usize) -> c_uint {
    CURRENT.set(context == THE_ONE);
    match context {
        THE_ONE if word("surfaces").as_deref() == Some("cuCtxSetCurrent") => asked("cuCtxSetCurrent", |_| OK),
        THE_ONE => OK,
        _ => INVALID_CONTEXT,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, _: c_uint) -> c_uint {
    unsafe { *stream = THE_ONE };
    inside(|_| OK)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(_: usize) -> c_uint {
    inside(|machine| machine.drain(u64::MAX))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: usize) -> c_uint {
    if let Some(time) = word("slow-wait") {
        std::thread::sleep(std::time::Duration::from_millis(time.parse().unwrap()));
    }
    asked(
        "cuStreamSynchronize",
        |machine| if stream == THE_ONE { machine.drain(u64::MAX) } else { INVALID_HANDLE },
    )
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, _: c_uint) -> c_uint {
    asked("cuEventCreate", |machine| {
        let handle = 0x1000 + machine.events.len();
        machine.events.insert(handle, 0);
        unsafe { *event = handle };
        OK
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: usize) -> c_uint {
    inside(|machine| if machine.events.contains_key(&event) { OK } else { INVALID_HANDLE })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: usize, _: usize) -> c_uint {
    inside(|machine| {
        let queued = machine.queued;
        machine.events.insert(event, queued).map_or(INVALID_HANDLE, |_| OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: usize) -> c_uint {
    inside(|machine| match machine.events.get(&event) {
        Some(&until) => machine.drain(until),
        // A driver may follow it.
        None if event == 0 => machine.lose("somebody waited for an event that is null"),
        None => INVALID_HANDLE,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_uint {
    inside(|machine| {
        unsafe { (*free, *total) = (memory() - machine.bytes, memory()) };
        OK
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(at: *mut u64, bytes: usize) -> c_uint {
    inside(|machine| machine.take(bytes, at))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(at: u64) -> c_uint {
    // As cudaFree: waits.
    inside(|machine| {
        machine.push(Work::Free(at));
        machine.drain(u64::MAX)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, byte: u8, len: usize, _: usize) -> c_uint {
    inside(|machine| machine.push(Work::Fill { to, byte, len }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(at: *mut usize, len: usize, _: c_uint) -> c_uint {
    asked("cuMemHostAlloc", |machine| {
        let first = Box::leak(vec![0u8; len].into_boxed_slice()).as_mut_ptr().expose_provenance();
        machine.pinned.insert(first, len);
        unsafe { *at = first };
        OK
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(at: usize) -> c_uint {
    inside(|machine| machine.pinned.remove(&at).map_or(INVALID_VALUE, |_| OK))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: usize, len: usize, _: usize) -> c_uint {
    inside(|machine| {
        let pinned = machine.is_pinned(from, len);
        if pinned { machine.push(Work::In { to, from, len }) } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(to: usize, from: u64, len: usize, _: usize) -> c_uint {
    inside(|machine| {
        let pinned = machine.is_pinned(to, len);
        if pinned { machine.push(Work::Out { to, from, len }) } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut usize,
    image: *const c_char,
    count: c_uint,
    options: *const c_uint,
    values: *const usize,
) -> c_uint {
    asked("cuModuleLoadDataEx", |machine| {
        let (asked, values) = unsafe {
            let count = count as usize;
            (std::slice::from_raw_parts(options, count), std::slice::from_raw_parts(values, count))
        };
        let option = |number| asked.iter().position(|&asked| asked == number).map(|at| values[at]);
        let log = |text: &str| {
            let (Some(at), Some(size)) = (option(5), option(6)) else { return };
            let len = text.len().min(size - 1);
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), at as *mut u8, len) };
        };
        if word("old-driver").is_some() {
            log(
                "ptxas application ptx input, line 9; fatal   : Unsupported .version 7.0; current version is '6.5'",
            );
            return UNSUPPORTED_PTX_VERSION;
        }
        let text = unsafe { CStr::from_ptr(image) }.to_str().unwrap();
        match machine.load(text) {
            Ok(handle) => {
                unsafe { *module = handle };
                OK
            }
            Err(error) => {
                log(&error.to_string());
                INVALID_PTX
            }
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(_: usize) -> c_uint {
    inside(|_| OK)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut usize,
    module: usize,
    name: *const c_char,
) -> c_uint {
    asked("cuModuleGetFunction", |machine| {
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        let Some(&entry) = machine.modules.get(&module).and_then(|entries| entries.get(name)) else {
            return NOT_FOUND;
        };
        let handle = 0x100 + machine.functions.len();
        machine.functions.insert(handle, (entry, 0));
        unsafe { *function = handle };
        OK
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: usize, attribute: c_uint, value: c_int) -> c_uint {
    const MAX_DYNAMIC_SHARED: c_uint = 8;
    asked("cuFuncSetAttribute", |machine| match machine.functions.get_mut(&function) {
        Some((_, dynamic)) if attribute == MAX_DYNAMIC_SHARED => {
            *dynamic = value as u32;
            OK
        }
        _ => INVALID_VALUE,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    gx: c_uint,
    gy: c_uint,
    gz: c_uint,
    bx: c_uint,
    by: c_uint,
    bz: c_uint,
    shared: c_uint,
    stream: usize,
    params: *const *const c_void,
    extra: *const c_void,
) -> c_uint {
    inside(|machine| {
        if stream != THE_ONE {
            return INVALID_HANDLE;
        }
        match machine.launch_of(function, [gx, gy, gz], [bx, by, bz], shared, params, extra) {
            Ok(launch) => machine.push(Work::Launch(launch)),
            Err(code) => code,
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, _: usize) -> c_uint {
    inside(|machine| machine.push(Work::Copy { to, from, len }))
}
