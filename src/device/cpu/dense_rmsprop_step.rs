//! A dense layer's weight gradient and its RMSprop step in one pass: the gradient of one input's row
//! lives in the first cache only, so the weight and its mean square are the whole traffic, and both
//! are walked from front to back.

use super::dense_backward_weight::{INPUTS, outer_sum};
use super::dense_forward::gather_columns;
use super::rmsprop_step;
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
    if n == 0 || weight.is_empty() {
        return Ok(());
    }
    let mut desks = shop.desks(INPUTS * n + c_out)?;
    let jobs = velocity.chunks_mut(INPUTS * c_out).zip(weight.chunks_mut(INPUTS * c_out)).enumerate();
    shop.threads.each_at(&mut desks, jobs, |desk, (job, (velocity, weight))| {
        let (gradient, columns) = desk.split_at_mut(c_out);
        gather_columns(x, geometry, job * INPUTS, columns);
        let rows = velocity.chunks_exact_mut(c_out).zip(weight.chunks_exact_mut(c_out));
        for ((velocity, weight), column) in rows.zip(columns.chunks_exact(n)) {
            outer_sum(column, dy, gradient);
            rmsprop_step::chunk(rule, gradient, velocity, weight);
        }
    });
    Ok(())
}
