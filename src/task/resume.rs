//! `resume`: a run that was stopped, from what its folder says alone; and a job from another run's file.

mod left;

pub(super) use left::conclude;

use super::course::StageConfig;
use super::earlier::{Earlier, job_file};
use super::fit::{self, HeadOptions};
use super::run::{Begin, Config, Folder, JOB, Lock, RUN, Told, damaged};
use super::{Finetune, Host, ImageOptions, Reading, finetune, notebook, stage};
use crate::device::Precision;
use crate::error::{Context, Error, Kind, Result};
use crate::files::{self, quoted};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Whose job a file describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// On images.
    #[default]
    Finetune,
    /// On features.
    Fit,
}

/// Goes on with the job in `run`, from here on with `rate_factor` times its learning rates, and with the same images at
/// `data` if they were moved.
///
/// # Errors
/// [`Kind::Usage`] when there is none; those of the job.
pub fn resume(
    host: &Host,
    run: &Path,
    data: Option<PathBuf>,
    rate_factor: Option<f64>,
    reading: Reading,
) -> Result<()> {
    if Folder::finished(run)? {
        if rate_factor.is_some() {
            host.note("all stages are over, so there is no rate to change");
        }
        let Told { text, json } = conclude(host, run, data, reading)?;
        return host.result(&text, &json);
    }
    require_job(run)?;
    // What changes is written down before the job takes the folder for itself: nobody else does so meanwhile.
    let lock = Lock::take(run)?;
    let config = Config::read(&run.join(JOB))?;
    let folder = Folder::at(run);
    folder.untouched()?;
    require_inputs(run, &config, data.is_some())?;
    if rate_factor.is_none() && data.is_none() {
        drop(lock);
        return go_on(host, run, config, reading);
    }
    let before = reached(&folder)?;
    if data.is_some() && before.is_none() {
        return Err(Error::new(Kind::Usage, "cannot tell whether these are the images that the run began with")
            .fact("missing", folder.checkpoint().display())
            .help(
                "it was stopped before its first checkpoint; start a new run with these: `vgg-ft finetune DATA -o \
                 ANOTHER`",
            ));
    }
    let mut changed = config.clone();
    if let Some(data) = data {
        changed.training.data = files::absolute(&data)?;
    }
    if let Some(factor) = rate_factor {
        cut_rates(host, run, &mut changed, factor)?;
    }
    folder.describe(&changed)?;
    drop(lock);
    let text = changed.text()?;
    go_on(host, run, changed, reading).or_else(|error| {
        // A run that diverged at once is to go on at still lower rates.
        if error.kind() != Kind::Numeric {
            take_back(&folder, &text, &config, before)?;
        }
        Err(error)
    })
}

/// Whether the folder `run` says what is to go on.
fn require_job(run: &Path) -> Result<()> {
    let file = run.join(JOB);
    if file.exists() {
        return Ok(());
    }
    let help = if notebook::is_one(run) {
        "it is a notebook's: run the command that began it again, and it goes on where it stopped"
    } else {
        "give the folder that a stopped `vgg-ft finetune` or `vgg-ft fit` wrote to"
    };
    Err(Error::new(Kind::Usage, format!("{} holds no run to go on with", run.display()))
        .fact("missing", file.display())
        .help(help))
}

/// Whether the weights of the job in the folder `run` are where it says, and its data, unless others are `given`.
fn require_inputs(run: &Path, config: &Config, given: bool) -> Result<()> {
    let training = &config.training;
    if !given && !training.data.exists() {
        let what = if training.job == Job::Fit { "the features of" } else { "the images of" };
        return Err(Error::new(Kind::Usage, format!("there is no folder {}", training.data.display()))
            .fact(what, run.display())
            .help(format!(
                "if they were moved, `vgg-ft resume {} DATA` goes on with them at DATA",
                quoted(run)
            )));
    }
    if let Some(weights) = training.weights.as_deref().filter(|weights| !weights.exists()) {
        return Err(Error::new(Kind::Usage, format!("there is no weights file {}", weights.display()))
            .fact("the base of", run.display())
            .help(format!(
                "put it back; or, if it was moved, repeat the command that began the run, with --resume and {}",
                if training.trained_classifier { "--from RUN" } else { "--weights FILE" }
            )));
    }
    Ok(())
}

