//! The notes on shared memory of programs that do things later: bulk copies, `wgmma`, `mbarrier`.
//!
//! In: accesses, arrivals, waits, fences. Out: order, or a [`Conflict`]. Here each agent's reads are noted by
//! themselves: warps meet in twos and threes, and a write must come after all readers, not after the last. A
//! bulk copy's bytes belong to nobody until it has arrived; a warp knows of it when it has waited.

use crate::ptx::Order;

use super::lanes::{Hole, Since, is_in};
use super::note::{CLOSED, SEVERAL, wanted};
use super::{Agent, Agents, Clock, Conflict, Shadow, Shared, Tag, Write};

/// What an arrival carries of a warp's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// All of it: it is a release.
    All,
    /// It is relaxed: what was over or fenced before, for this scope or a wider one.
    Fenced(Order),
    /// It is a release of a scope that does not reach: what was over.
    Over,
}

/// What fences of one warp let through, for [`Order::Block`] and [`Order::Cluster`]; empty while there is nothing.
#[derive(Clone, Default)]
struct Fences {
    released: [Clock; 2],
    pending: [Clock; 2],
}

/// What such a program needs beside the other notes.
pub struct Later {
    /// Of each warp.
    fences: Vec<Fences>,
    /// Of each warp.
    pub(super) since: Vec<Since>,
    /// Of each warp's arrivals, and of its fences.
    pub(super) holes: Vec<[Vec<Hole>; 2]>,
    /// Of each agent the last read of each word; empty until it reads.
    readers: Vec<Vec<Tag>>,
}

impl Later {
    pub fn new(agents: Agents) -> Self {
        Self {
            fences: vec![Fences::default(); agents.warps],
            since: vec![Since::default(); agents.warps],
            holes: vec![Default::default(); agents.warps],
            readers: vec![Vec::new(); agents.count()],
        }
    }

    pub fn reset(&mut self) {
        self.fences.fill(Fences::default());
        self.since.fill(Since::default());
        self.holes.iter_mut().flatten().for_each(Vec::clear);
        self.readers.iter_mut().for_each(|plane| plane.fill(Tag(0)));
    }

