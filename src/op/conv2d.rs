//! 3x3 convolution with bias, and ReLU if asked.
//!
//! `z[n,i,j,o] = bias[o] + Σ_{a,b,c} x[n,i+a-1,j+b-1,c] · weight[o,a,b,c]`, `y = max(z, 0)` or `z`.
//! Backward, with `dz = dy` where `y > 0` (ReLU's derivative at 0 is taken as 0, as TensorFlow does):
//! `dx` is a convolution of `dz` with the flipped weight, `dweight` correlates `x` with `dz`, `dbias`
//! sums `dz` over images and places, beside `dweight` where both are asked for. If `x` is a ReLU's output, `dx` goes
//! through that ReLU in the same pass.

use super::affine::{Affine, Dweight, Dx};
use super::{Activation, fits, output};
use crate::device::Call;
use crate::error::Result;
use crate::graph::{Conv2dProduct, Gradient, InputGradient, Tape, Tensor};
use crate::shape::Conv2d;

/// `x` `[n, h, w, c_in]`, `weight` `[c_out, 3, 3, c_in]` in the format of `x`, `bias` `[c_out]` f32 →
/// `[n, h, w, c_out]`.
///
/// # Errors
/// [`Kind::Shape`](crate::error::Kind::Shape) when the axes do not fit; the device's errors.
pub fn conv2d(
    tape: &Tape<'_>,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    let relu = activation.is_relu();
    let geometry = Conv2d::of(x.shape(), weight.shape())?;
    fits("conv2d: the biases", geometry.c_out, bias.shape().len())?;
    let mut y = output(tape.device(), x.dtype(), geometry.y())?;
    tape.device().run(Call::Conv2dForward {
        geometry,
        x: x.buffer(),
        weight: weight.buffer(),
        bias: bias.buffer(),
        relu,
        y: &mut y,
    })?;
    let y = tape.record("conv2d", geometry.y(), y, [x, weight, bias], |learns, y| {
        affine(geometry, learns, [x, weight], relu.then(|| y.clone())).backward()
    });
    Ok(if relu { y.after_relu() } else { y })
}

/// The way back from the sum to `[x, weight, bias]`.
pub(super) fn affine(
    geometry: Conv2d,
    [x_learns, weight_learns, bias_learns]: [bool; 3],
    [x, weight]: [&Tensor; 2],
    rectified: Option<Tensor>,
) -> Affine {
    let alone = bias_learns && !weight_learns;
    Affine {
        rectified,
        bias: alone.then_some([geometry.n * geometry.h * geometry.w, geometry.c_out]),
        weight: weight_learns.then(|| dweight(geometry, x.clone(), bias_learns)),
        x: x_learns.then(|| dx(geometry, x, weight.clone())),
    }
}

fn dweight(geometry: Conv2d, x: Tensor, bias_learns: bool) -> Dweight {
    Box::new(move |dy| {
        if bias_learns {
            let [weight, bias] = Conv2dProduct::with_bias(geometry, x, dy);
            return (weight, Some(bias));
        }
        (Gradient::Conv2d(Conv2dProduct::new(geometry, x, dy)), None)
    })
}

fn dx(geometry: Conv2d, x: &Tensor, weight: Tensor) -> Dx {
    let relu = x.mask().is_some().then(|| x.clone());
    let dtype = x.dtype();
    Box::new(move |device, dy| {
        let mask = relu.as_ref().map(Tensor::buffer);
        let mut dx = output(device, dtype, geometry.x())?;
        device.run(Call::Conv2dBackwardInput { geometry, dy, weight: weight.buffer(), mask, dx: &mut dx })?;
        Ok(if mask.is_some() { InputGradient::masked(dx) } else { InputGradient::plain(dx) })
    })
}
