//! The driver of NVIDIA cards: libcuda, found at run time.
//!
//! In: what [`Driver`] takes. Out: work on a card. One stream, so that everything happens in the order it
//! was asked for; memory in that order too; copies through pinned memory. What goes wrong in a kernel comes
//! up later, with the kernels that may have done it, or with [`Options::sync`] at once.

mod card;
mod handle;
mod jit;
mod library;
mod memory;
mod staging;

pub use card::{Card, Found, Version, find};

use super::driver::{Address, Driver};
use super::launch::{Arg, Launch, Limits};
use super::module::{Entry, Module};
use crate::device::{Description, Dtype};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use handle::{Code as Compiled, Context, Handle, Stream};
use library::{Code, Library, SUCCESS, is_sticky, library};
use memory::{GUARD, GUARD_BYTE, Memory, Refused};
use staging::Staging;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// How to work on a card.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// N of `cuda:N`; the first that can run the kernels if not given.
    pub number: Option<usize>,
    /// Wait for each kernel, so that one that goes wrong is named. Slow.
    pub sync: bool,
    /// For tests: fresh memory is NaN, and a write beside a buffer is found when it is read.
    pub guarded: bool,
}

/// A card. Fields are dropped in this order: the context last.
pub struct Cuda {
    functions: RwLock<HashMap<usize, Function>>,
    modules: Mutex<HashMap<(&'static str, &'static str), Compiled>>,
    staging: Staging,
    memory: Memory,
    stream: Stream,
    context: Context,
    library: &'static Library,
    card: Card,
    driver: Version,
    options: Options,
    /// Started since the last wait, the newest last; only so many are remembered.
    recent: Mutex<VecDeque<&'static str>>,
    /// Why nothing works any more.
    lost: OnceLock<String>,
}

struct Function {
    handle: Handle<sys::CUfunc_st>,
    /// Bytes of dynamic shared memory that it was allowed beyond the usual.
    opted_in: AtomicU32,
}