    /// What a relaxed arrival of a warp carries at the cluster's scope beside what is over.
    pub fn released(&self, warp: usize) -> &Clock {
        &self.fences[warp].released[1]
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

    /// What `lanes` of a warp did so far becomes known to whoever acquires `into`, as far as their arrival carries it; of the
    /// others what they did until the warp's lanes last met ([`Hole`]).
    pub fn release(&mut self, warp: usize, lanes: u32, into: &mut Clock, carries: Carries) {
        let Some(shadow) = &mut self.shadow else { return };
        // From now on its clock is ahead of the others'.
        shadow.parted = true;
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        if let Some(later) = &mut shadow.later {
            later.leave_out(warp, lanes, row[warp], false);
        }
        let part = shadow.agents.carried(carries != Carries::All);
        raise(&mut into[part.clone()], &row[part]);
        row[warp] += 1;
        if let (Carries::Fenced(scope), Some(later)) = (carries, &shadow.later) {
            raise(into, &later.fences[warp].released[usize::from(scope == Order::Cluster)]);
        }
    }

    /// A warp learns what was released into `from`; if its wait is relaxed, most of it at its next fence.
    pub fn acquire(&mut self, warp: usize, from: [&Clock; 2], order: Order) {
        let Some(shadow) = &mut self.shadow else { return };
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        let part = shadow.agents.carried(order == Order::Relaxed);
        let [_, cluster] = from;
        raise(&mut row[part.clone()], &from[usize::from(order == Order::Cluster)][part.clone()]);
        if order == Order::Relaxed
            && let Some(later) = &mut shadow.later
        {
            raise(&mut row[part.clone()], &cluster[part]);
            for (pending, from) in later.fences[warp].pending.iter_mut().zip(from) {
                pending.resize(from.len(), 0);
                raise(pending, from);
            }
        }
    }

    /// A fence of a thread: relaxed arrivals behind it carry what came before it, and what relaxed waits before it brought
    /// is known behind it, both within its scope.
    pub fn fence_threads(&mut self, warp: usize, lanes: u32, scope: Order) {
        let Some(shadow) = &mut self.shadow else { return };
        let Some(later) = &mut shadow.later else { return };
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        later.leave_out(warp, lanes, row[warp], false);
        later.arrived(warp, lanes);
        let Fences { released, pending } = &mut later.fences[warp];
        let scopes = if scope == Order::Cluster { 2 } else { 1 };
        pending.iter().take(scopes).for_each(|pending| raise(row, pending));
        released.iter_mut().take(scopes).for_each(|released| row.clone_into(released));
        row[warp] += 1;
    }

    /// How far a warp has come.
    pub fn clock(&self, warp: usize) -> u32 {
        self.shadow.as_ref().map_or(0, |shadow| shadow.clocks[warp * shadow.stride + warp])
    }

    /// Whether a warp knows what another did when that had come to `clock`.
    pub fn knows(&self, warp: usize, other: usize, clock: u32) -> bool {
        self.shadow.as_ref().is_none_or(|shadow| shadow.clocks[warp * shadow.stride + other] >= clock)
    }

    /// A warp learns that asynchronous work has come to `clock`.
    pub fn learn(&mut self, warp: usize, agent: Agent, clock: u32) {
        let Some(shadow) = &mut self.shadow else { return };
        let (agents, number) = (shadow.agents, shadow.agents.number(agent));
        for place in [number, agents.over().start + number] {
            let known = &mut shadow.clocks[warp * shadow.stride + place];
            *known = (*known).max(clock);
        }
    }

    /// Whether a warp knows that asynchronous work is over up to `clock`.
    pub fn is_over(&self, warp: usize, number: usize, clock: u32) -> bool {
        let over =
            |shadow: &Shadow| shadow.clocks[warp * shadow.stride + shadow.agents.over().start + number];
        self.shadow.as_ref().is_none_or(|shadow| over(shadow) >= clock)
    }

    /// All writes that a warp knows of become visible to the asynchronous proxy; of its own what `lanes` wrote, who run the
    /// fence, and of the others what they wrote before they last met or fenced ([`Hole`]).
    pub fn fence(&mut self, warp: usize, lanes: u32) {
        let Some(shadow) = &mut self.shadow else { return };
        let agents = shadow.agents;
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        if let Some(later) = &mut shadow.later {
            later.leave_out(warp, lanes, row[warp], true);
            later.fenced(warp, lanes);
        }
        let (known, others) = row.split_at_mut(agents.count());
        raise(&mut others[..agents.count()], known);
        known[warp] += 1;
    }

    /// The `mbarrier`s that a warp has initialized become visible to whoever meets it, at relaxed barriers too.
    pub fn fence_inits(&mut self, warp: usize) {
        let Some(shadow) = &mut self.shadow else { return };
        let inits = shadow.agents.inits().start;
        let row = &mut shadow.clocks[warp * shadow.stride..][..shadow.stride];
        row[inits + warp] = row[warp];
        row[warp] += 1;
    }

    /// Whether the `mbarrier` at `address` is there for a warp: its initialization, or what was written there since,
    /// happened before.
    ///
    /// # Errors
    /// The writer, if not.
    pub fn after_init(&self, address: u32, warp: usize) -> Result<(), Conflict> {
        let Some(shadow) = &self.shadow else { return Ok(()) };
        let tag = shadow.writes[(address / 4) as usize];
        let inits = &shadow.clocks[warp * shadow.stride..][shadow.agents.inits()];
        if shadow.ordered(warp, tag) || tag.clock() <= inits[tag.agent()] {
            return Ok(());
        }
        Err(Conflict::Unmade(address, tag))
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
            if shadow.init[word] & CLOSED != 0 {
                return Err(shadow.closed(word).unwrap_or(Conflict::Race(word as u32 * 4, written, true)));
            }
            if written != sound && !shadow.behind(warp, written) {
                return Err(Conflict::Race(word as u32 * 4, written, true));
            }
            sound = written;
        }
        let Some(later) = &shadow.later else { return Ok(()) };
        for plane in later.readers.iter().filter(|plane| !plane.is_empty()) {
            let mut sound = Tag(0);
            for word in words.clone() {
                let read = plane[word];
                if read != sound && !shadow.behind(warp, read) {
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
        let agents = shadow.agents;
        let fenced = &shadow.clocks[warp * shadow.stride..][agents.fenced()];
        let mut sound = Tag(0);
        for place in places {
            let first = (place / 4) as usize;
            for word in first..first + 4 {
                let address = word as u32 * 4;
                if shadow.init[word] != 15 {
                    return Err(shadow.unwritten(word, 15));
                }
                let tag = shadow.writes[word];
                if tag == sound {
                    continue;
                }
                if !shadow.follows(warp, tag) {
                    return Err(Conflict::Race(address, tag, true));
                }
                let by = tag.agent();
                let left_out = || {
                    let later = shadow.later.as_ref().filter(|_| by < agents.warps);
                    later.is_some_and(|later| is_in(&later.holes[by][1], fenced[by], tag))
                };
                if by < agents.warps && (tag.clock() > fenced[by] || left_out()) {
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
    /// Whether an access is behind a warp that fills its place anew: known, or asynchronous and over.
    fn behind(&self, warp: usize, tag: Tag) -> bool {
        let over = || self.clocks[warp * self.stride + self.agents.over().start + tag.agent()];
        self.follows(warp, tag) || tag.agent() >= self.agents.warps && tag.clock() <= over()
    }

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
                return Err(self.unwritten(word, want));
            }
            let tag = self.writes[word];
            if !self.follows(warp, tag) {
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
        write: Write,
    ) -> Result<(), Conflict> {
        let alike = write != Write::Plain;
        let Some(later) = &self.later else { return Ok(()) };
        let loads = self.agents.number(Agent::Load(0));
        let first = (address / 4) as usize;
        let new = Tag::new(self.clocks[warp * self.stride + warp], warp, at, lane);
        for word in first..first + bytes.div_ceil(4) as usize {
            let (want, place) = (wanted(address, bytes), word as u32 * 4);
            let written = self.writes[word];
            // What is on its way is not there yet, and yet in the way.
            let touched = self.init[word] & want != 0 || written.agent() >= loads;
            if write == Write::Atomic && self.init[word] & want != want {
                return Err(self.unwritten(word, want));
            }
            if !self.follows(warp, written)
                && touched
                && written.bytes() & want != 0
                && !(alike && written.several())
                || self.init[word] & CLOSED != 0
            {
                return Err(self.closed(word).unwrap_or(Conflict::Race(place, written, true)));
            }
            if touched {
                let planes = later.readers.iter().filter(|plane| !plane.is_empty());
                if let Some(plane) = planes.into_iter().find(|plane| !self.follows(warp, plane[word])) {
                    return Err(Conflict::Race(place, plane[word], false));
                }
            }
            self.init[word] |= want;
            let new = written.followed_by(new, want);
            self.writes[word] = if alike { Tag(new.0 | SEVERAL) } else { new };
        }
        if let Some(later) = &mut self.later {
            later.since[warp].write(lane, self.clocks[warp * self.stride + warp]);
        }
        Ok(())
    }
}

/// Whoever knows `known` learns `more`.
pub(super) fn raise(known: &mut [u32], more: &[u32]) {
    known.iter_mut().zip(more).for_each(|(known, &more)| *known = (*known).max(more));
}
