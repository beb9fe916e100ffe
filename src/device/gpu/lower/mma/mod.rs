//! The convolution on tensor cores: `kernels/conv2d_bf16.cu`, `conv2d_f16.cu`, `conv2d_tf32.cu`, `conv2d_tf32x3.cu`.
//!
//! In: a call whose activations are bf16 or f16, or f32 on a device of precision tf32 or tf32x3. Out: its launches.
//! Which tile a layer gets and how its sums are split is a function of geometry and architecture, not of the GPU
//! (`lower::room`).

mod even;
mod format;
mod product;
#[cfg(test)]
mod tests;
mod weight;

pub use format::{Format, Tile};
pub use weight::conv2d_backward_weight;

use super::conv2d::{back, geometry, inputs, pixels, pooled, shares_winners, windows};
use super::{Form, Site, maxpool2d};
use crate::device::Buffer;
use crate::device::gpu::launch::Arg;
use crate::error::Result;
use crate::shape::Conv2d;
use product::Product;

pub fn conv2d_forward(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    x: &Buffer,
    (weight, bias, relu): (&Buffer, &Buffer, bool),
    y: &Buffer,
) -> Result<()> {
    let [x, weight, bias] = inputs(site, g, format.dtype(), x, (weight, bias))?;
    let y = site.buffer("y", y, format.dtype(), g.y().len())?;
    let relu = Arg::value("relu", &u32::from(relu));
    let product = Product::forward(format, g);
    let p = geometry(site, g)?;
    if let Some(cut) = product.cut(site.room, pixels(g)) {
        let (partials, parts) = product.launch_parts(site, cut, [p, x, weight])?;
        let columns = Arg::value("columns", &site.size(g.c_out)?);
        return product.reduce(site, product.rows, [partials, columns, relu, parts, bias, y]);
    }
    product.launch(site, [p, relu, x, weight, bias, y])
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
    let form = Form::of(x);
    let [x, weight, bias] = inputs(site, g, format.dtype(), x, (weight, bias))?;
    let outputs = pooled(site, g, format.dtype(), y, winner)?;
    let p = geometry(site, g)?;
    if shares_winners(g, winner) {
        return maxpool2d::behind(site, g, form, outputs, |site, z| {
            let relu = Arg::value("relu", &1u32);
            Product::forward(format, g).launch(site, [p, relu, x, weight, bias, z])
        });
    }
    let [y, winner] = outputs;
    let product =
        Product { call: "conv2d_maxpool2d_forward", rows: windows(g), ..Product::forward(format, g) };
    if let Some(cut) = product.cut(site.room, pixels(g)) {
        let (partials, parts) = product.launch_parts(site, cut, [p, x, weight])?;
        let columns = Arg::value("columns", &site.size(g.c_out)?);
        return product.reduce(site, product.rows / 4, [partials, columns, parts, bias, y, winner]);
    }
    product.launch(site, [p, x, weight, bias, y, winner])
}

pub fn conv2d_backward_input(
    site: &mut Site,
    format: Format,
    g: Conv2d,
    (dy, weight): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    let [dy, weight, mask, dx] = back(site, g, format.dtype(), (dy, weight), (mask, dx))?;
    let call = "conv2d_backward_input";
    let product = Product { format, call, rows: pixels(g), depth: g.c_out, columns: g.c_in };
    let p = geometry(site, g)?;
    if let Some(cut) = product.cut(site.room, pixels(g)) {
        let (partials, parts) = product.launch_parts(site, cut, [p, dy, weight])?;
        return product.reduce(site, product.rows, [partials, parts, mask, dx]);
    }
    product.launch(site, [p, dy, weight, mask, dx])
}
