//! Networks: what layers there are, what they weigh, what learns, and the walk through them.
//!
//! In: a variant, an input size, a head, a weights file. Out: an [`Architecture`] (pure sizes and
//! names) and a [`Network`] (the same with parameters on a device).

mod architecture;
pub mod classes;
mod head;
pub mod imagenet;
mod load;
mod network;
mod preprocess;
mod pretrained;
mod trainable;
mod variant;

pub use architecture::{Architecture, Layer, Output, ParameterSpec, Placed};
pub use head::{Head, Pooling};
pub use load::Source;
pub use network::{DropoutSeed, Network};
pub use preprocess::Preprocess;
pub use pretrained::{Lineage, Naming, Pretrained, SIDES, SINCE};
pub use trainable::Trainable;
pub use variant::Variant;
