//! `cp.async`: from global to shared memory, some time later.
//!
//! In: a copy, then the wait for it. Out: data moved as late as the program allows, so that a missing wait
//! shows.

use crate::device::gpu::emulator::core::{Copy, Core};
use crate::device::gpu::emulator::fault::{Check, Fault};
use crate::device::gpu::emulator::lanes::{LANES, Registers, lanes};
use crate::device::gpu::emulator::shared::Write;
use crate::ptx::{Access, NONE};

impl Core<'_, '_> {
    pub(super) fn issue(
        &mut self,
        at: u32,
        index: u32,
        access: &Access,
        addresses: &[u64; LANES],
        registers: &Registers,
        bits: u32,
    ) -> Result<(), Box<Fault>> {
        let size = u32::from(access.width.bytes) * u32::from(access.vector);
        let to = self.places(&self.addresses(registers, access.regs[0], access.second_class, access.second));
        let sizes = if access.regs[1] == NONE { [size; LANES] } else { *registers.word(access.regs[1]) };
        // A source of no bytes is not read.
        let reads = lanes(bits).filter(|&lane| sizes[lane] > 0).fold(0, |reads, lane| reads | 1 << lane);
        self.check_awaited(at, reads)?;
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
                self.part(at, lane, addresses[lane], (size, sizes[lane]), true)?;
            }
        }
        // From now on the old content is lost and the new one not there: who reads it does not wait.
        for lane in lanes(bits) {
            let noted = self.shared.note_write(to[lane] as u32, size, (self.warp, at, lane), Write::Plain);
            noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
            self.shared.forget(to[lane] as u32, size);
        }
        let groups = self.keeps.committed.map(|committed| committed + 1);
        self.keeps.copies.push(Copy { at, groups, bits, from: *addresses, to, bytes: size, sizes });
        if self.grid.options.late_copies { Ok(()) } else { self.arrive(bits, None) }
    }

    /// Copies of these lanes arrive now: all, or all but those of the `left` groups committed last and of the one that
    /// is not.
    pub(in crate::device::gpu::emulator) fn arrive(
        &mut self,
        of: u32,
        left: Option<u32>,
    ) -> Result<(), Box<Fault>> {
        let upto = self.keeps.committed.map(|committed| match left {
            None => u64::MAX,
            Some(left) => committed.saturating_sub(u64::from(left)),
        });
        let mut all = std::mem::take(&mut self.keeps.copies);
        for copy in &mut all {
            let now = lanes(copy.bits & of).filter(|&lane| copy.groups[lane] <= upto[lane]);
            let now = now.fold(0, |now, lane| now | 1 << lane);
            copy.bits &= !now;
            for lane in lanes(now) {
                let to = copy.to[lane] as u32;
                self.shared.arrive(to, copy.bytes);
                let noted = self.shared.note_write(to, copy.bytes, (self.warp, copy.at, lane), Write::Plain);
                noted.map_err(|conflict| self.conflict(copy.at, lane, conflict, true))?;
                let mut data = [0u8; 16];
                let wanted = copy.sizes[lane] as usize;
                if wanted > 0 {
                    let (it, offset) =
                        self.part(copy.at, lane, copy.from[lane], (copy.bytes, copy.sizes[lane]), true)?;
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
        all.retain(|copy| copy.bits != 0);
        self.keeps.copies = all;
        Ok(())
    }
}
