//! Pending launches: issued one by one, or collected while a step is `together` and started as a graph.
//!
//! In: launches. Out: work in the stream, in the order of the calls, whatever thread makes them. What must not overtake a
//! pending launch (a copy, a wait, memory returned to the system) settles them first.

use super::library::{SUCCESS, is_a_kernels, is_sticky};
use super::start::{Arguments, Function};
use super::{Cuda, lock};
use crate::device::Launches;
use crate::device::gpu::launch::Launch;
use crate::device::gpu::module::{self, Module};
use crate::error::{Error, Kind, Result};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError, RwLockReadGuard};

/// What an error lists of what was started since the last wait.
const REMEMBERED: usize = 16;

/// Launches that are kept back.
#[derive(Default)]
pub struct Pending {
    /// How many are at work inside `together`.
    depth: usize,
    launches: Vec<Launch>,
}

/// Something that was started.
#[derive(Clone)]
pub enum Started {
    /// A kernel by itself.
    Kernel(&'static str),
    /// A graph, with its kernels.
    Graph(Arc<str>),
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(name) => f.write_str(name),
            Self::Graph(described) => f.write_str(described),
        }
    }
}

/// What was started since the last wait, the newest last.
#[derive(Default)]
pub struct Recent(VecDeque<Started>);

impl Recent {
    fn push(&mut self, started: Started) {
        if let (Started::Graph(new), Some(Started::Graph(last))) = (&started, self.0.back())
            && Arc::ptr_eq(new, last)
        {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(started);
    }

    /// All is done and well.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Display for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none since the last wait");
        }
        let names: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(", "))
    }
}

type Functions<'a> = RwLockReadGuard<'a, HashMap<usize, Function>>;

/// Leaves `together` when the work in it panics, too.
struct Inside<'a>(&'a Cuda);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.0.pending).depth -= 1;
    }
}

impl Cuda {
    /// Whether launches of a step are kept back. Under guards they are not: fresh memory is filled at once,
    /// and a fill must not overtake the launch that used the place before.
    fn gathers(&self) -> bool {
        self.library.graphs.is_some() && !(self.options.sync || self.options.single || self.options.guarded)
    }

    /// [`Driver::together`](crate::device::gpu::driver::Driver::together).
    pub(super) fn gather(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        if !self.gathers() {
            return work();
        }
        lock(&self.pending).depth += 1;
        let inside = Inside(self);
        let result = work();
        drop(inside);
        let settled = self.enter().and_then(|()| self.settle());
        // What went wrong first is said.
        result.and(settled)
    }

    /// Keeps a launch back if a step is being gathered, or starts it.
    pub(super) fn take(&self, launch: &Launch) -> Result<()> {
        // The driver reads as many arguments as the kernel has, whatever it is given.
        launch.check_args()?;
        let mut pending = lock(&self.pending);
        if pending.depth > 0 {
            // What is wrong with it is said now.
            self.function(&self.functions(), launch)?;
            pending.launches.push(launch.clone());
            return Ok(());
        }
        // Of a gathering that ended in a panic.
        self.start_all(&mut pending)?;
        drop(pending);
        self.start(launch)
    }

    /// Starts what was kept back.
    pub(super) fn settle(&self) -> Result<()> {
        self.settled().map(|_| ())
    }

    /// The same; as long as the guard lives, no launch is kept back by anybody. Whoever holds it may go on to
    /// the functions, the graphs, the memory and what was started last; none of these asks for the guard.
    pub(super) fn settled(&self) -> Result<MutexGuard<'_, Pending>> {
        let mut pending = lock(&self.pending);
        self.start_all(&mut pending)?;
        Ok(pending)
    }

    /// With the lock held: nobody's launch comes between.
    fn start_all(&self, pending: &mut MutexGuard<'_, Pending>) -> Result<()> {
        let launches = std::mem::take(&mut pending.launches);
        if launches.is_empty() {
            return Ok(());
        }
        let started = {
            let all = self.functions();
            let functions =
                launches.iter().map(|launch| self.function(&all, launch)).collect::<Result<Vec<_>>>()?;
            lock(&self.graphs).start(self.library, &self.stream, &functions, launches)
        };
        match started {
            Ok(Ok(described)) => {
                lock(&self.recent).push(Started::Graph(described));
                Ok(())
            }
            Ok(Err(launches)) => launches.iter().try_for_each(|launch| self.start(launch)),
            Err((refused, described)) => {
                lock(&self.recent).push(Started::Graph(described.clone()));
                let error = self.judge(refused);
                Err(if is_sticky(refused.0) {
                    error
                } else {
                    // --sync is refused beside the other launches.
                    let help = match self.options.launches {
                        Launches::Serial => "run again with --sync, which uses no graphs",
                        Launches::Programmatic => "leave --launches out",
                    };
                    error.fact("graph", described).help(help)
                })
            }
        }
    }

    fn functions(&self) -> Functions<'_> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The module of a launch whose kernel is not loaded.
    pub(super) fn missing(&self, launch: &Launch) -> Option<&'static Module> {
        let known = self.functions().contains_key(&std::ptr::from_ref(launch.entry).addr());
        if known { None } else { module::of(launch.entry) }
    }

    /// The kernel of a launch, allowed what the launch asks for.
    fn function<'a>(&self, all: &'a Functions<'_>, launch: &Launch) -> Result<&'a Function> {
        let function = all.get(&std::ptr::from_ref(launch.entry).addr()).ok_or_else(|| {
            Error::new(Kind::Device, format!("cuda: the kernel {} is not loaded", launch.entry.name))
                .help("load its module first; this is a bug in vgg-ft")
        })?;
        function.opt_in(self.library, self.card.limits.shared, launch).map_err(|refused| {
            let error = self.judge(refused);
            if is_sticky(refused.0) {
                return error;
            }
            error
                .fact("kernel", launch.entry.name)
                .fact("asked for", format!("{} bytes of shared memory", launch.shared))
        })?;
        Ok(function)
    }

    fn start(&self, launch: &Launch) -> Result<()> {
        let name = launch.entry.name;
        let functions = self.functions();
        let function = self.function(&functions, launch)?;
        let mut args = Arguments::new(&launch.args);
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        let (shared, stream) = (launch.shared, self.stream.raw());
        // SAFETY: function and stream are alive; there is one pointer for each parameter, to as many bytes
        // as the parameter has (`take` checked them), and they live until the call returns, by when the driver
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
        lock(&self.recent).push(Started::Kernel(name));
        if self.options.sync { self.wait_for(name).map_err(facts) } else { Ok(()) }
    }

    /// Until the one kernel that runs is done.
    fn wait_for(&self, name: &str) -> Result<()> {
        let answer = self.stream.wait();
        if is_a_kernels(answer) {
            let reason = self.library.describe(answer);
            let _ = self.lost.set(format!("{name}: {reason}"));
            return Err(Error::new(Kind::Device, format!("cuda: {name} went wrong on the GPU"))
                .fact("reason", reason)
                .help("--device emulator:checked names buffer, element and line"));
        }
        // A kernel may also take too long, or the GPU break under it.
        self.answer(answer, "wait for a kernel")?;
        lock(&self.recent).clear();
        Ok(())
    }
}