/// Names of kernels that an error lists.
const REMEMBERED: usize = 16;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cuda {
    /// Opens a card.
    ///
    /// # Errors
    /// [`Kind::Device`] when there is no driver, no such card, or one that our kernels cannot run on.
    pub fn open(options: Options) -> Result<Self> {
        let found = find()?;
        let card = match options.number {
            Some(number) => found.card(number),
            None => found.first(),
        }?
        .clone();
        let library = library()?;
        let context = Context::retain(library, card.device)?;
        context.enter()?;
        let stream = Stream::new(library)?;
        let memory = Memory::new(library, &stream, card.pools.then_some(card.device), options.guarded)?;
        let staging = Staging::new(library, stream.raw())?;
        Ok(Self {
            functions: RwLock::default(),
            modules: Mutex::default(),
            staging,
            memory,
            stream,
            context,
            library,
            card,
            driver: found.driver,
            options,
            recent: Mutex::default(),
            lost: OnceLock::new(),
        })
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Before every conversation with the driver.
    fn enter(&self) -> Result<()> {
        if let Some(since) = self.lost.get() {
            return Err(Error::new(Kind::Device, "cuda: this process cannot use the card any more")
                .fact("since", since)
                .help("start again; nothing that was on the card can be saved"));
        }
        self.context.enter()
    }

    /// What the driver's answer to `what` means. An answer may speak of earlier work.
    fn judge(&self, (code, what): Refused) -> Error {
        let error = self.library.error(code, what);
        if !is_sticky(code) {
            return error;
        }
        let recent: Vec<_> = lock(&self.recent).iter().copied().collect();
        let _ = self.lost.set(format!("{}: {}", error.message(), self.library.describe(code)));
        let started =
            if recent.is_empty() { "none since the last wait".to_owned() } else { recent.join(", ") };
        Error::new(Kind::Device, "cuda: a kernel went wrong on the card")
            .fact("reason", self.library.describe(code))
            .fact("seen", format!("trying to {what}"))
            .fact("kernels", started)
            .help(
                "run again with --sync to learn which of these it was, and with --device emulator:checked to \
                 learn which element",
            )
    }

    fn answer(&self, code: Code, what: &'static str) -> Result<()> {
        if code == SUCCESS { Ok(()) } else { Err(self.judge((code, what))) }
    }

    /// All work is done; what was started is no longer suspect.
    fn wait(&self) -> Result<()> {
        self.answer(self.stream.wait(), "wait for the card")?;
        lock(&self.recent).clear();
        Ok(())
    }

    fn function(&self, module: &Module, code: sys::CUmodule, entry: &Entry) -> Result<Function> {
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
        let answer = unsafe { (self.library.call.module_function)(&mut handle, code, name.as_ptr()) };
        if answer != SUCCESS {
            return Err(missing(self.library.error(answer, &what)));
        }
        Ok(Function { handle: Handle(handle), opted_in: AtomicU32::new(0) })
    }

    /// Allows a kernel more shared memory than the usual 48 KiB of static and dynamic together.
    fn opt_in(&self, function: &Function, launch: &Launch) -> Result<()> {
        let whole = launch.entry.static_shared + launch.shared;
        if whole <= self.card.limits.shared || function.opted_in.load(Ordering::Relaxed) >= launch.shared {
            return Ok(());
        }
        let what = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = i32::try_from(launch.shared).unwrap_or(i32::MAX);
        // SAFETY: the function is alive as long as its module, which is never unloaded before `self`.
        let answer = unsafe { (self.library.call.function_set)(function.handle.0, what, bytes) };
        self.library.check(answer, &format!("allow {} {bytes} bytes of shared memory", launch.entry.name))?;
        function.opted_in.fetch_max(launch.shared, Ordering::Relaxed);
        Ok(())
    }

    /// Whether something was written beside the buffer at `first`.
    fn look_beside(&self, first: Address, bytes: usize) -> Result<()> {
        let mut guard = [0; GUARD];
        for (side, at) in [("before", first.0 - GUARD as u64), ("behind", first.0 + bytes as u64)] {
            self.staging.read(Address(at), &mut guard).map_err(|refused| self.judge(refused))?;
            if let Some(at) = guard.iter().position(|&byte| byte != GUARD_BYTE) {
                let away = if side == "before" { GUARD - at } else { at + 1 };
                return Err(Error::new(Kind::Device, format!("cuda: something was written {side} a buffer"))
                    .fact("buffer", format!("{bytes} bytes at {:#x}", first.0))
                    .fact("byte", format!("{away} {side} it"))
                    .help("a kernel writes past its operand: --device emulator:checked names it"));
            }
        }
        Ok(())
    }
}

/// The arguments of a launch as the driver takes them: each at a multiple of 16 bytes, for as long as the
/// call takes. The driver copies as many bytes as the compiled kernel says, which `Launch::check` compared.
struct Arguments {
    block: Vec<u128>,
    pointers: Vec<*mut c_void>,
}

impl Arguments {
    fn new(args: &[Arg]) -> Self {
        let mut block = Vec::new();
        let mut starts = Vec::with_capacity(args.len());
        for arg in args {
            let address;
            let bytes: &[u8] = match arg {
                Arg::Value { bytes, .. } | Arg::Table { bytes, .. } => bytes,
                Arg::Pointer { at, .. } => {
                    address = at.0.to_ne_bytes();
                    &address
                }
            };
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
    fn pointers(&mut self) -> *mut *mut c_void {
        debug_assert!(self.pointers.is_empty() || !self.block.is_empty());
        self.pointers.as_mut_ptr()
    }
}

impl Driver for Cuda {
    fn describe(&self) -> Description {
        let Description { name, mut hardware } = self.card.describe(self.driver);
        if self.options.sync {
            hardware.push_str(", waiting for each kernel");
        }
        Description { name, hardware }
    }

    fn limits(&self) -> &Limits {
        &self.card.limits
    }

    fn load(&self, module: &Module) -> Result<()> {
        self.enter()?;
        let mut modules = lock(&self.modules);
        let key = (module.name, module.target);
        if modules.contains_key(&key) {
            return Ok(());
        }
        let handle = jit::load(self.library, module, self.driver)?;
        let code = Compiled { library: self.library, handle: Handle(handle) };
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        for entry in module.entries {
            functions.insert(std::ptr::from_ref(entry).addr(), self.function(module, handle, entry)?);
        }
        modules.insert(key, code);
        Ok(())
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        self.enter()?;
        self.memory.alloc(dtype, len).map_err(|refused| self.judge(refused))?
    }

    fn free(&self, at: Address) {
        // On a card that is lost the memory is lost too.
        if self.enter().is_ok() {
            self.memory.free(at);
        }
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        self.memory.find(to, bytes.len())?;
        self.staging.write(to, bytes).map_err(|refused| self.judge(refused))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let (first, whole) = self.memory.find(from, bytes.len())?;
        self.staging.read(from, bytes).map_err(|refused| self.judge(refused))?;
        lock(&self.recent).clear();
        if self.memory.guarded() { self.look_beside(first, whole) } else { Ok(()) }
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.enter()?;
        let name = launch.entry.name;
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let Some(function) = functions.get(&std::ptr::from_ref(launch.entry).addr()) else {
            return Err(Error::new(Kind::Device, format!("cuda: the kernel {name} is not loaded"))
                .help("load its module first; this is a bug in vgg-ft"));
        };
        self.opt_in(function, launch)?;
        let mut args = Arguments::new(&launch.args);
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let (shared, stream) = (launch.shared, self.stream.raw());
        // SAFETY: function and stream are alive; there is one pointer for each parameter, to as many bytes
        // as the parameter has (`Launch::check`), and they live until the call returns, by when the driver
        // has copied them. What the kernel does to memory is the kernel's promise: its operands are
        // buffers of the sizes that the call's geometry asks for (`device::gpu::lower`).
        let answer = unsafe {
            (self.library.call.launch)(
                function.handle.0,
                gx,
                gy,
                gz,
                bx,
                by,
                bz,
                shared,
                stream,
                args.pointers(),
                std::ptr::null_mut(),
            )
        };
        let facts = |error: Error| {
            error
                .fact("grid", format!("{gx} x {gy} x {gz}"))
                .fact("block", format!("{bx} x {by} x {bz}, {shared} bytes shared"))
        };
        if answer != SUCCESS && !is_sticky(answer) {
            return Err(facts(self.library.error(answer, &format!("start {name}"))));
        }
        self.answer(answer, "start a kernel")?;
        if self.options.sync {
            let answer = self.stream.wait();
            if answer != SUCCESS {
                let _ = self.lost.set(format!("{name}: {}", self.library.describe(answer)));
                return Err(facts(
                    Error::new(Kind::Device, format!("cuda: {name} went wrong on the card"))
                        .fact("reason", self.library.describe(answer))
                        .help("--device emulator:checked names buffer, element and line"),
                ));
            }
            return Ok(());
        }
        let mut recent = lock(&self.recent);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(name);
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        self.wait()
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // The fields give back what they hold, in this thread, after the last work is done.
        let _ = self.context.enter();
        let _ = self.stream.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
