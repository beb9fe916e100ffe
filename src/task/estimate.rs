//! Whether a job fits into the memory that it computes in, asked before anything is done.
//!
//! In: the architecture, what is to learn or to run, how many samples there are. Out: one line that says what is needed,
//! or an error that says what takes the memory and which smaller job would fit. Every number comes from the planning
//! driver, on which the job's steps are run, by the kernels that the device takes. The cpu has no kernels, and makes the
//! same buffers but for the parts of sums: of it the least that it needs is known. A device without memory of its own has
//! the machine's, where that can be asked ([`cpu::room`]).

use super::Host;
use super::bench::largest;
use super::course::StageConfig;
use crate::device::gpu::plan::{CARDS, Card, KINDS, Kind as Purpose, Memory, Record};
use crate::device::{Capacity, Kernels, Precision, cpu};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crate::model::{Architecture, Layer, Trainable};
use crate::report::plan::gib;
use crate::shape::Conv2d;
use crate::train::{plan, rows_at_once, uses_at_once};
use std::ops::Range;

/// A job as far as memory is concerned.
#[derive(Clone, Copy)]
pub(super) struct Estimate<'a> {
    pub architecture: &'a Architecture,
    /// Samples that are asked for at once.
    pub batch: usize,
    /// Images that go through the base, into features and for a test; 0 for none.
    pub images: usize,
    /// What is learned, if anything.
    pub training: Option<Learning>,
}

/// A training as far as memory is concerned.
#[derive(Clone, Copy)]
pub(super) struct Learning {
    /// The first layer that learns, at which samples enter; for the classifier alone, its first.
    pub boundary: usize,
    /// Samples of training and of validation.
    pub samples: [usize; 2],
    /// Whether training samples enter as images, whatever is frozen.
    pub augmented: bool,
    /// What stays for each weight that learns.
    pub keeps: Keeps,
}

/// What stays for each weight that learns beside the one number of plain RMSprop, which every plan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeps {
    /// Numbers of other rules.
    pub states: usize,
    /// Over how many batches its gradient is summed before the step; 0 where it is used at once.
    pub batches: usize,
}

impl Keeps {
    /// The most of what any of `stages` has.
    pub fn of(stages: &[StageConfig]) -> Self {
        let batches = |stage: &StageConfig| {
            let at_once = uses_at_once(stage.optimizer.rule(stage.rate), stage.optimizer.adjust());
            if at_once && stage.accumulate == 1 { 0 } else { stage.accumulate }
        };
        let states = stages.iter().map(|stage| stage.optimizer.rule(stage.rate).keeps().count());
        Self {
            states: states.max().unwrap_or(0).saturating_sub(1),
            batches: stages.iter().map(batches).max().unwrap_or(0),
        }
    }
}

/// Where the job's buffers will lie, and by what they are filled.
struct Place {
    name: &'static str,
    room: Capacity,
    on: plan::On,
    /// Whether it is the cpu: no kernels, so no parts of their sums and no limit to what they count.
    cpu: bool,
}

/// What runs at once.
#[derive(Clone)]
enum Step {
    /// Samples enter at the layer `enters`, all from the layer `from` on learns; `batches` as [`Keeps::batches`].
    Training {
        enters: usize,
        from: usize,
        batches: usize,
    },
    Inference(Range<usize>),
}

/// The greediest part of a job.
struct Need {
    doing: String,
    memory: Memory,
}

impl Place {
    /// That of the host; `None` where nobody can say how large it is.
    fn of(host: &Host) -> Result<Option<Self>> {
        let device = host.device.as_ref();
        let (name, room) = match (device.memory()?, cpu::room()) {
            (Some(own), _) => ("the device's memory", own),
            (None, Some(room)) => ("this machine's memory", room),
            (None, None) => return Ok(None),
        };
        let on = match device.kernels() {
            Some((capability, kernels)) => (Card::like(capability), device.precision(), kernels),
            None => (&CARDS[0], Precision::F32, Kernels::Portable),
        };
        Ok(Some(Self { name, room, on, cpu: device.kernels().is_none() }))
    }

    fn fits(&self, need: &Need) -> bool {
        need.memory.peak <= self.room.free
    }

    /// What `step` takes with `batch` samples.
    fn memory(&self, net: &Architecture, step: &Step, batch: usize) -> Result<Memory> {
        match self.record(net, step, batch) {
            Err(error) if self.cpu && error.kind() != Kind::Interrupted => self.least(net, step, batch),
            record => {
                let memory = Memory::of(&record?);
                Ok(if self.cpu { without_scratch(memory) } else { memory })
            }
        }
    }

