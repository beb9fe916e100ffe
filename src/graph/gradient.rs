//! A gradient on its way to a parameter: numbers in memory, or the recipe for them.
//!
//! A weight's gradient is a product of what the layer saw and of what came back, and as large as the weight. As
//! long as nobody needs the numbers themselves it stays a product, so that the optimizer can make and use it in one
//! pass. A convolution's bias goes with its weight: whoever makes the weight's numbers makes the bias' beside them.

use super::tensor::Tensor;
use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::Result;
use crate::shape::{Conv2d, Dense};
use std::cell::Cell;
use std::rc::{Rc, Weak};

/// What flows back to a tensor or a parameter.
pub enum Gradient {
    /// The numbers.
    Stored(Buffer),
    /// `dweight[i,o] = Σ_n dy[n,o] · x[n,i]`, not yet computed.
    Dense {
        /// Sizes of the layer.
        geometry: Dense,
        /// Its input, `[n, c_in]`.
        x: Tensor,
        /// The gradient of its sum before ReLU, `[n, c_out]`.
        dy: Buffer,
    },
    /// A convolution's weight's, not yet computed.
    Conv2d(Conv2dProduct),
    /// Its bias', which may have been computed with the weight's: if the bias was put on the tape before the weight, so
    /// that the way back meets the weight first.
    Conv2dBias(Rc<Conv2dBias>),
}

/// `dweight[o,a,b,c] = Σ_{n,i,j} dy[n,i,j,o] · x[n,i+a-1,j+b-1,c]`, and who waits for `dbias`.
pub struct Conv2dProduct {
    /// Sizes of the layer.
    pub geometry: Conv2d,
    /// Its input, `[n, h, w, c_in]`.
    pub x: Tensor,
    /// The gradient of its sum before ReLU, `[n, h, w, c_out]`.
    pub dy: Rc<Buffer>,
    bias: Weak<Conv2dBias>,
}

/// `dbias[o] = Σ_{n,i,j} dy[n,i,j,o]`.
pub struct Conv2dBias {
    geometry: Conv2d,
    dy: Rc<Buffer>,
    made: Cell<Option<Buffer>>,
}

impl Conv2dProduct {
    /// Of the weight alone.
    pub fn new(geometry: Conv2d, x: Tensor, dy: Buffer) -> Self {
        Self { geometry, x, dy: Rc::new(dy), bias: Weak::new() }
    }

    /// Of the weight and the bias: `[weight's, bias']`.
    pub fn with_bias(geometry: Conv2d, x: Tensor, dy: Buffer) -> [Gradient; 2] {
        let mut product = Self::new(geometry, x, dy);
        let bias = Rc::new(Conv2dBias { geometry, dy: Rc::clone(&product.dy), made: Cell::new(None) });
        product.bias = Rc::downgrade(&bias);
        [Gradient::Conv2d(product), Gradient::Conv2dBias(bias)]
    }

    /// Computes it by `call`, which is given room for the bias' gradient if somebody still waits for that.
    ///
    /// # Errors
    /// The device's errors; those of `call`.
    pub fn compute(
        &self,
        device: &dyn Device,
        call: impl FnOnce(Option<&mut Buffer>) -> Result<()>,
    ) -> Result<()> {
        let Some(bias) = self.bias.upgrade() else { return call(None) };
        let mut dbias = device.alloc(Dtype::F32, self.geometry.c_out)?;
        call(Some(&mut dbias))?;
        bias.made.set(Some(dbias));
        Ok(())
    }
}

impl Conv2dBias {
    fn store(&self, device: &dyn Device) -> Result<Buffer> {
        if let Some(made) = self.made.take() {
            return Ok(made);
        }
        let Conv2d { n, h, w, c_out: channels, .. } = self.geometry;
        let mut dbias = device.alloc(Dtype::F32, channels)?;
        device.run(Call::BiasBackward { rows: n * h * w, channels, dy: &self.dy, dbias: &mut dbias })?;
        Ok(dbias)
    }
}

/// A gradient on its way from an op to a tensor before it.
pub struct InputGradient {
    /// The gradient.
    pub gradient: Gradient,
    /// Whether it has gone through the ReLU that made the tensor already: it is zero where the tensor is.
    pub masked: bool,
}

impl InputGradient {
    /// As it is, for whoever made the tensor to go on with.
    pub fn plain(buffer: Buffer) -> Self {
        Gradient::Stored(buffer).into()
    }

    /// Through the ReLU that made the tensor.
    pub fn masked(buffer: Buffer) -> Self {
        Self { gradient: Gradient::Stored(buffer), masked: true }
    }
}

impl From<Gradient> for InputGradient {
    fn from(gradient: Gradient) -> Self {
        Self { gradient, masked: false }
    }
}

/// All of an op's output's gradient.
pub struct OutputGradient {
    /// The numbers.
    pub dy: Buffer,
    /// As [`InputGradient::masked`], of every part.
    pub masked: bool,
}

impl Gradient {
    /// The numbers, computed now if they were not.
    ///
    /// # Errors
    /// The device's errors.
    pub fn store(self, device: &dyn Device) -> Result<Buffer> {
        match self {
            Self::Stored(buffer) => Ok(buffer),
            Self::Dense { geometry, x, dy } => {
                let mut dweight = device.alloc(Dtype::F32, geometry.weight().len())?;
                device.run(Call::DenseBackwardWeight {
                    geometry,
                    x: x.buffer(),
                    dy: &dy,
                    dweight: &mut dweight,
                })?;
                Ok(dweight)
            }
            Self::Conv2d(product) => {
                let geometry = product.geometry;
                let mut dweight = device.alloc(Dtype::F32, geometry.weight().len())?;
                product.compute(device, |dbias| {
                    let (x, dy, dweight) = (product.x.buffer(), &*product.dy, &mut dweight);
                    device.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias })
                })?;
                Ok(dweight)
            }
            Self::Conv2dBias(bias) => bias.store(device),
        }
    }
}
