//! The convolution of tf32 on Hopper: `kernels/conv2d_sm90_tf32.cu`.
//!
//! In: as `sm90`, activations and weights in f32; TMA rounds operands to tf32 as it copies them. Out: launches of the
//! products whose rows are pixels. The backward pass reads transposed weights, made by a launch before; a pool is a
//! launch of its own.

use super::tile::{NARROW, SQUARE, WIDE};
use super::{ROWS, Tile, boxes, matrix, seen, step};
use crate::device::gpu::driver::Address;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::lower::conv2d::{geometry, inputs, pixels, pooled};
use crate::device::gpu::lower::mma::Format;
use crate::device::gpu::lower::{Form, Site, layout, maxpool2d};
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
    let grid = tile.grid(pixels(g), g.c_out);
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
    let grid = tile.grid(pixels(g), g.c_in);
    let args = [dy, source, geometry(site, g)?, mask, dx];
    site.launch_with(&entry(tile, "conv2d_backward_input"), grid, (tile.threads, tile.shared), args)
}
