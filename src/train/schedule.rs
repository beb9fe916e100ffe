//! How the learning rate goes over a stage.
//!
//! In: the stage's rate, how far it is, and what its epochs gave so far. Out: the rate of the next step.
//! Nothing is kept between steps: a run that is taken up again has the rates of one that never stopped.

use super::history::Epoch;
use super::stopping::Monitor;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

/// The course of the rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// One rate for the whole stage.
    #[default]
    Constant,
    /// Times `factor` after every `every` epochs.
    Step {
        /// Epochs between two cuts.
        every: usize,
        /// What is left of the rate.
        factor: f64,
    },
    /// `floor + (1 - floor)·(1 + cos(π·t)) / 2` of the rate, `t` from 0 to 1 over the stage's steps.
    Cosine {
        /// Share of the rate that is left at the end.
        floor: f64,
    },
    /// Times `factor` when the monitored figure has not improved by 1e-4 for `patience` epochs, as Keras'
    /// `ReduceLROnPlateau`; not below `floor` of the rate.
    Plateau {
        /// Epochs to wait.
        patience: usize,
        /// What is left of the rate.
        factor: f64,
        /// Share of the rate that is never cut.
        floor: f64,
    },
}

/// A stage's rate and its course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The stage's rate.
    pub rate: f32,
    /// Its course.
    pub schedule: Schedule,
    /// Steps over which the rate rises from nothing, evenly.
    pub warmup: usize,
}

/// Where a stage is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Steps of the stage that are done.
    pub step: u64,
    /// Steps that it has in all.
    pub steps: u64,
    /// Its epochs that are done.
    pub epochs: &'a [Epoch],
    /// The figure that a plateau is seen by.
    pub monitor: Monitor,
}

/// Improvements below this are none to Keras' `ReduceLROnPlateau`.
const MIN_DELTA: f64 = 1e-4;

impl Pace {
    /// The rate throughout.
    pub fn constant(rate: f32) -> Self {
        Self { rate, schedule: Schedule::Constant, warmup: 0 }
    }

    /// The rate of the step that comes next.
    pub fn at(&self, place: Place<'_>) -> f32 {
        let warm =
            if place.step < self.warmup as u64 { (place.step + 1) as f64 / self.warmup as f64 } else { 1.0 };
        let share = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Step { every, factor } => factor.powi((place.epochs.len() / every.max(1)) as i32),
            Schedule::Cosine { floor } => {
                let begin = (self.warmup as u64).min(place.steps);
                let (past, all) = (place.step.saturating_sub(begin), (place.steps - begin).max(1));
                let t = (past as f64 / all as f64).min(1.0);
                floor + (1.0 - floor) * (1.0 + (PI * t).cos()) / 2.0
            }
            Schedule::Plateau { patience, factor, floor } => {
                plateau(place.epochs, place.monitor, patience, factor, floor)
            }
        };
        // The untouched rate is handed on as it is.
        if warm * share == 1.0 { self.rate } else { (f64::from(self.rate) * warm * share) as f32 }
    }
}

