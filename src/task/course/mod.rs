//! A stage of training as it is written down in `run.toml`, and as the engine takes it.
//!
//! In: names and numbers from the command line or a file. Out: a [`Course`], an [`Optimizer`], and sentences
//! about them.

mod class_weights;
mod idle;
mod optimizer;
#[cfg(test)]
mod tests;

pub use class_weights::{Auto, ClassWeights};
pub(super) use idle::without_effect;
pub use optimizer::{OptimizerConfig, RuleName};

use crate::data::Augment;
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Network, Trainable};
use crate::report::counted;
use crate::train::{Course, Cut, LossOptions, Monitor, Optimizer, Pace, Schedule, Stopping, samples_seen};
use optimizer::is_false;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// One stage, as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Its name in the history.
    pub name: String,
    /// The first layer that learns; the classifier alone if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unfreeze_from: Option<String>,
    /// Epochs at most.
    pub epochs: usize,
    /// Learning rate.
    pub rate: f32,
    /// Steps of an epoch; a pass over the samples if not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steps_per_epoch: Option<usize>,
    /// Batches of validation; all samples if not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_steps: Option<usize>,
    /// Batches whose gradients are added up before the weights move.
    #[serde(skip_serializing_if = "is_one", default = "one")]
    pub accumulate: usize,
    /// Steps over which the rate rises.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub warmup: usize,
    /// The course of the rate, as on the command line.
    #[serde(with = "text", default)]
    pub schedule: Schedule,
    /// What `resume --rate-factor` did to the rate, so that the stage can be run again as it was.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rate_cuts: Vec<Cut>,
    /// Factors of the rate by block (`block5`, `classifier`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub rates: BTreeMap<String, f32>,
    /// Share of each target that is spread evenly over the classes, in training and in the validation after each epoch;
    /// what is measured afterwards is without it.
    #[serde(skip_serializing_if = "is_nothing", default)]
    pub label_smoothing: f32,
    /// What samples of each class count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class_weights: Option<ClassWeights>,
    /// The figure by which epochs are compared.
    #[serde(default)]
    pub monitor: Monitor,
    /// Epochs without improvement after which the stage ends.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub early_stopping: Option<usize>,
    /// Whether the stage ends with the weights of its best epoch.
    #[serde(skip_serializing_if = "is_false", default)]
    pub restore_best: bool,
    /// The rule.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// How training images are changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub augment: Option<Augment>,
}

fn one() -> usize {
    1
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(n: &usize) -> bool {
    *n == 1
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &usize) -> bool {
    *n == 0
}
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_nothing(x: &f32) -> bool {
    *x == 0.0
}

/// A value that is written as on the command line.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err = crate::error::Error>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error: crate::error::Error| de::Error::custom(error.message()))
    }
}

/// The name that stands for the classifier in [`StageConfig::rates`].
const CLASSIFIER: &str = "classifier";

impl StageConfig {
    /// A stage without anything special.
    pub fn new(name: &str, unfreeze_from: Option<&str>, epochs: usize, rate: f32) -> Self {
        Self {
            name: name.to_owned(),
            unfreeze_from: unfreeze_from.map(str::to_owned),
            epochs,
            rate,
            steps_per_epoch: None,
            validation_steps: None,
            accumulate: 1,
            warmup: 0,
            schedule: Schedule::Constant,
            rate_cuts: Vec::new(),
            rates: BTreeMap::new(),
            label_smoothing: 0.0,
            class_weights: None,
            monitor: Monitor::ValLoss,
            early_stopping: None,
            restore_best: false,
            optimizer: OptimizerConfig::default(),
            augment: None,
        }
    }

    /// Multiplies the rate from the step on that follows `step` others of this stage.
    pub fn cut_rate(&mut self, step: u64, factor: f64) {
        // One more, also where there is one at that step: `take_over_cuts` knows those that a configuration brought by
        // their coming first.
        self.rate_cuts.push(Cut { step, factor });
    }

    /// The position of the first layer that learns.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there is no such layer in the base.
    pub fn boundary(&self, architecture: &Architecture) -> Result<usize> {
        let Some(name) = &self.unfreeze_from else { return Ok(architecture.base()) };
        let position = Trainable::from(architecture, name)?.from;
        if position >= architecture.base() {
            return Err(Error::new(
                Kind::Usage,
                format!("`{name}` is part of the classifier, which always learns"),
            )
            .help(
                "name a layer of the base, such as block5_conv1; for the classifier alone use --epochs 0",
            ));
        }
        Ok(position)
    }

