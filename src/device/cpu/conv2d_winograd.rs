//! A 3x3 correlation by Winograd's F(2x2, 3x3): 16 products where the definition has 36.
//!
//! In: a map `[n, h, w, c_in]`, transformed weights, a bias. Out: a map `[n, h, w, c_out]`. A tile of
//! 4x4 input pixels d makes 2x2 outputs, Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A; summed over channels, each of the 16
//! points is a matrix product of its own. A job is some rows of tiles: transform them, multiply point
//! by point, transform back. Source: Lavin and Gray, "Fast algorithms for convolutional neural
//! networks", CVPR 2016.
//!
//! All factors are 1, 1/2 and 1/4, so the error stays that of the direct sum, within a factor of two.

use super::panels::{self, Panels};
use super::relu::rectify;
use super::simd::widest;
use super::tile::{self, COLUMNS, Corner, ROWS, Runs, Start};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;
use std::ops::Range;

/// Points of a transformed tile.
const POINTS: usize = 16;
/// Channels that are transformed side by side.
const LANES: usize = 8;
/// Input channels of a panel, at most: 16 kB of the first cache.
const BLOCK: usize = 256;
/// Tiles of a job, about.
const TILES: usize = 96;

type Lanes = [f32; LANES];

/// Whether this way is open (the transforms take eight channels at a time) and pays: they cost as
/// much as some twenty channels' products.
pub fn pays(geometry: &Conv2d) -> bool {
    let Conv2d { c_in, c_out, .. } = *geometry;
    c_in.is_multiple_of(LANES) && c_out.is_multiple_of(LANES) && c_in >= 32 && c_out >= 32
}

/// The blocks of input channels.
fn blocks(channels: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    panels::blocks(channels, channels.div_ceil(BLOCK))
}

/// Transforms the weights; `window(c, outputs, taps)` writes the nine taps of up to sixteen outputs for
/// input channel `c`. A panel holds, for each point, a line per channel.
pub fn transform_weights(
    shop: &Workshop,
    (c_in, c_out): (usize, usize),
    window: impl Fn(usize, Range<usize>, &mut [[f32; COLUMNS]; 9]) + Sync,
) -> Result<Panels> {
    Panels::pack(shop, blocks(c_in), (c_in, c_out), POINTS, |panel, block, outputs| {
        let mut taps = [[0.0; COLUMNS]; 9];
        let len = block.len();
        for (k, c) in block.enumerate() {
            window(c, outputs.clone(), &mut taps);
            transform_windows(&taps, k, len, panel);
        }
    })
}

widest! {
    /// Writes G g Gᵀ to line `k` of each point's panel of `len` lines.
    fn transform_windows(taps: &[[f32; COLUMNS]; 9], k: usize, len: usize, points: &mut [f32]) {
        let mut half = [[0.0; COLUMNS]; 12]; // G g: 4 rows of 3
        for b in 0..3 {
            for j in 0..COLUMNS {
                let [g0, g1, g2] = [taps[b][j], taps[3 + b][j], taps[6 + b][j]];
                half[b][j] = g0;
                half[3 + b][j] = 0.5 * (g0 + g1 + g2);
                half[6 + b][j] = 0.5 * (g0 - g1 + g2);
                half[9 + b][j] = g2;
            }
        }
        for a in 0..4 {
            let mut row = [[0.0; COLUMNS]; 4];
            for j in 0..COLUMNS {
                let [g0, g1, g2] = [half[a * 3][j], half[a * 3 + 1][j], half[a * 3 + 2][j]];
                row[0][j] = g0;
                row[1][j] = 0.5 * (g0 + g1 + g2);
                row[2][j] = 0.5 * (g0 - g1 + g2);
                row[3][j] = g2;
            }
            for (b, row) in row.iter().enumerate() {
                points[((a * 4 + b) * len + k) * COLUMNS..][..COLUMNS].copy_from_slice(row);
            }
        }
    }
}

/// What is computed: `y = f(bias + x * weights)`.
pub struct Winograd<'a> {
    pub geometry: Conv2d,
    pub x: &'a [f32],
    /// From [`transform_weights`].
    pub panels: &'a Panels,
    pub bias: Option<&'a [f32]>,
    pub relu: bool,
}

