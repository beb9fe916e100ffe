//! `finetune`, the main job: extract at the freeze boundary, train a classifier on the frozen base,
//! unfreeze, train jointly, evaluate the test split, save.
//!
//! The frozen prefix runs once per picture: its activations at the boundary are kept in
//! `RUN/features`, from which both stages learn.

use super::base::Base;
use super::evaluate::test;
use super::extract::{self, named};
use super::fit::{EPSILON, HeadOptions, RHO, samples};
use super::pictures::decode;
use super::run::{Config, Folder, NetworkConfig, ResultConfig, TrainingConfig};
use super::stage::Watch;
use super::{Host, PictureOptions};
use crate::data::{Features, Pictures, Splits};
use crate::device::call::{Normalize, Rmsprop};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Architecture, Head, Network, Trainable, Variant};
use crate::train::{self, Optimizer, PictureSamples, Samples};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What to fine-tune.
#[derive(Clone, Debug)]
pub struct Finetune {
    /// The data folder.
    pub data: PathBuf,
    /// The run folder.
    pub output: PathBuf,
    /// Write over a finished run.
    pub force: bool,
    /// Share of each class for validation.
    pub validation_split: Option<f32>,
    /// Network.
    pub variant: Variant,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Scaling, resize, weights, reading.
    pub pictures: PictureOptions,
    /// The classifier.
    pub head: HeadOptions,
    /// Epochs of the first stage.
    pub head_epochs: usize,
    /// Learning rate of the first stage.
    pub head_rate: f32,
    /// First layer that learns in the second stage.
    pub unfreeze_from: String,
    /// Epochs of the second stage.
    pub epochs: usize,
    /// Learning rate of the second stage.
    pub rate: f32,
    /// Keep `RUN/features`.
    pub keep_features: bool,
}

/// A split at the two places where training takes it up: the freeze boundary, and the classifier.
struct Part {
    pictures: Arc<Pictures>,
    /// Activations before the first layer that will learn; `None` when that layer reads pictures.
    boundary: Option<Features>,
    /// Activations before the classifier.
    head: Features,
}

impl Part {
    /// What the stage learns from: features before the classifier while the base is frozen, otherwise
    /// activations (or pictures) at the boundary.
    fn samples(&self, frozen: bool, rule: Normalize) -> Result<Box<dyn Samples + '_>> {
        Ok(match (&self.boundary, frozen) {
            (_, true) => Box::new(samples(&self.head)?),
            (Some(features), false) => Box::new(samples(features)?),
            (None, false) => Box::new(PictureSamples { pictures: &self.pictures, rule }),
        })
    }
}