    /// Whether something of the base is unfrozen, if that is asked for. (Runs that are there may have asked for nothing.)
    ///
    /// # Errors
    /// [`Kind::Usage`] for a layer from which on the base has no weights.
    pub fn unfreezes(&self, architecture: &Architecture) -> Result<()> {
        let Some(name) = &self.unfreeze_from else { return Ok(()) };
        let position = self.boundary(architecture)?;
        if !architecture.layers()[position..architecture.base()].iter().any(|placed| placed.kernel.is_some())
        {
            let last = architecture.layers()[..position].iter().rfind(|placed| placed.kernel.is_some());
            let last = last.map_or("block5_conv1", |placed| &placed.name);
            return Err(Error::new(
                Kind::Usage,
                format!("neither `{name}` nor a layer of the base after it has weights to unfreeze"),
            )
            .help(format!("name a convolution, such as {last}; for the classifier alone use --epochs 0")));
        }
        Ok(())
    }

    /// Whether the numbers can be.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the first that cannot.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, expected: &str, got: &dyn fmt::Display| {
            Err(Error::new(Kind::Usage, format!("stage `{}`: `{name}` cannot have this value", self.name))
                .expected_got(expected, got)
                .help("change it where it was given: the option, or its line in the configuration"))
        };
        if self.name.is_empty() || self.name.contains([',', '"', '\n', '\r']) {
            return wrong("name", "a name without commas, quotes and line breaks", &self.name);
        }
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return wrong("rate", "a positive number", &self.rate);
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return wrong("label_smoothing", "a share from 0 to 1", &self.label_smoothing);
        }
        if self.accumulate == 0 {
            return wrong("accumulate", "1 or more", &self.accumulate);
        }
        for (name, steps) in [
            ("steps_per_epoch", self.steps_per_epoch),
            ("validation_steps", self.validation_steps),
            ("early_stopping", self.early_stopping),
        ] {
            if steps == Some(0) {
                return wrong(name, "1 or more", &0);
            }
        }
        for (block, factor) in &self.rates {
            if !(*factor >= 0.0 && factor.is_finite()) {
                return wrong(&format!("rates.{block}"), "a factor of the rate, from 0 up", factor);
            }
        }
        for cut in &self.rate_cuts {
            if !(cut.factor > 0.0 && cut.factor.is_finite()) {
                return wrong("rate_cuts", "factors above 0", &cut.factor);
            }
        }
        if let Some(ClassWeights::Given(weights)) = &self.class_weights
            && let Some(weight) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite()))
        {
            return wrong("class_weights", "numbers from 0 up", weight);
        }
        if let Some(ClassWeights::Given(weights)) = &self.class_weights
            && weights.iter().all(|weight| *weight == 0.0)
        {
            return wrong("class_weights", "one above 0 at least", &0);
        }
        if let Some(augment) = &self.augment {
            augment.validate()?;
        }
        self.optimizer.validate()
    }

    /// How many of `samples` are validated with after each epoch, `batch` at a time.
    pub fn validated(&self, batch: usize, samples: usize) -> usize {
        self.validation_steps.map_or(samples, |steps| steps.saturating_mul(batch).min(samples))
    }

    /// Steps of one epoch over `samples`, `batch` at a time, as [`Course::steps`].
    pub fn steps(&self, batch: usize, samples: usize) -> usize {
        self.steps_per_epoch.unwrap_or_else(|| samples.div_ceil((batch * self.accumulate).max(1)))
    }

    /// How many samples its epochs from `epochs.start` to before `epochs.end` learn from, of `samples`, `batch` at a time.
    pub fn learned(&self, batch: usize, samples: usize, epochs: Range<usize>) -> u64 {
        let steps = self.steps(batch, samples) as u64;
        let [start, end] = [epochs.start, epochs.end].map(|epoch| steps.saturating_mul(epoch as u64));
        samples_seen(samples, batch.saturating_mul(self.accumulate), start..end)
    }

    /// Whether it compares epochs.
    pub fn watches(&self) -> bool {
        let plateau = matches!(self.schedule, Schedule::Plateau { .. });
        plateau || self.restore_best || self.early_stopping.is_some()
    }

    /// As the engine takes it.
    ///
    /// # Errors
    /// [`Kind::Usage`] when class weights do not fit the classes.
    pub fn course(&self, batch: usize, seed: u64, classes: &[String], labels: &[u32]) -> Result<Course> {
        let class_weights =
            self.class_weights.as_ref().map(|weights| weights.numbers(classes, labels)).transpose()?;
        Ok(Course {
            epochs: self.epochs,
            batch,
            accumulate: self.accumulate,
            steps_per_epoch: self.steps_per_epoch,
            validation_steps: self.validation_steps,
            seed,
            pace: Pace { rate: self.rate, schedule: self.schedule, warmup: self.warmup },
            cuts: self.rate_cuts.clone(),
            loss: LossOptions { smoothing: self.label_smoothing, class_weights },
            stopping: Stopping {
                monitor: self.monitor,
                patience: self.early_stopping,
                restore_best: self.restore_best,
            },
        })
    }

    /// Whether what it says of blocks and classes is there: asked before the images are worked on.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `rates` names no block, or there is not one weight for each class.
    pub fn suits(&self, architecture: &Architecture, classes: &[String]) -> Result<()> {
        let blocks: Vec<&str> = blocks(architecture).map(|(_, _, block)| block).collect();
        if let Some(name) = self.rates.keys().find(|name| !blocks.contains(&name.as_str())) {
            let mut each = blocks;
            each.dedup();
            return Err(Error::new(Kind::Usage, format!("there is no block `{name}` to give a rate to"))
                .fact("blocks", each.join(" "))
                .help("name one of these: --rates block5=1,block4=0.5"));
        }
        match &self.class_weights {
            Some(weights) => weights.numbers(classes, &[]).map(|_| ()),
            None => Ok(()),
        }
    }

    /// A fresh optimizer for `network`. Compiling again in Keras, as the notebook does between its stages,
    /// starts the optimizer afresh; so does a stage. Blocks without a rate have factor 1.
    pub fn optimizer(&self, network: &Network) -> Optimizer {
        let mut optimizer = Optimizer::new(self.optimizer.rule(self.rate), network.parameters().len());
        optimizer.adjust = self.optimizer.adjust();
        for (_, kernel, block) in blocks(network.architecture()) {
            if let Some(&factor) = self.rates.get(block) {
                optimizer.factors[kernel..kernel + 2].fill(factor);
            }
        }
        optimizer
    }
}

