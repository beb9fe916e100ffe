//! A 3x3 correlation of a map with transformed weights: forward, and backward-input with flipped weights.
//!
//! A job is some rows of tiles: transform them, multiply point by point, transform back. Where there are too few
//! tiles for all threads, weights would be read by each of them: then threads share the tiles, and each
//! multiplies with some of the output channels.

use super::form::Form;
use super::transform::{
    Finish, pixels_to_points, points_to_masked, points_to_maxima, points_to_outputs, spread,
};
use super::weights::Weights;
use super::{Grid, with_form};
use crate::device::cpu::tile::{COLUMNS, Product};
use crate::device::cpu::workshop::Workshop;
use crate::error::Result;
use crate::shape::Conv2d;
use std::ops::Range;

/// Channels up to which the points of some tiles and a product's weights lie in the second cache together.
const FEW_CHANNELS: usize = 256;
/// Tiles of a job, about, with so few channels.
const TILES: usize = 24;
/// With more, weights come from memory, and more tiles share them.
const TILES_OF_MANY: usize = 96;
/// Tiles that a thread needs to be worth its own pass over the weights.
const WORTH: usize = 48;

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// `y = f(bias + sum)`, `f` = ReLU or nothing.
    Map {
        /// One number per channel.
        bias: &'a [f32],
        /// Whether `f` is the ReLU.
        relu: bool,
    },
    /// `y` = the maximum of 2x2 of ReLU(bias + sum).
    Pooled {
        /// One number per channel.
        bias: &'a [f32],
    },
    /// The sum where the mask is above 0, else 0.
    Masked(&'a [f32]),
    /// The sum.
    Plain,
}

/// What is computed.
pub struct Correlation<'a> {
    /// Of the correlation: for backward-input, `c_in` is the number of filters.
    pub geometry: Conv2d,
    /// `[n, h, w, c_in]`.
    pub x: &'a [f32],
    /// Of the form that is used.
    pub weights: &'a Weights,
    /// What becomes of it.
    pub output: Output<'a>,
}

impl Correlation<'_> {
    /// Writes `y`: `[n, h, w, c_out]`, or `[n, h / 2, w / 2, c_out]` where it is pooled.
    ///
    /// # Errors
    /// Of memory.
    pub fn run(&self, shop: &Workshop, y: &mut [f32]) -> Result<()> {
        if y.is_empty() {
            return Ok(());
        }
        with_form!(self.weights.size, run(self, shop, y))
    }

    /// Numbers of the output in front of row `row` of tiles.
    fn before(&self, grid: Grid, row: usize) -> usize {
        let Conv2d { h, w, c_out, .. } = self.geometry;
        match self.output {
            Output::Pooled { .. } => {
                let (image, i) = (row / grid.high, row % grid.high * grid.m);
                (image * (h / 2) + (i / 2).min(h / 2)) * (w / 2) * c_out
            }
            _ => grid.first_row(row) * w * c_out,
        }
    }
}

/// Points of some tiles: `[point][tile][channel]`.
struct Points<'a> {
    all: &'a [f32],
    spread: usize,
    channels: usize,
}

fn run<F: Form<M, A>, const M: usize, const A: usize>(
    it: &Correlation<'_>,
    shop: &Workshop,
    y: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = it.geometry;
    let grid = Grid::new(&it.geometry, M);
    let threads = shop.threads.count();
    let tiles = grid.rows * grid.wide;
    let many = c_in.max(c_out) > FEW_CHANNELS;
    if threads > 1 && tiles < threads * WORTH && many {
        return by_channels::<F, M, A>(it, grid, shop, y);
    }
    let wished = if many { TILES_OF_MANY } else { TILES };
    let jobs = tiles.div_ceil(wished).next_multiple_of(threads).min(grid.rows);
    let rows = grid.rows.div_ceil(jobs);
    let (own, made) = (spread(rows * grid.wide * c_in), spread(rows * grid.wide * c_out));
    let jobs = cut(it, grid, rows, y);
    let mut desks = shop.desks(jobs.len(), A * A * (own + made))?;
    shop.threads.each_at(&mut desks, jobs.into_iter(), |desk, (rows, y)| {
        let (points, products) = desk.split_at_mut(A * A * own);
        to_points::<F, M, A>(it, grid, rows.clone(), points, own);
        let count = rows.len() * grid.wide;
        multiply::<A>(it, (points, own, count), 0..c_out / COLUMNS, (products, made));
        let products = Points { all: products, spread: made, channels: c_out };
        to_outputs::<F, M, A>(it, grid, rows, &products, 0, y);
    });
    Ok(())
}