/// Runs the whole job.
///
/// # Errors
/// Of data, weights, device and files; [`Kind::Numeric`] when the loss diverges;
/// [`Kind::Interrupted`], after which the same command takes up the extraction where it stopped.
pub fn finetune(host: &Host, job: &Finetune) -> Result<()> {
    let began = Instant::now();
    host.introduce();
    let splits = Splits::open(&job.data, job.validation_split, job.head.seed)?;
    let classes = splits.train.classes.clone();
    let head = Head { units: job.head.units, dropout: job.head.dropout, classes: classes.len() };
    let architecture = Architecture::vgg(job.variant, job.size)?.with_head(head)?;
    let boundary = boundary(&architecture, &job.unfreeze_from)?;
    let base = Base::open(host, job.pictures.weights.as_deref())?;
    let mut network = base.network(host, architecture, job.head.seed)?;
    let folder = Folder::create(&job.output, job.force)?;
    let features = folder.join("features");
    files::create_dir(&features)?;
    tell_what_learns(host, &network, boundary, job);

    let mut parts = Vec::new();
    let mut test_pictures = None;
    let mut written = Vec::new();
    for (name, split) in named(&splits) {
        let pictures =
            Arc::new(decode(host, name, split, job.size, job.pictures.resize, &job.pictures.reading)?);
        if name == "test" {
            // Decoded now, so that what is wrong with it is known before the long work.
            test_pictures = Some(pictures);
            continue;
        }
        let from = extract::From {
            variant: job.variant,
            base: &base,
            pictures: &job.pictures,
            batch: job.head.batch,
        };
        let end = network.architecture().base();
        let at = |layer: usize| features.join(format!("{name}.{layer:02}.safetensors"));
        written.extend([boundary, end].map(at));
        let all_learn = boundary == 0;
        let first = if all_learn { end } else { boundary };
        let lower = from.pictures(host, &network, name, split, &pictures, 0..first, &at(first))?;
        parts.push(if all_learn {
            Part { pictures, boundary: None, head: lower }
        } else {
            let head = from.features(host, &network, name, &lower, boundary..end, &at(end))?;
            Part { pictures, boundary: Some(lower), head }
        });
    }
    let train = &parts[0];
    let validation = parts.get(1);

    let mut watch = Watch::new(host, &folder);
    let mut stage = Stage { host, job, network: &mut network, watch: &mut watch, steps: 0 };
    let head_start = stage.network.architecture().base();
    stage.run("head", head_start, train, validation)?;
    stage.run("finetune", boundary, train, validation)?;

    folder.model(host, &network, &classes)?;
    let mut result = ResultConfig {
        head_val_accuracy: watch.last("head").and_then(|e| e.val_accuracy),
        ..ResultConfig::default()
    };
    if let Some(last) = watch.last("finetune") {
        (result.accuracy, result.val_loss, result.val_accuracy) =
            (last.accuracy, last.val_loss, last.val_accuracy);
    }
    let mut text = format!("run        {}\n", job.output.display());
    if let (Some(before), Some(after)) = (result.head_val_accuracy, result.val_accuracy) {
        text += &format!("validation {before:.4} with the frozen base, {after:.4} after fine-tuning\n");
    }
    let mut tested = None;
    result.seconds = began.elapsed().as_secs_f64();
    let samples = [train.pictures.len(), validation.map_or(0, |part| part.pictures.len())];
    // Whole from here on; the test's figures are added when they are there.
    folder.finish(&config(host, job, &base, &classes, samples, result))?;
    if let Some(pictures) = test_pictures {
        let outcome = test(host, &network, &pictures, job.pictures.preprocess, &classes, job.head.batch)?;
        text += &format!("\ntest\n{}", outcome.text());
        (result.test_loss, result.test_accuracy) = (Some(outcome.loss), Some(outcome.accuracy));
        tested = Some(outcome);
    }
    result.seconds = began.elapsed().as_secs_f64();
    folder.finish(&config(host, job, &base, &classes, samples, result))?;
    drop(parts);
    if !job.keep_features {
        // Only what this job wrote, and the folder only if nothing else is in it. That something stays
        // is no reason to fail a finished run.
        for path in &written {
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_dir(&features);
    }
    host.result(
        &text,
        &json!({
            "run": job.output,
            "result": result,
            "test": tested,
            "history": watch.history.epochs,
            "counters": host.counted(),
        }),
    )
}

/// The position of the layer from which the base learns.
fn boundary(architecture: &Architecture, name: &str) -> Result<usize> {
    let position = Trainable::from(architecture, name)?.from;
    if position >= architecture.base() {
        return Err(Error::new(Kind::Usage, format!("`{name}` is part of the classifier, which always learns"))
            .help("name a layer of the base, such as block5_conv1; for the classifier alone use `extract` and `fit`"));
    }
    Ok(position)
}

fn tell_what_learns(host: &Host, network: &Network, boundary: usize, job: &Finetune) {
    let architecture = network.architecture();
    let all = architecture.parameters_from(0);
    let head = architecture.parameters_from(architecture.base());
    let joint = architecture.parameters_from(boundary);
    host.say(format_args!(
        "network    {} {}x{}, {}, {all} weights",
        job.variant, job.size[0], job.size[1], job.pictures.preprocess
    ));
    host.say(format_args!(
        "learning   {head} (classifier) for {} epochs, then {joint} (from {}) for {} epochs",
        job.head_epochs, job.unfreeze_from, job.epochs
    ));
}

struct Stage<'a, 'w> {
    host: &'a Host,
    job: &'a Finetune,
    network: &'a mut Network,
    watch: &'a mut Watch<'w>,
    steps: u64,
}

impl Stage<'_, '_> {
    /// Trains everything from layer `from` on.
    fn run(&mut self, name: &str, from: usize, train: &Part, validation: Option<&Part>) -> Result<()> {
        let job = self.job;
        let frozen = from == self.network.architecture().base();
        let (epochs, rate) = if frozen { (job.head_epochs, job.head_rate) } else { (job.epochs, job.rate) };
        self.network.set_trainable(Trainable { from });
        self.watch.stage(
            &if frozen {
                "training the classifier, base frozen".to_owned()
            } else {
                format!("training from {} on", job.unfreeze_from)
            },
            epochs,
        );
        let rule = job.pictures.preprocess.rule();
        let learned = train.samples(frozen, rule)?;
        let checked = validation.map(|part| part.samples(frozen, rule)).transpose()?;
        let rule = Rmsprop { rate, rho: RHO, epsilon: EPSILON };
        // Compiling again in Keras, as the notebook does between its stages, starts the optimizer afresh.
        let mut optimizer = Optimizer::new(rule, self.network.parameters().len());
        self.steps = train::Fit {
            device: self.host.device.as_ref(),
            from,
            train: learned.as_ref(),
            validation: checked.as_deref(),
            stage: name,
            epochs,
            batch: job.head.batch,
            seed: job.head.seed,
            first_step: self.steps,
        }
        .run(self.network, &mut optimizer, self.watch)?;
        Ok(())
    }
}

fn config(
    host: &Host,
    job: &Finetune,
    base: &Base,
    classes: &[String],
    samples: [usize; 2],
    result: ResultConfig,
) -> Config {
    Config {
        format: 1,
        vgg_ft: env!("CARGO_PKG_VERSION").into(),
        network: NetworkConfig {
            variant: job.variant.name().into(),
            size: job.size,
            preprocess: job.pictures.preprocess.name().into(),
            resize: job.pictures.resize.name().into(),
            classes: classes.to_vec(),
            units: job.head.units,
            dropout: job.head.dropout,
        },
        training: TrainingConfig {
            data: job.data.clone(),
            base_weights: base.sha256.clone(),
            device: format!("{} f32", host.device.describe().name),
            seed: job.head.seed,
            batch: job.head.batch,
            validation_split: job.validation_split,
            samples,
            head_epochs: job.head_epochs,
            head_rate: job.head_rate,
            unfreeze_from: Some(job.unfreeze_from.clone()),
            epochs: Some(job.epochs),
            rate: Some(job.rate),
            rho: RHO,
            epsilon: EPSILON,
        },
        result,
    }
}
