//! The convolution: `kernels/conv2d_*.cu`. In f32 with many channels: `winograd`. On tensor cores: `mma`, and on Hopper
//! `sm90`.

use super::mma::{self, Format};
use super::{Cut, Form, Site, Weight, maxpool2d, sm90, winograd};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Cost, Dtype};
use crate::error::Result;
use crate::shape::Conv2d;

/// Rows and columns of a block's tile: `kernels/tile.cuh`.
pub const TILE: (usize, usize) = (128, 64);
/// Its depth of a step.
pub const DEPTH: usize = 8;
/// Threads of such a block.
pub const THREADS: usize = 128;

/// As kernels take it.
pub fn geometry(site: &Site, g: Conv2d) -> Result<Arg> {
    // A map without pixels as one that kernels may divide by.
    let [n, h, w] = if pixels(g) == 0 { [0, 1, 1] } else { [g.n, g.h, g.w] };
    let [n, h, w] = [site.size(n)?, site.size(h)?, site.size(w)?];
    let [c_in, c_out] = [site.size(g.c_in)?, site.size(g.c_out)?];
    Ok(Arg::value("p", &params::Conv2d { n, h, w, c_in, c_out }))
}

/// `x`, `weight` and `bias`, where factors are `dtype`.
pub fn inputs(
    site: &Site,
    g: Conv2d,
    dtype: Dtype,
    x: &Buffer,
    (weight, bias): (&Buffer, &Buffer),
) -> Result<[Arg; 3]> {
    Ok([
        site.buffer("x", x, dtype, g.x().len())?,
        site.buffer("weight", weight, dtype, g.weight().len())?,
        site.f32("bias", bias, g.c_out)?,
    ])
}

/// The same of the way back to the input: `dy` and `weight`, `mask` and `dx`.
pub fn back(
    site: &Site,
    g: Conv2d,
    dtype: Dtype,
    (dy, weight): (&Buffer, &Buffer),
    (mask, dx): (Option<&Buffer>, &Buffer),
) -> Result<[Arg; 4]> {
    Ok([
        site.buffer("dy", dy, dtype, g.y().len())?,
        site.buffer("weight", weight, dtype, g.weight().len())?,
        site.optional("mask", mask, dtype, g.x().len())?,
        site.buffer("dx", dx, dtype, g.x().len())?,
    ])
}

/// The pool's `y` and `winner`.
pub fn pooled(site: &Site, g: Conv2d, dtype: Dtype, y: &Buffer, winner: Option<&Buffer>) -> Result<[Arg; 2]> {
    let pool = g.pool();
    Ok([
        site.buffer("y", y, dtype, pool.y().len())?,
        site.optional("winner", winner, Dtype::U8, pool.winners())?,
    ])
}

/// Whether threads of a kernel that pools would share bytes of winners: then the pool goes by itself.
pub fn shares_winners(g: Conv2d, winner: Option<&Buffer>) -> bool {
    winner.is_some() && !g.c_out.is_multiple_of(4)
}

/// Rows of a product whose pixels stand in windows of four: without those that belong to none.
pub fn windows(g: Conv2d) -> usize {
    4 * g.n * (g.h / 2) * (g.w / 2)
}

/// Of all images.
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
        if sm90::takes(site, format, g) {
            return sm90::conv2d_forward(site, format, g, x, (weight, bias, relu), y);
        }
        return mma::conv2d_forward(site, format, g, x, (weight, bias, relu), y);
    }
    let inputs = inputs(site, g, Dtype::F32, x, (weight, bias))?;
    let y = site.f32("y", y, g.y().len())?;
    forward(site, g, relu, inputs, y)
}

