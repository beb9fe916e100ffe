//! What is alive on the GPU when, of which kind and for which layer.
//!
//! Kinds are told by when a buffer lives: what was there before the first step are weights, what a step leaves behind
//! is the optimizer's, parts of sums and Winograd's points are scratch; of the rest, what was allocated in the forward
//! pass are activations and inputs, in the backward pass gradients. Bytes are those that were asked for, each rounded
//! up to 256 as the arena of the `cuda` device does.

use super::{BACKWARD, Event, Mark, Record};
use crate::device::gpu::cuda::GRAIN;
use crate::device::gpu::driver::Address;
use std::collections::BTreeMap;

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Parameters.
    Weights,
    /// The optimizer's memory of them.
    Optimizer,
    /// What layers give forward, and what they keep for the way back.
    Activations,
    /// What flows back.
    Gradients,
    /// What one call takes for itself: the parts of sums, Winograd's points, a turned weight.
    Scratch,
}

/// All kinds with their names, in the order of reports.
pub const KINDS: [(Kind, &str); 5] = [
    (Kind::Weights, "weights"),
    (Kind::Optimizer, "optimizer"),
    (Kind::Activations, "activations"),
    (Kind::Gradients, "gradients"),
    (Kind::Scratch, "scratch"),
];

/// Bytes by kind and label.
type Bytes = BTreeMap<(Kind, String), u64>;

/// What a record says of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Alive at once, at most, in any step.
    pub peak: u64,
    /// What was alive then.
    pub at_peak: Bytes,
    /// What was alive when the last way back began; nothing where there was none.
    pub at_backward: Bytes,
}

/// What kernels call what is scratch.
const SCRATCH: [&str; 6] = ["parts", "biases", "points", "sums", "turned", "ranges"];

struct Life {
    bytes: u64,
    label: String,
    kind: Kind,
}

impl Memory {
    /// Follows `record` from its beginning.
    pub fn of(record: &Record) -> Self {
        let lives = lives(record);
        let mut memory = Self::default();
        let (mut now, mut live) = (Bytes::new(), 0);
        let mut back = false;
        for event in &record.events {
            match event {
                Event::Alloc { at, label, .. } => {
                    back = memory.turn(back, label, &now);
                    let life = &lives[at];
                    *now.entry(life.key()).or_default() += life.bytes;
                    live += life.bytes;
                    if live > memory.peak {
                        (memory.peak, memory.at_peak) = (live, now.clone());
                    }
                }
                Event::Free(at) => {
                    // What was there before the record began is not its own.
                    if let Some(life) = lives.get(at) {
                        live -= life.bytes;
                        if let Some(bytes) = now.get_mut(&life.key()) {
                            *bytes -= life.bytes;
                        }
                    }
                }
                Event::Launch { label, .. } => back = memory.turn(back, label, &now),
                Event::Mark(_) => back = false,
            }
        }
        for bytes in [&mut memory.at_peak, &mut memory.at_backward] {
            bytes.retain(|_, bytes| *bytes > 0);
        }
        memory
    }

    /// Bytes of `kind` at the peak.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        self.at_peak.iter().filter(|((of, _), _)| *of == kind).map(|(_, bytes)| bytes).sum()
    }

    /// Remembers what is alive when the way back begins.
    fn turn(&mut self, back: bool, label: &str, now: &Bytes) -> bool {
        let backward = label.ends_with(BACKWARD);
        if backward && !back {
            self.at_backward.clone_from(now);
        }
        back || backward
    }
}

impl Life {
    fn key(&self) -> (Kind, String) {
        (self.kind, self.label.clone())
    }
}

/// Every allocation of the record with its kind.
fn lives(record: &Record) -> BTreeMap<Address, Life> {
    let mut lives = BTreeMap::new();
    let mut steps = 0;
    let mut open = Vec::new();
    for event in &record.events {
        match event {
            Event::Alloc { at, bytes, label } => {
                let kind = match (steps, label.ends_with(BACKWARD)) {
                    (0, _) if &**label == "optimizer" => Kind::Optimizer,
                    (0, _) => Kind::Weights,
                    (_, true) => Kind::Gradients,
                    (_, false) => Kind::Activations,
                };
                let label = label.trim_end_matches(BACKWARD).to_owned();
                lives.insert(*at, Life { bytes: bytes.next_multiple_of(GRAIN), label, kind });
                open.push(*at);
            }
            Event::Free(at) => open.retain(|open| open != at),
            Event::Launch { launch, .. } => {
                for (name, at) in launch.args.iter().filter_map(|arg| arg.place()) {
                    if SCRATCH.contains(&name)
                        && let Some(life) = lives.get_mut(&at)
                        && life.kind != Kind::Weights
                    {
                        life.kind = Kind::Scratch;
                    }
                }
            }
            Event::Mark(mark) => {
                if steps > 0 {
                    for at in &open {
                        if let Some(life) = lives.get_mut(at)
                            && life.kind != Kind::Weights
                        {
                            life.kind = Kind::Optimizer;
                        }
                    }
                }
                steps += usize::from(*mark == Mark::Step);
            }
        }
    }
    lives
}
