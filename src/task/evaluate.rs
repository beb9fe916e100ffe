//! `evaluate`: a run on labelled pictures.

use super::contents::Listing;
use super::estimate::Estimate;
use super::look::Look;
use super::output::Output;
use super::pictures::{Reading, decode};
use super::resume::Job;
use super::run::{Part, Run, Stopped};
use super::subject::Subject;
use super::{Host, extract, predict};
use crate::data::endings::Endings;
use crate::data::{Features, Folder, Pictures, Recipe, Sample, Source, Splits};
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::model::Network;
use crate::report::{Format, Outcome, Rows, Said};
use crate::train::{Judged, Samples, Views, judge};
use crate::{files, interrupt};
use serde::Serialize;
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A split by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitName {
    /// `train/`
    Train,
    /// `validation/`
    Validation,
    /// `test/`
    Test,
}

impl SplitName {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Evaluate {
    /// The run folder.
    pub run: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Which split; the best one that is there if not given.
    pub split: Option<SplitName>,
    /// Pictures per pass.
    pub batch: usize,
    /// How folders are read.
    pub reading: Reading,
    /// How the pictures are looked at.
    pub look: Look,
    /// A file with one row per picture.
    pub output: Option<Output>,
    /// How those rows look; as the file's name ends if not given.
    pub format: Option<Format>,
}

/// Prints loss, accuracy, confusion matrix and figures per class.
///
/// # Errors
/// Of run, data, device and file; [`Kind::Data`] when the classes are not the run's.
pub fn evaluate(host: &Host, job: &Evaluate) -> Result<()> {
    let output = job.output.as_ref().map(|output| predict::rows_file(output, job.format)).transpose()?;
    host.introduce();
    let run = Rc::new(Run::open_unfinished(&job.run)?);
    run.remark(host);
    let views = job.look.views(host, &Subject::of(Rc::clone(&run))?)?;
    let Labelled { part, folder, pictures, note, .. } =
        labelled(host, &run, &job.data, job.split, &job.reading)?;
    let architecture = &run.architecture;
    Estimate { architecture, batch: job.batch, pictures: pictures.len(), training: None }.check(host)?;
    let network = run.network(host)?;
    let classes = &run.config.network.classes;
    let examiner = Examiner { host, network: &network, pictures: &pictures, views, batch: job.batch };
    let outcome = match output {
        None => examiner.examine(&job.look, classes, &mut |_, _, _| Ok(()))?,
        Some((path, format)) => {
            let rows = Rows { format, classes, top: 1, all: true, labelled: true };
            let mut outcome = None;
            files::write_atomic(path, |out| {
                put(out, path, &rows.header())?;
                outcome = Some(examiner.examine(&job.look, classes, &mut |at, class, probabilities| {
                    let picture = folder.root.join(&pictures.files[at]);
                    let label = Some(pictures.labels[at] as usize);
                    put(out, path, &rows.row(&Said { path: &picture, label, class, probabilities })?)
                })?);
                Ok(())
            })?;
            host.say(format_args!("written    {}", path.display()));
            outcome.ok_or_else(|| Error::new(Kind::Data, "there are no pictures"))?
        }
    };
    let precision = host.device.precision();
    let run_precision = run.config.training.precision;
    let stopped = run.stopped();
    let named =
        Named { split: part.split(), folder: folder.root, note, precision, run_precision, stopped, outcome };
    host.result(&format!("{part}\n{}", named.outcome.text()), &named)
}

fn put(out: &mut BufWriter<std::fs::File>, path: &Path, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("write", path, &e))
}

/// Which pictures are judged.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// Those of a split.
    Split(&'static str),
    /// All of a folder without splits.
    All(PathBuf),
}

impl Which {
    /// The split's name, if it is one.
    pub fn split(&self) -> Option<&'static str> {
        match self {
            Self::Split(name) => Some(name),
            Self::All(_) => None,
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(name) => f.write_str(name),
            Self::All(folder) => write!(f, "all pictures of {}", folder.display()),
        }
    }
}

/// Pictures to judge a run by.
pub(super) struct Labelled {
    /// Which they are.
    pub part: Which,
    /// Where they lie.
    pub folder: Folder,
    /// Decoded.
    pub pictures: Pictures,
    /// Whether the run was trained on them, as far as that matters and is known.
    pub note: Option<String>,
    /// Whether they stand in the place of those that the run was validated with, and are others.
    pub others: bool,
}

