//! Images gathered, moved and normalized: `kernels/augment.cu`.

use super::site::LINEAR;
use super::{Form, Site};
use crate::device::augment::{Border, Gather, Transform};
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;

pub fn augment(
    site: &mut Site,
    g: Gather,
    pixels: &Buffer,
    (indices, transforms): (&Buffer, &Buffer),
    y: &Buffer,
) -> Result<()> {
    let (border, value) = match g.border {
        Border::Nearest => (0, 0.0),
        Border::Reflect => (1, 0.0),
        Border::Wrap => (2, 0.0),
        Border::Constant(value) => (3, value),
    };
    let p = params::Augment {
        count: site.size(g.count)?,
        n: site.size(g.n)?,
        h: site.size(g.h)?,
        w: site.size(g.w)?,
        border,
        value,
        order: g.rule.order.map(|c| u32::from(c.min(2))),
        scale: g.rule.scale,
        offset: g.rule.offset,
    };
    let p = Arg::value("p", &p);
    let area = g.h * g.w;
    // The kernel counts an image's place in 64 bits, so the set may be larger than other tensors.
    let pixels = site.set("pixels", pixels, Dtype::U8, g.count * area * 3)?;
    let indices = site.buffer("indices", indices, Dtype::U32, g.n)?;
    let transforms = site.buffer("transforms", transforms, Dtype::U32, g.n * Transform::WORDS)?;
    let form = Form::of(y);
    let y = site.buffer("y", y, form.dtype, g.n * area * 3)?;
    let mut ranges = Arg::nothing("ranges", Dtype::F32);
    if g.ranged && area > 0 {
        ranges = site.scratch("ranges", g.n * 2)?;
        let args = [p.clone(), pixels.clone(), indices.clone(), transforms.clone(), ranges.clone()];
        site.launch("augment_range", [g.n, 1, 1], LINEAR, args)?;
    }
    let fault = site.fault();
    site.line(&form.entry("augment"), g.n * area, [p, pixels, indices, transforms, ranges, y, fault])
}
