//! What was done, or is being done: `run.toml` and `job.toml` as they are written and read.
//!
//! In: the job as the task has it, or a file. Out: the file's text, or the job; a file that cannot be understood
//! is named with the reason.

use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Architecture, Head, Pooling, SIDES};
use crate::task::Host;
use crate::task::course::StageConfig;
use crate::task::fit::HeadOptions;
use crate::task::resume::Job;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `run.toml`, and without a result `job.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this layout.
    pub format: u32,
    /// Version of vgg-ft that wrote it.
    pub vgg_ft: String,
    /// What to build and how to feed it.
    pub network: NetworkConfig,
    /// What it was trained on and how.
    pub training: TrainingConfig,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<ResultConfig>,
}

/// The version of [`Config`] that is written and read.
const FORMAT: u32 = 2;

/// The network of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// `vgg16`.
    pub variant: String,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Pixel scaling.
    pub preprocess: String,
    /// Way to size.
    pub resize: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// What the classifier takes of the last map; all its numbers if the file does not say.
    #[serde(skip_serializing_if = "Pooling::is_flatten", default)]
    pub pooling: Pooling,
    /// Hidden units; 0 for no hidden layer.
    pub units: usize,
    /// Dropout.
    pub dropout: f32,
}

/// How a run was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Whose job it is; of `finetune` if the file is from before there was this line.
    #[serde(default)]
    pub job: Job,
    /// The data or features folder.
    pub data: PathBuf,
    /// The base's weights file, if it was not the one that comes with vgg-ft.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<PathBuf>,
    /// Whether the classifier, too, begins with what that file has, and not at random.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub trained_classifier: bool,
    /// SHA-256 of the base's weights file.
    pub base_weights: String,
    /// Device and precision, in words.
    pub device: String,
    /// In which numbers it computes; f32 if the file is from before there was this line.
    #[serde(default)]
    pub precision: Precision,
    /// SHA-256 over the settings by which the features were made, of a job of `fit`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub features: Option<String>,
    /// Seed.
    pub seed: u64,
    /// Samples that run together.
    pub batch: usize,
    /// Share of each class that was the validation split, if the data had none of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_split: Option<f32>,
    /// The seed that decided who is held out, where it is not the job's: of features.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub split_seed: Option<u64>,
    /// Where the lists are of what earlier runs learned from and held out whose network it began with: beside this file, if
    /// that is the run's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub earlier: Option<PathBuf>,
    /// The SHA-256 of these lists, which decide with the seed who is held out.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub earlier_sha256: Vec<String>,
    /// Training and validation samples.
    pub samples: [usize; 2],
    /// SHA-256 over names, labels and sizes of those that were seen, so that others are not taken for them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub digests: Vec<String>,
    /// Whether activations at the freeze boundary stay.
    #[serde(default)]
    pub keep_features: bool,
    /// Bytes that those activations may take on the disk.
    #[serde(default)]
    pub cache_limit: u64,
    /// Images of the test at most; all if not given. Runs of before have it under its former name.
    #[serde(skip_serializing_if = "Option::is_none", default, alias = "test_pictures")]
    pub test_images: Option<usize>,
    /// In their order.
    pub stages: Vec<StageConfig>,
}

/// What jobs of either kind write down of their training.
pub(in crate::task) struct Begun<'a> {
    /// Of which kind it is.
    pub job: Job,
    /// The data or features folder.
    pub data: &'a Path,
    /// The base's weights file, if one was named.
    pub weights: Option<&'a Path>,
    /// SHA-256 of the base's weights file.
    pub base_weights: &'a str,
    /// The classifier.
    pub head: &'a HeadOptions,
}

impl Begun<'_> {
    /// As the file has it; what else there is to say is left as it is by default.
    ///
    /// # Errors
    /// [`Kind::Io`] when a path cannot be made whole.
    pub fn training(&self, host: &Host) -> Result<TrainingConfig> {
        Ok(TrainingConfig {
            job: self.job,
            data: files::absolute(self.data)?,
            weights: self.weights.map(files::absolute).transpose()?,
            base_weights: self.base_weights.to_owned(),
            device: host.computes(),
            precision: host.device.precision(),
            seed: self.head.seed,
            batch: self.head.batch,
            ..TrainingConfig::default()
        })
    }
}

impl TrainingConfig {
    /// The seed that decided who is held out.
    pub(in crate::task) fn split_seed(&self) -> u64 {
        self.split_seed.unwrap_or(self.seed)
    }

    /// Where the classifier begins at random, what decides how.
    pub(in crate::task) fn classifier_seed(&self) -> Option<u64> {
        (!self.trained_classifier).then_some(self.seed)
    }
}

/// Last figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultConfig {
    /// Training accuracy of the last epoch, or of the best if its weights were put back; so the others.
    pub accuracy: f64,
    /// Validation loss after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_loss: Option<f64>,
    /// Validation accuracy after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_accuracy: Option<f64>,
    /// Validation accuracy after the first stage, if there was a second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub head_val_accuracy: Option<f64>,
    /// Test loss.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_loss: Option<f64>,
    /// Test accuracy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
    /// Wall-clock time of the job, without the time that it was stopped.
    pub seconds: f64,
}

impl Config {
    /// What is written down before the work begins.
    pub(in crate::task) fn new(network: NetworkConfig, training: TrainingConfig) -> Self {
        Self { format: FORMAT, vgg_ft: env!("CARGO_PKG_VERSION").into(), network, training, result: None }
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a path that is no Unicode: TOML can hold no other.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| {
            let TrainingConfig { data, weights, .. } = &self.training;
            let paths = [Some(data), weights.as_ref()].into_iter().flatten();
            let odd: Vec<_> = paths.filter(|path| path.to_str().is_none()).collect();
            let help = if odd.is_empty() {
                "this is a bug in vgg-ft"
            } else {
                "give files and folders names of Unicode characters"
            };
            let error = Error::new(Kind::Usage, "run.toml cannot be written").fact("reason", e);
            odd.iter().fold(error, |error, path| error.fact("path", path.display())).help(help)
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`] when it is damaged or of another version.
    pub fn read(file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            vgg_ft: String,
        }
        let text = files::read_text(file)?;
        let wrong = |e: toml::de::Error| damaged(file, &placed(&text, &e));
        let version: Version = toml::from_str(&text).map_err(wrong)?;
        if version.format != FORMAT {
            return Err(Error::new(Kind::Data, format!("{} is of another version", file.display()))
                .expected_got(format!("format = {FORMAT}"), version.format)
                .help(format!("it was written by vgg-ft {}; use that version", version.vgg_ft)));
        }
        toml::from_str(&text).map_err(wrong)
    }

    /// The network that it describes.
    ///
    /// # Errors
    /// [`Kind::Data`] when there is no such network; `file` is named.
    pub fn architecture(&self, file: &Path) -> Result<Architecture> {
        let network = &self.network;
        let head = Head {
            pooling: network.pooling,
            units: network.units,
            dropout: network.dropout,
            classes: network.classes.len(),
        };
        // Before images are decoded to it: a side of a billion is a damaged file.
        if let Some(side) = network.size.iter().find(|side| !SIDES.contains(side)) {
            let reason = format!("size has a side of {side}; expected {} to {}", SIDES.start(), SIDES.end());
            return Err(damaged(file, &reason));
        }
        network
            .variant
            .parse()
            .and_then(|variant| Architecture::vgg(variant, network.size))
            .and_then(|base| base.with_head(head))
            .map_err(|e| damaged(file, e.message()))
    }
}

/// What is wrong and in which line.
fn placed(text: &str, error: &toml::de::Error) -> String {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    line.map_or_else(|| error.message().to_owned(), |line| format!("line {line}: {}", error.message()))
}

pub(in crate::task) fn damaged(file: &Path, reason: &str) -> Error {
    Error::new(Kind::Data, format!("{} cannot be understood", file.display()))
        .fact("reason", reason)
        .help("correct the file, or train its run again")
}
