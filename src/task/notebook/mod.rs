//! `notebook`: the chapter "Using a pre-trained convnet" in one command.
//!
//! In: a data folder and the chapter's numbers. Out: `RUN/1-features` (a classifier on features of the frozen
//! base), `RUN/2-finetune` (augmentation with the frozen base, then fine-tuning), a table. Parts that are
//! finished are left as they are, a part that was stopped goes on: the same command is always the right one.

mod config;
mod time;

pub use config::Numbers;

use super::base::Base;
use super::fit::HeadOptions;
use super::output::{apart, folder_of_no_run};
use super::resume::take_over_cuts;
use super::run::{self, Begin, Config, HISTORY, JOB, RUN, Run};
use super::stage::ended_with;
use super::{Finetune, Host, ImageOptions, Reading, finetune};
use crate::data::{Folder, Splits};
use crate::error::{Error, Kind, Result};
use crate::files::{self, quoted};
use crate::model::{Architecture, Head, Pooling, Variant};
use crate::report::{counted, duration};
use crate::task::extract::opened;
use crate::train::{Epoch, History};
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The folders of the runs, in that of the notebook.
pub(super) const PARTS: [&str; 2] = ["1-features", "2-finetune"];

/// Whether `path` is a notebook's folder.
pub(super) fn is_one(path: &Path) -> bool {
    PARTS.iter().any(|part| path.join(part).is_dir())
}

