//! One step, and what it remembers.
//!
//! In: a network, samples, the optimizer's numbers. Out: a network that knows more, and a history.

mod evaluate;
mod fit;
mod history;
mod pictures;
mod rmsprop;
mod samples;

pub use evaluate::{Score, evaluate, judge, predict};
pub use fit::{Fit, Observer};
pub use history::{Epoch, History};
pub use pictures::PictureSamples;
pub use rmsprop::Optimizer;
pub use samples::{FeatureSamples, Samples, input};
