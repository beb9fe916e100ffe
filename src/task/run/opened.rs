//! A run read back: its settings, its network, and how far it is if it is not finished.
//!
//! In: a run's folder. Out: a [`Run`], or who must do what first.

use super::{
    CHECKPOINT, Config, Folder, JOB, LISTINGS, MODEL, NetworkConfig, RUN, SKIPPED, TrainingConfig, damaged,
    is_held,
};
use crate::data::{Resize, Split, Splits};
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::model::classes::in_lines;
use crate::model::{Architecture, Network, Preprocess, Pretrained, Source};
use crate::report::counted;
use crate::task::Host;
use crate::task::base::Base;
use crate::task::contents::Listing;
use crate::task::earlier::{self, Earlier};
use crate::task::notebook;
use crate::task::stage::{Moment, kept};
use crate::train::Checkpoint;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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
        if path.is_file() {
            return Err(Error::new(
                Kind::Usage,
                format!("{} is a file, not the folder of a run", path.display()),
            )
            .help("give the folder that `vgg-ft finetune` or `vgg-ft fit` wrote with -o"));
        }
        let file = path.join(RUN);
        if !file.try_exists().map_err(|e| Error::io("read", &file, &e))? {
            let help = if is_held(path) {
                "it is being trained now: wait until it has ended".into()
            } else if path.join(JOB).exists() {
                format!("it was stopped: `vgg-ft resume {}` goes on with it", quoted(path))
            } else if let Some(help) = notebook::help(path) {
                help
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
        if path.join(RUN).exists() || !job.exists() {
            return Self::open(path);
        }
        let stopped = kept(&Folder::at(path))?.ok_or_else(|| {
            Error::new(Kind::Usage, format!("{} has no weights yet", path.display()))
                .fact("missing", path.join(CHECKPOINT).display())
                .help(if is_held(path) {
                    "it is being trained now: its first checkpoint comes after its first epoch".into()
                } else {
                    format!(
                        "it was stopped before its first checkpoint: `vgg-ft resume {}` goes on",
                        quoted(path)
                    )
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

    /// Where its training images (`split` 0) or its validation images (1) are listed.
    pub fn listing(&self, split: usize) -> PathBuf {
        self.path.join(LISTINGS[split])
    }

    /// What the runs learned from and held out whose network it began with; none where it began with no such network.
    ///
    /// # Errors
    /// Those of [`Earlier::recorded`].
    pub fn earlier(&self) -> Result<Option<Earlier>> {
        Earlier::recorded(&self.path.join(RUN), &self.config.training)
    }

    /// The splits of `data`, parted as the run parted its own.
    ///
    /// # Errors
    /// Those of [`earlier::splits`].
    pub fn splits(&self, data: &Path) -> Result<Splits> {
        let TrainingConfig { validation_split, .. } = self.config.training;
        let seed = self.config.training.split_seed();
        earlier::splits(data, validation_split, seed, self.earlier()?.as_ref())
    }

    /// Where the images are listed that it could not read, if there were any.
    pub fn skipped(&self) -> PathBuf {
        self.path.join(SKIPPED)
    }

    /// How many images the run saw of a split, and their digest, which is empty where it saw none; `None` where the run does
    /// not tell, as of the test's.
    fn seen(&self, split: Split) -> Option<(usize, &str)> {
        let at = Split::EPOCH.iter().position(|seen| *seen == split)?;
        let moment = self.stopped.as_ref().map(|(_, moment)| &moment.samples[at]);
        let training = &self.config.training;
        let finished = || Some((training.samples[at], training.digests.get(at)?.as_str()));
        moment.map(|seen| (seen.samples, seen.digest.as_str())).or_else(finished)
    }

    /// Whether `listing` is what the run saw of a split; `None` where the run does not tell, as of the test's.
    pub fn saw(&self, split: Split, listing: &Listing) -> Option<bool> {
        let (_, digest) = self.seen(split)?;
        // Of a split that there was not nothing was written down.
        if digest.is_empty() {
            return Some(listing.files().next().is_none());
        }
        Some(*digest == listing.contents().digest)
    }

    /// Whether `listing`, as it lies in the run, is what the run wrote of a split; else an error, with what can be done
    /// `without` it. A name that is no UTF-8 is not in it as it was seen, so that nothing can be said then.
    ///
    /// # Errors
    /// [`Kind::Data`].
    pub fn require_own(&self, split: Split, listing: &Listing, without: &str) -> Result<()> {
        let is_whole =
            |(name, _): (&OsStr, u64)| name.to_str().is_some_and(|name| !name.contains('\u{fffd}'));
        if !listing.files().all(is_whole) || self.saw(split, listing) != Some(false) {
            return Ok(());
        }
        let (samples, digest) = self.seen(split).unwrap_or_default();
        let contents = listing.contents();
        let shown = |samples: usize, digest: &str| {
            format!("{}, digest {}", counted(samples, "image"), digest.get(..12).unwrap_or("none"))
        };
        Err(Error::new(Kind::Data, format!("the list of the images of {split} was changed"))
            .fact("list", self.listing(usize::from(split == Split::Validation)).display())
            .expected_got(shown(samples, digest), shown(contents.samples, &contents.digest))
            .help(format!("put it back from a copy; {without}")))
    }

    /// Whether what it learned from and was validated with are these, by names, classes and sizes. What cannot be read
    /// makes them others; a run that does not tell saw none.
    ///
    /// # Errors
    /// [`Kind::Io`] when an image is gone.
    pub fn saw_all(&self, splits: &Splits) -> Result<bool> {
        let listed = |split| splits.get(split).map_or_else(|| Ok(Listing::default()), Listing::of_folder);
        let [train, validation] = Split::EPOCH.map(listed);
        let (train, validation) = (train?, validation?);
        Ok(self.saw(Split::Train, &train) == Some(true)
            && self.saw(Split::Validation, &validation) == Some(true))
    }

    /// Remarks on a run that is not finished, and where the device computes in other numbers than those that the run was
    /// trained in.
    pub fn remark(&self, host: &Host) {
        if let Some(Stopped { stage, epochs, steps }) = self.stopped() {
            host.note(format_args!(
                "the run is {}; its weights are those of its checkpoint, after {} and {} of stage `{stage}`",
                if is_held(&self.path) { "being trained" } else { "not finished" },
                counted(epochs, "epoch"),
                counted(steps, "step")
            ));
        }
        let (trained, here) = (self.config.training.precision, host.device.precision());
        if trained != here {
            host.note(format_args!(
                "the run was trained in {trained} but computes in {here} here; `--precision {trained}`, on a \
                 GPU or the emulator, computes as in training"
            ));
        }
    }

    /// The trained network.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the model file is missing, damaged or of other sizes than `run.toml` says; of a run that
    /// is not finished, when the base's weights are not those that it began with.
    pub fn network(&self, host: &Host) -> Result<Network> {
        let Some((checkpoint, _)) = &self.stopped else {
            let weights = self.weights()?;
            return Network::new(host.device.as_ref(), self.architecture.clone(), |_| Source::File(&weights));
        };
        let training = &self.config.training;
        let base = Base::open(host, training.weights.as_deref(), self.preprocess()?)?;
        if base.sha256 != training.base_weights {
            return Err(Error::new(
                Kind::Weights,
                "the weights of the base are not those that the run began with",
            )
            .expected_got(&training.base_weights, &base.sha256)
            .help(
                "put the file back (for the default weights, VGG_FT_WEIGHTS can name it); the checkpoint holds only \
                 the layers that were trained",
            ));
        }
        let mut network = base.network(host, self.architecture.clone(), training.classifier_seed())?;
        checkpoint.weights(host.device.as_ref(), &mut network)?;
        Ok(network)
    }

    /// The file of a finished run's trained weights.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is missing or damaged.
    pub fn weights(&self) -> Result<Pretrained> {
        let file = self.path.join(MODEL);
        if !file.try_exists().map_err(|e| Error::io("read", &file, &e))? {
            let again = quoted(&self.path.join(RUN));
            return Err(Error::new(Kind::Weights, format!("{} has lost its weights", self.path.display()))
                .fact("missing", file.display())
                .help(format!(
                    "put the file back, or train again: `vgg-ft finetune --config {again} -o RUN`"
                )));
        }
        let found = Pretrained::open(&file)?;
        // The file knows what it was saved with; a `run.toml` that was edited would give its outputs other names.
        let NetworkConfig { classes, preprocess, resize, size: [h, w], pooling, .. } = &self.config.network;
        let (size, pooling) = (format!("{h}x{w}"), pooling.name().to_owned());
        // An older file has the names as they are.
        let (lines, former) = (in_lines(classes), classes.join("\n"));
        for (key, told, formerly) in [
            ("classes", &lines, &former),
            ("preprocess", preprocess, preprocess),
            ("resize", resize, resize),
            ("size", &size, &size),
            ("pooling", &pooling, &pooling),
        ] {
            let saved = found.weights().metadata().get(key);
            if let Some(saved) = saved.filter(|saved| *saved != told && *saved != formerly) {
                let line = |text: &str| text.lines().collect::<Vec<_>>().join(", ");
                return Err(Error::new(
                    Kind::Data,
                    format!("{} and its run.toml are not of one run", file.display()),
                )
                .fact("what", key)
                .expected_got(line(saved), line(told))
                .help("put back the run.toml that the run was saved with"));
            }
        }
        Ok(found)
    }

    /// How pixels were scaled.
    ///
    /// # Errors
    /// [`Kind::Data`] for a name that this version does not know.
    pub fn preprocess(&self) -> Result<Preprocess> {
        let name = &self.config.network.preprocess;
        name.parse().map_err(|e: Error| damaged(&self.path.join(RUN), e.message()))
    }

    /// How images were brought to size.
    ///
    /// # Errors
    /// [`Kind::Data`] for a name that this version does not know.
    pub fn resize(&self) -> Result<Resize> {
        let name = &self.config.network.resize;
        name.parse().map_err(|reason: String| damaged(&self.path.join(RUN), &reason))
    }
}
