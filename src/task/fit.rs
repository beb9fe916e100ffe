//! `fit`: a dense classifier on extracted features.

use super::Host;
use super::base::Base;
use super::run::{Config, Folder, NetworkConfig, ResultConfig, TrainingConfig};
use super::stage::Watch;
use crate::data::{Features, Recipe};
use crate::device::call::Rmsprop;
use crate::error::{Error, Kind, Result};
use crate::model::{Architecture, Head, Trainable};
use crate::train::{self, FeatureSamples, Optimizer};
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

/// Keras' defaults for RMSprop.
pub(super) const RHO: f32 = 0.9;
/// See [`RHO`].
pub(super) const EPSILON: f32 = 1e-7;

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
    /// Write over a finished run.
    pub force: bool,
    /// Epochs.
    pub epochs: usize,
    /// Learning rate.
    pub rate: f32,
    /// The classifier.
    pub head: HeadOptions,
    /// Weights of the base.
    pub weights: Option<PathBuf>,
}

/// Trains the classifier and writes the run.
///
/// # Errors
/// Of features, weights, device and files; [`Kind::Numeric`] when the loss diverges.
pub fn fit(host: &Host, job: &Fit) -> Result<()> {
    let began = Instant::now();
    host.introduce();
    let train = Features::open(&job.features.join("train.safetensors"))?;
    let path = job.features.join("validation.safetensors");
    let validation = if path.exists() { Some(Features::open(&path)?) } else { None };
    let recipe = &train.recipe;
    if let Some(validation) = &validation
        && !belong_together(recipe, &validation.recipe)
    {
        return Err(Error::new(Kind::Data, "training and validation features do not belong together")
            .fact("reason", "other settings, or pictures that are in both")
            .help("extract both again into one folder"));
    }
    let base = Base::open(host, job.weights.as_deref())?;
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
    let trainable = Trainable::head(&architecture);
    let parameters = architecture.parameters_from(from);
    let mut network = base.network(host, architecture, job.head.seed)?;
    network.set_trainable(trainable);
    let folder = Folder::create(&job.output, job.force)?;

    let learned = samples(&train)?;
    let checked = validation.as_ref().map(samples).transpose()?;
    let rule = Rmsprop { rate: job.rate, rho: RHO, epsilon: EPSILON };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    let mut watch = Watch::new(host, &folder);
    watch.stage(
        &format!("training the classifier ({parameters} weights) on {} samples", train.labels().len()),
        job.epochs,
    );
    train::Fit {
        device: host.device.as_ref(),
        from,
        train: &learned,
        validation: checked.as_ref().map(|samples| samples as &dyn train::Samples),
        stage: "head",
        epochs: job.epochs,
        batch: job.head.batch,
        seed: job.head.seed,
        first_step: 0,
    }
    .run(&mut network, &mut optimizer, &mut watch)?;

    folder.model(host, &network, &recipe.classes)?;
    let last = watch.last("head").cloned();
    let result = ResultConfig {
        accuracy: last.as_ref().map_or(0.0, |e| e.accuracy),
        val_loss: last.as_ref().and_then(|e| e.val_loss),
        val_accuracy: last.as_ref().and_then(|e| e.val_accuracy),
        seconds: began.elapsed().as_secs_f64(),
        ..ResultConfig::default()
    };
    let config = Config {
        format: 1,
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
            data: job.features.clone(),
            base_weights: base.sha256.clone(),
            device: format!("{} f32", host.device.describe().name),
            seed: job.head.seed,
            batch: job.head.batch,
            samples: [train.labels().len(), validation.as_ref().map_or(0, |v| v.labels().len())],
            head_epochs: job.epochs,
            head_rate: job.rate,
            rho: RHO,
            epsilon: EPSILON,
            ..TrainingConfig::default()
        },
        result,
    };
    folder.finish(&config)?;
    let text = match (result.val_accuracy, result.val_loss) {
        (Some(accuracy), Some(loss)) => {
            format!("{}  val_acc {accuracy:.4}  val_loss {loss:.4}", job.output.display())
        }
        _ => format!("{}  acc {:.4}", job.output.display(), result.accuracy),
    };
    host.result(
        &text,
        &json!({
            "run": job.output,
            "result": result,
            "history": watch.history.epochs,
            "counters": host.counted(),
        }),
    )
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
