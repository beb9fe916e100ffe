//! The stages of training as a person sees them: lines per epoch, history and curves after each, and a
//! checkpoint from which the run goes on if it is stopped.

use super::Host;
use super::course::StageConfig;
use super::run::Folder;
use crate::error::{Error, Kind, Result};
use crate::model::{Network, Trainable};
use crate::report::{Progress, epoch_heading, epoch_line};
use crate::train::{
    Checkpoint, Epoch, Fit, History, Observer, Optimizer, Position, Samples, Score, Stopping, load_weights,
    save_weights,
};
use serde::{Deserialize, Serialize};

/// Where a run is: what stands in its checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Moment {
    /// The stage that is under way.
    stage: usize,
    /// Samples of training and of validation.
    samples: [usize; 2],
    /// Where it is.
    position: Position,
    /// All epochs so far.
    history: History,
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
    /// Steps of all stages so far.
    steps: u64,
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
    /// Before the first stage; takes up what the folder holds if `resume`.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the checkpoint is damaged.
    pub fn new(
        host: &'a Host,
        folder: &'a Folder,
        (batch, seed): (usize, u64),
        classes: &'a [String],
        resume: bool,
    ) -> Result<Self> {
        let path = folder.checkpoint();
        let checkpoint = if resume { Checkpoint::open(&path)? } else { None };
        let resumed = checkpoint.map(|checkpoint| {
            let moment: Moment = serde_json::from_str(&checkpoint.state).map_err(|e| {
                Error::new(Kind::Weights, format!("{} cannot be understood", path.display()))
                    .fact("reason", e)
                    .help("it is of another version; begin anew with --force")
            })?;
            Ok((checkpoint, moment))
        });
        let resumed = resumed.transpose()?;
        let history = resumed.as_ref().map(|(_, moment)| moment.history.clone()).unwrap_or_default();
        Ok(Self { host, folder, batch, seed, classes, changed: usize::MAX, resumed, steps: 0, history })
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
        let mut position = Position::after(self.steps);
        if let Some((_, moment)) = &self.resumed
            && moment.stage > index
        {
            // Over; its weights are in the checkpoint of the later stage.
            return Ok(());
        }
        let device = self.host.device.as_ref();
        network.set_trainable(Trainable { from });
        let mut optimizer = stage.optimizer(network)?;
        self.host.say(format_args!("\n{}: {stage}", stage.name));
        let samples = [seen.train.1.len(), seen.validation.map_or(0, |(_, samples)| samples.len())];
        if let Some((checkpoint, moment)) = self.resumed.take() {
            if moment.samples != samples {
                return Err(self.other_samples(moment.samples, samples));
            }
            checkpoint.restore(device, network, &mut optimizer)?;
            position = moment.position;
            self.host.say(format_args!(
                "going on after {} epochs and {} steps",
                position.epochs.len(),
                position.within
            ));
        }
        let (enters, train) = seen.train;
        let course = stage.course(self.batch, self.seed, self.classes, train.labels())?;
        let mut watch = Watch {
            host: self.host,
            folder: self.folder,
            stage: index,
            sizes: samples,
            epochs: stage.epochs,
            steps: 0,
            first: first_parameter(network, self.changed),
            samples: course.steps(train.len()) * course.samples_per_step(),
            progress: None,
            history: &mut self.history,
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
        self.steps = position.step;
        outcome.map_err(|error| match error.kind() {
            Kind::Interrupted => error.help("the same command with --resume goes on from there"),
            Kind::Numeric if self.folder.checkpoint().exists() => {
                error.fact("kept", format!("{}, the last good moment", self.folder.checkpoint().display()))
            }
            _ => error,
        })
    }

    /// Pictures that came or went: the same steps would be others.
    fn other_samples(&self, [train, validation]: [usize; 2], [now, now_validation]: [usize; 2]) -> Error {
        let kept = self.folder.checkpoint();
        Error::new(Kind::Data, "the pictures are not those that the run began with")
            .expected_got(
                format!("{train} to train on, {validation} to validate"),
                format!("{now} and {now_validation}"),
            )
            .fact("kept", format!("{}, the last good moment", kept.display()))
            .help("put the pictures back, or begin anew with --force")
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
    sizes: [usize; 2],
    epochs: usize,
    steps: usize,
    /// The first parameter that may have changed.
    first: usize,
    samples: usize,
    progress: Option<Progress>,
    history: &'a mut History,
}

impl Observer for Watch<'_> {
    fn step(&mut self, epoch: usize, done: usize, of: usize, score: &Score) {
        self.steps = of;
        let samples = self.samples;
        let progress = self
            .progress
            .get_or_insert_with(|| self.host.progress(&epoch_heading(epoch, self.epochs), samples, "images"));
        progress.set((done * samples / of.max(1)) as u64);
        progress.note(&format!("loss {:.4} acc {:.4}", score.loss(), score.accuracy()));
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let line = format!("{}\n{}", epoch_heading(epoch.epoch, self.epochs), epoch_line(self.steps, epoch));
        match self.progress.take() {
            Some(progress) => progress.finish(&line),
            None => self.host.say(line),
        }
        self.history.epochs.push(epoch.clone());
        self.folder.history(self.history)
    }

    fn keep(&mut self, network: &Network, optimizer: &mut Optimizer, position: &Position) -> Result<()> {
        let (stage, samples, position) = (self.stage, self.sizes, position.clone());
        let moment = Moment { stage, samples, position, history: self.history.clone() };
        let state = serde_json::to_string(&moment)
            .map_err(|e| Error::new(Kind::Io, "the checkpoint cannot be written").fact("reason", e))?;
        let device = self.host.device.as_ref();
        Checkpoint::save(&self.folder.checkpoint(), device, (network, self.first), optimizer, &state)
    }

    fn best(&mut self, network: &Network) -> Result<()> {
        save_weights(&self.folder.best(), self.host.device.as_ref(), network, self.first)
    }

    fn restore(&mut self, network: &mut Network) -> Result<()> {
        self.host.say("the weights of the best epoch are put back");
        load_weights(&self.folder.best(), self.host.device.as_ref(), network)
    }
}
