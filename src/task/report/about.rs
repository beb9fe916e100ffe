//! What a page says of a run beside its figures: its samples, settings and surroundings.
//!
//! In: the run's configuration, folder and history. Out: names and texts.

use crate::error::Result;
use crate::files;
use crate::task::Host;
use crate::task::course::StageConfig;
use crate::task::run::{Config, MODEL, SKIPPED, TrainingConfig};
use crate::train::History;
use std::path::Path;

/// What an epoch of each stage goes through in the mean: samples of training and of validation.
pub(super) fn passes(config: &Config, history: &History) -> Vec<(String, [f64; 2])> {
    let TrainingConfig { samples: [learned, checked], batch, stages, .. } = &config.training;
    let of = |stage: &StageConfig| {
        let epochs = history.epochs.iter().filter(|epoch| epoch.stage == stage.name).count().max(1);
        let learns = stage.learned(*batch, *learned, 0..epochs) as f64 / epochs as f64;
        (stage.name.clone(), [learns, stage.validated(*batch, *checked) as f64])
    };
    stages.iter().map(of).collect()
}

/// What was trained on what, in a line.
pub(super) fn subtitle(config: &Config) -> String {
    let (network, training) = (&config.network, &config.training);
    let [learned, checked] = training.samples;
    format!(
        "{} on {} classes, {learned} training and {checked} validation samples of {}x{}",
        network.variant.to_uppercase(),
        network.classes.len(),
        network.size[0],
        network.size[1]
    )
}

/// The settings that shape the result, by name.
pub(super) fn settings(folder: &Path, config: &Config) -> Vec<(String, String)> {
    let left_out = if folder.join(SKIPPED).exists() {
        format!("; images that could not be read are listed in {SKIPPED}")
    } else {
        String::new()
    };
    let (network, training) = (&config.network, &config.training);
    let [h, w] = network.size;
    let mut out = vec![
        (
            "network",
            format!(
                "{}, {h}x{w}, {}{}, dropout {}",
                network.variant,
                if network.pooling.is_flatten() { "" } else { "means of the channels, " },
                if network.units == 0 {
                    "no hidden layer".to_owned()
                } else {
                    format!("hidden layer of {}", network.units)
                },
                network.dropout
            ),
        ),
        ("input", format!("{}, brought to size by {}", network.preprocess, network.resize)),
        ("classes", network.classes.join(", ")),
        ("data", format!("{}{left_out}", training.data.display())),
        ("batch, seed", format!("{}, {}", training.batch, training.seed)),
    ];
    if let Some(share) = training.validation_split {
        let settled = if training.earlier_sha256.is_empty() {
            ""
        } else {
            "; images that earlier runs learned from or held out stay in their parts"
        };
        out.push(("validation split", format!("{share}{settled}")));
    }
    let mut out: Vec<(String, String)> = out.into_iter().map(|(name, value)| (name.into(), value)).collect();
    for stage in &training.stages {
        let augment =
            stage.augment.as_ref().map_or(String::new(), |augment| format!("; augmented: {augment}"));
        out.push((format!("stage {}", stage.name), format!("{stage}{augment}")));
    }
    out
}

/// What the run and its page were made on and from.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io) when the model cannot be read.
pub(super) fn environment(host: &Host, folder: &Path, config: &Config) -> Result<Vec<(String, String)>> {
    let device = host.device.describe();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = vec![
        ("trained on", config.training.device.clone()),
        ("report made on", format!("{} ({}), {}", device.name, device.hardware, host.device.precision())),
        ("system", format!("{} {}, {threads} threads", std::env::consts::OS, std::env::consts::ARCH)),
        ("vgg-ft", config.vgg_ft.clone()),
        ("base weights", format!("SHA-256 {}", config.training.base_weights)),
    ];
    let model = folder.join(MODEL);
    let (bytes, sha256) = files::sha256_file(&model)?;
    out.push((MODEL, format!("{bytes} bytes, SHA-256 {sha256}")));
    Ok(out.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
