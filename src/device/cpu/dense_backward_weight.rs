//! The dense layer's gradient with respect to its weight: for each input, the rows of `dy` that saw
//! it, added up.

use super::dense_forward::{add_scaled, gather_columns};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs of a job; their columns take 40 kB at a batch of 20.
pub const INPUTS: usize = 512;

/// `dweight[i,o] = Σ_n x[n,i] · dy[n,o]`.
pub fn dense_backward_weight(
    shop: &Workshop,
    geometry: Dense,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    let Dense { n, c_out, .. } = geometry;
    if n == 0 || dweight.is_empty() {
        dweight.fill(0.0);
        return Ok(());
    }
    let mut desks = shop.desks(INPUTS * n)?;
    let jobs = dweight.chunks_mut(INPUTS * c_out).enumerate();
    shop.threads.each_at(&mut desks, jobs, |columns, (job, dweight)| {
        gather_columns(x, geometry, job * INPUTS, columns);
        for (sums, column) in dweight.chunks_exact_mut(c_out).zip(columns.chunks_exact(n)) {
            outer_sum(column, dy, sums);
        }
    });
    Ok(())
}

/// `sums[o] = Σ_n column[n] · dy[n,o]`, in the order of the batch, zeros left out.
pub fn outer_sum(column: &[f32], dy: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for (&x, dy) in column.iter().zip(dy.chunks_exact(sums.len())) {
        if x != 0.0 {
            add_scaled(x, dy, sums);
        }
    }
}
