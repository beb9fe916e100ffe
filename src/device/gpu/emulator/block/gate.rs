//! Gates: operations that may have to wait, and those that need the registers of four warps.
//!
//! In: a part of a warp before a block that begins with one. Out: whether it goes on. Parts that wait are asked
//! again when others have run. Where all wait, a polling wait gives up once, as the hardware's does after a
//! while (`mbarrier.try_wait` may answer "not yet"); if that leads nowhere, the block is stuck. In unusual schedules the
//! first answer to a wait that is not over is "not yet", so that who does not look at it is found out.

use super::{Block, Part, State};
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::engine::{Asked, Product};
use crate::device::gpu::emulator::fault::Fault;
use crate::device::gpu::emulator::grid::Schedule;
use crate::device::gpu::emulator::lanes::{LANES, Registers, lanes};
use crate::ptx::{Asynchronous, NO_GATE, NONE};

/// Rounds of answers "not yet" without any arrival, byte or end of a warp after which a block is stuck.
pub(super) const PATIENCE: u32 = 64;

impl<'l> Block<'_, 'l> {
    /// The machine as one warp sees it, and the warp's registers.
    pub(super) fn core(&mut self, index: usize) -> (Core<'_, 'l>, &mut Registers) {
        let (block, rank) = (self.block_of(index), self.rank(index));
        let warp = &mut self.warps[index];
        let core = Core {
            grid: self.grid,
            shared: &mut self.shared,
            keeps: &mut warp.keeps,
            engine: &mut self.engine,
            agents: self.agents,
            statistics: &mut self.statistics,
            warp: index,
            rank,
            block,
            number: self.number + u64::from(rank),
            live: warp.live,
        };
        (core, &mut warp.registers)
    }

    /// The operation of a gate, for reports.
    fn operation(&self, part: &Part, gate: u32) -> u32 {
        let ops = self.grid.program.blocks[part.at as usize].ops.clone();
        let all = &self.grid.program.ops;
        let is = |at: &u32| {
            let op = all[*at as usize];
            op.code == crate::ptx::Code::Asynchronous && op.imm == gate
        };
        ops.clone().find(is).unwrap_or(ops.start)
    }

    /// Whether a part goes on behind a gate.
    pub(super) fn pass(&mut self, index: usize, gate: u32, part: &mut Part) -> Result<bool, Box<Fault>> {
        let program = self.grid.program;
        let at = self.operation(part, gate);
        match &program.asynchronous[gate as usize] {
            Asynchronous::Wait { d, barrier, parity, state, order } => {
                // Lanes part and meet between two questions, so it is theirs, not the part's.
                let is_first = part.lanes & !self.warps[index].refused != 0;
                let refuses = self.grid.options.schedule != Schedule::Lowest && is_first;
                let (mut core, registers) = self.core(index);
                let addresses = core.spots(registers, barrier);
                let mut found: [Option<usize>; LANES] = [None; LANES];
                let mut before = None;
                for lane in lanes(part.lanes) {
                    let question = (addresses[lane], asked(registers, *parity, *state, lane));
                    found[lane] = match before {
                        // Lanes ask for the same, nearly always.
                        Some((same, answer)) if same == question => answer,
                        _ => core.asks(at, lane, question.0, question.1, refuses)?,
                    };
                    before = Some((question, found[lane]));
                }
                let over = lanes(part.lanes)
                    .filter(|&lane| found[lane].is_some())
                    .fold(0, |all, lane| all | 1 << lane);
                if over != part.lanes && !part.gives_up && !refuses {
                    return Ok(false);
                }
                part.gives_up = false;
                let mut known = None;
                for number in found.into_iter().flatten() {
                    if known.replace(number) != Some(number) {
                        core.acquired(number, *order);
                    }
                }
                let p = registers.predicate_mut(*d);
                *p = (*p & !part.lanes) | over;
                let refused = &mut self.warps[index].refused;
                *refused = (*refused | part.lanes) & !over;
                Ok(true)
            }
            Asynchronous::Wgmma(wgmma) => {
                let (mut core, registers) = self.core(index);
                let all = core.issue_wgmma(at, gate, wgmma, registers, part.lanes)?;
                if all && !self.grid.options.late_copies {
                    self.multiply(index / 4, u32::MAX);
                }
                Ok(true)
            }
            Asynchronous::WaitWgmma { left, .. } => {
                let (mut core, _) = self.core(index);
                core.whole_group(at, part.lanes)?;
                let upto = core.awaited_wgmma(*left);
                let group = &self.engine.groups[index / 4];
                let count = upto.saturating_sub(group.first) as usize;
                if group.queue.iter().take(count).any(|issue| issue.came != 15) {
                    return Ok(false);
                }
                self.multiply(index / 4, upto);
                self.core(index).0.waited_wgmma(upto);
                Ok(true)
            }
            Asynchronous::Registers(count, true) => self.core(index).0.grow(at, *count, part.lanes),
            _ => Ok(true),
        }
    }

    /// Does the products of a warpgroup that come before number `upto` and are not done.
    fn multiply(&mut self, group: usize, upto: u32) {
        let grid = self.grid;
        let rank = self.rank(4 * group);
        let Some([a, b, c, d]) = self.warps.get_mut(4 * group..4 * group + 4) else { return };
        let mut registers = [&mut a.registers, &mut b.registers, &mut c.registers, &mut d.registers];
        let own = &mut self.engine.groups[group];
        let count = upto.saturating_sub(own.first) as usize;
        for issue in own.queue.iter_mut().take(count).filter(|issue| !issue.done && issue.came == 15) {
            issue.done = true;
            let Asynchronous::Wgmma(wgmma) = &grid.program.asynchronous[issue.index as usize] else {
                continue;
            };
            let product = Product {
                wgmma,
                layouts: Core::layouts(wgmma, issue.descriptors, self.shared.place(rank, 0) as u32),
                adds: issue.adds,
                mode: grid.options.tensor,
                wide: grid.wide,
            };
            product.run(&self.shared.words, &mut registers);
        }
    }

    /// Where all wait: those who poll are told "not yet". Whether there is any.
    pub(super) fn give_up(&mut self) -> bool {
        let program = self.grid.program;
        let mut any = false;
        for warp in self.warps.iter_mut().filter(|warp| warp.state == State::Runs) {
            for part in warp.parts.iter_mut().filter(|part| part.waits) {
                let gate = program.blocks[part.at as usize].gate;
                if gate != NO_GATE && matches!(program.asynchronous[gate as usize], Asynchronous::Wait { .. })
                {
                    part.gives_up = true;
                    any = true;
                }
            }
        }
        any
    }

    /// Whether a warp waits for registers.
    pub(super) fn wants_registers(&self) -> bool {
        let program = self.grid.program;
        let waiting = self.warps.iter().flat_map(|warp| warp.parts.iter().filter(|part| part.waits));
        waiting.map(|part| program.blocks[part.at as usize].gate).any(|gate| {
            gate != NO_GATE && matches!(program.asynchronous[gate as usize], Asynchronous::Registers(..))
        })
    }

    /// What a part waits for at its gate, for reports.
    pub(super) fn waits_for(&mut self, index: usize, part: &Part) -> String {
        let gate = self.grid.program.blocks[part.at as usize].gate;
        if gate == NO_GATE {
            return "a turn".into();
        }
        match &self.grid.program.asynchronous[gate as usize] {
            Asynchronous::Wait { barrier, parity, state, .. } => {
                let (core, registers) = self.core(index);
                let lane = part.lanes.trailing_zeros() as usize % LANES;
                let asked = asked(registers, *parity, *state, lane);
                core.missing(core.spots(registers, barrier)[lane], asked)
            }
            Asynchronous::Registers(count, _) => {
                let (spare, all) = self.core(index).0.spare_registers();
                let free = spare / LANES as u32;
                format!("{count} registers a thread, where the others leave it {free} of the block's {all}")
            }
            _ => "the other warps of its warpgroup, which have not issued the same wgmma".into(),
        }
    }
}

fn asked(registers: &Registers, parity: u16, state: u16, lane: usize) -> Asked {
    if parity == NONE {
        Asked::State(registers.long(state)[lane])
    } else {
        Asked::Parity(registers.word(parity)[lane])
    }
}
