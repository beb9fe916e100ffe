//! What is wrong with an access of shared memory, in words.
//!
//! In: an access and a [`Conflict`]. Out: a fault that names the variable, the element and the other party.

use super::verb;
use crate::device::gpu::emulator::core::{Copy, Core};
use crate::device::gpu::emulator::fault::{Check, Fault, place, triple};
use crate::device::gpu::emulator::lanes::lanes;
use crate::device::gpu::emulator::shared::{Agent, Conflict};
use crate::ptx::{Asynchronous, Code, Placed};

impl Core<'_, '_> {
    /// The shared variable at or before an address.
    pub(super) fn variable(&self, address: u64) -> Option<&Placed> {
        let (_, address) = self.shared.whose(address);
        let before = self.grid.program.shared.iter().filter(|placed| u64::from(placed.offset) <= address);
        before.max_by_key(|placed| placed.offset)
    }

    /// `tile[31] of 32`. nvcc declares arrays as bytes, so the access at `at` says how large an element is.
    pub(super) fn element(&self, at: u32, placed: &Placed, address: u64) -> String {
        let element = if placed.element > 1 { placed.element } else { self.width(at) };
        let (_, address) = self.shared.whose(address);
        let index = (address - u64::from(placed.offset)) / u64::from(element);
        let size = if placed.size == 0 { self.shared.size - placed.offset } else { placed.size };
        let plural = if element == 1 { "" } else { "s" };
        format!("{}[{index}] of {}   {element} byte{plural} each", placed.name, size / element)
    }

    /// A thread of the cluster, and which block is its own.
    fn whom(&self, warp: usize, lane: usize) -> String {
        let thread = triple(self.thread(warp, lane));
        if self.grid.program.cluster == 1 {
            thread
        } else {
            format!("{thread} of block {}", triple(self.block_of(warp)))
        }
    }

    /// A warp's number in its block, or that of `each` warps together.
    fn numbered(&self, number: usize, each: usize) -> String {
        let warps = self.grid.warps();
        let (warp, block) = (number * each % warps / each, triple(self.block_of(number * each)));
        if self.grid.program.cluster == 1 { warp.to_string() } else { format!("{warp} of block {block}") }
    }

    /// Bytes of one number that operation `at` moves.
    fn width(&self, at: u32) -> u32 {
        let program = self.grid.program;
        let op = program.ops.get(at as usize).copied();
        let op = op.map(|op| if op.code == Code::Guarded { program.guarded[op.imm as usize] } else { op });
        match op {
            Some(op) if op.code == Code::Access => u32::from(program.accesses[op.imm as usize].width.bytes),
            Some(op) if op.code == Code::Matrix => 2,
            _ => 1,
        }
    }

    /// Whether a `cp.async` of this warp to that address is still on its way.
    fn awaited(&self, address: u32) -> Option<&Copy> {
        let covers = |copy: &&Copy| {
            let inside =
                |lane| (copy.to[lane]..copy.to[lane] + u64::from(copy.bytes)).contains(&u64::from(address));
            lanes(copy.bits).any(inside)
        };
        self.keeps.copies.iter().find(covers)
    }

