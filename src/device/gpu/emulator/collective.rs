//! What lanes of a warp do together, but for matrices: votes, reductions, shuffles, and that they are all there.
//!
//! In: an operation, registers, the lanes that reach it. Out: registers changed, or a fault where a mask does not fit. Lanes
//! that meet here know of each other's shared memory from then on.

use super::core::Core;
use super::fault::{Check, Fault};
use super::lanes::{LANES, Mask, Registers, lanes};
use crate::ptx::{NONE, Op, Shuffle, Vote};

impl Core<'_, '_> {
    /// Lanes that name the same lanes vote together.
    pub(super) fn vote(
        &mut self,
        at: u32,
        op: &Op,
        registers: &mut Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let vote = self.grid.program.votes[op.imm as usize];
        if vote == Vote::ActiveMask || op.b == NONE {
            self.vote_of(vote, op, registers, mask.bits);
            return Ok(());
        }
        let named = *registers.word(op.b);
        let mut rest = mask.bits;
        while rest != 0 {
            let first = rest.trailing_zeros() as usize;
            let together = lanes(rest).filter(|&lane| named[lane] == named[first]);
            let together = together.fold(0, |bits, lane| bits | 1 << lane);
            if together & !named[first] != 0 {
                let lane = (together & !named[first]).trailing_zeros() as usize;
                let what = format!(
                    "a lane runs a warp-wide instruction that does not name it ({:#010x})",
                    named[first]
                );
                let help = "the mask must name every lane that reaches the instruction";
                return Err(self.fault(Check::Deadlock, at, lane, what, help));
            }
            self.shared.meet_lanes(self.warp, together);
            self.vote_of(vote, op, registers, together);
            rest &= !together;
        }
        Ok(())
    }

    fn vote_of(&self, vote: Vote, op: &Op, registers: &mut Registers, bits: u32) {
        let set = if !matches!(vote, Vote::All | Vote::Any | Vote::Uni | Vote::Ballot) {
            0
        } else {
            registers.predicate(op.a) & bits
        };
        let all = |registers: &mut Registers, value: u32| {
            lanes(bits).for_each(|lane| registers.word_mut(op.d)[lane] = value);
        };
        let reduce = |registers: &mut Registers, join: &dyn Fn(u32, u32) -> u32| {
            let row = *registers.word(op.a);
            if let Some(value) = lanes(bits).map(|lane| row[lane]).reduce(join) {
                lanes(bits).for_each(|lane| registers.word_mut(op.d)[lane] = value);
            }
        };
        let say = |registers: &mut Registers, yes: bool| {
            let d = registers.predicate_mut(op.d);
            *d = if yes { *d | bits } else { *d & !bits };
        };
        match vote {
            Vote::Meet => {}
            Vote::All => say(registers, set == bits),
            Vote::Any => say(registers, set != 0),
            Vote::Uni => say(registers, set == bits || set == 0),
            Vote::Ballot => all(registers, set),
            Vote::ActiveMask => all(registers, bits),
            Vote::ReduceAdd => reduce(registers, &u32::wrapping_add),
            Vote::ReduceMinU => reduce(registers, &|a, b| a.min(b)),
            Vote::ReduceMaxU => reduce(registers, &|a, b| a.max(b)),
            Vote::ReduceMinS => reduce(registers, &|a, b| (a as i32).min(b as i32) as u32),
            Vote::ReduceMaxS => reduce(registers, &|a, b| (a as i32).max(b as i32) as u32),
            Vote::ReduceAnd => reduce(registers, &|a, b| a & b),
            Vote::ReduceOr => reduce(registers, &|a, b| a | b),
            Vote::ReduceXor => reduce(registers, &|a, b| a ^ b),
            Vote::MatchAny => {
                let row = *registers.word(op.a);
                for lane in lanes(bits) {
                    let same = lanes(bits).filter(|&other| row[other] == row[lane]);
                    registers.word_mut(op.d)[lane] = same.fold(0, |found, other| found | 1 << other);
                }
            }
            Vote::Elect => {
                let leader = bits.trailing_zeros() as usize % LANES;
                all(registers, leader as u32);
                let p = registers.predicate_mut(op.e);
                *p = (*p & !bits) | 1 << leader;
            }
        }
    }

    /// PTX ISA 9.0, 9.7.9.6 `shfl.sync`.
    pub(super) fn shuffle(
        &mut self,
        at: u32,
        op: &Op,
        registers: &mut Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let (kind, named) = self.grid.program.shuffles[op.imm as usize];
        let named = *registers.word(named);
        let (a, b, c) = (*registers.word(op.a), *registers.word(op.b), *registers.word(op.c));
        let mut within = 0u32;
        for lane in lanes(mask.bits) {
            let me = lane as i32;
            let by = (b[lane] & 31) as i32;
            let (clamp, segment) = ((c[lane] & 31) as i32, (c[lane] >> 8 & 31) as i32);
            let most = (me & segment) | (clamp & !segment);
            let (from, inside) = match kind {
                Shuffle::Up => (me - by, me - by >= most),
                Shuffle::Down => (me + by, me + by <= most),
                Shuffle::Butterfly => (me ^ by, (me ^ by) <= most),
                Shuffle::Index => {
                    let from = (me & segment) | (by & !segment);
                    (from, from <= most)
                }
            };
            let from = if inside { from as usize % LANES } else { lane };
            let takes_part = |other: usize| (mask.bits & named[lane]) >> other & 1 == 1;
            if self.grid.options.checked && !(takes_part(from) && takes_part(lane)) {
                let what = format!("a shuffle reads lane {from}, which does not take part");
                let help = "the lanes of the mask must all reach the shuffle, and only they can be read";
                let mut fault = self.fault(Check::Uninitialized, at, lane, what, help);
                fault.facts.push(("lanes here".into(), format!("{:#010x}", mask.bits)));
                fault.facts.push(("its mask".into(), format!("{:#010x}", named[lane])));
                return Err(fault);
            }
            if self.grid.options.checked && named[from] != named[lane] {
                let what = format!("a shuffle reads lane {from}, which names other lanes");
                let help = "lanes that shuffle with each other have the same mask";
                let mut fault = self.fault(Check::Uninitialized, at, lane, what, help);
                let masks = format!("{:#010x} and {:#010x}", named[lane], named[from]);
                fault.facts.push(("masks".into(), masks));
                return Err(fault);
            }
            registers.word_mut(op.d)[lane] = a[from];
            within |= u32::from(inside) << lane;
        }
        if op.e != NONE {
            let p = registers.predicate_mut(op.e);
            *p = (*p & !mask.bits) | within;
        }
        self.shared.meet_lanes(self.warp, mask.bits);
        Ok(())
    }

    /// All lanes are here, and meet.
    pub(super) fn whole_warp(&mut self, at: u32, mask: &Mask, name: &str) -> Result<(), Box<Fault>> {
        if mask.bits == self.live && self.live == u32::MAX {
            self.shared.meet_lanes(self.warp, mask.bits);
            return Ok(());
        }
        let what = format!("`{name}` runs in a part of the warp");
        let mut fault = self.fault(
            Check::BarrierDivergence,
            at,
            mask.first(),
            what,
            "all 32 lanes must reach it together",
        );
        fault.facts.push(("lanes".into(), format!("{:#010x}", mask.bits)));
        Err(fault)
    }
}
