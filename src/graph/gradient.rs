//! A gradient on its way to a parameter: numbers in memory, or the recipe for them.
//!
//! A dense layer's weight gradient is a product of two small matrices and as large as the weight. As
//! long as nobody needs the numbers themselves it stays a product, so that the optimizer can make and
//! use it in one pass.

use super::tensor::Tensor;
use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::Result;
use crate::shape::Dense;

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
}

/// A gradient on its way from an op to a tensor before it.
pub struct Flow {
    /// The gradient.
    pub gradient: Gradient,
    /// Whether it has gone through the ReLU that made the tensor already: it is zero where the tensor is.
    pub masked: bool,
}

impl Flow {
    /// As it is, for whoever made the tensor to go on with.
    pub fn plain(buffer: Buffer) -> Self {
        Gradient::Stored(buffer).into()
    }

    /// Through the ReLU that made the tensor.
    pub fn masked(buffer: Buffer) -> Self {
        Self { gradient: Gradient::Stored(buffer), masked: true }
    }
}

impl From<Gradient> for Flow {
    fn from(gradient: Gradient) -> Self {
        Self { gradient, masked: false }
    }
}

/// All of an op's output's gradient.
pub struct Arrived {
    /// The numbers.
    pub dy: Buffer,
    /// As [`Flow::masked`], of every part.
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
        }
    }
}
