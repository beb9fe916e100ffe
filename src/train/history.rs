//! What each epoch gave.

use serde::{Deserialize, Serialize};

/// One epoch's figures. Training figures are running means over the epoch's batches, dropout on, as
/// Keras reports them; validation figures are of the whole set, or of the stage's `validation_steps`, dropout off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// The stage's name: `head`, `finetune`, or what a configuration calls it.
    pub stage: String,
    /// From 1 within its stage.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
    /// Share of training samples that were right.
    pub accuracy: f64,
    /// Mean validation loss.
    pub val_loss: Option<f64>,
    /// Share of validation samples that were right.
    pub val_accuracy: Option<f64>,
    /// Learning rate.
    #[serde(rename = "learning_rate")]
    pub rate: f64,
    /// Wall-clock time of training and validation together.
    pub seconds: f64,
    /// Steps that changed nothing, since a scaled gradient was not finite (f16).
    // In checkpoints from before the file's column was called so: `skipped`.
    #[serde(rename = "skipped_steps", alias = "skipped", default)]
    pub skipped: usize,
}

impl Epoch {
    /// An epoch that measured nothing.
    pub fn blank(stage: &str, epoch: usize) -> Self {
        Self {
            stage: stage.to_owned(),
            epoch,
            loss: 0.0,
            accuracy: 0.0,
            val_loss: None,
            val_accuracy: None,
            rate: 0.0,
            seconds: 0.0,
            skipped: 0,
        }
    }
}

/// All epochs in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// In the order they were run.
    pub epochs: Vec<Epoch>,
}
