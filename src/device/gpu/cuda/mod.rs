//! The CUDA driver: libcuda, found at run time.
//!
//! In: what [`Driver`] takes. Out: work on a GPU. There is one stream, so everything happens in the order it was
//! asked for, frees included; copies go through pinned memory. A fault in a kernel surfaces later, with the kernels that
//! may have caused it, or with [`Options::sync`] at once.

mod arena;
mod card;
mod ceiling;
mod graph;
mod handle;
mod jit;
mod library;
mod memory;
mod staging;
mod start;
mod tensor;
mod together;

pub use arena::GRAIN;
pub use card::{Card, Found, Version, find};
pub use graph::Counts;

use super::driver::{Address, Driver};
use super::launch::{Launch, Limits};
use super::module::Module;
use super::plan;
use super::tensor_map::{self, TensorMap};
use crate::device::{Capacity, Description, Dtype, Launches};
use crate::error::{Error, Kind, Result};
use graph::Graphs;
use handle::{Code as Compiled, Context, Handle, Stream};
use library::{Code, Library, Refused, answer, is_a_kernels, is_sticky, library};
use memory::{GUARD, GUARD_BYTE, Memory, OUT_OF_MEMORY};
use staging::Staging;
use start::Function;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use together::{Pending, Recent};

/// So many encoded tensor maps are kept: those of several networks' steps.
const MAPS: usize = 4096;

/// How to work on a GPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// N of `cuda:N`; the first that can run the kernels if not given.
    pub number: Option<usize>,
    /// Wait for each kernel, so that one that goes wrong is named. Slow.
    pub sync: bool,
    /// For tests: fresh memory is NaN, and a write beside a buffer is found when it is read.
    pub guarded: bool,
    /// Start each kernel by itself, also those of a step: no graphs.
    pub single: bool,
    /// When the kernels of a graph begin.
    pub launches: Launches,
}

/// A GPU. Fields are dropped in this order: the context last.
pub struct Cuda {
    graphs: Mutex<Graphs>,
    pending: Mutex<Pending>,
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
    recent: Mutex<Recent>,
    /// Tensor maps as the driver encodes them: a step asks for those of the step before.
    maps: Mutex<HashMap<TensorMap, [u8; tensor_map::BYTES]>>,
    /// Why nothing works any more.
    lost: OnceLock<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether launches can be as they were asked for.
fn check_launches(options: Options, card: &Description, capability: u32, library: &Library) -> Result<()> {
    options.launches.check(card, capability)?;
    if options.launches == Launches::Serial {
        return Ok(());
    }
    if options.sync || options.single || options.guarded {
        let why = if options.sync { "--sync waits for each kernel" } else { "there are no graphs" };
        return Err(Error::new(Kind::Usage, format!("{why}, so none begins before another ends"))
            .expected_got("--launches serial", options.launches)
            .help("leave one of the two out"));
    }
    if library.graphs.is_none() || library.edges.is_none() {
        return Err(Error::new(Kind::Device, "this driver has no programmatic launches in graphs")
            .fact("device", &card.hardware)
            .fact("expected", "a driver of CUDA 12.3 or newer")
            .help("update the driver, or leave --launches out"));
    }
    Ok(())
}

impl Cuda {
    /// Opens a GPU.
    ///
    /// # Errors
    /// [`Kind::Device`] when there is no driver, no such GPU, or one that our kernels cannot run on, or not with such
    /// launches; [`Kind::Usage`] for launches that graphs alone have, without graphs.
    pub fn open(options: Options) -> Result<Self> {
        let found = find()?;
        let card = match options.number {
            Some(number) => found.card(number),
            None => found.first(),
        }?
        .clone();
        let library = library()?;
        check_launches(options, &card.describe(found.driver), card.limits.capability, library)?;
        let context = Context::retain(library, card.device)?;
        context.enter().map_err(|(code, what)| library.error(code, what))?;
        let stream = Stream::new(library)?;
        let memory = Memory::new(library, &stream, options.guarded);
        let staging = Staging::new(library, stream.raw())?;
        Ok(Self {
            graphs: Mutex::new(Graphs::new(options.launches)),
            pending: Mutex::default(),
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
            maps: Mutex::default(),
            lost: OnceLock::new(),
        })
    }

