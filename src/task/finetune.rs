//! `finetune`, the main job: extract at the freeze boundary, train a classifier on the frozen base,
//! unfreeze, train jointly, evaluate the test split, save.
//!
//! What stays frozen runs once per image (`parts`). Training images that are augmented are never the same
//! twice: they go through the whole network in every epoch, and at most the validation's features are kept.

mod conclusion;
mod origin;
mod plan;
mod shown;

use super::course::StageConfig;
use super::earlier::{self, Earlier};
use super::fit::HeadOptions;
use super::images::Skipped;
use super::output::{self, apart};
use super::remarks::{
    few_steps, idle, keeps_some, no_better_than_one, other_images, twice, unweighted, worse,
};
use super::report::{self, Material};
use super::resume::{Job, conclude, take_over_cuts};
use super::run::{self, Begin, Config, NetworkConfig, Told, TrainingConfig};
use super::stage::Stages;
use super::{Host, ImageOptions, limits};
use crate::data::Folder;
use crate::error::Result;
use crate::files;
use crate::model::{Architecture, Network, Variant};
use crate::random;
use crate::report::replaced;
use conclusion::{Conclusion, Held};
pub(super) use conclusion::{Measured, measure};
pub use origin::Origin;
use plan::Plan;
pub(super) use plan::fits;
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
    let Told { text, json } = train(host, job, &|| Ok(()))?;
    host.result(&text, &json)
}

/// Runs the whole job; gives what came out. `begins` is called when all has been read that it learns from, and before a
/// run goes that it is written over.
///
/// # Errors
/// As [`finetune`], and those of `begins`.
pub(super) fn train(host: &Host, job: &Finetune, begins: &dyn Fn() -> Result<()>) -> Result<Told> {
    let began = Instant::now();
    let TakenUp { job, finished } = taken_up(host, job)?;
    let (job, resume) = (&job, job.begin == Begin::Resume);
    let plan = Plan::new(host, job)?;
    let mut config = config(host, job, &plan.base.sha256, plan.classes())?;
    if finished {
        run::Folder::at(&job.output).same(host, &config)?;
        return conclude(host, &job.output, None, job.images.reading.clone());
    }
    let mut network = plan.network(host, job, &config)?;
    let folder = run::Folder::begin(host, &job.output, job.begin, (&config, job.earlier.as_ref()))?;
    tell_what_learns(host, &network, job);
    idle(host, &job.stages, network.architecture())?;

    let batch = (job.head.batch, job.head.seed);
    let mut stages = Stages::new(host, &folder, batch, plan.classes(), resume, began)?;
    let mut shown = Shown::new(host, job, &plan, &network, &folder, &mut stages)?;
    (config.training.samples, config.training.digests) = (shown.samples(), stages.digests());
    remark(host, job, &plan, &shown, &config.training.digests)?;
    let test = shown.test.take();
    begins()?;
    folder.take_over(&config, job.earlier.as_ref())?;

    let before = stages.history.epochs.len();
    let validation = shown.learn(host, job, &plan, &mut network, &mut stages)?;
    let history = &stages.history;
    let trained = history.epochs.len() > before;
    worse(&job.stages, history).iter().for_each(|note| host.note(format_args!("{note}")));
    if let Some(part) = shown.validation()
        && let Some(note) =
            no_better_than_one(&job.stages, history, plan.classes(), &part.images.labels, job.head.batch)
    {
        host.note(note);
    }
    save(host, &folder, &network, &config, &shown.unread)?;

    let mut conclusion = Conclusion::new(job, config, history, stages.seconds());
    // Whole from here on; the test's figures are added when they are there.
    folder.finish(&conclusion.config)?;
    let held = Held { test, validation: shown.held(&plan, validation.as_ref()) };
    let judged = conclusion.judge(host, &network, &folder, held, || stages.seconds());
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
    let mut json = run::told(&job.output, Some(&conclusion.config), history);
    json["trained"] = trained.into();
    json["test"] = if host.json { json!(conclusion.tested) } else { Value::Null };
    json["skipped"] = json!(unread);
    json["counters"] = host.counted().into();
    Ok(Told { text, json })
}

/// A job as its folder has it.
struct TakenUp {
    job: Finetune,
    /// Whether its run is there and finished.
    finished: bool,
}

/// `job`, which can be and has a place to be written to, with what a run that it goes on with has changed on the way.
fn taken_up(host: &Host, job: &Finetune) -> Result<TakenUp> {
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
    Ok(TakenUp { job, finished })
}

/// Remarks on the images that were read, whose digests are `digests`; most of them a run that goes on has had before.
fn remark(host: &Host, job: &Finetune, plan: &Plan, shown: &Shown, digests: &[String]) -> Result<()> {
    let (images, judges) = (&shown.train().images, shown.judges());
    if job.begin == Begin::Resume {
        twice(host, images, &judges);
        return Ok(());
    }
    other_images(host, job, digests);
    few_steps(host, &job.stages, job.head.batch, images.len());
    unweighted(host, &job.stages, plan.classes(), &images.labels);
    twice(host, images, &judges);
    if let Some(validation) = shown.validation() {
        let root = &plan.splits.train.root;
        earlier::parted(host, job, (root, plan.classes()), [images, &validation.images])?;
    }
    earlier::learned_elsewhere(host, job, (images, &digests[0]), &judges);
    Ok(())
}

/// Writes the network, and before it which images could not be read.
fn save(
    host: &Host,
    folder: &run::Folder,
    network: &Network,
    config: &Config,
    unread: &[Skipped],
) -> Result<()> {
    folder.skipped(unread)?;
    let odd = unread.iter().filter(|one| one.path_bytes.is_some()).count();
    if let Some(note) = replaced(odd, "with --json the result") {
        host.note(format_args!("{}: {note}", folder.path().join(run::SKIPPED).display()));
    }
    folder.model(host, network, config)
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
    let network = NetworkConfig {
        variant: job.variant.name().into(),
        size: job.size,
        preprocess: job.images.preprocess.name().into(),
        resize: job.images.resize.name().into(),
        classes: classes.to_vec(),
        pooling: job.head.pooling,
        units: job.head.units,
        dropout: job.head.dropout,
    };
    let weights = job.images.weights.as_deref();
    let begun = run::Begun { job: Job::Finetune, data: &job.data, weights, base_weights, head: &job.head };
    let training = begun.training(host)?;
    let (mut earlier, mut earlier_sha256) = (None, Vec::new());
    if let Some(lists) = &job.earlier {
        // TOML holds Unicode alone; those beside the file are looked for first.
        earlier = Some(files::absolute(&job.output)?).filter(|path| path.to_str().is_some());
        earlier_sha256 = lists.digests()?;
    }
    let training = TrainingConfig {
        trained_classifier: job.trained_classifier,
        validation_split: job.validation_split,
        earlier,
        earlier_sha256,
        test_images: job.test_images,
        keep_features: job.keep_features,
        cache_limit: job.cache_limit,
        stages: job.stages.clone(),
        ..training
    };
    Ok(Config::new(network, training))
}
