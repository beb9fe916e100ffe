//! Pooling: `kernels/maxpool2d.cu`.

use super::Site;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Pool2d;

/// The geometry, as kernels take it.
pub fn windows(site: &Site, Pool2d { n, h, w, c }: Pool2d) -> Result<Arg> {
    let [n, h, w, c] = [site.size(n)?, site.size(h)?, site.size(w)?, site.size(c)?];
    Ok(Arg::value("p", &params::Pool2d { n, h, w, c }))
}

pub fn maxpool2d_forward(
    site: &mut Site,
    g: Pool2d,
    x: &Buffer,
    y: &Buffer,
    winner: Option<&Buffer>,
) -> Result<()> {
    let len = g.y().len();
    let args = [
        windows(site, g)?,
        site.f32("x", x, g.x().len())?,
        site.f32("y", y, len)?,
        site.optional("winner", winner, Dtype::U8, g.winners())?,
    ];
    site.line("maxpool2d_forward", g.winners(), args)
}

pub fn maxpool2d_backward(
    site: &mut Site,
    g: Pool2d,
    (dy, winner): (&Buffer, &Buffer),
    mask: Option<&Buffer>,
    dx: &Buffer,
) -> Result<()> {
    // Those that the border cuts too.
    let all = g.n * g.h.div_ceil(2) * g.w.div_ceil(2) * g.c;
    let args = [
        windows(site, g)?,
        site.f32("dy", dy, g.y().len())?,
        site.buffer("winner", winner, Dtype::U8, g.winners())?,
        site.optional("mask", mask, Dtype::F32, g.y().len())?,
        site.f32("dx", dx, g.x().len())?,
    ];
    site.line("maxpool2d_backward", all.div_ceil(4), args)
}
