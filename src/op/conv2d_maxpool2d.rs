//! 3x3 convolution with bias, ReLU and the 2x2 maximum after it, in one pass.
//!
//! `y[n,i,j,o] = max_{a,b in {0,1}} z[n,2i+a,2j+b,o]`, `z = max(conv2d(x), 0)`. The full map does not
//! outlive the call: backward knows each window's winner, and where `y > 0` ReLU was open there, so `dy` goes to
//! the winner where `y > 0`; from there on as `conv2d`.

use super::conv2d::affine;
use super::{fits, output};
use crate::device::{Call, Dtype};
use crate::error::Result;
use crate::graph::{OutputGradient, Tape, Tensor};
use crate::shape::{Conv2d, Pool2d};

/// `x` `[n, h, w, c_in]`, `weight` `[c_out, 3, 3, c_in]` in the format of `x`, `bias` `[c_out]` f32 →
/// `[n, h/2, w/2, c_out]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the axes do not fit or the map is smaller than the window; the
/// device's errors.
pub fn conv2d_maxpool2d(tape: &Tape<'_>, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let geometry = Conv2d::of(x.shape(), weight.shape())?;
    fits("conv2d_maxpool2d: the biases", geometry.c_out, bias.shape().len())?;
    let pool = Pool2d::of(geometry.y())?;
    let device = tape.device();
    let learns = [x, weight, bias].into_iter().any(Tensor::learns);
    let mut y = output(device, x.dtype(), pool.y())?;
    let mut winner = if learns { Some(device.alloc(Dtype::U8, pool.winners())?) } else { None };
    device.run(Call::Conv2dMaxpool2dForward {
        geometry,
        x: x.buffer(),
        weight: weight.buffer(),
        bias: bias.buffer(),
        y: &mut y,
        winner: winner.as_mut(),
    })?;
    let y = tape.record("conv2d_maxpool2d", pool.y(), y, [x, weight, bias], |learns, y| {
        let affine = affine(geometry, learns, [x, weight], None);
        let y = y.clone();
        Box::new(move |device, OutputGradient { dy, masked }| {
            let Some(winner) = winner else { return Ok(vec![None, None, None]) };
            let mut dz = output(device, y.dtype(), geometry.y())?;
            let mask = (!masked).then(|| y.buffer());
            device.run(Call::Maxpool2dBackward {
                geometry: pool,
                dy: &dy,
                winner: &winner,
                mask,
                dx: &mut dz,
            })?;
            // The map is large: what is not needed any more goes first.
            drop((dy, winner, y));
            affine.back_from_sum(device, dz)
        })
    });
    Ok(y.after_relu())
}
