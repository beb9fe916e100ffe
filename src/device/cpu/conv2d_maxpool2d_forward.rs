//! The convolution, ReLU and the pool after it: `y = max over 2x2 of ReLU(bias + x * weight)`.

use super::conv2d_forward::{conv2d_forward, transformed};
use super::kept::Kept;
use super::maxpool2d::maxpool2d_forward;
use super::winograd::{Correlation, Output, Size};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;

/// `y[n,i,j,o] = max z[n,2i+a,2j+b,o]`, `z` the rectified convolution. Where nobody asks for winners and tiles
/// are even, `z` never leaves the processor; else it lives in scratch memory.
pub fn conv2d_maxpool2d_forward(
    shop: &Workshop,
    geometry: Conv2d,
    x: &[f32],
    weight: (&[f32], &Kept),
    bias: &[f32],
    y: &mut [f32],
    winner: Option<&mut [u8]>,
) -> Result<()> {
    if winner.is_none()
        && let Some(size) = Size::of(&geometry).filter(|size| size.pools())
    {
        let weights = transformed(shop, geometry, size, weight)?;
        return Correlation { geometry, x, weights: &weights, output: Output::Pooled { bias } }.run(shop, y);
    }
    let mut z = shop.scratch(geometry.y().len())?;
    conv2d_forward(shop, geometry, x, weight, (bias, true), &mut z)?;
    maxpool2d_forward(shop, geometry.pool(), &z, y, winner);
    Ok(())
}
