//! How a launch goes to the driver: the function, its arguments, and what it is called in errors.

use super::handle::Handle;
use super::library::{Library, Refused, SUCCESS, answer, is_sticky};
use super::memory::OUT_OF_MEMORY;
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::module::{Entry, Module};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

/// A kernel that the driver has compiled.
pub struct Function {
    /// The driver's.
    pub handle: Handle<sys::CUfunc_st>,
    /// Bytes of dynamic shared memory that it was allowed beyond the usual.
    opted_in: AtomicU32,
}

impl Function {
    /// The entry of a loaded module; an answer that speaks of earlier work is passed on.
    pub fn find(
        library: &Library,
        module: &Module,
        code: sys::CUmodule,
        entry: &Entry,
    ) -> Result<Result<Self, Refused>> {
        let missing = |error: Error| {
            error
                .fact("module", format!("kernels/ptx/{}.{}.ptx", module.name, module.target))
                .help("the PTX and its table disagree; this is a bug in vgg-ft (build.rs)")
        };
        let what = format!("find the kernel {}", entry.name);
        let name = CString::new(entry.name).map_err(|_| {
            missing(Error::new(Kind::Device, format!("cuda: cannot {what}: its name holds a zero")))
        })?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes one pointer; the name ends with a NUL; the module is loaded.
        match unsafe { (library.call.module_function)(&mut handle, code, name.as_ptr()) } {
            SUCCESS => Ok(Ok(Self { handle: Handle(handle), opted_in: AtomicU32::new(0) })),
            passing if passing == OUT_OF_MEMORY || is_sticky(passing) => Ok(Err((passing, "find a kernel"))),
            other => Err(missing(library.error(other, &what))),
        }
    }

    /// Allows it more shared memory than the usual (`usual` bytes of static and dynamic together).
    pub fn opt_in(&self, library: &Library, usual: u32, launch: &Launch) -> Result<(), Refused> {
        let whole = launch.entry.static_shared + launch.shared;
        if whole <= usual || self.opted_in.load(Ordering::Relaxed) >= launch.shared {
            return Ok(());
        }
        let what = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(launch.shared).unwrap_or(i32::MAX);
        // SAFETY: the function is alive as long as its module, which is unloaded after the last launch.
        let code = unsafe { (library.call.function_set)(self.handle.0, what, bytes) };
        answer(code, "allow a kernel more shared memory")?;
        self.opted_in.fetch_max(launch.shared, Ordering::Relaxed);
        Ok(())
    }
}

/// "a graph of 7 launches (conv2d_forward x5, relu_forward, bias_backward)", in the order of first use.
pub fn described(launches: &[Launch]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for launch in launches {
        match counts.iter_mut().find(|(name, _)| *name == launch.entry.name) {
            Some((_, count)) => *count += 1,
            None => counts.push((launch.entry.name, 1)),
        }
    }
    let names: Vec<_> = counts
        .into_iter()
        .map(|(name, count)| if count == 1 { name.to_owned() } else { format!("{name} x{count}") })
        .collect();
    format!("a graph of {} launches ({})", launches.len(), names.join(", "))
}

/// The arguments of a launch as the driver takes them: each at a multiple of 16 bytes, for as long as the
/// call takes. The driver copies as many bytes as the compiled kernel says, which `Launch::check` compared.
pub struct Arguments {
    block: Vec<u128>,
    pointers: Vec<*mut c_void>,
}

impl Arguments {
    /// Of a launch.
    pub fn new(args: &[Arg]) -> Self {
        let mut block = Vec::new();
        let mut starts = Vec::with_capacity(args.len());
        for arg in args {
            let bytes = arg.bytes();
            starts.push(block.len());
            for part in bytes.chunks(size_of::<u128>()) {
                let mut word = [0; size_of::<u128>()];
                word[..part.len()].copy_from_slice(part);
                block.push(u128::from_ne_bytes(word));
            }
        }
        let base = block.as_mut_ptr();
        // Of a parameter without bytes nobody reads; its pointer may stand at the end.
        let pointers = starts.into_iter().map(|start| base.wrapping_add(start).cast()).collect();
        Self { block, pointers }
    }

    /// Good while `self` lives and stays where it is.
    pub fn pointers(&mut self) -> *mut *mut c_void {
        debug_assert!(self.pointers.is_empty() || !self.block.is_empty());
        self.pointers.as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Dtype;
    use crate::device::gpu::driver::Address;

    #[test]
    fn arguments_keep_their_bytes_and_stand_aligned() {
        let args = [
            Arg::Value { name: "p", bytes: (0..20).collect() },
            Arg::Pointer { name: "x", at: Address(0x7f00_1234_5600), dtype: Dtype::F32, len: 5 },
            Arg::value("n", &7u32),
        ];
        let mut block = Arguments::new(&args);
        let pointers = block.pointers();
        for (at, arg) in args.iter().enumerate() {
            let want = arg.bytes();
            // SAFETY: as many pointers as arguments, each to at least the argument's bytes.
            let got = unsafe {
                let pointer = *pointers.add(at);
                assert!(pointer.addr().is_multiple_of(16));
                std::slice::from_raw_parts(pointer.cast::<u8>(), want.len())
            };
            assert_eq!(got, want);
        }
    }
}
