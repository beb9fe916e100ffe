//! Graphs of kernels: nodes with what comes before them, and what is made of them to be started.
//!
//! As unkind as the manual allows: of nodes that do not wait for each other the later one runs first, a graph
//! that is still running must not be destroyed, a node can be changed as long as its graph is there and to the
//! same kernel alone, and one that begins early must wait by itself.

use crate::machine::*;
use std::collections::HashMap;
use std::ffi::{c_char, c_uint, c_ulonglong, c_void};
use vgg_ft::device::gpu::launch::Launch;

#[derive(Default)]
pub struct Graphs {
    /// Nodes of each graph, with the nodes they wait for.
    graphs: HashMap<usize, Vec<(usize, Vec<usize>, Launch)>>,
    execs: HashMap<usize, Exec>,
    made: usize,
    /// Calls of each function.
    asked: HashMap<&'static str, usize>,
}

struct Exec {
    graph: usize,
    /// In the order in which they run.
    nodes: Vec<(usize, Launch)>,
    /// The number of works that must be done before it may be destroyed.
    until: u64,
}

/// NVIDIA's `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
pub struct NodeParams {
    function: usize,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    params: *const *const c_void,
    extra: *const c_void,
    kernel: usize,
    context: usize,
}

impl NodeParams {
    fn launch(&self, machine: &Machine) -> Result<Launch, c_uint> {
        if self.kernel != 0 || ![0, THE_ONE].contains(&self.context) {
            return Err(INVALID_VALUE);
        }
        machine.launch_of(self.function, self.grid, self.block, self.shared, self.params, self.extra)
    }
}

impl Graphs {
    fn handle(&mut self) -> usize {
        self.made += 1;
        0x100_0000 + self.made
    }

