//! Instructions on registers alone: rows of the table, moves of parts, comparisons.
//!
//! In: an instruction. Out: operations.

use super::Decoder;
use crate::error::Result;
use crate::ptx::alu::{self, Class, Code};
use crate::ptx::program::*;
use crate::ptx::tree::{Instruction, Operand};

/// The number of operands of an instruction that changes nothing here: memory is in order already, there are
/// no caches.
pub(super) fn nothing(opcode: &str) -> Option<usize> {
    match opcode {
        "membar.cta"
        | "membar.gl"
        | "membar.sys"
        | "fence.acq_rel.cta"
        | "fence.acq_rel.gpu"
        | "barrier.cluster.arrive"
        | "barrier.cluster.arrive.aligned"
        | "barrier.cluster.arrive.release"
        | "barrier.cluster.arrive.release.aligned"
        | "barrier.cluster.arrive.relaxed"
        | "barrier.cluster.arrive.relaxed.aligned"
        | "fence.acq_rel.cluster"
        | "fence.sc.cluster"
        | "griddepcontrol.launch_dependents"
        | "fence.acq_rel.sys"
        | "fence.sc.cta"
        | "fence.sc.gpu"
        | "fence.sc.sys" => Some(0),
        "nanosleep.u32"
        | "prefetch.global.L1"
        | "prefetch.global.L2"
        | "prefetchu.L1"
        | "prefetch.tensormap"
        | "prefetch.param.tensormap" => Some(1),
        _ => None,
    }
}

