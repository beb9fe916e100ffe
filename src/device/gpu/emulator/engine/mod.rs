//! What works while warps go on: `mbarrier`s, bulk copies, `wgmma`.
//!
//! In: rows of `Program::asynchronous`, one warp at a time. Out: shared and global memory and accumulators
//! changed later (when somebody waits) or at once, as the options say, and a [`Fault`] where an order is missing.
//! Rows that may have to wait are asked by `block/gate.rs` before a warp goes on.

mod bulk;
mod gather;
mod layout;
mod mbarrier;
mod product;
mod wgmma;

pub use mbarrier::{Asked, Mbarrier, Visit};
pub use product::Product;
pub use wgmma::Warpgroup;

use super::core::Core;
use super::fault::{Check, Fault};
use super::lanes::{LANES, Mask, Registers, lanes};
use super::shared::Agents;
use crate::ptx::{Asynchronous, Spot};
use bulk::{Load, Store};
use std::collections::BTreeSet;

/// What a warp has under way.
#[derive(Default)]
pub struct Work {
    /// Bulk copies out of shared memory that nobody has waited for, in their order.
    stores: Vec<Store>,
    /// How many there were, with those that are done.
    stored: u32,
    /// Groups of those that each lane has committed so far: a thread waits for its own alone.
    committed: [u32; LANES],
    /// `wgmma`s issued so far.
    issued: u32,
    /// How many were issued before each `wgmma.commit_group` that is not waited for.
    groups: Vec<u32>,
    /// `wgmma`s waited for so far.
    waited: u32,
    /// Whether `wgmma.fence` was run.
    fenced: bool,
    /// Registers of `wgmma`s that were written since, of those that are asked for.
    wrote: BTreeSet<u16>,
    /// The last `setmaxnreg`: registers, and the operation.
    registers: Option<(u32, u32)>,
}

/// A block's.
pub struct Engine {
    /// In order of initialization.
    pub barriers: Vec<Mbarrier>,
    /// Bulk copies on their way into shared memory.
    loads: Vec<Load>,
    /// Four warps each.
    pub groups: Vec<Warpgroup>,
    work: Vec<Work>,
    /// Of a cluster's blocks to each other.
    visits: Vec<Visit>,
    /// Changes with everything that somebody may have waited for.
    pub version: u64,
}

impl Engine {
    /// Nothing under way.
    pub fn new(agents: Agents) -> Self {
        let mut engine = Self {
            barriers: Vec::new(),
            loads: Vec::new(),
            groups: Vec::new(),
            work: Vec::new(),
            visits: Vec::new(),
            version: 0,
        };
        if agents.later {
            engine.work.resize_with(agents.warps, Work::default);
            engine.groups.resize_with(agents.groups(), Warpgroup::default);
        }
        engine
    }

    /// For the next block.
    pub fn reset(&mut self) {
        self.barriers.clear();
        self.loads.clear();
        self.visits.clear();
        self.groups.iter_mut().for_each(|group| *group = Warpgroup::default());
        self.work.iter_mut().for_each(|work| *work = Work::default());
        self.version = 0;
    }
}

