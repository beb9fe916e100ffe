//! The heart of convolutions: a product of 6 rows and 16 columns, kept in registers.
//!
//! In: rows of `a` that lie anywhere, each cut into runs; a packed panel of 16 columns. Out: a corner of
//! a row-major matrix. Six times two vectors of eight sums, two vectors of the panel and one broadcast
//! fill AVX2's sixteen registers; twelve multiply-adds hide the eight loads.

use std::ops::Range;

/// Rows of a tile.
pub const ROWS: usize = 6;
/// Columns of a tile, and of a packed panel.
pub const COLUMNS: usize = 16;

/// How the summed index lies in memory: `count` runs of `len`.
#[derive(Clone, Copy)]
pub struct Runs {
    pub count: usize,
    pub len: usize,
    /// Numbers from one run of a row of `a` to the next.
    pub stride: usize,
    /// Numbers from one run of the panel to the next; within a run, lines of 16 follow each other.
    pub panel_stride: usize,
}

impl Runs {
    /// One run.
    pub fn one(len: usize) -> Self {
        Self { count: 1, len, stride: 0, panel_stride: 0 }
    }

    /// How far the last run reaches when runs are `stride` apart and `len` long.
    fn reach(self, stride: usize, len: usize) -> usize {
        if self.count == 0 { 0 } else { (self.count - 1) * stride + len }
    }
}

/// What the sums begin with.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// These numbers, in every row.
    Columns(&'a [f32; COLUMNS]),
    /// What the output holds.
    Output,
}

/// The part of a row-major matrix that a tile writes.
pub struct Corner<'a> {
    /// Begins at the tile's first element.
    pub matrix: &'a mut [f32],
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
}

/// `corner[r][j] = max(floor, start + Σ_k a[rows[r] + k] · panel[k][j])`; NaN passes through the maximum.
///
/// `rows` holds the place in `a` of each row; those past the corner's rows are not looked at.
pub fn multiply(
    a: &[f32],
    rows: &[usize; ROWS],
    runs: Runs,
    panel: &[f32],
    start: Start<'_>,
    floor: f32,
    corner: Corner<'_>,
) {
    let Corner { matrix, stride, rows: live, columns } = corner;
    assert!((1..=ROWS).contains(&live) && (1..=COLUMNS).contains(&columns) && columns <= stride);
    assert!(rows[..live].iter().all(|row| row + runs.reach(runs.stride, runs.len) <= a.len()));
    assert!(runs.reach(runs.panel_stride, runs.len * COLUMNS) <= panel.len());
    assert!((live - 1) * stride + columns <= matrix.len());
    // Rows that do not count repeat the first; they are computed and dropped.
    let rows = std::array::from_fn(|r| if r < live { &a[rows[r]..] } else { &a[rows[0]..] });
    if live == ROWS && columns == COLUMNS {
        return whole(rows, runs, panel, start, floor, matrix, stride);
    }
    let mut local = [0.0; ROWS * COLUMNS];
    let row = |r: usize| -> Range<usize> { r * stride..r * stride + columns };
    if let Start::Output = start {
        for (r, local) in local.chunks_exact_mut(COLUMNS).take(live).enumerate() {
            local[..columns].copy_from_slice(&matrix[row(r)]);
        }
    }
    whole(rows, runs, panel, start, floor, &mut local, COLUMNS);
    for (r, local) in local.chunks_exact(COLUMNS).take(live).enumerate() {
        matrix[row(r)].copy_from_slice(&local[..columns]);
    }
}

fn whole(
    rows: [&[f32]; ROWS],
    runs: Runs,
    panel: &[f32],
    start: Start<'_>,
    floor: f32,
    matrix: &mut [f32],
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if super::simd::avx2() {
        let to = matrix.as_mut_ptr();
        let (from, from_stride) = match start {
            Start::Columns(columns) => (columns.as_ptr(), 0),
            Start::Output => (to.cast_const(), stride),
        };
        // SAFETY: `multiply` asserted that every row reaches to the end of the last run, that the panel
        // holds a line per summed index, and that the matrix holds six rows of sixteen; the processor
        // has the instructions.
        unsafe {
            avx2::whole(rows.map(<[f32]>::as_ptr), runs, panel.as_ptr(), from, from_stride, floor, to, stride)
        };
        return;
    }
    portable(rows, runs, panel, start, floor, matrix, stride);
}