/// What to ask instead of `path`, if that is a notebook's folder.
pub(super) fn help(path: &Path) -> Option<String> {
    let runs = || PARTS.map(|part| quoted(&path.join(part))).join(" and ");
    is_one(path).then(|| format!("it is a notebook's, whose runs are {}", runs()))
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Notebook {
    /// The data folder.
    pub data: PathBuf,
    /// The folder of the runs.
    pub output: PathBuf,
    /// The chapter's numbers, or others.
    pub numbers: Numbers,
    /// Begin all parts anew.
    pub force: bool,
    /// How folders are read.
    pub reading: Reading,
}

/// A run of the notebook, and how far it is.
struct Part {
    job: Finetune,
    state: State,
    /// Epochs of each stage that are behind.
    done: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Stopped,
    Finished,
}

/// A line of the table at the end.
#[derive(Debug, Serialize)]
struct Row {
    part: String,
    run: String,
    epochs: usize,
    val_accuracy: Option<f64>,
    val_loss: Option<f64>,
    test_accuracy: Option<f64>,
    test_loss: Option<f64>,
    /// Of the epochs together, however often the run was stopped.
    seconds: f64,
}

/// Does what is left of the notebook.
///
/// # Errors
/// Those of `finetune`; [`Kind::Usage`] when a part that is there has other numbers.
pub fn notebook(host: &Host, job: &Notebook) -> Result<()> {
    host.introduce();
    job.numbers.validate()?;
    let jobs = jobs(job)?;
    folder_of_no_run(&job.output)?;
    // What lies beside the parts is not touched, so the data may.
    jobs.iter().try_for_each(|part| apart(&job.data, &part.output))?;
    let splits = opened(host, &job.data, job.numbers.validation_split, job.numbers.seed)?;
    let base = Base::open(host, job.numbers.weights.as_deref(), job.numbers.preprocess.parse()?)?;
    let classes = splits.train.classes.clone();
    let mut parts = Vec::new();
    for mut part in jobs {
        part.validate()?;
        if !job.force {
            take_over_cuts(&part.output, &mut part.stages)?;
        }
        let config = finetune::config(host, &part, &base.sha256, &classes)?;
        parts.push(look(part, &config, job.force)?);
    }
    for part in parts.iter().filter(|part| part.state != State::Finished) {
        finetune::fits(host, &part.job, &splits)?;
    }
    tell(host, job, &parts, &base, &splits)?;
    drop(base);
    let begun = Cell::new(false);
    for (at, part) in parts.iter().enumerate() {
        let name = part.job.output.display();
        if part.state == State::Finished {
            host.say(format_args!("\n{name} is finished"));
        } else {
            host.say(format_args!("\n{name}"));
            // Where all is begun anew, parts that are still to come are no more when the first begins: they would be
            // taken for parts of this notebook.
            let begins = || {
                begun.set(true);
                let others = parts[at..].iter().skip(1).filter(|_| job.force);
                others.map(|part| run::Folder::at(&part.job.output)).try_for_each(|former| former.clear())
            };
            finetune::train(host, &part.job, &begins).map_err(|error| match error.kind() {
                Kind::Interrupted if job.force && !begun.get() => error.help("what was there is still there"),
                Kind::Interrupted => error.help(format!("the same command{} goes on from there", again(job))),
                _ => error,
            })?;
        }
        if let Some(folder) = &splits.test {
            let _lock = run::Lock::take(&part.job.output)?;
            finetune::measure(host, &part.job, folder)?;
        }
    }
    let mut all = Vec::new();
    for part in &parts {
        all.append(&mut rows(&part.job)?);
    }
    let rows = all;
    host.result(
        &(table(&rows) + &measured(&parts, &splits)),
        &serde_json::json!({ "path": files::shown(&job.output), "parts": rows }),
    )
}

/// The two runs as jobs of `finetune`; stages without epochs are left out.
fn jobs(job: &Notebook) -> Result<Vec<Finetune>> {
    let numbers = &job.numbers;
    let make = |name: &str, dropout: f32, stages: &[&super::StageConfig]| -> Result<Finetune> {
        Ok(Finetune {
            data: job.data.clone(),
            output: job.output.join(name),
            begin: Begin::New,
            validation_split: numbers.validation_split,
            variant: Variant::Vgg16,
            size: numbers.size,
            images: ImageOptions {
                preprocess: numbers.preprocess.parse()?,
                resize: numbers.resize.parse().map_err(|e: String| Error::new(Kind::Usage, e))?,
                weights: numbers.weights.clone(),
                reading: job.reading.clone(),
            },
            head: HeadOptions {
                pooling: Pooling::Flatten,
                units: numbers.units,
                dropout,
                batch: numbers.batch,
                seed: numbers.seed,
            },
            stages: stages.iter().filter(|stage| stage.epochs > 0).map(|&stage| stage.clone()).collect(),
            keep_features: false,
            cache_limit: (numbers.cache_limit * 1e9) as u64,
            test_images: numbers.test_steps.map(|steps| steps.saturating_mul(numbers.batch)),
            named_weights: None,
            named_digests: Vec::new(),
            trained_classifier: false,
            named_classes: Vec::new(),
            earlier: None,
        })
    };
    let mut jobs = vec![
        make(PARTS[0], numbers.features_dropout, &[&numbers.features])?,
        make(PARTS[1], numbers.finetune_dropout, &[&numbers.frozen, &numbers.finetune])?,
    ];
    jobs.retain(|job| !job.stages.is_empty());
    if jobs.is_empty() {
        return Err(Error::new(Kind::Usage, "there is nothing to train").help("give some stage epochs"));
    }
    Ok(jobs)
}

/// How far a part is, from its folder.
fn look(mut job: Finetune, config: &Config, force: bool) -> Result<Part> {
    // Known before the first part begins, for which the others may go.
    if run::is_held(&job.output) {
        return Err(run::busy(&job.output));
    }
    let files = [(RUN, State::Finished), (JOB, State::Stopped)];
    let there = files.into_iter().map(|(name, state)| (job.output.join(name), state));
    let Some((file, state)) = there.into_iter().find(|(file, _)| file.exists() && !force) else {
        job.begin = if force { Begin::Over } else { Begin::New };
        let done = vec![0; job.stages.len()];
        return Ok(Part { job, state: State::New, done });
    };
    if let Some(differs) = Config::read(&file)?.differs(config)? {
        return Err(Error::new(
            Kind::Usage,
            format!("{} holds a run with other settings", job.output.display()),
        )
        .fact("differs", differs)
        .help("give the numbers that it was begun with, another folder with -o, or --force to begin anew"));
    }
    run::Folder::finished(&job.output)?;
    job.begin = Begin::Resume;
    let history = job.output.join(HISTORY);
    let epochs = if history.exists() { History::load(&history)?.epochs } else { Vec::new() };
    let of = |name: &str| epochs.iter().filter(|epoch| epoch.stage == name).count();
    let done = job.stages.iter().map(|stage| of(&stage.name)).collect();
    Ok(Part { job, state, done })
}

/// What will be done, and how long it should take.
fn tell(host: &Host, job: &Notebook, parts: &[Part], base: &Base, splits: &Splits) -> Result<()> {
    host.say(format_args!("notebook   {} -> {}", job.data.display(), job.output.display()));
    for part in parts {
        let name = part.job.output.file_name().unwrap_or_default().to_string_lossy();
        for (stage, done) in part.job.stages.iter().zip(&part.done) {
            let so_far = match part.state {
                State::Finished => " (finished)".into(),
                State::Stopped => format!(" ({} done)", counted(*done, "epoch")),
                State::New => String::new(),
            };
            host.say(format_args!("{name} {}: {stage}{so_far}", stage.name));
        }
    }
    if splits.test.is_none() {
        host.note("there is no test split, so nothing is tested at the end");
    }
    if parts.iter().all(|part| part.state == State::Finished) {
        return Ok(());
    }
    if host.device.is_simulated() {
        host.say("time       not estimated: the emulator is for looking closely, not for the whole chapter");
        return Ok(());
    }
    let numbers = &job.numbers;
    let head = Head {
        pooling: Pooling::Flatten,
        units: numbers.units,
        dropout: 0.0,
        classes: splits.train.classes.len(),
    };
    let architecture = Architecture::vgg(Variant::Vgg16, numbers.size)?.with_head(head)?;
    let network = base.network(host, architecture, Some(numbers.seed))?;
    let seconds = time::forward(host.device.as_ref(), &network, numbers.batch)?;
    let sizes = time::Sizes {
        train: splits.train.len(),
        validation: splits.validation.as_ref().map_or(0, Folder::len),
    };
    let tested = splits.test.as_ref().map_or(0, Folder::len);
    let (mut all, mut each) = (0.0, Vec::new());
    for part in parts.iter().filter(|part| part.state != State::Finished) {
        let passes =
            time::passes(network.architecture(), &part.job.stages, &part.done, numbers.batch, sizes)?;
        let tested = part.job.test_images.map_or(tested, |limit| limit.min(tested));
        let time = (passes + tested as f64) * seconds / numbers.batch as f64;
        let name = part.job.output.file_name().unwrap_or_default().to_string_lossy().into_owned();
        each.push(format!("{name} {}", duration(time)));
        all += time;
    }
    host.say(format_args!(
        "time       about {} on this device ({}): a batch of {} takes {seconds:.2} s forward here, and the backward \
         pass is assumed to take twice that; you can stop at any time: the same command{} continues",
        duration(all),
        each.join(", "),
        numbers.batch,
        again(job),
    ));
    Ok(())
}

/// How the command that began the parts differs from the one that goes on with them.
fn again(job: &Notebook) -> &'static str {
    if job.force { " without --force" } else { "" }
}

