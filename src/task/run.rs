//! The run folder: `run.toml` (what was done), `model.safetensors` (all weights, Keras' names and
//! layouts), `history.csv` and `.jsonl`, `curves.svg`, `tensorboard/`. `run.toml` makes the folder whole; what
//! is drawn from it (`report.html`, `curves.png`) comes after. Until then `job.toml` says what is being done and `checkpoint.safetensors` how far it is.

mod config;
mod lock;
mod remains;

pub use config::{Config, NetworkConfig, ResultConfig, TrainingConfig};
pub(super) use config::{FORMAT, damaged};
pub(super) use lock::{Lock, is_held};
pub(super) use remains::{DRAWN, FILES};

use super::Host;
use super::base::Base;
use super::contents::Listing;
use super::stage::Moment;
use crate::data::Resize;
use crate::error::{Error, Kind, Result};
use crate::files::{self, quoted};
use crate::model::{Architecture, Network, Preprocess, Pretrained, Source};
use crate::report::{counted, curves, tensorboard};
use crate::train::{Checkpoint, History};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Held by whoever writes there.
    lock: Option<Lock>,
}

/// What is being done, until it is done.
pub(super) const JOB: &str = "job.toml";
const CHECKPOINT: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
/// The samples of training and of validation.
const LISTINGS: [&str; 2] = ["samples-train.jsonl", "samples-validation.jsonl"];
/// What a run needs on the way; the file that says so last.
const ON_THE_WAY: [&str; 5] = [CHECKPOINT, BEST, LISTINGS[0], LISTINGS[1], JOB];
const TENSORBOARD: &str = "tensorboard";
/// The report.
pub(super) const REPORT: &str = "report.html";
/// The curves in pixels.
pub(super) const CURVES: &str = "curves.png";

