//! Shared memory: bounds, races, what was never written, and passes through the banks.
//!
//! In: an access and every lane's address from the begin of the block's shared memory. Out: data moved, or
//! a fault that names the variable, the element and the other party.

use super::{applied, get, set, verb};
use crate::device::gpu::emulator::core::Core;
use crate::device::gpu::emulator::fault::{Check, Fault, triple};
use crate::device::gpu::emulator::grid::Touched;
use crate::device::gpu::emulator::lanes::{LANES, Registers, lanes};
use crate::device::gpu::emulator::shared::Write;
use crate::ptx::{Access, Class, Group, NONE};

impl Core<'_, '_> {
    /// Whether `size` bytes at `address` are shared memory of this block.
    pub(in crate::device::gpu::emulator) fn check_shared(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        read: bool,
    ) -> Result<(), Box<Fault>> {
        if !address.is_multiple_of(u64::from(size)) {
            let placed = self.variable(address);
            let name = placed.map_or_else(|| "shared memory".into(), |placed| format!("`{}`", placed.name));
            let what = format!("misaligned {} of {size} bytes in {name}", verb(read));
            let mut fault = self.fault(
                Check::Alignment,
                at,
                lane,
                what,
                "vector accesses need addresses that are multiples of their size",
            );
            if let Some(placed) = placed {
                fault.facts.push(("element".into(), self.element(at, placed, address)));
            }
            fault.facts.push(("address".into(), format!("{address:#x}")));
            return Err(fault);
        }
        if self.shared.holds(address, size) {
            return Ok(());
        }
        let nearest = self.variable(address);
        let name = nearest.map_or("shared memory", |placed| &placed.name);
        let what = format!("{} past the end of `{name}`", verb(read));
        let mut fault =
            self.fault(Check::Bounds, at, lane, what, "is the index within the tile for every thread?");
        if let Some(placed) = nearest {
            fault.facts.push(("element".into(), self.element(at, placed, address)));
        }
        if let [_] = &self.grid.program.shared[..] {
            fault.facts.push((
                "shared".into(),
                format!(
                    "{} bytes, this access ends at byte {}",
                    u64::from(self.shared.size) - 1024,
                    (self.shared.whose(address).1 + u64::from(size)).wrapping_sub(1024)
                ),
            ));
        }
        Err(fault)
    }

    pub(super) fn in_shared(
        &mut self,
        at: u32,
        index: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let placed;
        let addresses = if self.grid.program.cluster == 1 {
            addresses
        } else {
            placed = self.places(addresses);
            &placed
        };
        let bytes = access.width.bytes;
        let size = u32::from(bytes) * u32::from(access.vector);
        let reads = !matches!(access.group, Group::Store);
        let fits = |address: u64| address.is_multiple_of(u64::from(size)) && self.shared.holds(address, size);
        if !lanes(bits).all(|lane| fits(addresses[lane])) {
            for lane in lanes(bits) {
                self.check_shared(at, lane, addresses[lane], size, reads)?;
            }
        }
        if self.grid.options.statistics {
            self.count_banks(index, addresses, bits, size);
        }
        match access.group {
            Group::Load { .. } => {
                if self.shared.checked() {
                    self.shared.touch(self.warp, bits);
                    let mut before = u64::MAX;
                    for lane in lanes(bits) {
                        // Neighbours often read the same place: a broadcast.
                        if std::mem::replace(&mut before, addresses[lane]) == addresses[lane] {
                            continue;
                        }
                        let address = addresses[lane] as u32;
                        let noted = if access.volatile {
                            self.shared.ask(address, size, self.warp)
                        } else {
                            self.shared.note_read(address, size, (self.warp, at, lane))
                        };
                        noted.map_err(|conflict| self.conflict(at, lane, conflict, false))?;
                    }
                }
                if bytes == 4 && access.class == Class::W {
                    match access.vector {
                        1 => self.load_words::<1>(access, addresses, registers, bits),
                        2 => self.load_words::<2>(access, addresses, registers, bits),
                        _ => self.load_words::<4>(access, addresses, registers, bits),
                    }
                    return Ok(());
                }
                for lane in lanes(bits) {
                    for k in 0..usize::from(access.vector) {
                        let address = addresses[lane] as u32 + u32::from(bytes) * k as u32;
                        let value = self.load_shared(address, bytes);
                        set(registers, access, k, lane, value);
                    }
                }
            }
            Group::Store => {
                for lane in lanes(bits) {
                    let address = addresses[lane] as u32;
                    let write = if access.volatile { Write::Volatile } else { Write::Plain };
                    let noted = self.shared.note_write(address, size, (self.warp, at, lane), write);
                    noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
                    for k in 0..usize::from(access.vector) {
                        let value = get(registers, access, k, lane);
                        self.store_shared(address + u32::from(bytes) * k as u32, bytes, value);
                    }
                }
                if self.shared.checked() {
                    self.same_place(at, access, addresses, registers, bits)?;
                }
            }
            Group::Atomic(operation) => {
                for lane in lanes(bits) {
                    let address = addresses[lane] as u32;
                    let noted = self.shared.note_write(address, size, (self.warp, at, lane), Write::Atomic);
                    noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
                    let old = self.load_shared(address, bytes);
                    let operand = get(registers, access, 1, lane);
                    let second = if access.regs[2] == NONE { 0 } else { get(registers, access, 2, lane) };
                    self.store_shared(address, bytes, applied(operation, bytes, old, operand, second));
                    if access.regs[0] != NONE {
                        set(registers, access, 0, lane, old);
                    }
                }
            }
            Group::AsyncCopy => {}
        }
        Ok(())
    }

