//! The stages of training as a person sees them: lines per epoch, history and curves after each, and a
//! checkpoint from which the run goes on if it is stopped.

mod pace;

use super::Host;
use super::contents::{Contents, Listing};
use super::course::StageConfig;
use super::remarks::put_back;
use super::run::Folder;
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::interrupt;
use crate::model::{Network, Trainable};
use crate::report::{Progress, counted, epoch_heading, epoch_line};
use crate::train::{
    Best, Checkpoint, Epoch, Fit, History, Observer, Optimizer, Position, Samples, Score, Stopping,
    samples_seen,
};
use pace::{Pace, between_epochs};
use serde::{Deserialize, Serialize};
use std::time::Instant;

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
const ANEW: &str = "the command that began the run begins it anew with --force";

/// The moment that `folder` keeps; `None` where training has not come to one.
///
/// # Errors
/// [`Kind::Weights`] when it is damaged or of another version.
pub(super) fn kept(folder: &Folder) -> Result<Option<(Checkpoint, Moment)>> {
    let path = folder.checkpoint();
    let opened = Checkpoint::open(&path).map_err(|error| match error.kind() {
        Kind::Weights => error.help(ANEW),
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
    /// Since when this process works on the job, and how long others did before.
    clock: (Instant, f64),
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
            host.say("note: no step was kept, so the job begins with its first");
        }
        let moment = resumed.as_ref().map(|(_, moment)| moment);
        let history = moment.map(|moment| moment.history.clone()).unwrap_or_default();
        let clock = (began, moment.map_or(0.0, |moment| moment.seconds));
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
            clock,
            history,
        })
    }

    /// What is trained on (`split` 0) or validated (1): to be said before anything is computed from it.
    ///
    /// # Errors
    /// [`Kind::Data`] when a run that is taken up began with others.
    pub fn see(&mut self, split: usize, listing: Listing) -> Result<()> {
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
        self.clock.1 + self.clock.0.elapsed().as_secs_f64()
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
        let mut position = self.last.following();
        if let Some((_, moment)) = &self.resumed
            && moment.stage > index
        {
            // Over; its weights are in the checkpoint of the later stage.
            return Ok(());
        }
        let device = self.host.device.as_ref();
        network.set_trainable(Trainable { from });
        let mut optimizer = stage.optimizer(network);
        self.host.say(format_args!("\n{}: {stage}", stage.name));
        if let Some((checkpoint, moment)) = self.resumed.take() {
            // Of a split that is no more nobody has said anything.
            for (split, was) in moment.samples.iter().enumerate() {
                if *was != self.samples[split] {
                    return Err(self.other_samples(split, was));
                }
            }
            checkpoint.restore(device, network, &mut optimizer)?;
            position = moment.position;
            self.host.say(format_args!(
                "going on after {} and {}",
                counted(position.epochs.len(), "epoch"),
                counted(position.within, "step")
            ));
        }
        for (split, listing) in self.listings.iter().enumerate() {
            listing.save(&self.folder.listing(split))?;
        }
        let (enters, train) = seen.train;
        let course = stage.course(self.batch, self.seed, self.classes, train.labels())?;
        let mut watch = Watch {
            host: self.host,
            folder: self.folder,
            stage: index,
            contents: &self.samples,
            clock: self.clock,
            epochs: stage.epochs,
            steps: course.steps(train.len()),
            first: first_parameter(network, self.changed),
            samples: train.len(),
            at_once: course.samples_per_step(),
            progress: None,
            seen_before: 0,
            history: &mut self.history,
            // The weights of the best epoch must be those of one whose state is there, too.
            every_epoch: stage.restore_best,
            paces: Default::default(),
            // A run that is taken up may have been killed before its last epochs were in it.
            unwritten: !position.epochs.is_empty(),
        };
        let fit = Fit {
            device,
            from: enters,
            train,
            validation: seen.validation,
            stage: &stage.name,
            course: &course,
        };
        let outcome = fit.run(network, &mut optimizer, &mut position, &mut watch);
        self.last = position;
        let unwritten = watch.unwritten;
        let written = if unwritten { self.folder.history(&self.history) } else { Ok(()) };
        outcome.map_err(|error| match error.kind() {
            Kind::Interrupted => {
                let run = quoted(self.folder.path());
                error.help(format!(
                    "`vgg-ft resume {run}` goes on from there, or the same command with --resume"
                ))
            }
            Kind::Numeric if device.precision() == Precision::F16 => {
                self.diverged(error.fact("precision", "f16, whose numbers end at 65504"))
            }
            Kind::Numeric => self.diverged(error),
            _ => error,
        })?;
        written
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
        let before = Listing::load(&self.folder.listing(split));
        let differences = before.map(|before| before.differences(&self.listings[split])).unwrap_or_default();
        let error =
            Error::new(Kind::Data, format!("the pictures {purpose} are not those that the run began with"))
                .expected_got(was, now)
                .fact(
                    "reason",
                    if was.samples != now.samples {
                        "some came or went"
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
            .help(format!("put the pictures back as they were; else {ANEW}"))
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

/// Prints and keeps what training reports.
struct Watch<'a> {
    host: &'a Host,
    folder: &'a Folder,
    stage: usize,
    /// Samples of training and of validation.
    contents: &'a [Contents; 2],
    /// As in [`Stages`].
    clock: (Instant, f64),
    epochs: usize,
    steps: usize,
    /// The first parameter that may have changed.
    first: usize,
    /// Samples to learn from, and those of a step.
    samples: usize,
    at_once: usize,
    progress: Option<Progress>,
    /// Samples of the epoch that an earlier process learned from.
    seen_before: u64,
    history: &'a mut History,
    /// Whether the state after each epoch is kept.
    every_epoch: bool,
    /// Of the state and of the history.
    paces: [Pace; 2],
    /// Whether the history has more than its files.
    unwritten: bool,
}

impl Watch<'_> {
    /// Samples that the first `done` of the `of` steps of an epoch learn from.
    fn seen(&self, epoch: usize, done: usize, of: usize) -> u64 {
        let first = (epoch.saturating_sub(1) as u64).saturating_mul(of as u64);
        samples_seen(self.samples, self.at_once, first..first.saturating_add(done as u64))
    }
}

impl Observer for Watch<'_> {
    fn begin(&mut self, epoch: usize, done: usize, of: usize) {
        self.seen_before = self.seen(epoch, done, of);
        // What an earlier run did is not this run's speed.
        let left = self.seen(epoch, of, of).saturating_sub(self.seen_before);
        let heading = epoch_heading(epoch, self.epochs);
        self.progress = Some(self.host.progress(&heading, left as usize, "images"));
    }

    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score) {
        self.steps = of;
        let Some(progress) = &self.progress else { return };
        progress.set(self.seen(epoch, done, of).saturating_sub(self.seen_before));
        // A card's first loss comes a step late.
        if score.seen > 0 {
            progress.note(&format!("loss {:.4} acc {:.4}", score.loss(), score.accuracy()));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let line = format!("{}\n{}", epoch_heading(epoch.epoch, self.epochs), epoch_line(self.steps, epoch));
        match self.progress.take() {
            Some(progress) => progress.finish(&line),
            None => self.host.say(line),
        }
        self.history.epochs.push(epoch.clone());
        let [_, pace] = &mut self.paces;
        self.unwritten = pace.hurries(Instant::now());
        if self.unwritten {
            return Ok(());
        }
        pace.write(|| self.folder.history(self.history))
    }

    fn keep(&mut self, network: &Network, optimizer: &mut Optimizer, position: &Position) -> Result<()> {
        let [pace, _] = &mut self.paces;
        let may_wait = !self.every_epoch && between_epochs(position, interrupt::check().is_err());
        if may_wait && pace.hurries(Instant::now()) {
            return Ok(());
        }
        let (stage, samples, position) = (self.stage, self.contents.clone(), position.clone());
        let seconds = self.clock.1 + self.clock.0.elapsed().as_secs_f64();
        let moment = Moment { stage, samples, position, seconds, history: self.history.clone() };
        let state = serde_json::to_string(&moment)
            .map_err(|e| Error::new(Kind::Io, "the checkpoint cannot be written").fact("reason", e))?;
        let device = self.host.device.as_ref();
        let path = self.folder.checkpoint();
        pace.write(|| Checkpoint::save(&path, device, (network, self.first), optimizer, &state))
    }

    fn best(&mut self, network: &Network, best: &Best<'_>) -> Result<()> {
        best.save(&self.folder.best(), self.host.device.as_ref(), network, self.first)
    }

    fn restore(&mut self, network: &mut Network, best: &Best<'_>) -> Result<()> {
        self.host.say(put_back(best, self.history.epochs.last(), self.epochs));
        best.restore(&self.folder.best(), self.host.device.as_ref(), network)
    }
}