impl Core<'_, '_> {
    /// Runs a row that never waits.
    pub(super) fn asynchronous(
        &mut self,
        at: u32,
        index: u32,
        registers: &mut Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let program = self.grid.program;
        match &program.asynchronous[index as usize] {
            Asynchronous::Init(spot, count) => {
                let (addresses, counts) = (self.spots(registers, spot), *registers.word(*count));
                lanes(mask.bits).try_for_each(|lane| self.init(at, lane, addresses[lane], counts[lane]))
            }
            Asynchronous::Invalidate(spot) => {
                let addresses = self.spots(registers, spot);
                lanes(mask.bits).try_for_each(|lane| self.invalidate(at, lane, addresses[lane]))
            }
            Asynchronous::Arrive { barrier, count, bytes, state, remote, order } => {
                let how = (*remote, *order);
                self.arrive_all(at, (barrier, *count, *bytes, *state), how, registers, mask)
            }
            Asynchronous::Transactions(spot, bytes, done) => {
                let (addresses, bytes) = (self.spots(registers, spot), *registers.word(*bytes));
                lanes(mask.bits).try_for_each(|lane| {
                    let sign = if *done { -1 } else { 1 };
                    let barrier = self.barrier(at, lane, addresses[lane])?;
                    self.transact(at, lane, barrier, sign * i64::from(bytes[lane]))?;
                    self.settle_barrier(barrier);
                    Ok(())
                })
            }
            Asynchronous::Fence(scope) => {
                self.shared.fence_threads(self.warp, mask.bits, *scope);
                Ok(())
            }
            Asynchronous::FenceProxy => {
                self.shared.fence(self.warp, mask.bits);
                // Those that this warp knows of, whoever made them.
                let (shared, warp) = (&self.shared, self.warp);
                let known = |barrier: &&mut Mbarrier| {
                    barrier.by == warp || shared.knows(warp, barrier.by, barrier.made)
                };
                self.engine.barriers.iter_mut().filter(known).for_each(|barrier| barrier.published = true);
                Ok(())
            }
            Asynchronous::FenceInit => {
                self.shared.fence_inits(self.warp);
                let mine = self.engine.barriers.iter_mut().filter(|barrier| barrier.by == self.warp);
                mine.for_each(|barrier| barrier.published = true);
                Ok(())
            }
            Asynchronous::Load { to, from, barrier, blocks } => {
                self.load_bulk(at, (to, from, barrier, *blocks), registers, mask)
            }
            Asynchronous::Store { to, from } => self.store_bulk(at, (to, from), registers, mask),
            Asynchronous::CommitBulk => {
                let work = &mut self.engine.work[self.warp];
                lanes(mask.bits).for_each(|lane| work.committed[lane] += 1);
                Ok(())
            }
            Asynchronous::WaitBulk(left) => self.wait_bulk(*left, mask),
            Asynchronous::FenceWgmma => {
                let work = &mut self.engine.work[self.warp];
                work.fenced = true;
                work.wrote.clear();
                Ok(())
            }
            Asynchronous::Wrote(slots) => {
                self.engine.work[self.warp].wrote.extend(slots);
                Ok(())
            }
            Asynchronous::CommitWgmma => {
                let work = &mut self.engine.work[self.warp];
                work.groups.push(work.issued);
                Ok(())
            }
            Asynchronous::Registers(count, false) => {
                self.whole_warp(at, mask, "setmaxnreg")?;
                self.changes(at, *count, false)?;
                self.engine.work[self.warp].registers = Some((*count, at));
                self.engine.version += 1;
                Ok(())
            }
            Asynchronous::Grounded(slots) => self.grounded(at, slots, mask),
            Asynchronous::Chained(wgmma) => self.chained(at, *wgmma, mask),
            Asynchronous::Unfenced(slots) => {
                let wrote = &self.engine.work[self.warp].wrote;
                if !slots.iter().any(|slot| wrote.contains(slot)) {
                    return Ok(());
                }
                let what = "a register of a wgmma is written behind the last wgmma.fence".to_owned();
                let help = "wgmma.fence.sync.aligned between the write and the wgmma";
                Err(self.fault(Check::Wgmma, at, mask.first(), what, help))
            }
            // Gates: done before the block ran.
            Asynchronous::Wait { .. }
            | Asynchronous::Wgmma(_)
            | Asynchronous::WaitWgmma { .. }
            | Asynchronous::Registers(_, true) => Ok(()),
        }
    }

    /// Places in the block's own shared memory.
    pub(super) fn spots(&self, registers: &Registers, spot: &Spot) -> [u64; LANES] {
        self.places(&self.addresses(registers, spot.base, spot.class, spot.offset))
    }

    /// What must be true when a block has ended.
    pub(super) fn finish(&mut self) -> Result<(), Box<Fault>> {
        if let Some(load) = self.engine.loads.first() {
            let (at, lane, to, warp) = (load.at, load.lane, load.to, load.warp);
            self.stand_for(warp);
            let what = format!("the block ends with a bulk copy to {} on its way", self.shared_name(to));
            let help = "wait for every mbarrier that a copy completes on: the memory may belong to another block soon";
            return Err(self.fault(Check::Bulk, at, lane, what, help));
        }
        if let Some(store) = self.engine.work.iter().find_map(|work| work.stores.first()) {
            let (at, lane, from, warp) = (store.at, store.lane, store.from, store.warp);
            self.stand_for(warp);
            let what = format!(
                "the block ends with a bulk copy from {} that nobody waits for",
                self.shared_name(from)
            );
            let help = "commit the copy (cp.async.bulk.commit_group) and wait for it (cp.async.bulk.wait_group.read 0) in the same thread";
            return Err(self.fault(Check::Bulk, at, lane, what, help));
        }
        self.check_visits()?;
        self.check_registers()
    }

