//! Calls that treat every element (or pixel) by itself: `kernels/elementwise.cu`, `dropout.cu`. One thread
//! per 16 bytes of neighbours, f32 or, where the entry has such a form, bf16 or f16.

use super::{Form, Site};
use crate::device::call::{MaskSource, Normalize};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;

pub fn normalize(site: &mut Site, rows: usize, rule: Normalize, pixels: &Buffer, y: &Buffer) -> Result<()> {
    let p = params::Normalize {
        rows: site.size(rows)?,
        order: rule.order.map(|c| u32::from(c.min(2))),
        scale: rule.scale,
        offset: rule.offset,
    };
    let form = Form::of(y);
    let args = [
        Arg::value("p", &p),
        site.buffer("pixels", pixels, Dtype::U8, rows * 3)?,
        site.buffer("y", y, form.dtype, rows * 3)?,
    ];
    site.line(&form.entry("normalize"), rows, args)
}

pub fn relu_forward(site: &mut Site, x: &Buffer, y: &Buffer) -> Result<()> {
    pair(site, "relu_forward", ("x", x), ("y", y))
}

pub fn relu_backward(site: &mut Site, y: &Buffer, gradient: &Buffer) -> Result<()> {
    pair(site, "relu_backward", ("y", y), ("gradient", gradient))
}

pub fn sigmoid(site: &mut Site, x: &Buffer, y: &Buffer) -> Result<()> {
    let len = x.len();
    let args = [elements(site, len)?, site.f32("x", x, len)?, site.f32("y", y, len)?];
    site.line("sigmoid", len.div_ceil(4), args)
}

pub fn add(site: &mut Site, x: &Buffer, into: &Buffer) -> Result<()> {
    pair(site, "add", ("x", x), ("into", into))
}

fn pair(
    site: &mut Site,
    entry: &str,
    (from, x): (&'static str, &Buffer),
    (to, y): (&'static str, &Buffer),
) -> Result<()> {
    let (len, form) = (x.len(), Form::of(x));
    let args =
        [elements(site, len)?, site.buffer(from, x, form.dtype, len)?, site.buffer(to, y, form.dtype, len)?];
    site.line(&form.entry(entry), len.div_ceil(form.lanes), args)
}

fn elements(site: &Site, len: usize) -> Result<Arg> {
    Ok(Arg::value("p", &params::Elements { len: site.size(len)? }))
}

pub fn dropout(site: &mut Site, rate: f32, source: MaskSource, x: &Buffer, y: &Buffer) -> Result<()> {
    let len = x.len();
    let MaskSource { seed, stream, counter } = source;
    let p = params::Dropout {
        len: site.size(len)?,
        rate,
        scale: 1.0 / (1.0 - rate),
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        stream: stream as u32,
        counter_low: counter as u32,
        counter_high: (counter >> 32) as u32,
    };
    let args = [Arg::value("p", &p), site.f32("x", x, len)?, site.f32("y", y, len)?];
    site.line("dropout", len.div_ceil(4), args)
}
