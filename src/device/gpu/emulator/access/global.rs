//! Global memory: which buffer, which element, who else, and how many sectors.
//!
//! In: an access and every lane's address. Out: data moved, or a fault that names buffer and element.

use super::{applied, get, set, verb};
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault, triple};
use crate::device::gpu::emulator::lanes::{LANES, Registers, lanes};
use crate::device::gpu::emulator::memory::Allocation;
use crate::device::gpu::emulator::owners::Toucher;
use crate::ptx::arith::{flush, nan};
use crate::ptx::{Access, Atomic, Group, NONE};
use std::sync::Arc;

impl<'c> Core<'c, '_> {
    /// The allocation that holds `size` bytes at `address`, and where in it.
    #[inline(always)]
    pub(super) fn locate(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        read: bool,
    ) -> Result<(&'c Arc<Allocation>, usize), Box<Fault>> {
        self.part(at, lane, address, (size, size), read)
    }

    /// The same of `size` bytes that lie aligned as `bytes` do: of a copy what is read of its source.
    #[inline(always)]
    pub(super) fn part(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        (bytes, size): (u32, u32),
        read: bool,
    ) -> Result<(&'c Arc<Allocation>, usize), Box<Fault>> {
        if !address.is_multiple_of(u64::from(bytes)) {
            return Err(self.misaligned(at, lane, address, bytes, read));
        }
        let memory: &'c [Arc<Allocation>] = self.memory();
        if let Some(it) = memory.get(self.keeps.last) {
            let offset = address.wrapping_sub(it.base);
            if offset < it.len as u64 && offset + u64::from(size) <= it.len as u64 {
                return Ok((it, offset as usize));
            }
        }
        let after = memory.partition_point(|it| it.base <= address);
        if let Some(it) = after.checked_sub(1).and_then(|k| memory.get(k)) {
            self.keeps.last = after - 1;
            let offset = address - it.base;
            if offset + u64::from(size) <= it.len as u64 {
                return Ok((it, offset as usize));
            }
        }
        Err(self.outside(at, lane, address, size, read))
    }

    fn memory(&self) -> &'c [Arc<Allocation>] {
        &self.grid.memory
    }

    fn name(&self, it: &Allocation) -> (String, u64, String) {
        match self.grid.named.iter().find(|named| named.base == it.base) {
            Some(named) => (format!("`{}`", named.name), named.dtype.size() as u64, named.dtype.to_string()),
            None => (format!("allocation {}", it.number), it.dtype.size() as u64, it.dtype.to_string()),
        }
    }

    fn misaligned(&self, at: u32, lane: usize, address: u64, size: u32, read: bool) -> Box<Fault> {
        let memory = &self.grid.memory;
        let near = memory.partition_point(|it| it.base <= address).checked_sub(1).map(|k| &memory[k]);
        let (name, offset, element) = near.map_or(("no buffer".into(), address, String::new()), |it| {
            let (name, element, dtype) = self.name(it);
            let (offset, count) = (address - it.base, it.len as u64 / element);
            (name, offset, format!("{} of {count} ({dtype})   ", offset / element))
        });
        let what = format!("misaligned {} of {size} bytes in {name}", verb(read));
        let mut fault = self.fault(
            Check::Alignment,
            at,
            lane,
            what,
            "vector accesses need addresses that are multiples of their size",
        );
        fault.facts.push(("element".into(), format!("{element}byte {offset}")));
        fault
    }

    fn outside(&self, at: u32, lane: usize, address: u64, size: u32, read: bool) -> Box<Fault> {
        let help = "is the guard for the last block missing, or an index wrong?";
        if let Some((number, base)) = self.grid.all.freed(address) {
            let named = self.grid.named.iter().find(|named| named.base == base);
            let name =
                named.map_or_else(|| format!("allocation {number}"), |named| format!("`{}`", named.name));
            let what = format!("{} of {name}, which was given back", verb(read));
            let mut fault =
                self.fault(Check::Bounds, at, lane, what, "a buffer was dropped before the launch");
            fault.facts.push(("byte".into(), format!("{} of allocation {number}", address - base)));
            return fault;
        }
        let memory = &self.grid.memory;
        let after = memory.partition_point(|it| it.base <= address);
        let before = after.checked_sub(1).map(|k| &memory[k]);
        let next = memory.get(after);
        let past = before.map_or(u64::MAX, |it| address - it.base - (it.len as u64).min(address - it.base));
        let ahead = next.map_or(u64::MAX, |it| it.base - address);
        if past.min(ahead) > 1 << 40 {
            let what = format!("{} of address {address:#x}, which belongs to nothing", verb(read));
            return self.fault(Check::Bounds, at, lane, what, "is a pointer or an index garbage?");
        }
        let (it, end) = match (before, next) {
            (Some(it), _) if past <= ahead => (it, true),
            (_, Some(it)) => (it, false),
            (Some(it), None) => (it, true),
            (None, None) => {
                let what = format!("{} of address {address:#x}: there is no global memory", verb(read));
                return self.fault(Check::Bounds, at, lane, what, "");
            }
        };
        let (name, element, dtype) = self.name(it);
        let side = if end { "past the end" } else { "before the start" };
        let mut fault = self.fault(Check::Bounds, at, lane, format!("{} {side} of {name}", verb(read)), help);
        let count = it.len as u64 / element;
        let (index, beyond) = if end {
            (
                format!("{}", (address - it.base) / element),
                address + u64::from(size) - it.base - it.len as u64,
            )
        } else {
            (format!("-{}", (it.base - address).div_ceil(element)), it.base - address)
        };
        fault.facts.push(("element".into(), format!("{index} of {count} ({dtype})   {beyond} bytes beyond")));
        fault
    }

    pub(super) fn global(
        &mut self,
        at: u32,
        index: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = access.width.bytes;
        let size = u32::from(bytes) * u32::from(access.vector);
        let reads = !matches!(access.group, Group::Store);
        let checked = self.grid.options.checked;
        self.check_awaited(at, bits)?;
        if self.grid.options.statistics {
            self.count_sectors(index, addresses, bits, size);
        }
        for lane in lanes(bits) {
            let (it, offset) = self.locate(at, lane, addresses[lane], size, reads)?;
            if self.grid.owners.is_some() {
                let writes = !matches!(access.group, Group::Load { .. });
                let plain = !matches!(access.group, Group::Atomic(_)) && !access.volatile;
                self.note_owner(at, lane, addresses[lane], size, (writes, plain))?;
            }
            match access.group {
                Group::Load { nc } => {
                    if checked {
                        self.check_read(at, lane, it, offset, size, nc)?;
                    }
                    for k in 0..usize::from(access.vector) {
                        // SAFETY: `locate` checked bounds and alignment of the whole vector.
                        unsafe {
                            if bytes == 4 {
                                registers.word_mut(access.regs[k])[lane] = it.load_word(offset + 4 * k);
                            } else {
                                let value = it.load(offset + usize::from(bytes) * k, bytes);
                                set(registers, access, k, lane, value);
                            }
                        }
                    }
                }
                Group::Store => {
                    for k in 0..usize::from(access.vector) {
                        let value = get(registers, access, k, lane);
                        // SAFETY: as above.
                        unsafe { it.store(offset + usize::from(bytes) * k, bytes, value) };
                    }
                    if checked {
                        it.mark(offset, size as usize, self.grid.stamp);
                    }
                }
                Group::Atomic(operation) => {
                    if checked {
                        self.check_read(at, lane, it, offset, size, false)?;
                        it.mark(offset, size as usize, self.grid.stamp);
                    }
                    let operand = get(registers, access, 1, lane);
                    let second = if access.regs[2] == NONE { 0 } else { get(registers, access, 2, lane) };
                    // SAFETY: as above; atomics are of 4 or 8 bytes.
                    let old = unsafe {
                        it.update(offset, bytes, |old| match operation {
                            // PTX ISA, `atom`: in global memory without subnormal numbers.
                            Atomic::AddF => {
                                let [a, b] = [old, operand].map(|x| flush(f32::from_bits(x as u32)));
                                u64::from(flush(nan(a + b)).to_bits())
                            }
                            _ => applied(operation, bytes, old, operand, second),
                        })
                    };
                    if access.regs[0] != NONE {
                        set(registers, access, 0, lane, old);
                    }
                }
                Group::AsyncCopy => {}
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn check_read(
        &self,
        at: u32,
        lane: usize,
        it: &Allocation,
        offset: usize,
        size: u32,
        nc: bool,
    ) -> Result<(), Box<Fault>> {
        if !it.is_init(offset, size as usize) {
            let (name, element, dtype) = self.name(it);
            let what = format!("read of {name}, where nobody wrote");
            let mut fault = self.fault(
                Check::Uninitialized,
                at,
                lane,
                what,
                "was the buffer filled, by the host or by an earlier kernel?",
            );
            let count = it.len as u64 / element;
            fault.facts.push(("element".into(), format!("{} of {count} ({dtype})", offset as u64 / element)));
            return Err(fault);
        }
        if nc && it.written_by(offset, size as usize, self.grid.stamp) {
            let (name, element, dtype) = self.name(it);
            let what = format!("read-only load of {name}, which this launch writes");
            let help = "`const __restrict__` and __ldg promise that nobody writes; take the promise back";
            let mut fault = self.fault(Check::ReadOnly, at, lane, what, help);
            let count = it.len as u64 / element;
            fault.facts.push(("element".into(), format!("{} of {count} ({dtype})", offset as u64 / element)));
            return Err(fault);
        }
        Ok(())
    }

    pub(super) fn note_owner(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        (writes, plain): (bool, bool),
    ) -> Result<(), Box<Fault>> {
        let Some(owners) = &self.grid.owners else { return Ok(()) };
        let me = Toucher::new(self.number, (self.warp, self.shared.clock(self.warp)), plain);
        let cluster = |block: u64| block / u64::from(self.grid.program.cluster);
        let after = |other: Toucher| {
            let beside = other.number().is_some_and(|block| cluster(block) == cluster(self.number));
            beside && self.shared.knows(self.warp, other.warp, other.clock)
        };
        for word in 0..size.div_ceil(4) {
            let place = (address + u64::from(4 * word), size);
            if let Some((other, wrote)) = owners.note(place, me, writes, after) {
                let found = self.grid.memory.partition_point(|it| it.base <= address).checked_sub(1);
                let found = found.map(|k| &self.grid.memory[k]);
                let name = found.map_or("memory".into(), |it| self.name(it).0);
                let own = other.number() == Some(self.number);
                let (whom, help) = if own {
                    ("warps of a block", "no barrier stands between the two (__syncthreads)")
                } else if self.grid.program.cluster > 1 {
                    (
                        "blocks",
                        "blocks have no order, but for those of one cluster behind its barrier (released, acquired); use that, atomics, or a second launch",
                    )
                } else {
                    ("blocks", "blocks of one launch have no order; use atomics or a second launch")
                };
                let what = format!("race on {name} between {whom}");
                let mut fault = self.fault(Check::Race, at, lane, what, help);
                if let Some(it) = found {
                    let (_, element, dtype) = self.name(it);
                    let (index, count) = ((address - it.base) / element, it.len as u64 / element);
                    fault.facts.push(("element".into(), format!("{index} of {count} ({dtype})")));
                }
                let did = |wrote| if wrote { "wrote" } else { "read" };
                fault.facts.push(("this".into(), did(writes).into()));
                let other = match other.number() {
                    Some(_) if own => format!("warp {}", other.warp % self.grid.warps()),
                    Some(block) => format!("block {}", triple(self.grid.block_at(block))),
                    None => "several blocks".into(),
                };
                fault.facts.push(("other".into(), format!("{other} {}", did(wrote))));
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Sectors of 32 bytes that a request touches, against the fewest that hold its distinct bytes.
    pub(super) fn count_sectors(&mut self, index: u32, addresses: &[u64; LANES], bits: u32, size: u32) {
        let mut sectors: Vec<u64> = lanes(bits)
            .flat_map(|lane| addresses[lane] / 32..=(addresses[lane] + u64::from(size) - 1) / 32)
            .collect();
        sectors.sort_unstable();
        sectors.dedup();
        let mut distinct: Vec<u64> = lanes(bits).map(|lane| addresses[lane]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let ideal = (distinct.len() as u64 * u64::from(size)).div_ceil(32);
        self.count(index, bits, size, sectors.len() as u64, ideal);
    }
}
