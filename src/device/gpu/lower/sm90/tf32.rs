//! The convolution of tf32 on Hopper: `kernels/conv2d_sm90_tf32.cu`, `conv2d_sm90_tf32_weight.cu`.
//!
//! In: as `sm90`, activations and weights in f32; TMA rounds operands to tf32 as it copies them. Out: launches. `wgmma`
//! takes tf32 along the depth alone: backward_input reads transposed weights, and backward_weight transposed gradients,
//! each made by a launch before; a pool is a launch of its own.

use super::tile::{NARROW, SQUARE, WIDE};
use super::{ROWS, Shares, Tile, boxes, matrix, seen, step};
use crate::device::gpu::driver::Address;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::lower::conv2d::{geometry, inputs, pixels, pooled};
use crate::device::gpu::lower::mma::Format;
use crate::device::gpu::lower::{Form, SMS, Site, Weight, layout, maxpool2d};
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

const TF32: Format = Format::Tf32;

/// The tile of a product. Half as deep a step takes as long as of bf16, at half the rate: the measured times of those
/// stand in for these.
fn tile(rows: usize, columns: usize, depth: usize) -> Tile {
    stored_from_registers(Tile::of(&[WIDE, SQUARE, NARROW], [rows, columns], 9 * depth / step(TF32)))
}

/// The same without room for results in shared memory.
pub(super) fn stored_from_registers(tile: Tile) -> Tile {
    let results = if tile.blocks == 1 { 2 } else { 1 } * 8 * ROWS as u32 * 128;
    Tile { shared: tile.shared - results, ..tile }
}

fn entry(tile: Tile, call: &str) -> String {
    tile.entry(call).replace("_sm90_", "_sm90_tf32_")
}

pub fn conv2d_forward(
    site: &mut Site,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    let y = site.f32("y", y, g.y().len())?;
    forward(site, tile(pixels(g), g.c_out, g.c_in), g, x, (weight, bias, relu), y)
}

pub(super) fn forward(
    site: &mut Site,
    tile: Tile,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: Arg,
) -> Result<()> {
    let args = [
        seen(site, TF32, ("x", x), (g, g.c_in), tile.rows)?,
        matrix(site, TF32, ("weight", weight), [g.c_out, 9 * g.c_in], tile.columns)?,
        geometry(site, g)?,
        Arg::value("relu", &u32::from(relu)),
        site.f32("bias", bias, g.c_out)?,
        y,
    ];
    let grid = tile.grid(pixels(g), g.c_out, site.sms());
    site.launch_with(&entry(tile, "conv2d_forward"), grid, (tile.threads, tile.shared), args)
}

/// The two halves, with the map between them.
pub fn conv2d_maxpool2d_forward(
    site: &mut Site,
    g: Conv2d,
    x: &Buffer,
    (weight, bias): (&Buffer, &Buffer),
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    // All are opened, also where there is no window.
    inputs(site, g, Dtype::F32, x, (weight, bias))?;
    let outputs = pooled(site, g, Dtype::F32, y, winner)?;
    if g.pool().y().is_empty() {
        return Ok(());
    }
    maxpool2d::behind(site, g, Form::F32, outputs, |site, z| {
        forward(site, tile(pixels(g), g.c_out, g.c_in), g, x, (weight, bias, true), z)
    })
}

pub fn conv2d_backward_input(
    site: &mut Site,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    backward_input(site, tile(pixels(g), g.c_in, g.c_out), g, (dy, weight), mask, dx)
}

