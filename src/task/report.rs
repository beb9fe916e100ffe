//! `report`: everything about a run on one page, and its curves as pixels.
//!
//! In: the run's folder, its history, and predictions on labelled images: those that the run's own last
//! evaluation made, or new ones. Out: `report.html` and `curves.png`. A finished run is not failed by its report:
//! [`attempt`] makes a remark.

mod about;
mod own;
mod verdict;

use super::Host;
use super::contents::Listing;
use super::estimate::Estimate;
use super::evaluate::{Labelled, Named, Tested, TestedBy, Which, files_of, labelled, owns, test};
use super::images::{Reading, Skipped, skipped};
use super::output::{Output, apart};
use super::resume::Job;
use super::run::{CURVES, Config, HISTORY, Lock, REPORT, Run, TrainingConfig, is_held};
use super::stage::ended_with;
use crate::data::{Features, Split};
use crate::error::{Error, Kind, Result};
use crate::files::{self, quoted};
use crate::model::Network;
use crate::model::classes::told_from;
use crate::report::html::{Page, page};
use crate::report::{Outcome, curves};
use crate::train::{History, ImageSamples};
use about::{environment, passes, settings, subtitle};
use own::{lost, no_split, own_split};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use verdict::verdict;

/// What to report on.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run folder.
    pub run: PathBuf,
    /// Labelled images; the run's own data if not given.
    pub data: Option<PathBuf>,
    /// Which split; the best one that is there if not given.
    pub split: Option<Split>,
    /// Images per pass.
    pub batch: usize,
    /// How folders are read.
    pub reading: Reading,
    /// A file for the page, instead of the run's own.
    pub output: Option<Output>,
    /// Write over the run's own page whatever `data` is.
    pub force: bool,
}

/// The split of a run that was never judged.
const UNJUDGED: Split = Split::Validation;

/// How predictions came about, for the page.
pub(super) const REUSED: &str = "The predictions are those of the run's own evaluation at its end.";
/// The same from activations.
pub(super) const FROM_FEATURES: &str = "The predictions were made at the end of the run, from the kept activations of the layers that stayed frozen.";
/// The same where those layers ran, too.
pub(super) const FROM_IMAGES: &str = "The predictions were made at the end of the run, from the images.";
const ANEW: &str = "The predictions were made anew from the saved network and the images.";

/// Predictions on a split and where its images lie.
pub(super) struct Judged {
    part: Which,
    root: PathBuf,
    files: Vec<PathBuf>,
    tested: Tested,
    how: &'static str,
    /// What to know of the figures.
    note: Option<String>,
    /// Images that could not be read.
    skipped: Vec<Skipped>,
    /// Whether they are not the images that the run's own page is of.
    others: bool,
}

impl Judged {
    /// `files` lie below `root`, in the order of `tested`.
    pub fn new(part: Which, root: PathBuf, files: Vec<PathBuf>, tested: Tested, how: &'static str) -> Self {
        Self { part, root, files, tested, how, note: None, skipped: Vec::new(), others: false }
    }

    /// Its figures.
    pub fn outcome(&self) -> &Outcome {
        &self.tested.outcome
    }
}

/// What a report is made of.
pub(super) struct Material<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// Its configuration, with the result.
    pub config: &'a Config,
    /// Its epochs.
    pub history: &'a History,
    /// Predictions, the reason why there are none, or nothing to predict on.
    pub judged: Option<Result<Judged>>,
}

/// Writes the report of a run that has just been finished; a line about it for the result. What goes wrong with it
/// is a remark, for the run is whole.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(super) fn attempt(host: &Host, network: &mut Network, mut material: Material<'_>) -> Result<String> {
    let (path, run) = (material.folder.join(REPORT), quoted(material.folder));
    let stopped = |error: Error| {
        error
            .context("making the report, after the run was saved")
            .help(format!("the run is whole; `vgg-ft report {run}` makes its report"))
    };
    if let Some(Err(error)) =
        material.judged.take_if(|judged| matches!(judged, Err(error) if error.kind() == Kind::Interrupted))
    {
        return Err(stopped(error));
    }
    match curves_png(&material).and_then(|()| write(host, network, material, &path)) {
        Ok(()) => Ok(format!("\nreport     {}", files::line(&path))),
        Err(error) if error.kind() == Kind::Interrupted => Err(stopped(error)),
        Err(error) => {
            host.say_lines(format_args!(
                "note: the run is whole, but its report could not be written: {error}"
            ));
            Ok(String::new())
        }
    }
}

/// Makes the report of a run anew.
///
/// # Errors
/// Of run, data, device and files; [`Kind::Usage`] for a file that is there or in the data, or does not end as a page;
/// [`Kind::Data`] when the classes are not the run's.
pub fn report(host: &Host, job: &Report) -> Result<()> {
    if let Some(output) = &job.output {
        output.format(&[("html", ()), ("htm", ())])?;
        // A run that cannot be read is told of later.
        let own = || Run::open(&job.run).ok().map(|run| run.config.training.data);
        if let Some(data) = job.data.clone().or_else(own).filter(|data| data.is_dir()) {
            apart(&data, &output.path)?;
        }
        output.check()?;
    }
    host.introduce();
    let (path, text, named) = make(host, job)?;
    host.result(&format!("report     {}{text}", files::line(&path)), &named)
}

