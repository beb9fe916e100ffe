//! The dense layer's gradient with respect to its input.

use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::workshop::Workshop;
use crate::shape::Dense;

/// Units that pass over `dx` at once: as many rows of the weight are read side by side, in place.
const UNITS: usize = 16;
/// Products below which a second thread costs more than it brings.
const SMALL: usize = 1 << 18;

/// `dx[n,i] = Σ_o dy[n,o] · weight[o,i]`.
pub fn dense_backward_input(shop: &Workshop, geometry: Dense, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let Dense { n, c_in, c_out } = geometry;
    if c_out == 0 || dx.is_empty() {
        return dx.fill(0.0);
    }
    let rows = if n * c_in * c_out < SMALL { n } else { ROWS };
    let jobs = dx.chunks_mut(rows * c_in).zip(dy.chunks(rows * c_out));
    shop.threads.each(jobs, |(dx, dy)| {
        for (dx, dy) in dx.chunks_mut(ROWS * c_in).zip(dy.chunks(ROWS * c_out)) {
            six_rows(geometry, dy, weight, dx);
        }
    });
}

/// Up to six rows of the batch.
fn six_rows(geometry: Dense, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let Dense { c_in, c_out, .. } = geometry;
    let live = dx.len() / c_in;
    for unit in (0..c_out).step_by(UNITS) {
        let units = UNITS.min(c_out - unit);
        let rows = std::array::from_fn(|r| r.min(live - 1) * c_out + unit);
        let start = if unit == 0 { Start::Columns(&[0.0; COLUMNS]) } else { Start::Output };
        for column in (0..c_in).step_by(COLUMNS) {
            let columns = COLUMNS.min(c_in - column);
            let corner = Corner { matrix: &mut dx[column..], stride: c_in, rows: live, columns };
            let weight = &weight[unit * c_in + column..];
            if columns == COLUMNS {
                let runs = Runs { count: units, len: 1, stride: 1, panel_stride: c_in };
                tile::multiply(dy, &rows, runs, weight, start, f32::NEG_INFINITY, corner);
            } else {
                // The last columns: a copy, because lines of sixteen would run into the next row.
                let mut panel = [0.0; UNITS * COLUMNS];
                for (line, weight) in panel.chunks_exact_mut(COLUMNS).zip(weight.chunks(c_in)).take(units) {
                    line[..columns].copy_from_slice(&weight[..columns]);
                }
                tile::multiply(dy, &rows, Runs::one(units), &panel, start, f32::NEG_INFINITY, corner);
            }
        }
    }
}
