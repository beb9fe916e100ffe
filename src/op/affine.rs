//! What conv2d and dense share: the backward pass of `y = f(bias + x ∘ weight)`, `f` = ReLU or nothing.
//!
//! In: the gradient of `y`, and how an op makes the gradients of its weight and its input from that
//! of the sum. Out: the gradients of `x`, weight and bias, of those that learn.

use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::Result;
use crate::graph::{Backward, Gradient, InputGradient, OutputGradient, Tensor};

/// Makes the input's gradient from `dz`, the gradient of the sum before ReLU.
pub(super) type Dx = Box<dyn FnOnce(&dyn Device, &Buffer) -> Result<InputGradient>>;
/// Makes the weight's gradient from `dz`, and the bias' if that goes with it; last of all, so it may keep `dz`. If the
/// gradient waits to be used at once, it is used after this: the input's, made before, has read the weight.
pub(super) type Dweight = Box<dyn FnOnce(Buffer) -> (Gradient, Option<Gradient>)>;

/// The pieces of the way back; a piece that nobody asks for is `None`.
pub(super) struct Affine {
    /// The output, if ReLU followed: where it is 0, nothing flows back.
    pub rectified: Option<Tensor>,
    /// Rows and channels of the output, if the bias learns and its gradient does not go with the weight's.
    pub bias: Option<[usize; 2]>,
    /// The weight's gradient.
    pub weight: Option<Dweight>,
    /// The input's gradient.
    pub x: Option<Dx>,
}

impl Affine {
    /// Gradients of `[x, weight, bias]`.
    pub fn backward(self) -> Backward {
        Box::new(move |device, OutputGradient { dy: mut dz, masked }| {
            if let Some(y) = self.rectified.as_ref().filter(|_| !masked) {
                device.run(Call::ReluBackward { y: y.buffer(), gradient: &mut dz })?;
            }
            self.back_from_sum(device, dz)
        })
    }

    /// The gradients of the inputs from `dz`, that of the sum before the ReLU.
    pub fn back_from_sum(self, device: &dyn Device, dz: Buffer) -> Result<Vec<Option<InputGradient>>> {
        let dbias = self.bias.map(|[rows, channels]| dbias(device, rows, channels, &dz)).transpose()?;
        let dx = self.x.map(|dx| dx(device, &dz)).transpose()?;
        let (dweight, beside) = self.weight.map(|dweight| dweight(dz)).unzip();
        let dbias = dbias.map(Gradient::Stored).or(beside.flatten());
        Ok(vec![dx, dweight.map(InputGradient::from), dbias.map(InputGradient::from)])
    }
}

fn dbias(device: &dyn Device, rows: usize, channels: usize, dy: &Buffer) -> Result<Buffer> {
    let mut dbias = device.alloc(Dtype::F32, channels)?;
    device.run(Call::BiasBackward { rows, channels, dy, dbias: &mut dbias })?;
    Ok(dbias)
}
