//! Tensors, the tape, and the backward pass.
//!
//! In: forward results that ops record. Out: gradients of the parameters that learn. What does not
//! learn is not recorded: freezing is a fact of the graph, not a switch that each op looks at.

mod gradient;
mod tape;
mod tensor;

pub use gradient::{Conv2dBias, Conv2dProduct, Gradient, InputGradient, OutputGradient};
pub use tape::{Backward, Mode, Tape};
pub use tensor::{Parameter, Tensor};
