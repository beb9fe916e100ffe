//! The run folder: `run.toml` (what was done), `model.safetensors` (all weights, Keras' names and
//! layouts), `history.csv` and `.jsonl`, `curves.svg`, `tensorboard/`. `run.toml` makes the folder whole; what
//! is drawn from it (`report.html`, `curves.png`) comes after. Until then `job.toml` says what is being done and `checkpoint.safetensors` how far it is.

mod remains;

use super::Host;
use super::course::StageConfig;
use crate::data::Resize;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::{Architecture, Head, Network, Preprocess, Source};
use crate::report::{curves, tensorboard};
use crate::train::History;
use crate::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// `run.toml`, and without a result `job.toml`.
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
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<ResultConfig>,
}

/// The version of [`Config`] that is written and read.
pub(super) const FORMAT: u32 = 2;

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

/// How a run was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// The data or features folder.
    pub data: PathBuf,
    /// The base's weights file, if it was not the one that comes with vgg-ft.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<PathBuf>,
    /// SHA-256 of the base's weights file.
    pub base_weights: String,
    /// Device and precision.
    pub device: String,
    /// Seed.
    pub seed: u64,
    /// Samples that run together.
    pub batch: usize,
    /// Share of each class that was the validation split, if the data had none of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_split: Option<f32>,
    /// Training and validation samples.
    pub samples: [usize; 2],
    /// Whether activations at the freeze boundary stay.
    #[serde(default)]
    pub keep_features: bool,
    /// Bytes that those activations may take on the disk.
    #[serde(default)]
    pub cache_limit: u64,
    /// In their order.
    pub stages: Vec<StageConfig>,
}

/// Last figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultConfig {
    /// Training accuracy of the last epoch, or of the best if its weights were put back; so the others.
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
    /// Wall-clock time of the job since it was begun or last taken up.
    pub seconds: f64,
}

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// In a folder without a run.
    New,
    /// In place of the run that is there.
    Over,
    /// Where the run that is there was stopped.
    Resume,
}

/// A folder that a run is written to.
pub struct Folder {
    path: PathBuf,
}

const JOB: &str = "job.toml";
const CHECKPOINT: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
/// The report.
pub(super) const REPORT: &str = "report.html";
/// The curves in pixels.
pub(super) const CURVES: &str = "curves.png";

