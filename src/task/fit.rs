//! `fit`: a dense classifier on extracted features.

mod extracted;

use super::base::Base;
use super::contents::Listing;
use super::course::StageConfig;
use super::estimate::{Estimate, Keeps, Learning};
use super::evaluate::{Which, files_of, test};
use super::output::{self, apart};
use super::remarks::{few_steps, idle, no_better_than_one, unvalidated, unweighted};
use super::report::{self, Judged, Material};
use super::resume::{Job, conclude, take_over_cuts};
use super::run::{Begin, Begun, Config, Folder, NetworkConfig, ResultConfig, Told, TrainingConfig, told};
use super::stage::{Seen, Stages, ended_with};
use super::{Host, Reading, limits};
use crate::data::{Features, Split};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Architecture, Head, Network, Pooling};
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
    let TakenUp { stage, begin, finished } = taken_up(host, job)?;
    let plan = Plan::new(host, job, stage)?;
    let mut config = plan.config(host, job)?;
    if finished {
        Folder::at(&job.output).same(host, &config)?;
        // Features need no reading of images.
        let reading = Reading { strict: false, cache: None, chosen: false };
        let Told { text, json } = conclude(host, &job.output, None, reading)?;
        return host.result(&text, &json);
    }
    let mut network = plan.base.network(host, plan.architecture.clone(), Some(job.head.seed))?;
    plan.remark(host, job, begin)?;
    let folder = Folder::begin(host, &job.output, begin, (&config, None))?;

    let Plan { stage, extracted, from, .. } = &plan;
    let train = samples(&extracted.train)?;
    let validation = extracted.validation.as_ref().map(samples).transpose()?;
    let (batch, resume) = ((job.head.batch, job.head.seed), begin == Begin::Resume);
    let mut stages = Stages::new(host, &folder, batch, plan.classes(), resume, began)?;
    for (at, features) in
        [Some(&extracted.train), extracted.validation.as_ref()].into_iter().flatten().enumerate()
    {
        stages.see(at, Listing::of_features(&features.recipe), None)?;
    }
    folder.take_over(&config, None)?;
    let before = stages.history.epochs.len();
    let seen = Seen {
        train: (*from, &train),
        validation: validation.as_ref().map(|samples| (*from, samples as &dyn Samples)),
    };
    stages.run(0, stage, &mut network, &seen)?;

    config.training.digests = stages.digests();
    let history = &stages.history;
    let trained = history.epochs.len() > before;
    if let Some(validation) = &extracted.validation
        && let Some(note) = no_better_than_one(
            std::slice::from_ref(stage),
            history,
            plan.classes(),
            validation.labels(),
            job.head.batch,
        )
    {
        host.note(note);
    }
    folder.model(host, &network, &config)?;
    let mut seconds = stages.seconds();
    let judged = plan.judge(host, job, &network, validation.as_ref())?;
    let tested = judged.as_ref().filter(|_| extracted.test.is_some()).and_then(|judged| judged.as_ref().ok());
    let tested = tested.map(|judged| judged.outcome().clone());
    if tested.is_some() {
        seconds = stages.seconds();
    }
    let result = figures(stage, history, tested.as_ref(), seconds);
    config.result = Some(result);
    folder.finish(&config)?;
    let material = Material { folder: &job.output, config: &config, history, judged };
    let text = text(job, &result, tested.as_ref()) + &report::attempt(host, &mut network, material)?;
    let mut json = told(&job.output, Some(&config), history);
    json["trained"] = trained.into();
    json["test"] = if host.json { json!(tested) } else { Value::Null };
    json["counters"] = host.counted().into();
    host.result(&text, &json)
}

/// A job as its folder has it.
struct TakenUp {
    stage: StageConfig,
    begin: Begin,
    /// Whether its run is there and finished.
    finished: bool,
}

/// `job`, which can be and has a place to be written to, with what a run that it goes on with has changed on the way.
fn taken_up(host: &Host, job: &Fit) -> Result<TakenUp> {
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
    Ok(TakenUp { stage, begin, finished })
}

/// What a job goes by.
struct Plan {
    stage: StageConfig,
    extracted: Extracted,
    /// The weights that the features were made with.
    base: Base,
    architecture: Architecture,
    /// The layer at which features enter.
    from: usize,
}

