//! The dense layer's gradient with respect to its weight: sums over the batch, which is short, into a
//! matrix that is larger than the caches and is written once.

use super::memory::Memory;
use super::threads::Threads;
use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use crate::device::Dtype;
use crate::error::Result;
use crate::shape::Dense;
use std::sync::Arc;

/// Numbers of `x` that stay in the first cache while the units pass.
const NUMBERS: usize = 5120;

/// `dweight[o,i] = Σ_n dy[n,o] · x[n,i]`.
pub fn dense_backward_weight(
    (threads, memory): (&Threads, &Arc<Memory>),
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
    let mut lines = Memory::take(memory, Dtype::F32, panels * n * COLUMNS)?;
    let lines: &mut [f32] = bytemuck::cast_slice_mut(lines.bytes_mut());
    let together = (NUMBERS / (n * COLUMNS)).max(1);
    threads.each(lines.chunks_mut(together * n * COLUMNS).enumerate(), |(job, lines)| {
        for (panel, lines) in lines.chunks_exact_mut(n * COLUMNS).enumerate() {
            let first = (job * together + panel) * COLUMNS;
            let columns = COLUMNS.min(c_in - first);
            for (line, row) in lines.chunks_exact_mut(COLUMNS).zip(x.chunks_exact(c_in)) {
                line[..columns].copy_from_slice(&row[first..][..columns]);
                line[columns..].fill(0.0);
            }
        }
    });
    let lines = &*lines;
    let mut units = Memory::take(memory, Dtype::F32, c_out * n)?;
    let units: &mut [f32] = bytemuck::cast_slice_mut(units.bytes_mut());
    for (row, dy) in dy.chunks_exact(c_out).enumerate() {
        for (o, &dy) in dy.iter().enumerate() {
            units[o * n + row] = dy;
        }
    }
    let units = &*units;

    let job_units = c_out.div_ceil(4 * threads.count()).next_multiple_of(ROWS);
    threads.each(dweight.chunks_mut(job_units * c_in).enumerate(), |(job, dweight)| {
        let live = dweight.len() / c_in;
        for (at, lines) in lines.chunks(together * n * COLUMNS).enumerate() {
            for unit in (0..live).step_by(ROWS) {
                let rows = std::array::from_fn(|r| (job * job_units + unit + r).min(c_out - 1) * n);
                for (panel, lines) in lines.chunks_exact(n * COLUMNS).enumerate() {
                    let first = (at * together + panel) * COLUMNS;
                    let corner = Corner {
                        matrix: &mut dweight[unit * c_in + first..],
                        stride: c_in,
                        rows: ROWS.min(live - unit),
                        columns: COLUMNS.min(c_in - first),
                    };
                    let start = Start::Columns(&[0.0; COLUMNS]);
                    tile::multiply(units, &rows, Runs::one(n), lines, start, f32::NEG_INFINITY, corner);
                }
            }
        }
    });
    Ok(())
}
