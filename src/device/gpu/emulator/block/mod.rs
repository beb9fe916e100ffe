//! One block of a launch, or a cluster of them: warps, their divergence, and the barriers where they meet.
//!
//! In: a [`Grid`] and a cluster's number, which is a block's where clusters are not asked for. Out: memory changed, or
//! the first fault. Warps are not host threads: a warp runs until it waits, ends or has had its turn. Within a warp, lanes
//! at the lowest place run first (`Program::priority`), so that the others catch up and all meet again.

mod barrier;
mod complaint;
mod gate;
mod parts;

use parts::Part;

use super::alu;
use super::core::{Core, Keeps};
use super::engine::Engine;
use super::fault::Fault;
use super::grid::{Grid, Schedule, Statistics};
use super::lanes::{LANES, Mask, Registers, lanes};
use super::shared::{Agents, Clock, Shared};
use crate::ptx::{CLUSTER_BARRIER, Class, EXIT, End, Fixed, Line, NO_GATE, NONE, SHARED_BASE, Special};
use crate::random::philox;

/// Blocks of the program that a warp runs before others get a turn.
const TURN: u32 = 1 << 14;
/// Barriers of a block, and that of its cluster.
const BARRIERS: usize = CLUSTER_BARRIER as usize + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    /// At this barrier, which ends this block of the program.
    Waits(usize, u32),
    Ended,
}

struct Warp {
    registers: Registers,
    keeps: Keeps,
    parts: Vec<Part>,
    live: u32,
    state: State,
    /// Where it waits or was last, for reports.
    line: Line,
    /// The lanes' predicates at a reducing barrier.
    reduced: u32,
    /// Lanes whose wait, which is not over, was answered "not yet" at once.
    refused: u32,
}

#[derive(Clone, Default)]
struct Meeting {
    /// Threads that it takes; 0 for all that live.
    wanted: u32,
    arrived: u32,
    /// Of those that arrived, those that exist.
    live: u32,
    /// Warps that came and wait, and those of them that came relaxed.
    came: Vec<usize>,
    relaxed: Vec<usize>,
    /// What those knew who came and went on; empty if there is none.
    past: Clock,
    /// `bar.red`: how many predicates were set.
    set: u32,
}

/// A worker's block: memory is kept from block to block.
pub struct Block<'g, 'l> {
    grid: &'g Grid<'l>,
    shared: Shared,
    engine: Engine,
    agents: Agents,
    warps: Vec<Warp>,
    /// Those of a block behind those of the one before.
    meetings: Vec<Meeting>,
    /// Counts.
    pub statistics: Statistics,
    /// Of the first block.
    number: u64,
    draws: u32,
    choices: u32,
    /// Instructions of warps that were run.
    spent: u64,
}

impl<'g, 'l> Block<'g, 'l> {
    /// Room for the blocks of a launch.
    pub fn new(grid: &'g Grid<'l>) -> Self {
        let (program, count, blocks) = (grid.program, grid.warps_of_cluster(), grid.program.cluster);
        let warp = |_| Warp {
            registers: Registers::new(program.slots),
            keeps: Keeps { local: vec![0xff; program.local_size as usize * LANES], ..Keeps::default() },
            parts: Vec::new(),
            live: 0,
            state: State::Ended,
            line: Line { ptx: 0, place: None },
            reduced: 0,
            refused: 0,
        };
        let size = program.shared_end + grid.dynamic;
        // Blocks of a cluster meet by themselves, so readers are to be told apart there, too.
        let agents = Agents { warps: count, later: !program.asynchronous.is_empty() || blocks > 1 };
        // Clocks say who has met, also for what is done in global memory.
        let checked = grid.options.checked && size > SHARED_BASE || grid.owners.is_some();
        Self {
            grid,
            shared: Shared::new(size, blocks, agents, checked, &program.guards()),
            engine: Engine::new(agents),
            agents,
            warps: (0..count).map(warp).collect(),
            meetings: vec![Meeting::default(); BARRIERS * blocks as usize],
            statistics: Statistics::new(program),
            number: 0,
            draws: 0,
            choices: 0,
            spent: 0,
        }
    }

    /// A warp's block within the cluster.
    fn rank(&self, index: usize) -> u32 {
        (index / self.grid.warps()) as u32
    }

    /// A warp's block.
    fn block_of(&self, index: usize) -> [u32; 3] {
        self.grid.block_at(self.number + u64::from(self.rank(index)))
    }

