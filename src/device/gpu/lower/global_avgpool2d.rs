//! The mean of a whole map, and back: `kernels/global_avgpool2d.cu`. f32 only, as the classifier is.

use super::Site;
use crate::device::Buffer;
use crate::device::gpu::launch::Arg;
use crate::device::gpu::params;
use crate::error::Result;
use crate::shape::GlobalPool2d;

fn map(site: &Site, g: GlobalPool2d) -> Result<Arg> {
    let [n, pixels, c] = [site.size(g.n)?, site.size(g.pixels())?, site.size(g.c)?];
    Ok(Arg::value("p", &params::GlobalPool2d { n, pixels, c }))
}

pub fn global_avgpool2d_forward(site: &mut Site, g: GlobalPool2d, x: &Buffer, y: &Buffer) -> Result<()> {
    let args = [map(site, g)?, site.f32("x", x, g.x().len())?, site.f32("y", y, g.y().len())?];
    site.line("global_avgpool2d_forward", g.y().len(), args)
}

pub fn global_avgpool2d_backward(site: &mut Site, g: GlobalPool2d, dy: &Buffer, dx: &Buffer) -> Result<()> {
    let args = [map(site, g)?, site.f32("dy", dy, g.y().len())?, site.f32("dx", dx, g.x().len())?];
    site.line("global_avgpool2d_backward", g.x().len().div_ceil(4), args)
}
