//! The mean of a whole map.
//!
//! `y[n,c] = Σ_{i,j} x[n,i,j,c] / (h·w)`; backward spreads `dy` evenly, `dx[n,i,j,c] = dy[n,c] / (h·w)`, and remembers
//! nothing but sizes. Lin, Chen & Yan 2013, "Network in Network", section 3.2.

use super::output;
use crate::device::Call;
use crate::error::Result;
use crate::graph::{InputGradient, Tape, Tensor};
use crate::shape::GlobalPool2d;

/// `x` `[n, h, w, c]` → `[n, c]`, f32.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when `x` is no map or one without pixels; the device's errors.
pub fn global_avgpool2d(tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
    let geometry = GlobalPool2d::of(x.shape())?;
    let mut y = output(tape.device(), x.dtype(), geometry.y())?;
    tape.device().run(Call::GlobalAvgpool2dForward { geometry, x: x.buffer(), y: &mut y })?;
    Ok(tape.record("global_avgpool2d", geometry.y(), y, [x], |_, _| {
        Box::new(move |device, arrived| {
            let mut dx = output(device, arrived.dy.dtype(), geometry.x())?;
            device.run(Call::GlobalAvgpool2dBackward { geometry, dy: &arrived.dy, dx: &mut dx })?;
            Ok(vec![Some(InputGradient::plain(dx))])
        })
    }))
}
