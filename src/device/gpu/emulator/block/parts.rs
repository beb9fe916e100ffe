//! Parts of a warp: lanes that are at one place, while others are elsewhere.
//!
//! In: parts that a branch has made, and the order that the options name. Out: the part that runs next.

use super::Block;
use crate::device::gpu::emulator::grid::Schedule;
use crate::ptx::EXIT;

/// Choices between parts of a warp of which one is made the other way.
const FAIR: u32 = 4096;

/// Lanes of a warp that are at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Block of the program.
    pub at: u32,
    pub lanes: u32,
    /// Whether they wait for other lanes of the warp.
    pub parked: bool,
    /// Whether they wait at a gate until others have run.
    pub waits: bool,
    /// Whether a wait at a gate answers "not yet" the next time.
    pub gives_up: bool,
}

impl Part {
    pub fn new(at: u32, lanes: u32) -> Self {
        Self { at, lanes, parked: false, waits: false, gives_up: false }
    }
}

impl Block<'_, '_> {
    /// Puts a part beside the others of its warp, or together with those at the same place.
    pub(super) fn split(&mut self, index: usize, part: Part) {
        let warp = &mut self.warps[index];
        if part.at == EXIT {
            warp.live &= !part.lanes;
            self.left(index);
            return;
        }
        match warp.parts.iter_mut().find(|other| other.at == part.at) {
            Some(other) => {
                other.lanes |= part.lanes;
                (other.parked, other.waits, other.gives_up) = (false, false, false);
            }
            None => warp.parts.push(part),
        }
    }

    /// The part that runs next; none where all wait for lanes that do not come.
    pub(super) fn choose(&mut self, index: usize) -> Option<usize> {
        let schedule = self.grid.options.schedule;
        let priority = &self.grid.program.priority;
        let parts = &self.warps[index].parts;
        if let [part] = parts.as_slice() {
            return (!part.parked && !part.waits).then_some(0);
        }
        let free = || parts.iter().enumerate().filter(|(_, part)| !part.parked && !part.waits);
        // Now and then the other way round, so that lanes which wait for a lock do not keep out those that hold
        // it.
        self.choices = self.choices.wrapping_add(1);
        let schedule = match schedule {
            Schedule::Lowest if self.choices.is_multiple_of(FAIR) => Schedule::Reverse,
            Schedule::Reverse if self.choices.is_multiple_of(FAIR) => Schedule::Lowest,
            other => other,
        };
        match schedule {
            Schedule::Lowest => free().min_by_key(|(_, part)| priority[part.at as usize]).map(|(k, _)| k),
            // Lanes that must meet wait for each other before the block, whoever comes first.
            Schedule::Reverse => free().max_by_key(|(_, part)| priority[part.at as usize]).map(|(k, _)| k),
            Schedule::Random(seed) => {
                let all: Vec<usize> = free().map(|(k, _)| k).collect();
                if all.is_empty() { None } else { Some(all[self.draw(seed) as usize % all.len()]) }
            }
        }
    }
}
