//! `evaluate`: a run on labelled images.

mod held_out;
mod judged;
mod names;

pub(super) use judged::{Labelled, TestedBy, Which, adopted, labelled, owns};
pub(super) use names::files_of;

use super::estimate::Estimate;
use super::images::{Reading, Skipped, in_batch, skipped};
use super::look::Look;
use super::output::{Output, apart};
use super::run::{Run, Stopped};
use super::subject::Subject;
use super::{Host, predict};
use crate::data::{Images, Source, Split};
use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::model::Network;
use crate::report::{Format, Outcome, Rows, Said, replaced};
use crate::train::{Judged, Samples, Views, judge};
use crate::{files, interrupt};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct Evaluate {
    /// The run folder.
    pub run: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Which split; the best one that is there if not given.
    pub split: Option<Split>,
    /// Images per pass.
    pub batch: usize,
    /// How folders are read.
    pub reading: Reading,
    /// How the images are looked at.
    pub look: Look,
    /// A file with one row per image.
    pub output: Option<Output>,
    /// How those rows look; as the file's name ends if not given.
    pub format: Option<Format>,
}

/// Prints loss, accuracy, confusion matrix and figures per class.
///
/// # Errors
/// Of run, data, device and file; [`Kind::Usage`] for a file inside the data; [`Kind::Data`] when the classes are not the
/// run's.
pub fn evaluate(host: &Host, job: &Evaluate) -> Result<()> {
    if let Some(output) = &job.output {
        apart(&job.data, &output.path)?;
    }
    let output = job.output.as_ref().map(|output| predict::rows_file(output, job.format)).transpose()?;
    host.introduce();
    let run = Rc::new(Run::open_unfinished(&job.run)?);
    run.remark(host);
    let views = job.look.views(host, &Subject::of(Rc::clone(&run))?)?;
    let Labelled { part, folder, images, note, .. } =
        labelled(host, &run, &job.data, job.split, &job.reading, TestedBy::All)?;
    let architecture = &run.architecture;
    Estimate { architecture, batch: job.batch, images: images.len(), training: None }.check(host)?;
    let network = run.network(host)?;
    let classes = &run.config.network.classes;
    let examiner = Examiner { host, network: &network, images: &images, views, batch: job.batch };
    let outcome = match output {
        None => examiner.examine(&job.look, classes, &mut |_, _, _| Ok(()))?,
        Some((path, format)) => {
            let rows = Rows { format, classes, top: 1, all: true, labelled: true };
            let (mut outcome, mut odd) = (None, 0);
            files::write_atomic(path, |out| {
                put(out, path, &rows.header())?;
                outcome = Some(examiner.examine(&job.look, classes, &mut |at, class, probabilities| {
                    let image = folder.root.join(&images.files[at]);
                    odd += usize::from(image.to_str().is_none());
                    let label = Some(images.labels[at] as usize);
                    put(out, path, &rows.row(&Said { path: &image, label, class, probabilities })?)
                })?);
                Ok(())
            })?;
            host.say(format_args!("written    {}", path.display()));
            if let Some(note) = replaced(odd, "--format jsonl").filter(|_| format == Format::Csv) {
                host.note(format_args!("{note}"));
            }
            outcome.ok_or_else(|| Error::new(Kind::Data, "there are no images"))?
        }
    };
    let named = Named {
        path: job.output.as_ref().map(|output| files::shown(&output.path)),
        split: part.split(),
        folder: Some(files::shown(&folder.root)),
        note,
        skipped: skipped(&folder.root, &images),
        threshold: job.look.threshold.map(files::short),
        views: job.look.count(),
        ..Named::of(host, &run, Some(&outcome))
    };
    host.result(&format!("{part}\n{}{}", job.look.lines(classes), outcome.text()), &named)
}

fn put(out: &mut BufWriter<std::fs::File>, path: &Path, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("write", path, &e))
}

/// An outcome and what it is of.
#[derive(Serialize)]
pub(super) struct Named {
    /// The file that was written.
    pub path: Option<String>,
    /// The split that was judged, if it is one.
    pub split: Option<Split>,
    pub folder: Option<String>,
    /// What to know of the figures: whether the run was trained on these images.
    pub note: Option<String>,
    device: String,
    precision: Precision,
    /// In which it was trained.
    run_precision: Precision,
    /// Where the run was stopped, if it is not finished.
    stopped: Option<Stopped>,
    /// Images that could not be read, and why.
    pub skipped: Vec<Skipped>,
    /// The probability above which an image was taken for the second of two classes, if that was asked for.
    threshold: Option<f64>,
    /// Views of each image, whose probabilities were averaged.
    views: usize,
    #[serde(flatten)]
    outcome: Value,
}

