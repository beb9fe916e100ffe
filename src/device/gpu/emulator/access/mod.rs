//! Loads, stores, atomics and asynchronous copies.
//!
//! In: a row of the program's accesses. Out: data moved, counts taken, or a fault that names the buffer
//! and the element. Bounds and alignment are checked always, the rest where the options say so.

mod copies;
mod global;
mod narrow;
mod ranges;
mod report;
mod shared;

use super::core::Core;
use super::fault::Fault;
use super::lanes::{LANES, Mask, Registers, lanes};
use crate::ptx::arith::nan;
use crate::ptx::{
    Access, Atomic, CONST_WINDOW, Class, Group, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Space, WINDOW,
};

/// The data registers of an access, lane by lane.
fn get(registers: &Registers, access: &Access, k: usize, lane: usize) -> u64 {
    match access.class {
        Class::L => registers.long(access.regs[k])[lane],
        _ => u64::from(registers.word(access.regs[k])[lane]),
    }
}

fn set(registers: &mut Registers, access: &Access, k: usize, lane: usize, value: u64) {
    match access.class {
        Class::L => registers.long_mut(access.regs[k])[lane] = value,
        _ => registers.word_mut(access.regs[k])[lane] = extended(access, value),
    }
}

/// A narrow number as its register holds it. Signs fill all 32 bits: a 16-bit register's upper half is
/// never looked at, and a 32-bit one may be loaded with a narrow number (PTX ISA, "Operand size exceeding
/// instruction-type size").
#[inline(always)]
fn extended(access: &Access, value: u64) -> u32 {
    match (access.width.bytes, access.width.signed) {
        (1, true) => value as u8 as i8 as i32 as u32,
        (1, false) => value as u32 & 0xff,
        (2, true) => value as u16 as i16 as i32 as u32,
        (2, _) => value as u32 & 0xffff,
        _ => value as u32,
    }
}

impl<'l> Core<'_, 'l> {
    pub(super) fn access(
        &mut self,
        at: u32,
        index: u32,
        registers: &mut Registers,
        mask: &Mask,
    ) -> Result<(), Box<Fault>> {
        let access = self.grid.program.accesses[index as usize];
        let addresses = self.addresses(registers, access.base, access.base_class, access.offset);
        if access.group == Group::AsyncCopy {
            return self.issue(at, index, &access, &addresses, registers, mask.bits);
        }
        if access.space != Space::Generic {
            return self.within(access.space, (at, index, &access), &addresses, registers, mask.bits);
        }
        // Lanes may point into different windows: each window has its turn.
        let mut rest = mask.bits;
        for (window, space) in [
            (SHARED_WINDOW, Space::Shared),
            (LOCAL_WINDOW, Space::Local),
            (CONST_WINDOW, Space::Const),
            (PARAM_WINDOW, Space::Param),
        ] {
            let inside = |lane: &usize| (window..window + WINDOW).contains(&addresses[*lane]);
            let bits = lanes(rest).filter(inside).fold(0, |bits, lane| bits | 1 << lane);
            rest &= !bits;
            if bits != 0 {
                let offsets = addresses.map(|address| address.wrapping_sub(window));
                self.within(space, (at, index, &access), &offsets, registers, bits)?;
            }
        }
        if rest == 0 {
            return Ok(());
        }
        self.within(Space::Global, (at, index, &access), &addresses, registers, rest)
    }

    fn within(
        &mut self,
        space: Space,
        (at, index, access): (u32, u32, &Access),
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        match space {
            Space::Shared => self.in_shared(at, index, access, addresses, registers, bits),
            Space::Local => self.in_local(at, access, addresses, registers, bits),
            Space::Const => self.constant(at, access, addresses, registers, bits),
            Space::Param => self.parameter(at, access, addresses, registers, bits),
            Space::Global | Space::Generic => self.global(at, index, access, addresses, registers, bits),
        }
    }
}

fn verb(read: bool) -> &'static str {
    if read { "read" } else { "write" }
}

/// What an atomic leaves behind.
fn applied(operation: Atomic, bytes: u8, old: u64, operand: u64, second: u64) -> u64 {
    let (a, b) = (old as u32, operand as u32);
    let word = match operation {
        Atomic::AddL => return old.wrapping_add(operand),
        Atomic::AddD => return (f64::from_bits(old) + f64::from_bits(operand)).to_bits(),
        Atomic::MinL => return old.min(operand),
        Atomic::MaxL => return old.max(operand),
        Atomic::MinI => return (old as i64).min(operand as i64) as u64,
        Atomic::MaxI => return (old as i64).max(operand as i64) as u64,
        Atomic::And => return old & operand,
        Atomic::Or => return old | operand,
        Atomic::Xor => return old ^ operand,
        Atomic::Exchange => return operand,
        Atomic::Compare if bytes == 8 => return if old == operand { second } else { old },
        Atomic::Compare => {
            if a == b {
                second as u32
            } else {
                a
            }
        }
        Atomic::AddW => a.wrapping_add(b),
        Atomic::AddF => nan(f32::from_bits(a) + f32::from_bits(b)).to_bits(),
        Atomic::MinS => (a as i32).min(b as i32) as u32,
        Atomic::MaxS => (a as i32).max(b as i32) as u32,
        Atomic::MinU => a.min(b),
        Atomic::MaxU => a.max(b),
        Atomic::Inc => {
            if a >= b {
                0
            } else {
                a + 1
            }
        }
        Atomic::Dec => {
            if a == 0 || a > b {
                b
            } else {
                a - 1
            }
        }
    };
    u64::from(word)
}
