//! Two 3x3 convolutions with bias and ReLU, and the 2x2 maximum after them: VGG16's first block.
//!
//! `conv2d_maxpool2d(conv2d(x))` where nothing learns and the device has a kernel for all of it
//! ([`Device::joins`](crate::device::Device::joins)): neither map is ever stored.

use super::output;
use crate::device::Call;
use crate::error::{Error, Kind, Result};
use crate::graph::{Tape, Tensor};
use crate::shape::{Conv2d, Pool2d};

/// `x` `[n, h, w, c_in]`, of each convolution its weight `[c_out, 3, 3, c_in]` in the format of `x` and its bias
/// `[c_out]` f32 → `[n, h/2, w/2, c_out]`.
///
/// # Errors
/// [`Kind::Shape`] when the axes do not fit or the map is smaller than the window; [`Kind::Device`] when something learns
/// or the device does not join them; its errors.
pub fn conv2d_conv2d_maxpool2d(
    tape: &Tape<'_>,
    x: &Tensor,
    [first, first_bias]: [&Tensor; 2],
    [second, second_bias]: [&Tensor; 2],
) -> Result<Tensor> {
    let one = Conv2d::of(x.shape(), first.shape())?;
    let geometries = [one, Conv2d::of(one.y(), second.shape())?];
    let learns = [x, first, first_bias, second, second_bias].into_iter().any(Tensor::learns);
    if learns || !tape.device().joins(geometries) {
        return Err(Error::new(Kind::Device, "two convolutions and a pool are not one op here")
            .help("this is a bug in vgg-ft: `Network::forward` asks before"));
    }
    let pool = Pool2d::of(geometries[1].y())?;
    let mut y = output(tape.device(), x.dtype(), pool.y())?;
    tape.device().run(Call::Conv2dConv2dMaxpool2dForward {
        geometries,
        x: x.buffer(),
        weights: [first.buffer(), second.buffer()],
        biases: [first_bias.buffer(), second_bias.buffer()],
        y: &mut y,
    })?;
    Ok(Tensor::constant(pool.y(), y)?.after_relu())
}
