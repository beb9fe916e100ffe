//! A dense layer: rows of the weight, each times one input, added up.
//!
//! The weight is larger than the caches and is read once, from front to back. An input that is zero
//! adds nothing and is left out: after ReLU and pooling most are (VGG16's features of photographs: 71
//! to 84 of 100). Inputs are cut into chunks whose sums are taken apart and then added in order; the
//! geometry alone decides where the cuts are.

use super::relu::rectify;
use super::simd::widest;
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs of a chunk.
const INPUTS: usize = 512;

/// `y[n,o] = f(bias[o] + Σ_i x[n,i] · weight[i,o])`.
pub fn dense_forward(
    shop: &Workshop,
    geometry: Dense,
    x: &[f32],
    weight: &[f32],
    (bias, relu): (&[f32], bool),
    y: &mut [f32],
) -> Result<()> {
    let Dense { n, c_in, c_out } = geometry;
    if y.is_empty() {
        return Ok(());
    }
    let mut parts = shop.scratch(c_in.div_ceil(INPUTS) * n * c_out)?;
    let mut desks = shop.desks(INPUTS * n)?;
    let jobs = parts.chunks_mut(n * c_out).zip(weight.chunks(INPUTS * c_out)).enumerate();
    shop.threads.each_at(&mut desks, jobs, |columns, (job, (sums, weight))| {
        gather_columns(x, geometry, job * INPUTS, columns);
        sums.fill(0.0);
        for (weight, column) in weight.chunks_exact(c_out).zip(columns.chunks_exact(n)) {
            for (sums, &x) in sums.chunks_exact_mut(c_out).zip(column) {
                if x != 0.0 {
                    add_scaled(x, weight, sums);
                }
            }
        }
    });
    for row in y.chunks_exact_mut(c_out) {
        row.copy_from_slice(bias);
    }
    for part in parts.chunks_exact(n * c_out) {
        add_scaled(1.0, part, y);
    }
    if relu {
        y.iter_mut().for_each(|y| *y = rectify(*y));
    }
    Ok(())
}

/// The columns of `x` from `first` on, as many as `to` has room for, each with its rows side by side.
pub fn gather_columns(x: &[f32], geometry: Dense, first: usize, to: &mut [f32]) {
    let Dense { n, c_in, .. } = geometry;
    for (k, row) in x.chunks_exact(c_in).enumerate() {
        for (column, &x) in to.chunks_exact_mut(n).zip(&row[first..]) {
            column[k] = x;
        }
    }
}

widest! {
    /// `sums[o] = sums[o] + scale · row[o]`.
    pub fn add_scaled(scale: f32, row: &[f32], sums: &mut [f32]) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += scale * x;
        }
    }
}