impl Winograd<'_> {
    pub fn run(&self, shop: &Workshop, y: &mut [f32]) -> Result<()> {
        let Conv2d { n, h, w, c_in, c_out } = self.geometry;
        if y.is_empty() {
            return Ok(());
        }
        // Rows of tiles, in all pictures together.
        let all = n * h.div_ceil(2);
        let wide = w.div_ceil(2);
        let jobs = (all * wide).div_ceil(TILES).next_multiple_of(shop.threads.count());
        let rows = all.div_ceil(jobs);
        // For each thread `[point][tile][c_in]` and `[point][tile][c_out]`.
        let mut desks = shop.desks(POINTS * rows * wide * (c_in + c_out))?;
        let mut jobs = Vec::new();
        let mut rest = y;
        for first in (0..all).step_by(rows) {
            let rows = first..(first + rows).min(all);
            let pixels = (self.first_row(rows.end) - self.first_row(rows.start)) * w;
            let (part, tail) = rest.split_at_mut(pixels * c_out);
            jobs.push((rows, part));
            rest = tail;
        }
        shop.threads.each_at(&mut desks, jobs.into_iter(), |desk, (rows, y)| self.job(desk, rows, y));
        Ok(())
    }

    /// The output row (in all pictures together) that a row of tiles begins with.
    fn first_row(&self, tiles: usize) -> usize {
        let h = self.geometry.h;
        let high = h.div_ceil(2);
        tiles / high * h + tiles % high * 2
    }

    fn job(&self, desk: &mut [f32], rows: Range<usize>, y: &mut [f32]) {
        let Conv2d { w, c_in, c_out, .. } = self.geometry;
        let tiles = rows.len() * w.div_ceil(2);
        let (points, rest) = desk.split_at_mut(POINTS * tiles * c_in);
        let products = &mut rest[..POINTS * tiles * c_out];
        self.transform(rows.clone(), points);
        for point in 0..POINTS {
            let x = &points[point * tiles * c_in..][..tiles * c_in];
            self.multiply(point, x, &mut products[point * tiles * c_out..][..tiles * c_out]);
        }
        self.transform_back(rows, products, y);
    }

    /// Bᵀ d B of every tile.
    fn transform(&self, rows: Range<usize>, points: &mut [f32]) {
        let Conv2d { h, w, c_in, .. } = self.geometry;
        let high = h.div_ceil(2);
        let zeros = vec![0.0; c_in];
        let tiles = rows.clone().flat_map(|row| (0..w.div_ceil(2)).map(move |j| (row, j)));
        for (tile, (row, j)) in tiles.enumerate() {
            let (picture, i) = (row / high, row % high);
            let pixels: [&[f32]; POINTS] = std::array::from_fn(|at| {
                let (u, v) = (2 * i + at / 4, 2 * j + at % 4);
                if (1..=h).contains(&u) && (1..=w).contains(&v) {
                    &self.x[((picture * h + u - 1) * w + v - 1) * c_in..][..c_in]
                } else {
                    &zeros
                }
            });
            transform_tile(&pixels, tile * c_in, points);
        }
    }

    /// One point's product.
    fn multiply(&self, point: usize, x: &[f32], y: &mut [f32]) {
        let Conv2d { c_in, c_out, .. } = self.geometry;
        let tiles = x.len() / c_in;
        let mut weights = self.panels.numbers();
        for block in blocks(c_in) {
            let len = block.len() * COLUMNS;
            let start = if block.start == 0 { Start::Columns(&[0.0; COLUMNS]) } else { Start::Output };
            for column in (0..c_out).step_by(COLUMNS) {
                let (panels, rest) = weights.split_at(POINTS * len);
                weights = rest;
                let panel = &panels[point * len..][..len];
                for tile in (0..tiles).step_by(ROWS) {
                    let rows = std::array::from_fn(|r| (tile + r).min(tiles - 1) * c_in + block.start);
                    let corner = Corner {
                        matrix: &mut y[tile * c_out + column..],
                        stride: c_out,
                        rows: ROWS.min(tiles - tile),
                        columns: COLUMNS.min(c_out - column),
                    };
                    tile::multiply(x, &rows, Runs::one(block.len()), panel, start, f32::NEG_INFINITY, corner);
                }
            }
        }
    }

    /// Aᵀ m A of every tile, bias and ReLU; writes what lies on the map.
    fn transform_back(&self, rows: Range<usize>, products: &[f32], y: &mut [f32]) {
        let Conv2d { h, w, c_out, .. } = self.geometry;
        let high = h.div_ceil(2);
        let origin = self.first_row(rows.start);
        let zeros;
        let bias = match self.bias {
            Some(bias) => bias,
            None => {
                zeros = vec![0.0; c_out];
                &zeros
            }
        };
        let tiles = rows.clone().flat_map(|row| (0..w.div_ceil(2)).map(move |j| (row, j)));
        for (tile, (row, j)) in tiles.enumerate() {
            let first = (self.first_row(row) - origin) * w + 2 * j;
            let last_row = row % high * 2 + 1 == h;
            let place = |a: usize, b: usize| {
                ((a == 0 || !last_row) && 2 * j + b < w).then_some((first + a * w + b) * c_out)
            };
            let places = [place(0, 0), place(0, 1), place(1, 0), place(1, 1)];
            transform_tile_back(products, tile * c_out, bias, self.relu, places, y);
        }
    }
}

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] + b[i])
}

