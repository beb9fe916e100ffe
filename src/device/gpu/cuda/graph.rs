//! Whole steps as CUDA graphs: a repeated list of launches is started by one call.
//!
//! In: launches in order. Out: the same work, as a cached graph where one fits, with updated arguments where only these
//! differ, or as a new one. A graph is a chain, in the order of the one stream. With programmatic launches, a kernel that
//! waits by itself starts when all blocks of the one before are past their own wait, or have ended. Kernels two apart never
//! overlap: a kernel ends after its wait, so its end implies the end of all before it. The arena gives a step the
//! addresses of the step before, so only a few counters and rates change. Graphs are for speed alone: where a driver has
//! none, or the GPU no room for one, the launches are issued one by one.

use super::handle::{Handle, Stream};
use super::library::{self, Code, Edge, Library, Refused, answer};
use super::memory::OUT_OF_MEMORY;
use super::start::{Arguments, Function, described};
use crate::device::Launches;
use crate::device::gpu::launch::{Arg, Launch};
use cudarc::driver::sys;
use std::sync::Arc;

/// Lists shorter than this are started one by one: a graph of them saves nothing.
const LEAST: usize = 4;
/// So many graphs are kept: the steps of training and evaluation, whole and last batches, and some more.
const KEPT: usize = 8;
/// So many lists go one by one after the GPU had no room for a graph, before a graph is tried again: an
/// attempt that fails costs more than a graph saves.
const REST: u32 = 64;
/// The answer of a driver that has the functions but no graphs.
const NOT_SUPPORTED: Code = sys::cudaError_enum::CUDA_ERROR_NOT_SUPPORTED as Code;

/// What the edge of a programmatic launch is for.
const EARLY: &str = "let a kernel of a graph begin early (--launches programmatic)";

/// What was done with lists of launches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Graphs that were made.
    pub built: u64,
    /// Starts of a graph that had been started before.
    pub replayed: u64,
    /// Nodes that got other arguments before a start.
    pub changed: u64,
    /// Times that the GPU had no room for a graph, also without those that were kept.
    pub refused: u64,
    /// Nodes of graphs made that may begin before the one before them has ended.
    pub overlapping: u64,
}

/// The graphs that are kept.
#[derive(Default)]
pub struct Graphs {
    /// When nodes begin.
    launches: Launches,
    /// The one that was used last comes last.
    kept: Vec<Kept>,
    counts: Counts,
    /// The driver said that it has none.
    missing: bool,
    /// Lists that go one by one before a graph is tried again.
    resting: u32,
}

/// A list of which no graph was started: none of its launches runs.
struct Failed {
    refused: Refused,
    launches: Vec<Launch>,
    described: Arc<str>,
}

struct Kept {
    library: &'static Library,
    stream: Handle<sys::CUstream_st>,
    calls: &'static library::Graphs,
    launches: Vec<Launch>,
    described: Arc<str>,
    graph: Handle<sys::CUgraph_st>,
    exec: Handle<sys::CUgraphExec_st>,
    nodes: Vec<Handle<sys::CUgraphNode_st>>,
}

