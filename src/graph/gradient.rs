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
