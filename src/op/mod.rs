//! The operations, one file each: formula, shape rule, forward, backward.
//!
//! In: tensors and the tape. Out: a tensor, recorded if one of its inputs learns. An op makes
//! [`Call`](crate::device::Call)s and knows nothing of how a device does them.

mod affine;
mod augment;
mod cast;
mod conv2d;
mod conv2d_conv2d_maxpool2d;
mod conv2d_maxpool2d;
mod dense;
mod dropout;
mod global_avgpool2d;
mod loss;
mod maxpool2d;
mod normalize;
mod output;
mod relu;

pub use augment::augment;
pub use cast::cast;
pub use conv2d::conv2d;
pub use conv2d_conv2d_maxpool2d::conv2d_conv2d_maxpool2d;
pub use conv2d_maxpool2d::conv2d_maxpool2d;
pub use dense::dense;
pub use dropout::dropout;
pub use global_avgpool2d::global_avgpool2d;
pub use loss::{Loss, LossArrival, Score, sigmoid_cross_entropy, softmax_cross_entropy};
pub use maxpool2d::maxpool2d;
pub use normalize::normalize;
pub use output::{sigmoid, softmax};
pub use relu::relu;

/// What a convolution or a dense layer does with its sums, in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing: `y = z`.
    Linear,
    /// `y = max(z, 0)`.
    Relu,
}

impl Activation {
    fn is_relu(self) -> bool {
        self == Self::Relu
    }
}

use crate::device::{Buffer, Device, Dtype};
use crate::error::{Error, Kind, Result};
use crate::shape::Shape;

/// Whether `what` has as many elements as its op needs.
fn fits(what: &str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::new(Kind::Shape, format!("{what} have another length")).expected_got(expected, got))
}

/// Memory for a result of `shape`. It is of its input's format, and a gradient of that of what it belongs to; those of
/// parameters are f32.
fn output(device: &dyn Device, dtype: Dtype, shape: Shape) -> Result<Buffer> {
    device.alloc(dtype, shape.len())
}