    /// The GPU.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// What became of the steps so far.
    pub fn counts(&self) -> Counts {
        lock(&self.graphs).counts()
    }

    /// Before every conversation with the driver.
    fn enter(&self) -> Result<()> {
        if let Some(since) = self.lost.get() {
            return Err(Error::new(Kind::Device, "cuda: this process cannot use the GPU any more")
                .fact("since", since)
                .help("start again; nothing that was on the GPU can be saved"));
        }
        self.context.enter().map_err(|refused| self.judge(refused))
    }

    /// Has the driver compile `module`, unless it is loaded, and finds its kernels.
    fn compile(&self, module: &Module) -> Result<Result<(), Refused>> {
        let mut modules = lock(&self.modules);
        let key = (module.name, module.target);
        if modules.contains_key(&key) {
            return Ok(Ok(()));
        }
        let handle = match jit::load(self.library, module, self.driver)? {
            Ok(handle) => handle,
            Err(refused) => return Ok(Err(refused)),
        };
        let code = Compiled { library: self.library, handle: Handle(handle) };
        // All or none: where one is missing, `code` takes the others with it.
        let mut found = Vec::with_capacity(module.entries.len());
        for entry in module.entries {
            match Function::find(self.library, module, handle, entry)? {
                Ok(function) => found.push((std::ptr::from_ref(entry).addr(), function)),
                Err(refused) => return Ok(Err(refused)),
            }
        }
        self.functions.write().unwrap_or_else(PoisonError::into_inner).extend(found);
        modules.insert(key, code);
        Ok(Ok(()))
    }

    /// What the driver's answer to `what` means. An answer may speak of earlier work.
    fn judge(&self, (code, what): Refused) -> Error {
        let error = self.library.error(code, what);
        if !is_sticky(code) {
            return error;
        }
        let _ = self.lost.set(format!("{}: {}", error.message(), self.library.describe(code)));
        if !is_a_kernels(code) {
            return error.fact("kernels", lock(&self.recent));
        }
        // The two are refused together.
        let again = match self.options.launches {
            Launches::Serial => "--sync",
            Launches::Programmatic => "--sync and without --launches",
        };
        Error::new(Kind::Device, "cuda: a kernel went wrong on the GPU")
            .fact("reason", self.library.describe(code))
            .fact("seen", format!("trying to {what}"))
            .fact("kernels", lock(&self.recent))
            .help(format!(
                "run again with {again} to learn which of these it was, and with --device emulator:checked to \
                 learn which element"
            ))
    }

    fn answer(&self, code: Code, what: &'static str) -> Result<()> {
        answer(code, what).map_err(|refused| self.judge(refused))
    }

    /// All work is done; what was started is no longer suspect.
    fn wait(&self) -> Result<()> {
        self.settle()?;
        self.answer(self.stream.wait(), "wait for the GPU")?;
        lock(&self.recent).clear();
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
                    .fact("buffer", format!("{}, {bytes} bytes at {:#x}", self.memory.name(first), first.0))
                    .fact("byte", format!("{away} {side} it"))
                    .help("a kernel writes past its operand: --device emulator:checked names it"));
            }
        }
        Ok(())
    }
}

impl Driver for Cuda {
    fn describe(&self) -> Description {
        let Description { name, mut hardware } = self.card.describe(self.driver);
        if self.options.sync {
            hardware.push_str(", waiting for each kernel");
        }
        if self.options.launches == Launches::Programmatic {
            hardware.push_str(", programmatic launches");
        }
        Description { name, hardware }
    }

    fn limits(&self) -> &Limits {
        &self.card.limits
    }