#[inline(always)]
fn subtract(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|i| a[i] - b[i])
}

#[inline(always)]
fn load(from: &[f32], at: usize) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&from[at..at + LANES]);
    lanes
}

/// Bᵀ of four.
#[inline(always)]
fn bt([d0, d1, d2, d3]: [Lanes; 4]) -> [Lanes; 4] {
    [subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)]
}

/// Aᵀ of four.
#[inline(always)]
fn at([m0, m1, m2, m3]: [Lanes; 4]) -> [Lanes; 2] {
    [add(add(m0, m1), m2), subtract(subtract(m1, m2), m3)]
}

widest! {
    /// `points[p][offset..]` = Bᵀ d B of sixteen pixels.
    fn transform_tile(pixels: &[&[f32]; POINTS], offset: usize, points: &mut [f32]) {
        let channels = pixels[0].len();
        let stride = points.len() / POINTS;
        for c in (0..channels).step_by(LANES) {
            let mut half = [[[0.0; LANES]; 4]; 4];
            for (a, half) in half.iter_mut().enumerate() {
                *half = bt(std::array::from_fn(|b| load(pixels[a * 4 + b], c)));
            }
            for b in 0..4 {
                let column = bt(std::array::from_fn(|a| half[a][b]));
                for (a, lanes) in column.iter().enumerate() {
                    points[(a * 4 + b) * stride + offset + c..][..LANES].copy_from_slice(lanes);
                }
            }
        }
    }
}

widest! {
    /// `y[places]` = f(bias + Aᵀ m A) of `products[p][offset..]`.
    fn transform_tile_back(
        products: &[f32],
        offset: usize,
        bias: &[f32],
        relu: bool,
        places: [Option<usize>; 4],
        y: &mut [f32],
    ) {
        let stride = products.len() / POINTS;
        for o in (0..bias.len()).step_by(LANES) {
            let mut half = [[[0.0; LANES]; 2]; 4];
            for (a, half) in half.iter_mut().enumerate() {
                *half = at(std::array::from_fn(|b| load(products, (a * 4 + b) * stride + offset + o)));
            }
            let bias = load(bias, o);
            for b in 0..2 {
                let column = at(std::array::from_fn(|a| half[a][b]));
                for (a, lanes) in column.iter().enumerate() {
                    if let Some(place) = places[a * 2 + b] {
                        let sum = add(*lanes, bias);
                        let out = if relu { sum.map(rectify) } else { sum };
                        y[place + o..][..LANES].copy_from_slice(&out);
                    }
                }
            }
        }
    }
}
