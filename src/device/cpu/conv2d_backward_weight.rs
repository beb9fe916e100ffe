//! The convolution's gradient with respect to its weight: through Winograd's transform where the channels allow,
//! else directly, as a product whose summed index is the pixel.
//!
//! Directly, a job owns some filters and walks over all pixels, in blocks and always in the same order. For a block
//! it lays out `dy` with the pixels of a filter side by side, and `x` with zeros around, 16 channels
//! a line; then a tap of the window is a shift of `x`, and a run is a row of the map.

use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::winograd::{self, Size};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;

/// Pixels of a block, about: with the pixels around them, 16 channels of `x` take some 15 kB, so that
/// they stay in the first cache while all taps and filters pass.
const PIXELS: usize = 176;
/// Filters of a job, about, before jobs are evened out over the threads: each lays out `x` for itself.
const FILTERS: usize = 8 * ROWS;

/// Some rows of some whole images.
#[derive(Clone, Copy)]
struct Block {
    image: usize,
    images: usize,
    row: usize,
    rows: usize,
}

impl Block {
    fn pixels(&self, w: usize) -> usize {
        self.images * self.rows * w
    }

    /// Lines of `x` for 16 channels, zeros around included.
    fn lines(&self, w: usize) -> usize {
        self.images * (self.rows + 2) * (w + 2)
    }
}

/// Cuts the batch: whole small images together, or rows of one.
fn blocks(geometry: &Conv2d) -> impl Iterator<Item = Block> + use<> {
    let Conv2d { n, h, w, .. } = *geometry;
    let images = (PIXELS / (h * w)).clamp(1, n);
    let parts = if images > 1 { 1 } else { (h * w).div_ceil(PIXELS).min(h) };
    let rows = h.div_ceil(parts);
    (0..n).step_by(images).flat_map(move |image| {
        (0..h).step_by(rows).map(move |row| Block {
            image,
            images: images.min(n - image),
            row,
            rows: rows.min(h - row),
        })
    })
}

/// `dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]`.
pub fn conv2d_backward_weight(
    shop: &Workshop,
    geometry: Conv2d,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    let Conv2d { n, h, w, c_in, c_out } = geometry;
    if n * h * w == 0 || dweight.is_empty() {
        dweight.fill(0.0);
        return Ok(());
    }
    if let Some(size) = Size::of(&geometry) {
        return winograd::gradient(shop, size, geometry, x, dy, dweight);
    }
    let filters = c_out.div_ceil(4 * shop.threads.count()).max(FILTERS).min(c_out);
    let jobs = c_out.div_ceil(filters).next_multiple_of(shop.threads.count());
    let filters = c_out.div_ceil(jobs).next_multiple_of(ROWS);
    // Blocks differ in size only at the edges; the first is the largest.
    let (pixels, lines) = blocks(&geometry).next().map_or((0, 0), |b| (b.pixels(w), b.lines(w)));
    let jobs = dweight.chunks_mut(filters * 9 * c_in).enumerate();
    let mut desks = shop.desks(jobs.len(), filters * pixels + lines * COLUMNS)?;
    shop.threads.each_at(&mut desks, jobs, |desk, (job, dweight)| {
        let (columns, lines) = desk.split_at_mut(filters * pixels);
        for (at, block) in blocks(&geometry).enumerate() {
            let (columns, fresh) = (&mut columns[..filters * block.pixels(w)], at == 0);
            lay_out_dy(&geometry, block, dy, job * filters, columns);
            for channel in (0..c_in).step_by(COLUMNS) {
                let lines = &mut lines[..block.lines(w) * COLUMNS];
                lay_out_x(&geometry, block, x, channel, lines);
                multiply(&geometry, block, columns, lines, fresh, channel, dweight);
            }
        }
    });
    Ok(())
}

/// `columns[o - first][i, image, j] = dy[image, i, j, o]`.
fn lay_out_dy(geometry: &Conv2d, block: Block, dy: &[f32], first: usize, columns: &mut [f32]) {
    let Conv2d { h, w, c_out, .. } = *geometry;
    let pixels = block.pixels(w);
    let filters = (columns.len() / pixels).min(c_out - first);
    let rows = (0..block.rows).flat_map(|i| (0..block.images).map(move |image| (image, i)));
    for (at, (image, i)) in (0..).step_by(w).zip(rows) {
        let from = ((block.image + image) * h + block.row + i) * w;
        for j in 0..w {
            let pixel = &dy[(from + j) * c_out + first..][..filters];
            for (o, &dy) in pixel.iter().enumerate() {
                columns[o * pixels + at + j] = dy;
            }
        }
    }
}

/// `lines[i + 1, image, j + 1][c - channel] = x[image, i, j, c]`, zero around the map. What stands
/// past the last channel does not matter: its sums are not kept.
fn lay_out_x(geometry: &Conv2d, block: Block, x: &[f32], channel: usize, lines: &mut [f32]) {
    let Conv2d { h, w, c_in, .. } = *geometry;
    let live = COLUMNS.min(c_in - channel);
    let rows = (0..block.rows + 2).flat_map(|i| (0..block.images).map(move |image| (image, i)));
    for (lines, (image, i)) in lines.chunks_exact_mut((w + 2) * COLUMNS).zip(rows) {
        let Some(i) = (block.row + i).checked_sub(1).filter(|&i| i < h) else {
            lines.fill(0.0);
            continue;
        };
        lines[..COLUMNS].fill(0.0);
        lines[(w + 1) * COLUMNS..].fill(0.0);
        let from = ((block.image + image) * h + i) * w * c_in + channel;
        for (j, line) in lines[COLUMNS..].chunks_exact_mut(COLUMNS).take(w).enumerate() {
            let pixel = &x[from + j * c_in..][..live];
            line[..live].copy_from_slice(pixel);
        }
    }
}

/// Adds the block's share to sixteen channels of the job's filters, or begins them.
fn multiply(
    geometry: &Conv2d,
    block: Block,
    columns: &[f32],
    lines: &[f32],
    fresh: bool,
    channel: usize,
    dweight: &mut [f32],
) {
    let Conv2d { w, c_in, .. } = *geometry;
    let (pixels, filters) = (block.pixels(w), dweight.len() / (9 * c_in));
    let runs = Runs { count: block.rows * block.images, len: w, stride: w, panel_stride: (w + 2) * COLUMNS };
    for first in (0..filters).step_by(ROWS) {
        for tap in 0..9 {
            let shift = (tap / 3 * block.images * (w + 2) + tap % 3) * COLUMNS;
            let start = if fresh { Start::Columns(&[0.0; COLUMNS]) } else { Start::Output };
            let corner = Corner {
                matrix: &mut dweight[(first * 9 + tap) * c_in + channel..],
                stride: 9 * c_in,
                rows: ROWS.min(filters - first),
                columns: COLUMNS.min(c_in - channel),
            };
            let rows = std::array::from_fn(|r| (first + r) * pixels);
            tile::multiply(columns, &rows, runs, &lines[shift..], start, f32::NEG_INFINITY, corner);
        }
    }
}
