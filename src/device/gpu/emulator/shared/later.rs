//! The notes on shared memory of programs that do things later: bulk copies, `wgmma`, `mbarrier`.
//!
//! In: accesses, arrivals, waits, fences. Out: order, or a [`Conflict`]. Here each agent's reads are noted by
//! themselves: warps meet in twos and threes, and a write must come after all readers, not after the last. A
//! bulk copy's bytes belong to nobody until it has arrived; a warp knows of it when it has waited.

use super::{Agent, Agents, Clock, Conflict, SEVERAL, Shadow, Shared, Tag};

/// What such a program needs beside the other notes.
pub struct Later {
    agents: Agents,
    /// Of each agent the last read of each word; empty until it reads.
    readers: Vec<Vec<Tag>>,
}

impl Later {
    pub fn new(agents: Agents) -> Self {
        Self { agents, readers: vec![Vec::new(); agents.count()] }
    }

    pub fn reset(&mut self) {
        self.readers.iter_mut().for_each(|plane| plane.fill(Tag(0)));
    }

    fn plane(&mut self, agent: usize, count: usize) -> &mut [Tag] {
        let plane = &mut self.readers[agent];
        if plane.is_empty() {
            plane.resize(count, Tag(0));
        }
        plane
    }
}

impl Shared {
    /// What somebody who has seen nothing knows.
    pub fn ignorance(&self) -> Clock {
        self.shadow.as_ref().map_or_else(Clock::new, |shadow| vec![0; shadow.stride])
    }

    /// What a warp did so far becomes known to whoever acquires `into`.
    pub fn release(&mut self, warp: usize, into: &mut Clock) {
        let Some(shadow) = &mut self.shadow else { return };
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        into.iter_mut().zip(&*row).for_each(|(known, &clock)| *known = (*known).max(clock));
        row[warp] += 1;
    }

    /// A warp learns what was released into `from`.
    pub fn acquire(&mut self, warp: usize, from: &Clock) {
        let Some(shadow) = &mut self.shadow else { return };
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        row.iter_mut().zip(from).for_each(|(known, &clock)| *known = (*known).max(clock));
    }

    /// How far a warp has come.
    pub fn clock(&self, warp: usize) -> u32 {
        self.shadow.as_ref().map_or(0, |shadow| shadow.clocks[warp * shadow.stride + warp])
    }

    /// Whether a warp knows what another did when that had come to `clock`.
    pub fn knows(&self, warp: usize, other: usize, clock: u32) -> bool {
        self.shadow.as_ref().is_none_or(|shadow| shadow.clocks[warp * shadow.stride + other] >= clock)
    }

    /// A warp learns that an agent has come to `clock`.
    pub fn learn(&mut self, warp: usize, agent: Agent, clock: u32) {
        let Some(shadow) = &mut self.shadow else { return };
        let Some(later) = &shadow.later else { return };
        let known = &mut shadow.clocks[warp * shadow.stride + later.agents.number(agent)];
        *known = (*known).max(clock);
    }

    /// All writes that a warp knows of, its own too, become visible to the asynchronous proxy.
    pub fn fence(&mut self, warp: usize) {
        let Some(shadow) = &mut self.shadow else { return };
        let Some(later) = &shadow.later else { return };
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        let (known, fenced) = row.split_at_mut(later.agents.count());
        fenced.iter_mut().zip(&*known).for_each(|(fenced, &clock)| *fenced = (*fenced).max(clock));
        known[warp] += 1;
    }

    /// Whether what was last written at `address` happened before, for a warp.
    ///
    /// # Errors
    /// The writer, if not.
    pub fn after_write(&self, address: u32, warp: usize) -> Result<(), Conflict> {
        match &self.shadow {
            Some(shadow) => {
                let tag = shadow.writes[(address / 4) as usize];
                if shadow.ordered(warp, tag) { Ok(()) } else { Err(Conflict::Race(address, tag, true)) }
            }
            None => Ok(()),
        }
    }

