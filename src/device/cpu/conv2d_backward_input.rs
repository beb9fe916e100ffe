//! The convolution's gradient with respect to its input: a correlation with the flipped weights,
//! from the output's channels to the input's.

use super::conv2d_direct::{self, Direct};
use super::panels::Panels;
use super::relu::relu_backward;
use super::tile::COLUMNS;
use super::winograd::{Correlation, Output, Size, Weights};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;
use std::ops::Range;

/// `dx[n,i,j,c] = Σ_{a,b,o} dy[n,i-a+1,j-b+1,o] · weight[o,a,b,c]` where `mask` is above 0, else 0.
pub fn conv2d_backward_input(
    shop: &Workshop,
    geometry: Conv2d,
    dy: &[f32],
    weight: &[f32],
    mask: Option<&[f32]>,
    dx: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = geometry;
    let turned = Conv2d { c_in: c_out, c_out: c_in, ..geometry };
    // The weights of input channels `inputs` at the turned window position `tap`.
    let line = |o: usize, tap: usize, inputs: Range<usize>| &weight[(o * 9 + 8 - tap) * c_in..][inputs];
    if let Some(size) = Size::of(&turned) {
        let weights = Weights::transform(shop, size, (c_out, c_in), |outputs, inputs, taps| {
            for (o, taps) in outputs.zip(taps) {
                for (tap, to) in taps.iter_mut().enumerate() {
                    to.copy_from_slice(line(o, tap, inputs.clone()));
                }
            }
        })?;
        let output = mask.map_or(Output::Plain, Output::Masked);
        return Correlation { geometry: turned, x: dy, weights: &weights, output }.run(shop, dx);
    }
    let blocks = conv2d_direct::blocks(c_out);
    let panels = Panels::pack(shop, blocks, (c_out, c_in), 9, |panel, block, inputs| {
        let lines = (0..9).flat_map(|tap| block.clone().map(move |o| (tap, o)));
        for (to, (tap, o)) in panel.chunks_exact_mut(COLUMNS).zip(lines) {
            to[..inputs.len()].copy_from_slice(line(o, tap, inputs.clone()));
            to[inputs.len()..].fill(0.0);
        }
    })?;
    Direct { geometry: turned, x: dy, panels: &panels, bias: None, relu: false }.run(shop, dx)?;
    if let Some(mask) = mask {
        relu_backward(shop, mask, dx);
    }
    Ok(())
}
