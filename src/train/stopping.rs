//! Which epoch was best, and whether it is time to stop.
//!
//! In: the epochs of a stage so far. Out: a decision that depends on them alone.

use super::history::Epoch;
use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The figure by which epochs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Validation loss; the training loss where nothing is validated.
    #[default]
    ValLoss,
    /// Validation accuracy; the training accuracy where nothing is validated.
    ValAccuracy,
}

impl Monitor {
    /// All.
    pub const ALL: [Self; 2] = [Self::ValLoss, Self::ValAccuracy];

    /// Its name in Keras.
    pub fn name(self) -> &'static str {
        match self {
            Self::ValLoss => "val_loss",
            Self::ValAccuracy => "val_accuracy",
        }
    }

    /// The epoch's figure.
    pub fn figure(self, epoch: &Epoch) -> f64 {
        match self {
            Self::ValLoss => epoch.val_loss.unwrap_or(epoch.loss),
            Self::ValAccuracy => epoch.val_accuracy.unwrap_or(epoch.accuracy),
        }
    }

    /// What an epoch is compared by: smaller is better.
    pub fn cost(self, epoch: &Epoch) -> f64 {
        match self {
            Self::ValLoss => self.figure(epoch),
            Self::ValAccuracy => -self.figure(epoch),
        }
    }
}

impl FromStr for Monitor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|monitor| monitor.name() == text).ok_or_else(|| {
            Error::new(Kind::Usage, "no such figure").expected_got("val_loss or val_accuracy", text)
        })
    }
}

/// When a stage ends before its epochs are over, and with which weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stopping {
    /// What is watched.
    pub monitor: Monitor,
    /// Epochs without improvement after which the stage ends; `None` for never.
    pub patience: Option<usize>,
    /// Whether the stage ends with the weights of its best epoch, which its observer keeps and puts back.
    pub restore_best: bool,
}

impl Stopping {
    /// The best epoch, the first of equals, by its place in `epochs`.
    pub fn best(&self, epochs: &[Epoch]) -> Option<usize> {
        let costs = epochs.iter().map(|epoch| self.monitor.cost(epoch)).enumerate();
        costs
            .fold(None, |best: Option<(usize, f64)>, (at, cost)| match best {
                Some((_, least)) if cost >= least || cost.is_nan() => best,
                _ => Some((at, cost)),
            })
            .map(|(at, _)| at)
    }

    /// Whether the patience is at an end.
    pub fn over(&self, epochs: &[Epoch]) -> bool {
        let since = self.best(epochs).map_or(0, |best| epochs.len() - 1 - best);
        self.patience.is_some_and(|patience| since >= patience.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(losses: &[f64]) -> Vec<Epoch> {
        let one =
            |&loss| Epoch { val_loss: Some(loss), val_accuracy: Some(1.0 - loss), ..Epoch::blank("s", 1) };
        losses.iter().map(one).collect()
    }

    #[test]
    fn the_first_of_equals_is_best_and_nan_never() {
        for monitor in [Monitor::ValLoss, Monitor::ValAccuracy] {
            let stopping = Stopping { monitor, ..Stopping::default() };
            assert_eq!(stopping.best(&epochs(&[0.5, 0.25, 0.25, 0.75])), Some(1));
            assert_eq!(stopping.best(&epochs(&[0.5, f64::NAN])), Some(0));
            assert_eq!(stopping.best(&[]), None);
        }
    }

    #[test]
    fn patience_counts_epochs_since_the_best() {
        let stopping = Stopping { patience: Some(2), ..Stopping::default() };
        let over = |losses: &[f64]| stopping.over(&epochs(losses));
        assert!(!over(&[0.5]) && !over(&[0.5, 0.6]) && over(&[0.5, 0.6, 0.5]));
        assert!(!over(&[0.5, 0.6, 0.4]) && !Stopping::default().over(&epochs(&[0.1; 99])));
    }

    #[test]
    fn without_validation_training_figures_stand_in() {
        let epoch = Epoch { loss: 0.3, accuracy: 0.8, ..Epoch::blank("s", 1) };
        assert_eq!((Monitor::ValLoss.cost(&epoch), Monitor::ValAccuracy.cost(&epoch)), (0.3, -0.8));
        assert!("val_acc".parse::<Monitor>().is_err() && "val_loss".parse::<Monitor>().is_ok());
    }
}