/// The position of each layer that has weights, the number of its kernel among the parameters, and the block that rates
/// know it by.
fn blocks(architecture: &Architecture) -> impl Iterator<Item = (usize, usize, &str)> {
    architecture.layers().iter().enumerate().filter_map(|(position, placed)| {
        let block = if position >= architecture.base() {
            CLASSIFIER
        } else {
            placed.name.split('_').next().unwrap_or_default()
        };
        Some((position, placed.kernel?, block))
    })
}

impl fmt::Display for StageConfig {
    /// "block5_conv1 on, 4 epochs, rmsprop 1e-5", and what is special.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unfreeze_from {
            Some(layer) => write!(f, "from {layer} on")?,
            None => f.write_str("classifier")?,
        }
        write!(f, ", {}, {} {:e}", counted(self.epochs, "epoch"), self.optimizer, self.rate)?;
        if self.schedule != Schedule::Constant {
            write!(f, " {}", self.schedule)?;
        }
        for Cut { step, factor } in &self.rate_cuts {
            match step {
                0 => write!(f, " times {factor}")?,
                _ => write!(f, " times {factor} after {}", counted(*step as usize, "step"))?,
            }
        }
        for (block, factor) in &self.rates {
            write!(f, ", {block} times {factor}")?;
        }
        if self.warmup > 0 {
            write!(f, ", warm-up {}", counted(self.warmup, "step"))?;
        }
        if self.accumulate > 1 {
            write!(f, ", {} batches a step", self.accumulate)?;
        }
        if let Some(steps) = self.steps_per_epoch {
            write!(f, ", {} an epoch", counted(steps, "step"))?;
        }
        if self.label_smoothing > 0.0 {
            write!(f, ", label smoothing {}", self.label_smoothing)?;
        }
        if self.class_weights.is_some() {
            f.write_str(", weighted classes")?;
        }
        if let Some(patience) = self.early_stopping {
            write!(f, ", stops {} after the best {}", counted(patience, "epoch"), self.monitor.name())?;
        }
        if self.restore_best {
            f.write_str(", ends with its best epoch")?;
        }
        if self.augment.is_some() {
            f.write_str(", augmented")?;
        }
        Ok(())
    }
}
