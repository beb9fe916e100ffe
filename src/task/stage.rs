//! The stages of training as a person sees them: lines per epoch, history and curves after each, and a
//! checkpoint from which the run goes on if it is stopped.

mod pace;
mod watch;

use super::Host;
use super::contents::{Contents, Listing};
use super::course::StageConfig;
use super::run::Folder;
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::model::{Network, Trainable};
use crate::report::counted;
use crate::train::{Checkpoint, Clock, Epoch, Fit, History, Optimizer, Position, Samples, Stopping};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;
use watch::Watch;

/// Where a run is: what stands in its checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Moment {
    /// The stage that is under way.
    pub stage: usize,
    /// Samples of training and of validation.
    pub samples: [Contents; 2],
    /// Where it is.
    pub position: Position,
    /// Wall-clock time of the job so far, without what lay between a stop and the next start.
    seconds: f64,
    /// All epochs so far.
    history: History,
}

/// What is left where a run cannot go on.
const ANEW: &str = "start over: the command that began the run, with --force";
/// The same where the file is damaged.
const DAMAGED: &str = "put it back from a copy; or start over: the command that began the run, with --force";

/// The moment that `folder` keeps; `None` where training has not come to one.
///
/// # Errors
/// [`Kind::Weights`] when it is damaged or of another version.
pub(super) fn kept(folder: &Folder) -> Result<Option<(Checkpoint, Moment)>> {
    let path = folder.checkpoint();
    let opened = Checkpoint::open(&path).map_err(|error| match error.kind() {
        Kind::Weights => error.help(DAMAGED),
        _ => error,
    });
    let Some(checkpoint) = opened? else { return Ok(None) };
    let moment = serde_json::from_str(&checkpoint.state).map_err(|e| {
        Error::new(Kind::Weights, format!("{} cannot be understood", path.display()))
            .fact("reason", e)
            .help(format!("it is of another version; {ANEW}"))
    })?;
    Ok(Some((checkpoint, moment)))
}

/// The stages of a run, one after the other.
pub struct Stages<'a> {
    host: &'a Host,
    folder: &'a Folder,
    /// Samples that run together.
    batch: usize,
    seed: u64,
    classes: &'a [String],
    /// The first layer that any stage so far has changed.
    changed: usize,
    /// What is taken up.
    resumed: Option<(Checkpoint, Moment)>,
    /// Where the stage before ended.
    last: Position,
    /// Samples of training and of validation.
    samples: [Contents; 2],
    /// The same one by one.
    listings: [Listing; 2],
    /// The folder that both lie in, where the second is a share of it.
    parted: Option<PathBuf>,
    /// Of the job.
    clock: Clock,
    /// All epochs so far.
    pub history: History,
}

