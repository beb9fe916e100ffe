//! The convolution on Hopper: `kernels/conv2d_sm90.cu`, `conv2d_sm90_turned.cu`, `conv2d_sm90_split.cu`,
//! `conv2d_sm90_pool.cu` and `conv2d_sm90_first.cu` of bf16, `conv2d_sm90_tf32.cu` and `conv2d_sm90_tf32_weight.cu`.
//!
//! In: a call on tensor cores whose channels are multiples of 64, on a device that takes these kernels. Out: its
//! launches, with tensor maps of what TMA reads and writes. Tiles depend on the geometry alone: a
//! tile whose depth is shared by blocks adds in another order, so the GPU must not decide. The same holds for the grid
//! of the weights' gradient.

mod first;
#[cfg(test)]
mod tests;
mod tf32;
mod tile;

pub use first::{conv2d_conv2d_maxpool2d_forward, joins};
pub use tile::is_turned;

use self::tile::{THIRDS, Tile, WIDE_WEIGHT};
use super::conv2d::{geometry, inputs, pixels, pooled};
use super::mma::Format;
use super::{Form, SMS, Site, Weight, maxpool2d};
use crate::device::gpu::driver::Address;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::gpu::tensor_map::{Swizzle, TensorMap};
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

/// Elements of bf16 in 128 bytes: what TMA's boxes have along channels, and a step along the depth.
const STEP: usize = 64;
const BF16: Format = Format::Bf16;
/// Rows of a box that a warp stores.
const ROWS: usize = 16;

/// Blocks of the convolution with a pool: filters x 8 columns x lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Halo {
    filters: usize,
    lines: usize,
    shared: u32,
}

/// All weights of a block stay in shared memory: 64 channels, 64 filters.
const FEW: Halo = Halo { filters: 64, lines: 32, shared: 222_400 };
const MANY: Halo = Halo { filters: 128, lines: 16, shared: 185_488 };

impl Halo {
    /// Of a layer that is done so. Measured, without what a pool of its own would read and write: FEW 57 us for 64
    /// channels where NARROW takes 77, MANY as SQUARE for 128; for 256 WIDE is so much faster that two launches win.
    fn of(g: Conv2d) -> Option<Self> {
        match [g.c_in, g.c_out] {
            [64, 64] => Some(FEW),
            [64 | 128, filters] if filters.is_multiple_of(MANY.filters) => Some(MANY),
            _ => None,
        }
    }

    fn tiles(self, g: Conv2d) -> usize {
        g.c_out / self.filters * g.w.div_ceil(8) * g.h.div_ceil(self.lines) * g.n
    }
}

/// Whether these kernels do a convolution. One without pixels is nothing that TMA could read.
pub fn takes(site: &Site, format: Format, g: Conv2d) -> bool {
    site.sm90
        && matches!(format, Format::Bf16 | Format::Tf32)
        && [g.c_in, g.c_out].iter().all(|channels| channels.is_multiple_of(STEP) && *channels > 0)
        && pixels(g) > 0
}

/// Elements of a row of a box, 128 bytes: a step along the depth.
fn step(format: Format) -> usize {
    128 / format.dtype().size()
}

/// The map of factors: where f32 are multiplied as tf32, TMA rounds them.
fn factors(format: Format, map: TensorMap) -> Result<TensorMap> {
    if format == Format::Tf32 { map.rounding() } else { Ok(map) }
}

