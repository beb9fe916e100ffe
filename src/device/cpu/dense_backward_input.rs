//! The dense layer's gradient with respect to its input: products of rows of `dy` with rows of the
//! weight.

use super::simd::widest;
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs of a job.
const INPUTS: usize = 128;
/// Sums of a product that are taken side by side.
const LANES: usize = 8;

/// `dx[n,i] = Σ_o dy[n,o] · weight[i,o]`.
pub fn dense_backward_input(
    shop: &Workshop,
    geometry: Dense,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
) -> Result<()> {
    let Dense { n, c_in, c_out } = geometry;
    if dx.is_empty() || c_out == 0 {
        dx.fill(0.0);
        return Ok(());
    }
    // Column by column first: a job owns its columns, and in `dx` those lie apart.
    let mut columns = shop.scratch(c_in * n)?;
    let jobs = columns.chunks_mut(INPUTS * n).zip(weight.chunks(INPUTS * c_out));
    shop.threads.each(jobs, |(columns, weight)| {
        for (column, weight) in columns.chunks_exact_mut(n).zip(weight.chunks_exact(c_out)) {
            products(dy, weight, column);
        }
    });
    for (k, row) in dx.chunks_exact_mut(c_in).enumerate() {
        for (dx, column) in row.iter_mut().zip(columns.chunks_exact(n)) {
            *dx = column[k];
        }
    }
    Ok(())
}

widest! {
    /// `to[k] = Σ_o rows[k,o] · weight[o]`.
    fn products(rows: &[f32], weight: &[f32], to: &mut [f32]) {
        let even = weight.len() / LANES * LANES;
        for (row, to) in rows.chunks_exact(weight.len()).zip(to) {
            let mut lanes = [0.0f32; LANES];
            for (a, b) in row.chunks_exact(LANES).zip(weight.chunks_exact(LANES)) {
                for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += a * b;
                }
            }
            let rest: f32 = row[even..].iter().zip(&weight[even..]).map(|(a, b)| a * b).sum();
            *to = lanes.iter().sum::<f32>() + rest;
        }
    }
}