impl Decoder<'_> {
    pub(super) fn instruction(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let family = opcode.split('.').next().unwrap_or_default();
        match family {
            // Of the copies' view of global memory nothing is followed.
            "fence" if opcode == "fence.proxy.async.global" && instruction.operands.is_empty() => {
                self.emit(Op::new(Code::Nothing));
                Ok(())
            }
            _ if super::asynchronous::is_asynchronous(opcode) => self.asynchronous(instruction),
            "fence" | "membar" if self.relaxed && nothing(opcode).is_some() => self.asynchronous(instruction),
            "ld" | "st" | "atom" | "red" | "cp" | "cvta" => self.memory(instruction),
            "ldmatrix" | "stmatrix" | "mma" => self.matrix(instruction),
            "vote" | "shfl" | "redux" | "match" | "activemask" | "elect" => self.warp_wide(instruction),
            "bar" if opcode == "bar.warp.sync" => self.warp_wide(instruction),
            "createpolicy" => self.policy(instruction),
            "setp" => self.setp(instruction),
            "mov" => self.mov(instruction),
            "mapa" => self.mapa(instruction),
            "trap" if opcode == "trap" && instruction.operands.is_empty() => {
                self.emit(Op::new(Code::Trap));
                Ok(())
            }
            "griddepcontrol" if opcode == "griddepcontrol.wait" && instruction.operands.is_empty() => {
                self.program.awaits = true;
                self.emit(Op::new(Code::AwaitPredecessor));
                Ok(())
            }
            _ if nothing(opcode) == Some(instruction.operands.len()) => {
                self.emit(Op::new(Code::Nothing));
                Ok(())
            }
            _ => self.row(instruction),
        }
    }

    /// What a cache shall keep: there is none, so any number will do.
    fn policy(&mut self, instruction: &Instruction) -> Result<()> {
        match (instruction.opcode.as_str(), instruction.operands.as_slice()) {
            (opcode, [d, ..])
                if opcode.starts_with("createpolicy.fractional.L2::") && opcode.ends_with(".b64") =>
            {
                let (d, a) = (self.result(d, Class::L)?, self.fixed(Fixed::ConstL(0))?);
                self.emit(Op { d, a, ..Op::new(Code::MovL) });
                Ok(())
            }
            (opcode, _) => Err(self.error(format!("unknown instruction `{opcode}`"))),
        }
    }

    /// What it gives is the machine's own: a place in another block's shared memory.
    fn mapa(&mut self, instruction: &Instruction) -> Result<()> {
        match (instruction.opcode.as_str(), instruction.operands.as_slice()) {
            ("mapa.shared::cluster.u32", [d, a, b]) => {
                let (a, b) = (self.operand(a, Class::W)?, self.operand(b, Class::W)?);
                let d = self.result(d, Class::W)?;
                self.emit(Op { d, a, b, ..Op::new(Code::MapaW) });
                Ok(())
            }
            (opcode, _) => Err(self.error(format!("unknown instruction `{opcode}`"))),
        }
    }

    /// An instruction of the table.
    fn row(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let (Some(code), [d, sources @ ..]) = (alu::find(opcode), instruction.operands.as_slice()) else {
            return Err(self.error(format!("unknown instruction `{opcode}`")));
        };
        let Some(signature) = code.signature() else {
            return Err(self.error(format!("unknown instruction `{opcode}`")));
        };
        if sources.len() != signature.operands.len() {
            return Err(self
                .error(format!("`{opcode}` has another number of operands"))
                .expected_got(signature.operands.len() + 1, sources.len() + 1));
        }
        let narrow = opcode.ends_with("16");
        let shifts = opcode.starts_with("shl.") || opcode.starts_with("shr.");
        let mut op = Op::new(code);
        let mut slots = [0; 4];
        for (at, ((slot, source), &class)) in
            slots.iter_mut().zip(sources).zip(signature.operands).enumerate()
        {
            *slot = match source {
                // Of a narrow number the low half counts; a shift goes by 32 bits.
                Operand::Int(value) if narrow && class == Class::W && !(shifts && at == 1) => {
                    self.fixed(Fixed::ConstW(*value as u32 & 0xffff))?
                }
                source => self.operand(source, class)?,
            };
        }
        [op.a, op.b, op.c, op.e] = slots;
        op.d = self.result(d, signature.result)?;
        self.emit(op);
        Ok(())
    }

    fn mov(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let (whole, part) = match opcode {
            "mov.b32" => (Class::W, Class::W),
            "mov.b64" => (Class::L, Class::W),
            _ => return self.row(instruction),
        };
        match instruction.operands.as_slice() {
            [Operand::Vector(parts), source] if parts.len() == 2 => {
                let a = self.operand(source, whole)?;
                let codes =
                    if whole == Class::L { [Code::LowW, Code::HighW] } else { [Code::LowH, Code::HighH] };
                // The source may be one of the parts: it is read before either is written.
                let (first, second) = (self.result(&parts[0], part)?, self.result(&parts[1], part)?);
                let kept = if whole == Class::W && first == a {
                    let kept = self.temporary(Class::W)?;
                    self.emit(Op { d: kept, a, ..Op::new(Code::MovW) });
                    kept
                } else {
                    a
                };
                self.emit(Op { d: first, a: kept, ..Op::new(codes[0]) });
                self.emit(Op { d: second, a: kept, ..Op::new(codes[1]) });
                Ok(())
            }
            [d, Operand::Vector(parts)] if parts.len() == 2 => {
                let a = self.operand(&parts[0], part)?;
                let b = self.operand(&parts[1], part)?;
                let code = if whole == Class::L { Code::PackL } else { Code::PackW };
                let d = self.result(d, whole)?;
                self.emit(Op { d, a, b, ..Op::new(code) });
                Ok(())
            }
            _ => self.row(instruction),
        }
    }

    /// `setp.CMP[.BOOL][.ftz].TYPE p[|q], a, b[, r]`.
    fn setp(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let unknown = |it: &Self| it.error(format!("unknown instruction `{opcode}`"));
        let mut parts: Vec<&str> = opcode.split('.').skip(1).collect();
        let flushes = parts.contains(&"ftz");
        parts.retain(|&part| part != "ftz");
        let (compare, join, kind) = match parts.as_slice() {
            [compare, kind] => (*compare, None, *kind),
            [compare, join @ ("and" | "or" | "xor"), kind] => (*compare, Some(*join), *kind),
            _ => return Err(unknown(self)),
        };
        let (code, swapped, class) = comparison(compare, kind).ok_or_else(|| unknown(self))?;
        let (d, a, b, r) = match (instruction.operands.as_slice(), join) {
            ([d, a, b], None) => (d, a, b, None),
            ([d, a, b, r], Some(_)) => (d, a, b, Some(r)),
            _ => return Err(unknown(self)),
        };
        let mut slots = [0; 2];
        for (slot, source) in slots.iter_mut().zip([a, b]) {
            *slot = match source {
                Operand::Int(value) if kind.ends_with("16") => {
                    self.fixed(Fixed::ConstW(*value as u32 & 0xffff))?
                }
                source => self.operand(source, class)?,
            };
            if flushes && kind == "f32" {
                let flushed = self.temporary(Class::W)?;
                let zero = self.fixed(Fixed::ConstW(0x8000_0000))?;
                self.emit(Op { d: flushed, a: *slot, b: zero, ..Op::new(Code::AddFz) });
                *slot = flushed;
            }
        }
        let [a, b] = if swapped { [slots[1], slots[0]] } else { slots };
        let (d, q) = match d {
            Operand::Pair(d, q) => (d.as_ref(), Some(q.as_ref())),
            d => (d, None),
        };
        let r = r.map(|r| self.operand(r, Class::P)).transpose()?;
        let joined = match join {
            Some("and") => Code::AndP,
            Some("or") => Code::OrP,
            _ => Code::XorP,
        };
        let d = self.result(d, Class::P)?;
        match (r, q) {
            (None, None) => self.emit(Op { d, a, b, ..Op::new(code) }),
            (r, q) => {
                // The other result sees the comparison inverted, and the same third operand.
                let bare = self.temporary(Class::P)?;
                let inverse = self.temporary(Class::P)?;
                let old = self.temporary(Class::P)?;
                self.emit(Op { d: bare, a, b, ..Op::new(code) });
                self.emit(Op { d: inverse, a: bare, ..Op::new(Code::NotP) });
                if let Some(r) = r {
                    self.emit(Op { d: old, a: r, ..Op::new(Code::MovP) });
                }
                let mut finish = |d: u16, bare: u16| match r {
                    Some(_) => self.emit(Op { d, a: bare, b: old, ..Op::new(joined) }),
                    None => self.emit(Op { d, a: bare, ..Op::new(Code::MovP) }),
                };
                finish(d, bare);
                if let Some(q) = q {
                    let q = self.result(q, Class::P)?;
                    match r {
                        Some(_) => self.emit(Op { d: q, a: inverse, b: old, ..Op::new(joined) }),
                        None => self.emit(Op { d: q, a: inverse, ..Op::new(Code::MovP) }),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The row of a comparison, whether its operands are swapped, and their class.
fn comparison(compare: &str, kind: &str) -> Option<(Code, bool, Class)> {
    use Code::*;
    // By the sign bit alone they differ, and these four say which they mean.
    if matches!(compare, "lo" | "ls" | "hi" | "hs") && !kind.starts_with('u') {
        return None;
    }
    let (compare, swapped) = match compare {
        "gt" => ("lt", true),
        "ge" => ("le", true),
        "hi" => ("lt", true),
        "hs" => ("le", true),
        "lo" => ("lt", false),
        "ls" => ("le", false),
        "gtu" => ("ltu", true),
        "geu" => ("leu", true),
        other => (other, false),
    };
    let order = ["eq", "ne", "lt", "le", "equ", "neu", "ltu", "leu", "num", "nan"];
    let at = order.iter().position(|&name| name == compare)?;
    let (rows, class): (&[Code], _) = match kind {
        "s32" => (&[EqW, NeW, LtS, LeS], Class::W),
        "u32" => (&[EqW, NeW, LtU, LeU], Class::W),
        "b32" => (&[EqW, NeW], Class::W),
        "s16" => (&[EqH, NeH, LtHS, LeHS], Class::W),
        "u16" => (&[EqH, NeH, LtHU, LeHU], Class::W),
        "b16" => (&[EqH, NeH], Class::W),
        "s64" => (&[EqL, NeL, LtI, LeI], Class::L),
        "u64" => (&[EqL, NeL, LtL, LeL], Class::L),
        "b64" => (&[EqL, NeL], Class::L),
        "f32" => (&[EqF, NeF, LtF, LeF, EquF, NeuF, LtuF, LeuF, NumF, NanF], Class::W),
        "f64" => (&[EqD, NeD, LtD, LeD, EquD, NeuD, LtuD, LeuD, NumD, NanD], Class::L),
        _ => return None,
    };
    rows.get(at).map(|&code| (code, swapped, class))
}