/// A part's lines: one for each stage; the test is that of the last.
fn rows(job: &Finetune) -> Result<Vec<Row>> {
    let result = Run::open(&job.output)?.config.result.unwrap_or_default();
    let history = History::load(&job.output.join(HISTORY))?;
    let last = job.stages.len() - 1;
    let row = |(at, stage): (usize, &super::StageConfig)| {
        let epochs: Vec<&Epoch> = history.epochs.iter().filter(|epoch| epoch.stage == stage.name).collect();
        let end = ended_with(stage, &history);
        Row {
            part: stage.name.clone(),
            run: files::shown(&job.output),
            epochs: epochs.len(),
            val_accuracy: end.and_then(|epoch| epoch.val_accuracy),
            val_loss: end.and_then(|epoch| epoch.val_loss),
            test_accuracy: result.test_accuracy.filter(|_| at == last),
            test_loss: result.test_loss.filter(|_| at == last),
            seconds: epochs.iter().map(|epoch| epoch.seconds).sum(),
        }
    };
    Ok(job.stages.iter().enumerate().map(row).collect())
}

/// What figures of the table are of, where not all images were asked.
fn measured(parts: &[Part], splits: &Splits) -> String {
    let mut text = String::new();
    let of = |folder: &Option<Folder>| folder.as_ref().map_or(0, Folder::len);
    let (checked, tested) = (of(&splits.validation), of(&splits.test));
    for Part { job, .. } in parts {
        for stage in &job.stages {
            let some = stage.validated(job.head.batch, checked);
            if some < checked {
                let _ = writeln!(text, "{}: val on {some} of {checked} images", stage.name);
            }
        }
    }
    let some = parts.iter().filter_map(|part| part.job.test_images).min().unwrap_or(tested);
    if some < tested {
        let _ = writeln!(text, "test on {some} of {tested} images");
    }
    text
}

fn table(rows: &[Row]) -> String {
    let figure = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
    let mut text = format!(
        "{:10}  {:>6}  {:>7}  {:>8}  {:>8}  {:>9}  {:>9}\n",
        "part", "epochs", "val_acc", "val_loss", "test_acc", "test_loss", "training"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:10}  {:>6}  {:>7}  {:>8}  {:>8}  {:>9}  {:>9}",
            row.part,
            row.epochs,
            figure(row.val_accuracy),
            figure(row.val_loss),
            figure(row.test_accuracy),
            figure(row.test_loss),
            duration(row.seconds)
        );
    }
    text
}
