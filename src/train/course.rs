//! What a stage of training is asked for, as plain numbers.

use super::schedule::{Pace, Place};
use super::stopping::Stopping;
use serde::{Deserialize, Serialize};

/// A change of the rate that no schedule foresaw: a run that was taken up at another rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Steps of the stage before it.
    pub step: u64,
    /// What the rate is multiplied by from there on.
    pub factor: f64,
}

/// How the loss counts samples and targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// Share of each target that is spread evenly over the classes, in [0, 1].
    pub smoothing: f32,
    /// What a sample of each class counts in training; 1 for all if not given.
    pub class_weights: Option<Vec<f32>>,
}

/// The plan of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Epochs at most.
    pub epochs: usize,
    /// Samples that run together.
    pub batch: usize,
    /// Batches whose gradients are added up before the weights move, from 1.
    pub accumulate: usize,
    /// Steps (moves of the weights) of an epoch; a pass over the samples if not given.
    pub steps_per_epoch: Option<usize>,
    /// Batches of validation; all samples if not given.
    pub validation_steps: Option<usize>,
    /// Chooses the order of samples, dropout masks, and which samples `validation_steps` are.
    pub seed: u64,
    /// Learning rate.
    pub pace: Pace,
    /// By how much the rate was changed on the way (`resume --rate-factor`), and from which step on: the factors of all
    /// steps that are behind are multiplied.
    pub cuts: Vec<Cut>,
    /// Loss.
    pub loss: LossOptions,
    /// When to stop early, and with what.
    pub stopping: Stopping,
}

impl Course {
    /// Passes of `batch` over all samples at a constant rate.
    pub fn new(epochs: usize, batch: usize, seed: u64, rate: f32) -> Self {
        Self {
            epochs,
            batch,
            accumulate: 1,
            steps_per_epoch: None,
            validation_steps: None,
            seed,
            pace: Pace::constant(rate),
            cuts: Vec::new(),
            loss: LossOptions::default(),
            stopping: Stopping::default(),
        }
    }

    /// The rate of the step that comes next.
    pub fn rate(&self, place: Place<'_>) -> f32 {
        let cuts = self.cuts.iter().filter(|cut| cut.step <= place.step);
        // An untouched rate is handed on as it is.
        cuts.fold(self.pace.at(place), |rate, cut| (f64::from(rate) * cut.factor) as f32)
    }

    /// Samples of one step.
    pub fn samples_per_step(&self) -> usize {
        self.batch * self.accumulate.max(1)
    }

    /// Steps of one epoch over `samples`.
    pub fn steps(&self, samples: usize) -> usize {
        self.steps_per_epoch.unwrap_or_else(|| samples.div_ceil(self.samples_per_step().max(1)))
    }
}
