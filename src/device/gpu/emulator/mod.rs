//! The emulator: an interpreter for the PTX that ships.
//!
//! In: the same modules and launches as an NVIDIA driver gets. Out: the same numbers, and where a kernel
//! is wrong, a report that names buffer, element, source line and thread. Blocks run in parallel, each on
//! one thread; a block's warps take turns; a warp's 32 lanes run at once (`alu`). How it works,
//! what it can show and what it cannot: docs/emulator.md.

mod access;
mod alu;
mod block;
mod cluster;
mod collective;
mod core;
mod engine;
mod fault;
mod grid;
mod lanes;
mod matrix;
mod memory;
mod owners;
mod profile;
mod shared;
mod trace;
mod watched;
mod words;

pub use fault::{Check, Fault};
pub use grid::{Options, Ran, Schedule, Statistics, Touched};
pub use matrix::Tensor;
pub use profile::{LineCount, profile};
pub use trace::{Step, Trace};
pub use watched::{Started, Watched};

use super::driver::{Address, Driver};
use super::launch::{Arg, Launch, Limits};
use super::module;
use super::tensor_map::{self, TensorMap};
use super::tried;
use crate::device::{Description, Dtype};
use crate::error::{Error, Kind, Result};
use crate::ptx::{Function, Module, Program, Space, parse};
use block::Block;
use grid::{Grid, Named};
use memory::Memory;
use rayon::ThreadPool;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A kernel that can be launched.
struct Loaded {
    module: Arc<Module>,
    program: Program,
    constants: Arc<Vec<u8>>,
}

/// A module whose text was read, and where its variables are.
struct Opened {
    module: Arc<Module>,
    addresses: HashMap<String, u64>,
    constants: Arc<Vec<u8>>,
}

