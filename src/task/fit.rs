//! `fit`: a dense classifier on extracted features.

mod extracted;

use super::contents::Listing;
use super::course::StageConfig;
use super::estimate::{Estimate, Keeps, Learning};
use super::evaluate::{Which, files_of, test};
use super::output::{self, apart};
use super::remarks::{few_steps, idle, unvalidated, unweighted};
use super::report::{self, Judged, Material};
use super::resume::{Job, conclude, take_over_cuts};
use super::run::{Begin, Config, FORMAT, Folder, NetworkConfig, ResultConfig, TrainingConfig, told};
use super::stage::{Seen, Stages, ended_with};
use super::{Host, Reading, limits};
use crate::data::{Features, Split};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Head, Pooling};
use crate::report::Outcome;
use crate::train::{FeatureSamples, History, Samples};
use extracted::Extracted;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// How the classifier is built and trained.
#[derive(Clone, Copy, Debug)]
pub struct HeadOptions {
    /// What the classifier takes of the last map.
    pub pooling: Pooling,
    /// Hidden units; 0 for no hidden layer.
    pub units: usize,
    /// Dropout.
    pub dropout: f32,
    /// Samples per step.
    pub batch: usize,
    /// Seed.
    pub seed: u64,
}

impl HeadOptions {
    /// The classifier of so many classes.
    pub(super) fn head(&self, classes: usize) -> Head {
        Head { pooling: self.pooling, units: self.units, dropout: self.dropout, classes }
    }
}

/// What to fit.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The features folder.
    pub features: PathBuf,
    /// The run folder.
    pub output: PathBuf,
    /// Anew, over what is there, or where it was stopped.
    pub begin: Begin,
    /// How long, how fast.
    pub stage: StageConfig,
    /// The classifier.
    pub head: HeadOptions,
    /// Weights of the base.
    pub weights: Option<PathBuf>,
}

impl Fit {
    /// Whether its numbers can be.
    ///
    /// # Errors
    /// [`Kind::Usage`] naming the first that cannot.
    pub(super) fn validate(&self) -> Result<()> {
        let stage = &self.stage;
        if stage.unfreeze_from.is_some() || stage.augment.is_some() {
            return Err(Error::new(
                Kind::Usage,
                format!("stage `{}`: features are neither unfrozen nor augmented", stage.name),
            )
            .help("take `unfreeze_from` and `augment` out, or use `vgg-ft finetune` on the images"));
        }
        // The size is that of the features.
        let size = [*limits::SIDES.start(); 2];
        limits::check(size, &self.head, std::slice::from_ref(stage))
    }
}

