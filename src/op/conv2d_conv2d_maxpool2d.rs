//! Two 3x3 convolutions with bias and ReLU, and the 2x2 maximum after them: VGG16's first block.
//!
//! `conv2d_maxpool2d(conv2d(x))`. Where nothing learns and the device has a kernel for all of it neither map is ever
//! stored; else it is those two ops, one after the other.

use super::{conv2d, conv2d_maxpool2d, output};
use crate::device::Call;
use crate::error::Result;
use crate::graph::{Tape, Tensor};
use crate::shape::{Conv2d, Pool2d};

/// `x` `[n, h, w, c_in]`, of each convolution its weight `[c_out, 3, 3, c_in]` in the format of `x` and its bias
/// `[c_out]` f32 → `[n, h/2, w/2, c_out]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the axes do not fit or the map is smaller than the window; the
/// device's errors.
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
        let z = conv2d(tape, x, first, first_bias, true)?;
        return conv2d_maxpool2d(tape, &z, second, second_bias);
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
