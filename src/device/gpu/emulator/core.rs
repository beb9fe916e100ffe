//! What operations other than arithmetic do to a warp.
//!
//! In: one operation, the warp's registers and active lanes. Out: changed registers, shared and global
//! memory, or a [`Fault`] that names the thread. Addresses are read from the registers before anything
//! is written, since a result may lie in the slot of an address.

use super::alu::Special;
use super::engine::Engine;
use super::fault::{Check, Fault};
use super::grid::{Grid, Statistics};
use super::lanes::{LANES, Mask, Registers, lanes};
use super::matrix;
use super::shared::{Agents, Shared, Write};
use crate::ptx::{Class, Code, Line, Matrix, NONE, Op};

/// A `cp.async` that has not arrived.
pub struct Copy {
    pub(super) at: u32,
    /// Of each lane.
    pub(super) groups: [u64; LANES],
    /// Lanes whose bytes are still on their way.
    pub(super) bits: u32,
    pub(super) from: [u64; LANES],
    pub(super) to: [u64; LANES],
    pub(super) bytes: u32,
    pub(super) sizes: [u32; LANES],
}

/// What a warp keeps beside its registers.
#[derive(Default)]
pub struct Keeps {
    /// Local memory, lane after lane.
    pub local: Vec<u8>,
    /// Copies on their way.
    pub copies: Vec<Copy>,
    /// Groups of copies that each lane has committed so far: a thread waits for its own alone.
    pub committed: [u64; LANES],
    /// Lanes that have waited for the kernel before this one.
    pub awaited: u32,
    /// Number of the allocation that was touched last: the next access is often to the same.
    pub last: usize,
}

/// The machine as one warp sees it.
pub struct Core<'c, 'l> {
    pub(super) grid: &'c Grid<'l>,
    pub(super) shared: &'c mut Shared,
    pub(super) keeps: &'c mut Keeps,
    pub(super) engine: &'c mut Engine,
    pub(super) agents: Agents,
    pub(super) statistics: &'c mut Statistics,
    /// Among those of the cluster.
    pub(super) warp: usize,
    /// Its block within the cluster.
    pub(super) rank: u32,
    pub(super) block: [u32; 3],
    pub(super) number: u64,
    /// Lanes that have not ended.
    pub(super) live: u32,
}

impl Core<'_, '_> {
    /// A fault of a lane at operation `at`.
    pub(super) fn fault(&self, check: Check, at: u32, lane: usize, what: String, help: &str) -> Box<Fault> {
        Box::new(Fault {
            check,
            what,
            line: self.line(at),
            block: self.block,
            thread: Some(self.thread(self.warp, lane)),
            facts: Vec::new(),
            help: help.to_owned(),
        })
    }

    pub(super) fn line(&self, at: u32) -> Line {
        self.grid.program.lines.get(at as usize).copied().unwrap_or(Line { ptx: 0, place: None })
    }

    /// The block of a warp of the cluster.
    pub(super) fn block_of(&self, warp: usize) -> [u32; 3] {
        let first = self.number - u64::from(self.rank);
        self.grid.block_at(first + (warp / self.grid.warps()) as u64)
    }

    /// Speaks for another warp of the cluster from now on.
    pub(super) fn stand_for(&mut self, warp: usize) {
        let (rank, block) = ((warp / self.grid.warps()) as u32, self.block_of(warp));
        self.number = self.number - u64::from(self.rank) + u64::from(rank);
        (self.warp, self.rank, self.block) = (warp, rank, block);
    }

    pub(super) fn thread(&self, warp: usize, lane: usize) -> [u32; 3] {
        self.grid.thread((warp % self.grid.warps() * LANES + lane) as u32)
    }

