//! The run folder: `run.toml` (what was done), `model.safetensors` (all weights, Keras' names and
//! layouts), `history.csv`, `curves.svg`. `run.toml` is written last: a folder that has it is whole.

use super::Host;
use crate::data::{Augment, Resize};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Architecture, Head, Network, Preprocess, Source};
use crate::report::curves_svg;
use crate::train::History;
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `run.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Version of this layout.
    pub format: u32,
    /// Version of vgg-ft that wrote it.
    pub vgg_ft: String,
    /// What to build and how to feed it.
    pub network: NetworkConfig,
    /// What it was trained on and how.
    pub training: TrainingConfig,
    /// How it went.
    pub result: ResultConfig,
}

/// The network of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// `vgg16`.
    pub variant: String,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// Pixel scaling.
    pub preprocess: String,
    /// Way to size.
    pub resize: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// Hidden units.
    pub units: usize,
    /// Dropout.
    pub dropout: f32,
}

/// How a run was trained. Absent stages have no entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// The data or features folder.
    pub data: PathBuf,
    /// SHA-256 of the base's weights file.
    pub base_weights: String,
    /// Device and precision.
    pub device: String,
    /// Seed.
    pub seed: u64,
    /// Samples per step.
    pub batch: usize,
    /// Share of each class that was the validation split, if the data had none of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_split: Option<f32>,
    /// Training and validation samples.
    pub samples: [usize; 2],
    /// Epochs with the base frozen.
    pub head_epochs: usize,
    /// Learning rate of that stage.
    pub head_rate: f32,
    /// First layer that learned in the second stage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unfreeze_from: Option<String>,
    /// Epochs of that stage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epochs: Option<usize>,
    /// Learning rate of that stage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<f32>,
    /// RMSprop's memory.
    pub rho: f32,
    /// RMSprop's epsilon, inside the root.
    pub epsilon: f32,
    /// How the training pictures were changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub augment: Option<Augment>,
}

/// Last figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultConfig {
    /// Training accuracy of the last epoch.
    pub accuracy: f64,
    /// Validation loss after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_loss: Option<f64>,
    /// Validation accuracy after the last epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub val_accuracy: Option<f64>,
    /// Validation accuracy after the first stage, if there was a second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub head_val_accuracy: Option<f64>,
    /// Test loss.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_loss: Option<f64>,
    /// Test accuracy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test_accuracy: Option<f64>,
    /// Wall-clock time of the whole job.
    pub seconds: f64,
}

/// A folder that a run is written to.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, or takes it over.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a complete run is there and `force` is not given; [`Kind::Io`].
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let config = path.join("run.toml");
        if config.exists() && !force {
            return Err(Error::new(Kind::Usage, format!("{} holds a finished run", path.display()))
                .help("choose another folder with -o, or write over it with --force"));
        }
        files::create_dir(path)?;
        if config.exists() {
            // From here on the folder is not whole.
            std::fs::remove_file(&config).map_err(|e| Error::io("remove", &config, &e))?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The history so far and its picture; called after every epoch.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn history(&self, history: &History) -> Result<()> {
        history.save(&self.join("history.csv"))?;
        files::write_bytes(&self.join("curves.svg"), curves_svg(history).as_bytes())
    }

    /// The model.
    ///
    /// # Errors
    /// The device's; [`Kind::Io`].
    pub fn model(&self, host: &Host, network: &Network, classes: &[String]) -> Result<()> {
        let metadata = BTreeMap::from([
            ("format".to_owned(), "keras".to_owned()),
            ("layout".to_owned(), "HWIO".to_owned()),
            ("classes".to_owned(), classes.join("\n")),
        ]);
        network.save(host.device.as_ref(), &self.join("model.safetensors"), &metadata)
    }

    /// The last file: from now on the run is whole.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(&self, config: &Config) -> Result<()> {
        let text = toml::to_string(config)
            .map_err(|e| Error::new(Kind::Io, "run.toml cannot be written").fact("reason", e))?;
        files::write_bytes(&self.join("run.toml"), text.as_bytes())
    }
}

/// A run read back.
pub struct Run {
    /// `run.toml`.
    pub config: Config,
    /// Layers and sizes.
    pub architecture: Architecture,
    path: PathBuf,
}

impl Run {
    /// Reads `path/run.toml`.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `path` is no run; [`Kind::Data`] when `run.toml` is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join("run.toml");
        let text = match std::fs::read_to_string(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::Usage, format!("{} is not a finished run", path.display()))
                    .fact("missing", file.display())
                    .help("give the folder that `vgg-ft finetune` or `vgg-ft fit` wrote with -o"));
            }
            text => text.map_err(|e| Error::io("read", &file, &e))?,
        };
        let config: Config = toml::from_str(&text).map_err(|e| damaged(&file, e.message()))?;
        if config.format != 1 {
            return Err(Error::new(Kind::Data, format!("{} is of another version", file.display()))
                .expected_got("format = 1", config.format)
                .help(format!("it was written by vgg-ft {}; use that version", config.vgg_ft)));
        }
        let network = &config.network;
        let head = Head { units: network.units, dropout: network.dropout, classes: network.classes.len() };
        let architecture = network
            .variant
            .parse()
            .and_then(|variant| Architecture::vgg(variant, network.size))
            .and_then(|base| base.with_head(head))
            .map_err(|e| damaged(&file, e.message()))?;
        Ok(Self { config, architecture, path: path.to_owned() })
    }

    /// The trained network.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the model file is missing, damaged or of other sizes than `run.toml` says.
    pub fn network(&self, host: &Host) -> Result<Network> {
        let weights = self.weights()?;
        Network::new(host.device.as_ref(), self.architecture.clone(), |_| Source::File(&weights))
    }

    /// The file of trained weights.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is missing or damaged.
    pub fn weights(&self) -> Result<Weights> {
        Weights::open(&self.path.join("model.safetensors"))
    }

    /// How pixels were scaled.
    ///
    /// # Errors
    /// [`Kind::Data`] for a name that this version does not know.
    pub fn preprocess(&self) -> Result<Preprocess> {
        let name = &self.config.network.preprocess;
        name.parse().map_err(|e: Error| damaged(&self.path.join("run.toml"), e.message()))
    }

    /// How pictures were brought to size.
    ///
    /// # Errors
    /// [`Kind::Data`] for a name that this version does not know.
    pub fn resize(&self) -> Result<Resize> {
        let name = &self.config.network.resize;
        name.parse().map_err(|reason: String| damaged(&self.path.join("run.toml"), &reason))
    }
}

fn damaged(file: &Path, reason: &str) -> Error {
    Error::new(Kind::Data, format!("{} cannot be understood", file.display()))
        .fact("reason", reason)
        .help("mend it, or train again")
}
