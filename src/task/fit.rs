//! `fit`: a dense classifier on extracted features.

use super::base::Base;
use super::contents::Listing;
use super::course::StageConfig;
use super::estimate::{Estimate, Keeps, Learning};
use super::evaluate::{Which, test};
use super::output::{self, apart};
use super::remarks::{few_steps, idle, unvalidated};
use super::report::{self, Judged, Material};
use super::resume::{Job, take_over_cuts};
use super::run::{
    Begin, Config, FORMAT, Folder, NetworkConfig, ResultConfig, TrainingConfig, nothing_left, told,
};
use super::stage::{Seen, Stages, ended_with};
use super::{Host, limits};
use crate::data::{Features, Recipe};
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Head};
use crate::report::Outcome;
use crate::train::{self, FeatureSamples};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf, absolute};
use std::time::Instant;

/// How the classifier is built and trained.
#[derive(Clone, Copy, Debug)]
pub struct HeadOptions {
    /// Hidden units.
    pub units: usize,
    /// Dropout.
    pub dropout: f32,
    /// Samples per step.
    pub batch: usize,
    /// Seed.
    pub seed: u64,
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
            .help("take `unfreeze_from` and `augment` out, or use `vgg-ft finetune` on the pictures"));
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
    let finished = job.begin == Begin::Resume && Folder::finished(&job.output)?;
    apart(&job.features, &job.output)?;
    let mut stage = job.stage.clone();
    if job.begin == Begin::Resume {
        take_over_cuts(&job.output, std::slice::from_mut(&mut stage))?;
    }
    let unfinished = |split: &str| {
        let [whole, partial] =
            ["", ".partial"].map(|end| job.features.join(format!("{split}.safetensors{end}")));
        (!whole.exists() && partial.exists()).then_some(partial)
    };
    if let Some(partial) = ["train", "validation"].into_iter().find_map(unfinished) {
        return Err(Error::new(
            Kind::Usage,
            format!("{} holds an extraction that was stopped", job.features.display()),
        )
        .fact("there", partial.display())
        .help("the same `vgg-ft extract` command goes on with it; or remove that file"));
    }
    let train = Features::open(&job.features.join("train.safetensors"))?;
    let part = |split: &str| {
        let path = job.features.join(format!("{split}.safetensors"));
        path.exists().then(|| Features::open(&path)).transpose()
    };
    let (validation, tested) = (part("validation")?, part("test")?);
    let recipe = &train.recipe;
    // The pictures may lie elsewhere, or nowhere, by now.
    let others = [&validation, &tested].map(|part| part.as_ref().map(|features| &features.recipe));
    let pictures = [Some(recipe), others[0], others[1]];
    for root in
        pictures.into_iter().flatten().map(|recipe| Path::new(&recipe.root)).filter(|root| root.is_dir())
    {
        apart(root, &job.output)?;
    }
    for (name, other) in [("validation", &validation), ("test", &tested)] {
        if other.as_ref().is_some_and(|other| !belong_together(recipe, &other.recipe)) {
            return Err(Error::new(
                Kind::Data,
                format!("training and {name} features do not belong together"),
            )
            .fact("reason", "other settings, or pictures that are in both")
            .help("extract both again into one folder"));
        }
    }
    let here = host.device.precision();
    if recipe.precision != here {
        host.say(format_args!(
            "note: the features were made in {} and are learned from in {here}",
            recipe.precision
        ));
    }
    let base = Base::open(host, job.weights.as_deref(), recipe.preprocess.parse()?)?;
    if base.sha256 != recipe.weights {
        return Err(Error::new(Kind::Weights, "the features were made with other weights")
            .expected_got(&recipe.weights, &base.sha256)
            .help("give the weights of the extraction with --weights, or extract again"));
    }
    let head = Head { units: job.head.units, dropout: job.head.dropout, classes: recipe.classes.len() };
    let architecture = Architecture::vgg(recipe.variant.parse()?, recipe.input)?;
    let from = architecture.base();
    if recipe.layer != architecture.layers()[from - 1].name {
        return Err(Error::new(Kind::Usage, format!("the features end at {}", recipe.layer))
            .expected_got(&architecture.layers()[from - 1].name, &recipe.layer)
            .help("extract without --layer: the classifier stands on the whole base"));
    }
    let architecture = architecture.with_head(head)?;
    stage.suits(&architecture, &recipe.classes)?;
    let batch = job.head.batch;
    let counts = [train.labels().len(), validation.as_ref().map_or(0, |v| v.labels().len())];
    let training = Some(Learning {
        boundary: from,
        samples: counts,
        augmented: false,
        keeps: Keeps::of(std::slice::from_ref(&stage)),
    });
    Estimate { architecture: &architecture, batch, pictures: 0, training }.tell(host)?;
    let whole = |path: &PathBuf| absolute(path).map_err(|e| Error::io("find", path, &e));
    let mut config = Config {
        format: FORMAT,
        vgg_ft: env!("CARGO_PKG_VERSION").into(),
        network: NetworkConfig {
            variant: recipe.variant.clone(),
            size: recipe.input,
            preprocess: recipe.preprocess.clone(),
            resize: recipe.resize.clone(),
            classes: recipe.classes.clone(),
            units: job.head.units,
            dropout: job.head.dropout,
        },
        training: TrainingConfig {
            job: Job::Fit,
            data: whole(&job.features)?,
            weights: job.weights.as_ref().map(whole).transpose()?,
            base_weights: base.sha256.clone(),
            device: host.computes(),
            precision: host.device.precision(),
            seed: job.head.seed,
            features: Some(recipe.settings_key()?),
            validation_split: recipe.parted.map(|(share, _)| share),
            split_seed: recipe.parted.map(|(_, seed)| seed),
            batch: job.head.batch,
            samples: counts,
            stages: vec![stage.clone()],
            ..TrainingConfig::default()
        },
        result: None,
    };
    if finished {
        Folder::at(&job.output).same(host, &config)?;
        let (text, value) = nothing_left(&job.output);
        return host.result(&text, &value);
    }
    let mut network = base.network(host, architecture, Some(job.head.seed))?;
    let one = std::slice::from_ref(&stage);
    idle(host, one, network.architecture())?;
    if validation.is_none() {
        unvalidated(host, one, "extract with --validation-split 0.2, or from data with a validation folder");
    }
    if job.begin != Begin::Resume {
        few_steps(host, one, batch, counts[0]);
    }
    let folder = Folder::begin(host, &job.output, job.begin, &config)?;

    let learned = samples(&train)?;
    let checked = validation.as_ref().map(samples).transpose()?;
    let resume = job.begin == Begin::Resume;
    let numbers = (job.head.batch, job.head.seed);
    let mut stages = Stages::new(host, &folder, numbers, &recipe.classes, resume, began)?;
    for (split, features) in [Some(&train), validation.as_ref()].into_iter().flatten().enumerate() {
        stages.see(split, Listing::of_features(&features.recipe), None)?;
    }
    let seen = Seen {
        train: (from, &learned),
        validation: checked.as_ref().map(|samples| (from, samples as &dyn train::Samples)),
    };
    folder.take_over(&config)?;
    let before = stages.history.epochs.len();
    stages.run(0, &stage, &mut network, &seen)?;

    config.training.digests = stages.digests();
    let history = &stages.history;
    let trained = history.epochs.len() > before;
    folder.model(host, &network, &config)?;
    let last = ended_with(&stage, history);
    let mut result = ResultConfig {
        accuracy: last.map_or(0.0, |e| e.accuracy),
        val_loss: last.and_then(|e| e.val_loss),
        val_accuracy: last.and_then(|e| e.val_accuracy),
        seconds: stages.seconds(),
        ..ResultConfig::default()
    };
    let judge = |name, features: &Features, samples: &FeatureSamples<'_>| {
        let found = test(host, &network, (from, samples), &recipe.classes, batch)?;
        let files = features.recipe.files.iter().map(|(name, _, _)| name.into()).collect();
        let root = (&features.recipe.root).into();
        Ok(Judged::new(Which::Split(name), root, files, found, report::FROM_FEATURES))
    };
    let mut outcome: Option<Outcome> = None;
    let judged = if let Some(features) = &tested {
        let judged = judge("test", features, &samples(features)?)?;
        let found = judged.outcome().clone();
        (result.test_loss, result.test_accuracy) = (Some(found.loss), Some(found.accuracy));
        outcome = Some(found);
        Some(Ok(judged))
    } else {
        validation.as_ref().zip(checked.as_ref()).map(|(of, samples)| judge("validation", of, samples))
    };
    config.result = Some(result);
    folder.finish(&config)?;
    let mut text = match (result.val_accuracy, result.val_loss) {
        (Some(accuracy), Some(loss)) => {
            format!("{}  val_acc {accuracy:.4}  val_loss {loss:.4}", job.output.display())
        }
        _ => format!("{}  acc {:.4}", job.output.display(), result.accuracy),
    };
    if let Some(found) = &outcome {
        text += &format!("\n\ntest\n{}", found.text());
    }
    let material = Material { folder: &job.output, config: &config, history, judged };
    text += &report::attempt(host, &mut network, material)?;
    let mut value = told(&job.output, Some(&config), history);
    value["trained"] = trained.into();
    value["test"] = if host.json { json!(outcome) } else { Value::Null };
    value["counters"] = host.counted().into();
    host.result(&text, &value)
}

/// Made alike, and from different pictures.
fn belong_together(train: &Recipe, validation: &Recipe) -> bool {
    let known: HashSet<&str> = train.files.iter().map(|(name, _, _)| name.as_str()).collect();
    let overlap = train.root == validation.root
        && validation.files.iter().any(|(name, _, _)| known.contains(name.as_str()));
    train.comparable(validation) && !overlap
}

/// Features as samples.
pub(super) fn samples(features: &Features) -> Result<FeatureSamples<'_>> {
    Ok(FeatureSamples { shape: features.row(), values: features.values()?, labels: features.labels() })
}
