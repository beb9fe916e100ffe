//! `finetune`, the main job: extract at the freeze boundary, train a classifier on the frozen base,
//! unfreeze, train jointly, evaluate the test split, save.
//!
//! What stays frozen runs once per image (`parts`). Training images that are augmented are never the same
//! twice: they go through the whole network in every epoch, and at most the validation's features are kept.

mod conclusion;
mod origin;
mod shown;

use super::base::Base;
use super::course::StageConfig;
use super::earlier::{self, Earlier};
use super::estimate::{Estimate, Keeps, Learning};
use super::extract::misleading;
use super::fit::HeadOptions;
use super::output::{self, apart};
use super::remarks::{few_steps, idle, keeps_some, other_images, twice, unvalidated, unweighted, worse};
use super::report::{self, Material};
use super::resume::{Job, conclude, take_over_cuts};
use super::run::{self, Begin, Config, FORMAT, NetworkConfig, TrainingConfig};
use super::stage::Stages;
use super::{Host, ImageOptions, limits};
use crate::data::{Folder, Splits};
use crate::error::Result;
use crate::files;
use crate::model::classes::told_from;
use crate::model::{Architecture, Network, Variant};
use crate::random;
use crate::report::replaced;
use conclusion::Conclusion;
pub(super) use conclusion::{Measured, measure};
pub use origin::Origin;
use origin::other_classes;
use serde_json::{Value, json};
use shown::Shown;
use std::path::PathBuf;
use std::time::Instant;

/// What to fine-tune.
#[derive(Clone, Debug)]
pub struct Finetune {
    /// The data folder.
    pub data: PathBuf,
    /// The run folder.
    pub output: PathBuf,
    /// Anew, over what is there, or where it was stopped.
    pub begin: Begin,
    /// Share of each class for validation.
    pub validation_split: Option<f32>,
    /// Network.
    pub variant: Variant,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Scaling, resize, weights, reading.
    pub images: ImageOptions,
    /// The classifier.
    pub head: HeadOptions,
    /// What is trained, how long, how fast.
    pub stages: Vec<StageConfig>,
    /// Keep `RUN/features`.
    pub keep_features: bool,
    /// Bytes that those may take.
    pub cache_limit: u64,
    /// Test images at most; all if not given.
    pub test_images: Option<usize>,
    /// SHA-256 of the weights that a configuration names, if it is of one.
    pub named_weights: Option<String>,
    /// Digests of the training and validation images that a configuration names, if it is of a run and they are to be
    /// those.
    pub named_digests: Vec<String>,
    /// Whether the classifier begins with the weights of `images`, too, and not at random.
    pub trained_classifier: bool,
    /// The classes that a configuration or the run it begins with names; those of the data count.
    pub named_classes: Vec<String>,
    /// What the runs learned from and held out whose network it begins with, if they tell: no image changes its part.
    pub earlier: Option<Earlier>,
}

impl Finetune {
    /// Whether its numbers can be.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) naming the first that cannot.
    pub(super) fn validate(&self) -> Result<()> {
        limits::check(self.size, &self.head, &self.stages)
    }

    /// Whether a stage of it could begin at `layer`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) when that is no layer of the base, or has nothing to learn.
    pub fn can_unfreeze(&self, layer: &str) -> Result<()> {
        let architecture = Architecture::vgg(self.variant, self.size)?.with_head(self.head.head(2))?;
        StageConfig::new("finetune", Some(layer), 1, 1.0).unfreezes(&architecture)
    }
}

/// Runs the whole job and prints what came out.
///
/// # Errors
/// Of data, weights, device and files; [`Kind::Numeric`](crate::error::Kind::Numeric) when the loss diverges;
/// [`Kind::Interrupted`](crate::error::Kind::Interrupted), after which the same command with [`Begin::Resume`] goes on.
pub fn finetune(host: &Host, job: &Finetune) -> Result<()> {
    host.introduce();
    let (text, value) = train(host, job, &|| Ok(()))?;
    host.result(&text, &value)
}

