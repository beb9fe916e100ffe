//! A dense layer's weight gradient and its RMSprop step in one pass: the gradient of one input's row
//! stays in L1, so the weight and its mean square are the whole traffic, and both
//! are walked from front to back.

use super::dense_backward_weight::{INPUTS, desks};
use super::rmsprop_step;
use super::sparse::add_rows;
use super::workshop::Workshop;
use crate::device::call::Rmsprop;
use crate::error::Result;
use crate::shape::Dense;

/// `g[i,o] = Σ_n x[n,i] · dy[n,o]; v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v + epsilon)`.
pub fn dense_rmsprop_step(
    shop: &Workshop,
    geometry: Dense,
    rule: Rmsprop,
    (x, dy): (&[f32], &[f32]),
    velocity: &mut [f32],
    weight: &mut [f32],
) -> Result<()> {
    let Dense { n, c_out, .. } = geometry;
    if weight.is_empty() {
        return Ok(());
    }
    if n == 0 {
        // The gradient is zero, and the step one of it.
        rmsprop_step::rest(rule, velocity);
        return Ok(());
    }
    let jobs = velocity.chunks_mut(INPUTS * c_out).zip(weight.chunks_mut(INPUTS * c_out)).enumerate();
    let desks = desks(shop, jobs.len(), n)?;
    let mut desks: Vec<_> = desks.into_iter().map(|columns| (columns, vec![0.0; c_out])).collect();
    shop.threads.each_at(&mut desks, jobs, |(columns, gradient), (job, (velocity, weight))| {
        columns.read(x, geometry, job * INPUTS);
        let rows = velocity.chunks_exact_mut(c_out).zip(weight.chunks_exact_mut(c_out));
        for (i, (velocity, weight)) in rows.enumerate() {
            if columns.of(i).is_empty() {
                // No sample had this input (a fifth of VGG16's features in a batch of 20): the gradient is
                // zero, the weight stays, and reading it is saved.
                rmsprop_step::rest(rule, velocity);
                continue;
            }
            gradient.fill(0.0);
            add_rows(columns.of(i), dy, gradient);
            rmsprop_step::chunk(rule, gradient, velocity, weight);
        }
    });
    Ok(())
}
