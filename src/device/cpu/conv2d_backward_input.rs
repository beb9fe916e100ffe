//! The convolution's gradient with respect to its input: a correlation with the weights turned by half
//! a turn, from the output's channels to the input's.

use super::conv2d_direct::{Direct, Panels};
use super::conv2d_winograd::{self, Points, Winograd};
use super::memory::Memory;
use super::threads::Threads;
use super::tile::COLUMNS;
use crate::error::Result;
use crate::shape::Conv2d;
use std::sync::Arc;

/// `dx[n,i,j,c] = Σ_{a,b,o} dy[n,i-a+1,j-b+1,o] · weight[o,a,b,c]`.
pub fn conv2d_backward_input(
    (threads, memory): (&Threads, &Arc<Memory>),
    geometry: Conv2d,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = geometry;
    let turned = Conv2d { c_in: c_out, c_out: c_in, ..geometry };
    if conv2d_winograd::pays(&turned) {
        let points = Points::transform((threads, memory), (c_out, c_in), |o, outputs, taps| {
            for (tap, line) in taps.iter_mut().enumerate() {
                let weight = &weight[(o * 9 + 8 - tap) * c_in..][outputs.clone()];
                line[..weight.len()].copy_from_slice(weight);
            }
        })?;
        let winograd = Winograd { geometry: turned, x: dy, points: &points, bias: None, relu: false };
        return winograd.run((threads, memory), dx);
    }
    let panels = Panels::pack(threads, memory, (c_out, c_in), |panel, block, outs| {
        let lines = (0..9).flat_map(|tap| block.clone().map(move |o| (tap, o)));
        for (line, (tap, o)) in panel.chunks_exact_mut(COLUMNS).zip(lines) {
            line[..outs.len()].copy_from_slice(&weight[(o * 9 + 8 - tap) * c_in..][outs.clone()]);
            line[outs.len()..].fill(0.0);
        }
    })?;
    let floor = f32::NEG_INFINITY;
    Direct { geometry: turned, x: dy, panels: &panels, bias: None, floor }.run(threads, memory, dx)
}
