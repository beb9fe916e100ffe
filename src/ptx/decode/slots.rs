//! Slots of operands: registers, and numbers and special registers that a warp fills in once.

use super::{Decoder, MOST, Virtual, special};
use crate::error::Result;
use crate::ptx::alu::{Class, Code};
use crate::ptx::program::{Fixed, Op};
use crate::ptx::tree::Operand;

impl Decoder<'_> {
    /// A register of the function, of the class that the instruction wants.
    pub(super) fn register(&self, id: u32, class: Class) -> Result<u16> {
        let register = &self.function.registers[id as usize];
        if register.class != class {
            let want = match class {
                Class::P => "a predicate",
                Class::W => "32 bits",
                Class::L => "64 bits",
            };
            return Err(self.error(format!("`{}` is not {want}, as the instruction wants", register.name)));
        }
        Ok(id as u16)
    }

    /// A register that the decoder needs for itself.
    pub(super) fn temporary(&mut self, class: Class) -> Result<u16> {
        self.add(Virtual { class, fixed: None, name: "(temporary)".into() })
    }

    fn add(&mut self, register: Virtual) -> Result<u16> {
        if self.registers.len() >= MOST {
            return Err(self.error(format!("more than {MOST} registers and constants")));
        }
        self.registers.push(register);
        Ok(self.registers.len() as u16 - 1)
    }

    pub(super) fn fixed(&mut self, value: Fixed) -> Result<u16> {
        if let Some(&known) = self.fixed.get(&value) {
            return Ok(known);
        }
        let class = match value {
            Fixed::ConstW(_) | Fixed::Special(_) => Class::W,
            Fixed::ConstL(_) => Class::L,
            Fixed::ConstP(_) => Class::P,
        };
        let slot = self.add(Virtual { class, fixed: Some(value), name: format!("{value:?}") })?;
        self.fixed.insert(value, slot);
        Ok(slot)
    }

    /// A source operand: register, number, special register or address of a variable.
    pub(super) fn operand(&mut self, operand: &Operand, class: Class) -> Result<u16> {
        match (operand, class) {
            (Operand::Register(id), _) => self.register(*id, class),
            (Operand::Int(value), Class::W) => self.fixed(Fixed::ConstW(*value as u32)),
            (Operand::Int(value), Class::L) => self.fixed(Fixed::ConstL(*value)),
            (Operand::Int(value), Class::P) => self.fixed(Fixed::ConstP(*value != 0)),
            (Operand::Single(bits), Class::W) => self.fixed(Fixed::ConstW(*bits)),
            (Operand::Double(bits), Class::L) => self.fixed(Fixed::ConstL(*bits)),
            (Operand::Double(bits), Class::W) => {
                self.fixed(Fixed::ConstW((f64::from_bits(*bits) as f32).to_bits()))
            }
            (Operand::Special(name), Class::W) => match special::special(name) {
                Some(special) => self.fixed(Fixed::Special(special)),
                None => Err(self.error(format!("unknown special register `{name}`"))),
            },
            (Operand::Symbol(name), Class::L | Class::W) => {
                let address = self.address(name)?;
                match class {
                    Class::L => self.fixed(Fixed::ConstL(address)),
                    _ => self.fixed(Fixed::ConstW(address as u32)),
                }
            }
            (Operand::Not(id), Class::P) => {
                let p = self.register(*id, Class::P)?;
                let d = self.temporary(Class::P)?;
                self.emit(Op { d, a: p, ..Op::new(Code::NotP) });
                Ok(d)
            }
            (other, _) => Err(self.error(format!("this operand is not known here: {other:?}"))),
        }
    }

    /// Where a variable lies in its space.
    pub(super) fn address(&self, name: &str) -> Result<u64> {
        // What the function declares hides what the module does.
        let own = |name: &str| self.function.variables.iter().any(|variable| variable.name == name);
        if !own(name)
            && !self.function.params.iter().any(|param| param.name == name)
            && let Some(&address) = self.addresses.get(name)
        {
            return Ok(address);
        }
        if let Some(param) = self.function.params.iter().find(|param| param.name == name) {
            return Ok(u64::from(param.offset));
        }
        let placed = self.program.shared.iter().chain(&self.program.local);
        // The module's come first.
        let found = placed.rev().find(|placed| placed.symbol == name).map(|placed| u64::from(placed.offset));
        found.ok_or_else(|| self.error(format!("`{name}` has no address that can be taken")))
    }

    /// The register an instruction writes.
    pub(super) fn result(&mut self, operand: &Operand, class: Class) -> Result<u16> {
        match operand {
            Operand::Register(id) => self.register(*id, class),
            Operand::Sink => self.temporary(class),
            other => Err(self.error(format!("expected a register to write, found {other:?}"))),
        }
    }
}
