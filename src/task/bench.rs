//! `bench --plan`: what a step asks of a card, launch by launch, and how long it should take there.

use super::Host;
use crate::device::gpu::plan::{Card, KINDS, Line, Memory, Record, lines};
use crate::error::Result;
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
    /// The card's name.
    pub card: String,
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
/// [`Kind::Usage`](crate::error::Kind::Usage) for a card or a layer that is not known; of
/// [`plan::training`].
pub fn bench(host: &Host, job: &Bench) -> Result<()> {
    let card = Card::named(&job.card)?;
    let architecture = Architecture::vgg(job.variant, job.size)?.with_head(job.head)?;
    let boundary = Trainable::from(&architecture, &job.unfreeze_from)?;
    let end = architecture.layers().len();
    let (what, record) = if job.inference {
        ("a forward pass".to_owned(), plan::inference(card, &architecture, 0..end, job.batch)?)
    } else {
        let from = if job.from_features { boundary.from } else { 0 };
        let entering = if from == 0 { "pictures" } else { "kept activations" };
        let what = format!("a training step from {} on, of {entering}", job.unfreeze_from);
        (what, plan::training(card, &architecture, from, boundary, job.batch)?)
    };
    let [h, w] = job.size;
    let title = format!("{} {h}x{w}, batch {}: {what}, f32", job.variant, job.batch);
    let planned = planned(title, card, &record);
    host.result(&planned.text(), &Output { plan: &planned, sums: planned.sums() })
}

fn planned(title: String, card: &Card, record: &Record) -> Planned {
    let memory = Memory::of(record);
    Planned {
        title,
        card: format!(
            "{}: {:.1} TFLOP/s, {:.0} GB/s of a copy",
            card.title,
            card.peak() / 1e12,
            card.copy() / 1e9
        ),
        launches: lines(record, card).into_iter().map(launched).collect(),
        peak_bytes: memory.peak,
        memory: KINDS.map(|(kind, name)| Share { kind: name, bytes: memory.of_kind(kind) }).into(),
        card_bytes: card.memory,
    }
}

fn launched(line: Line) -> Launched {
    Launched {
        layer: line.label,
        pass: if line.backward { "backward" } else { "forward" },
        kernel: line.kernel,
        grid: line.grid,
        block: line.block,
        bytes: line.cost.bytes(),
        flops: line.cost.flops,
        microseconds: line.seconds * 1e6,
        bound: line.bound.name(),
        floor_microseconds: line.floor * 1e6,
    }
}