/// Cuts the output by rows of tiles.
fn cut<'y>(
    it: &Correlation<'_>,
    grid: Grid,
    rows: usize,
    mut y: &'y mut [f32],
) -> Vec<(Range<usize>, &'y mut [f32])> {
    let mut jobs = Vec::new();
    for first in (0..grid.rows).step_by(rows) {
        let rows = first..(first + rows).min(grid.rows);
        let (part, rest) = y.split_at_mut(it.before(grid, rows.end) - it.before(grid, rows.start));
        jobs.push((rows, part));
        y = rest;
    }
    jobs
}

/// Tiles together, then output channels apart, then tiles apart.
fn by_channels<F: Form<M, A>, const M: usize, const A: usize>(
    it: &Correlation<'_>,
    grid: Grid,
    shop: &Workshop,
    y: &mut [f32],
) -> Result<()> {
    let Conv2d { c_in, c_out, .. } = it.geometry;
    let threads = shop.threads.count();
    let rows = grid.rows.div_ceil(threads);
    let parts: Vec<Range<usize>> =
        (0..grid.rows).step_by(rows).map(|first| first..(first + rows).min(grid.rows)).collect();
    let own = spread(rows * grid.wide * c_in);
    let mut points = shop.scratch(A * A * own * parts.len())?;
    let jobs = points.chunks_mut(A * A * own).zip(&parts);
    shop.threads.each(jobs, |(points, rows)| to_points::<F, M, A>(it, grid, rows.clone(), points, own));

    let panels = (c_out / COLUMNS).div_ceil(threads);
    let made = spread(rows * grid.wide * panels * COLUMNS);
    let blocks = (c_out / COLUMNS).div_ceil(panels);
    let mut products = shop.scratch(A * A * made * parts.len() * blocks)?;
    let jobs = products.chunks_mut(A * A * made * parts.len()).enumerate();
    shop.threads.each(jobs, |(block, products)| {
        let panels = block * panels..((block + 1) * panels).min(c_out / COLUMNS);
        for point in 0..A * A {
            for (part, rows) in parts.iter().enumerate() {
                let points = &points[part * A * A * own..][..A * A * own];
                let products = &mut products[part * A * A * made..][..A * A * made];
                let count = rows.len() * grid.wide;
                multiply_point(it, point, (points, own, count), panels.clone(), (products, made));
            }
        }
    });

    let jobs = cut(it, grid, rows, y);
    shop.threads.each(jobs.into_iter().enumerate(), |(part, (rows, y))| {
        for block in 0..blocks {
            let first = block * panels * COLUMNS;
            let products = Points {
                all: &products[(block * parts.len() + part) * A * A * made..][..A * A * made],
                spread: made,
                channels: (panels * COLUMNS).min(c_out - first),
            };
            to_outputs::<F, M, A>(it, grid, rows.clone(), &products, first, y);
        }
    });
    Ok(())
}

/// Bᵀ d B of the tiles of some rows.
fn to_points<F: Form<M, A>, const M: usize, const A: usize>(
    it: &Correlation<'_>,
    grid: Grid,
    rows: Range<usize>,
    points: &mut [f32],
    spread: usize,
) {
    let c = it.geometry.c_in;
    let zeros = vec![0.0; c];
    assert!(rows.len() * grid.wide * c <= spread && A * A * spread <= points.len());
    for (at, tile) in grid.tiles(rows).enumerate() {
        let pixels = grid.inputs::<A>(tile, it.x, c, &zeros);
        // SAFETY: `inputs` gives addresses of `c` numbers, a multiple of sixteen (`Size::of`); the tile's place
        // lies within each point.
        unsafe {
            let to = points.as_mut_ptr().add(at * c);
            pixels_to_points::<F, M, A>(&pixels, c, to, spread, COLUMNS);
        }
    }
}