impl Named {
    /// That of `run` on `host`; without an outcome its keys are there, and null.
    pub fn of(host: &Host, run: &Run, outcome: Option<&Outcome>) -> Self {
        let mut keys = json!(outcome.cloned().unwrap_or_default());
        if let (None, Value::Object(keys)) = (outcome, &mut keys) {
            keys.values_mut().for_each(|value| *value = Value::Null);
        }
        Self {
            path: None,
            split: None,
            folder: None,
            note: None,
            device: host.name(),
            precision: host.device.precision(),
            run_precision: run.config.training.precision,
            stopped: run.stopped(),
            skipped: Vec::new(),
            threshold: None,
            views: 1,
            outcome: keys,
        }
    }
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
    let mut said = Judged::default();
    let loss = mean_loss(host, samples.len(), samples.evaluation_batch(batch), |indices| {
        let device = host.device.as_ref();
        let labels: Vec<u32> = indices.iter().map(|&i| samples.labels()[i as usize]).collect();
        let part = judge(device, network, from, samples.batch(device, indices)?, &labels)?;
        let sum = part.loss_sum();
        said.classes.extend(part.classes);
        said.probabilities.extend(part.probabilities);
        Ok(sum)
    })?;
    let labels = samples.labels().to_vec();
    let pairs = labels.iter().map(|&label| label as usize).zip(said.classes);
    let outcome = Outcome::new(classes.to_vec(), pairs, loss)?.ranked(&labels, &said.probabilities);
    Ok(Tested { outcome, labels, probabilities: said.probabilities })
}

/// The mean of the losses whose sums `judge` gives for samples 0, 1, 2 … `count`, `batch` at a time.
fn mean_loss(
    host: &Host,
    count: usize,
    batch: usize,
    mut judge: impl FnMut(&[u32]) -> Result<f64>,
) -> Result<f64> {
    let progress = host.progress("evaluating", count, "images");
    let all: Vec<u32> = (0..count as u32).collect();
    let (mut sum, mut done) = (0.0, 0);
    for indices in all.chunks(batch) {
        interrupt::check()?;
        sum += judge(indices)?;
        done += indices.len() as u64;
        progress.set(done);
    }
    progress.finish(&format!("evaluated  {count} images"));
    Ok(sum / count.max(1) as f64)
}

/// Probabilities that are kept for what needs all of them: 256 MB.
const MOST_KEPT: usize = 64 << 20;

/// Hears of every image: its position, the class it was taken for, the probabilities.
type Hears<'a> = &'a mut dyn FnMut(usize, usize, &[f32]) -> Result<()>;

struct Examiner<'a> {
    host: &'a Host,
    network: &'a Network,
    images: &'a Images,
    views: Views,
    batch: usize,
}

impl Examiner<'_> {
    fn examine(&self, look: &Look, classes: &[String], hears: Hears<'_>) -> Result<Outcome> {
        let count = self.images.len();
        let mut pairs = Vec::with_capacity(count);
        // Of very many images with very many classes they take more memory than areas under curves are worth.
        let keeps = count.saturating_mul(classes.len()) <= MOST_KEPT;
        let (mut labels, mut kept) = (Vec::new(), Vec::new());
        let loss = mean_loss(self.host, count, self.batch, |indices| {
            let batch = self.images.batch(indices)?;
            let judged = self
                .views
                .judge(self.host.device.as_ref(), self.network, &batch)
                .map_err(|error| in_batch(error, &self.images.files[indices[0] as usize]))?;
            let sum = judged.loss_sum();
            for ((&label, class), row) in batch.labels.iter().zip(judged.classes).zip(&judged.probabilities) {
                let class = look.class(row).unwrap_or(class);
                hears(pairs.len(), class, row)?;
                pairs.push((label as usize, class));
            }
            if keeps {
                labels.extend_from_slice(&batch.labels);
                kept.extend(judged.probabilities);
            }
            Ok(sum)
        })?;
        let outcome = Outcome::new(classes.to_vec(), pairs, loss)?;
        Ok(if keeps { outcome.ranked(&labels, &kept) } else { outcome })
    }
}