fn plateau(epochs: &[Epoch], monitor: Monitor, patience: usize, factor: f64, floor: f64) -> f64 {
    let (mut share, mut best, mut waited) = (1.0f64, f64::INFINITY, 0);
    for epoch in epochs {
        // Smaller is better, whatever is watched.
        let value = monitor.cost(epoch);
        if value < best - MIN_DELTA {
            (best, waited) = (value, 0);
            continue;
        }
        waited += 1;
        if waited >= patience {
            (share, waited) = ((share * factor).max(floor), 0);
        }
    }
    share
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { every, factor } => write!(f, "step:{every},{factor}"),
            Self::Cosine { floor } => write!(f, "cosine:{floor}"),
            Self::Plateau { patience, factor, floor } => write!(f, "plateau:{patience},{factor},{floor}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;

    /// `constant`, `step:EVERY[,FACTOR]`, `cosine[:FLOOR]`, `plateau[:PATIENCE[,FACTOR[,FLOOR]]]`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(Kind::Usage, format!("`{text}` is no schedule of the learning rate")).expected_got(
                "constant, step:EPOCHS[,FACTOR], cosine[:FLOOR] or plateau[:EPOCHS[,FACTOR[,FLOOR]]]",
                text,
            )
        };
        let (name, numbers) = text.split_once(':').unwrap_or((text, ""));
        let numbers: Vec<&str> = if numbers.is_empty() { Vec::new() } else { numbers.split(',').collect() };
        let epochs = |at: usize, default: Option<usize>| match numbers.get(at) {
            Some(number) => number.parse().ok().filter(|&n: &usize| n > 0),
            None => default,
        };
        let share = |at: usize, default: f64| match numbers.get(at) {
            Some(number) => number.parse().ok().filter(|n: &f64| (0.0..=1.0).contains(n)),
            None => Some(default),
        };
        let (most, schedule) = match name {
            "constant" => (0, Some(Self::Constant)),
            "step" => {
                (2, epochs(0, None).zip(share(1, 0.1)).map(|(every, factor)| Self::Step { every, factor }))
            }
            "cosine" => (1, share(0, 0.0).map(|floor| Self::Cosine { floor })),
            "plateau" => (
                3,
                epochs(0, Some(5))
                    .zip(share(1, 0.1))
                    .zip(share(2, 0.0))
                    .map(|((patience, factor), floor)| Self::Plateau { patience, factor, floor }),
            ),
            _ => (0, None),
        };
        schedule.filter(|_| numbers.len() <= most).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(val_loss: f64) -> Epoch {
        Epoch { val_loss: Some(val_loss), val_accuracy: Some(0.5), ..Epoch::blank("s", 1) }
    }

    fn rates(pace: Pace, steps: u64, epochs: &[Epoch]) -> Vec<f32> {
        (0..steps).map(|step| pace.at(Place { step, steps, epochs, monitor: Monitor::ValLoss })).collect()
    }

    #[test]
    fn names_and_numbers_read_back() {
        for text in ["constant", "step:3,0.5", "cosine:0.1", "plateau:2,0.2,0.01"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        assert_eq!("step:4".parse::<Schedule>().unwrap(), Schedule::Step { every: 4, factor: 0.1 });
        for text in
            ["", "step", "step:0", "cosine:2", "plateau:1,2", "constant:1", "step:1,0.1,3", "cosine:x"]
        {
            let error = text.parse::<Schedule>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text}");
        }
    }

    #[test]
    fn a_warm_up_rises_evenly_to_the_rate() {
        let pace = Pace { rate: 1.0, schedule: Schedule::Constant, warmup: 4 };
        assert_eq!(rates(pace, 6, &[]), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        // Cosine begins when the rate is warm.
        let pace = Pace { schedule: Schedule::Cosine { floor: 0.0 }, warmup: 2, ..pace };
        let got = rates(pace, 6, &[]);
        assert_eq!(got[..3], [0.5, 1.0, 1.0]);
        assert!(got.windows(2).skip(2).all(|two| two[1] < two[0]) && got[4] == 0.5, "{got:?}");
        // Between the rate and the floor, which it has reached when the steps are over.
        let pace = Pace { rate: 8.0, schedule: Schedule::Cosine { floor: 0.25 }, warmup: 0 };
        assert_eq!(rates(pace, 4, &[])[0], 8.0);
        assert_eq!(rates(pace, 4, &[])[2], 5.0);
        let over = pace.at(Place { step: 4, steps: 4, epochs: &[], monitor: Monitor::ValLoss });
        assert_eq!(over, 2.0);
    }

    #[test]
    fn a_step_cuts_after_whole_epochs() {
        let pace = Pace { schedule: Schedule::Step { every: 2, factor: 0.5 }, ..Pace::constant(8.0) };
        let after = |n: usize| rates(pace, 1, &vec![epoch(1.0); n])[0];
        assert_eq!([0, 1, 2, 3, 4].map(after), [8.0, 8.0, 4.0, 4.0, 2.0]);
    }

    /// The course of `keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5)` on these losses.
    #[test]
    fn a_plateau_cuts_after_the_patience_and_waits_anew() {
        let schedule = Schedule::Plateau { patience: 2, factor: 0.5, floor: 0.25 };
        let pace = Pace { schedule, ..Pace::constant(1.0) };
        // An improvement of less than 1e-4 is none.
        let losses = [1.0, 0.9, 0.89995, 0.95, 0.95, 0.95, 0.8, 0.9, 0.9, 0.9, 0.9];
        let epochs: Vec<Epoch> = losses.iter().map(|&loss| epoch(loss)).collect();
        let got: Vec<f32> = (0..=losses.len()).map(|n| rates(pace, 1, &epochs[..n])[0]).collect();
        assert_eq!(got, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25]);
    }
}