/// Runs the whole job; gives what came out, for people and for machines. `begins` is called when all has been read that
/// it learns from, and before a run goes that it is written over.
///
/// # Errors
/// As [`finetune`], and those of `begins`.
pub(super) fn train(host: &Host, job: &Finetune, begins: &dyn Fn() -> Result<()>) -> Result<(String, Value)> {
    let began = Instant::now();
    job.validate()?;
    output::folder(&job.output)?;
    let mut job = job.clone();
    job.begin = job.begin.at(host, &job.output);
    let resume = job.begin == Begin::Resume;
    let finished = resume && run::Folder::finished(&job.output)?;
    apart(&job.data, &job.output)?;
    if resume {
        take_over_cuts(&job.output, &mut job.stages)?;
        // What it began with counts; the run that it began with may have been trained anew since.
        job.earlier = Earlier::of_folder(&job.output)?;
    }
    let job = &job;
    let splits = earlier::splits(&job.data, job.validation_split, job.head.seed, job.earlier.as_ref())?;
    misleading(host, &splits);
    let classes = splits.train.classes.clone();
    named_classes(host, job, &classes)?;
    if splits.validation.is_none() {
        unvalidated(host, &job.stages, "--validation-split 0.2 holds back a fifth of the images");
    }
    let architecture = Architecture::vgg(job.variant, job.size)?.with_head(job.head.head(classes.len()))?;
    job.stages.iter().try_for_each(|stage| stage.suits(&architecture, &classes))?;
    if !resume {
        job.stages.iter().try_for_each(|stage| stage.unfreezes(&architecture))?;
    }
    let places = places(&architecture, &job.stages)?;
    let needed = estimate(job, &architecture, &places, &splits).tell(host)?;
    let base = Base::open(host, job.images.weights.as_deref(), job.images.preprocess)?;
    if let Some(named) = job.named_weights.as_ref().filter(|named| **named != base.sha256) {
        host.note(format_args!(
            "these are not the weights that the job began with, whose sha256 is {}…",
            named.get(..12).unwrap_or(named)
        ));
    }
    let mut config = config(host, job, &base.sha256, &classes)?;
    if finished {
        run::Folder::at(&job.output).same(host, &config)?;
        return conclude(host, &job.output, None, job.images.reading.clone());
    }
    if !job.trained_classifier && base.weights.lineage().has_own_classifier() {
        host.note(
            "the file's own classifier is left out, and a new one begins at random; `vgg-ft predict` asks the \
             file's, and `finetune --from RUN` keeps that of a run",
        );
    }
    let mut network = base.network(host, architecture, config.training.classifier_seed())?;
    let folder = run::Folder::begin(host, &job.output, job.begin, (&config, job.earlier.as_ref()))?;
    tell_what_learns(host, &network, job);
    idle(host, &job.stages, network.architecture())?;
    let mut stages = Stages::new(host, &folder, (job.head.batch, job.head.seed), &classes, resume, began)?;
    let mut shown = Shown::new(host, job, (&base, &network), (&splits, &places), &folder, &mut stages)?;
    let images = &shown.train().images;
    config.training.samples = [images.len(), shown.validation().map_or(0, |part| part.images.len())];
    config.training.digests = stages.digests();
    if !resume {
        other_images(host, job, &config.training.digests);
        few_steps(host, &job.stages, job.head.batch, images.len());
        unweighted(host, &job.stages, &classes, &images.labels);
    }
    twice(host, images, &shown.judges());
    if !resume {
        if let Some(validation) = shown.validation() {
            earlier::parted(host, job, (&splits.train.root, &classes), [images, &validation.images])?;
        }
        earlier::learned_elsewhere(host, job, (images, &config.training.digests[0]), &shown.judges());
    }
    let test = shown.test.take();
    begins()?;
    folder.take_over(&config, job.earlier.as_ref())?;
    let before = stages.history.epochs.len();
    let validation = shown.learn(host, job, &mut network, &mut stages, (&places, needed))?;
    let history = &stages.history;
    let trained = history.epochs.len() > before;
    worse(&job.stages, history).iter().for_each(|note| host.note(format_args!("{note}")));

    folder.skipped(&shown.unread)?;
    let odd = shown.unread.iter().filter(|one| one.path_bytes.is_some()).count();
    if let Some(note) = replaced(odd, "with --json the result") {
        host.note(format_args!("{}: {note}", folder.path().join(run::SKIPPED).display()));
    }
    folder.model(host, &network, &config)?;
    let mut conclusion = Conclusion::new(job, config, history, stages.seconds());
    // Whole from here on; the test's figures are added when they are there.
    folder.finish(&conclusion.config)?;
    let judged = if let Some((root, images)) = test {
        let tested = conclusion.test(host, &network, (root, &images), || stages.seconds());
        tested.and_then(|judged| folder.finish(&conclusion.config).map(|()| Some(Ok(judged))))
    } else if let (Some(samples), Some(part), Some(split), Some(&place)) =
        (&validation, shown.validation(), &splits.validation, places.last())
    {
        let files = part.images.files.clone();
        Ok(Some(conclusion.validation(host, &network, (split, files), samples.samples(place))))
    } else {
        Ok(None)
    };
    drop(validation);
    let unread = shown.unread;
    // Before the features go: a file that is mapped cannot be removed everywhere.
    drop(shown.parts);
    let report = judged.and_then(|judged| {
        let material = Material { folder: &job.output, config: &conclusion.config, history, judged };
        report::attempt(host, &mut network, material)
    });
    // Also where somebody did not wait for the test or the report.
    if !job.keep_features {
        folder.remove_features();
    } else {
        keeps_some(host, &folder.features());
    }
    let text = conclusion.text + &report?;
    let mut value = run::told(&job.output, Some(&conclusion.config), history);
    value["trained"] = trained.into();
    value["test"] = if host.json { json!(conclusion.tested) } else { Value::Null };
    value["skipped"] = json!(unread);
    value["counters"] = host.counted().into();
    Ok((text, value))
}

