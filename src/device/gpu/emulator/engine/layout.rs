//! Where a matrix of `wgmma` is in shared memory.
//!
//! In: a matrix descriptor (PTX ISA 9.0, 9.7.15.5.1.2.2 "Matrix descriptor") and whether the matrix is transposed.
//! Out: the address of every chunk of 16 bytes. The layouts are those that CUTLASS calls canonical: eight rows
//! of 16, 32, 64 or 128 bytes, one below the other, then the next eight at a stride; what is permuted are the
//! bits of the address, counted from where the pattern begins (`base offset`).

use crate::device::gpu::tensor_map::Swizzle;

/// A descriptor, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    start: u32,
    /// Leading dimension byte offset.
    lead: u32,
    /// Stride dimension byte offset.
    stride: u32,
    base: u32,
    swizzle: Swizzle,
    /// Whether m, or n, lies innermost, not k.
    transposed: bool,
}

impl Layout {
    /// Of a descriptor.
    pub fn new(descriptor: u64, transposed: bool) -> Self {
        let bytes = |shift: u32| ((descriptor >> shift & 0x3fff) as u32) << 4;
        let swizzle = match descriptor >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::B128,
            2 => Swizzle::B64,
            _ => Swizzle::B32,
        };
        let base = (descriptor >> 49 & 7) as u32;
        Self { start: bytes(0), lead: bytes(16), stride: bytes(32), base, swizzle, transposed }
    }

    /// The same in a block's memory that begins at `window`, a multiple of 1024: a descriptor counts from there.
    #[must_use]
    pub fn within(self, window: u32) -> Self {
        Self { start: self.start + window, ..self }
    }

    /// The address of a chunk of 16 bytes: of row `i` along m or n the chunk `j` along k; transposed, of row `i`
    /// along k the chunk `j` along m or n.
    #[inline(always)]
    pub fn chunk(&self, i: u32, j: u32) -> u32 {
        let span = self.swizzle.span().unwrap_or(16);
        let wide = span / 16;
        let plain = match (self.transposed, self.swizzle) {
            (false, Swizzle::None) => i % 8 * 16 + i / 8 * self.stride + j * self.lead,
            (false, _) => i % 8 * span + i / 8 * self.stride + j * 16,
            (true, Swizzle::None) => i % 8 * 16 + i / 8 * self.lead + j * self.stride,
            (true, _) => i % 8 * span + i / 8 * self.stride + j % wide * 16 + j / wide * self.lead,
        };
        let address = self.start + plain;
        if self.swizzle == Swizzle::None {
            return address;
        }
        // The row's number within the pattern, counted from where the pattern begins.
        let row = (address >> 7).wrapping_sub(self.base) & (wide - 1);
        address ^ row << 4
    }

    /// Whether m, or n, lies innermost.
    pub fn is_transposed(self) -> bool {
        self.transposed
    }

    /// The chunks of `rows` rows along m or n and `k` columns of `size` bytes, row by row of [`Layout::chunk`].
    pub fn chunks(self, rows: std::ops::Range<u32>, k: u32, size: u32) -> impl Iterator<Item = u32> + Clone {
        let per = 16 / size;
        let (outer, inner) =
            if self.transposed { (0..k, rows.start / per..rows.end / per) } else { (rows, 0..k / per) };
        outer.flat_map(move |i| inner.clone().map(move |j| self.chunk(i, j)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_as_the_isa_has_them() {
        // Start 0x4400, lead 16, stride 1024, base offset 5, 128-byte swizzle.
        let descriptor = 0x440 | 1 << 16 | 64 << 32 | 5 << 49 | 1 << 62;
        let layout = Layout::new(descriptor, false);
        let want = Layout {
            start: 0x4400,
            lead: 16,
            stride: 1024,
            base: 5,
            swizzle: Swizzle::B128,
            transposed: false,
        };
        assert_eq!(layout, want);
        assert_eq!(Layout::new(2 << 62, false).swizzle, Swizzle::B64);
        assert_eq!(Layout::new(3 << 62, false).swizzle, Swizzle::B32);
    }

    #[test]
    fn what_tma_wrote_is_found_where_it_wrote_it() {
        // 64 columns of 16 bits a row: a box of TMA with the same swizzle, at a multiple of its pattern.
        for (swizzle, code, span) in
            [(Swizzle::B128, 1u64, 128), (Swizzle::B64, 2, 64), (Swizzle::B32, 3, 32)]
        {
            let start = 0x2000u32;
            let descriptor = u64::from(start >> 4) | (u64::from(8 * span) >> 4) << 32 | code << 62;
            let layout = Layout::new(descriptor, false);
            for row in 0..64 {
                for chunk in 0..2 {
                    assert_eq!(layout.chunk(row, chunk), swizzle.place(start + row * span + chunk * 16));
                }
            }
            // The same box as a matrix that lies the other way: its rows are k.
            let layout = Layout::new(descriptor, true);
            for k in 0..16 {
                for chunk in 0..span / 16 {
                    assert_eq!(layout.chunk(k, chunk), swizzle.place(start + k * span + chunk * 16));
                }
            }
        }
    }

    #[test]
    fn a_card_reads_the_same_elements() {
        let text = include_str!("../../../../../tests/ptx/hopper/layouts.txt");
        let mut count = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |k: usize| words[k].parse::<u64>().unwrap();
            let (transposed, rows) = (number(1) == 1, number(2) as u32);
            let offsets = number(4) >> 4 | number(5) >> 4 << 16 | number(6) >> 4 << 32;
            let layout = Layout::new(offsets | number(7) << 49 | number(3) << 62, transposed);
            let element = |row: u32, k: u32| {
                let (i, j, rest) = if transposed { (k, row / 8, row % 8) } else { (row, k / 8, k % 8) };
                (layout.chunk(i, j) / 2 + rest) as u16
            };
            let all = (0..rows).flat_map(|row| (0..16).map(move |k| (row, k)));
            let bytes = all.flat_map(|(row, k)| element(row, k).to_le_bytes());
            let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            assert_eq!(format!("{hash:016x}"), words[8], "{line}");
            count += 1;
        }
        assert!(count >= 29, "only {count} layouts");
    }
}
