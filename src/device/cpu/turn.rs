//! Rows to columns in blocks of 8 x 8, which eight registers hold.
//!
//! In: a matrix with room between its rows. Out: another, its columns. Nothing is computed, so every level of
//! instructions gives the same bits.

/// Rows and columns of a block.
const SIDE: usize = 8;

/// `to[c · to_stride + r] = from[r · stride + c]` for so many `(rows, columns)`.
///
/// # Panics
/// If a matrix is shorter than that.
pub fn turn(from: &[f32], stride: usize, (rows, columns): (usize, usize), to: &mut [f32], to_stride: usize) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns <= stride && (rows - 1) * stride + columns <= from.len());
    assert!(rows <= to_stride && (columns - 1) * to_stride + rows <= to.len());
    // Eight lines of the destination at a time are written from begin to end.
    for left in (0..columns).step_by(SIDE) {
        for top in (0..rows).step_by(SIDE) {
            let (height, width) = (SIDE.min(rows - top), SIDE.min(columns - left));
            let (at, to_at) = (top * stride + left, left * to_stride + top);
            #[cfg(target_arch = "x86_64")]
            if height == SIDE && width == SIDE && super::simd::avx2() {
                // SAFETY: the processor has AVX2; the block is whole and lies within both, as was asserted.
                unsafe { block(from.as_ptr().add(at), stride, to.as_mut_ptr().add(to_at), to_stride) };
                continue;
            }
            for c in 0..width {
                for r in 0..height {
                    to[to_at + c * to_stride + r] = from[at + r * stride + c];
                }
            }
        }
    }
}

/// One block.
///
/// # Safety
/// The processor has AVX2. Eight numbers can be read at `from` and each of seven strides after it, and written
/// likewise at `to`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn block(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::{
        __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
        _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's promise.
    let row = |r: usize| unsafe { _mm256_loadu_ps(from.add(r * stride)) };
    // Each line names what its lanes have afterwards, in either half of a register: rows, then columns.
    let pair = |r: usize| -> [__m256; 2] {
        let (a, b) = (row(r), row(r + 1));
        [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)]
    };
    let four = |r: usize| -> [__m256; 4] {
        let ([a, c], [b, d]) = (pair(r), pair(r + 2));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(a, b),
            _mm256_shuffle_ps::<0b11_10_11_10>(a, b),
            _mm256_shuffle_ps::<0b01_00_01_00>(c, d),
            _mm256_shuffle_ps::<0b11_10_11_10>(c, d),
        ]
    };
    let (upper, lower) = (four(0), four(4));
    for c in 0..4 {
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(to.add(c * to_stride), _mm256_permute2f128_ps::<0x20>(upper[c], lower[c]));
            _mm256_storeu_ps(to.add((c + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(upper[c], lower[c]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_and_rests_go_to_their_places_and_nowhere_else() {
        for (rows, columns) in [(1, 1), (8, 8), (7, 9), (8, 16), (17, 24), (3, 40), (40, 3)] {
            let (stride, to_stride) = (columns + 3, rows + 2);
            let from: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let mut to = vec![-1.0; columns * to_stride];
            turn(&from, stride, (rows, columns), &mut to, to_stride);
            for (at, &got) in to.iter().enumerate() {
                let (c, r) = (at / to_stride, at % to_stride);
                let want = if r < rows { from[r * stride + c] } else { -1.0 };
                assert_eq!(got, want, "{rows} x {columns}: row {r}, column {c}");
            }
        }
    }
}