/// Says where the classes of the data are not those that a configuration names.
///
/// # Errors
/// [`Kind::Data`](crate::error::Kind::Data) when the classifier has learned those.
fn named_classes(host: &Host, job: &Finetune, classes: &[String]) -> Result<()> {
    if job.named_classes.is_empty() || job.named_classes == classes {
        return Ok(());
    }
    if job.trained_classifier {
        return Err(other_classes(job, classes));
    }
    host.note(format_args!(
        "the classes are those of the data, {}, not {} as in the configuration",
        told_from(classes, &job.named_classes),
        told_from(&job.named_classes, classes)
    ));
    Ok(())
}

/// Whether the memory has room for the job on `splits`.
///
/// # Errors
/// Those of [`Estimate::check`], and of the job's numbers.
pub(super) fn fits(host: &Host, job: &Finetune, splits: &Splits) -> Result<()> {
    let head = job.head.head(splits.train.classes.len());
    let architecture = Architecture::vgg(job.variant, job.size)?.with_head(head)?;
    let places = places(&architecture, &job.stages)?;
    estimate(job, &architecture, &places, splits).check(host).map(|_| ())
}

fn estimate<'a>(
    job: &Finetune,
    architecture: &'a Architecture,
    places: &[usize],
    splits: &Splits,
) -> Estimate<'a> {
    let of = |split: &Option<Folder>| split.as_ref().map_or(0, Folder::len);
    let samples = [splits.train.len(), of(&splits.validation)];
    let tested = job.test_images.unwrap_or(usize::MAX).min(of(&splits.test));
    Estimate {
        architecture,
        batch: job.head.batch,
        images: samples.iter().sum::<usize>() + tested,
        training: Some(Learning {
            boundary: places.iter().copied().min().unwrap_or_default(),
            samples,
            augmented: job.stages.iter().any(|stage| stage.augment.is_some()),
            keeps: Keeps::of(&job.stages),
        }),
    }
}