    /// A block of a cluster may not end before the others' last touch of its memory: one of its warps must know of it.
    fn check_visits(&mut self) -> Result<(), Box<Fault>> {
        let warps = self.grid.warps();
        let known = |visit: &&Visit| {
            let first = visit.rank as usize * warps;
            let (agent, phase) = visit.over;
            let knows = |warp| {
                visit.clock.is_some_and(|clock| self.shared.knows(warp, visit.warp, clock))
                    || self.shared.is_over(warp, agent, phase)
            };
            (first..first + warps).any(knows)
        };
        let Some(visit) = self.engine.visits.iter().find(|visit| !known(visit)) else { return Ok(()) };
        let (at, rank, warp) = (visit.at, visit.rank, visit.warp);
        self.stand_for(warp);
        let what =
            format!("block {rank} of the cluster may end before another block touches its shared memory");
        let help = "all blocks meet before they end (barrier.cluster, not relaxed), or each waits for what the others do to its memory";
        Err(self.fault(Check::Cluster, at, 0, what, help))
    }

    /// Registers of a thread at the launch: the most that so many threads can have. A thread has at most 255, a block 65536.
    fn launched(&self) -> u32 {
        (65536 / self.grid.threads().next_multiple_of(LANES as u32) / 8 * 8).min(256)
    }

    /// Registers that a warp's block has not given to its warps, beside those that this one has.
    pub(super) fn spare_registers(&self) -> (u32, u32) {
        let (warps, launched) = (self.grid.warps(), self.launched());
        let first = self.warp / warps * warps;
        let others = (first..first + warps).filter(|&warp| warp != self.warp);
        let held = |warp: usize| self.engine.work[warp].registers.map_or(launched, |(count, _)| count);
        let all = launched * self.grid.threads().next_multiple_of(LANES as u32);
        (all.saturating_sub(others.map(held).sum::<u32>() * LANES as u32), all)
    }

    /// Whether a warp may go on with more registers; it waits until others have given them back.
    pub(super) fn grow(&mut self, at: u32, count: u32, lanes: u32) -> Result<bool, Box<Fault>> {
        self.whole_warp(at, &Mask::new(lanes), "setmaxnreg")?;
        self.changes(at, count, true)?;
        let (spare, _) = self.spare_registers();
        if count * LANES as u32 > spare {
            return Ok(false);
        }
        // A first one below what was launched would give away what nobody knows to be there.
        let first = self.engine.work[self.warp].registers.is_none();
        let count = if first { count.max(self.launched()) } else { count };
        self.engine.work[self.warp].registers = Some((count, at));
        self.engine.version += 1;
        Ok(true)
    }

    /// `setmaxnreg.inc` does not take away, nor does `.dec` give: a count on the wrong side is undefined. A launch may give fewer
    /// registers than the most, so a first `inc` may be right whatever it asks for.
    fn changes(&self, at: u32, count: u32, grows: bool) -> Result<(), Box<Fault>> {
        let asked = self.engine.work[self.warp].registers;
        let now = asked.map_or(self.launched(), |(count, _)| count);
        if grows && asked.is_none() || if grows { count >= now } else { count <= now } {
            return Ok(());
        }
        let (name, side) = if grows { ("inc", "fewer") } else { ("dec", "more") };
        let what = format!("setmaxnreg.{name} asks for {side} registers than the warp has");
        let mut fault = self.fault(Check::Registers, at, 0, what, "is it the other one that is meant?");
        fault.facts.push(("registers".into(), format!("{count}, where it has {now}")));
        Err(fault)
    }

    /// `setmaxnreg`: the warps of a warpgroup ask for the same.
    fn check_registers(&mut self) -> Result<(), Box<Fault>> {
        let asked: Vec<_> = self.engine.work.iter().map(|work| work.registers).collect();
        let Some((_, first)) = asked.iter().copied().flatten().next() else { return Ok(()) };
        for (warp, registers) in asked.iter().enumerate() {
            let leader = asked[warp / 4 * 4];
            if registers.map(|(count, _)| count) != leader.map(|(count, _)| count) {
                let at = registers.or(leader).map_or(first, |(_, at)| at);
                self.stand_for(warp);
                let what = "the warps of a warpgroup run different setmaxnreg".to_owned();
                let help = "all four warps must run the same setmaxnreg";
                return Err(self.fault(Check::Registers, at, 0, what, help));
            }
        }
        Ok(())
    }
}
