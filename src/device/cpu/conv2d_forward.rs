//! The convolution itself: through Winograd's transform where the channels allow, else directly.

use super::conv2d_direct::{self, Direct};
use super::kept::Kept;
use super::panels::Panels;
use super::tile::COLUMNS;
use super::turn::turn;
use super::winograd::{Correlation, Output, Size, Weights};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;
use std::sync::Arc;

/// `y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])`, `f` = ReLU or nothing.
pub fn conv2d_forward(
    shop: &Workshop,
    geometry: Conv2d,
    x: &[f32],
    weight: (&[f32], &Kept),
    (bias, relu): (&[f32], bool),
    y: &mut [f32],
) -> Result<()> {
    match Size::of(&geometry) {
        Some(size) => {
            let weights = transformed(shop, geometry, size, weight)?;
            Correlation { geometry, x, weights: &weights, output: Output::Map { bias, relu } }.run(shop, y)
        }
        None => direct(shop, geometry, x, weight.0, (bias, relu), y),
    }
}

/// The weights' points, which are kept while the weights stay as they are.
pub fn transformed(
    shop: &Workshop,
    geometry: Conv2d,
    size: Size,
    (weight, kept): (&[f32], &Kept),
) -> Result<Arc<Weights>> {
    let Conv2d { c_in, c_out, .. } = geometry;
    kept.get(size, (c_in, c_out), || {
        Weights::transform(shop, size, (c_in, c_out), |channels, outputs, taps| {
            let to = taps.as_flattened_mut().as_flattened_mut();
            for tap in 0..9 {
                let from = &weight[(outputs.start * 9 + tap) * c_in + channels.start..];
                let shape = (outputs.len(), channels.len());
                turn(from, 9 * c_in, shape, &mut to[tap * COLUMNS..], 9 * COLUMNS);
            }
        })
    })
}

fn direct(
    shop: &Workshop,
    geometry: Conv2d,
    x: &[f32],
    weight: &[f32],
    (bias, relu): (&[f32], bool),
    y: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = geometry;
    let blocks = conv2d_direct::blocks(c_in);
    let panels = Panels::pack(shop, blocks, (c_in, c_out), 9, |panel, block, outputs| {
        let taps = (0..9).flat_map(|tap| block.clone().map(move |c| tap * c_in + c));
        for (line, at) in panel.chunks_exact_mut(COLUMNS).zip(taps) {
            line.fill(0.0);
            for (to, o) in line.iter_mut().zip(outputs.clone()) {
                *to = weight[o * 9 * c_in + at];
            }
        }
    })?;
    Direct { geometry, x, panels: &panels, bias: Some(bias), relu }.run(shop, y)
}