    /// Runs cluster `number` of the grid.
    ///
    /// # Errors
    /// The first fault.
    pub fn run(&mut self, number: u64) -> Result<(), Box<Fault>> {
        self.number = number * u64::from(self.grid.program.cluster);
        (self.choices, self.draws, self.spent) = (0, 0, 0);
        self.shared.reset();
        self.engine.reset();
        self.meetings.fill(Meeting::default());
        for index in 0..self.warps.len() {
            self.begin(index);
        }
        let mut order: Vec<usize> = (0..self.warps.len()).collect();
        if self.grid.options.schedule == Schedule::Reverse {
            order.reverse();
        }
        let (mut stale, mut seen) = (0, 0);
        loop {
            if let Schedule::Random(seed) = self.grid.options.schedule {
                for k in (1..order.len()).rev() {
                    order.swap(k, self.draw(seed) as usize % (k + 1));
                }
            }
            let mut went = false;
            for &index in &order {
                if self.warps[index].state == State::Runs {
                    went |= self.turn(index)?;
                }
            }
            if went {
                continue;
            }
            // Nobody could go on.
            stale = if std::mem::replace(&mut seen, self.engine.version) == seen { stale + 1 } else { 0 };
            if stale > gate::PATIENCE || !self.give_up() {
                break;
            }
        }
        if self.warps.iter().any(|warp| warp.state != State::Ended) {
            return Err(self.deadlock());
        }
        self.check_waits()?;
        if self.agents.later { self.core(0).0.finish() } else { Ok(()) }
    }

    fn draw(&mut self, seed: u64) -> u32 {
        self.draws = self.draws.wrapping_add(1);
        philox([self.draws, self.number as u32, 0, 0], [seed as u32, (seed >> 32) as u32])[0]
    }

    /// The lanes that a warp begins with.
    fn begun(&self, index: usize) -> u32 {
        let first = (index % self.grid.warps() * LANES) as u32;
        let count = (self.grid.threads() - first).min(LANES as u32);
        if count == 32 { u32::MAX } else { (1 << count) - 1 }
    }

    fn begin(&mut self, index: usize) {
        let grid = self.grid;
        let (live, block) = (self.begun(index), self.block_of(index));
        let warp = &mut self.warps[index];
        warp.live = live;
        warp.parts = vec![Part::new(0, live)];
        warp.state = State::Runs;
        (warp.reduced, warp.refused) = (0, 0);
        warp.keeps.local.fill(0xff);
        warp.keeps.copies.clear();
        warp.keeps.committed = [0; LANES];
        warp.keeps.awaited = 0;
        for &slot in &grid.program.tracked {
            *warp.registers.predicate_mut(slot) = 0;
        }
        for &(class, slot, fixed) in &grid.program.fixed {
            match fixed {
                Fixed::ConstW(value) => *warp.registers.word_mut(slot) = [value; LANES],
                Fixed::ConstL(value) => *warp.registers.long_mut(slot) = [value; LANES],
                Fixed::ConstP(set) => *warp.registers.predicate_mut(slot) = if set { u32::MAX } else { 0 },
                Fixed::Special(special) => {
                    let value = |lane: usize| special_value(grid, special, block, index % grid.warps(), lane);
                    *warp.registers.word_mut(slot) = std::array::from_fn(value);
                }
            }
            debug_assert!(class != Class::P || matches!(fixed, Fixed::ConstP(_)));
        }
    }

