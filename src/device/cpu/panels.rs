//! Weights of a convolution in the order in which tiles read them.
//!
//! For each block of input channels and each sixteen outputs, a panel: some lines of sixteen numbers per
//! input channel, laid out by the caller.

use super::tile::COLUMNS;
use super::workshop::{Scratch, Workshop};
use crate::error::Result;
use std::ops::Range;

/// All panels, one after the other.
pub struct Panels(Scratch);

impl Panels {
    /// Lets `fill` write every panel of `lines` lines per input channel, given the block's channels and
    /// the panel's outputs.
    pub fn pack(
        shop: &Workshop,
        blocks: impl Iterator<Item = Range<usize>>,
        (c_in, c_out): (usize, usize),
        lines: usize,
        fill: impl Fn(&mut [f32], Range<usize>, Range<usize>) + Sync,
    ) -> Result<Self> {
        let panels = c_out.div_ceil(COLUMNS);
        let mut all = shop.scratch(lines * c_in * panels * COLUMNS)?;
        let mut jobs = Vec::new();
        let mut rest: &mut [f32] = &mut all;
        for block in blocks {
            for first in (0..c_out).step_by(COLUMNS) {
                let (panel, tail) = rest.split_at_mut(lines * block.len() * COLUMNS);
                jobs.push((panel, block.clone(), first..c_out.min(first + COLUMNS)));
                rest = tail;
            }
        }
        shop.threads.each(jobs.into_iter(), |(panel, block, outputs)| fill(panel, block, outputs));
        Ok(Self(all))
    }

    /// The numbers, in the order of blocks and outputs.
    pub fn numbers(&self) -> &[f32] {
        &self.0
    }
}

/// Cuts `channels` into `count` blocks, about equally long.
pub fn blocks(channels: usize, count: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..count).map(move |i| i * channels / count..(i + 1) * channels / count)
}