    fn record(&self, net: &Architecture, step: &Step, batch: usize) -> Result<Record> {
        match step.clone() {
            Step::Training { enters, from, batches: 0 } => {
                plan::training(self.on, net, enters, Trainable { from }, batch)
            }
            Step::Training { enters, from, batches } => {
                plan::gathering(self.on, net, enters, Trainable { from }, (batch, batches))
            }
            Step::Inference(range) => plan::inference(self.on, net, range, batch),
        }
    }

    /// What a step takes at least that no kernel could count: at the peak of one sample, the others' activations besides.
    /// If one is too many, it is the classifier's weights: then the base's activations, and what the optimizer keeps.
    fn least(&self, net: &Architecture, step: &Step, batch: usize) -> Result<Memory> {
        let mut memory = match self.record(net, step, 1) {
            Ok(one) => without_scratch(Memory::of(&one)),
            Err(_) => {
                let (enters, learns) = match step {
                    Step::Training { enters, from, .. } => (*enters, net.parameters_from(*from)),
                    Step::Inference(range) => (range.start, 0),
                };
                let base = Step::Inference(enters..enters.max(net.base()));
                let mut memory = without_scratch(Memory::of(&self.record(net, &base, 1)?));
                memory.at_peak.insert((Purpose::Optimizer, String::new()), 4 * learns);
                memory
            }
        };
        let activations = memory.at_peak.iter_mut().filter(|((kind, _), _)| *kind == Purpose::Activations);
        activations.for_each(|(_, bytes)| *bytes = bytes.saturating_mul(batch as u64));
        memory.peak = memory.at_peak.values().fold(0, |sum, bytes| sum.saturating_add(*bytes));
        Ok(memory)
    }
}

/// The same on a device that adds sums up in place.
fn without_scratch(mut memory: Memory) -> Memory {
    memory.peak -= memory.of_kind(Purpose::Scratch);
    memory.at_peak.retain(|(kind, _), _| *kind != Purpose::Scratch);
    memory
}

/// What the cpu holds besides in `step`: the points of its convolutions' weights, kept for layers that run again while
/// their weights stay (`again`), else one layer's at a time; and for layers that learn as many of the gradient's sums.
fn points(net: &Architecture, step: &Step, again: bool) -> u64 {
    let (layers, learns) = match step {
        Step::Training { enters, from, .. } => (*enters..net.layers().len(), *from),
        Step::Inference(range) => (range.clone(), usize::MAX),
    };
    let (mut kept, mut passing, mut gradient) = (0, 0, 0);
    for at in layers {
        let (Layer::Conv2d { filters }, &[_, h, w, c_in]) =
            (&net.layers()[at].layer, net.shape_before(at).axes())
        else {
            continue;
        };
        let bytes = cpu::points(&Conv2d { n: 1, h, w, c_in, c_out: *filters });
        if at >= learns {
            gradient = gradient.max(2 * bytes);
        } else if again {
            kept += bytes;
        } else {
            passing = passing.max(bytes);
        }
    }
    kept + passing.max(gradient)
}

