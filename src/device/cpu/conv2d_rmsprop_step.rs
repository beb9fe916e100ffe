//! The convolution's gradient with respect to its weight, used by RMSprop and not kept: the whole gradient in scratch
//! memory, which the next call takes over, then the step. Winograd's transform leaves no filter's sum before the last.

use super::conv2d_backward_weight::conv2d_backward_weight;
use super::rmsprop_step::rmsprop_step;
use super::tensors::Part;
use super::workshop::Workshop;
use crate::device::call::{Adjust, Rmsprop};
use crate::error::Result;
use crate::shape::Conv2d;

/// `g = Σ dy · x` as [`conv2d_backward_weight`] has it, then `v = rho·v + (1-rho)·g²; w = w - rate·g / sqrt(v +
/// epsilon)`.
pub fn conv2d_rmsprop_step(
    shop: &Workshop,
    geometry: Conv2d,
    rule: Rmsprop,
    (x, dy): (&[f32], &[f32]),
    velocity: &mut [f32],
    weight: &mut [f32],
) -> Result<()> {
    let mut gradient = shop.scratch(weight.len())?;
    conv2d_backward_weight(shop, geometry, x, dy, &mut gradient)?;
    let tensor = Part { gradient: &gradient, weight, velocity, momentum: &mut [], mean: &mut [] };
    rmsprop_step(shop, rule, Adjust::NONE, vec![tensor]);
    Ok(())
}