/// Trains the classifier and writes the run.
///
/// # Errors
/// Of features, weights, device and files; [`Kind::Numeric`] when the loss diverges.
pub fn fit(host: &Host, job: &Fit) -> Result<()> {
    let began = Instant::now();
    job.validate()?;
    host.introduce();
    output::folder(&job.output)?;
    let begin = job.begin.at(host, &job.output);
    let resume = begin == Begin::Resume;
    let finished = resume && Folder::finished(&job.output)?;
    apart(&job.features, &job.output)?;
    let mut stage = job.stage.clone();
    if resume {
        take_over_cuts(&job.output, std::slice::from_mut(&mut stage))?;
    }
    let extracted = Extracted::open(&job.features)?;
    // The images may lie elsewhere, or nowhere, by now.
    extracted.images().try_for_each(|root| apart(root, &job.output))?;
    let classes = &extracted.recipe().classes;
    let base = extracted.base(host, job.weights.as_deref())?;
    let (architecture, from) = extracted.architecture(&job.head)?;
    stage.suits(&architecture, classes)?;
    let one = std::slice::from_ref(&stage);
    let samples_of = extracted.samples();
    let training =
        Some(Learning { boundary: from, samples: samples_of, augmented: false, keeps: Keeps::of(one) });
    Estimate { architecture: &architecture, batch: job.head.batch, images: 0, training }.tell(host)?;
    let mut config = settings(host, job, (&extracted, &base.sha256), &stage)?;
    if finished {
        Folder::at(&job.output).same(host, &config)?;
        // Features need no reading of images.
        let reading = Reading { strict: false, cache: None, chosen: false };
        let (text, value) = conclude(host, &job.output, None, reading)?;
        return host.result(&text, &value);
    }
    let mut network = base.network(host, architecture, Some(job.head.seed))?;
    idle(host, one, network.architecture())?;
    if extracted.validation.is_none() {
        unvalidated(host, one, "extract with --validation-split 0.2, or from data with a validation folder");
    }
    if !resume {
        few_steps(host, one, job.head.batch, samples_of[0]);
        unweighted(host, one, classes, extracted.train.labels());
    }
    let folder = Folder::begin(host, &job.output, begin, (&config, None))?;

    let train = samples(&extracted.train)?;
    let validation = extracted.validation.as_ref().map(samples).transpose()?;
    let mut stages = Stages::new(host, &folder, (job.head.batch, job.head.seed), classes, resume, began)?;
    let splits = [Some(&extracted.train), extracted.validation.as_ref()];
    for (split, features) in splits.into_iter().flatten().enumerate() {
        stages.see(split, Listing::of_features(&features.recipe), None)?;
    }
    folder.take_over(&config, None)?;
    let before = stages.history.epochs.len();
    let seen = Seen {
        train: (from, &train),
        validation: validation.as_ref().map(|samples| (from, samples as &dyn Samples)),
    };
    stages.run(0, &stage, &mut network, &seen)?;

    config.training.digests = stages.digests();
    let history = &stages.history;
    let trained = history.epochs.len() > before;
    folder.model(host, &network, &config)?;
    let mut seconds = stages.seconds();
    let judge = |split, features: &Features, samples: &FeatureSamples<'_>| {
        let found = test(host, &network, (from, samples), classes, job.head.batch)?;
        let root = (&features.recipe.root).into();
        Ok(Judged::new(Which::Split(split), root, files_of(&features.recipe), found, report::FROM_FEATURES))
    };
    let mut tested: Option<Outcome> = None;
    let judged = match (&extracted.test, extracted.validation.as_ref().zip(validation.as_ref())) {
        (Some(features), _) => {
            let judged = judge(Split::Test, features, &samples(features)?)?;
            tested = Some(judged.outcome().clone());
            seconds = stages.seconds();
            Some(Ok(judged))
        }
        // For the report alone.
        (None, Some((features, samples))) => Some(judge(Split::Validation, features, samples)),
        (None, None) => None,
    };
    let result = figures(&stage, history, tested.as_ref(), seconds);
    let mut text = match (result.val_accuracy, result.val_loss) {
        (Some(accuracy), Some(loss)) => {
            format!("{}  val_acc {accuracy:.4}  val_loss {loss:.4}", files::line(&job.output))
        }
        _ => format!("{}  acc {:.4}", files::line(&job.output), result.accuracy),
    };
    if let Some(found) = &tested {
        text += &format!("\n\ntest\n{}", found.text());
    }
    config.result = Some(result);
    folder.finish(&config)?;
    let material = Material { folder: &job.output, config: &config, history, judged };
    text += &report::attempt(host, &mut network, material)?;
    let mut value = told(&job.output, Some(&config), history);
    value["trained"] = trained.into();
    value["test"] = if host.json { json!(tested) } else { Value::Null };
    value["counters"] = host.counted().into();
    host.result(&text, &value)
}

/// What is written down before the work begins: of these features, made with the base of this SHA-256.
fn settings(
    host: &Host,
    job: &Fit,
    (extracted, base): (&Extracted, &str),
    stage: &StageConfig,
) -> Result<Config> {
    let recipe = extracted.recipe();
    let whole = |path: &PathBuf| files::absolute(path);
    Ok(Config {
        format: FORMAT,
        vgg_ft: env!("CARGO_PKG_VERSION").into(),
        network: NetworkConfig {
            variant: recipe.variant.clone(),
            size: recipe.input,
            preprocess: recipe.preprocess.clone(),
            resize: recipe.resize.clone(),
            classes: recipe.classes.clone(),
            pooling: job.head.pooling,
            units: job.head.units,
            dropout: job.head.dropout,
        },
        training: TrainingConfig {
            job: Job::Fit,
            data: whole(&job.features)?,
            weights: job.weights.as_ref().map(whole).transpose()?,
            base_weights: base.to_owned(),
            device: host.computes(),
            precision: host.device.precision(),
            seed: job.head.seed,
            features: Some(recipe.settings_key()?),
            validation_split: recipe.parted.map(|(share, _)| share),
            split_seed: recipe.parted.map(|(_, seed)| seed),
            batch: job.head.batch,
            samples: extracted.samples(),
            stages: vec![stage.clone()],
            ..TrainingConfig::default()
        },
        result: None,
    })
}

/// What the stage ended with, and what came out on the test.
fn figures(stage: &StageConfig, history: &History, tested: Option<&Outcome>, seconds: f64) -> ResultConfig {
    let last = ended_with(stage, history);
    ResultConfig {
        accuracy: last.map_or(0.0, |e| e.accuracy),
        val_loss: last.and_then(|e| e.val_loss),
        val_accuracy: last.and_then(|e| e.val_accuracy),
        test_loss: tested.map(|found| found.loss),
        test_accuracy: tested.map(|found| found.accuracy),
        seconds,
        ..ResultConfig::default()
    }
}

/// Features as samples.
pub(super) fn samples(features: &Features) -> Result<FeatureSamples<'_>> {
    Ok(FeatureSamples { shape: features.row(), values: features.values()?, labels: features.labels() })
}