/// Does what is left of the job that `config` describes, in the folder `run`.
fn go_on(host: &Host, run: &Path, config: Config, reading: Reading) -> Result<()> {
    let (file, output) = (run.join(JOB), run.to_owned());
    match config.training.job {
        Job::Fit => fit::fit(host, &config.fit(&file, output)?),
        Job::Finetune => finetune(host, &config.job(&file, output, Begin::Resume, reading)?),
    }
}

/// Puts back the job `was` in the place of the one that begins with `text`, if that came no further than `before`. What
/// ended before its first step at the new rates did not begin: the same command is not to cut twice (but after a kill,
/// which `cut_rates` tells of), nor are other images to be the run's. What another process has made of the job, or the
/// end of it, is not taken back.
fn take_back(folder: &Folder, text: &str, was: &Config, before: Option<(usize, u64)>) -> Result<()> {
    let Ok(_lock) = Lock::take(folder.path()) else { return Ok(()) };
    let is_ours = files::read_text(&folder.join(JOB)).is_ok_and(|there| there.starts_with(text));
    if is_ours && reached(folder)? == before {
        folder.describe(was)?;
    }
    Ok(())
}

/// In which precision the job of a run's folder, or of its `run.toml` or `job.toml`, computes; `None` where nothing
/// can be read, which is for those to say who need the rest of it.
pub fn precision_of(path: &Path) -> Option<Precision> {
    let files = if path.is_dir() { vec![path.join(JOB), path.join(RUN)] } else { vec![path.to_owned()] };
    files.iter().find_map(|file| Config::read(file).ok()).map(|config| config.training.precision)
}

/// How far the run is, by its checkpoint: the stage and the steps of all stages.
fn reached(folder: &Folder) -> Result<Option<(usize, u64)>> {
    Ok(stage::kept(folder)?.map(|(_, moment)| (moment.stage, moment.position.step)))
}

/// Multiplies the rates of all that is still to be done. It is written down before any of it is: who goes on later, by
/// `vgg-ft resume` or the command that began the run, does so at the new rates.
fn cut_rates(host: &Host, run: &Path, config: &mut Config, factor: f64) -> Result<()> {
    let folder = Folder::at(run);
    let (index, steps) = match stage::kept(&folder)? {
        Some((_, moment)) if moment.position.over => (moment.stage + 1, 0),
        Some((_, moment)) => (moment.stage, moment.position.since()),
        None => (0, 0),
    };
    if index >= config.training.stages.len() {
        host.note("all stages are over, so there is no rate to change");
    }
    let left = config.training.stages.iter_mut().enumerate().skip(index);
    for (at, stage) in left {
        if let Some(cut) = stage.rate_cuts.last().filter(|cut| at == index && cut.step == steps) {
            host.note(format_args!(
                "the rate was already multiplied by {} at this step, and now is again; to continue a `resume` \
                 that was killed, `vgg-ft resume {}` without --rate-factor is enough",
                cut.factor,
                quoted(run)
            ));
        }
        stage.cut_rate(if at == index { steps } else { 0 }, factor);
        host.say(format_args!("{}: {stage}", stage.name));
    }
    Ok(())
}

/// The rates of `stages` as the run in `folder` has them: what was changed on the way its command does not say.
///
/// # Errors
/// Those of [`Config::read`].
pub(super) fn take_over_cuts(folder: &Path, stages: &mut [StageConfig]) -> Result<()> {
    let Some(file) = job_file(folder) else { return Ok(()) };
    let there = Config::read(&file)?.training.stages;
    for (stage, there) in stages.iter_mut().zip(there) {
        // Cuts of this run came after those that its configuration may have brought.
        if there.rate_cuts.starts_with(&stage.rate_cuts) {
            stage.rate_cuts = there.rate_cuts;
        }
    }
    Ok(())
}

/// The job in `file`, a `run.toml` or `job.toml`, on `data` if that is given.
///
/// # Errors
/// [`Kind::Io`] when it cannot be read; [`Kind::Usage`] when it is damaged, or a job of `fit`, which has no images.
pub fn job_of(
    file: &Path,
    data: Option<PathBuf>,
    output: PathBuf,
    begin: Begin,
    reading: Reading,
) -> Result<Finetune> {
    // It was typed.
    let usage = |error: Error| if error.kind() == Kind::Data { error.of_kind(Kind::Usage) } else { error };
    let mut config = Config::read(file).map_err(usage)?;
    if config.training.job == Job::Fit {
        return Err(Error::new(Kind::Usage, format!("{} is a job of `vgg-ft fit`", file.display()))
            .help("give the run.toml or job.toml of a `vgg-ft finetune`"));
    }
    if let Some(data) = data {
        config.training.data = data;
        // Of other data a job tests all.
        config.training.test_images = None;
    }
    config.job(file, output, begin, reading).map_err(usage)
}

