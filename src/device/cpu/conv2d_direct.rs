//! A 3x3 correlation as a product without im2col, shared by forward and backward-input.
//!
//! In: a map `[n, h, w, c_in]`, packed weights, a bias. Out: a map `[n, h, w, c_out]`. A job is a range
//! of output pixels. It copies the pixels under its windows into a small map with zeros around; there
//! the three taps of a window row lie side by side, so a window is three runs of `3 c` numbers and the
//! tile reads it in place. Input channels come in blocks, so that a panel of weights stays in L1
//! while the job's pixels pass it.

use super::panels::{self, Panels};
use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;
use std::ops::Range;

/// Input channels of a block, about: a panel of 9 · 32 · 16 numbers takes 18 kB of a 32 kB first cache.
const BLOCK: usize = 32;
/// Output pixels of a job, at least (if there are as many per thread): each job reads all weights.
const PIXELS: usize = 192;
/// Output pixels of a job, at most, so that its pixels stay in the second cache.
const PIXELS_MOST: usize = 960;

/// The blocks of input channels.
pub fn blocks(channels: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    panels::blocks(channels, ((channels + BLOCK / 2) / BLOCK).max(1))
}

/// What is computed: `y = f(bias + x * weights)`, `f` = ReLU or nothing.
pub struct Direct<'a> {
    pub geometry: Conv2d,
    pub x: &'a [f32],
    /// Nine lines per input channel, by window position: `[a, b, c]`.
    pub panels: &'a Panels,
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

impl Direct<'_> {
    pub fn run(&self, shop: &Workshop, y: &mut [f32]) -> Result<()> {
        let Conv2d { n, h, w, c_in, c_out } = self.geometry;
        if y.is_empty() {
            return Ok(());
        }
        let pixels = job_pixels(n * h * w, w, shop.threads.count());
        let widest = blocks(c_in).map(|block| block.len()).max().unwrap_or(0);
        // A range of pixels touches at most this many rows, and each image adds two of zeros.
        let rows = (pixels - 1).div_ceil(w) + 1;
        let rows = rows + 2 * (rows.div_ceil(h) + 1);
        let jobs = y.chunks_mut(pixels * c_out).enumerate();
        let mut desks = shop.desks(jobs.len(), rows * (w + 2) * widest)?;
        shop.threads.each_at(&mut desks, jobs, |desk, (job, y)| self.job(desk, job * pixels, y));
        Ok(())
    }

    /// Computes the pixels from `first` that fill `y`.
    fn job(&self, desk: &mut [f32], first: usize, y: &mut [f32]) {
        let Conv2d { h, w, c_in, c_out, .. } = self.geometry;
        let pixels = y.len() / c_out;
        // Padded rows: image p has h + 2, its row i is number (h + 2) p + i + 1.
        let top = |row: usize| row / h * (h + 2) + row % h;
        let first_row = top(first / w);
        let padded = first_row..top((first + pixels - 1) / w) + 3;
        let columns = c_out.div_ceil(COLUMNS);
        let mut weights = self.panels.numbers();
        for block in blocks(c_in) {
            let c = block.len();
            let map = &mut desk[..padded.len() * (w + 2) * c];
            self.copy(map, padded.clone(), block.clone());
            let runs = Runs { count: 3, len: 3 * c, stride: (w + 2) * c, panel_stride: 3 * c * COLUMNS };
            let floor = if self.relu && block.end == c_in { 0.0 } else { f32::NEG_INFINITY };
            for column in 0..columns {
                let (panel, rest) = weights.split_at(9 * c * COLUMNS);
                weights = rest;
                let live = COLUMNS.min(c_out - column * COLUMNS);
                let mut bias = [0.0; COLUMNS];
                if let Some(all) = self.bias {
                    bias[..live].copy_from_slice(&all[column * COLUMNS..][..live]);
                }
                let start = if block.start == 0 { Start::Columns(&bias) } else { Start::Output };
                for tile in (0..pixels).step_by(ROWS) {
                    let rows = std::array::from_fn(|r| {
                        let pixel = first + (tile + r).min(pixels - 1);
                        ((top(pixel / w) - first_row) * (w + 2) + pixel % w) * c
                    });
                    let corner = Corner {
                        matrix: &mut y[tile * c_out + column * COLUMNS..],
                        stride: c_out,
                        rows: ROWS.min(pixels - tile),
                        columns: live,
                    };
                    tile::multiply(map, &rows, runs, panel, start, floor, corner);
                }
            }
        }
    }

    /// Copies the channels `block` of padded rows.
    fn copy(&self, map: &mut [f32], padded: Range<usize>, block: Range<usize>) {
        let Conv2d { h, w, c_in, .. } = self.geometry;
        let c = block.len();
        if c == 0 {
            return;
        }
        for (to, row) in map.chunks_exact_mut((w + 2) * c).zip(padded) {
            let (image, i) = (row / (h + 2), row % (h + 2));
            if i == 0 || i == h + 1 {
                to.fill(0.0);
                continue;
            }
            to[..c].fill(0.0);
            to[(w + 1) * c..].fill(0.0);
            let from = &self.x[(image * h + i - 1) * w * c_in..][..w * c_in];
            for (to, from) in to[c..].chunks_exact_mut(c).zip(from.chunks_exact(c_in)) {
                to.copy_from_slice(&from[block.clone()]);
            }
        }
    }
}

/// How many pixels a job computes: enough to pay for reading the weights and for the rows above and
/// below, and so few that every thread has several jobs, in equal numbers.
fn job_pixels(all: usize, w: usize, threads: usize) -> usize {
    let wished = (4 * w).clamp(PIXELS, PIXELS_MOST);
    let jobs = all.div_ceil(wished).next_multiple_of(threads);
    all.div_ceil(jobs).next_multiple_of(ROWS)
}