    /// Faults where lanes touch global memory that the kernel before may still be writing or reading. A kernel that
    /// waits for it nowhere is not launched before it has ended.
    pub(super) fn check_awaited(&self, at: u32, bits: u32) -> Result<(), Box<Fault>> {
        let early = bits & !self.keeps.awaited;
        if early == 0 || !self.grid.program.awaits || !self.grid.options.checked {
            return Ok(());
        }
        let what = "global memory is touched while the kernel before may still run".to_owned();
        let help = "griddepcontrol.wait must come first, in every thread";
        Err(self.fault(Check::Predecessor, at, early.trailing_zeros() as usize, what, help))
    }

    fn load_param(&self, op: &Op, registers: &mut Registers, mask: &Mask) {
        let at = op.imm as usize;
        let mut bytes = [0; 8];
        let width = usize::from(op.a);
        if let Some(found) = self.grid.args.get(at..at + width) {
            bytes[..width].copy_from_slice(found);
        }
        let value = u64::from_le_bytes(bytes);
        if op.a == 8 {
            lanes(mask.bits).for_each(|lane| registers.long_mut(op.d)[lane] = value);
        } else {
            let shift = 32 - 8 * u32::from(op.a);
            let mut word = value as u32;
            if op.b == 1 {
                word = (((word << shift) as i32) >> shift) as u32;
            }
            lanes(mask.bits).for_each(|lane| registers.word_mut(op.d)[lane] = word);
        }
    }