/// Makes the report of a finished run that has none: it was stopped before, or somebody removed it. It is of the run's own
/// data, which were perhaps `moved`. What goes wrong with it is a remark, for the run is whole.
///
/// # Errors
/// [`Kind::Interrupted`]; [`Kind::Io`] when another process writes the run; those of [`Run::open`].
pub(super) fn missing(host: &Host, run: &Path, moved: Option<PathBuf>, reading: Reading) -> Result<()> {
    if run.join(REPORT).exists() {
        return Ok(());
    }
    let TrainingConfig { batch, data, .. } = Run::open(run)?.config.training;
    let unwritten = |error: &Error| {
        host.say_lines(format_args!("note: the run is whole, but its report could not be written: {error}"));
    };
    if moved.is_none() && !data.exists() {
        host.note(format_args!(
            "the run has no report, and {} is gone; if it was moved, `vgg-ft report {} DATA` makes it",
            data.display(),
            quoted(run)
        ));
        return Ok(());
    }
    let _lock = match Lock::take(run) {
        Ok(lock) => lock,
        Err(error) if is_held(run) => return Err(error),
        Err(error) => {
            unwritten(&error);
            return Ok(());
        }
    };
    let job =
        Report { run: run.to_owned(), data: moved, split: None, batch, reading, output: None, force: false };
    match make(host, &job) {
        Ok((path, ..)) => host.say(format_args!("report     {}", path.display())),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => unwritten(&error),
    }
    Ok(())
}

/// Writes the page. Gives where it lies, and what it says, for people and for machines.
fn make(host: &Host, job: &Report) -> Result<(PathBuf, String, Named)> {
    let run = Run::open(&job.run)?;
    run.remark(host);
    let history = History::load(&job.run.join(HISTORY))?;
    // Made once its room is known.
    let mut network = None;
    let own = &run.config.training.data;
    // A page that is there is not written over by one of other images, or of none.
    let keeps_page = job.output.is_none() && !job.force && job.run.join(REPORT).exists();
    let its_split = own_split(&run, &job.run);
    if let (true, Some(asked), Some(its)) = (keeps_page, job.split, its_split)
        && asked != its
    {
        return Err(lost(&job.run, job.split).fact("its split", its).fact("asked for", asked));
    }
    // Before the long work: a folder that cannot be written is known then.
    if job.output.is_none() {
        files::require_room(&job.run)?;
    }
    let judged = match &job.data {
        Some(data) if keeps_page && !owns(&run, data)? => {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "{} would be lost, the page of what the run was trained with",
                    job.run.join(REPORT).display()
                ),
            )
            .fact("its data", own.display())
            .fact("asked for", data.display())
            .help("name another file with -o, or write over it with --force"));
        }
        Some(data) => Some(judge(host, job, &run, &mut network, data)),
        None if own.exists() => Some(judge(host, job, &run, &mut network, own)),
        None if keeps_page => {
            let what = if run.config.training.job == Job::Fit { "features" } else { "images" };
            return Err(
                lost(&job.run, job.split).fact("gone", format!("{}, the {what} of the run", own.display()))
            );
        }
        None => {
            if let Some(split) = job.split {
                return Err(no_split(own, split).fact("gone", own.display()));
            }
            host.note(format_args!("{} is gone, so there are no predictions", own.display()));
            None
        }
    };
    // Here nothing else is at stake: what is wrong with the images is an error.
    let judged = judged.transpose()?.flatten();
    match &judged {
        None if keeps_page && own.exists() => {
            return Err(lost(&job.run, job.split).fact(
                "reason",
                format!("{} has no {} part now", own.display(), its_split.unwrap_or(UNJUDGED)),
            ));
        }
        Some(Judged { others: true, note: Some(note), .. }) if keeps_page => {
            return Err(lost(&job.run, job.split).fact("reason", note));
        }
        // Nor by one of another split: the data may have lost the test split since, or have got one.
        Some(judged) if keeps_page => {
            if let Some(its) = its_split.filter(|its| judged.part.split() != Some(*its)) {
                return Err(lost(&job.run, job.split).fact("its split", its).fact("there", &judged.part));
            }
        }
        _ => {}
    }
    let mut named = Named::of(host, &run, judged.as_ref().map(Judged::outcome));
    let mut text = String::new();
    if let Some(judged) = &judged {
        (named.split, named.folder) = (judged.part.split(), Some(files::shown(&judged.root)));
        (named.note, named.skipped) = (judged.note.clone(), judged.skipped.clone());
        text = format!("\n\n{}\n{}", judged.part, judged.outcome().text());
    }
    let material =
        Material { folder: &job.run, config: &run.config, history: &history, judged: judged.map(Ok) };
    let path = match &job.output {
        Some(output) => output.path.clone(),
        None => {
            curves_png(&material)?;
            job.run.join(REPORT)
        }
    };
    let mut network = network.map_or_else(|| run.network(host), Ok)?;
    write(host, &mut network, material, &path)?;
    named.path = Some(files::shown(&path));
    Ok((path, text, named))
}

