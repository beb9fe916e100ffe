//! `bench --plan`: what a step asks of a GPU, launch by launch, and how long it should take there.

use super::Host;
use crate::device::gpu::cuda;
use crate::device::gpu::plan::{Card, EARLY, KINDS, Line, Memory, Record, lines};
use crate::device::{Description, Kernels, Launches, Precision};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::model::{Architecture, Head, Trainable, Variant};
use crate::report::plan::{Launched, Planned, Share, Sums};
use crate::train::plan;
use serde::Serialize;

/// What to plan.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Network.
    pub variant: Variant,
    /// `[h, w]`.
    pub size: [usize; 2],
    /// The classifier.
    pub head: Head,
    /// Samples at once.
    pub batch: usize,
    /// The first layer that learns.
    pub unfreeze_from: String,
    /// Begin at that layer, with activations that were kept.
    pub from_features: bool,
    /// Forward alone, nothing learned.
    pub inference: bool,
    /// The GPU's name; that of [`Bench::number`], or an H100, if there is none.
    pub gpu: Option<String>,
    /// N of `cuda:N`, whose GPU is planned for where none is named; the first if not given.
    pub number: Option<usize>,
    /// In which numbers it computes.
    pub precision: Precision,
    /// By which convolutions.
    pub kernels: Kernels,
    /// When its kernels begin.
    pub launches: Launches,
}

/// The GPU that is planned for where nothing says another.
const UNKNOWN: &str = "h100";

/// What `--device cuda` or `cuda:number` would take here, if it is a GPU that is known.
fn here(number: Option<usize>) -> Option<&'static Card> {
    let found = cuda::find().ok()?;
    let card = number.map_or_else(|| found.first(), |number| found.card(number)).ok()?;
    Card::of(&card.name, card.limits.sms, card.memory)
}

#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    plan: &'a Planned,
    sums: Sums,
}

/// Plans and prints.
///
/// # Errors
/// [`Kind::Usage`] for a GPU or a layer that is not known; of
/// [`plan::training`].
pub fn bench(host: &Host, job: &Bench) -> Result<()> {
    let card = match &job.gpu {
        Some(name) => Card::named(name)?,
        None => here(job.number).map_or_else(|| Card::named(UNKNOWN), Ok)?,
    };
    let precision = job.precision;
    let description = Description { name: card.name.into(), hardware: card.title.into() };
    precision.check(&description, card.capability)?;
    let kernels = job.kernels.decide(&description, card.capability, precision)?;
    job.launches.check(&description, card.capability)?;
    let architecture = Architecture::vgg(job.variant, job.size)?.with_head(job.head)?;
    let boundary = Trainable::from(&architecture, &job.unfreeze_from)?;
    let end = architecture.layers().len();
    // As `finetune` keeps them: for the classifier alone the output of the base, whatever of it has weights.
    let from = if job.from_features { boundary.from.min(architecture.base()) } else { 0 };
    let of = |batch: usize| {
        interrupt::check()?;
        if job.inference {
            plan::inference((card, precision, job.kernels), &architecture, 0..end, batch)
        } else {
            plan::training((card, precision, job.kernels), &architecture, from, boundary, batch)
        }
    };
    let what = if job.inference {
        "a forward pass".to_owned()
    } else {
        let entering = if from == 0 { "images" } else { "kept activations" };
        format!("a training step from {} on, of {entering}", job.unfreeze_from)
    };
    let record = match of(job.batch) {
        Err(error) if error.kind() != Kind::Interrupted => return Err(too_large(job, card, &error, &of)?),
        record => record?,
    };
    let peak = Memory::of(&record).peak;
    if peak > card.memory {
        let fits = largest(job.batch, |batch| fits(card, batch, &of))?;
        let instead = match fits {
            0 => "no batch does".to_owned(),
            fits => format!("--batch {fits} does"),
        };
        host.note(format_args!("this does not fit the memory of {}; {instead}", card.title));
    }
    let [h, w] = job.size;
    let by = if precision.is_f32() { String::new() } else { format!(", {kernels} kernels") };
    let early = if job.launches == Launches::Serial { "" } else { ", programmatic launches" };
    let title = format!("{} {h}x{w}, batch {}: {what}, {precision}{by}{early}", job.variant, job.batch);
    let planned = planned(title, (card, precision), job.launches, &record);
    host.say_lines(LEGEND);
    host.result(&planned.text(), &Output { plan: &planned, sums: planned.sums() })
}