    /// Whether this call of `function` was told to find the GPU full.
    fn is_full(&mut self, function: &'static str) -> bool {
        let asked = self.asked.entry(function).or_default();
        *asked += 1;
        let told = word("full").unwrap_or_default();
        let (name, from) = told.split_once(':').unwrap_or((&told, "1"));
        name == function && *asked >= from.parse().unwrap()
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphCreate(graph: *mut usize, flags: c_uint) -> c_uint {
    inside(|machine| {
        if word("no-graphs").is_some() {
            return NOT_SUPPORTED;
        }
        if machine.graphs.is_full("cuGraphCreate") {
            return OUT_OF_MEMORY;
        }
        let handle = machine.graphs.handle();
        machine.graphs.graphs.insert(handle, Vec::new());
        unsafe { *graph = handle };
        if flags == 0 { OK } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: usize) -> c_uint {
    inside(|machine| machine.graphs.graphs.remove(&graph).map_or(INVALID_VALUE, |_| OK))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddKernelNode_v2(
    node: *mut usize,
    graph: usize,
    before: *const usize,
    count: usize,
    params: *const NodeParams,
) -> c_uint {
    inside(|machine| {
        if machine.graphs.is_full("cuGraphAddKernelNode") {
            return OUT_OF_MEMORY;
        }
        let launch = match unsafe { &*params }.launch(machine) {
            Ok(launch) => launch,
            Err(code) => return code,
        };
        let before = (0..count).map(|at| unsafe { *before.add(at) }).collect::<Vec<_>>();
        let handle = machine.graphs.handle();
        let Some(nodes) = machine.graphs.graphs.get_mut(&graph) else { return INVALID_VALUE };
        if !before.iter().all(|before| nodes.iter().any(|(node, ..)| node == before)) {
            return INVALID_VALUE;
        }
        nodes.push((handle, before, launch));
        unsafe { *node = handle };
        OK
    })
}

/// NVIDIA's `CUgraphEdgeData`.
#[repr(C)]
#[derive(PartialEq)]
pub struct Edge {
    from_port: u8,
    to_port: u8,
    kind: u8,
    reserved: [u8; 5],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphAddDependencies_v2(
    graph: usize,
    from: *const usize,
    to: *const usize,
    edge: *const Edge,
    count: usize,
) -> c_uint {
    inside(|machine| {
        if count != 1 {
            return INVALID_VALUE;
        }
        let (from, to) = unsafe { (*from, *to) };
        let usual = Edge { from_port: 0, to_port: 0, kind: 0, reserved: [0; 5] };
        let programmatic = Edge { from_port: 1, kind: 1, ..usual };
        let early = match unsafe { edge.as_ref() } {
            None => false,
            Some(edge) if *edge == programmatic => true,
            Some(edge) if *edge == usual => false,
            Some(_) => return INVALID_VALUE,
        };
        let Some(nodes) = machine.graphs.graphs.get_mut(&graph) else {
            return INVALID_VALUE;
        };
        let there = nodes.iter().any(|(node, ..)| *node == from);
        let Some((_, before, launch)) = nodes.iter_mut().find(|(node, ..)| *node == to).filter(|_| there)
        else {
            return INVALID_VALUE;
        };
        if early && !launch.entry.awaits {
            return machine.lose("a kernel that does not wait was to begin early");
        }
        before.push(from);
        OK
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    exec: *mut usize,
    graph: usize,
    flags: c_ulonglong,
) -> c_uint {
    inside(|machine| {
        let room = word("graphs").map_or(usize::MAX, |room| room.parse().unwrap());
        if machine.graphs.is_full("cuGraphInstantiate") || machine.graphs.execs.len() >= room {
            return OUT_OF_MEMORY;
        }
        let Some(nodes) = machine.graphs.graphs.get(&graph) else { return INVALID_VALUE };
        let mut waiting = nodes.clone();
        let mut order: Vec<(usize, Launch)> = Vec::new();
        // The last of those that may run.
        while let Some(at) = waiting.iter().rposition(|(_, before, _)| {
            before.iter().all(|before| order.iter().any(|(node, _)| node == before))
        }) {
            let (node, _, launch) = waiting.remove(at);
            order.push((node, launch));
        }
        let handle = machine.graphs.handle();
        machine.graphs.execs.insert(handle, Exec { graph, nodes: order, until: 0 });
        unsafe { *exec = handle };
        if flags == 0 { OK } else { INVALID_VALUE }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiate_v2(
    exec: *mut usize,
    graph: usize,
    _: *mut usize,
    _: *mut c_char,
    _: usize,
) -> c_uint {
    unsafe { cuGraphInstantiateWithFlags(exec, graph, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecKernelNodeSetParams_v2(
    exec: usize,
    node: usize,
    params: *const NodeParams,
) -> c_uint {
    inside(|machine| {
        if machine.graphs.is_full("cuGraphExecKernelNodeSetParams") {
            return OUT_OF_MEMORY;
        }
        let launch = match unsafe { &*params }.launch(machine) {
            Ok(launch) => launch,
            Err(code) => return code,
        };
        let Some(exec) = machine.graphs.execs.get_mut(&exec) else { return INVALID_VALUE };
        if !machine.graphs.graphs.contains_key(&exec.graph) {
            return INVALID_VALUE;
        }
        match exec.nodes.iter_mut().find(|(known, _)| *known == node) {
            Some((_, old)) if std::ptr::eq(old.entry, launch.entry) => {
                *old = launch;
                OK
            }
            _ => INVALID_VALUE,
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> c_uint {
    asked("cuGraphLaunch", |machine| {
        if machine.graphs.is_full("cuGraphLaunch") {
            return OUT_OF_MEMORY;
        }
        let Some(known) = machine.graphs.execs.get(&exec).filter(|_| stream == THE_ONE) else {
            return INVALID_HANDLE;
        };
        // What is on its way keeps the arguments of now.
        let launches: Vec<Launch> = known.nodes.iter().map(|(_, launch)| launch.clone()).collect();
        launches.into_iter().for_each(|launch| _ = machine.push(Work::Launch(launch)));
        let until = machine.queued;
        machine.graphs.execs.entry(exec).and_modify(|exec| exec.until = until);
        OK
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(exec: usize) -> c_uint {
    inside(|machine| match machine.graphs.execs.remove(&exec) {
        None => INVALID_VALUE,
        Some(exec) if machine.is_done(exec.until) => OK,
        Some(_) => machine.lose("a graph was destroyed while it ran"),
    })
}