pub(super) fn backward_input(
    site: &mut Site,
    tile: Tile,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    let (rows, columns) = (g.c_out, 9 * g.c_in);
    let dy = seen(site, TF32, ("dy", dy), (g, g.c_out), tile.rows)?;
    let mask = site.optional("mask", mask, Dtype::F32, g.x().len())?;
    let dx = site.f32("dx", dx, g.x().len())?;
    let weight = site.f32("weight", weight, g.weight().len())?;
    // (3, 3, c_in, c_out): wgmma takes tf32 along the depth alone, and here that are the filters.
    let [turned, source] = site.between(["y", "turned"], Dtype::F32, g.weight().len())?;
    let at = source.place().map_or(Address(0), |(_, at)| at);
    let source = boxes(site, TF32, ("turned", at), [columns, rows], tile.columns)?;
    site.before(|site| layout::turned(site, [1, rows, columns], weight, turned))?;
    let grid = tile.grid(pixels(g), g.c_in, site.sms());
    let args = [dy, source, geometry(site, g)?, mask, dx];
    site.launch_with(&entry(tile, "conv2d_backward_input"), grid, (tile.threads, tile.shared), args)
}

/// Pixels that a block turns of `dy`, and its filters: `conv2d_backward_weight_sm90_tf32_turn`.
const TURNED: [usize; 2] = [128, 32];

/// Tiles of the weights' gradient, rows filters and columns (tap, channel). As in bf16 a step of 256 x 128 reads less for
/// each product; where filters leave half of it empty, tiles are half as large.
pub(super) const LARGE: Tile = Tile { rows: 256, columns: 128, shared: 196_672, ..WIDE };
pub(super) const SMALL: Tile = Tile { rows: 128, columns: 128, shared: 196_704, ..SQUARE };

fn weight_tile(g: Conv2d) -> Tile {
    if g.c_out.div_ceil(SMALL.rows).is_multiple_of(2) { LARGE } else { SMALL }
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    let tile = weight_tile(g);
    backward_weight(site, (tile, most_blocks(Shares::tiles(g, tile))), g, (x, dy), weight)
}

/// Blocks that share so many tiles: their number is part of the order of the sums, so the same on every GPU. Where as
/// many go to each tile, the blocks of all tiles are at the same pixels at the same time, and the cache has for the
/// others what one has read; else each tile's blocks read the maps from memory (5 tiles by 132 blocks: five times, 104
/// us where the product takes 54; computed for a cache of 40 MB, not seen on a GPU). That is worth a fiftieth of the
/// blocks.
fn most_blocks(tiles: usize) -> usize {
    let left = SMS % tiles.max(1);
    if left <= SMS / 50 { SMS - left } else { SMS }
}

/// By `most` blocks at most.
pub(super) fn backward_weight(
    site: &mut Site,
    (tile, most): (Tile, usize),
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    let shares = Shares::of(g, tile, step(TF32), most);
    let (x, dy) = (seen(site, TF32, ("x", x), (g, g.c_in), step(TF32))?, site.f32("dy", dy, g.y().len())?);
    // Rows of a step's pixels, which the kernel numbers in its own order.
    let (lines, rows) = (shares.steps * g.c_out, pixels(g).div_ceil(TURNED[0]));
    let [to, turned] = site.between(["turned", "turned"], Dtype::F32, lines * step(TF32))?;
    let at = turned.place().map_or(Address(0), |(_, at)| at);
    let turned = boxes(site, TF32, ("turned", at), [lines, step(TF32)], tile.rows)?;
    let parts = site.parts(shares.slots, tile.rows * tile.columns)?;
    let biases = weight.biases(site, rows, g.c_out)?;
    let p = geometry(site, g)?;
    let grid = [rows * (g.c_out / TURNED[1]), 1, 1];
    let args = [p.clone(), dy, biases.clone(), to];
    site.before(|site| site.launch("conv2d_backward_weight_sm90_tf32_turn", grid, 256, args))?;
    let args = [x, turned, p.clone(), parts.clone()];
    site.launch_with(
        &entry(tile, "conv2d_backward_weight"),
        [shares.blocks, 1, 1],
        (tile.threads, tile.shared),
        args,
    )?;
    let split = shares.split(site, tile)?;
    weight.reduce_slots(site, p, &split, Some(rows), [parts, biases])
}
