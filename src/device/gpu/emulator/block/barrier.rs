//! Barriers: who has come, who still must, and who goes on.
//!
//! In: warps that reach a barrier, lanes that end. Out: warps that run again, with the clocks of all who met
//! joined (`shared`). Who arrives and does not wait tells its past and learns nobody's.

use super::{BARRIERS, Block, Part, State, Warp};
use crate::device::gpu::emulator::fault::{Check, Fault};
use crate::device::gpu::emulator::lanes::{LANES, lanes};
use crate::device::gpu::emulator::shared::{Carries, Met};
use crate::ptx::{Barrier, CLUSTER_BARRIER, EXIT, End, NONE, Reduce, ReduceKind};

impl Block<'_, '_> {
    /// The place of a barrier among the meetings: each block has its own, but for that of the cluster.
    pub(super) fn meeting(&self, index: usize, id: usize) -> usize {
        if id == CLUSTER_BARRIER as usize { id } else { self.rank(index) as usize * BARRIERS + id }
    }

    /// A barrier's number and the threads that it takes (0 for all that live), as the lanes of a warp have them.
    fn named(&mut self, index: usize, barrier: &Barrier) -> Result<(usize, u32), Box<Fault>> {
        let warp = &self.warps[index];
        let mut said = [0; 2];
        for (said, slot) in said.iter_mut().zip([barrier.id, barrier.count]).filter(|(_, slot)| *slot != NONE)
        {
            let named = warp.registers.word(slot);
            *said = named[warp.live.trailing_zeros() as usize % LANES];
            if lanes(warp.live).any(|lane| named[lane] != *said) {
                let what = "the lanes of a warp name different barriers, or numbers of threads".to_owned();
                let help = "a warp reaches one barrier at a time";
                return Err(self.blame(index, Check::BarrierDivergence, what, help));
            }
        }
        let [id, wanted] = said;
        if id >= CLUSTER_BARRIER && !barrier.cluster {
            let what = format!("barrier {id}: a block has {CLUSTER_BARRIER}, from 0 on");
            return Err(self.blame(index, Check::BarrierDivergence, what, ""));
        }
        if barrier.count != NONE && (wanted == 0 || !wanted.is_multiple_of(LANES as u32)) {
            let what = format!("barrier {id} is reached for {wanted} threads");
            let help = "the number of threads must be a multiple of 32, and not 0";
            return Err(self.blame(index, Check::BarrierDivergence, what, help));
        }
        Ok((id as usize, wanted))
    }

    /// A warp at a barrier.
    pub(super) fn reach(&mut self, index: usize, barrier: &Barrier, at: u32) -> Result<(), Box<Fault>> {
        let lanes_here = self.warps[index].live.count_ones();
        self.engine.version += 1;
        let (id, wanted) = self.named(index, barrier)?;
        let place = self.meeting(index, id);
        let meeting = &mut self.meetings[place];
        if meeting.arrived > 0 && meeting.wanted != wanted {
            let what = format!("barrier {id} is reached with different numbers of threads");
            let (first, second) = (meeting.wanted, wanted);
            let mut fault =
                self.blame(index, Check::BarrierDivergence, what, "all who meet must name the same number");
            fault.facts.push(("numbers".into(), format!("{first}, {second}   (0: all)")));
            return Err(fault);
        }
        meeting.wanted = wanted;
        // A warp counts whole, also where lanes of it never existed (PTX ISA, `bar`).
        meeting.arrived += if wanted == 0 { lanes_here } else { LANES as u32 };
        meeting.live += lanes_here;
        meeting.set += self.warps[index].reduced.count_ones();
        if barrier.waits {
            meeting.came.push(index);
            self.warps[index].state = State::Waits(id, at);
        } else {
            if meeting.past.is_empty() {
                meeting.past = self.shared.ignorance();
            }
            self.shared.release(index, u32::MAX, &mut meeting.past, Carries::All);
            self.shared.arrived_lanes(index, u32::MAX);
        }
        if barrier.relaxed {
            meeting.relaxed.push(index);
        }
        self.settle(place);
        Ok(())
    }

    /// Lets a barrier's warps go on if all have come.
    fn settle(&mut self, place: usize) {
        let (rank, id) = (place / BARRIERS, place % BARRIERS);
        let all =
            if id == CLUSTER_BARRIER as usize { self.grid.warps_of_cluster() } else { self.grid.warps() };
        let those = self.warps.iter().skip(rank * all).take(all);
        let alive: u32 = those.map(|warp| warp.live.count_ones()).sum();
        let meeting = &mut self.meetings[place];
        let wanted = if meeting.wanted == 0 { alive } else { meeting.wanted };
        if meeting.arrived == 0 || meeting.arrived < wanted {
            return;
        }
        let done = std::mem::take(meeting);
        // Who has ended reads and writes no more.
        let others = self.warps.iter().enumerate().filter(|(_, warp)| warp.live != 0);
        let whole = others.into_iter().all(|(index, _)| done.came.contains(&index));
        self.shared.join(Met { waited: &done.came, relaxed: &done.relaxed, past: &done.past, whole });
        for index in done.came {
            let warp = &mut self.warps[index];
            let State::Waits(here, at) = warp.state else { continue };
            let End::Barrier { barrier, next } = self.grid.program.blocks[at as usize].end else { continue };
            if here != id {
                continue;
            }
            if let Some(reduce) = barrier.reduce {
                reduced(warp, reduce, done.set, done.live);
            }
            // All lanes that live came: a part of a warp cannot wait here.
            if next == EXIT {
                (warp.live, warp.state) = (0, State::Ended);
            } else {
                warp.state = State::Runs;
                warp.parts = vec![Part::new(next, warp.live)];
            }
        }
    }

    /// Lanes have ended: perhaps their warp has, and those who wait for all that live may go on.
    pub(super) fn left(&mut self, index: usize) {
        self.engine.version += 1;
        let warp = &mut self.warps[index];
        if warp.live == 0 {
            warp.state = State::Ended;
        }
        // Lanes that wait for ended ones wait no longer.
        for part in &mut warp.parts {
            part.parked = false;
        }
        (0..self.meetings.len()).for_each(|place| self.settle(place));
    }
}

/// Writes a reducing barrier's result into a warp that waited there.
fn reduced(warp: &mut Warp, reduce: Reduce, set: u32, live: u32) {
    warp.reduced = 0;
    let lanes_here = warp.live;
    match reduce.kind {
        ReduceKind::Popc => lanes(lanes_here).for_each(|lane| warp.registers.word_mut(reduce.d)[lane] = set),
        kind => {
            let yes = if kind == ReduceKind::And { set == live } else { set > 0 };
            let d = warp.registers.predicate_mut(reduce.d);
            *d = if yes { *d | lanes_here } else { *d & !lanes_here };
        }
    }
}