    /// Runs a warp until it waits, ends, or others should have a turn; whether it ran anything.
    fn turn(&mut self, index: usize) -> Result<bool, Box<Fault>> {
        let grid = self.grid;
        let program = grid.program;
        let mut left = TURN;
        let mut went = false;
        self.warps[index].parts.iter_mut().for_each(|part| part.waits = false);
        let mut mask = Mask::new(u32::MAX);
        let (here, rank) = (self.block_of(index), self.rank(index));
        let trace = grid
            .trace
            .filter(|trace| trace.block == here && trace.thread as usize / LANES == index % grid.warps());
        while self.warps[index].state == State::Runs {
            let Some(chosen) = self.choose(index) else {
                if self.warps[index].parts.iter().any(|part| part.waits) {
                    break;
                }
                return Err(self.stuck(index));
            };
            let mut part = self.warps[index].parts.swap_remove(chosen);
            // Runs until the part splits, meets others, or ends.
            loop {
                let block = &program.blocks[part.at as usize];
                let warp = &mut self.warps[index];
                warp.line = block.line;
                let wanted = match block.end {
                    _ if block.meet != NONE => {
                        let named = warp.registers.word(block.meet);
                        lanes(part.lanes).fold(0, |all, lane| all | named[lane])
                    }
                    End::Barrier { .. } => u32::MAX,
                    _ => 0,
                };
                if wanted & warp.live & !part.lanes != 0 {
                    part.parked = true;
                    warp.parts.push(part);
                    break;
                }
                if block.gate != NO_GATE && !self.pass(index, block.gate, &mut part)? {
                    part.waits = true;
                    self.warps[index].parts.push(part);
                    break;
                }
                went = true;
                let warp = &mut self.warps[index];
                let ops = &program.ops[block.ops.start as usize..block.ops.end as usize];
                mask.set(part.lanes);
                let mut core = Core {
                    grid,
                    shared: &mut self.shared,
                    keeps: &mut warp.keeps,
                    engine: &mut self.engine,
                    agents: self.agents,
                    statistics: &mut self.statistics,
                    warp: index,
                    rank,
                    block: here,
                    number: self.number + u64::from(rank),
                    live: warp.live,
                };
                let all = part.lanes == warp.live;
                match trace {
                    Some(trace) if part.lanes >> (trace.thread % 32) & 1 == 1 => {
                        for (k, op) in ops.iter().enumerate() {
                            let at = block.ops.start + k as u32;
                            let step = trace.begin(grid, at, op, &warp.registers);
                            // SAFETY: as below.
                            unsafe {
                                alu::run(at, &[*op], &mut warp.registers, (&mut mask, all), &mut core)?
                            };
                            trace.end(grid, step, op, &warp.registers);
                        }
                        trace.leave(block, &warp.registers);
                    }
                    // SAFETY: `Program::new` numbered the slots of its ops, and a warp's registers are made for the program.
                    _ => unsafe {
                        alu::run(block.ops.start, ops, &mut warp.registers, (&mut mask, all), &mut core)?;
                    },
                }
                self.spent += ops.len() as u64 + 1;
                if self.spent > grid.options.budget {
                    return Err(self.endless(index));
                }
                let ran = &mut self.statistics.ran[part.at as usize];
                ran.warps += 1;
                ran.lanes += u64::from(part.lanes.count_ones());
                let next = match block.end {
                    End::Jump(to) => to,
                    End::Branch { p, inverted, taken, next } => {
                        let set = warp.registers.predicate(p);
                        let goes = part.lanes & if inverted { !set } else { set };
                        if goes == part.lanes {
                            taken
                        } else if goes == 0 {
                            next
                        } else {
                            ran.diverged += 1;
                            self.split(index, Part::new(taken, goes));
                            self.split(index, Part::new(next, part.lanes & !goes));
                            break;
                        }
                    }
                    End::Barrier { barrier, next } => {
                        if let Some(reduce) = barrier.reduce {
                            let set = warp.registers.predicate(reduce.p);
                            warp.reduced = part.lanes & if reduce.inverted { !set } else { set };
                        }
                        self.reach(index, &barrier, part.at)?;
                        if barrier.waits {
                            break;
                        }
                        next
                    }
                };
                if next == EXIT {
                    let warp = &mut self.warps[index];
                    warp.live &= !part.lanes;
                    self.left(index);
                    break;
                }
                part.at = next;
                left = left.saturating_sub(1);
                let others = !self.warps[index].parts.is_empty();
                if others || left == 0 {
                    self.split(index, part);
                    break;
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(went)
    }
}

fn special_value(grid: &Grid<'_>, special: Special, block: [u32; 3], warp: usize, lane: usize) -> u32 {
    let thread = grid.thread((warp * LANES + lane) as u32);
    let axis = |triple: [u32; 3], axis: u8| triple[usize::from(axis.min(2))];
    let bit = 1u32 << lane;
    match special {
        Special::Tid(a) => axis(thread, a),
        Special::Ntid(a) => axis(grid.block, a),
        Special::Ctaid(a) => axis(block, a),
        Special::Nctaid(a) => axis(grid.grid, a),
        Special::Lane => lane as u32,
        Special::Warp => warp as u32,
        Special::Warps => grid.warps() as u32,
        Special::MaskEq => bit,
        Special::MaskLt => bit - 1,
        Special::MaskLe => bit | (bit - 1),
        Special::MaskGt => !(bit | (bit - 1)),
        Special::MaskGe => !(bit - 1),
        Special::Sm => 0,
        Special::Sms => 1,
        Special::DynamicShared => grid.dynamic,
        Special::ClusterRank => block[0] % grid.program.cluster,
        Special::ClusterSize => grid.program.cluster,
        Special::ClusterCtaid(a) => axis([block[0] % grid.program.cluster, 0, 0], a),
        Special::ClusterNctaid(a) => axis([grid.program.cluster, 1, 1], a),
        Special::Clusterid(a) => axis([block[0] / grid.program.cluster, block[1], block[2]], a),
        Special::Nclusterid(a) => axis([grid.grid[0] / grid.program.cluster, grid.grid[1], grid.grid[2]], a),
    }
}