/// A tensor of pixels, `(channels, w, h, n)`, of which TMA gathers what a tap sees of a run of `run` pixels.
pub fn seen(
    site: &Site,
    format: Format,
    (name, buffer): (&'static str, &Buffer),
    (g, channels): (Conv2d, usize),
    run: usize,
) -> Result<Arg> {
    let dtype = format.dtype();
    let (len, row) = (pixels(g) * channels, (dtype.size() * channels) as u64);
    let at = site.place(name, buffer, dtype, len)?;
    let sizes = [channels as u64, g.w as u64, g.h as u64, g.n as u64];
    let strides = [row, row * g.w as u64, row * (g.h * g.w) as u64];
    // Base pixels are those of the map, counted from one before it: the window's corner.
    let corner = [-1, -1];
    let window = [step(format) as u32, run as u32];
    let map = TensorMap::im2col(dtype, at, &sizes, &strides, &corner, &corner, window, Swizzle::B128)?;
    site.tensor(name, &factors(format, map)?, len)
}

/// A matrix (rows, columns), of which TMA moves boxes of `window` rows and 128 bytes of each.
pub fn matrix(
    site: &Site,
    format: Format,
    (name, buffer): (&'static str, &Buffer),
    [rows, columns]: [usize; 2],
    window: usize,
) -> Result<Arg> {
    let at = site.place(name, buffer, format.dtype(), rows * columns)?;
    boxes(site, format, (name, at), [rows, columns], window)
}

fn boxes(
    site: &Site,
    format: Format,
    (name, at): (&'static str, Address),
    [rows, columns]: [usize; 2],
    window: usize,
) -> Result<Arg> {
    let dtype = format.dtype();
    let (sizes, strides) = ([columns as u64, rows as u64], [(dtype.size() * columns) as u64]);
    let window = [step(format) as u32, window as u32];
    let map = TensorMap::tile(dtype, at, &sizes, &strides, &window, Swizzle::B128)?;
    site.tensor(name, &factors(format, map)?, rows * columns)
}

/// Images (n, h, w, channels), of which TMA moves boxes of `lines` lines, `columns` columns and 64 channels.
fn image(
    site: &Site,
    name: &'static str,
    at: Address,
    [n, h, w, channels]: [usize; 4],
    [lines, columns]: [usize; 2],
) -> Result<Arg> {
    let row = 2 * channels as u64;
    let sizes = [channels as u64, w as u64, h as u64, n as u64];
    let strides = [row, row * w as u64, row * (h * w) as u64];
    let window = [STEP as u32, columns as u32, lines as u32, 1];
    let map = TensorMap::tile(Dtype::Bf16, at, &sizes, &strides, &window, Swizzle::B128)?;
    site.tensor(name, &map, n * h * w * channels)
}

pub fn conv2d_forward(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    if format == Format::Tf32 {
        return tf32::conv2d_forward(site, g, x, (weight, bias, relu), y);
    }
    let y = site.place("y", y, Dtype::Bf16, g.y().len())?;
    forward(site, Tile::of_bf16([pixels(g), g.c_out], g.c_in), g, x, (weight, bias, relu), y)
}

fn forward(
    site: &mut Site,
    tile: Tile,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: Address,
) -> Result<()> {
    let mut args = vec![
        seen(site, BF16, ("x", x), (g, g.c_in), tile.brought())?,
        matrix(site, BF16, ("weight", weight), [g.c_out, 9 * g.c_in], tile.columns)?,
        boxes(site, BF16, ("y", y), [pixels(g), g.c_out], tile.stored())?,
        geometry(site, g)?,
        Arg::value("relu", &u32::from(relu)),
        site.f32("bias", bias, g.c_out)?,
    ];
    args.extend(left(site, tile, [pixels(g), g.c_out])?);
    let grid = tile.grid(pixels(g), g.c_out, site.sms());
    site.launch_with(&tile.entry("conv2d_forward"), grid, (tile.threads, tile.shared), args)
}

/// Where a tile's sharers leave sums for each other, if it has any.
fn left(site: &mut Site, tile: Tile, [rows, columns]: [usize; 2]) -> Result<Option<Arg>> {
    match tile.left(rows, columns) {
        0 => Ok(None),
        len => site.scratch("parts", len).map(Some),
    }
}

pub fn conv2d_maxpool2d_forward(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    x: &Buffer,
    (weight, bias): (&Buffer, &Buffer),
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    if format == Format::Tf32 {
        return tf32::conv2d_maxpool2d_forward(site, g, x, (weight, bias), y, winner);
    }
    // All are opened, also where there is no window.
    let [_, _, sum] = inputs(site, g, Dtype::Bf16, x, (weight, bias))?;
    let outputs = pooled(site, g, Dtype::Bf16, y, winner)?;
    if g.pool().y().is_empty() {
        return Ok(());
    }
    if let Some(halo) = Halo::of(g) {
        let from = site.place("x", x, Dtype::Bf16, g.x().len())?;
        let at = site.place("y", y, Dtype::Bf16, g.pool().y().len())?;
        let [_, winner] = outputs;
        let args = [
            image(site, "x", from, [g.n, g.h, g.w, g.c_in], [halo.lines + 2, 10])?,
            matrix(site, BF16, ("weight", weight), [g.c_out, 9 * g.c_in], halo.filters)?,
            image(site, "y", at, [g.n, g.h / 2, g.w / 2, g.c_out], [8, 4])?,
            geometry(site, g)?,
            sum,
            winner,
        ];
        let entry = format!("conv2d_maxpool2d_forward_sm90_{}x8x{}", halo.filters, halo.lines);
        return site.launch_with(&entry, [halo.tiles(g).min(site.sms()), 1, 1], (384, halo.shared), args);
    }
    let tile = Tile::of_bf16([pixels(g), g.c_out], g.c_in);
    maxpool2d::behind(site, g, Form::BF16, outputs, |site, z| {
        let at = z.place().map_or(Address(0), |(_, at)| at);
        forward(site, tile, g, x, (weight, bias, true), at)
    })
}

pub fn conv2d_backward_input(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    if format == Format::Tf32 {
        return tf32::conv2d_backward_input(site, g, (dy, weight), mask, dx);
    }
    backward_input(site, Tile::of_bf16([pixels(g), g.c_in], g.c_out), g, (dy, weight), mask, dx)
}

fn backward_input(
    site: &mut Site,
    tile: Tile,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    let dy = seen(site, BF16, ("dy", dy), (g, g.c_out), tile.brought())?;
    let weight = matrix(site, BF16, ("weight", weight), [g.c_out, 9 * g.c_in], STEP)?;
    let args = if tile.turned {
        let sides = [pixels(g), g.c_in];
        let dx_map = matrix(site, BF16, ("dx", dx), sides, tile.rows)?;
        // Where there is none, a map that nobody reads by.
        let of = mask.map_or(("dx", dx), |mask| ("mask", mask));
        let mask_map = matrix(site, BF16, of, sides, tile.rows)?;
        let masked = Arg::value("masked", &u32::from(mask.is_some()));
        vec![dy, weight, mask_map, dx_map, geometry(site, g)?, masked]
    } else {
        let mask = site.optional("mask", mask, Dtype::Bf16, g.x().len())?;
        let dx = site.buffer("dx", dx, Dtype::Bf16, g.x().len())?;
        let mut args = vec![dy, weight, geometry(site, g)?, mask, dx];
        args.extend(left(site, tile, [pixels(g), g.c_in])?);
        args
    };
    let grid = tile.grid(pixels(g), g.c_in, site.sms());
    site.launch_with(&tile.entry("conv2d_backward_input"), grid, (tile.threads, tile.shared), args)
}

/// Whether they do its weights' gradient, too. Of 64 filters a tile would be half empty: on an H200 they took 139 us for
/// block1_conv2 in bf16, `mma` 124. (In tf32 64 filters could have a tile of their own, which nobody has tried.)
pub fn takes_backward_weight(site: &Site, format: Format, g: Conv2d) -> bool {
    takes(site, format, g) && g.c_out >= THIRDS.rows
}

/// What sums the weights' gradient. Measured: THIRDS is within 7 % of the best of four tiles in all layers, but
/// for large products of 512 channels, where WIDE takes 2 to 11 % less.
fn weight_tile(g: Conv2d) -> Tile {
    let wide = g.c_in.is_multiple_of(512) && pixels(g) >= 4096;
    if wide { WIDE_WEIGHT } else { THIRDS }
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    if format == Format::Tf32 {
        return tf32::conv2d_backward_weight(site, g, (x, dy), weight);
    }
    // Their number is part of the order of the sums: the same on every GPU.
    backward_weight(site, (weight_tile(g), SMS), g, (x, dy), weight)
}

/// By `most` blocks at most.
fn backward_weight(
    site: &mut Site,
    (tile, most): (Tile, usize),
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    let shares = Shares::of(g, tile, STEP, most);
    let x = seen(site, BF16, ("x", x), (g, g.c_in), STEP)?;
    let dy = matrix(site, BF16, ("dy", dy), [pixels(g), g.c_out], STEP)?;
    let parts =
        [site.parts(shares.slots, tile.rows * tile.columns)?, weight.biases(site, shares.slots, tile.rows)?];
    let p = geometry(site, g)?;
    let entry = tile.entry("conv2d_backward_weight");
    let args = [vec![x, dy, p.clone()], parts.to_vec()].concat();
    site.launch_with(&entry, [shares.blocks, 1, 1], (tile.threads, tile.shared), args)?;
    let split = shares.split(site, tile)?;
    weight.reduce_slots(site, p, &split, None, parts)
}

/// How blocks share a gradient of weights: of its tiles' steps, one tile's behind the other's, each has as many.
struct Shares {
    blocks: usize,
    /// Of a tile.
    steps: usize,
    /// Block g leaves its sums of tile t in slot g + t.
    slots: usize,
}

impl Shares {
    /// Among `most` blocks at most, with `step` pixels a step.
    fn of(g: Conv2d, tile: Tile, step: usize, most: usize) -> Self {
        let tiles = Self::tiles(g, tile);
        let steps = pixels(g).div_ceil(step);
        let blocks = (tiles * steps).min(most);
        Self { blocks, steps, slots: blocks + tiles - 1 }
    }

    /// Tiles that are shared.
    fn tiles(g: Conv2d, tile: Tile) -> usize {
        g.c_out.div_ceil(tile.rows) * (9 * g.c_in).div_ceil(tile.columns)
    }

    /// What the reduction is told.
    fn split(&self, site: &Site, tile: Tile) -> Result<params::StreamK> {
        Ok(params::StreamK {
            blocks: site.size(self.blocks)?,
            rows: site.size(tile.rows)?,
            columns: site.size(tile.columns)?,
            steps: site.size(self.steps)?,
        })
    }
}
