//! The convolution: `kernels/conv2d_*.cu`. On tensor cores it goes other ways: `mma`, and on Hopper `sm90`.

use super::mma::{self, Format};
use super::{Cut, Form, Site, Weight, maxpool2d, sm90};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

/// Rows and columns of a block's tile: `kernels/tile.cuh`.
const TILE: (usize, usize) = (128, 64);
/// Its depth of a step.
const DEPTH: usize = 8;
/// Threads of such a block.
const THREADS: usize = 128;

/// As kernels take it.
pub fn geometry(site: &Site, g: Conv2d) -> Result<Arg> {
    // A map without pixels as one that kernels may divide by.
    let [n, h, w] = if pixels(g) == 0 { [0, 1, 1] } else { [g.n, g.h, g.w] };
    let [n, h, w] = [site.size(n)?, site.size(h)?, site.size(w)?];
    let [c_in, c_out] = [site.size(g.c_in)?, site.size(g.c_out)?];
    Ok(Arg::value("p", &params::Conv2d { n, h, w, c_in, c_out }))
}

/// Of all pictures.
pub fn pixels(g: Conv2d) -> usize {
    g.n * g.h * g.w
}

pub fn conv2d_forward(
    site: &mut Site,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    if let Some(format) = Format::of(site, x)? {
        if sm90::takes(site, g) {
            return sm90::conv2d_forward(site, format, g, x, (weight, bias, relu), y);
        }
        return mma::conv2d_forward(site, format, g, x, (weight, bias, relu), y);
    }
    let args = [
        geometry(site, g)?,
        Arg::value("relu", &u32::from(relu)),
        site.f32("x", x, g.x().len())?,
        site.f32("weight", weight, g.weight().len())?,
        site.f32("bias", bias, g.c_out)?,
        site.f32("y", y, g.y().len())?,
    ];
    let grid = [pixels(g).div_ceil(TILE.0), g.c_out.div_ceil(TILE.1), 1];
    site.launch("conv2d_forward", grid, THREADS, args)
}

pub fn conv2d_maxpool2d_forward(
    site: &mut Site,
    g: Conv2d,
    x: &Buffer,
    (weight, bias): (&Buffer, &Buffer),
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    if let Some(format) = Format::of(site, x)? {
        if sm90::takes(site, g) {
            return sm90::conv2d_maxpool2d_forward(site, format, g, x, (weight, bias), y, winner);
        }
        return mma::conv2d_maxpool2d_forward(site, format, g, x, (weight, bias), y, winner);
    }
    let pool = g.pool();
    let p = geometry(site, g)?;
    let inputs = [
        site.f32("x", x, g.x().len())?,
        site.f32("weight", weight, g.weight().len())?,
        site.f32("bias", bias, g.c_out)?,
    ];
    let small = site.f32("y", y, pool.y().len())?;
    let winners = site.optional("winner", winner, Dtype::U8, pool.winners())?;
    let filters = g.c_out.div_ceil(TILE.1);
    if winner.is_some() && !g.c_out.is_multiple_of(4) {
        // Threads would share bytes of winners: the two halves, with the map between them.
        let [z, map] = site.between(["y", "x"], Dtype::F32, g.y().len())?;
        let relu = Arg::value("relu", &1u32);
        let args = [vec![p, relu], inputs.into(), vec![z]].concat();
        site.launch("conv2d_forward", [pixels(g).div_ceil(TILE.0), filters, 1], THREADS, args)?;
        return maxpool2d::opened(site, pool, Form::F32, [map, small, winners]);
    }
    let rows = 4 * pool.n * (pool.h / 2) * (pool.w / 2);
    let args = [vec![p], inputs.into(), vec![small, winners]].concat();
    site.launch("conv2d_maxpool2d_forward", [rows.div_ceil(TILE.0), filters, 1], THREADS, args)
}

pub fn conv2d_backward_input(
    site: &mut Site,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    if let Some(format) = Format::of(site, dy)? {
        if sm90::takes(site, g) {
            return sm90::conv2d_backward_input(site, format, g, (dy, weight), mask, dx);
        }
        return mma::conv2d_backward_input(site, format, g, (dy, weight), mask, dx);
    }
    let args = [
        geometry(site, g)?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("weight", weight, g.weight().len())?,
        site.optional("mask", mask, Dtype::F32, g.x().len())?,
        site.f32("dx", dx, g.x().len())?,
    ];
    let grid = [pixels(g).div_ceil(TILE.0), g.c_in.div_ceil(TILE.1), 1];
    site.launch("conv2d_backward_input", grid, THREADS, args)
}

pub fn conv2d_backward_weight(
    site: &mut Site,
    g: Conv2d,
    (x, dy): (&Buffer, &Buffer),
    weight: Weight<'_>,
) -> Result<()> {
    if let Some(format) = Format::of(site, x)? {
        if sm90::takes_backward_weight(site, format, g) {
            return sm90::conv2d_backward_weight(site, g, (x, dy), weight);
        }
        return mma::conv2d_backward_weight(site, format, g, (x, dy), weight);
    }
    let inputs = [site.f32("x", x, g.x().len())?, site.f32("dy", dy, g.y().len())?];
    let tiles = [(9 * g.c_in).div_ceil(TILE.0), g.c_out.div_ceil(TILE.1)];
    let cut = Cut::new(pixels(g), tiles[0] * tiles[1], 128, DEPTH);
    let p = geometry(site, g)?;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    let parts = weight.parts(site, cut.parts)?;
    let grid = [tiles[0], tiles[1], cut.parts];
    let [x, from] = inputs;
    site.launch("conv2d_backward_weight", grid, THREADS, [p, split, x, from, parts.clone()])?;
    weight.reduce_alone(site, &cut, parts, dy)
}
