//! Pooling: `kernels/maxpool2d.cu`.

use super::Site;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::device::{Buffer, Dtype};
use crate::error::Result;
use crate::shape::Pool2d;

fn windows(site: &Site, Pool2d { n, h, w, c }: Pool2d) -> Result<Arg> {
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
        site.optional("winner", winner, Dtype::U8, len)?,
    ];
    site.line("maxpool2d_forward", len, args)
}

pub fn maxpool2d_backward(
    site: &mut Site,
    g: Pool2d,
    dy: &Buffer,
    winner: &Buffer,
    dx: &Buffer,
) -> Result<()> {
    let len = g.x().len();
    let args = [
        windows(site, g)?,
        site.f32("dy", dy, g.y().len())?,
        site.buffer("winner", winner, Dtype::U8, g.y().len())?,
        site.f32("dx", dx, len)?,
    ];
    site.line("maxpool2d_backward", len, args)
}
