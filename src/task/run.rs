//! The run folder: `run.toml` (what was done), `model.safetensors` (all weights, Keras' names and layouts),
//! `history.csv` and `.jsonl`, `curves.svg`, `tensorboard/`, `samples-*.jsonl`, `earlier-*.jsonl`, `skipped.csv`. `run.toml` makes the folder
//! whole; what is drawn from it (`report.html`, `curves.png`) comes after. Until then `job.toml` says what is being done and
//! `checkpoint.safetensors` how far it is.

mod config;
mod lock;
mod opened;
mod remains;
mod told;

pub use crate::data::folder::{JOB, RUN};
pub(super) use config::{Begun, damaged};
pub use config::{Config, NetworkConfig, ResultConfig, TrainingConfig};
pub(super) use lock::{Lock, busy, is_held, unlocked};
pub use opened::{Run, Stopped};
use remains::FEATURES;
pub(super) use remains::{DRAWN, FILES};
pub(super) use told::{Told, nothing_left, told};

use super::Host;
use super::earlier::Earlier;
use super::images::Skipped;
use crate::error::{Error, Kind, Result};
use crate::files::{self, is_there, quoted, remove_if_there};
use crate::model::Network;
use crate::model::classes::in_lines;
use crate::report::rows::csv_line;
use crate::report::{curves, tensorboard};
use crate::train::History;
use std::cell::Cell;
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

impl Begin {
    /// The same for the folder at `path`: where no run was begun there is none to go on with, and one begins. So one
    /// command does for a batch system that starts it again and again.
    pub(super) fn at(self, host: &Host, path: &Path) -> Self {
        let none = [RUN, JOB, CHECKPOINT].iter().all(|name| !path.join(name).exists());
        if self == Self::Resume && none {
            host.note(format_args!("there is no run in {} to go on with, so it begins", path.display()));
            return Self::New;
        }
        self
    }
}

/// A folder that a run is written to.
pub struct Folder {
    path: PathBuf,
    /// Held by whoever writes there.
    lock: Option<Lock>,
    /// Whether a run that is there is to go.
    over: Cell<bool>,
}

/// What stands before the SHA-256 of what is above it.
const SEAL: &str = "# sha256 of the lines above, which are the run's: ";
/// All weights.
pub const MODEL: &str = "model.safetensors";
/// All epochs so far.
pub(super) const HISTORY: &str = "history.csv";
const CHECKPOINT: &str = "checkpoint.safetensors";
const BEST: &str = "best.safetensors";
/// What it learned from and what it was validated with; they stay, since no seed draws the same from a folder that has
/// changed.
const LISTINGS: [&str; 2] = ["samples-train.jsonl", "samples-validation.jsonl"];
/// What the runs learned from and held out whose network it began with.
pub(super) const EARLIER: [&str; 2] = ["earlier-train.jsonl", "earlier-validation.jsonl"];
/// What a run needs on the way; the file that says so last.
const ON_THE_WAY: [&str; 3] = [CHECKPOINT, BEST, JOB];
const TENSORBOARD: &str = "tensorboard";
/// The images that could not be read, if there are any.
pub(super) const SKIPPED: &str = "skipped.csv";
/// The report.
pub(super) const REPORT: &str = "report.html";
/// The curves in pixels.
pub(super) const CURVES: &str = "curves.png";