    /// Notes that a bulk copy is on its way to `bytes` at `address`, begun by `warp`; `tag` is the copy's.
    ///
    /// # Errors
    /// Who touched the bytes with no order before.
    pub fn note_flight(&mut self, address: u32, bytes: u32, warp: usize, tag: Tag) -> Result<(), Conflict> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let words = (address / 4) as usize..((address + bytes) / 4) as usize;
        let mut sound = Tag(0);
        for word in words.clone() {
            let written = shadow.writes[word];
            if written != sound && !shadow.ordered(warp, written) {
                return Err(Conflict::Race(word as u32 * 4, written, true));
            }
            sound = written;
        }
        let Some(later) = &shadow.later else { return Ok(()) };
        for plane in later.readers.iter().filter(|plane| !plane.is_empty()) {
            let mut sound = Tag(0);
            for word in words.clone() {
                let read = plane[word];
                if read != sound && !shadow.ordered(warp, read) {
                    return Err(Conflict::Race(word as u32 * 4, read, false));
                }
                sound = read;
            }
        }
        shadow.writes[words.clone()].fill(tag);
        shadow.init[words].fill(0);
        Ok(())
    }

    /// The bytes of a bulk copy have arrived.
    pub fn land(&mut self, address: u32, bytes: u32) {
        if let Some(shadow) = &mut self.shadow {
            shadow.init[(address / 4) as usize..((address + bytes) / 4) as usize].fill(15);
        }
    }

    /// Whether the asynchronous proxy may read 16 bytes at each of these places for a warp.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_proxy(&self, places: impl Iterator<Item = u32>, warp: usize) -> Result<(), Conflict> {
        let Some(shadow) = &self.shadow else { return Ok(()) };
        let Some(later) = &shadow.later else { return Ok(()) };
        let agents = later.agents;
        let fenced = &shadow.clocks[warp * shadow.stride + agents.count()..];
        let mut sound = Tag(0);
        for place in places {
            let first = (place / 4) as usize;
            for word in first..first + 4 {
                let address = word as u32 * 4;
                if shadow.init[word] != 15 {
                    return Err(Conflict::Uninitialized(address + (!shadow.init[word]).trailing_zeros()));
                }
                let tag = shadow.writes[word];
                if tag == sound {
                    continue;
                }
                if !shadow.ordered(warp, tag) {
                    return Err(Conflict::Race(address, tag, true));
                }
                if tag.agent() < agents.warps && tag.clock() > fenced[tag.agent()] {
                    return Err(Conflict::Proxy(address, tag));
                }
                sound = tag;
            }
        }
        Ok(())
    }

    /// Notes that an agent reads 16 bytes at each of these places.
    pub fn note_proxy(&mut self, places: impl Iterator<Item = u32>, tag: Tag) {
        let Some(shadow) = &mut self.shadow else { return };
        let count = shadow.writes.len();
        let Some(later) = &mut shadow.later else { return };
        let plane = later.plane(tag.agent(), count);
        for place in places {
            let first = (place / 4) as usize;
            plane[first..first + 4].fill(tag);
        }
    }
}

impl Shadow {
    pub(super) fn read_later(
        &mut self,
        address: u32,
        bytes: u32,
        (warp, at, lane): (usize, u32, usize),
    ) -> Result<(), Conflict> {
        let first = (address / 4) as usize;
        let new = Tag::new(self.clocks[warp * self.stride + warp], warp, at, lane);
        let words = first..first + bytes.div_ceil(4) as usize;
        for word in words.clone() {
            let want = wanted(address, bytes);
            if self.init[word] & want != want {
                let missing = (want & !self.init[word]).trailing_zeros();
                return Err(Conflict::Uninitialized(word as u32 * 4 + missing));
            }
            let tag = self.writes[word];
            if !self.ordered(warp, tag) {
                return Err(Conflict::Race(word as u32 * 4, tag, true));
            }
        }
        let count = self.writes.len();
        if let Some(later) = &mut self.later {
            later.plane(warp, count)[words].fill(new);
        }
        Ok(())
    }

    pub(super) fn write_later(
        &mut self,
        address: u32,
        bytes: u32,
        (warp, at, lane): (usize, u32, usize),
        atomic: bool,
    ) -> Result<(), Conflict> {
        let Some(later) = &self.later else { return Ok(()) };
        let loads = later.agents.number(Agent::Load(0));
        let first = (address / 4) as usize;
        let new = Tag::new(self.clocks[warp * self.stride + warp], warp, at, lane);
        for word in first..first + bytes.div_ceil(4) as usize {
            let (want, place) = (wanted(address, bytes), word as u32 * 4);
            let written = self.writes[word];
            // What is on its way is not there yet, and yet in the way.
            let touched = self.init[word] & want != 0 || written.agent() >= loads;
            if atomic && self.init[word] & want != want {
                return Err(Conflict::Uninitialized(place + (want & !self.init[word]).trailing_zeros()));
            }
            if !self.ordered(warp, written)
                && touched
                && written.bytes() & want != 0
                && !(atomic && written.several())
            {
                return Err(Conflict::Race(place, written, true));
            }
            if touched {
                let planes = later.readers.iter().filter(|plane| !plane.is_empty());
                if let Some(plane) = planes.into_iter().find(|plane| !self.ordered(warp, plane[word])) {
                    return Err(Conflict::Race(place, plane[word], false));
                }
            }
            self.init[word] |= want;
            let new = written.followed_by(new, want);
            self.writes[word] = if atomic { Tag(new.0 | SEVERAL) } else { new };
        }
        Ok(())
    }
}

/// The bits of a word's bytes that an access touches.
#[inline(always)]
fn wanted(address: u32, bytes: u32) -> u8 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (address % 4) }
}