impl Graphs {
    /// None yet; nodes of those to come begin as `launches` says.
    pub fn new(launches: Launches) -> Self {
        Self { launches, ..Self::default() }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Gives the graphs back, after what they started; they are made again.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Starts `launches` as one and says what was started; or gives them back, to be started one by one. A
    /// refusal comes with what was to be started.
    #[allow(clippy::type_complexity)] // two outcomes and a refusal, said once
    pub fn start(
        &mut self,
        library: &'static Library,
        stream: &Stream,
        functions: &[&Function],
        launches: Vec<Launch>,
    ) -> Result<Result<Arc<str>, Vec<Launch>>, (Refused, Arc<str>)> {
        let Some(calls) = library.graphs.as_ref().filter(|_| !self.missing && launches.len() >= LEAST) else {
            return Ok(Err(launches));
        };
        if self.resting > 0 {
            self.resting -= 1;
            return Ok(Err(launches));
        }
        let any = !self.kept.is_empty();
        let mut tried = self.attempt(library, calls, stream, functions, launches);
        if any && matches!(&tried, Err(failed) if failed.refused.0 == OUT_OF_MEMORY) {
            // They hold memory of the GPU, and what is started now matters more.
            self.kept.clear();
            tried = tried.or_else(|failed| self.attempt(library, calls, stream, functions, failed.launches));
        }
        match tried {
            Ok(described) => Ok(Ok(described)),
            // Who asked for early kernels is told that there are none.
            Err(Failed { refused: (NOT_SUPPORTED, what), launches, .. }) if what != EARLY => {
                self.missing = true;
                Ok(Err(launches))
            }
            Err(Failed { refused: (OUT_OF_MEMORY, _), launches, .. }) => {
                self.counts.refused += 1;
                self.resting = REST;
                Ok(Err(launches))
            }
            Err(failed) => Err((failed.refused, failed.described)),
        }
    }

    /// Starts a kept graph or a new one. One that was refused anything is not kept: nobody knows how far it
    /// was changed.
    fn attempt(
        &mut self,
        library: &'static Library,
        calls: &'static library::Graphs,
        stream: &Stream,
        functions: &[&Function],
        launches: Vec<Launch>,
    ) -> Result<Arc<str>, Failed> {
        let (mut kept, changed) = match self.find(&launches) {
            Some((at, changed)) => {
                let mut kept = self.kept.remove(at);
                for &node in &changed {
                    if let Err(refused) = kept.set(node, functions[node], &launches[node]) {
                        return Err(Failed { refused, launches, described: Arc::clone(&kept.described) });
                    }
                }
                (kept, Some(changed.len()))
            }
            None => {
                let mut kept = Kept::new(library, calls, stream, launches);
                let overlapping =
                    kept.fill(functions, self.launches).map_err(|refused| kept.failed(refused))?;
                self.counts.overlapping += overlapping;
                if self.kept.len() >= KEPT {
                    self.kept.remove(0);
                }
                (kept, None)
            }
        };
        kept.launch().map_err(|refused| kept.failed(refused))?;
        match changed {
            Some(changed) => {
                self.counts.replayed += 1;
                self.counts.changed += changed as u64;
            }
            None => self.counts.built += 1,
        }
        let described = Arc::clone(&kept.described);
        self.kept.push(kept);
        Ok(described)
    }

    /// The kept graph of the same kernels that needs the fewest changes, and these. Where there is room, a
    /// list that shares less than half with any gets a graph of its own.
    fn find(&self, launches: &[Launch]) -> Option<(usize, Vec<usize>)> {
        let fits = self.kept.iter().enumerate().filter(|(_, kept)| {
            kept.launches.len() == launches.len() && kept.launches.iter().zip(launches).all(same_kernel)
        });
        let changes = fits.map(|(at, kept)| {
            let pairs = kept.launches.iter().zip(launches).enumerate();
            (at, pairs.filter(|(_, pair)| !same_arguments(*pair)).map(|(node, _)| node).collect::<Vec<_>>())
        });
        let (at, changed) = changes.min_by_key(|(_, changed)| changed.len())?;
        (self.kept.len() >= KEPT || 2 * changed.len() <= launches.len()).then_some((at, changed))
    }
}

fn same_kernel((one, other): (&Launch, &Launch)) -> bool {
    std::ptr::eq(one.entry, other.entry)
        && (one.grid, one.block, one.shared) == (other.grid, other.block, other.shared)
}

/// What the kernel receives; names and lengths are for people.
fn same_arguments((one, other): (&Launch, &Launch)) -> bool {
    one.args.len() == other.args.len()
        && one.args.iter().zip(&other.args).all(|pair| match pair {
            (Arg::Pointer { at: one, .. }, Arg::Pointer { at: other, .. }) => one == other,
            (one, other) => one.bytes() == other.bytes(),
        })
}

/// A node as the driver takes it; good while `args` lives and stays where it is.
fn parameters(function: &Function, launch: &Launch, args: &mut Arguments) -> sys::CUDA_KERNEL_NODE_PARAMS_v2 {
    let ([x, y, z], [bx, by, bz]) = (launch.grid, launch.block);
    sys::CUDA_KERNEL_NODE_PARAMS_v2 {
        func: function.handle.0,
        gridDimX: x,
        gridDimY: y,
        gridDimZ: z,
        blockDimX: bx,
        blockDimY: by,
        blockDimZ: bz,
        sharedMemBytes: launch.shared,
        kernelParams: args.pointers(),
        extra: std::ptr::null_mut(),
        // The function says which; no context means the current one.
        kern: std::ptr::null_mut(),
        ctx: std::ptr::null_mut(),
    }
}

impl Kept {
    /// For the launches; the driver knows nothing of it yet.
    fn new(
        library: &'static Library,
        calls: &'static library::Graphs,
        stream: &Stream,
        launches: Vec<Launch>,
    ) -> Self {
        Self {
            library,
            stream: Handle(stream.raw()),
            calls,
            described: described(&launches).into(),
            launches,
            graph: Handle(std::ptr::null_mut()),
            exec: Handle(std::ptr::null_mut()),
            nodes: Vec::new(),
        }
    }