impl Plan {
    /// That of `job`, whose one stage is `stage` by now.
    fn new(host: &Host, job: &Fit, stage: StageConfig) -> Result<Self> {
        let extracted = Extracted::open(&job.features)?;
        // The images may lie elsewhere, or nowhere, by now.
        extracted.images().try_for_each(|root| apart(root, &job.output))?;
        let base = extracted.base(host, job.weights.as_deref())?;
        let (architecture, from) = extracted.architecture(&job.head)?;
        stage.suits(&architecture, &extracted.recipe().classes)?;
        let plan = Self { stage, extracted, base, architecture, from };
        let training = Some(Learning {
            boundary: from,
            samples: plan.extracted.samples(),
            augmented: false,
            keeps: Keeps::of(plan.stages()),
        });
        Estimate { architecture: &plan.architecture, batch: job.head.batch, images: 0, training }
            .tell(host)?;
        Ok(plan)
    }

    fn classes(&self) -> &[String] {
        &self.extracted.recipe().classes
    }

    fn stages(&self) -> &[StageConfig] {
        std::slice::from_ref(&self.stage)
    }

    /// Remarks on the stage and on the features; those on the samples a run that goes on has had before.
    fn remark(&self, host: &Host, job: &Fit, begin: Begin) -> Result<()> {
        let (stages, extracted) = (self.stages(), &self.extracted);
        idle(host, stages, &self.architecture)?;
        if extracted.validation.is_none() {
            unvalidated(
                host,
                stages,
                "extract with --validation-split 0.2, or from data with a validation folder",
            );
        }
        if begin != Begin::Resume {
            few_steps(host, stages, job.head.batch, extracted.train.labels().len());
            unweighted(host, stages, self.classes(), extracted.train.labels());
        }
        Ok(())
    }

    /// What is written down before the work begins.
    fn config(&self, host: &Host, job: &Fit) -> Result<Config> {
        let recipe = self.extracted.recipe();
        let network = NetworkConfig {
            variant: recipe.variant.clone(),
            size: recipe.input,
            preprocess: recipe.preprocess.clone(),
            resize: recipe.resize.clone(),
            classes: recipe.classes.clone(),
            pooling: job.head.pooling,
            units: job.head.units,
            dropout: job.head.dropout,
        };
        let (weights, base_weights) = (job.weights.as_deref(), &self.base.sha256);
        let begun = Begun { job: Job::Fit, data: &job.features, weights, base_weights, head: &job.head };
        let training = TrainingConfig {
            features: Some(recipe.settings_key()?),
            validation_split: recipe.parted.map(|parted| parted.share),
            split_seed: recipe.parted.map(|parted| parted.seed),
            samples: self.extracted.samples(),
            stages: self.stages().to_vec(),
            ..begun.training(host)?
        };
        Ok(Config::new(network, training))
    }

    /// What the network says of the test; where there is none, of the `validation`, for the report alone, which tells why
    /// it cannot be had.
    fn judge(
        &self,
        host: &Host,
        job: &Fit,
        network: &Network,
        validation: Option<&FeatureSamples<'_>>,
    ) -> Result<Option<Result<Judged>>> {
        let judge = |split, features: &Features, samples: &FeatureSamples<'_>| {
            let found = test(host, network, (self.from, samples), self.classes(), job.head.batch)?;
            let (root, files) = ((&features.recipe.root).into(), files_of(&features.recipe));
            Ok(Judged::new(Which::Split(split), root, files, found, report::FROM_FEATURES))
        };
        if let Some(features) = &self.extracted.test {
            return Ok(Some(Ok(judge(Split::Test, features, &samples(features)?)?)));
        }
        let validation = self.extracted.validation.as_ref().zip(validation);
        Ok(validation.map(|(features, samples)| judge(Split::Validation, features, samples)))
    }
}

/// What came out, for people.
fn text(job: &Fit, result: &ResultConfig, tested: Option<&Outcome>) -> String {
    let run = files::line(&job.output);
    let mut text = match (result.val_accuracy, result.val_loss) {
        (Some(accuracy), Some(loss)) => format!("{run}  val_acc {accuracy:.4}  val_loss {loss:.4}"),
        _ => format!("{run}  acc {:.4}", result.accuracy),
    };
    if let Some(found) = tested {
        text += &format!("\n\ntest\n{}", found.text());
    }
    text
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
