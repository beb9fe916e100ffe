//! What a run that is trained comes to: its figures, and what the network says of images that it did not learn from.
//!
//! In: the run's settings and history, then the test's or the validation's images. Out: the settings with the
//! result, lines for people, predictions for the report.

use super::{Finetune, some};
use crate::data::{Folder, Images, Split};
use crate::error::{Kind, Result};
use crate::files::{self, quoted};
use crate::model::Network;
use crate::report::Outcome;
use crate::task::Host;
use crate::task::course::StageConfig;
use crate::task::evaluate::{Which, adopted, test};
use crate::task::images::{Skipped, decode, skipped};
use crate::task::report::{self, Judged, Material};
use crate::task::run::{self, Config, HISTORY, ResultConfig, Run};
use crate::task::stage::ended_with;
use crate::train::{History, ImageSamples, Samples};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What there is to say of a run.
pub(super) struct Conclusion<'a> {
    job: &'a Finetune,
    /// The settings, with the result so far.
    pub config: Config,
    /// For people.
    pub text: String,
    /// What came out on the test split.
    pub tested: Option<Outcome>,
}

/// The images that a run did not learn from.
pub(super) struct Held<'a> {
    /// The folder of the test split, and its images.
    pub test: Option<(PathBuf, Arc<Images>)>,
    /// What every epoch was checked on.
    pub validation: Option<Validated<'a>>,
}

/// The validation as the last stage has it.
pub(super) struct Validated<'a> {
    /// Its folder.
    pub root: &'a Path,
    /// Its images, in the order of the samples.
    pub files: &'a [PathBuf],
    /// The layer at which the samples enter.
    pub from: usize,
    /// The images, or features of them.
    pub samples: &'a dyn Samples,
}

/// When a figure was taken: after which stage.
fn after_stage(stage: Option<&StageConfig>) -> String {
    match stage {
        Some(StageConfig { unfreeze_from: Some(layer), .. }) => format!("after training from {layer} on"),
        _ => "with the frozen base".into(),
    }
}

impl<'a> Conclusion<'a> {
    /// That of its epochs; the job took `seconds` so far.
    pub fn new(job: &'a Finetune, config: Config, history: &History, seconds: f64) -> Self {
        let of = |stage: Option<&StageConfig>| stage.and_then(|stage| ended_with(stage, history));
        let (first, last) = (of(job.stages.first()), of(job.stages.last()));
        let mut result = ResultConfig {
            head_val_accuracy: first.filter(|_| job.stages.len() > 1).and_then(|e| e.val_accuracy),
            seconds,
            ..ResultConfig::default()
        };
        if let Some(last) = last {
            (result.accuracy, result.val_loss, result.val_accuracy) =
                (last.accuracy, last.val_loss, last.val_accuracy);
        }
        let mut text = format!("run        {}\n", files::line(&job.output));
        let of = config.training.samples[1];
        let some = job.stages.last().map_or(of, |stage| stage.validated(job.head.batch, of));
        let part = if some < of { format!(", on {some} of its {of} images") } else { String::new() };
        match (result.head_val_accuracy, result.val_accuracy) {
            (Some(before), Some(after)) => {
                let [first, last] = [job.stages.first(), job.stages.last()].map(after_stage);
                text += &format!("validation {before:.4} {first}, {after:.4} {last}{part}\n");
            }
            (None, Some(after)) => text += &format!("validation {after:.4}{part}\n"),
            _ => {}
        }
        Self { job, config: Config { result: Some(result), ..config }, text, tested: None }
    }

    /// What the network says of what is `held` out: of the test, whose figures are added to the run in `folder`; where
    /// there is none, of the validation, for the report alone, which tells why it cannot be had. The job takes `seconds`
    /// with it.
    ///
    /// # Errors
    /// Those of the test, and of the run's file; the run is saved already.
    pub fn judge(
        &mut self,
        host: &Host,
        network: &Network,
        folder: &run::Folder,
        held: Held<'_>,
        seconds: impl Fn() -> f64,
    ) -> Result<Option<Result<Judged>>> {
        let Some((root, images)) = held.test else {
            return Ok(held.validation.map(|validation| self.validation(host, network, &validation)));
        };
        let judged = self.test(host, network, (root, &images), seconds)?;
        folder.finish(&self.config)?;
        Ok(Some(Ok(judged)))
    }

