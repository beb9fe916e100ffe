//! The convolution itself.

use super::conv2d_direct::{Direct, Panels};
use super::conv2d_winograd::{self, Points, Winograd};
use super::memory::Memory;
use super::threads::Threads;
use super::tile::COLUMNS;
use crate::error::Result;
use crate::shape::Conv2d;
use std::sync::Arc;

/// `y[n,i,j,o] = f(bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c])`.
pub fn conv2d_forward(
    (threads, memory): (&Threads, &Arc<Memory>),
    geometry: Conv2d,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    relu: bool,
    y: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = geometry;
    if conv2d_winograd::pays(&geometry) {
        let points = Points::transform((threads, memory), (c_in, c_out), |c, outputs, taps| {
            for (column, o) in outputs.enumerate() {
                for (tap, line) in taps.iter_mut().enumerate() {
                    line[column] = weight[(o * 9 + tap) * c_in + c];
                }
            }
        })?;
        let winograd = Winograd { geometry, x, points: &points, bias: Some(bias), relu };
        return winograd.run((threads, memory), y);
    }
    let panels = Panels::pack(threads, memory, (c_in, c_out), |panel, block, outs| {
        for (column, o) in (0..COLUMNS).zip(outs.start..) {
            let mut at = column;
            for tap in 0..9 {
                if o < outs.end {
                    for &w in &weight[(o * 9 + tap) * c_in..][block.clone()] {
                        panel[at] = w;
                        at += COLUMNS;
                    }
                } else {
                    for _ in block.clone() {
                        panel[at] = 0.0;
                        at += COLUMNS;
                    }
                }
            }
        }
    })?;
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    Direct { geometry, x, panels: &panels, bias: Some(bias), floor }.run(threads, memory, y)
}