/// The machine.
pub struct Emulator {
    options: Options,
    limits: Limits,
    memory: Memory,
    threads: ThreadPool,
    loaded: Mutex<HashMap<String, Arc<Loaded>>>,
    /// Of entries that ship the module. A text is read when one of its entries is first launched, and of a module that
    /// entry alone becomes a program: a run needs a few of the 200.
    known: Mutex<HashMap<&'static str, module::Module>>,
    /// Of each entry of a module that was read.
    opened: Mutex<HashMap<String, Arc<Opened>>>,
    names: Mutex<Vec<(&'static str, &'static str)>>,
    launches: AtomicU64,
    statistics: Mutex<HashMap<String, Statistics>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Emulator {
    /// A machine with empty memory.
    ///
    /// # Errors
    /// [`Kind::Device`] when the system gives no threads.
    pub fn new(options: Options) -> Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads.unwrap_or(0))
            .thread_name(|i| format!("emulator-{i}"))
            .build()
            .map_err(|reason| {
                Error::new(Kind::Device, "the system gives no threads")
                    .fact("reason", reason)
                    .help("ask for fewer")
            })?;
        Ok(Self {
            options,
            // CUDA C++ Programming Guide, "Technical Specifications"; those of 8.0 and 9.0; as many multiprocessors as a
            // large GPU has.
            limits: Limits {
                capability: options.capability,
                sms: 132,
                grid: [i32::MAX as u32, 65535, 65535],
                block: [1024, 1024, 64],
                threads: 1024,
                shared: 48 << 10,
                shared_opt_in: if options.capability >= 90 { 227 << 10 } else { 163 << 10 },
            },
            memory: Memory::new(options.checked),
            threads,
            loaded: Mutex::default(),
            known: Mutex::default(),
            opened: Mutex::default(),
            names: Mutex::default(),
            launches: AtomicU64::new(0),
            statistics: Mutex::default(),
        })
    }

    /// Makes the entries of a PTX text known; `name` stands in messages.
    ///
    /// # Errors
    /// [`Kind::Device`]: what the text holds that is not known, with file, line and text.
    pub fn load_text(&self, name: &str, text: &str) -> Result<Vec<String>> {
        let module = parse(name, text)?;
        let names: Vec<String> = module.entries.iter().map(|entry| entry.name.clone()).collect();
        self.load_parsed(module)?;
        for name in &names {
            self.loaded(name)?;
        }
        Ok(names)
    }

    /// Makes the entries of a module known that was read from a text. What none of them launches is not looked at.
    ///
    /// # Errors
    /// [`Kind::Device`] when its variables have no room.
    pub fn load_parsed(&self, module: Module) -> Result<()> {
        let opened = Arc::new(self.open(module)?);
        for entry in &opened.module.entries {
            lock(&self.opened).insert(entry.name.clone(), Arc::clone(&opened));
            lock(&self.loaded).remove(&entry.name);
        }
        Ok(())
    }

    /// Gives the variables of a module a place.
    fn open(&self, module: Module) -> Result<Opened> {
        let mut addresses = HashMap::new();
        let mut constants = Vec::new();
        for variable in &module.variables {
            match variable.space {
                Space::Const => {
                    constants.resize(constants.len().next_multiple_of(variable.align as usize), 0);
                    addresses.insert(variable.name.clone(), constants.len() as u64);
                    let zeros = vec![0; variable.size as usize];
                    constants.extend(variable.init.as_ref().unwrap_or(&zeros));
                }
                Space::Global => {
                    let base = self.memory.alloc(Dtype::U8, variable.size as usize)?;
                    let zeros = vec![0; variable.size as usize];
                    let (allocation, offset) = self.memory.find(base, zeros.len())?;
                    allocation.write(offset, variable.init.as_ref().unwrap_or(&zeros));
                    addresses.insert(variable.name.clone(), base);
                }
                _ => {}
            }
        }
        Ok(Opened { module: Arc::new(module), addresses, constants: Arc::new(constants) })
    }

    fn program(&self, opened: &Opened, entry: &Function) -> Result<Loaded> {
        let Opened { module, addresses, constants } = opened;
        let program = Program::new(module, entry, addresses, self.options.checked)?;
        Ok(Loaded { module: Arc::clone(module), program, constants: Arc::clone(constants) })
    }

    /// The program of an entry, and its module, for those who want to look.
    ///
    /// # Errors
    /// [`Kind::Device`] when no loaded module has it.
    pub fn look<T>(&self, entry: &str, see: impl FnOnce(&Program, &Module) -> T) -> Result<T> {
        let loaded = self.loaded(entry)?;
        Ok(see(&loaded.program, &loaded.module))
    }

    /// What the launches of an entry did so far, and forgets it.
    pub fn take_statistics(&self, entry: &str) -> Option<Statistics> {
        lock(&self.statistics).remove(entry)
    }

    fn loaded(&self, entry: &str) -> Result<Arc<Loaded>> {
        if let Some(loaded) = lock(&self.loaded).get(entry) {
            return Ok(Arc::clone(loaded));
        }
        let unknown = || {
            Error::new(Kind::Device, format!("no loaded module has an entry `{entry}`"))
                .help("this is a bug in vgg-ft: modules that ship are loaded at a launch")
        };
        // Held meanwhile, so that no two threads read a text, and give its variables two places.
        let mut known = lock(&self.known);
        let read = lock(&self.opened).get(entry).cloned();
        let opened = match read {
            Some(opened) => opened,
            None => {
                let module = known.get(entry).copied().ok_or_else(unknown)?;
                self.load_parsed(parse(&tried::path(&module), &tried::text(&module)?)?)?;
                known.retain(|_, other| [other.name, other.target] != [module.name, module.target]);
                lock(&self.opened).get(entry).cloned().ok_or_else(unknown)?
            }
        };
        drop(known);
        let kernel = opened.module.entry(entry).ok_or_else(unknown)?;
        let loaded = Arc::new(self.program(&opened, kernel)?);
        lock(&self.loaded).insert(entry.to_owned(), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// [`Driver::launch`], with a thread to follow.
    ///
    /// # Errors
    /// As [`Driver::launch`].
    pub fn launch_traced(&self, launch: &Launch, trace: Option<&Trace>) -> Result<()> {
        if let Some(module) = module::of(launch.entry) {
            self.load(module)?;
        }
        let loaded = self.loaded(launch.entry.name)?;
        cluster::check(&loaded.program, launch)?;
        let grid = Grid {
            program: &loaded.program,
            module: &loaded.module,
            args: arguments(&loaded, launch)?,
            named: launch.args.iter().flat_map(named).collect(),
            memory: self.memory.snapshot(),
            all: &self.memory,
            constants: &loaded.constants,
            options: self.options,
            stamp: (self.launches.fetch_add(1, Ordering::Relaxed) % u64::from(u32::MAX)) as u32 + 1,
            grid: launch.grid,
            block: launch.block,
            dynamic: launch.shared,
            wide: alu::wide_here(),
            trace,
            owners: self.options.global_races.then(Default::default),
        };
        // Which of two blocks is told of a race is a matter of who came second: one worker keeps them in order.
        let workers = if grid.owners.is_some() { 1 } else { self.threads.current_num_threads() };
        let result = self.threads.install(|| run(&grid, workers));
        let statistics = result.map_err(|fault| fault.report(&loaded.module, launch.entry.name))?;
        let mut all = lock(&self.statistics);
        let sum = match all.remove(launch.entry.name) {
            Some(before) => before.plus(&statistics),
            None => statistics,
        };
        all.insert(launch.entry.name.to_owned(), sum);
        Ok(())
    }
}

/// The buffers that an argument leads to.
fn named(arg: &Arg) -> Vec<Named> {
    match arg {
        Arg::Pointer { name, at, dtype, .. } | Arg::Tensor { name, at, dtype, .. } => {
            vec![Named { name: (*name).to_owned(), base: at.0, dtype: *dtype }]
        }
        Arg::Value { .. } => Vec::new(),
        Arg::Table { operands, .. } => operands
            .iter()
            .map(|held| Named { name: held.name.clone(), base: held.at.0, dtype: held.dtype })
            .collect(),
    }
}

/// The arguments' bytes, as the PTX lays them out.
fn arguments(loaded: &Loaded, launch: &Launch) -> Result<Vec<u8>> {
    let program = &loaded.program;
    let Some(function) = loaded.module.entry(&program.name) else { return Ok(Vec::new()) };
    let mut bytes = vec![0; program.param_size as usize];
    if function.params.len() != launch.args.len() {
        return Err(Error::new(Kind::Device, format!("{}: another number of arguments", program.name))
            .expected_got(function.params.len(), launch.args.len()));
    }
    for (k, (param, arg)) in function.params.iter().zip(&launch.args).enumerate() {
        let value = arg.bytes();
        if value.len() != param.size as usize {
            return Err(Error::new(Kind::Device, format!("{}: argument {k} has another size", program.name))
                .expected_got(format!("{} bytes", param.size), value.len()));
        }
        bytes[param.offset as usize..][..value.len()].copy_from_slice(&value);
    }
    Ok(bytes)
}

/// Runs all blocks. Workers take them in order, so the fault that is reported is that of the lowest block that has one,
/// whatever the number of workers; but for faults between blocks, which depend on who came first.
fn run(grid: &Grid<'_>, workers: usize) -> std::result::Result<Statistics, Box<Fault>> {
    let blocks: u64 = grid.grid.iter().map(|&n| u64::from(n)).product();
    let count = blocks / u64::from(grid.program.cluster);
    let next = AtomicU64::new(0);
    let worst = AtomicU64::new(u64::MAX);
    type Found = Option<(u64, Box<Fault>)>;
    let results: Vec<(Statistics, Found)> = {
        use rayon::prelude::*;
        let workers = workers.min(usize::try_from(count).unwrap_or(usize::MAX)).max(1);
        (0..workers)
            .into_par_iter()
            .map(|_| {
                let mut block = Block::new(grid);
                let mut found = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || number > worst.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Err(fault) = block.run(number) {
                        worst.fetch_min(number, Ordering::Relaxed);
                        found = Some((number, fault));
                        break;
                    }
                }
                (block.statistics, found)
            })
            .collect()
    };
    let mut sum = Statistics::new(grid.program);
    let mut first: Found = None;
    for (statistics, found) in results {
        sum = sum.plus(&statistics);
        if let Some((number, fault)) = found
            && first.as_ref().is_none_or(|(other, _)| number < *other)
        {
            first = Some((number, fault));
        }
    }
    first.map_or(Ok(sum), |(_, fault)| Err(fault))
}

