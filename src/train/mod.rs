//! Training: steps and epochs, rules and schedules, early stopping, checkpoints; and what is asked of a trained network.
//!
//! In: a network, samples, the optimizer's numbers. Out: the network with other weights, and a history; scores, maps.

mod checkpoint;
mod checksum;
mod clock;
mod course;
mod evaluate;
mod fit;
mod gradcam;
mod history;
mod late;
mod observer;
mod optimizer;
mod images;
pub mod plan;
mod sampler;
mod samples;
mod scaler;
mod schedule;
mod stopping;
mod views;

pub use crate::op::Score;
pub use checkpoint::{Best, Checkpoint};
pub use clock::Clock;
pub use course::{Course, Cut, LossOptions};
pub use evaluate::{Judged, Targets, forward, judge, predict};
pub use fit::Fit;
pub use gradcam::{Cam, Saliency, cams, gradcam, last_convolution, saliency};
pub use history::{Epoch, History};
pub use images::ImageSamples;
pub use observer::{Observer, Position};
pub use optimizer::{Optimizer, State, uses_at_once};
pub use sampler::{Sampler, samples_seen};
pub use samples::{FeatureSamples, Samples, input, rows_at_once};
pub use scaler::Scaler;
pub use schedule::{Pace, Place, Schedule};
pub use stopping::{Monitor, Stopping};
pub use views::Views;