/// The layers from which on each stage's network may differ from the base: all below is the base's for good.
fn places(architecture: &Architecture, stages: &[StageConfig]) -> Result<Vec<usize>> {
    let mut lowest = usize::MAX;
    stages
        .iter()
        .map(|stage| {
            lowest = lowest.min(stage.boundary(architecture)?);
            Ok(lowest)
        })
        .collect()
}

/// At most `limit` images of `folder`, some of all classes, the same for the same seed.
pub(super) fn some(folder: &Folder, limit: Option<usize>, seed: u64) -> Folder {
    let mut some = folder.clone();
    if let Some(limit) = limit.filter(|limit| *limit < some.len()) {
        let mut chosen = random::some(seed, folder.len(), limit);
        chosen.sort_unstable();
        some.files = chosen.iter().map(|&at| folder.files[at as usize].clone()).collect();
    }
    some
}

fn tell_what_learns(host: &Host, network: &Network, job: &Finetune) {
    let architecture = network.architecture();
    let all = architecture.parameters_from(0);
    host.say(format_args!(
        "network    {} {}x{}, {}, {all} weights{}",
        job.variant,
        job.size[0],
        job.size[1],
        job.images.preprocess,
        if job.trained_classifier { "; the classifier begins as it was trained" } else { "" }
    ));
    for stage in &job.stages {
        let learns = stage.boundary(architecture).map(|from| architecture.parameters_from(from));
        host.say(format_args!(
            "stage      {}: {stage}, {} weights learn",
            stage.name,
            learns.unwrap_or_default()
        ));
        if let Some(augment) = &stage.augment {
            host.say(format_args!("           {augment}"));
        }
    }
    if job.stages.iter().any(|stage| stage.augment.is_some()) {
        host.say(
            "           augmented images are new in every epoch and go through all layers; at most the \
             validation's features are kept",
        );
    }
}

/// What is written down before the work begins.
pub(super) fn config(host: &Host, job: &Finetune, base_weights: &str, classes: &[String]) -> Result<Config> {
    let whole = |path: &PathBuf| files::absolute(path);
    Ok(Config {
        format: FORMAT,
        vgg_ft: env!("CARGO_PKG_VERSION").into(),
        network: NetworkConfig {
            variant: job.variant.name().into(),
            size: job.size,
            preprocess: job.images.preprocess.name().into(),
            resize: job.images.resize.name().into(),
            classes: classes.to_vec(),
            pooling: job.head.pooling,
            units: job.head.units,
            dropout: job.head.dropout,
        },
        training: TrainingConfig {
            job: Job::Finetune,
            data: whole(&job.data)?,
            weights: job.images.weights.as_ref().map(whole).transpose()?,
            trained_classifier: job.trained_classifier,
            base_weights: base_weights.to_owned(),
            device: host.computes(),
            precision: host.device.precision(),
            features: None,
            seed: job.head.seed,
            batch: job.head.batch,
            validation_split: job.validation_split,
            split_seed: None,
            // TOML holds Unicode alone; those beside the file are looked for first.
            earlier: job
                .earlier
                .as_ref()
                .map(|_| whole(&job.output))
                .transpose()?
                .filter(|path| path.to_str().is_some()),
            earlier_sha256: job.earlier.as_ref().map(Earlier::digests).transpose()?.unwrap_or_default(),
            samples: [0, 0],
            digests: Vec::new(),
            test_images: job.test_images,
            keep_features: job.keep_features,
            cache_limit: job.cache_limit,
            stages: job.stages.clone(),
        },
        result: None,
    })
}
