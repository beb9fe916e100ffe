//! `evaluate`: a run on labelled pictures.

use super::pictures::{Reading, decode};
use super::run::Run;
use super::{Host, extract};
use crate::data::{Folder, Pictures, Splits};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::model::Network;
use crate::report::Outcome;
use crate::train::{Judged, PictureSamples, Samples, judge};
use serde::Serialize;
use std::path::{Path, PathBuf};

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
    let network = run.network(host)?;
    let (name, _, pictures) = labelled(host, &run, &job.data, job.split, &job.reading)?;
    let samples = PictureSamples::once(&pictures, run.preprocess()?.rule());
    let tested = test(host, &network, (0, &samples), &run.config.network.classes, job.batch)?;
    let outcome = tested.outcome;
    host.result(&format!("{name}\n{}", outcome.text()), &Named { split: name, outcome })
}

/// The pictures of a split of `data`, whose classes must be the run's; of test, validation, train the first
/// that is there if none is named.
///
/// # Errors
/// Of the data; [`Kind::Usage`] when there is no such split; [`Kind::Data`] when the classes are not the run's.
pub(super) fn labelled(
    host: &Host,
    run: &Run,
    data: &Path,
    split: Option<SplitName>,
    reading: &Reading,
) -> Result<(&'static str, Folder, Pictures)> {
    let mut splits = Splits::open(data, None, 0)?;
    let training = &run.config.training;
    if let Some(share) = training.validation_split
        && splits.validation.is_none()
        && split != Some(SplitName::Test)
    {
        // The split that the run was trained with.
        splits = Splits::open(data, Some(share), training.seed)?;
    }
    let there = extract::named(&splits);
    let chosen = match split {
        Some(split) => there.iter().find(|(name, _)| *name == split.name()).ok_or_else(|| {
            let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
            Error::new(Kind::Usage, format!("{} has no split `{}`", data.display(), split.name()))
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
    let size = run.architecture.input;
    let pictures = decode(host, name, folder, size, run.resize()?, reading)?;
    if name == "train" {
        host.say("note: there is no other split, so pictures that the run was trained on may be among these");
    }
    Ok((name, folder.clone(), pictures))
}

/// An outcome and the split it is of.
#[derive(Serialize)]
struct Named {
    split: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What a network says of a labelled set.
pub(super) struct Tested {
    /// Counts and scores.
    pub outcome: Outcome,
    /// The true classes.
    pub labels: Vec<u32>,
    /// One row per sample, one column per class.
    pub probabilities: Vec<Vec<f32>>,
}

/// Runs `samples`, which enter at layer `from`, through the rest of the network.
///
/// # Errors
/// The device's; [`Kind::Interrupted`].
pub(super) fn test(
    host: &Host,
    network: &Network,
    (from, samples): (usize, &dyn Samples),
    classes: &[String],
    batch: usize,
) -> Result<Tested> {
    let progress = host.progress("evaluating", samples.len(), "images");
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    let mut said = Judged::default();
    for indices in all.chunks(samples.evaluation_batch(batch)) {
        interrupt::check()?;
        let device = host.device.as_ref();
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        let part = judge(device, network, from, samples.batch(device, indices)?, &labels)?;
        said.loss_sum += part.loss_sum;
        said.classes.extend(part.classes);
        said.probabilities.extend(part.probabilities);
        progress.set(said.classes.len() as u64);
    }
    progress.finish(&format!("evaluated  {} pictures", samples.len()));
    let labels = samples.labels().to_vec();
    let loss = said.loss_sum / labels.len().max(1) as f64;
    let pairs = labels.iter().map(|&label| label as usize).zip(said.classes);
    let outcome = Outcome::new(classes.to_vec(), pairs, loss)?;
    Ok(Tested { outcome, labels, probabilities: said.probabilities })
}