    /// Two lanes of one store that wrote different numbers to one place.
    fn same_place(
        &self,
        at: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let bytes = access.width.bytes;
        for lane in lanes(bits) {
            for k in 0..usize::from(access.vector) {
                let address = addresses[lane] as u32 + u32::from(bytes) * k as u32;
                let ones = if bytes == 8 { u64::MAX } else { (1 << (8 * u32::from(bytes))) - 1 };
                let (mine, stays) =
                    (get(registers, access, k, lane) & ones, self.load_shared(address, bytes));
                if mine != stays {
                    let name = self.variable(u64::from(address)).map_or("shared memory", |p| &p.name);
                    let what =
                        format!("two lanes of one store write different numbers to one place of `{name}`");
                    let mut fault = self.fault(Check::Race, at, lane, what, "which of them stays is chance");
                    if let Some(placed) = self.variable(u64::from(address)) {
                        fault.facts.push(("element".into(), self.element(at, placed, u64::from(address))));
                    }
                    // The last lane that covers the place is the one whose number stays.
                    let size = u64::from(bytes) * u64::from(access.vector);
                    let covers = |&other: &usize| {
                        (addresses[other]..addresses[other] + size).contains(&u64::from(address))
                    };
                    let shown =
                        |value: u64| format!("wrote {value:#0width$x}", width = 2 + 2 * usize::from(bytes));
                    fault.facts.push(("this".into(), shown(mine)));
                    if let Some(other) = lanes(bits).filter(covers).last() {
                        let other = triple(self.thread(self.warp, other));
                        fault.facts.push(("other".into(), format!("thread {other} {}", shown(stays))));
                    }
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn load_words<const N: usize>(
        &self,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &mut Registers,
        bits: u32,
    ) {
        let mut rows = [[0u32; LANES]; N];
        for lane in lanes(bits) {
            let first = (addresses[lane] / 4) as usize;
            if let Some(words) = self.shared.words[first..].first_chunk::<N>() {
                for (row, &word) in rows.iter_mut().zip(words) {
                    row[lane] = word;
                }
            }
        }
        for (row, &slot) in rows.iter().zip(&access.regs) {
            let to = registers.word_mut(slot);
            if bits == u32::MAX {
                *to = *row;
            } else {
                lanes(bits).for_each(|lane| to[lane] = row[lane]);
            }
        }
    }

    fn load_shared(&self, address: u32, bytes: u8) -> u64 {
        if bytes == 8 {
            u64::from(self.shared.load(address + 4, 4)) << 32 | u64::from(self.shared.load(address, 4))
        } else {
            u64::from(self.shared.load(address, bytes))
        }
    }

    fn store_shared(&mut self, address: u32, bytes: u8, value: u64) {
        if bytes == 8 {
            self.shared.store(address, 4, value as u32);
            self.shared.store(address + 4, 4, (value >> 32) as u32);
        } else {
            self.shared.store(address, bytes, value as u32);
        }
    }

    /// Counts an access of lanes `bits`, row `index` of the program's accesses.
    fn count_banks(&mut self, index: u32, addresses: &[u64; LANES], bits: u32, size: u32) {
        let (passes, ideal) = through_banks(addresses, bits, size);
        self.count(index, bits, size, passes, ideal);
    }

    /// Counts an `ldmatrix` or `stmatrix` of `rows` rows of 16 bytes, row `index` of the program's matrices. Eight rows, a
    /// matrix, are 128 bytes: a pass if they lie in all banks.
    pub(in crate::device::gpu::emulator) fn count_rows(
        &mut self,
        index: u32,
        addresses: &[u64; LANES],
        rows: u32,
    ) {
        if !self.grid.options.statistics {
            return;
        }
        let bits = u32::MAX >> (LANES as u32 - rows);
        let (passes, ideal) = through_banks(addresses, bits, 16);
        let bytes = u64::from(rows) * 16;
        let touched = Touched { requests: 1, lanes: LANES as u64, bytes, passes, ideal };
        self.statistics.matrices[index as usize].add(&touched);
    }

    pub(super) fn count(&mut self, index: u32, bits: u32, size: u32, passes: u64, ideal: u64) {
        let touched = &mut self.statistics.touched[index as usize];
        touched.requests += 1;
        touched.lanes += u64::from(bits.count_ones());
        touched.bytes += u64::from(bits.count_ones()) * u64::from(size);
        touched.passes += passes;
        touched.ideal += ideal;
    }
}

/// Passes of a request through the 32 banks, and the fewest: 4 bytes at once, 8 in two halves, 16 in four quarters.
fn through_banks(addresses: &[u64; LANES], bits: u32, size: u32) -> (u64, u64) {
    let per_turn = match size {
        16 => 8,
        8 => 16,
        _ => 32,
    };
    let mut passes = 0;
    for turn in (0..LANES).step_by(per_turn) {
        let mut seen: [Vec<u64>; 32] = Default::default();
        for lane in lanes(bits).filter(|lane| (turn..turn + per_turn).contains(lane)) {
            for word in addresses[lane] / 4..(addresses[lane] + u64::from(size)).div_ceil(4) {
                let bank = &mut seen[(word % 32) as usize];
                if !bank.contains(&word) {
                    bank.push(word);
                }
            }
        }
        passes += seen.iter().map(Vec::len).max().unwrap_or(0) as u64;
    }
    let turns = lanes(bits).map(|lane| lane / per_turn).fold(0u32, |seen, turn| seen | 1 << turn);
    (passes, u64::from(turns.count_ones()))
}