    fn load(&self, module: &Module) -> Result<()> {
        self.enter()?;
        self.compile(module)?.map_err(|refused| self.judge(refused))
    }

    fn reads(&self, module: &Module) -> bool {
        // All special modules take tensor maps.
        jit::reads(module, self.driver) && (!module.is_special() || self.library.tensors.is_some())
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        self.enter()?;
        // Graphs hold memory of the GPU, too, and are made again.
        let spare = || lock(&self.graphs).clear();
        self.memory.alloc(dtype, len, || self.settled(), spare).map_err(|refused| self.judge(refused))?
    }

    fn free(&self, at: Address) {
        // On a GPU that is lost the memory is lost too.
        if self.enter().is_ok() {
            self.memory.free(at);
        }
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        self.memory.find(to, bytes.len())?;
        self.settle()?;
        self.staging.write(to, bytes).map_err(|refused| self.judge(refused))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let (first, whole) = self.memory.find(from, bytes.len())?;
        self.settle()?;
        self.staging.read(from, bytes).map_err(|refused| self.judge(refused))?;
        lock(&self.recent).clear();
        if self.memory.guarded() { self.look_beside(first, whole) } else { Ok(()) }
    }

    fn read_later(&self, from: Address, bytes: usize) -> Result<Option<usize>> {
        // Whoever looks for writes beside buffers, or for the kernel that went wrong, does so at once.
        if self.memory.guarded() || self.options.sync || !Staging::fits_later(bytes) {
            return Ok(None);
        }
        self.enter()?;
        self.memory.find(from, bytes)?;
        self.settle()?;
        self.staging.read_later(from, bytes)?.map(Some).map_err(|refused| self.judge(refused))
    }

    fn landed(&self, number: usize) -> Result<Vec<u8>> {
        self.enter()?;
        let landed = self
            .staging
            .landed(number)
            .ok_or_else(|| Error::bug(Kind::Device, format!("cuda: no copy {number} is on its way")))?;
        landed.map_err(|refused| self.judge(refused))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.enter()?;
        if let Some(module) = self.missing(launch) {
            match self.compile(module)? {
                Ok(()) => {}
                // Its code needs memory of the GPU, too.
                Err((OUT_OF_MEMORY, _)) => {
                    let kept_back = self.settled()?;
                    lock(&self.graphs).clear();
                    self.memory.release().map_err(|refused| self.judge(refused))?;
                    drop(kept_back);
                    self.load(module)?;
                }
                Err(refused) => return Err(self.judge(refused)),
            }
        }
        self.take(launch)
    }

    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        self.wait()
    }

    fn card(&self) -> Option<&'static plan::Card> {
        plan::Card::of(&self.card.name, self.card.limits.sms, self.card.memory)
    }

    fn tensor_map(&self, map: &TensorMap) -> Result<[u8; tensor_map::BYTES]> {
        self.enter()?;
        let mut maps = lock(&self.maps);
        if let Some(bytes) = maps.get(map) {
            return Ok(*bytes);
        }
        let bytes = tensor::encode(self.library, map)?;
        if maps.len() >= MAPS {
            maps.clear();
        }
        maps.insert(*map, bytes);
        Ok(bytes)
    }

    fn together(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.gather(work)
    }

    fn memory(&self) -> Result<Option<Capacity>> {
        self.enter()?;
        self.memory.capacity().map(Some).map_err(|refused| self.judge(refused))
    }

    fn label(&self, label: &str) {
        self.memory.label(label);
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Counts { built, replayed, changed, refused, overlapping } = self.counts();
        vec![
            ("graphs built", built),
            ("graphs replayed", replayed),
            ("graph nodes changed", changed),
            ("graphs without room", refused),
            ("graph nodes that begin early", overlapping),
        ]
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // The fields give back what they hold, in this thread, after the last work is done.
        let _ = self.context.enter();
        let _ = self.stream.wait();
    }
}
