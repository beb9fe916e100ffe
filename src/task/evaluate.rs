//! `evaluate`: a run on labelled pictures.

use super::pictures::{Reading, decode};
use super::run::Run;
use super::{Host, extract};
use crate::data::{Pictures, Splits};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::model::{Network, Preprocess};
use crate::report::Outcome;
use crate::train::{PictureSamples, Samples, judge};
use serde::Serialize;
use std::path::PathBuf;

/// A split by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitName {
    /// `train/`
    Train,
    /// `validation/`
    Validation,
    /// `test/`
    Test,
}

impl SplitName {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Evaluate {
    /// The run folder.
    pub run: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Which split; the best one that is there if not given.
    pub split: Option<SplitName>,
    /// Pictures per pass.
    pub batch: usize,
    /// How folders are read.
    pub reading: Reading,
}

/// Prints loss, accuracy, confusion matrix and figures per class.
///
/// # Errors
/// Of run, data and device; [`Kind::Data`] when the classes are not the run's.
pub fn evaluate(host: &Host, job: &Evaluate) -> Result<()> {
    host.introduce();
    let run = Run::open(&job.run)?;
    let mut splits = Splits::open(&job.data, None, 0)?;
    let training = &run.config.training;
    if let Some(share) = training.validation_split
        && splits.validation.is_none()
        && job.split != Some(SplitName::Test)
    {
        // The split that the run was trained with.
        splits = Splits::open(&job.data, Some(share), training.seed)?;
    }
    let there = extract::named(&splits);
    let chosen = match job.split {
        Some(split) => there.iter().find(|(name, _)| *name == split.name()).ok_or_else(|| {
            let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
            Error::new(Kind::Usage, format!("{} has no split `{}`", job.data.display(), split.name()))
                .fact("splits", names.join(" "))
                .help("choose one of these with --split")
        })?,
        // Train, validation, test is the order of preference backwards.
        None => there.last().ok_or_else(|| Error::new(Kind::Data, "there are no pictures"))?,
    };
    let (name, folder) = *chosen;
    let classes = &run.config.network.classes;
    if &folder.classes != classes {
        return Err(Error::new(
            Kind::Data,
            format!("{} has other classes than the run", folder.root.display()),
        )
        .expected_got(classes.join(" "), folder.classes.join(" "))
        .help("name the class folders as they were named for training"));
    }
    let network = run.network(host)?;
    let size = run.architecture.input;
    let pictures = decode(host, name, folder, size, run.resize()?, &job.reading)?;
    if name == "train" {
        host.say("note: there is no other split, so pictures that the run was trained on may be among these");
    }
    let preprocess = run.preprocess()?;
    let outcome = test(host, &network, &pictures, preprocess, classes, job.batch)?;
    host.result(&format!("{name}\n{}", outcome.text()), &Named { split: name, outcome })
}

/// An outcome and the split it is of.
#[derive(Serialize)]
struct Named {
    split: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Runs the whole network over `pictures`.
///
/// # Errors
/// The device's; [`Kind::Interrupted`].
pub(super) fn test(
    host: &Host,
    network: &Network,
    pictures: &Pictures,
    preprocess: Preprocess,
    classes: &[String],
    batch: usize,
) -> Result<Outcome> {
    let samples = PictureSamples::once(pictures, preprocess.rule());
    let progress = host.progress("evaluating", pictures.len(), "images");
    let all: Vec<u32> = (0..pictures.len() as u32).collect();
    let mut pairs = Vec::with_capacity(pictures.len());
    let mut loss = 0.0;
    for indices in all.chunks(batch) {
        interrupt::check()?;
        let device = host.device.as_ref();
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        let (predicted, sum) = judge(device, network, 0, samples.batch(device, indices)?, &labels)?;
        loss += sum;
        pairs.extend(labels.iter().map(|&label| label as usize).zip(predicted));
        progress.set(pairs.len() as u64);
    }
    progress.finish(&format!("evaluated  {} pictures", pictures.len()));
    let n = pairs.len().max(1) as f64;
    Outcome::new(classes.to_vec(), pairs, loss / n)
}