    /// Tests the network on `images` of the folder `root`; the job takes `seconds` with it.
    fn test(
        &mut self,
        host: &Host,
        network: &Network,
        (root, images): (PathBuf, &Images),
        seconds: impl Fn() -> f64,
    ) -> Result<Judged> {
        let samples = ImageSamples::once(images, self.job.images.preprocess.rule());
        let classes = &self.config.network.classes;
        let found = test(host, network, (0, &samples), classes, self.job.head.batch);
        let found = found.map_err(|error| {
            let error = error.context("evaluating the test split, after the run was saved");
            match error.kind() {
                Kind::Interrupted => {
                    let run = quoted(&self.job.output);
                    error.help(format!("`vgg-ft resume {run}` makes the test and the report"))
                }
                _ => error,
            }
        })?;
        let outcome = &found.outcome;
        self.text += &format!("\ntest\n{}", outcome.text());
        self.tested = Some(outcome.clone());
        let result = self.config.result.get_or_insert_default();
        (result.test_loss, result.test_accuracy) = (Some(outcome.loss), Some(outcome.accuracy));
        result.seconds = seconds();
        Ok(Judged::new(Which::Split(Split::Test), root, images.files.clone(), found, report::REUSED))
    }

    fn validation(&self, host: &Host, network: &Network, validation: &Validated<'_>) -> Result<Judged> {
        let Validated { root, files, from, samples } = *validation;
        let how = if from == 0 { report::FROM_IMAGES } else { report::FROM_FEATURES };
        let classes = &self.config.network.classes;
        let found = test(host, network, (from, samples), classes, self.job.head.batch)?;
        Ok(Judged::new(Which::Split(Split::Validation), root.to_owned(), files.to_vec(), found, how))
    }
}

/// What came out of a test that a run was stopped before.
pub(in crate::task) struct Measured {
    /// Its figures.
    pub outcome: Outcome,
    /// Images that could not be read, for machines.
    pub skipped: Vec<Skipped>,
}

/// Measures a finished run on the test split of its data, if it was stopped before that, and makes its report. Gives what
/// came out.
///
/// # Errors
/// Those of the data and of [`test()`]; [`Kind::Data`] when the classes are not the run's.
pub(in crate::task) fn measure(host: &Host, job: &Finetune, split: &Folder) -> Result<Option<Measured>> {
    let run = Run::open(&job.output)?;
    let result = run.config.result.unwrap_or_default();
    if result.test_accuracy.is_some() {
        return Ok(None);
    }
    let split = adopted(split, &run.config.network.classes)?;
    let mut config = run.config.clone();
    if files::real(&job.data)? != files::real(&config.training.data)? {
        config.training.data = files::absolute(&job.data)?;
    }
    let began = Instant::now();
    let split = some(&split, job.test_images, job.head.seed);
    let images = decode(host, Split::Test.name(), &split, job.size, job.images.resize, &job.images.reading)?;
    let skipped = skipped(&split.root, &images);
    let mut network = run.network(host)?;
    let seconds = result.seconds;
    let mut conclusion = Conclusion { job, config, text: String::new(), tested: None };
    let judged =
        conclusion.test(host, &network, (split.root, &images), || seconds + began.elapsed().as_secs_f64())?;
    let outcome = judged.outcome().clone();
    let folder = run::Folder::at(&job.output);
    folder.finish(&conclusion.config)?;
    let history = History::load(&folder.join(HISTORY))?;
    let (config, judged) = (&conclusion.config, Some(Ok(judged)));
    let material = Material { folder: &job.output, config, history: &history, judged };
    report::attempt(host, &mut network, material)?;
    Ok(Some(Measured { outcome, skipped }))
}