/// The products of all points with some panels.
fn multiply<const A: usize>(
    it: &Correlation<'_>,
    points: (&[f32], usize, usize),
    panels: Range<usize>,
    (products, made): (&mut [f32], usize),
) {
    for point in 0..A * A {
        multiply_point(it, point, points, panels.clone(), (&mut *products, made));
    }
}

fn multiply_point(
    it: &Correlation<'_>,
    point: usize,
    (points, own, count): (&[f32], usize, usize),
    panels: Range<usize>,
    (products, made): (&mut [f32], usize),
) {
    let c_in = it.geometry.c_in;
    let product = Product {
        a: &points[point * own..][..own],
        stride: c_in,
        rows: count,
        depth: c_in,
        panels: it.weights.panels(point, panels.start),
        panel_stride: it.weights.panel(),
        count: panels.len(),
        fresh: true,
    };
    product.run(&mut products[point * made..][..made], panels.len() * COLUMNS);
}

/// Aᵀ m A of the tiles of some rows, finished, into the output channels from `first` on.
fn to_outputs<F: Form<M, A>, const M: usize, const A: usize>(
    it: &Correlation<'_>,
    grid: Grid,
    rows: Range<usize>,
    products: &Points<'_>,
    first: usize,
    y: &mut [f32],
) {
    let Conv2d { h, w, c_out, .. } = it.geometry;
    let Points { all, spread, channels } = *products;
    let begin = it.before(grid, rows.start);
    // One address for all: a borrow for each output would end those before it.
    let (to, len) = (y.as_mut_ptr(), y.len());
    let finish = |bias: Option<&[f32]>, relu: bool| Finish {
        bias: bias.map_or(std::ptr::null(), |bias| bias[first..][..channels].as_ptr()),
        floor: if relu { 0.0 } else { f32::NEG_INFINITY },
    };
    for (at, (image, i, j)) in grid.tiles(rows).enumerate() {
        let points = all[at * channels..].as_ptr();
        // The last point's numbers of this tile.
        assert!((A * A - 1) * spread + (at + 1) * channels <= all.len());
        // Where outputs lie in a map as large as the input; its edge cuts tiles.
        let place = |a: usize, b: usize| {
            (i + a < h && j + b < w).then(|| ((image * h + i + a) * w + j + b) * c_out + first)
        };
        let address = |place: Option<usize>| match place {
            Some(place) => {
                assert!(place - begin + channels <= len);
                to.wrapping_add(place - begin)
            }
            None => std::ptr::null_mut(),
        };
        // SAFETY, for all below: every point of the tile holds `channels` numbers, every address that is not
        // null as many of `y`, which is this job's alone, or of a mask as large; channels are a multiple of
        // sixteen.
        match it.output {
            Output::Pooled { bias } => {
                let maxima = std::array::from_fn(|k| {
                    let (row, column) = (i / 2 + k / (M / 2), j / 2 + k % (M / 2));
                    let there = k < M / 2 * (M / 2) && row < h / 2 && column < w / 2;
                    address(there.then(|| ((image * (h / 2) + row) * (w / 2) + column) * c_out + first))
                });
                // SAFETY: as said; `Correlation::run` is asked for pooled outputs of even tiles alone.
                unsafe {
                    points_to_maxima::<F, M, A>(points, spread, channels, finish(Some(bias), true), &maxima);
                }
            }
            Output::Masked(mask) => {
                let masks = std::array::from_fn(|a| {
                    std::array::from_fn(|b| {
                        place(a, b).map_or(std::ptr::null(), |place| mask[place..][..channels].as_ptr())
                    })
                });
                let outputs = std::array::from_fn(|a| std::array::from_fn(|b| address(place(a, b))));
                // SAFETY: as said.
                unsafe { points_to_masked::<F, M, A>(points, spread, channels, &masks, &outputs) };
            }
            Output::Map { .. } | Output::Plain => {
                let finish = match it.output {
                    Output::Map { bias, relu } => finish(Some(bias), relu),
                    _ => finish(None, false),
                };
                let outputs = std::array::from_fn(|a| std::array::from_fn(|b| address(place(a, b))));
                // SAFETY: as said.
                unsafe { points_to_outputs::<F, M, A>(points, spread, channels, finish, &outputs) };
            }
        }
    }
}