/// What the columns are.
const LEGEND: &str = "\
columns    grid: blocks; tiles: blocks of work; waves: tiles over what the GPU holds at once;
           MB: what is read and written once, at least; µs: predicted; floor: the least that bandwidth or arithmetic at
           the rated clock allow (of Winograd's launches arithmetic alone; 0 for what only adds parts, turns an operand or pools what another launch left); of it: floor over predicted; bound by: what takes the longest in the prediction
";

/// What the kernels do not count, in terms of what was typed.
///
/// # Errors
/// [`Kind::Interrupted`].
fn too_large(job: &Bench, card: &Card, error: &Error, of: &dyn Fn(usize) -> Result<Record>) -> Result<Error> {
    let [h, w] = job.size;
    let counted = largest(job.batch, |batch| Ok(planned_or_not(of(batch))?.is_some()))?;
    let out = Error::new(Kind::Usage, format!("{} images of {h}x{w} do not fit into one step", job.batch))
        .fact("reason", error.message());
    Ok(match (counted, largest(counted + 1, |batch| fits(card, batch, of))?) {
        (0, _) => out.help("use smaller images (--size) or fewer --units"),
        (counted, 0) => out.expected_got(format!("--batch {counted} at most"), job.batch).help(format!(
            "on {} not even --batch 1 fits the memory; use smaller images (--size)",
            card.title
        )),
        (counted, fits) if fits == counted => out
            .expected_got(format!("--batch {counted} at most"), job.batch)
            .help(format!("--batch {fits} does, and fits the memory of {}", card.title)),
        (counted, fits) => out
            .expected_got(format!("--batch {counted} at most"), job.batch)
            .help(format!("--batch {fits} is the most that fits the memory of {}", card.title)),
    })
}

/// Whether a step of so many is counted, and fits the GPU.
fn fits(card: &Card, batch: usize, of: &dyn Fn(usize) -> Result<Record>) -> Result<bool> {
    Ok(planned_or_not(of(batch))?.is_some_and(|record| Memory::of(&record).peak <= card.memory))
}

/// What could be planned; a stop is no answer.
fn planned_or_not(record: Result<Record>) -> Result<Option<Record>> {
    match record {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        record => Ok(record.ok()),
    }
}

/// The largest number below `high` that fits, or 0; what fits is taken to fit in smaller numbers too.
///
/// # Errors
/// Those of `fits`.
pub(super) fn largest(mut high: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let mut low = 0;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn planned(
    title: String,
    (card, precision): (&Card, Precision),
    begin: Launches,
    record: &Record,
) -> Planned {
    let saves = |line: &Line| if begin == Launches::Programmatic && line.early { EARLY } else { 0.0 };
    let launched = |line: Line| launched(line.seconds - saves(&line), line);
    let memory = Memory::of(record);
    Planned {
        title,
        precision: precision.name(),
        gpu: format!(
            "{}: {:.1} TFLOP/s{}, {:.0} GB/s of a copy",
            card.title,
            card.peak() / 1e12,
            if precision.is_f32() {
                String::new()
            } else {
                format!(", convolutions {:.1} in {precision}", card.peak_of_convolutions(precision) / 1e12)
            },
            card.copy() / 1e9
        ),
        launches: lines(record, card).into_iter().map(launched).collect(),
        peak_bytes: memory.peak,
        memory: KINDS.map(|(kind, name)| Share { kind: name, bytes: memory.of_kind(kind) }).into(),
        gpu_bytes: card.memory,
    }
}

fn launched(seconds: f64, line: Line) -> Launched {
    Launched {
        layer: line.label,
        pass: if line.backward { "backward" } else { "forward" },
        kernel: line.kernel,
        grid: line.grid,
        block: line.block,
        tiles: line.tiles,
        waves: line.waves,
        bytes: line.cost.bytes,
        flops: line.cost.flops,
        microseconds: seconds * 1e6,
        bound: line.bound.name(),
        floor_microseconds: line.floor * 1e6,
        share_of_floor: line.floor / seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ctrl-C in the middle of a search ends it, and is not taken for a batch that does not fit.
    #[test]
    fn a_stop_is_no_answer() {
        let stopped = || Error::new(Kind::Interrupted, "stopped");
        let asked = std::cell::Cell::new(0);
        let error = largest(1000, |batch| {
            asked.set(asked.get() + 1);
            planned_or_not(if batch < 300 { Err(stopped()) } else { Ok(Record::default()) })
                .map(|record| record.is_none())
        });
        assert_eq!((error.unwrap_err().kind(), asked.get()), (Kind::Interrupted, 2));
        assert!(planned_or_not(Err(Error::new(Kind::Device, "too large"))).unwrap().is_none());
        assert_eq!(largest(1000, |batch| Ok(batch <= 300)).unwrap(), 300);
    }
}
