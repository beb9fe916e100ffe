//! Local memory, constants and parameters: the spaces that one thread, and nobody, writes.
//!
//! In: an access and every lane's address within the space. Out: data moved, or a fault.

use super::{get, set, verb};
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault};
use crate::device::gpu::emulator::lanes::{LANES, Registers, lanes};
use crate::ptx::{Access, Group, Space};

impl Core<'_, '_> {
    pub(super) fn in_local(
        &mut self,
        at: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = u64::from(access.width.bytes);
        let size = bytes * u64::from(access.vector);
        let limit = u64::from(self.grid.program.local_size);
        for lane in lanes(bits) {
            let address = addresses[lane];
            let load = matches!(access.group, Group::Load { .. });
            if !address.is_multiple_of(size) {
                let what = format!("misaligned {} of {size} bytes in local memory", verb(load));
                return Err(self.fault(Check::Alignment, at, lane, what, ""));
            }
            if address.checked_add(size).is_none_or(|end| end > limit) {
                let what = format!("{} past the end of a thread's local memory ({limit} bytes)", verb(load));
                let mut fault =
                    self.fault(Check::Bounds, at, lane, what, "is an array indexed past its end?");
                fault.facts.push(("byte".into(), format!("{} of {limit}", address as i64)));
                return Err(fault);
            }
            if matches!(access.group, Group::Atomic(_)) {
                let what = "atomic operation on local memory".to_owned();
                return Err(self.fault(
                    Check::Bounds,
                    at,
                    lane,
                    what,
                    "atomics reach global and shared memory",
                ));
            }
            for k in 0..usize::from(access.vector) {
                let first = lane * limit as usize + address as usize + k * bytes as usize;
                let here = first..first + bytes as usize;
                if load {
                    let mut value = [0; 8];
                    value[..bytes as usize].copy_from_slice(&self.keeps.local[here]);
                    set(registers, access, k, lane, u64::from_le_bytes(value));
                } else {
                    let value = get(registers, access, k, lane).to_le_bytes();
                    self.keeps.local[here].copy_from_slice(&value[..bytes as usize]);
                }
            }
        }
        Ok(())
    }

    pub(super) fn constant(
        &mut self,
        at: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = usize::from(access.width.bytes);
        for lane in lanes(bits) {
            if !matches!(access.group, Group::Load { .. }) {
                let (name, byte) = self.table(addresses[lane]);
                let help =
                    "the host sets constants, before the launch; a kernel's own tables lie in shared memory";
                let mut fault = self.fault(Check::ConstWrite, at, lane, format!("write to {name}"), help);
                fault.facts.push(("element".into(), format!("{}   {bytes} bytes each", byte / bytes as u64)));
                return Err(fault);
            }
            let size = bytes as u64 * u64::from(access.vector);
            if !addresses[lane].is_multiple_of(size) {
                let what = format!("misaligned read of {size} bytes in constant memory");
                return Err(self.fault(Check::Alignment, at, lane, what, ""));
            }
            for k in 0..usize::from(access.vector) {
                let first = usize::try_from(addresses[lane]).unwrap_or(usize::MAX).saturating_add(k * bytes);
                let Some(found) = self.grid.constants.get(first..first.saturating_add(bytes)) else {
                    let what = "read past the end of constant memory".to_owned();
                    return Err(self.fault(
                        Check::Bounds,
                        at,
                        lane,
                        what,
                        "is a table indexed past its end?",
                    ));
                };
                let mut value = [0; 8];
                value[..bytes].copy_from_slice(found);
                set(registers, access, k, lane, u64::from_le_bytes(value));
            }
        }
        Ok(())
    }

    /// A read of the parameters by an address that the kernel computed.
    pub(super) fn parameter(
        &mut self,
        at: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = usize::from(access.width.bytes);
        let size = bytes as u64 * u64::from(access.vector);
        for lane in lanes(bits) {
            let address = addresses[lane];
            if !matches!(access.group, Group::Load { .. }) {
                let what = "write to the parameters".to_owned();
                let help = "a kernel only reads what the host passed; a variable of its own can be changed";
                return Err(self.fault(Check::ConstWrite, at, lane, what, help));
            }
            if !address.is_multiple_of(size) {
                let what = format!("misaligned read of {size} bytes in the parameters");
                return Err(self.fault(Check::Alignment, at, lane, what, ""));
            }
            let params = self.grid.module.entry(&self.grid.program.name).map(|entry| entry.params.as_slice());
            // The one that holds all of it: what lies behind a struct is another parameter, or nothing.
            let inside = params.unwrap_or_default().iter().any(|param| {
                let begin = u64::from(param.offset);
                begin <= address && address.saturating_add(size) <= begin + u64::from(param.size)
            });
            if !inside {
                let what = "read past the end of a parameter".to_owned();
                let help = "is an array in a struct indexed past its end?";
                let mut fault = self.fault(Check::Bounds, at, lane, what, help);
                fault.facts.push(("byte".into(), format!("{} of the parameters", address as i64)));
                return Err(fault);
            }
            for k in 0..usize::from(access.vector) {
                let mut value = [0; 8];
                value[..bytes].copy_from_slice(&self.grid.args[address as usize + k * bytes..][..bytes]);
                set(registers, access, k, lane, u64::from_le_bytes(value));
            }
        }
        Ok(())
    }

    /// The table of constants that holds an address, and the byte in it.
    fn table(&self, address: u64) -> (String, u64) {
        let mut end = 0u64;
        for variable in self.grid.module.variables.iter().filter(|variable| variable.space == Space::Const) {
            // As `Emulator::load_text` places them.
            let begin = end.next_multiple_of(u64::from(variable.align));
            end = begin + u64::from(variable.size);
            if (begin..end).contains(&address) {
                return (format!("the constants `{}`", variable.plain_name()), address - begin);
            }
        }
        ("constant memory".into(), address)
    }
}