impl Folder {
    /// Makes the folder, or takes it over.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a run is there and neither written over nor taken up, when there is none to take
    /// up, or when it is another job; [`Kind::Io`].
    pub fn begin(host: &Host, path: &Path, begin: Begin, job: &Config) -> Result<Self> {
        let folder = Self { path: path.to_owned() };
        let (finished, stopped) = (folder.join("run.toml").exists(), folder.join(CHECKPOINT).exists());
        match begin {
            Begin::New if finished => {
                return Err(Error::new(Kind::Usage, format!("{} holds a finished run", path.display()))
                    .help("choose another folder with -o, or write over it with --force"));
            }
            Begin::New if stopped => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} holds a run that was stopped", path.display()),
                )
                .help("go on with it with --resume, or begin anew with --force"));
            }
            Begin::Resume => folder.compare(host, job)?,
            Begin::New => {}
            Begin::Over => {
                // From here on the folder is not whole.
                for name in ["run.toml", CHECKPOINT, BEST, JOB, REPORT, CURVES] {
                    remove(&folder.join(name))?;
                }
            }
        }
        files::create_dir(path)?;
        folder.remove_remains()?;
        if begin != Begin::Resume {
            folder.write(JOB, job)?;
        }
        Ok(folder)
    }

    /// Whether the run that is there is this job.
    fn compare(&self, host: &Host, job: &Config) -> Result<()> {
        let there = Config::read(&self.join(JOB)).map_err(|error| match error.kind() {
            Kind::Io => {
                Error::new(Kind::Usage, format!("{} holds no run to go on with", self.path.display()))
                    .fact("missing", self.join(JOB).display())
                    .help("leave --resume out to begin one")
            }
            _ => error,
        })?;
        if there.training.device != job.training.device {
            host.say(format_args!(
                "note: the run began on {}; on {} its numbers differ in the last bits",
                there.training.device, job.training.device
            ));
        }
        let Some(differs) = there.differs(job)? else { return Ok(()) };
        Err(Error::new(Kind::Usage, format!("{} holds another job than this", self.path.display()))
            .fact("differs", differs)
            .help(format!(
                "`vgg-ft resume {}` goes on with the job that is there; --force begins anew",
                self.path.display()
            )))
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the state of training is kept.
    pub fn checkpoint(&self) -> PathBuf {
        self.join(CHECKPOINT)
    }

    /// Where the weights of a stage's best epoch are kept.
    pub fn best(&self) -> PathBuf {
        self.join(BEST)
    }

    /// The history so far and its picture; called after every epoch.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn history(&self, history: &History) -> Result<()> {
        history.save(&self.join("history.csv"))?;
        files::write_bytes(&self.join("history.jsonl"), history.to_jsonl()?.as_bytes())?;
        files::write_bytes(&self.join("curves.svg"), curves(history).svg().as_bytes())?;
        // A clock before 1970 gives 0: TensorBoard's dates are then wrong, no more.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        tensorboard::update(&self.join("tensorboard"), history, now)
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

    /// The last file: from now on the run is whole, and what it needed on the way goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(&self, config: &Config) -> Result<()> {
        self.write("run.toml", config)?;
        [CHECKPOINT, BEST, JOB].iter().try_for_each(|name| remove(&self.join(name)))
    }

    /// Writes a file of settings.
    fn write(&self, name: &str, config: &Config) -> Result<()> {
        files::write_bytes(&self.join(name), config.text()?.as_bytes())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}

impl Config {
    /// The file's text.
    ///
    /// # Errors
    /// None in practice: the fields always serialize.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| Error::new(Kind::Io, "run.toml cannot be written").fact("reason", e))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`] when it is damaged or of another version.
    pub fn read(file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            vgg_ft: String,
        }
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, &e))?;
        let version: Version = toml::from_str(&text).map_err(|e| damaged(file, e.message()))?;
        if version.format != FORMAT {
            return Err(Error::new(Kind::Data, format!("{} is of another version", file.display()))
                .expected_got(format!("format = {FORMAT}"), version.format)
                .help(format!("it was written by vgg-ft {}; use that version", version.vgg_ft)));
        }
        toml::from_str(&text).map_err(|e| damaged(file, e.message()))
    }

    /// The network that it describes.
    ///
    /// # Errors
    /// [`Kind::Data`] when there is no such network; `file` is named.
    pub fn architecture(&self, file: &Path) -> Result<Architecture> {
        let network = &self.network;
        let head = Head { units: network.units, dropout: network.dropout, classes: network.classes.len() };
        network
            .variant
            .parse()
            .and_then(|variant| Architecture::vgg(variant, network.size))
            .and_then(|base| base.with_head(head))
            .map_err(|e| damaged(file, e.message()))
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
        if !file.exists() {
            let help = if path.join(JOB).exists() {
                format!("it was stopped: `vgg-ft resume {}` goes on with it", path.display())
            } else {
                "give the folder that `vgg-ft finetune` or `vgg-ft fit` wrote with -o".into()
            };
            return Err(Error::new(Kind::Usage, format!("{} is not a finished run", path.display()))
                .fact("missing", file.display())
                .help(help));
        }
        let config = Config::read(&file)?;
        let architecture = config.architecture(&file)?;
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

pub(super) fn damaged(file: &Path, reason: &str) -> Error {
    Error::new(Kind::Data, format!("{} cannot be understood", file.display()))
        .fact("reason", reason)
        .help("mend it, or train again")
}
