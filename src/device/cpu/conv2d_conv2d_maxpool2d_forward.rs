//! Two convolutions with ReLU and the pool after them, the map between them in scratch memory.

use super::conv2d_forward::conv2d_forward;
use super::conv2d_maxpool2d_forward::conv2d_maxpool2d_forward;
use super::kept::Kept;
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;

/// A weight with what is kept of it, and a bias.
type Parameters<'a> = ((&'a [f32], &'a Kept), &'a [f32]);

/// `y = max over 2x2 of ReLU(bias + z * weight)`, `z = ReLU(bias + x * weight)` of the first.
pub fn conv2d_conv2d_maxpool2d_forward(
    shop: &Workshop,
    [first, second]: [Conv2d; 2],
    x: &[f32],
    [(weight, bias), (second_weight, second_bias)]: [Parameters<'_>; 2],
    y: &mut [f32],
) -> Result<()> {
    let mut z = shop.scratch(first.y().len())?;
    conv2d_forward(shop, first, x, weight, (bias, true), &mut z)?;
    conv2d_maxpool2d_forward(shop, second, &z, second_weight, second_bias, y, None)
}
