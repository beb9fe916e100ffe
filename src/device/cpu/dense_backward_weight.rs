//! The dense layer's gradient with respect to its weight: sums over the batch, which is short, into a
//! matrix that is larger than the caches and is written once.

use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Numbers of `x` that stay in the first cache while the units pass.
const NUMBERS: usize = 5120;

/// `dweight[o,i] = Σ_n dy[n,o] · x[n,i]`.
pub fn dense_backward_weight(
    shop: &Workshop,
    geometry: Dense,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    let Dense { n, c_in, c_out } = geometry;
    if n == 0 || dweight.is_empty() {
        dweight.fill(0.0);
        return Ok(());
    }
    let panels = c_in.div_ceil(COLUMNS);
    let mut lines = shop.scratch(panels * n * COLUMNS)?;
    let together = (NUMBERS / (n * COLUMNS)).max(1);
    shop.threads.each(lines.chunks_mut(together * n * COLUMNS).enumerate(), |(job, lines)| {
        let first = job * together * COLUMNS;
        for (k, row) in x.chunks_exact(c_in).enumerate() {
            let row = &row[first..];
            for (panel, lines) in lines.chunks_exact_mut(n * COLUMNS).enumerate() {
                let line = &mut lines[k * COLUMNS..][..COLUMNS];
                match row[panel * COLUMNS..].first_chunk::<COLUMNS>() {
                    Some(whole) => line.copy_from_slice(whole),
                    None => {
                        let rest = &row[panel * COLUMNS..];
                        line[..rest.len()].copy_from_slice(rest);
                        line[rest.len()..].fill(0.0);
                    }
                }
            }
        }
    });
    let lines = &*lines;
    let mut units = shop.scratch(c_out * n)?;
    for (row, dy) in dy.chunks_exact(c_out).enumerate() {
        for (o, &dy) in dy.iter().enumerate() {
            units[o * n + row] = dy;
        }
    }
    let units = &*units;

    let job_units = c_out.div_ceil(4 * shop.threads.count()).next_multiple_of(ROWS);
    shop.threads.each(dweight.chunks_mut(job_units * c_in).enumerate(), |(job, dweight)| {
        let live = dweight.len() / c_in;
        for (at, lines) in lines.chunks(together * n * COLUMNS).enumerate() {
            let first = at * together * COLUMNS;
            for unit in (0..live).step_by(ROWS) {
                // The last tile reaches back over the one before it, rather than be small and slow.
                let unit = unit.min(live.saturating_sub(ROWS));
                let rows = std::array::from_fn(|r| (job * job_units + unit + r).min(c_out - 1) * n);
                let corner = Corner {
                    matrix: &mut dweight[unit * c_in + first..],
                    stride: c_in,
                    rows: ROWS.min(live - unit),
                    columns: c_in - first,
                };
                tiles(units, &rows, n, lines, corner);
            }
        }
    });
    Ok(())
}

/// `corner[r][16 p + j] = Σ_k units[rows[r] + k] · lines[p][k][j]`, for all panels that `lines` holds.
fn tiles(units: &[f32], rows: &[usize; ROWS], n: usize, lines: &[f32], corner: Corner<'_>) {
    let Corner { matrix, stride, rows: live, columns } = corner;
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if live == ROWS && super::simd::avx2() {
        let panels = (lines.len() / (n * COLUMNS)).min(columns / COLUMNS);
        let rows = rows.map(|row| units[row..][..n].as_ptr());
        assert!(panels == 0 || (ROWS - 1) * stride + panels * COLUMNS <= matrix.len());
        // SAFETY: sliced and asserted above; `lines` holds that many panels; the processor has the
        // instructions.
        unsafe { avx2::tiles(rows, n, lines.as_ptr(), panels, matrix.as_mut_ptr(), stride) };
        done = panels;
    }
    for (panel, lines) in lines.chunks_exact(n * COLUMNS).enumerate().skip(done) {
        let first = panel * COLUMNS;
        let columns = COLUMNS.min(columns - first);
        let corner = Corner { matrix: &mut matrix[first..], stride, rows: live, columns };
        let start = Start::Columns(&[0.0; COLUMNS]);
        tile::multiply(units, rows, Runs::one(n), lines, start, f32::NEG_INFINITY, corner);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{COLUMNS, ROWS};
    use std::arch::x86_64::*;

    /// # Safety
    /// Each row must hold `n` numbers, `lines` `panels` times `n` lines, `to` six rows of `panels` lines.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tiles(
        rows: [*const f32; ROWS],
        n: usize,
        mut lines: *const f32,
        panels: usize,
        to: *mut f32,
        stride: usize,
    ) {
        for panel in 0..panels {
            // SAFETY: the caller's promise covers every address.
            unsafe {
                let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
                for k in 0..n {
                    let (low, high) = (_mm256_loadu_ps(lines), _mm256_loadu_ps(lines.add(8)));
                    lines = lines.add(COLUMNS);
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let a = _mm256_broadcast_ss(&*row.add(k));
                        sums[0] = _mm256_fmadd_ps(a, low, sums[0]);
                        sums[1] = _mm256_fmadd_ps(a, high, sums[1]);
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    let to = to.add(r * stride + panel * COLUMNS);
                    _mm256_storeu_ps(to, sums[0]);
                    _mm256_storeu_ps(to.add(8), sums[1]);
                }
            }
        }
    }
}
