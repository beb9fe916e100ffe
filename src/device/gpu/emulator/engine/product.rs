//! The product of one `wgmma`, in the registers of four warps.
//!
//! In: two matrices in shared memory (or a in registers), accumulators. Out: accumulators. The matrices are
//! unpacked to f32 once, in the order in which the accumulators lie: register `i` of lane `l` of warp `w` has row
//! `16w + 8(i/2 % 2) + l/4`, column `8(i/4) + 2(l % 4) + i % 2` (PTX ISA 9.0, "wgmma" register fragments). Eight
//! lanes are two rows and four columns, so each step is a fused multiply-add of eight lanes. Sums are those of
//! `mma.sync` (`matrix`): f32 in order of k, or exactly as an H100 cuts them.

use super::layout::Layout;
use crate::device::gpu::emulator::lanes::{CHUNK, Registers};
use crate::device::gpu::emulator::matrix::{Tensor, element, fused};
use crate::ptx::{Left, Multiply, Wgmma};

type Eight = [f32; CHUNK];

/// What one `wgmma` multiplies.
pub struct Product<'p> {
    pub wgmma: &'p Wgmma,
    /// Of a, unless it lies in registers, and of b.
    pub layouts: (Option<Layout>, Layout),
    /// Whether the accumulators are added.
    pub adds: bool,
    pub mode: Tensor,
    /// Whether this processor has AVX2 and fused multiply-add.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code))]
    pub wide: bool,
}