fn forward(site: &mut Site, g: Conv2d, relu: bool, inputs: [Arg; 3], y: Arg) -> Result<()> {
    if let Some(form) = winograd::takes(site, g) {
        return winograd::conv2d_forward(site, form, g, relu, inputs, &y);
    }
    let [x, weight, bias] = inputs;
    let args = [geometry(site, g)?, Arg::value("relu", &u32::from(relu)), x, weight, bias, y];
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
        if sm90::takes(site, format, g) {
            return sm90::conv2d_maxpool2d_forward(site, format, g, x, (weight, bias), y, winner);
        }
        return mma::conv2d_maxpool2d_forward(site, format, g, x, (weight, bias), y, winner);
    }
    let inputs = inputs(site, g, Dtype::F32, x, (weight, bias))?;
    let outputs = pooled(site, g, Dtype::F32, y, winner)?;
    if let Some(form) = winograd::takes(site, g) {
        return winograd::conv2d_maxpool2d_forward(site, form, g, inputs, outputs);
    }
    if shares_winners(g, winner) {
        return maxpool2d::behind(site, g, Form::F32, outputs, |site, z| forward(site, g, true, inputs, z));
    }
    let args = [vec![geometry(site, g)?], inputs.into(), outputs.into()].concat();
    let grid = [windows(g).div_ceil(TILE.0), g.c_out.div_ceil(TILE.1), 1];
    site.launch("conv2d_maxpool2d_forward", grid, THREADS, args)
}

/// The map between them in memory, but where Hopper's kernel takes both.
pub fn conv2d_conv2d_maxpool2d_forward(
    site: &mut Site,
    geometries: [Conv2d; 2],
    x: &Buffer,
    ([first, weight], [first_bias, bias]): ([&Buffer; 2], [&Buffer; 2]),
    y: &Buffer,
) -> Result<()> {
    site.arm.chained(geometries)?;
    let [one, other] = geometries;
    let format = Format::of(site, x)?.filter(|&format| format == Format::Bf16);
    if sm90::joins(geometries) && format.is_some_and(|format| sm90::takes(site, format, other)) {
        let parameters = ([first, weight], [first_bias, bias]);
        return sm90::conv2d_conv2d_maxpool2d_forward(site, geometries, x, parameters, y);
    }
    let z = site.between_calls("z", x.dtype(), one.y().len())?;
    let between = Cost::of(0, [&z], []).bytes;
    site.part(Cost::of(2 * one.macs(), [x, first, first_bias], [&z]), between);
    conv2d_forward(site, one, x, (first, first_bias, true), &z)?;
    site.part(Cost::of(2 * other.macs(), [&z, weight, bias], [y]), between);
    conv2d_maxpool2d_forward(site, other, &z, (weight, bias), y, None)
}

pub fn conv2d_backward_input(
    site: &mut Site,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    if let Some(format) = Format::of(site, dy)? {
        if sm90::takes(site, format, g) {
            return sm90::conv2d_backward_input(site, format, g, (dy, weight), mask, dx);
        }
        return mma::conv2d_backward_input(site, format, g, (dy, weight), mask, dx);
    }
    let buffers = back(site, g, Dtype::F32, (dy, weight), (mask, dx))?;
    if let Some(form) = winograd::takes(site, g) {
        return winograd::conv2d_backward_input(site, form, g, buffers);
    }
    let args = [vec![geometry(site, g)?], buffers.into()].concat();
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
            return sm90::conv2d_backward_weight(site, format, g, (x, dy), weight);
        }
        return mma::conv2d_backward_weight(site, format, g, (x, dy), weight);
    }
    let inputs = [site.f32("x", x, g.x().len())?, site.f32("dy", dy, g.y().len())?];
    if let Some(form) = winograd::takes(site, g) {
        return winograd::conv2d_backward_weight(site, form, g, inputs, dy, weight);
    }
    let tiles = [(9 * g.c_in).div_ceil(TILE.0), g.c_out.div_ceil(TILE.1)];
    let cut = Cut::new(pixels(g), tiles[0] * tiles[1], 128, DEPTH);
    let p = geometry(site, g)?;
    let split = Arg::value("split", &params::Split { length: site.size(cut.length)? });
    let parts = weight.parts(site, cut.parts)?;
    let grid = [tiles[0], tiles[1], cut.parts];
    let [x, from] = inputs;
    site.launch("conv2d_backward_weight", grid, THREADS, [p, split, x, from, parts.clone()])?;
    weight.reduce_alone(site, cut.parts, parts, dy)
}