/// The pictures of a split of `data`, whose classes must be the run's; of test, validation, train the first
/// that is there if none is named. The folder that the run split for itself is split again as it was.
///
/// # Errors
/// Of the data; [`Kind::Usage`] when there is no such split; [`Kind::Data`] when the classes are not the run's.
pub(super) fn labelled(
    host: &Host,
    run: &Run,
    data: &Path,
    split: Option<SplitName>,
    reading: &Reading,
) -> Result<Labelled> {
    let mut splits = Splits::open(data, None, 0)?;
    let training = &run.config.training;
    let extracted = if splits.validation.is_none() { extracted(run, &splits.train.root)? } else { None };
    let held_out = extracted.is_some() || training.validation_split.is_some();
    let own = owns(run, data)?;
    // Of another folder a part is taken only if it is asked for: it may be the same, in another place.
    let asked = matches!(split, Some(SplitName::Train | SplitName::Validation));
    if split != Some(SplitName::Test) {
        if let Some([train, validation]) = extracted {
            splits = Splits { train, validation: Some(validation), ..splits };
        } else if let Some(share) = training.validation_split
            && splits.validation.is_none()
            && (own || asked)
        {
            splits = Splits::open(data, Some(share), training.seed)?;
        }
    }
    let whole = splits.train.root == data && splits.validation.is_none();
    // Drawn from one folder, not lying in its own.
    let parted = splits.validation.as_ref().is_some_and(|validation| validation.root == splits.train.root);
    let there = extract::named(&splits);
    // All of a folder without splits is what was trained on, if that is the run's own; of others nobody knows.
    let known = |name: &str| !whole || (own && name == "train");
    let chosen = match split {
        Some(split) => {
            there.iter().find(|(name, _)| *name == split.name() && known(name)).ok_or_else(|| {
                let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
                let error =
                    Error::new(Kind::Usage, format!("{} has no split `{}`", data.display(), split.name()));
                if whole {
                    return error
                        .fact("there", format!("class folders: {}", splits.train.classes.join(" ")))
                        .help(if own && held_out {
                            "leave --split out: the pictures that the run held out are then taken"
                        } else {
                            "leave --split out: all its pictures are then taken"
                        });
                }
                error.fact("splits", names.join(" ")).help("choose one of these with --split")
            })?
        }
        // Train, validation, test is the order of preference backwards.
        None => there.last().ok_or_else(|| Error::new(Kind::Data, "there are no pictures"))?,
    };
    let (name, folder) = *chosen;
    let classes = &run.config.network.classes;
    if &folder.classes != classes {
        return Err(Error::new(
            Kind::Data,
            format!("{} has other classes than the run", folder.root.display()),
        )
        .expected_got(classes.join(" "), folder.classes.join(" "))
        .help("name the class folders as they were named for training"));
    }
    let size = run.architecture.input;
    let called = if whole { "all" } else { name };
    let pictures = decode(host, called, folder, size, run.resize()?, reading)?;
    let seen = |part| -> Result<bool> {
        let listing = Listing::of_pictures(&folder.root, &pictures)?;
        Ok(run.saw(part, &listing).unwrap_or(true))
    };
    let others = own && parted && name == "validation" && !seen(Part::Validation)?;
    let note = if own && name == "train" && seen(Part::Train)? {
        Some("the run was trained on these pictures".to_owned())
    } else if own && name == "train" {
        Some(
            "these are not quite the pictures that the run was trained on: some came, went or changed"
                .to_owned(),
        )
    } else if others && training.job == Job::Fit {
        Some(
            "these are not the pictures that the run was validated with: some came, went or changed, or the features were \
             made anew, and the run may have been trained on some of them"
                .to_owned(),
        )
    } else if others {
        Some(
            "these are not the pictures that the run was validated with: some came, went or changed, the part held out \
             was drawn anew, and the run may have been trained on some of it"
                .to_owned(),
        )
    } else if whole && training.validation_split.is_some() {
        Some(format!(
            "the run was trained on a part of {}; if {} is that folder in another place, --split validation takes the \
             other part",
            training.data.display(),
            data.display()
        ))
    } else if !own && name == "train" {
        Some("pictures that the run was trained on may be among these".to_owned())
    } else {
        None
    };
    if let Some(note) = &note {
        host.say(format_args!("note: {note}"));
    }
    let part = if whole { Which::All(data.to_owned()) } else { Which::Split(name) };
    Ok(Labelled { part, folder: folder.clone(), pictures, note, others })
}

/// Whether `data` is the folder that the run learned from, or that its features were extracted from.
///
/// # Errors
/// [`Kind::Io`] when a path cannot be made whole.
pub(super) fn owns(run: &Run, data: &Path) -> Result<bool> {
    let training = &run.config.training;
    let data = files::real(data)?;
    if data == files::real(&training.data)? {
        return Ok(true);
    }
    let train = training.data.join("train.safetensors");
    Ok(match (training.job, Features::open(&train)) {
        (Job::Fit, Ok(features)) => {
            [&data, &data.join("train")].iter().any(|root| *root == Path::new(&features.recipe.root))
        }
        _ => false,
    })
}