impl Driver for Emulator {
    fn is_simulated(&self) -> bool {
        true
    }

    fn describe(&self) -> Description {
        let threads = self.threads.current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        let checks = if self.options.checked { "all checks" } else { "bounds checks only" };
        Description {
            name: "emulator".into(),
            hardware: format!("our PTX machine, {checks}, {threads} thread{plural}"),
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn load(&self, module: &module::Module) -> Result<()> {
        let key = (module.name, module.target);
        let mut names = lock(&self.names);
        if !names.contains(&key) {
            names.push(key);
            lock(&self.known).extend(module.entries.iter().map(|entry| (entry.name, *module)));
        }
        Ok(())
    }

    fn alloc(&self, dtype: Dtype, len: usize) -> Result<Address> {
        self.memory.alloc(dtype, len).map(Address)
    }

    fn free(&self, at: Address) {
        self.memory.free(at.0);
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        let (allocation, offset) = self.memory.find(to.0, bytes.len())?;
        allocation.write(offset, bytes);
        Ok(())
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        let (allocation, offset) = self.memory.find(from.0, bytes.len())?;
        allocation.read(offset, bytes);
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.launch_traced(launch, None)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn tensor_map(&self, map: &TensorMap) -> Result<[u8; tensor_map::BYTES]> {
        Ok(map.encode())
    }
}
