//! The dense layer's gradient with respect to its input.

use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::workshop::Workshop;
use crate::shape::Dense;

/// Units that pass over `dx` at once: as many rows of the weight are read side by side, in place.
const UNITS: usize = 16;

/// `dx[n,i] = Σ_o dy[n,o] · weight[o,i]`. A job is six rows of the batch.
pub fn dense_backward_input(shop: &Workshop, geometry: Dense, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let Dense { n, c_in, c_out } = geometry;
    if dx.is_empty() {
        return;
    }
    shop.threads.each(dx.chunks_mut(ROWS * c_in).enumerate(), |(job, dx)| {
        let first = job * ROWS;
        let mut start = Start::Columns(&[0.0; COLUMNS]);
        for unit in (0..c_out).step_by(UNITS) {
            let units = UNITS.min(c_out - unit);
            let rows = std::array::from_fn(|r| (first + r).min(n - 1) * c_out + unit);
            for column in (0..c_in).step_by(COLUMNS) {
                let columns = COLUMNS.min(c_in - column);
                let corner =
                    Corner { matrix: &mut dx[column..], stride: c_in, rows: ROWS.min(n - first), columns };
                let from = unit * c_in + column;
                if columns == COLUMNS {
                    let runs = Runs { count: units, len: 1, stride: 1, panel_stride: c_in };
                    tile::multiply(dy, &rows, runs, &weight[from..], start, f32::NEG_INFINITY, corner);
                } else {
                    let mut panel = [0.0; UNITS * COLUMNS];
                    for (line, weight) in
                        panel.chunks_exact_mut(COLUMNS).zip(weight[from..].chunks(c_in)).take(units)
                    {
                        line[..columns].copy_from_slice(&weight[..columns]);
                    }
                    tile::multiply(dy, &rows, Runs::one(units), &panel, start, f32::NEG_INFINITY, corner);
                }
            }
            start = Start::Output;
        }
        if c_out == 0 {
            dx.fill(0.0);
        }
    });
}