/// The training and validation pictures of the class folders in `data`, where the run learned from features that were
/// extracted from there and `extract` parted them. What cannot be read of the features parts nothing.
fn extracted(run: &Run, data: &Path) -> Result<Option<[Folder; 2]>> {
    let training = &run.config.training;
    let open = |split| Features::open(&training.data.join(format!("{split}.safetensors")));
    if training.job != Job::Fit {
        return Ok(None);
    }
    let (Ok(train), Ok(validation)) = (open("train"), open("validation")) else { return Ok(None) };
    let root = files::real(data)?;
    if [&train, &validation].iter().any(|features| Path::new(&features.recipe.root) != root) {
        return Ok(None);
    }
    let folder = |features: Features| {
        let Recipe { classes, files, labels, .. } = features.recipe;
        let files =
            files.into_iter().zip(labels).map(|((path, _, _), label)| Sample { path: path.into(), label });
        Folder { root: data.to_owned(), classes, files: files.collect(), unread: Endings::default() }
    };
    Ok(Some([folder(train), folder(validation)]))
}

/// An outcome and what it is of.
#[derive(Serialize)]
struct Named {
    split: Option<&'static str>,
    folder: PathBuf,
    /// What to know of the figures: whether the run was trained on these pictures.
    note: Option<String>,
    precision: Precision,
    /// In which it was trained.
    run_precision: Precision,
    /// Where the run was stopped, if it is not finished.
    stopped: Option<Stopped>,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What a network says of a labelled set.
pub(super) struct Tested {
    /// Counts and scores.
    pub outcome: Outcome,
    /// The true classes.
    pub labels: Vec<u32>,
    /// One row per sample, one column per class.
    pub probabilities: Vec<Vec<f32>>,
}

/// Runs `samples`, which enter at layer `from`, through the rest of the network.
///
/// # Errors
/// The device's; [`Kind::Interrupted`].
pub(super) fn test(
    host: &Host,
    network: &Network,
    (from, samples): (usize, &dyn Samples),
    classes: &[String],
    batch: usize,
) -> Result<Tested> {
    let progress = host.progress("evaluating", samples.len(), "images");
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    let mut said = Judged::default();
    for indices in all.chunks(samples.evaluation_batch(batch)) {
        interrupt::check()?;
        let device = host.device.as_ref();
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        let part = judge(device, network, from, samples.batch(device, indices)?, &labels)?;
        said.loss_sum += part.loss_sum;
        said.classes.extend(part.classes);
        said.probabilities.extend(part.probabilities);
        progress.set(said.classes.len() as u64);
    }
    progress.finish(&format!("evaluated  {} pictures", samples.len()));
    let labels = samples.labels().to_vec();
    let loss = said.loss_sum / labels.len().max(1) as f64;
    let pairs = labels.iter().map(|&label| label as usize).zip(said.classes);
    let outcome = Outcome::new(classes.to_vec(), pairs, loss)?;
    Ok(Tested { outcome, labels, probabilities: said.probabilities })
}

/// Hears of every picture: its position, the class it was taken for, the probabilities.
type Hears<'a> = &'a mut dyn FnMut(usize, usize, &[f32]) -> Result<()>;

struct Examiner<'a> {
    host: &'a Host,
    network: &'a Network,
    pictures: &'a Pictures,
    views: Views,
    batch: usize,
}

impl Examiner<'_> {
    fn examine(&self, look: &Look, classes: &[String], hears: Hears<'_>) -> Result<Outcome> {
        let progress = self.host.progress("evaluating", self.pictures.len(), "images");
        let all: Vec<u32> = (0..self.pictures.len() as u32).collect();
        let mut pairs = Vec::with_capacity(all.len());
        let mut loss = 0.0;
        for indices in all.chunks(self.batch) {
            interrupt::check()?;
            let batch = self.pictures.batch(indices)?;
            let judged = self.views.judge(self.host.device.as_ref(), self.network, &batch)?;
            loss += judged.loss_sum;
            for ((&label, class), row) in batch.labels.iter().zip(judged.classes).zip(&judged.probabilities) {
                let class = look.class(row).unwrap_or(class);
                hears(pairs.len(), class, row)?;
                pairs.push((label as usize, class));
            }
            progress.set(pairs.len() as u64);
        }
        progress.finish(&format!("evaluated  {} pictures", pairs.len()));
        let n = pairs.len().max(1) as f64;
        Outcome::new(classes.to_vec(), pairs, loss / n)
    }
}