    /// What orders threads, where nothing does.
    fn unordered(&self) -> &'static str {
        let program = self.grid.program;
        if program.cluster > 1 {
            "no barrier that orders them stands between the two; of arrivals in another block only .release.cluster orders what threads did, for waits with .acquire.cluster"
        } else if program.asynchronous.iter().any(Asynchronous::is_relaxed) {
            "no barrier that orders them stands between the two; relaxed arrivals and waits do not, without a fence"
        } else {
            "no barrier stands between the two"
        }
    }

    /// The report of a conflict.
    pub(in crate::device::gpu::emulator) fn conflict(
        &self,
        at: u32,
        lane: usize,
        conflict: Conflict,
        writes: bool,
    ) -> Box<Fault> {
        let (address, check) = match conflict {
            Conflict::Uninitialized(address) => (address, Check::Uninitialized),
            Conflict::Race(address, ..) => (address, Check::Race),
            Conflict::Barrier(address) => (address, Check::Mbarrier),
            Conflict::Outside(address) => (address, Check::Bounds),
            Conflict::Unmade(address, _) => (address, Check::Mbarrier),
            Conflict::Proxy(address, _) => (address, Check::Proxy),
        };
        let placed = self.variable(u64::from(address));
        let name = placed.map_or_else(|| format!("{address:#x}"), |p| p.name.clone());
        let element = placed.map_or(name.clone(), |p| self.element(at, p, u64::from(address)));
        let what = match conflict {
            Conflict::Race(..) => format!("race on `{name}` in shared memory"),
            Conflict::Barrier(_) => format!("{} of the mbarrier `{name}`", verb(!writes)),
            Conflict::Outside(_) => format!("{} past the end of `{name}`", verb(!writes)),
            Conflict::Unmade(..) => format!("the mbarrier `{name}` may not be initialized yet"),
            Conflict::Proxy(..) => {
                format!("no proxy fence between a write of `{name}` and its asynchronous read")
            }
            _ if self.flying(address).is_some() => {
                format!("read of `{name}` before its bulk copy has arrived")
            }
            _ if self.awaited(address).is_some() => {
                format!("read of `{name}` before its cp.async has arrived")
            }
            _ => format!("read of `{name}` in shared memory, where nobody wrote"),
        };
        let mut fault = self.fault(check, at, lane, what, "");
        match conflict {
            Conflict::Barrier(_) => {
                fault.help =
                    "only mbarrier operations may touch it; does an array or a tile reach into it?".into();
            }
            Conflict::Outside(_) => {
                fault.facts.push(("element".into(), element));
                fault.help = "is the index within the tile for every thread?".into();
            }
            Conflict::Uninitialized(_) => {
                fault.facts.push(("element".into(), element));
                if let Some(load) = self.flying(address) {
                    let copied = place(self.grid.module, self.line(load.at));
                    fault.facts.push(("copied".into(), format!("at {copied}")));
                    fault.help =
                        "wait on the copy's mbarrier, for the parity of the phase that it completes".into();
                    return fault;
                }
                fault.help = match self.awaited(address) {
                    Some(copy) => {
                        let copied = place(self.grid.module, self.line(copy.at));
                        fault.facts.push(("copied".into(), format!("at {copied}")));
                        "threads that copy wait with cp.async.wait_group or wait_all, then all meet at a barrier".into()
                    }
                    None => {
                        "is a barrier missing before it, or is it never written, at the edges perhaps?".into()
                    }
                };
            }
            Conflict::Proxy(_, tag) => {
                let (here, there) = (self.line(at), self.line(tag.at()));
                let writer = self.whom(tag.agent(), tag.lane());
                let there = place(self.grid.module, there);
                fault.facts.push(("element".into(), element));
                fault.facts.push(("this".into(), format!("reads at {}", place(self.grid.module, here))));
                fault.facts.push(("other".into(), format!("thread {writer} wrote at {there}")));
                fault.help = "who writes runs fence.proxy.async behind it, before the barrier".into();
            }
            Conflict::Unmade(_, tag) => {
                let writer = self.whom(tag.agent(), tag.lane());
                let there = place(self.grid.module, self.line(tag.at()));
                fault.facts.push(("other".into(), format!("thread {writer} wrote it at {there}")));
                fault.help = match self.grid.program.cluster {
                    1 => "all meet between mbarrier.init and the first use (__syncthreads)".into(),
                    _ => "fence.mbarrier_init.release.cluster behind mbarrier.init, then all meet (barrier.cluster)".into(),
                };
            }
            Conflict::Race(_, tag, wrote) => {
                let here = place(self.grid.module, self.line(at));
                let there = place(self.grid.module, self.line(tag.at()));
                let mine = if writes { "wrote" } else { "read" };
                fault.facts.push(("element".into(), element));
                fault.facts.push(("this".into(), format!("{mine} at {here}")));
                let did = if wrote { "wrote" } else { "read" };
                let (other, help) = match self.agents.agent(tag.agent()) {
                    Agent::Warp(warp) => {
                        let thread = self.whom(warp, tag.lane());
                        (format!("thread {thread} {did} at {there}"), self.unordered())
                    }
                    Agent::Wgmma(group) => (
                        format!("a wgmma of warpgroup {} reads, issued at {there}", self.numbered(group, 4)),
                        "write when the wgmma is waited for (wgmma.wait_group), and the writer knows it (an mbarrier, a barrier)",
                    ),
                    Agent::Store(warp) => (
                        format!("a bulk copy of warp {} reads, begun at {there}", self.numbered(warp, 1)),
                        "write when the copy is waited for (cp.async.bulk.wait_group.read), and the writer knows it",
                    ),
                    Agent::Load(_) => (
                        format!("a bulk copy writes, begun at {there}"),
                        "wait on the copy's mbarrier in every warp that touches its bytes, for the parity of its phase",
                    ),
                };
                fault.facts.push(("other".into(), other));
                fault.help = help.into();
            }
        }
        fault
    }
}