    fn matrix(&mut self, at: u32, op: &Op, registers: &mut Registers, mask: &Mask) -> Result<(), Box<Fault>> {
        let matrix = self.grid.program.matrices[op.imm as usize];
        match matrix {
            Matrix::Multiply { .. } => {
                self.whole_warp(at, mask, "mma.sync")?;
                matrix::multiply(&matrix, registers, self.grid.options.tensor);
                Ok(())
            }
            Matrix::Store { count, transposed, regs, base, base_class, offset } => {
                self.whole_warp(at, mask, "stmatrix")?;
                let addresses = self.places(&self.addresses(registers, base, base_class, offset));
                for (m, &slot) in regs.iter().enumerate().take(usize::from(count)) {
                    let values = registers.word(slot);
                    let half = |row: usize, column: usize| {
                        let (row, column) = if transposed { (column, row) } else { (row, column) };
                        values[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff
                    };
                    for r in 0..8 {
                        let lane = m * 8 + r;
                        let address = addresses[lane] as u32;
                        self.check_shared(at, lane, addresses[lane], 16, false)?;
                        let noted = self.shared.note_write(address, 16, (self.warp, at, lane), Write::Plain);
                        noted.map_err(|conflict| self.conflict(at, lane, conflict, true))?;
                        for k in 0..4 {
                            let word = half(r, 2 * k) | half(r, 2 * k + 1) << 16;
                            self.shared.store(address + 4 * k as u32, 4, word);
                        }
                    }
                }
                self.count_rows(op.imm, &addresses, 8 * u32::from(count));
                Ok(())
            }
            Matrix::Load { count, transposed, regs, base, base_class, offset } => {
                self.whole_warp(at, mask, "ldmatrix")?;
                let addresses = self.places(&self.addresses(registers, base, base_class, offset));
                for (m, &slot) in regs.iter().enumerate().take(usize::from(count)) {
                    let mut rows = [[0u32; 4]; 8];
                    for (r, row) in rows.iter_mut().enumerate() {
                        let lane = m * 8 + r;
                        self.check_shared(at, lane, addresses[lane], 16, true)?;
                        for (k, word) in row.iter_mut().enumerate() {
                            let address = addresses[lane] as u32 + 4 * k as u32;
                            let noted = self.shared.note_read(address, 4, (self.warp, at, lane));
                            noted.map_err(|conflict| self.conflict(at, lane, conflict, false))?;
                            *word = self.shared.load(address, 4);
                        }
                    }
                    let half =
                        |row: usize, column: usize| rows[row][column / 2] >> (16 * (column % 2)) & 0xffff;
                    let out = registers.word_mut(slot);
                    for (lane, value) in out.iter_mut().enumerate() {
                        let (group, pair) = (lane / 4, lane % 4 * 2);
                        *value = if transposed {
                            half(pair, group) | half(pair + 1, group) << 16
                        } else {
                            half(group, pair) | half(group, pair + 1) << 16
                        };
                    }
                }
                self.count_rows(op.imm, &addresses, 8 * u32::from(count));
                Ok(())
            }
        }
    }

    /// Where places of the block's own shared memory lie in that of the cluster.
    pub(super) fn places(&self, addresses: &[u64; LANES]) -> [u64; LANES] {
        addresses.map(|address| self.shared.place(self.rank, address))
    }

    /// `base + offset` of every lane.
    #[inline(always)]
    pub(super) fn addresses(
        &self,
        registers: &Registers,
        base: u16,
        class: Class,
        offset: i64,
    ) -> [u64; LANES] {
        match class {
            _ if base == NONE => [offset as u64; LANES],
            Class::L => {
                let row = registers.long(base);
                std::array::from_fn(|lane| row[lane].wrapping_add(offset as u64))
            }
            _ => {
                // 32-bit addresses wrap in 32 bits.
                let row = registers.word(base);
                std::array::from_fn(|lane| u64::from(row[lane].wrapping_add(offset as u32)))
            }
        }
    }
}

impl Special for Core<'_, '_> {
    fn special(
        &mut self,
        at: u32,
        op: &Op,
        registers: &mut Registers,
        mask: &mut Mask,
    ) -> Result<(), Box<Fault>> {
        match op.code {
            Code::Access => {
                let access = &self.grid.program.accesses[op.imm as usize];
                let early = self.grid.program.awaits && self.keeps.awaited != u32::MAX;
                let usual = mask.bits == u32::MAX && access.usual && !self.grid.options.statistics && !early;
                if usual && self.usual(at, access, registers) {
                    return Ok(());
                }
                self.access(at, op.imm, registers, mask)
            }
            Code::LoadParam => {
                self.load_param(op, registers, mask);
                Ok(())
            }
            Code::Vote => self.vote(at, op, registers, mask),
            Code::Shuffle => self.shuffle(at, op, registers, mask),
            Code::Matrix => self.matrix(at, op, registers, mask),
            Code::Asynchronous => self.asynchronous(at, op.imm, registers, mask),
            Code::CommitGroup => {
                lanes(mask.bits).for_each(|lane| self.keeps.committed[lane] += 1);
                Ok(())
            }
            Code::WaitGroup => self.arrive(mask.bits, if op.a == 1 { None } else { Some(op.imm) }),
            Code::Guarded => {
                let p = registers.predicate(op.a);
                let bits = mask.bits & if op.b == 1 { !p } else { p };
                if bits == 0 {
                    return Ok(());
                }
                let inner = self.grid.program.guarded[op.imm as usize];
                let mut part = Mask::new(bits);
                // SAFETY: a guarded op is of the same program as the one that guards it.
                unsafe { super::alu::run(at, &[inner], registers, (&mut part, false), self) }
            }
            Code::MarkInit => {
                *registers.predicate_mut(op.d) |= mask.bits;
                Ok(())
            }
            Code::CheckInit => {
                let missing = mask.bits & !registers.predicate(op.a);
                if missing == 0 {
                    return Ok(());
                }
                let name = self.grid.program.tracked_names.get(op.imm as usize).map_or("?", String::as_str);
                let what = format!("register `{name}` is read before it is written");
                let lane = missing.trailing_zeros() as usize;
                Err(self.fault(Check::Uninitialized, at, lane, what, "a variable without a first value?"))
            }
            Code::AwaitPredecessor => {
                self.keeps.awaited |= mask.bits;
                Ok(())
            }
            Code::Trap => Err(self.fault(
                Check::Trap,
                at,
                mask.first(),
                "the kernel stopped itself (trap)".into(),
                "what it found wrong stands in the lines before",
            )),
            _ => Ok(()),
        }
    }
}