    /// With the launches, which it has no more.
    fn failed(&mut self, refused: Refused) -> Failed {
        let launches = std::mem::take(&mut self.launches);
        Failed { refused, launches, described: Arc::clone(&self.described) }
    }

    /// Makes it ready to start; how many nodes begin before the one before has ended.
    fn fill(&mut self, functions: &[&Function], launches: Launches) -> Result<u64, Refused> {
        let mut graph = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        answer(unsafe { (self.calls.create)(&mut graph, 0) }, "make a graph")?;
        self.graph = Handle(graph);
        let mut overlapping = 0;
        for (launch, function) in self.launches.iter().zip(functions) {
            let mut args = Arguments::new(&launch.args);
            let node = parameters(function, launch, &mut args);
            let last = self.nodes.last().map(|node| node.0);
            let edges = self.library.edges.as_ref();
            let programmatic = launches == Launches::Programmatic && launch.entry.awaits && last.is_some();
            // Its edge is added when it is there.
            let programmatic = edges.filter(|_| programmatic);
            let before = if programmatic.is_some() { None } else { last };
            let (before, count) =
                (before.as_ref().map_or(std::ptr::null(), std::ptr::from_ref), before.iter().len());
            let mut made = std::ptr::null_mut();
            // SAFETY: writes one pointer; the graph is alive and so is the node before; the parameters are
            // those of a launch (`Cuda::start`), which the driver copies before it returns.
            let code = unsafe { (self.calls.add)(&mut made, self.graph.0, before, count, &raw const node) };
            answer(code, "add a kernel to a graph")?;
            if let (Some(edges), Some(last)) = (programmatic, last) {
                // SAFETY: both nodes are alive and of this graph, and kernels; one of each and one edge.
                let code = unsafe { (edges.add)(self.graph.0, &last, &made, &Edge::PROGRAMMATIC, 1) };
                answer(code, EARLY)?;
                overlapping += 1;
            }
            self.nodes.push(Handle(made));
        }
        let mut exec = std::ptr::null_mut();
        // SAFETY: both write one pointer; the older one may be given neither node nor log to write to.
        let code = unsafe {
            match (&self.library.instantiate, &self.library.instantiate_v2) {
                (Some(by), _) => (by.with_flags)(&mut exec, self.graph.0, 0),
                (None, Some(by)) => {
                    (by.with_log)(&mut exec, self.graph.0, std::ptr::null_mut(), std::ptr::null_mut(), 0)
                }
                (None, None) => NOT_SUPPORTED,
            }
        };
        answer(code, "make a graph ready")?;
        self.exec = Handle(exec);
        Ok(overlapping)
    }

    /// Other arguments for a node, from the next start on; one that is on its way keeps what it has.
    fn set(&mut self, at: usize, function: &Function, launch: &Launch) -> Result<(), Refused> {
        let mut args = Arguments::new(&launch.args);
        let node = parameters(function, launch, &mut args);
        // SAFETY: graph and node are alive, the kernel is the node's own; parameters as in `fill`.
        let code = unsafe { (self.calls.set)(self.exec.0, self.nodes[at].0, &raw const node) };
        answer(code, "change a graph")?;
        self.launches[at] = launch.clone();
        Ok(())
    }

    fn launch(&self) -> Result<(), Refused> {
        // SAFETY: graph and stream are alive; what its kernels do to memory is what the same launches do
        // one by one (`Cuda::start`), since a graph in a stream keeps the stream's order.
        answer(unsafe { (self.calls.launch)(self.exec.0, self.stream.0) }, "start a graph")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may still run; an error of its kernels comes up at the next call.
        // SAFETY: the stream is alive; graph and exec are given back once. There may be no exec, and no graph.
        unsafe {
            (self.library.call.stream_wait)(self.stream.0);
            if !self.exec.0.is_null() {
                (self.calls.exec_destroy)(self.exec.0);
            }
            if !self.graph.0.is_null() {
                (self.calls.destroy)(self.graph.0);
            }
        }
    }
}