impl Folder {
    /// That of a run which is there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None }
    }

    /// Makes the folder, or takes it over.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a run is there and neither written over nor taken up, when there is none to take
    /// up, when it is another job, or when another process writes there; [`Kind::Io`].
    pub fn begin(host: &Host, path: &Path, begin: Begin, job: &Config) -> Result<Self> {
        let lock = if path.is_dir() { Lock::take(path)? } else { None };
        let mut folder = Self { path: path.to_owned(), lock };
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
            Begin::Resume => folder.compare(host, JOB, job)?,
            Begin::New => folder.nothing_lost()?,
            Begin::Over => {
                // From here on the folder is not whole.
                for name in ["run.toml", REPORT, CURVES].iter().chain(&ON_THE_WAY) {
                    remove(&folder.join(name))?;
                }
            }
        }
        files::create_dir(path)?;
        if folder.lock.is_none() {
            folder.lock = Lock::take(path)?;
        }
        folder.remove_remains()?;
        if begin != Begin::Resume {
            folder.describe(job)?;
        }
        Ok(folder)
    }

    /// What is being done.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn describe(&self, job: &Config) -> Result<()> {
        self.write(JOB, job)
    }

    /// Whether the run that is there, and that the file `name` tells of, is this job.
    fn compare(&self, host: &Host, name: &str, job: &Config) -> Result<()> {
        let there = Config::read(&self.join(name)).map_err(|error| match error.kind() {
            Kind::Io => {
                Error::new(Kind::Usage, format!("{} holds no run to go on with", self.path.display()))
                    .fact("missing", self.join(name).display())
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
        let help = if name == JOB {
            format!(
                "`vgg-ft resume {}` goes on with the job that is there; this command with --force begins anew",
                quoted(&self.path)
            )
        } else {
            "it is finished; choose another folder with -o, or write over it with --force".into()
        };
        Err(Error::new(Kind::Usage, format!("{} holds another job than this", self.path.display()))
            .fact("differs", differs)
            .help(help))
    }

    /// What is to be said, to people and to machines, where `job` is to go on and is finished already.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is another job that is finished here; those of [`Config::read`].
    pub fn done(&self, host: &Host, job: &Config) -> Result<(String, Value)> {
        self.compare(host, "run.toml", job)?;
        Ok(nothing_left(&self.path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the state of training is kept.
    pub fn checkpoint(&self) -> PathBuf {
        self.join(CHECKPOINT)
    }

    /// Where the samples of training (`split` 0) or of validation (1) are listed.
    pub fn listing(&self, split: usize) -> PathBuf {
        self.join(LISTINGS[split])
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
        tensorboard::update(&self.join(TENSORBOARD), history, now)
    }

    /// The model of a job that `config` describes.
    ///
    /// # Errors
    /// The device's; [`Kind::Io`].
    pub fn model(&self, host: &Host, network: &Network, config: &Config) -> Result<()> {
        let NetworkConfig { classes, preprocess, size: [h, w], .. } = &config.network;
        let metadata = BTreeMap::from([
            ("format".to_owned(), "keras".to_owned()),
            ("layout".to_owned(), "HWIO".to_owned()),
            ("classes".to_owned(), classes.join("\n")),
            // What whoever takes these weights elsewhere must know of pictures.
            ("preprocess".to_owned(), preprocess.clone()),
            ("size".to_owned(), format!("{h}x{w}")),
        ]);
        network.save(host.device.as_ref(), &self.join("model.safetensors"), &metadata)
    }

    /// The last file: from now on the run is whole, and what it needed on the way goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(&self, config: &Config) -> Result<()> {
        self.write("run.toml", config)?;
        ON_THE_WAY.iter().try_for_each(|name| remove(&self.join(name)))
    }

    /// Writes a file of settings.
    fn write(&self, name: &str, config: &Config) -> Result<()> {
        files::write_bytes(&self.join(name), config.text()?.as_bytes())
    }
}

/// That the run at `path` is finished, for people and for machines.
pub(super) fn nothing_left(path: &Path) -> (String, Value) {
    let text = format!("{} is finished, there is nothing to go on with", path.display());
    (text, json!({ "run": path, "finished": true }))
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}

/// What a run learns from, and what it is measured on after every epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first of [`TrainingConfig::digests`].
    Train,
    /// The second.
    Validation,
}

/// How far a run is that is not finished.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// The stage that is under way.
    stage: String,
    /// Its epochs that are over.
    epochs: usize,
    /// Steps of the next.
    steps: usize,
}

/// A run read back.
pub struct Run {
    /// `run.toml`; of a run that was stopped, `job.toml`.
    pub config: Config,
    /// Layers and sizes.
    pub architecture: Architecture,
    path: PathBuf,
    /// Where a run that is not finished was stopped.
    stopped: Option<(Checkpoint, Moment)>,
}

impl Run {
    /// Reads a finished run.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `path` is none; [`Kind::Data`] when `run.toml` is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join("run.toml");
        if !file.try_exists().map_err(|e| Error::io("read", &file, &e))? {
            let help = if is_held(path) {
                "it is being trained now: wait until it has ended".into()
            } else if path.join(JOB).exists() {
                format!("it was stopped: `vgg-ft resume {}` goes on with it", quoted(path))
            } else {
                "give the folder that `vgg-ft finetune` or `vgg-ft fit` wrote with -o".into()
            };
            return Err(Error::new(Kind::Usage, format!("{} is not a finished run", path.display()))
                .fact("missing", file.display())
                .help(help));
        }
        Self::read(path, &file, None)
    }

    /// Reads a run that is finished, or was stopped (or is still being trained) after its first checkpoint.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Kind::Weights`] when the checkpoint is damaged.
    pub fn open_unfinished(path: &Path) -> Result<Self> {
        let job = path.join(JOB);
        if path.join("run.toml").exists() || !job.exists() {
            return Self::open(path);
        }
        let stopped = super::stage::kept(&Folder::at(path))?.ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} has no weights yet", path.display()))
                .fact("missing", path.join(CHECKPOINT).display())
                .help(if is_held(path) {
                    "it is being trained now: its first checkpoint comes after its first epoch".into()
                } else {
                    format!("it was stopped in its first epoch: `vgg-ft resume {}` goes on", quoted(path))
                })
        })?;
        Self::read(path, &job, Some(stopped))
    }

    fn read(path: &Path, file: &Path, stopped: Option<(Checkpoint, Moment)>) -> Result<Self> {
        let config = Config::read(file)?;
        let architecture = config.architecture(file)?;
        Ok(Self { config, architecture, path: path.to_owned(), stopped })
    }

    /// How far a run is that is not finished.
    pub fn stopped(&self) -> Option<Stopped> {
        let (_, moment) = self.stopped.as_ref()?;
        let position = &moment.position;
        let stage =
            self.config.training.stages.get(moment.stage).map_or_else(String::new, |s| s.name.clone());
        Some(Stopped { stage, epochs: position.epochs.len(), steps: position.within })
    }

    /// Whether `listing` is what a part of the run saw; `None` where the run does not tell.
    pub fn saw(&self, part: Part, listing: &Listing) -> Option<bool> {
        let moment = self.stopped.as_ref().map(|(_, moment)| &moment.samples[part as usize].digest);
        let seen = moment.or_else(|| self.config.training.digests.get(part as usize))?;
        Some(*seen == listing.contents().digest)
    }

    /// Remarks on a run that is not finished, and where the device computes in other numbers than those that the run was
    /// trained in.
    pub fn remark(&self, host: &Host) {
        if let Some(Stopped { stage, epochs, steps }) = self.stopped() {
            host.say(format_args!(
                "note: the run is {}; its weights are those of its checkpoint, after {} and {} of stage `{stage}`",
                if is_held(&self.path) { "being trained" } else { "not finished" },
                counted(epochs, "epoch"),
                counted(steps, "step")
            ));
        }
        let (trained, here) = (self.config.training.precision, host.device.precision());
        if trained != here {
            host.say(format_args!(
                "note: the run was trained in {trained} and is asked in {here} here; `--precision {trained}`, on a card or \
                 the emulator, asks it as it was trained"
            ));
        }
    }

    /// The trained network.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the model file is missing, damaged or of other sizes than `run.toml` says; of a run that is not
    /// finished, when the base's weights are not those that it began with.
    pub fn network(&self, host: &Host) -> Result<Network> {
        let Some((checkpoint, _)) = &self.stopped else {
            let weights = self.weights()?;
            return Network::new(host.device.as_ref(), self.architecture.clone(), |_| Source::File(&weights));
        };
        let training = &self.config.training;
        let base = Base::open(host, training.weights.as_deref())?;
        if base.sha256 != training.base_weights {
            return Err(Error::new(
                Kind::Weights,
                "the weights of the base are not those that the run began with",
            )
            .expected_got(&training.base_weights, &base.sha256)
            .help(
                "put the file back, or set VGG_FT_WEIGHTS to it; the checkpoint has what was trained alone",
            ));
        }
        let mut network = base.network(host, self.architecture.clone(), training.seed)?;
        checkpoint.weights(host.device.as_ref(), &mut network)?;
        Ok(network)
    }

    /// The file of a finished run's trained weights.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is missing or damaged.
    pub fn weights(&self) -> Result<Pretrained> {
        Pretrained::open(&self.path.join("model.safetensors"))
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
