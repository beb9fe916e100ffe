//! A dense layer: rows of the weight, each times one input, added up.
//!
//! The weight is larger than the caches and is read once, from front to back. Inputs are cut into
//! chunks whose sums are taken apart and then added in order; sizes alone decide where the cuts are.

use super::relu::rectify;
use super::sparse::{Term, add_rows, terms};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs of a chunk.
const INPUTS: usize = 512;
/// Inputs whose rows of the weight stay in the first cache while the batch passes.
const BLOCK: usize = 16;

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
    let jobs = parts.chunks_mut(n * c_out).zip(weight.chunks(INPUTS * c_out)).enumerate();
    shop.threads.each(jobs, |(job, (sums, weight))| {
        sums.fill(0.0);
        let mut list = [Term::default(); BLOCK];
        for (block, weight) in weight.chunks(BLOCK * c_out).enumerate() {
            let first = job * INPUTS + block * BLOCK;
            let inputs = weight.len() / c_out;
            for (sums, row) in sums.chunks_exact_mut(c_out).zip(x.chunks_exact(c_in)) {
                let count = terms(&row[first..first + inputs], &mut list);
                add_rows(&list[..count], weight, sums);
            }
        }
    });
    for row in y.chunks_exact_mut(c_out) {
        row.copy_from_slice(bias);
    }
    for part in parts.chunks_exact(n * c_out) {
        for (y, part) in y.iter_mut().zip(part) {
            *y += part;
        }
    }
    if relu {
        y.iter_mut().for_each(|y| *y = rectify(*y));
    }
    Ok(())
}
