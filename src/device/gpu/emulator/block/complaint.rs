//! What is said when warps wait for what never comes.
//!
//! In: the state of the block's warps. Out: a fault with every party's place.

use super::{Block, Part, State};
use crate::device::gpu::emulator::fault::{Check, Fault, place};
use crate::device::gpu::emulator::lanes::LANES;
use crate::ptx::{End, Line, NONE};

impl Block<'_, '_> {
    pub(super) fn blame(&self, index: usize, check: Check, what: String, help: &str) -> Box<Fault> {
        Box::new(Fault {
            check,
            what,
            line: self.warps[index].line,
            block: self.block_of(index),
            thread: None,
            facts: vec![("warp".into(), self.name(index))],
            help: help.to_owned(),
        })
    }

    /// Its number in its block, and which block of a cluster that is.
    fn name(&self, index: usize) -> String {
        let number = index % self.grid.warps();
        if self.grid.program.cluster == 1 {
            number.to_string()
        } else {
            format!("{number} of block {} of the cluster", self.rank(index))
        }
    }

    /// Every warp's place.
    fn places(&mut self, fault: &mut Fault) {
        for index in 0..self.warps.len() {
            let waiting: Vec<Part> =
                self.warps[index].parts.iter().copied().filter(|part| part.waits).collect();
            let mut waits = Vec::new();
            for part in waiting {
                let at = place(self.grid.module, self.at(&part));
                waits.push(format!("waits for {}, {at}", self.waits_for(index, &part)));
            }
            let warp = &self.warps[index];
            let at = place(self.grid.module, warp.line);
            let state = match warp.state {
                State::Runs if !waits.is_empty() => waits.join("; "),
                State::Runs => format!("runs at {at}"),
                State::Waits(id, _) => {
                    let meeting = &self.meetings[self.meeting(index, id)];
                    let wanted = if meeting.wanted == 0 { "all".into() } else { meeting.wanted.to_string() };
                    format!("waits at barrier {id}, {at}   {} of {wanted} threads came", meeting.arrived)
                }
                State::Ended => "has ended".into(),
            };
            fault.facts.push((format!("warp {}", self.name(index)), state));
        }
    }

    /// Whether all threads of a kernel that waits for the one before it did. That one did would be enough for those who
    /// wait for this one; all is the rule of our kernels, and keeps an access behind a wait that others do not reach.
    pub(super) fn check_waits(&self) -> Result<(), Box<Fault>> {
        if !self.grid.program.awaits || !self.grid.options.checked {
            return Ok(());
        }
        for (index, warp) in self.warps.iter().enumerate() {
            let missing = self.begun(index) & !warp.keeps.awaited;
            if missing != 0 {
                let what = "a thread ends without having waited for the kernel before".to_owned();
                let help =
                    "griddepcontrol.wait must be reached by every thread: await_predecessor() comes first";
                let mut fault = self.blame(index, Check::Predecessor, what, help);
                fault.facts.push(("lanes".into(), format!("{missing:#010x}")));
                return Err(fault);
            }
        }
        Ok(())
    }

    pub(super) fn deadlock(&mut self) -> Box<Fault> {
        let waiting = self.warps.iter().position(|warp| warp.state != State::Ended).unwrap_or(0);
        let what = "deadlock: no warp of the block can go on".to_owned();
        let gates = self.warps.iter().any(|warp| warp.parts.iter().any(|part| part.waits));
        let help = if self.wants_registers() {
            "setmaxnreg.inc waits until others have given back so many (setmaxnreg.dec), which they must do before they wait"
        } else if gates {
            "every phase of an mbarrier needs all its arrivals and bytes; is a wait for the wrong parity?"
        } else {
            "a barrier must be reached by all threads that it counts"
        };
        let mut fault = self.blame(waiting, Check::Deadlock, what, help);
        fault.facts.clear();
        self.places(&mut fault);
        fault
    }

    pub(super) fn endless(&mut self, index: usize) -> Box<Fault> {
        let what =
            format!("endless: the warps of a block have run {} instructions", self.grid.options.budget);
        let mut fault =
            self.blame(index, Check::Endless, what, "does a loop wait for something that never comes?");
        fault.facts.clear();
        self.places(&mut fault);
        fault
    }

    /// Where a part of a warp begins to run next.
    fn at(&self, part: &Part) -> Line {
        let block = &self.grid.program.blocks[part.at as usize];
        let first = block.ops.start as usize;
        if block.ops.is_empty() { block.line } else { self.grid.program.lines[first] }
    }

    /// The parts of a warp wait for each other at different places.
    pub(super) fn stuck(&self, index: usize) -> Box<Fault> {
        let mut parts = self.warps[index].parts.clone();
        parts.sort_by_key(|part| part.at);
        let block = |part: &Part| &self.grid.program.blocks[part.at as usize];
        if let Some(here) = parts.iter().position(|part| matches!(block(part).end, End::Barrier { .. })) {
            return self.divergent(index, parts.remove(here), &parts);
        }
        let what = "lanes of a warp wait for lanes that never come".to_owned();
        let help = "the mask of a warp-wide instruction must name exactly the lanes that reach it";
        let mut fault = self.blame(index, Check::Deadlock, what, help);
        let warp = &self.warps[index];
        if let Some(first) = parts.first() {
            fault.line = self.at(first);
        }
        for part in &parts {
            let first = part.lanes.trailing_zeros() as usize % LANES;
            let wanted = match block(part).meet {
                NONE => 0,
                slot => warp.registers.word(slot)[first],
            };
            let missing = wanted & warp.live & !part.lanes;
            let at = place(self.grid.module, self.at(part));
            fault
                .facts
                .push((format!("lanes {:#010x}", part.lanes), format!("wait for {missing:#010x} at {at}")));
        }
        fault
    }

    fn divergent(&self, index: usize, part: Part, others: &[Part]) -> Box<Fault> {
        let what = "a barrier is reached by a part of a warp".to_owned();
        let help = "all threads of a block must reach the same __syncthreads()";
        let mut fault = self.blame(index, Check::BarrierDivergence, what, help);
        fault.line = self.at(&part);
        fault.facts.push(("lanes here".into(), format!("{:#010x}", part.lanes)));
        for other in others {
            let at = place(self.grid.module, self.at(other));
            fault.facts.push(("lanes elsewhere".into(), format!("{:#010x} at {at}", other.lanes)));
        }
        fault
    }
}
