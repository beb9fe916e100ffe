//! Memory instructions.
//!
//! In: an instruction whose family is `ld st atom red cp cvta`. Out: operations, and rows of the program's
//! accesses.

use super::Decoder;
use crate::error::Result;
use crate::ptx::alu::{self, Class, Code};
use crate::ptx::parse::size_of_type;
use crate::ptx::program::*;
use crate::ptx::tree::{Instruction, Operand, Space};

/// The base of an address: slot, class, and the constant part.
pub(super) struct Base {
    pub slot: u16,
    pub class: Class,
    pub offset: i64,
}

impl Decoder<'_> {
    pub(super) fn memory(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        if opcode.starts_with("cvta.") {
            return self.cvta(instruction);
        }
        if opcode.starts_with("cp.") {
            return self.async_copy(instruction);
        }
        // By a register where a kernel chooses among the places of a struct; mostly by name.
        if opcode.starts_with("ld.param") && !is_indirect(instruction) {
            return self.load_param(instruction);
        }
        let unknown = format!("unknown instruction `{opcode}`");
        let mut parts = opcode.split('.');
        let family = parts.next().unwrap_or_default();
        let parts: Vec<&str> = parts.collect();
        let Some((&kind, modifiers)) = parts.split_last() else { return Err(self.error(unknown)) };
        let mut space = Space::Generic;
        let (mut vector, mut nc, mut volatile, mut atomic) = (1u8, false, false, None);
        for &modifier in modifiers {
            match modifier {
                "global" => space = Space::Global,
                "shared" | "shared::cta" => space = Space::Shared,
                "local" => space = Space::Local,
                "const" => space = Space::Const,
                "param" if family == "ld" => space = Space::Param,
                "v2" => vector = 2,
                "v4" => vector = 4,
                "nc" if family == "ld" => nc = true,
                "volatile" | "relaxed" | "acquire" | "release" | "acq_rel" => volatile = true,
                // Caches and scopes change nothing that this machine shows.
                "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "cta" | "gpu" | "sys" | "weak"
                | "L2::128B" | "L2::256B" | "L2::64B" => {}
                "add" | "min" | "max" | "and" | "or" | "xor" | "exch" | "cas" | "inc" | "dec"
                    if matches!(family, "atom" | "red") =>
                {
                    atomic = Some(modifier);
                }
                _ => return Err(self.error(unknown)),
            }
        }
        let bytes = size_of_type(&format!(".{kind}"))
            .filter(|&bytes| bytes <= 8)
            .ok_or_else(|| self.error(unknown.clone()))?;
        let width = Width { bytes: bytes as u8, signed: kind.starts_with('s') && bytes < 4 };
        let class = if bytes == 8 { Class::L } else { Class::W };
        let mut access = Access {
            group: Group::Load { nc },
            space,
            width,
            vector,
            class,
            regs: [NONE; 4],
            base: NONE,
            base_class: Class::L,
            offset: 0,
            second: 0,
            second_class: Class::W,
            volatile,
            usual: bytes == 4,
        };
        let (address, data) = match (family, instruction.operands.as_slice()) {
            ("ld", [data, address]) => (address, data),
            ("st", [address, data]) => {
                access.group = Group::Store;
                (address, data)
            }
            ("atom" | "red", operands) => return self.atomic(family, operands, access, atomic, kind),
            _ => return Err(self.error(unknown)),
        };
        if atomic.is_some() {
            return Err(self.error(unknown));
        }
        let list = self.parts(data, usize::from(vector))?;
        for (slot, operand) in access.regs.iter_mut().zip(list) {
            *slot = match access.group {
                Group::Store => self.stored(operand, class)?,
                _ => self.result(operand, class)?,
            };
        }
        let base = self.base(address, space)?;
        (access.base, access.base_class, access.offset) = (base.slot, base.class, base.offset);
        self.emit_access(access);
        Ok(())
    }

    /// What a store writes: of a register of 64 bits also its lower half.
    fn stored(&mut self, operand: &Operand, class: Class) -> Result<u16> {
        match operand {
            Operand::Register(id)
                if class == Class::W && self.function.registers[*id as usize].class == Class::L =>
            {
                let d = self.temporary(Class::W)?;
                self.emit(Op { d, a: *id as u16, ..Op::new(Code::LowW) });
                Ok(d)
            }
            _ => self.operand(operand, class),
        }
    }

    fn emit_access(&mut self, access: Access) {
        self.program.accesses.push(access);
        let imm = self.program.accesses.len() as u32 - 1;
        self.emit(Op { imm, ..Op::new(Code::Access) });
    }

    /// `[%rd4+16]`, `[symbol+4]`, `[1024]`.
    pub(super) fn base(&mut self, operand: &Operand, space: Space) -> Result<Base> {
        let Operand::Memory(base, offset) = operand else {
            return Err(self.error(format!("expected an address, found {operand:?}")));
        };
        match base.as_ref() {
            Operand::Register(id) => {
                let class = self.function.registers[*id as usize].class;
                let narrow = matches!(space, Space::Shared | Space::Local | Space::Const);
                if class == Class::P || (class == Class::W && !narrow) {
                    return Err(self.error("this register cannot be an address here"));
                }
                Ok(Base { slot: *id as u16, class, offset: *offset })
            }
            Operand::Symbol(name) => {
                let address = self.address(name)?;
                Ok(Base { slot: NONE, class: Class::L, offset: (address as i64).wrapping_add(*offset) })
            }
            Operand::Int(address) => {
                Ok(Base { slot: NONE, class: Class::L, offset: (*address as i64).wrapping_add(*offset) })
            }
            other => Err(self.error(format!("this cannot be an address: {other:?}"))),
        }
    }

    /// The registers of an access: of a vector its parts.
    fn parts<'o>(&self, data: &'o Operand, vector: usize) -> Result<&'o [Operand]> {
        let list = match data {
            Operand::Vector(list) => list,
            single => std::slice::from_ref(single),
        };
        if list.len() != vector {
            return Err(self.error("the vector's length is not that of the instruction"));
        }
        Ok(list)
    }

    fn atomic(
        &mut self,
        family: &str,
        operands: &[Operand],
        mut access: Access,
        name: Option<&str>,
        kind: &str,
    ) -> Result<()> {
        let operation = match (name, kind) {
            (Some("add"), "u32" | "s32") => Atomic::AddW,
            (Some("add"), "u64" | "s64") => Atomic::AddL,
            (Some("add"), "f32") => Atomic::AddF,
            (Some("add"), "f64") => Atomic::AddD,
            (Some("min"), "s32") => Atomic::MinS,
            (Some("max"), "s32") => Atomic::MaxS,
            (Some("min"), "u32") => Atomic::MinU,
            (Some("max"), "u32") => Atomic::MaxU,
            (Some("min"), "u64") => Atomic::MinL,
            (Some("max"), "u64") => Atomic::MaxL,
            (Some("min"), "s64") => Atomic::MinI,
            (Some("max"), "s64") => Atomic::MaxI,
            (Some("and"), "b32" | "b64") => Atomic::And,
            (Some("or"), "b32" | "b64") => Atomic::Or,
            (Some("xor"), "b32" | "b64") => Atomic::Xor,
            (Some("exch"), "b32" | "b64") => Atomic::Exchange,
            (Some("cas"), "b32" | "b64") => Atomic::Compare,
            (Some("inc"), "u32") => Atomic::Inc,
            (Some("dec"), "u32") => Atomic::Dec,
            _ => return Err(self.error("unknown atomic operation")),
        };
        if access.vector != 1 {
            return Err(self.error("atomics on vectors are not known"));
        }
        access.group = Group::Atomic(operation);
        let (d, address, rest) = match (family, operands) {
            ("atom", [d, address, rest @ ..]) => (Some(d), address, rest),
            ("red", [address, rest @ ..]) => (None, address, rest),
            _ => return Err(self.error("an atomic needs an address")),
        };
        let wanted = if operation == Atomic::Compare { 2 } else { 1 };
        if rest.len() != wanted {
            return Err(self.error("another number of operands").expected_got(wanted, rest.len()));
        }
        for (slot, operand) in access.regs[1..].iter_mut().zip(rest) {
            *slot = self.operand(operand, access.class)?;
        }
        if let Some(d) = d {
            access.regs[0] = self.result(d, access.class)?;
        }
        let base = self.base(address, access.space)?;
        (access.base, access.base_class, access.offset) = (base.slot, base.class, base.offset);
        self.emit_access(access);
        Ok(())
    }

    fn load_param(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let parts: Vec<&str> = opcode.split('.').collect();
        let (vector, kind) = match parts.as_slice() {
            ["ld", "param", kind] => (1, *kind),
            ["ld", "param", "v2", kind] => (2, *kind),
            ["ld", "param", "v4", kind] => (4, *kind),
            _ => return Err(self.error(format!("unknown instruction `{opcode}`"))),
        };
        let bytes = size_of_type(&format!(".{kind}")).filter(|&bytes| bytes <= 8);
        let (Some(bytes), [data, Operand::Memory(base, offset)]) = (bytes, instruction.operands.as_slice())
        else {
            return Err(self.error(format!("unknown form of `{opcode}`")));
        };
        let Operand::Symbol(name) = base.as_ref() else {
            return Err(self.error("a parameter is read by its name"));
        };
        let Some(param) = self.function.params.iter().find(|param| param.name == *name) else {
            return Err(self.error(format!("there is no parameter `{name}`")));
        };
        let offset = u32::try_from(*offset).ok().filter(|&o| o.saturating_add(bytes * vector) <= param.size);
        let Some(offset) = offset else {
            return Err(self.error(format!("this lies outside parameter `{name}` of {} bytes", param.size)));
        };
        let at = param.offset + offset;
        // Of a vector more is asked, PTX ISA says; GPUs read those of numbers that are aligned themselves.
        if !at.is_multiple_of(bytes) {
            return Err(self
                .error(format!("`{opcode}` of a place that is not aligned"))
                .expected_got(format!("a multiple of {bytes}"), at));
        }
        let list = self.parts(data, vector as usize)?;
        let class = if bytes == 8 { Class::L } else { Class::W };
        for (k, operand) in list.iter().enumerate() {
            // A register of 64 bits may take a number of 32: its sign, or zeros, fill the rest.
            let wide = matches!(operand, Operand::Register(id)
                if bytes == 4 && self.function.registers[*id as usize].class == Class::L);
            let d = if wide { self.temporary(class)? } else { self.result(operand, class)? };
            let signed = u16::from(kind.starts_with('s') && bytes < 4);
            let imm = at + k as u32 * bytes;
            self.emit(Op { d, a: bytes as u16, b: signed, imm, ..Op::new(Code::LoadParam) });
            if wide {
                let spelling = if kind.starts_with('s') { "cvt.s64.s32" } else { "cvt.u64.u32" };
                let Some(code) = alu::find(spelling) else { return Err(self.error("no such conversion")) };
                let to = self.result(operand, Class::L)?;
                self.emit(Op { d: to, a: d, ..Op::new(code) });
            }
        }
        Ok(())
    }

    fn cvta(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        let (window, into) = match opcode {
            "cvta.to.global.u64" | "cvta.global.u64" => (0, true),
            "cvta.shared.u64" => (SHARED_WINDOW, true),
            "cvta.to.shared.u64" => (SHARED_WINDOW, false),
            "cvta.local.u64" => (LOCAL_WINDOW, true),
            "cvta.to.local.u64" => (LOCAL_WINDOW, false),
            "cvta.const.u64" => (CONST_WINDOW, true),
            "cvta.to.const.u64" => (CONST_WINDOW, false),
            "cvta.param.u64" => (PARAM_WINDOW, true),
            "cvta.to.param.u64" => (PARAM_WINDOW, false),
            _ => return Err(self.error(format!("unknown instruction `{opcode}`"))),
        };
        let [d, a] = instruction.operands.as_slice() else {
            return Err(self.error(format!("`{opcode}` has two operands")));
        };
        let a = self.operand(a, Class::L)?;
        let d = self.result(d, Class::L)?;
        let b = self.fixed(Fixed::ConstL(window))?;
        self.emit(match (window, into) {
            (0, _) => Op { d, a, ..Op::new(Code::MovL) },
            (_, true) => Op { d, a, b, ..Op::new(Code::AddL) },
            (_, false) => Op { d, a, b, ..Op::new(Code::SubL) },
        });
        Ok(())
    }

    fn async_copy(&mut self, instruction: &Instruction) -> Result<()> {
        let opcode = instruction.opcode.as_str();
        match (opcode, instruction.operands.as_slice()) {
            ("cp.async.commit_group", []) => {
                self.emit(Op::new(Code::CommitGroup));
                return Ok(());
            }
            ("cp.async.wait_all", []) => {
                self.emit(Op { a: 1, ..Op::new(Code::WaitGroup) });
                return Ok(());
            }
            ("cp.async.wait_group", [Operand::Int(groups)]) => {
                self.emit(Op { imm: *groups as u32, ..Op::new(Code::WaitGroup) });
                return Ok(());
            }
            _ => {}
        }
        let plain = opcode
            .replace(".L2::128B", "")
            .replace(".L2::256B", "")
            .replace(".L2::64B", "")
            .replace("shared::cta", "shared");
        let cached = match plain.as_str() {
            "cp.async.ca.shared.global" => true,
            "cp.async.cg.shared.global" => false,
            _ => return Err(self.error(format!("unknown instruction `{opcode}`"))),
        };
        let (to, from, size, source) = match instruction.operands.as_slice() {
            [to, from, Operand::Int(size)] => (to, from, *size, None),
            [to, from, Operand::Int(size), source] => (to, from, *size, Some(source)),
            _ => return Err(self.error(format!("unknown form of `{opcode}`"))),
        };
        let (bytes, vector) = match (size, cached) {
            (4, true) => (4, 1),
            (8, true) => (4, 2),
            (16, _) => (4, 4),
            _ => return Err(self.error(format!("`{opcode}` cannot copy {size} bytes"))),
        };
        let (to, from) = (self.base(to, Space::Shared)?, self.base(from, Space::Global)?);
        let size = source.map_or(Ok(NONE), |source| self.operand(source, Class::W))?;
        self.emit_access(Access {
            group: Group::AsyncCopy,
            space: Space::Global,
            width: Width { bytes, signed: false },
            vector,
            class: Class::W,
            regs: [to.slot, size, NONE, NONE],
            base: from.slot,
            base_class: from.class,
            offset: from.offset,
            second: to.offset,
            second_class: to.class,
            volatile: false,
            usual: false,
        });
        Ok(())
    }
}

/// Whether the address of a load is in a register.
fn is_indirect(instruction: &Instruction) -> bool {
    matches!(instruction.operands.as_slice(),
        [_, Operand::Memory(base, _)] if matches!(base.as_ref(), Operand::Register(_)))
}