impl Product<'_> {
    /// A matrix of `rows` rows as numbers: `k` of each row side by side.
    fn unpacked(&self, words: &[u32], layout: Layout, rows: u32, negate: bool) -> Vec<f32> {
        let (k, kind) = (self.wgmma.k(), self.wgmma.kind);
        let sign = if negate { -1.0 } else { 1.0 };
        let packed = if kind == Multiply::Tf32 { 1 } else { 2 };
        let per = 4 * packed;
        let mut out = vec![0.0; rows as usize * k];
        let transposed = layout.is_transposed();
        let (outer, inner) = if transposed { (k, rows as usize / per) } else { (rows as usize, k / per) };
        for i in 0..outer {
            for j in 0..inner {
                let first = (layout.chunk(i as u32, j as u32) / 4) as usize;
                for (w, &word) in words[first..first + 4].iter().enumerate() {
                    for half in 0..packed {
                        let n = j * per + w * packed + half;
                        let (row, column) = if transposed { (n, i) } else { (i, n) };
                        out[row * k + column] = sign * element(kind, word, half);
                    }
                }
            }
        }
        out
    }

    /// A warp's 16 rows of a from its registers.
    fn a_in_registers(&self, registers: &Registers, slots: [u16; 4]) -> Vec<f32> {
        let (k, kind) = (self.wgmma.k(), self.wgmma.kind);
        let packed = if kind == Multiply::Tf32 { 1 } else { 2 };
        let sign = if self.wgmma.negate[0] { -1.0 } else { 1.0 };
        let mut out = vec![0.0; 16 * k];
        for (r, slot) in slots.into_iter().enumerate() {
            for (lane, &word) in registers.word(slot).iter().enumerate() {
                let row = lane / 4 + 8 * (r % 2);
                for half in 0..packed {
                    let column = (r / 2) * 4 * packed + lane % 4 * packed + half;
                    out[row * k + column] = sign * element(kind, word, half);
                }
            }
        }
        out
    }

    /// Multiplies, for the four warps of a warpgroup.
    pub fn run(&self, words: &[u32], warps: &mut [&mut Registers; 4]) {
        let (k, n) = (self.wgmma.k(), usize::from(self.wgmma.n));
        let b = self.unpacked(words, self.layouts.1, n as u32, self.wgmma.negate[1]);
        let a = self.layouts.0.map(|layout| self.unpacked(words, layout, 64, self.wgmma.negate[0]));
        for (w, registers) in warps.iter_mut().enumerate() {
            let own;
            let a = match (&a, self.wgmma.a) {
                (Some(a), _) => &a[16 * w * k..][..16 * k],
                (None, Left::Registers(slots)) => {
                    own = self.a_in_registers(registers, slots);
                    &own[..]
                }
                (None, Left::Shared(_)) => continue,
            };
            if self.mode == Tensor::Fast {
                self.fast(registers, a, &b);
            } else {
                self.exact(registers, a, &b);
            }
        }
    }

    fn fast(&self, registers: &mut Registers, a: &[f32], b: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: `wide` says that the processor has the instructions.
            return unsafe { fast_wide(&self.wgmma.d, self.adds, registers, a, b, self.wgmma.k()) };
        }
        fast(&self.wgmma.d, self.adds, registers, a, b, self.wgmma.k());
    }

    fn exact(&self, registers: &mut Registers, a: &[f32], b: &[f32]) {
        let k = self.wgmma.k();
        for (i, &slot) in self.wgmma.d.iter().enumerate() {
            let row = registers.word_mut(slot);
            for (lane, value) in row.iter_mut().enumerate() {
                let (m, n) = (8 * (i / 2 % 2) + lane / 4, 8 * (i / 4) + 2 * (lane % 4) + i % 2);
                let start = if self.adds { f32::from_bits(*value) } else { 0.0 };
                // The unit of an H100 adds all products of one instruction at once, with 25 bits.
                let sum = fused(self.wgmma.kind, &a[m * k..][..k], &b[n * k..][..k], start, 25);
                *value = sum.to_bits();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn fast_wide(d: &[u16], adds: bool, registers: &mut Registers, a: &[f32], b: &[f32], k: usize) {
    fast(d, adds, registers, a, b, k);
}

#[inline(always)]
fn fast(d: &[u16], adds: bool, registers: &mut Registers, a: &[f32], b: &[f32], k: usize) {
    if k == 16 {
        multiply::<16>(d, adds, registers, a, b);
    } else {
        multiply::<8>(d, adds, registers, a, b);
    }
}

/// One warp's part: 16 rows.
#[inline(always)]
fn multiply<const K: usize>(d: &[u16], adds: bool, registers: &mut Registers, a: &[f32], b: &[f32]) {
    // Of lanes 8q to 8q + 7: rows 2q and 2q + 1 of each half.
    let mut rows = [[[0.0; CHUNK]; K]; 8];
    for (part, row) in rows.iter_mut().enumerate() {
        let (half, q) = (part / 4, part % 4);
        for (k, eight) in row.iter_mut().enumerate() {
            let [upper, lower] = [0, 1].map(|r| a[(8 * half + 2 * q + r) * K + k]);
            *eight = [upper, upper, upper, upper, lower, lower, lower, lower];
        }
    }
    for (block, slots) in d.as_chunks::<4>().0.iter().enumerate() {
        // Columns 0, 2, 4, 6 of the block, and 1, 3, 5, 7.
        let mut columns = [[[0.0; CHUNK]; K]; 2];
        for (parity, column) in columns.iter_mut().enumerate() {
            for (k, eight) in column.iter_mut().enumerate() {
                let four = [0, 2, 4, 6].map(|n| b[(8 * block + n + parity) * K + k]);
                *eight = [four[0], four[1], four[2], four[3], four[0], four[1], four[2], four[3]];
            }
        }
        for half in 0..2 {
            let mut even = *registers.word(slots[2 * half]);
            let mut odd = *registers.word(slots[2 * half + 1]);
            for q in 0..4 {
                let row = &rows[4 * half + q];
                let place = q * CHUNK..(q + 1) * CHUNK;
                let (mut x, mut y) = ([0.0; CHUNK], [0.0; CHUNK]);
                if adds {
                    x = floats(&even[place.clone()]);
                    y = floats(&odd[place.clone()]);
                }
                for k in 0..K {
                    step(&mut x, &row[k], &columns[0][k]);
                    step(&mut y, &row[k], &columns[1][k]);
                }
                even[place.clone()].copy_from_slice(&x.map(f32::to_bits));
                odd[place].copy_from_slice(&y.map(f32::to_bits));
            }
            *registers.word_mut(slots[2 * half]) = even;
            *registers.word_mut(slots[2 * half + 1]) = odd;
        }
    }
}

#[inline(always)]
fn floats(words: &[u32]) -> Eight {
    std::array::from_fn(|lane| f32::from_bits(words[lane]))
}

#[inline(always)]
fn step(sum: &mut Eight, a: &Eight, b: &Eight) {
    for lane in 0..CHUNK {
        sum[lane] = a[lane].mul_add(b[lane], sum[lane]);
    }
}