impl Config {
    fn head(&self) -> HeadOptions {
        HeadOptions {
            pooling: self.network.pooling,
            units: self.network.units,
            dropout: self.network.dropout,
            batch: self.training.batch,
            seed: self.training.seed,
        }
    }

    /// As a job of `finetune`; `file` is named in errors.
    pub(super) fn job(
        self,
        file: &Path,
        output: PathBuf,
        begin: Begin,
        reading: Reading,
    ) -> Result<Finetune> {
        let unknown = |reason: &dyn std::fmt::Display| damaged(file, &reason.to_string());
        let head = self.head();
        let Self { network, training, .. } = self;
        let earlier = Earlier::recorded(file, &training)?;
        let job = Finetune {
            data: training.data,
            output,
            begin,
            validation_split: training.validation_split,
            variant: network.variant.parse().map_err(|e: Error| unknown(&e.message()))?,
            size: network.size,
            images: ImageOptions {
                preprocess: network.preprocess.parse().map_err(|e: Error| unknown(&e.message()))?,
                resize: network.resize.parse().map_err(|e: String| unknown(&e))?,
                weights: training.weights,
                reading,
            },
            head,
            stages: training.stages,
            keep_features: training.keep_features,
            cache_limit: training.cache_limit,
            trained_classifier: training.trained_classifier,
            test_images: training.test_images,
            named_weights: Some(training.base_weights).filter(|sha256| !sha256.is_empty()),
            named_digests: training.digests,
            named_classes: network.classes,
            earlier,
        };
        job.validate().context(|| format!("reading {}", file.display()))?;
        Ok(job)
    }

    /// As a job of `fit` that goes on.
    fn fit(self, file: &Path, output: PathBuf) -> Result<fit::Fit> {
        let head = self.head();
        let Self { training, .. } = self;
        let [stage] = <[StageConfig; 1]>::try_from(training.stages).map_err(|stages| {
            damaged(file, &format!("a job of `fit` has one stage, not {}", stages.len()))
        })?;
        let (features, weights) = (training.data, training.weights);
        let job = fit::Fit { features, output, begin: Begin::Resume, stage, head, weights };
        job.validate().context(|| format!("reading {}", file.display()))?;
        Ok(job)
    }

    /// What another job would do otherwise, setting by setting; `None` if it is this one. Device, version,
    /// and what came out do not count.
    ///
    /// # Errors
    /// None in practice: the settings always serialize.
    pub fn differs(&self, other: &Self) -> Result<Option<String>> {
        let essence = |config: &Self| {
            let mut config = Self { vgg_ft: String::new(), result: None, ..config.clone() };
            // However the folder is written. Weights are known by their digest, wherever they lie.
            config.training.data = files::real(&config.training.data)?;
            config.training.weights = None;
            config.training.earlier = None;
            config.training.device.clear();
            config.training.samples = [0, 0];
            config.training.digests.clear();
            let mut text = config.text()?;
            // What is not said is this; a difference names it.
            if config.network.pooling.is_flatten() && self.network.pooling != other.network.pooling {
                text.push_str(&format!("pooling = \"{}\"\n", config.network.pooling.name()));
            }
            Ok::<_, Error>(text)
        };
        // A run from before this was written down.
        let mut other = other.clone();
        if self.training.test_images.is_none() {
            other.training.test_images = None;
        }
        let (old, new) = (essence(self)?, essence(&other)?);
        if old == new {
            return Ok(None);
        }
        let only = |text: &str, other: &str| -> Vec<String> {
            text.lines().filter(|line| !other.lines().any(|one| one == *line)).map(str::to_owned).collect()
        };
        let (was, is) = (only(&old, &new), only(&new, &old));
        let list = |lines: Vec<String>| if lines.is_empty() { "nothing".into() } else { lines.join("; ") };
        Ok(Some(if was.is_empty() && is.is_empty() {
            "the order of the stages or their settings".into()
        } else {
            format!("{} there, {} here", list(was), list(is))
        }))
    }
}