/// Predictions on `data`, images or features; none of features without that split.
fn judge(
    host: &Host,
    job: &Report,
    run: &Run,
    network: &mut Option<Network>,
    data: &Path,
) -> Result<Option<Judged>> {
    let (classes, architecture) = (&run.config.network.classes, &run.architecture);
    if !Features::path(data, Split::Train).exists() {
        let Labelled { part, folder, images, note, others } =
            labelled(host, run, data, job.split, &job.reading, TestedBy::Run)?;
        Estimate { architecture, batch: job.batch, images: images.len(), training: None }.check(host)?;
        let network = network.insert(run.network(host)?);
        let samples = ImageSamples::once(&images, run.preprocess()?.rule());
        let tested = test(host, network, (0, &samples), classes, job.batch)?;
        let skipped = skipped(&folder.root, &images);
        let judged = Judged::new(part, folder.root, images.files.clone(), tested, ANEW);
        return Ok(Some(Judged { note, skipped, others, ..judged }));
    }
    let split = job.split.or(own_split(run, &job.run)).unwrap_or(UNJUDGED);
    let path = Features::path(data, split);
    if !path.exists() {
        let missing = |asked| Err(no_split(data, asked).fact("missing", path.display()));
        return job.split.map_or(Ok(None), missing);
    }
    let features = Features::open(&path)?;
    let base = architecture.base();
    let recipe = &features.recipe;
    let foreign = |what: &str, expected: &dyn Display, got: &dyn Display| {
        Err(Error::new(Kind::Data, format!("{} does not belong to the run", path.display()))
            .fact("differs", what)
            .expected_got(expected, got)
            .help("give the images instead: `vgg-ft report RUN DATA -o PAGE.html`"))
    };
    if &recipe.classes != classes {
        return foreign(
            "the classes",
            &told_from(classes, &recipe.classes),
            &told_from(&recipe.classes, classes),
        );
    }
    if features.row() != architecture.shape_before(base) {
        return foreign("the shape of a row", &architecture.shape_before(base), &features.row());
    }
    let others = run.saw(split, &Listing::of_features(recipe)) == Some(false);
    let note = others.then(|| {
        let now = recipe.labels.len();
        format!("these are not the {split} features that the run had, but {now} others or changed ones")
    });
    if let Some(note) = &note {
        host.note(format_args!("{note}"));
    }
    let samples = super::fit::samples(&features)?;
    let network = network.insert(run.network(host)?);
    let tested = test(host, network, (base, &samples), classes, job.batch)?;
    let judged =
        Judged::new(Which::Split(split), (&recipe.root).into(), files_of(recipe), tested, FROM_FEATURES);
    Ok(Some(Judged { note, others, ..judged }))
}

/// The epoch, from 1 through all stages, whose weights the last stage ended with.
fn kept(config: &Config, history: &History) -> Option<usize> {
    let epoch = ended_with(config.training.stages.last()?, history)?;
    history.epochs.iter().position(|one| std::ptr::eq(one, epoch)).map(|at| at + 1)
}

/// The run's curves as pixels.
fn curves_png(material: &Material<'_>) -> Result<()> {
    files::write_bytes(&material.folder.join(CURVES), &curves(material.history).png()?)
}

fn write(host: &Host, network: &mut Network, material: Material<'_>, path: &Path) -> Result<()> {
    let Material { folder, config, history, judged } = material;
    let (judged, remark) = match judged {
        Some(Ok(judged)) => {
            let note = judged.note.as_ref().map(|note| format!(" Note: {note}."));
            let remark = format!("{}{}", judged.how, note.unwrap_or_default());
            (Some(judged), remark)
        }
        Some(Err(error)) => (None, format!("There are no predictions: {}.", error.message())),
        None => {
            (None, "There are no predictions, since there were no labelled images to make them on.".into())
        }
    };
    let verdict = judged.as_ref().map(|judged| verdict(host, network, config, judged)).transpose()?;
    let seconds = config.result.map_or(0.0, |result| result.seconds);
    let html = page(&Page {
        // `.` has no name of its own.
        title: files::real(folder)?.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned(),
        subtitle: subtitle(config),
        history,
        kept: kept(config, history),
        passes: &passes(config, history),
        verdict,
        remark,
        settings: settings(folder, config),
        config: config.text()?,
        environment: environment(host, folder, config)?,
        seconds,
    });
    files::write_bytes(path, html.as_bytes())
}
