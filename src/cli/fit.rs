//! The options of `fit`.

use super::begin;
use super::train::{HeadArgs, TrainArgs, head_rate};
use super::values::{positive, rate};
use crate::error::Result;
use crate::task;
use clap::Args;
use std::path::PathBuf;

/// `fit`
#[derive(Args, Debug)]
pub struct FitArgs {
    /// Folder that `extract` wrote
    pub features: PathBuf,
    /// Folder for the run
    #[arg(long, short, value_name = "RUN")]
    pub output: PathBuf,
    /// Write over a run that is there
    #[arg(long)]
    pub force: bool,
    /// Passes over the training set
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = positive)]
    pub epochs: usize,
    /// Learning rate [default: 2e-5; with --pooling avg or --units 0 1e-4, with both 1e-3]
    #[arg(long, aliases = ["learning-rate", "lr"], value_name = "RATE", value_parser = rate)]
    pub rate: Option<f32>,
    /// Go on where an earlier run of the same command was stopped, or begin where there is none
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub head: HeadArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub train: TrainArgs,
    /// Weights of the convolutional base, to be saved with the classifier; must be the ones the features were
    /// extracted with
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

impl FitArgs {
    /// The job.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for numbers that cannot be.
    pub fn job(self) -> Result<task::Fit> {
        let rate = self.rate.unwrap_or(head_rate(self.head.pooling, self.head.units));
        Ok(task::Fit {
            features: self.features,
            output: self.output,
            begin: begin(self.force, self.resume),
            stage: self.train.stage("head", None, self.epochs, rate)?,
            head: self.head.options(None),
            weights: self.weights,
        })
    }
}