fn portable(
    rows: [&[f32]; ROWS],
    runs: Runs,
    panel: &[f32],
    start: Start<'_>,
    floor: f32,
    matrix: &mut [f32],
    stride: usize,
) {
    let mut sums: [[f32; COLUMNS]; ROWS] = std::array::from_fn(|r| match start {
        Start::Columns(columns) => *columns,
        Start::Output => std::array::from_fn(|j| matrix[r * stride + j]),
    });
    for run in 0..runs.count {
        let lines = panel[run * runs.panel_stride..].chunks_exact(COLUMNS).take(runs.len);
        for (k, line) in (run * runs.stride..).zip(lines) {
            for (sums, row) in sums.iter_mut().zip(rows) {
                let a = row[k];
                for (sum, b) in sums.iter_mut().zip(line) {
                    *sum += a * b;
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (to, &sum) in matrix[r * stride..][..COLUMNS].iter_mut().zip(sums) {
            *to = if sum < floor { floor } else { sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of small integers, so that both are exact.
    #[test]
    fn the_portable_tile_is_that_of_the_chosen_instructions() {
        let data: Vec<f32> = (0..600).map(|i| ((i * i + i / 7) % 9) as f32 - 4.0).collect();
        let rows = std::array::from_fn(|r| &data[r * 11..]);
        let runs = Runs { count: 3, len: 5, stride: 13, panel_stride: 7 * COLUMNS };
        let bias = std::array::from_fn(|j| j as f32);
        for start in [Start::Columns(&bias), Start::Output] {
            for floor in [0.0, f32::NEG_INFINITY] {
                let (mut chosen, mut plain) = ([3.0; 6 * 20], [3.0; 6 * 20]);
                whole(rows, runs, &data[100..], start, floor, &mut chosen, 20);
                portable(rows, runs, &data[100..], start, floor, &mut plain, 20);
                assert_eq!(chosen, plain);
            }
        }
    }

    #[test]
    fn nan_passes_through_the_floor() {
        let (a, panel) = ([f32::NAN], [1.0; COLUMNS]);
        let rows = [&a[..]; ROWS];
        let bias = [0.0; COLUMNS];
        for product in [whole, portable] {
            let mut y = [0.0; ROWS * COLUMNS];
            product(rows, Runs::one(1), &panel, Start::Columns(&bias), 0.0, &mut y, COLUMNS);
            assert!(y.iter().all(|y| y.is_nan()));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{COLUMNS, ROWS, Runs};
    use std::arch::x86_64::*;

    /// # Safety
    /// `rows`, `panel`, `from` and `to` must reach as far as [`super::multiply`] asserts.
    #[allow(clippy::too_many_arguments)]
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn whole(
        rows: [*const f32; ROWS],
        runs: Runs,
        panel: *const f32,
        from: *const f32,
        from_stride: usize,
        floor: f32,
        to: *mut f32,
        stride: usize,
    ) {
        // SAFETY: the caller's promise covers every address below.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            for (r, sums) in sums.iter_mut().enumerate() {
                let from = from.add(r * from_stride);
                *sums = [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))];
            }
            for run in 0..runs.count {
                let first = run * runs.stride;
                let mut line = panel.add(run * runs.panel_stride);
                for k in first..first + runs.len {
                    let (low, high) = (_mm256_loadu_ps(line), _mm256_loadu_ps(line.add(8)));
                    line = line.add(COLUMNS);
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let a = _mm256_broadcast_ss(&*row.add(k));
                        sums[0] = _mm256_fmadd_ps(a, low, sums[0]);
                        sums[1] = _mm256_fmadd_ps(a, high, sums[1]);
                    }
                }
            }
            // The maximum gives its second operand when one is NaN.
            let floor = _mm256_set1_ps(floor);
            for (r, sums) in sums.iter().enumerate() {
                let to = to.add(r * stride);
                _mm256_storeu_ps(to, _mm256_max_ps(floor, sums[0]));
                _mm256_storeu_ps(to.add(8), _mm256_max_ps(floor, sums[1]));
            }
        }
    }
}