impl Folder {
    /// That of a run which is there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), lock: None, over: Cell::new(false) }
    }

    /// Makes the folder, or takes it over; `earlier` is what is written beside the job, before it.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a run is there and neither written over nor taken up, when there is none to take
    /// up, when it is another job, or when a path of the job is no Unicode; [`Kind::Io`], also when another process
    /// writes there.
    pub fn begin(
        host: &Host,
        path: &Path,
        begin: Begin,
        (job, earlier): (&Config, Option<&Earlier>),
    ) -> Result<Self> {
        // What cannot be written down is known before anything that is there goes.
        job.text()?;
        let lock = if path.is_dir() { Lock::take(path)? } else { None };
        let mut folder = Self { path: path.to_owned(), lock, over: Cell::new(false) };
        let (finished, stopped) = (is_there(&folder.join(RUN))?, is_there(&folder.join(CHECKPOINT))?);
        match begin {
            // Nobody could repeat it.
            Begin::New | Begin::Over if folder.has_weights_of(job)? => {
                return Err(Error::new(
                    Kind::Usage,
                    format!("{} would be written over by a run that begins with its weights", path.display()),
                )
                .help("choose another folder with -o"));
            }
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
            Begin::Resume => {
                folder.compare(host, JOB, job)?;
                folder.untouched()?;
                // The same weights in another place, where who goes on next is to find them.
                let there = Config::read(&folder.join(JOB))?;
                if there.training.weights != job.training.weights {
                    let weights = job.training.weights.clone();
                    folder.describe(&Config {
                        training: TrainingConfig { weights, ..there.training },
                        ..there
                    })?;
                }
            }
            Begin::New => folder.nothing_lost()?,
            // What is there goes when there is something to put in its place: `take_over`.
            Begin::Over => {
                folder.over.set(finished || stopped || folder.join(JOB).exists());
                // What will be put there must find its place when the run that is there has gone.
                let features = folder.join(FEATURES);
                if features.exists() {
                    files::require_room(&features)?;
                }
            }
        }
        files::create_dir(path)?;
        if folder.lock.is_none() {
            folder.lock = Lock::take(path)?;
        }
        if folder.lock.is_none() {
            unlocked(host, path);
        }
        folder.remove_remains()?;
        if !folder.over.get() {
            folder.remove_new_features();
        }
        if begin != Begin::Resume && !folder.over.get() {
            folder.put_earlier(earlier)?;
            folder.describe(job)?;
        }
        Ok(folder)
    }

    /// Whether `job` begins with the weights that are here.
    fn has_weights_of(&self, job: &Config) -> Result<bool> {
        let begins = job.training.weights.as_deref().map(files::real).transpose()?;
        Ok(begins == Some(files::real(&self.join(MODEL))?))
    }

    /// Before the first step: where a run is to be written over, that is the moment when it goes. Its data have been read
    /// by now, and what can be wrong with them has been said.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn take_over(&self, job: &Config, earlier: Option<&Earlier>) -> Result<()> {
        if !self.over.take() {
            return Ok(());
        }
        self.clear()?;
        self.put_features()?;
        self.put_earlier(earlier)?;
        self.describe(job)
    }

    /// The lists that the job goes by, and no others.
    fn put_earlier(&self, earlier: Option<&Earlier>) -> Result<()> {
        match earlier {
            Some(earlier) => earlier.save(&self.path),
            None => EARLIER.iter().try_for_each(|name| remove_if_there(&self.join(name))),
        }
    }

    /// Removes the run that is there.
    ///
    /// # Errors
    /// [`Kind::Io`], also where another process writes it.
    pub fn clear(&self) -> Result<()> {
        let _lock = if self.lock.is_none() && self.path.is_dir() { Lock::take(&self.path)? } else { None };
        // From here on it is not whole. The job goes last: without it nothing that is there can go on.
        remove_if_there(&self.join(RUN))?;
        self.remove_features();
        let others = FILES.iter().filter(|&&name| name != JOB);
        others.chain([&JOB]).try_for_each(|name| remove_if_there(&self.join(name)))
    }

    /// What is being done.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn describe(&self, job: &Config) -> Result<()> {
        let text = job.text()?;
        let sealed = format!("{text}\n{SEAL}{}\n", files::sha256_hex(text.as_bytes()));
        files::write_bytes(&self.join(JOB), sealed.as_bytes())
    }

    /// That what is being done is what was written down: an epoch of another job would be taken for this one's.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Usage`] when somebody changed it.
    pub fn untouched(&self) -> Result<()> {
        let path = self.join(JOB);
        let text = files::read_text(&path)?;
        let told = text
            .rsplit_once(SEAL)
            .map(|(above, told)| (above.strip_suffix('\n').unwrap_or(above), told.trim()));
        match told {
            Some((above, told)) if files::sha256_hex(above.as_bytes()) != told => {
                Err(Error::new(Kind::Usage, format!("{} was changed since the run began", path.display()))
                    .expected_got(format!("the job with sha256 {told}"), "another")
                    .help("undo the change; another job begins anew: `vgg-ft finetune --config` of this file with another -o"))
            }
            _ => Ok(()),
        }
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
        // Which GPU of a kind it is does not matter; before this was written down, everything may.
        let bits = |device: &str| device.split_once('(').map(|(_, bits)| bits.to_owned());
        let [began, goes_on] = [&there, job].map(|config| bits(&config.training.device));
        if began != goes_on {
            host.note(format_args!(
                "the run began on {}; on {} its numbers may differ in the last bits",
                there.training.device, job.training.device
            ));
        }
        let Some(differs) = there.differs(job)? else { return Ok(()) };
        let help = if name == JOB {
            format!(
                "with its data and features as they were, `vgg-ft resume {}` continues the job that is there; to start \
                 this job instead, give its command with --force",
                quoted(&self.path)
            )
        } else {
            "it is finished; choose another folder with -o, or write over it with --force".into()
        };
        Err(Error::new(Kind::Usage, format!("{} holds another job than this", self.path.display()))
            .fact("differs", differs)
            .help(help))
    }

    /// Whether `job`, which is to go on, is the one that is finished here.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is another; those of [`Config::read`].
    pub fn same(&self, host: &Host, job: &Config) -> Result<()> {
        self.compare(host, RUN, job)
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

    /// The history so far and its curves.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn history(&self, history: &History) -> Result<()> {
        history.save(&self.join(HISTORY))?;
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
        let NetworkConfig { classes, preprocess, resize, size: [h, w], pooling, .. } = &config.network;
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), "keras".to_owned()),
            ("layout".to_owned(), "HWIO".to_owned()),
            ("classes".to_owned(), in_lines(classes)),
            // What whoever takes these weights elsewhere must know of images.
            ("preprocess".to_owned(), preprocess.clone()),
            ("size".to_owned(), format!("{h}x{w}")),
            ("resize".to_owned(), resize.clone()),
        ]);
        if !pooling.is_flatten() {
            metadata.insert("pooling".to_owned(), pooling.name().to_owned());
        }
        network.save(host.device.as_ref(), &self.join(MODEL), &metadata).map_err(|error| match error.kind() {
            // The cure is the system's; this is what it is for.
            Kind::Io => error
                .fact("kept", format!("what was trained: `vgg-ft resume {}` writes it", quoted(&self.path))),
            _ => error,
        })
    }

    /// The images that were left out, and why; no file where there are none.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn skipped(&self, skipped: &[Skipped]) -> Result<()> {
        let path = self.join(SKIPPED);
        if skipped.is_empty() {
            return remove_if_there(&path);
        }
        let mut csv = csv_line(&["path", "reason"]);
        skipped.iter().for_each(|one| csv.extend(csv_line(&[&one.path, &one.reason])));
        files::write_bytes(&path, &csv)
    }

    /// The last file: from now on the run is whole, and what it needed on the way goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(&self, config: &Config) -> Result<()> {
        self.write(RUN, config)?;
        ON_THE_WAY.iter().try_for_each(|name| remove_if_there(&self.join(name)))
    }

    /// Writes a file of settings.
    fn write(&self, name: &str, config: &Config) -> Result<()> {
        files::write_bytes(&self.join(name), config.text()?.as_bytes())
    }
}
