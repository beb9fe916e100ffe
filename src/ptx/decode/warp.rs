//! Instructions of a whole warp: matrices, votes, shuffles, reductions.
//!
//! In: an instruction whose family is `ldmatrix stmatrix mma vote shfl redux match activemask elect`. Out: operations
//! and rows of the program's tables.

use super::Decoder;
use crate::error::Result;
use crate::ptx::alu::{Class, Code};
use crate::ptx::program::*;
use crate::ptx::tree::{Instruction, Operand, Space};

/// What all lanes of a warp run together, without a mask that says so.
const WHOLE: [&str; 5] = ["mma.", "ldmatrix.", "stmatrix.", "wgmma.", "setmaxnreg."];

impl Decoder<'_> {
    /// The slots of `{a, b, …}`, as many as fit `list`.
    pub(super) fn vector<const N: usize>(
        &mut self,
        operand: &Operand,
        count: usize,
        writes: bool,
    ) -> Result<[u16; N]> {
        let single = [operand.clone()];
        let list: &[Operand] = match operand {
            Operand::Vector(list) => list,
            _ => &single,
        };
        if list.len() != count {
            return Err(self
                .error("a matrix has another number of registers")
                .expected_got(count, list.len()));
        }
        let mut slots = [NONE; N];
        for (slot, operand) in slots.iter_mut().zip(list) {
            *slot = if writes { self.result(operand, Class::W)? } else { self.operand(operand, Class::W)? };
        }
        Ok(slots)
    }

    pub(super) fn matrix(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let unknown = format!("unknown instruction `{opcode}`");
        let stores = opcode.starts_with("stmatrix");
        let matrix = if stores || opcode.starts_with("ldmatrix") {
            let plain = opcode.replace("shared::cta", "shared");
            let parts: Vec<&str> = plain.split('.').collect();
            let (count, transposed) = match parts.as_slice() {
                [_, "sync", "aligned", "m8n8", count, "shared", "b16"] => (*count, false),
                [_, "sync", "aligned", "m8n8", count, "trans", "shared", "b16"] => (*count, true),
                _ => return Err(self.error(unknown)),
            };
            let count = match count {
                "x1" => 1,
                "x2" => 2,
                "x4" => 4,
                _ => return Err(self.error(unknown)),
            };
            let [first, second] = instruction.operands.as_slice() else { return Err(self.error(unknown)) };
            let (data, address) = if stores { (second, first) } else { (first, second) };
            let regs = self.vector(data, count, !stores)?;
            let base = self.base(address, Space::Shared)?;
            let (count, base, base_class, offset) = (count as u8, base.slot, base.class, base.offset);
            if stores {
                Matrix::Store { count, transposed, regs, base, base_class, offset }
            } else {
                Matrix::Load { count, transposed, regs, base, base_class, offset }
            }
        } else {
            let parts: Vec<&str> = opcode.split('.').collect();
            let (kind, k) = match parts.as_slice() {
                ["mma", "sync", "aligned", shape, "row", "col", "f32", x, y, "f32"] if x == y => {
                    match (*shape, *x) {
                        ("m16n8k16", "bf16") => (Multiply::Bf16, 16),
                        ("m16n8k8", "bf16") => (Multiply::Bf16, 8),
                        ("m16n8k16", "f16") => (Multiply::F16, 16),
                        ("m16n8k8", "f16") => (Multiply::F16, 8),
                        ("m16n8k8", "tf32") => (Multiply::Tf32, 8),
                        ("m16n8k4", "tf32") => (Multiply::Tf32, 4),
                        _ => return Err(self.error(unknown)),
                    }
                }
                _ => return Err(self.error(unknown)),
            };
            let [d, a, b, c] = instruction.operands.as_slice() else { return Err(self.error(unknown)) };
            let pairs = match kind {
                Multiply::Tf32 => usize::from(k) / 4,
                _ => usize::from(k) / 8,
            };
            let (a, b) = (self.vector(a, 2 * pairs, false)?, self.vector(b, pairs, false)?);
            let (c, d) = (self.vector(c, 4, false)?, self.vector(d, 4, true)?);
            Matrix::Multiply { kind, k, d, a, b, c }
        };
        self.program.matrices.push(matrix);
        let imm = self.program.matrices.len() as u32 - 1;
        self.emit(Op { imm, ..Op::new(Code::Matrix) });
        Ok(())
    }

    /// The lanes that an instruction names, as the slot of a mask.
    pub(super) fn meeting(&mut self, instruction: &Instruction) -> Result<u16> {
        match (instruction.opcode.as_str(), instruction.operands.last()) {
            (opcode, _) if WHOLE.iter().any(|start| opcode.starts_with(start)) => {
                self.fixed(Fixed::ConstW(u32::MAX))
            }
            (_, Some(mask @ (Operand::Register(_) | Operand::Int(_)))) => self.operand(mask, Class::W),
            (opcode, _) => Err(self.error(format!("`{opcode}` names no lanes"))),
        }
    }

    pub(super) fn warp_wide(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let operands = instruction.operands.as_slice();
        let unknown = format!("unknown instruction `{opcode}`");
        if let Some(rest) = opcode.strip_prefix("shfl.sync.") {
            let kind = match rest {
                "up.b32" => Shuffle::Up,
                "down.b32" => Shuffle::Down,
                "bfly.b32" => Shuffle::Butterfly,
                "idx.b32" => Shuffle::Index,
                _ => return Err(self.error(unknown)),
            };
            let [d, a, b, c, mask] = operands else { return Err(self.error(unknown)) };
            let (a, b, c) =
                (self.operand(a, Class::W)?, self.operand(b, Class::W)?, self.operand(c, Class::W)?);
            let (d, p) = match d {
                Operand::Pair(d, p) => (d.as_ref(), Some(p.as_ref())),
                d => (d, None),
            };
            let d = self.result(d, Class::W)?;
            let e = p.map_or(Ok(NONE), |p| self.result(p, Class::P))?;
            let mask = self.operand(mask, Class::W)?;
            self.program.shuffles.push((kind, mask));
            let imm = self.program.shuffles.len() as u32 - 1;
            self.emit(Op { d, a, b, c, e, imm, code: Code::Shuffle });
            return Ok(());
        }
        let (vote, operand, result) = match opcode {
            "vote.sync.all.pred" => (Vote::All, Class::P, Class::P),
            "vote.sync.any.pred" => (Vote::Any, Class::P, Class::P),
            "vote.sync.uni.pred" => (Vote::Uni, Class::P, Class::P),
            "vote.sync.ballot.b32" => (Vote::Ballot, Class::P, Class::W),
            "redux.sync.add.s32" | "redux.sync.add.u32" => (Vote::ReduceAdd, Class::W, Class::W),
            "redux.sync.min.s32" => (Vote::ReduceMinS, Class::W, Class::W),
            "redux.sync.max.s32" => (Vote::ReduceMaxS, Class::W, Class::W),
            "redux.sync.min.u32" => (Vote::ReduceMinU, Class::W, Class::W),
            "redux.sync.max.u32" => (Vote::ReduceMaxU, Class::W, Class::W),
            "redux.sync.and.b32" => (Vote::ReduceAnd, Class::W, Class::W),
            "redux.sync.or.b32" => (Vote::ReduceOr, Class::W, Class::W),
            "redux.sync.xor.b32" => (Vote::ReduceXor, Class::W, Class::W),
            "match.any.sync.b32" => (Vote::MatchAny, Class::W, Class::W),
            "activemask.b32" => (Vote::ActiveMask, Class::W, Class::W),
            "elect.sync" => (Vote::Elect, Class::W, Class::W),
            "bar.warp.sync" => (Vote::Meet, Class::W, Class::W),
            _ => return Err(self.error(unknown)),
        };
        let mut op = Op { a: NONE, b: NONE, c: NONE, e: NONE, ..Op::new(Code::Vote) };
        match (vote, operands) {
            (Vote::ActiveMask, [d]) => op.d = self.result(d, Class::W)?,
            (Vote::Meet, [mask]) => op.b = self.operand(mask, Class::W)?,
            (Vote::Elect, [Operand::Pair(d, p), mask]) => {
                op.b = self.operand(mask, Class::W)?;
                op.d = self.result(d, Class::W)?;
                op.e = self.result(p, Class::P)?;
            }
            (_, [d, a, mask]) if !matches!(vote, Vote::Elect | Vote::Meet) => {
                op.a = self.operand(a, operand)?;
                op.b = self.operand(mask, Class::W)?;
                op.d = self.result(d, result)?;
            }
            _ => return Err(self.error(unknown)),
        }
        self.program.votes.push(vote);
        op.imm = self.program.votes.len() as u32 - 1;
        self.emit(op);
        Ok(())
    }
}
