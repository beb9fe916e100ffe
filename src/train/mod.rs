//! One step, and what it remembers.
//!
//! In: a network, samples, the optimizer's numbers. Out: a network that knows more, and a history.

mod evaluate;
mod fit;
mod history;
pub mod plan;
mod rmsprop;
mod samples;

pub use evaluate::{Score, evaluate, judge, predict};
pub use fit::{Fit, Observer};
pub use history::{Epoch, History};
pub use rmsprop::Optimizer;
pub use samples::{EVALUATION_BATCH, FeatureSamples, PictureSamples, Samples, input};