impl Estimate<'_> {
    /// Says what is needed, where the device or the system says what there is. Gives its bytes; 0 where nobody knows.
    ///
    /// # Errors
    /// As [`Estimate::check`].
    pub fn tell(&self, host: &Host) -> Result<u64> {
        let Some((bytes, words)) = self.check(host)? else { return Ok(0) };
        host.say(format_args!("memory     needs {words}"));
        Ok(bytes)
    }

    /// What is needed of what there is, in bytes and in words.
    ///
    /// # Errors
    /// [`Kind::Device`] when it does not fit; [`Kind::Interrupted`].
    pub fn check(&self, host: &Host) -> Result<Option<(u64, String)>> {
        Place::of(host)?.map(|place| self.check_in(&place)).transpose()
    }

    fn check_in(&self, place: &Place) -> Result<(u64, String)> {
        let need = self.need(place)?;
        let Capacity { free, total } = place.room;
        let least = if place.cpu { "at least " } else { "" };
        if place.fits(&need) {
            let peak = need.memory.peak;
            return Ok((peak, format!("{least}{} of {}", gib(peak), gib(free))));
        }
        let parts: Vec<String> = KINDS
            .iter()
            .map(|&(kind, name)| (name, need.memory.of_kind(kind)))
            .filter(|&(_, bytes)| bytes > 0)
            .map(|(name, bytes)| format!("{name} {}", gib(bytes)))
            .collect();
        let advice = self.advice(place)?;
        // A plan that was stopped looks like one that does not fit.
        interrupt::check()?;
        Err(Error::new(Kind::Device, format!("this job does not fit into {}", place.name))
            .fact("needed", format!("{least}{} for {}", gib(need.memory.peak), need.doing))
            .fact("of that", parts.join(", "))
            .fact("free", format!("{} of {}", gib(free), gib(total)))
            .help(advice))
    }

    /// The part that needs most.
    fn need(&self, place: &Place) -> Result<Need> {
        let net = self.architecture;
        let (base, end) = (net.base(), net.layers().len());
        let mut parts: Vec<(String, Step, usize)> = Vec::new();
        if self.images > 0 {
            parts.push(("running images".into(), Step::Inference(0..end), self.batch.min(self.images)));
        }
        if let Some(Learning { boundary, samples: [learned, checked], augmented, keeps }) = self.training {
            let batch = self.batch.min(learned.max(1));
            // Images are evaluated as they are trained, activations many at once.
            let many = |place| rows_at_once(self.batch, net.shape_before(place).len());
            let enters = |from: usize| if augmented { 0 } else { from };
            parts.push((
                "training the classifier".into(),
                Step::Training { enters: enters(base), from: base, batches: keeps.batches },
                batch,
            ));
            if checked > 0 {
                parts.push(("validation".into(), Step::Inference(base..end), many(base).min(checked)));
            }
            if boundary < base {
                let name = &net.layers()[boundary].name;
                let step =
                    Step::Training { enters: enters(boundary), from: boundary, batches: keeps.batches };
                parts.push((format!("training from {name} on"), step, batch));
                let many = if boundary == 0 { self.batch } else { many(boundary) };
                if checked > 0 {
                    let step = Step::Inference(boundary..end);
                    parts.push((format!("validation from {name} on"), step, many.min(checked)));
                }
            }
        }
        let mut most = Need { doing: "nothing".into(), memory: Memory::default() };
        for (doing, step, batch) in parts {
            let mut memory = place.memory(net, &step, batch)?;
            if place.cpu {
                let again = self.training.is_some() || self.images > self.batch;
                let bytes = points(net, &step, again);
                memory.peak = memory.peak.saturating_add(bytes);
                *memory.at_peak.entry((Purpose::Scratch, String::new())).or_default() += bytes;
            }
            if let (Step::Training { from, .. }, Some(Learning { keeps, .. })) = (&step, self.training) {
                let bytes = 4 * net.parameters_from(*from) * keeps.states as u64;
                memory.peak += bytes;
                *memory.at_peak.entry((Purpose::Optimizer, String::new())).or_default() += bytes;
            }
            if memory.peak > most.memory.peak {
                most = Need { doing, memory };
            }
        }
        Ok(most)
    }

    /// What would fit: the largest batch, and the lowest boundary above this one.
    fn advice(&self, place: &Place) -> Result<String> {
        let fits = |estimate: &Self| estimate.need(place).is_ok_and(|need| place.fits(&need));
        let mut ways = Vec::new();
        // No more samples run at once than there are.
        let samples = self.training.map_or(0, |training| training.samples.into_iter().max().unwrap_or(0));
        let batch = largest(self.batch.min(samples.max(self.images).max(1)), |batch| {
            interrupt::check()?;
            Ok(fits(&Self { batch, ..*self }))
        })?;
        if batch > 0 {
            ways.push(format!("--batch {batch}"));
        }
        let layers = self.architecture.layers();
        if let Some(training) = self.training {
            let later = (training.boundary + 1..self.architecture.base())
                .filter(|&at| matches!(layers[at].layer, Layer::Conv2d { .. }))
                .find(|&boundary| fits(&Self { training: Some(Learning { boundary, ..training }), ..*self }));
            if let Some(boundary) = later {
                ways.push(format!("--unfreeze-from {}", layers[boundary].name));
            }
        }
        if !ways.is_empty() {
            return Ok(format!("{} would fit", ways.join(", or ")));
        }
        let none =
            if self.training.is_some() { "no batch and no --unfreeze-from fits" } else { "no batch fits" };
        let another = if place.cpu { "a machine with more" } else { "another device (--device cpu)" };
        Ok(format!("{none}; use smaller images (--size), {another}, or end what else holds the memory"))
    }
}

#[cfg(test)]
mod tests;
