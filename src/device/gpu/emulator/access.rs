//! Loads, stores, atomics and asynchronous copies.
//!
//! In: a row of the program's accesses. Out: data moved, counts taken, or a fault that names the buffer
//! and the element. Bounds and alignment are checked always, the rest where the options say so.

use super::core::{Copy, Core};
use super::fault::{Check, Fault, place, triple};
use super::lanes::{LANES, Mask, Registers, lanes};
use super::memory::Allocation;
use super::shared::Conflict;
use crate::ptx::{
    Access, Atomic, CONST_WINDOW, Class, Group, LOCAL_WINDOW, NONE, Placed, SHARED_WINDOW, Space, WINDOW,
};
use std::sync::Arc;

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

/// A narrow number as its register holds it.
#[inline(always)]
fn extended(access: &Access, value: u64) -> u32 {
    match (access.width.bytes, access.width.signed) {
        (1, true) => value as u8 as i8 as i32 as u32 & 0xffff,
        (1, false) => value as u32 & 0xff,
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
        for (window, space) in
            [(SHARED_WINDOW, Space::Shared), (LOCAL_WINDOW, Space::Local), (CONST_WINDOW, Space::Const)]
        {
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
            Space::Global | Space::Generic | Space::Param => {
                self.global(at, index, access, addresses, registers, bits)
            }
        }
    }

    // ---- shared ----

    /// Whether `size` bytes at `address` are shared memory of this block.
    pub(super) fn check_shared(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        read: bool,
    ) -> Result<(), Box<Fault>> {
        if !address.is_multiple_of(u64::from(size)) {
            let what = format!("misaligned {} of {size} bytes in shared memory", verb(read));
            let mut fault = self.fault(
                Check::Alignment,
                at,
                lane,
                what,
                "vector accesses need addresses that are multiples of their size",
            );
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
            fault.facts.push(("element".into(), self.element(placed, address)));
        }
        fault.facts.push((
            "shared".into(),
            format!(
                "{} bytes, this access ends at byte {}",
                u64::from(self.shared.size) - 1024,
                (address + u64::from(size)).wrapping_sub(1024)
            ),
        ));
        Err(fault)
    }

    /// The shared variable at or before an address.
    fn variable(&self, address: u64) -> Option<&Placed> {
        let before = self.grid.program.shared.iter().filter(|placed| u64::from(placed.offset) <= address);
        before.max_by_key(|placed| placed.offset)
    }

    fn element(&self, placed: &Placed, address: u64) -> String {
        let index = (address - u64::from(placed.offset)) / u64::from(placed.element.max(1));
        let size = if placed.size == 0 { self.shared.size - placed.offset } else { placed.size };
        format!("{}[{index}] of {}", placed.name, size / placed.element.max(1))
    }

    pub(super) fn conflict(&self, at: u32, lane: usize, conflict: Conflict, writes: bool) -> Box<Fault> {
        let (address, what, check) = match conflict {
            Conflict::Uninitialized(address) => {
                (address, "read of shared memory that nobody wrote", Check::Uninitialized)
            }
            Conflict::Race(address, ..) => (address, "race on shared memory", Check::Race),
        };
        let placed = self.variable(u64::from(address));
        let name = placed.map_or_else(|| format!("{address:#x}"), |p| p.name.clone());
        let element = placed.map_or(name.clone(), |p| self.element(p, u64::from(address)));
        let mut fault = self.fault(check, at, lane, format!("{what} `{name}`"), "");
        match conflict {
            Conflict::Uninitialized(_) => {
                fault.facts.push(("element".into(), element));
                fault.help = "does every element that is read get written, at the edges too?".into();
            }
            Conflict::Race(_, tag, wrote) => {
                let here = place(self.grid.module, self.line(at));
                let there = place(self.grid.module, self.line(tag.at()));
                let mine = if writes { "wrote" } else { "read" };
                fault.facts.push(("element".into(), element));
                fault.facts.push(("this".into(), format!("{mine} at {here}")));
                let other = triple(self.thread(tag.warp(), tag.lane()));
                let did = if wrote { "wrote" } else { "read" };
                fault.facts.push(("other".into(), format!("thread {other} {did} at {there}")));
                fault.help = "no barrier stands between the two".into();
            }
        }
        fault
    }

    fn in_shared(
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
                    let mut before = u64::MAX;
                    for lane in lanes(bits) {
                        // Neighbours often read the same place: a broadcast.
                        if std::mem::replace(&mut before, addresses[lane]) == addresses[lane] {
                            continue;
                        }
                        let noted =
                            self.shared.note_read(addresses[lane] as u32, size, (self.warp, at, lane));
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
                    let noted = self.shared.note_write(address, size, (self.warp, at, lane), access.volatile);
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
                    let noted = self.shared.note_write(address, size, (self.warp, at, lane), true);
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
                if (get(registers, access, k, lane) ^ self.load_shared(address, bytes)) & ones != 0 {
                    let name = self.variable(u64::from(address)).map_or("shared memory", |p| &p.name);
                    let what =
                        format!("two lanes of one store write different numbers to one place of `{name}`");
                    let mut fault = self.fault(Check::Race, at, lane, what, "which of them stays is chance");
                    if let Some(placed) = self.variable(u64::from(address)) {
                        fault.facts.push(("element".into(), self.element(placed, u64::from(address))));
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

    /// Passes of a request through the 32 banks: 4 bytes at once, 8 in two halves, 16 in four quarters.
    fn count_banks(&mut self, index: u32, addresses: &[u64; LANES], bits: u32, size: u32) {
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
        self.count(index, bits, size, passes, u64::from(turns.count_ones()));
    }

    fn count(&mut self, index: u32, bits: u32, size: u32, passes: u64, ideal: u64) {
        let touched = &mut self.statistics.touched[index as usize];
        touched.requests += 1;
        touched.lanes += u64::from(bits.count_ones());
        touched.bytes += u64::from(bits.count_ones()) * u64::from(size);
        touched.passes += passes;
        touched.ideal += ideal;
    }

    // ---- local and constant ----

    fn in_local(
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
                return Err(self.fault(Check::Bounds, at, lane, what, "is an array indexed past its end?"));
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

    fn constant(
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
                return Err(self.fault(Check::ConstWrite, at, lane, "write to constant memory".into(), ""));
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

    // ---- global ----

    /// The allocation that holds `size` bytes at `address`, and where in it.
    #[inline(always)]
    fn locate(
        &mut self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        read: bool,
    ) -> Result<(&'l Arc<Allocation>, usize), Box<Fault>> {
        let memory: &'l [Arc<Allocation>] = self.memory();
        if !address.is_multiple_of(u64::from(size)) {
            return Err(self.misaligned(at, lane, address, size, read));
        }
        if let Some(it) = memory.get(self.last) {
            let offset = address.wrapping_sub(it.base);
            if offset < it.len as u64 && offset + u64::from(size) <= it.len as u64 {
                return Ok((it, offset as usize));
            }
        }
        let after = memory.partition_point(|it| it.base <= address);
        if let Some(it) = after.checked_sub(1).and_then(|k| memory.get(k)) {
            self.last = after - 1;
            let offset = address - it.base;
            if offset + u64::from(size) <= it.len as u64 {
                return Ok((it, offset as usize));
            }
        }
        Err(self.outside(at, lane, address, size, read))
    }

    fn memory(&self) -> &'l [Arc<Allocation>] {
        let grid: *const super::grid::Grid<'l> = self.grid;
        // SAFETY: the grid outlives every core; `last` must change while a part of it is borrowed.
        unsafe { &(*grid).memory }
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
        let (name, offset) =
            near.map_or(("no buffer".into(), address), |it| (self.name(it).0, address - it.base));
        let what = format!("misaligned {} of {size} bytes in {name}", verb(read));
        let mut fault = self.fault(
            Check::Alignment,
            at,
            lane,
            what,
            "vector accesses need addresses that are multiples of their size",
        );
        fault.facts.push(("byte".into(), format!("{offset}")));
        fault
    }

    fn outside(&self, at: u32, lane: usize, address: u64, size: u32, read: bool) -> Box<Fault> {
        let help = "is the guard for the last block missing, or an index wrong?";
        if let Some(number) = self.grid.all.freed(address) {
            let what = format!("{} of allocation {number}, which was given back", verb(read));
            return self.fault(Check::Bounds, at, lane, what, "a buffer was dropped before the launch");
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
        let side = if end { "past the end" } else { "before the begin" };
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

    fn global(
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
        if self.grid.options.statistics {
            self.count_sectors(index, addresses, bits, size);
        }
        for lane in lanes(bits) {
            let (it, offset) = self.locate(at, lane, addresses[lane], size, reads)?;
            if self.grid.owners.is_some() {
                self.note_owner(at, lane, addresses[lane], size, access)?;
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
                        it.update(offset, bytes, |old| applied(operation, bytes, old, operand, second))
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
    fn check_read(
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
            fault.facts.push(("element".into(), format!("{} ({dtype})", offset as u64 / element)));
            return Err(fault);
        }
        Ok(())
    }

    fn note_owner(
        &self,
        at: u32,
        lane: usize,
        address: u64,
        size: u32,
        access: &Access,
    ) -> Result<(), Box<Fault>> {
        let Some(owners) = &self.grid.owners else { return Ok(()) };
        let writes = !matches!(access.group, Group::Load { .. });
        let plain = !matches!(access.group, Group::Atomic(_)) && !access.volatile;
        for word in 0..size.div_ceil(4) {
            if let Some(other) = owners.note(address + u64::from(4 * word), self.number, writes, plain) {
                let found = self.grid.memory.partition_point(|it| it.base <= address).checked_sub(1);
                let name = found.map_or("memory".into(), |k| self.name(&self.grid.memory[k]).0);
                let what = format!("race on {name} between blocks");
                let mut fault = self.fault(
                    Check::Race,
                    at,
                    lane,
                    what,
                    "blocks of one launch have no order; use atomics or a second launch",
                );
                let other = if other == u64::MAX {
                    "several blocks".into()
                } else {
                    format!("block {}", triple(self.grid.block_at(other)))
                };
                fault.facts.push(("other".into(), other));
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Sectors of 32 bytes that a request touches, against the fewest that hold its distinct bytes.
    fn count_sectors(&mut self, index: u32, addresses: &[u64; LANES], bits: u32, size: u32) {
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

    // ---- cp.async ----

    fn issue(
        &mut self,
        at: u32,
        index: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let size = u32::from(access.width.bytes) * u32::from(access.vector);
        let to = self.addresses(registers, access.regs[0], access.second_class, access.second);
        let sizes = if access.regs[1] == NONE { [size; LANES] } else { *registers.word(access.regs[1]) };
        if self.grid.options.statistics {
            self.count_sectors(index, addresses, bits, size);
        }
        for lane in lanes(bits) {
            self.check_shared(at, lane, to[lane], size, false)?;
            if sizes[lane] > size {
                let what = format!("cp.async copies {} of {size} bytes", sizes[lane]);
                return Err(self.fault(
                    Check::Bounds,
                    at,
                    lane,
                    what,
                    "the source's size must not be larger than the copy's",
                ));
            }
            // A source of no bytes is not read, and may point anywhere.
            if sizes[lane] > 0 {
                self.locate(at, lane, addresses[lane], size, true)?;
            }
        }
        let group = self.keeps.committed + 1;
        self.keeps.copies.push(Copy { at, group, bits, from: *addresses, to, bytes: size, sizes });
        if self.grid.options.late_copies { Ok(()) } else { self.arrive(u64::MAX) }
    }

    /// Copies of groups up to `upto` arrive now.
    pub(super) fn arrive(&mut self, upto: u64) -> Result<(), Box<Fault>> {
        let all = std::mem::take(&mut self.keeps.copies);
        let (now, later): (Vec<Copy>, Vec<Copy>) = all.into_iter().partition(|copy| copy.group <= upto);
        self.keeps.copies = later;
        for copy in now {
            for lane in lanes(copy.bits) {
                let to = copy.to[lane] as u32;
                let noted = self.shared.note_write(to, copy.bytes, (self.warp, copy.at, lane), false);
                noted.map_err(|conflict| self.conflict(copy.at, lane, conflict, true))?;
                let mut data = [0u8; 16];
                let wanted = copy.sizes[lane] as usize;
                if wanted > 0 {
                    let (it, offset) = self.locate(copy.at, lane, copy.from[lane], copy.bytes, true)?;
                    if self.grid.options.checked {
                        self.check_read(copy.at, lane, it, offset, copy.sizes[lane], false)?;
                    }
                    it.read(offset, &mut data[..wanted]);
                }
                for (k, word) in data[..copy.bytes as usize].chunks_exact(4).enumerate() {
                    let value = word.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
                    self.shared.store(to + 4 * k as u32, 4, value);
                }
            }
        }
        Ok(())
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
        Atomic::AddF => (f32::from_bits(a) + f32::from_bits(b)).to_bits(),
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
