//! The dense layer: `kernels/dense.cu`, `dense_backward_weight.cu`.

use super::optimizer::rule;
use super::{Cut, Site};
use crate::device::Buffer;
use crate::device::call::Rmsprop;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::error::Result;
use crate::shape::Dense;

/// Samples and columns of a block of `dense.cu`.
const TILE: (usize, usize) = (32, 128);
/// Its depth of a step.
const DEPTH: usize = 16;
/// Inputs and units of a block of `dense_backward_weight.cu`.
const SIDE: usize = 64;

fn geometry(site: &Site, name: &'static str, Dense { n, c_in, c_out }: Dense) -> Result<Arg> {
    let [n, c_in, c_out] = [site.size(n)?, site.size(c_in)?, site.size(c_out)?];
    Ok(Arg::value(name, &params::Dense { n, c_in, c_out }))
}

pub fn dense_forward(
    site: &mut Site,
    g: Dense,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    let x = site.f32("x", x, g.x().len())?;
    let weight = site.f32("weight", weight, g.weight().len())?;
    let bias = site.f32("bias", bias, g.c_out)?;
    let len = g.y().len();
    let y = site.f32("y", y, len)?;
    if len == 0 {
        return Ok(());
    }
    let tiles = [g.c_out.div_ceil(TILE.1), g.n.div_ceil(TILE.0)];
    let cut = Cut::new(g.c_in, tiles[0] * tiles[1], 64, DEPTH);
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    // The second launch adds the bias, so it runs for one part too.
    let parts = site.parts(cut.parts, len)?;
    let args = [geometry(site, "p", g)?, split, x, weight, parts.clone()];
    site.launch("dense_forward", [tiles[0], tiles[1], cut.parts], 128, args)?;
    let dense = geometry(site, "dense", g)?;
    let relu = Arg::value("relu", &u32::from(relu));
    let args = [site.partials(cut.parts, len)?, dense, relu, parts, bias, y];
    site.line("dense_forward_reduce", len, args)
}

pub fn dense_backward_input(
    site: &mut Site,
    g: Dense,
    dy: &Buffer,
    weight: &Buffer,
    dx: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, "p", g)?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("weight", weight, g.weight().len())?,
        site.f32("dx", dx, g.x().len())?,
    ];
    let grid = [g.c_in.div_ceil(TILE.1), g.n.div_ceil(TILE.0), 1];
    site.launch("dense_backward_input", grid, 128, args)
}

pub fn dense_backward_weight(
    site: &mut Site,
    g: Dense,
    x: &Buffer,
    dy: &Buffer,
    dweight: &Buffer,
) -> Result<()> {
    let args = [
        geometry(site, "p", g)?,
        site.f32("x", x, g.x().len())?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("dweight", dweight, g.weight().len())?,
    ];
    site.launch("dense_backward_weight", [g.c_out.div_ceil(SIDE), g.c_in.div_ceil(SIDE), 1], 256, args)
}

pub fn dense_rmsprop_step(
    site: &mut Site,
    g: Dense,
    step: Rmsprop,
    (x, dy): (&Buffer, &Buffer),
    velocity: &Buffer,
    weight: &Buffer,
) -> Result<()> {
    site.arm.plain(step)?;
    let args = [
        geometry(site, "p", g)?,
        rule(step),
        site.f32("x", x, g.x().len())?,
        site.f32("dy", dy, g.y().len())?,
        site.f32("velocity", velocity, g.weight().len())?,
        site.f32("weight", weight, g.weight().len())?,
    ];
    if g.n == 0 {
        return Ok(()); // without samples there is no step, as on the cpu
    }
    site.launch("dense_rmsprop_step", [g.c_out.div_ceil(SIDE), g.c_in.div_ceil(SIDE), 1], 256, args)
}
