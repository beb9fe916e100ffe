//! 2x2 maximum with stride 2.
//!
//! `y[n,i,j,c] = max_{a,b in {0,1}} x[n,2i+a,2j+b,c]`; backward gives `dy` to the winner, the first in
//! row order among equals. Two bits per output are remembered, not the input. If `x` is a ReLU's output,
//! its gradient goes through that ReLU on the way: `dy` to the winner where `y > 0`.

use super::output;
use crate::device::{Call, Dtype};
use crate::error::Result;
use crate::graph::{InputGradient, Tape, Tensor};
use crate::shape::Pool2d;

/// `x` `[n, h, w, c]` → `[n, h/2, w/2, c]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the map is smaller than the window; the device's errors.
pub fn maxpool2d(tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
    let geometry = Pool2d::of(x.shape())?;
    let device = tape.device();
    let mut y = output(device, x.dtype(), geometry.y())?;
    let mut winner = if x.learns() { Some(device.alloc(Dtype::U8, geometry.winners())?) } else { None };
    device.run(Call::Maxpool2dForward { geometry, x: x.buffer(), y: &mut y, winner: winner.as_mut() })?;
    let rectified = x.mask().is_some();
    Ok(tape.record("maxpool2d", geometry.y(), y, [x], |_, y| {
        let y = rectified.then(|| y.clone());
        Box::new(move |device, arrived| {
            let Some(winner) = winner else { return Ok(vec![None]) };
            let mut dx = output(device, arrived.dy.dtype(), geometry.x())?;
            let mask = y.as_ref().map(Tensor::buffer);
            let (dy, winner) = (&arrived.dy, &winner);
            device.run(Call::Maxpool2dBackward { geometry, dy, winner, mask, dx: &mut dx })?;
            Ok(vec![Some(if rectified { InputGradient::masked(dx) } else { InputGradient::plain(dx) })])
        })
    }))
}
