//! Networks: what layers there are, what they weigh, what learns, and the walk through them.
//!
//! In: a variant, an input size, a head, a weights file. Out: an [`Architecture`] (pure sizes and
//! names) and a [`Network`] (the same with parameters on a device).

mod architecture;
pub mod classes;
pub mod imagenet;
mod load;
mod network;
mod preprocess;
mod pretrained;
mod trainable;

pub use architecture::{Architecture, Head, Layer, Output, ParameterSpec, Placed, Pooling, Variant};
pub use load::Source;
pub use network::Network;
pub use preprocess::Preprocess;
pub use pretrained::{Lineage, Naming, Pretrained, SIDES, SINCE};
pub use trainable::Trainable;