/// What a stage sees.
pub struct Seen<'a> {
    /// The layer at which training samples enter, and the samples.
    pub train: (usize, &'a dyn Samples),
    /// The same for validation.
    pub validation: Option<(usize, &'a dyn Samples)>,
}

impl<'a> Stages<'a> {
    /// Before the first stage; takes up what the folder holds if `resume`. `began` is when the work did.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the checkpoint is damaged.
    pub fn new(
        host: &'a Host,
        folder: &'a Folder,
        (batch, seed): (usize, u64),
        classes: &'a [String],
        resume: bool,
        began: Instant,
    ) -> Result<Self> {
        let resumed = if resume { kept(folder)? } else { None };
        if resume && resumed.is_none() {
            host.note("no step was kept, so the job begins with its first");
        }
        let moment = resumed.as_ref().map(|(_, moment)| moment);
        let history = moment.map(|moment| moment.history.clone()).unwrap_or_default();
        let clock = Clock::new(began, moment.map_or(0.0, |moment| moment.seconds));
        Ok(Self {
            host,
            folder,
            batch,
            seed,
            classes,
            changed: usize::MAX,
            resumed,
            last: Position::default(),
            samples: Default::default(),
            listings: Default::default(),
            parted: None,
            clock,
            history,
        })
    }

    /// What is trained on (`split` 0) or validated (1): to be said before anything is computed from it.
    /// Where one folder is parted into both, `parted` is that.
    ///
    /// # Errors
    /// [`Kind::Data`] when a run that is taken up began with others.
    pub fn see(&mut self, split: usize, listing: Listing, parted: Option<&Path>) -> Result<()> {
        self.parted = parted.map(Path::to_owned);
        self.samples[split] = listing.contents();
        self.listings[split] = listing;
        if let Some((_, moment)) = &self.resumed
            && !moment.samples[split].are(&self.samples[split])
        {
            return Err(self.other_samples(split, &moment.samples[split]));
        }
        Ok(())
    }

    /// What was seen of training and of validation, for the run's file.
    pub fn digests(&self) -> Vec<String> {
        self.samples.iter().map(|contents| contents.digest.clone()).collect()
    }

    /// Wall-clock time of the job until now.
    pub fn seconds(&self) -> f64 {
        self.clock.seconds()
    }

    /// Runs stage `index`, or what is left of it.
    ///
    /// # Errors
    /// As [`Fit::run`]; after [`Kind::Interrupted`] the checkpoint holds the moment.
    pub fn run(
        &mut self,
        index: usize,
        stage: &StageConfig,
        network: &mut Network,
        seen: &Seen,
    ) -> Result<()> {
        let from = stage.boundary(network.architecture())?;
        self.changed = self.changed.min(from);
        if let Some((_, moment)) = &self.resumed
            && moment.stage > index
        {
            // Over; its weights are in the checkpoint of the later stage.
            return Ok(());
        }
        network.set_trainable(Trainable { from });
        let mut optimizer = stage.optimizer(network);
        self.host.say(format_args!("\n{}: {stage}", stage.name));
        let mut position = self.take_up(network, &mut optimizer)?;
        for (split, listing) in self.listings.iter().enumerate() {
            listing.save(&self.folder.listing(split))?;
        }
        let (enters, train) = seen.train;
        let course = stage.course(self.batch, self.seed, self.classes, train.labels())?;
        let fit = Fit {
            device: self.host.device.as_ref(),
            from: enters,
            train,
            validation: seen.validation,
            stage: &stage.name,
            course: &course,
        };
        let first = first_parameter(network, self.changed);
        let mut watch = self.watch(index, stage, &fit, first);
        // A run that is taken up may have been killed before its last epochs were in it.
        watch.unwritten = !position.epochs.is_empty();
        let outcome = fit.run(network, &mut optimizer, &mut position, &mut watch);
        let unwritten = watch.unwritten;
        self.last = position;
        let written = if unwritten { self.folder.history(&self.history) } else { Ok(()) };
        outcome.map_err(|error| self.ended(error))?;
        written
    }

    /// Where a stage begins: where it was stopped, if it is the one that is taken up.
    fn take_up(&mut self, network: &mut Network, optimizer: &mut Optimizer) -> Result<Position> {
        let Some((checkpoint, moment)) = self.resumed.take() else { return Ok(self.last.following()) };
        // Of a split that is no more nobody has said anything.
        for (split, was) in moment.samples.iter().enumerate() {
            if !was.are(&self.samples[split]) {
                return Err(self.other_samples(split, was));
            }
        }
        checkpoint.restore(self.host.device.as_ref(), network, optimizer)?;
        let position = moment.position;
        self.host.say(format_args!(
            "going on after {} and {}",
            counted(position.epochs.len(), "epoch"),
            counted(position.within, "step")
        ));
        Ok(position)
    }

    /// Who tells of stage `index`, in which no parameter before the `first` has changed.
    fn watch(&mut self, index: usize, stage: &StageConfig, fit: &Fit<'_>, first: usize) -> Watch<'_> {
        Watch {
            host: self.host,
            folder: self.folder,
            stage: index,
            contents: &self.samples,
            clock: self.clock,
            epochs: stage.epochs,
            steps: fit.course.steps(fit.train.len()),
            first,
            samples: fit.train.len(),
            at_once: fit.course.samples_per_step(),
            progress: None,
            seen_before: 0,
            history: &mut self.history,
            // The weights of the best epoch must be those of one whose state is there, too.
            every_epoch: stage.restore_best,
            paces: Default::default(),
            unwritten: false,
        }
    }

    /// What can be done about the error that a stage ended with.
    fn ended(&self, error: Error) -> Error {
        let run = quoted(self.folder.path());
        match error.kind() {
            Kind::Interrupted => error
                .help(format!("`vgg-ft resume {run}` goes on from there, or the same command with --resume")),
            Kind::Numeric if self.host.device.precision() == Precision::F16 => {
                self.diverged(error.fact("precision", "f16, whose numbers end at 65504"))
            }
            Kind::Numeric => self.diverged(error),
            // A full disk, for example, for which there is a help already.
            Kind::Io if self.folder.checkpoint().exists() => {
                let kept = self.folder.checkpoint();
                error.fact("kept", format!("{}; `vgg-ft resume {run}` goes on from there", kept.display()))
            }
            _ => error,
        }
    }

    /// What can be done about a loss that is no number.
    fn diverged(&self, error: Error) -> Error {
        let (kept, run) = (self.folder.checkpoint(), quoted(self.folder.path()));
        let (error, from) = if kept.exists() {
            (error.fact("kept", format!("{}, the last good moment", kept.display())), "goes on from there")
        } else {
            (error, "begins again")
        };
        error.help(format!(
            "training diverged: use a lower learning rate; `vgg-ft resume {run} --rate-factor 0.1` {from} at a \
             tenth of it"
        ))
    }

    /// The same steps would be others.
    fn other_samples(&self, split: usize, was: &Contents) -> Error {
        let (kept, purpose) = (self.folder.checkpoint(), ["to train on", "to validate with"][split]);
        let now = &self.samples[split];
        let [before, other] = [split, 1 - split].map(|split| Listing::load(&self.folder.listing(split)));
        let parted = self.parted.as_deref().zip(other.as_ref());
        let differences =
            before.map(|before| before.differences(&self.listings[split], parted)).unwrap_or_default();
        let error =
            Error::new(Kind::Data, format!("the images {purpose} are not those that the run began with"))
                .expected_got(was, now)
                .fact(
                    "reason",
                    if was.samples != now.samples {
                        "some were added or removed"
                    } else if was.digest != now.digest {
                        "some have another name, class or size, or changed places"
                    } else {
                        "some have other pixels, though their names and sizes are the same"
                    },
                );
        differences
            .into_iter()
            .fold(error, |error, (kind, what)| error.fact(kind, what))
            .fact("kept", format!("{}, the last good moment", kept.display()))
            .help(format!("put the images back as they were; else {ANEW}"))
    }
}

/// The epoch whose weights `stage` ended with: its last, or its best if that was put back.
pub fn ended_with<'a>(stage: &StageConfig, history: &'a History) -> Option<&'a Epoch> {
    let own: Vec<&Epoch> = history.epochs.iter().filter(|epoch| epoch.stage == stage.name).collect();
    if !stage.restore_best {
        return own.last().copied();
    }
    let stopping = Stopping { monitor: stage.monitor, patience: None, restore_best: true };
    let epochs: Vec<Epoch> = own.iter().map(|&epoch| epoch.clone()).collect();
    own.get(stopping.best(&epochs)?).copied()
}

/// The index of the first parameter at or behind layer `from`.
fn first_parameter(network: &Network, from: usize) -> usize {
    let layers = network.architecture().layers().iter().skip(from);
    layers.filter_map(|placed| placed.kernel).next().unwrap_or(network.parameters().len())
}
