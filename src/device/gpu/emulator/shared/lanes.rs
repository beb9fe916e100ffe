//! What one lane of a warp says for the others: nothing, unless they have met.
//!
//! In: who touches shared memory, meets, arrives, fences. Out: what an arrival or a fence of some lanes leaves without order
//! ([`Hole`]), which the checks of `later` ask for. A lane that has met any other, or arrived anywhere, is taken to have said
//! to everybody what it did: it errs on the side of order.

use super::later::Later;
use super::{Shadow, Shared, Tag};
use crate::device::gpu::emulator::lanes::{LANES, lanes};

/// What lanes of a warp did and nobody has been told.
#[derive(Clone, Copy, Default)]
pub(super) struct Since {
    /// Lanes that touched shared memory and have neither met others nor arrived anywhere since.
    touched: Lately,
    /// Lanes that wrote to it and have neither met others nor run a fence of the proxies since.
    wrote: Lately,
}

/// Lanes, and behind which clock of the warp each did what it did.
#[derive(Clone, Copy, Default)]
struct Lately {
    lanes: u32,
    from: [u32; LANES],
}

impl Lately {
    /// `all` do something when the warp has come to `clock`.
    #[inline(always)]
    fn add(&mut self, all: u32, clock: u32) {
        let new = all & !self.lanes;
        if new != 0 {
            lanes(new).for_each(|lane| self.from[lane] = clock - 1);
            self.lanes |= new;
        }
    }
}

impl Since {
    /// A lane writes.
    #[inline(always)]
    pub fn write(&mut self, lane: usize, clock: u32) {
        self.touched.add(1 << lane, clock);
        self.wrote.add(1 << lane, clock);
    }
}

/// What an arrival, or a fence of the proxies, at clock `to` of a warp does not order: what lanes did behind their clocks. Who
/// knows the warp's clock from there, and not from a later one, does not know of that.
#[derive(Clone, Copy)]
pub(super) struct Hole {
    to: u32,
    left: Lately,
}

/// Of each warp, in their order. So many are remembered; older ones are taken for order.
const HOLES: usize = 256;

/// Whether `tag` is in a hole of `holes`, for somebody who knows the warp's clock up to `known`.
pub(super) fn is_in(holes: &[Hole], known: u32, tag: Tag) -> bool {
    let hole = holes.iter().rev().find(|hole| hole.to == known);
    let left = hole.map(|hole| &hole.left).filter(|left| left.lanes >> tag.lane() & 1 == 1);
    left.is_some_and(|left| tag.clock() > left.from[tag.lane()])
}

impl Later {
    /// Notes what an arrival of `lanes` (or `fence`) at a warp's clock leaves without order.
    pub fn leave_out(&mut self, warp: usize, lanes: u32, to: u32, fence: bool) {
        let Since { touched, wrote } = &self.since[warp];
        let mut left = if fence { *wrote } else { *touched };
        left.lanes &= !lanes;
        if left.lanes != 0 {
            let holes = &mut self.holes[warp][usize::from(fence)];
            if holes.len() == HOLES {
                holes.remove(0);
            }
            holes.push(Hole { to, left });
        }
    }

    /// `lanes` of a warp have arrived somewhere, or run a fence of threads.
    pub fn arrived(&mut self, warp: usize, lanes: u32) {
        self.since[warp].touched.lanes &= !lanes;
    }

    /// `lanes` of a warp have run a fence of the proxies.
    pub fn fenced(&mut self, warp: usize, lanes: u32) {
        self.since[warp].wrote.lanes &= !lanes;
    }

    /// `lanes` of a warp meet; whether any of them had something to say.
    pub fn met(&mut self, warp: usize, lanes: u32) -> bool {
        let Since { touched, wrote } = &mut self.since[warp];
        let any = (touched.lanes | wrote.lanes) & lanes != 0;
        touched.lanes &= !lanes;
        wrote.lanes &= !lanes;
        any
    }
}

impl Shared {
    /// Lanes of a warp touch shared memory.
    #[inline(always)]
    pub fn touch(&mut self, warp: usize, lanes: u32) {
        if let Some(shadow) = &mut self.shadow
            && let Some(later) = &mut shadow.later
        {
            later.since[warp].touched.add(lanes, shadow.clocks[warp * shadow.stride + warp]);
        }
    }

    /// Lanes of a warp meet: what each did before is before what the others do behind it.
    pub fn meet_lanes(&mut self, warp: usize, lanes: u32) {
        if let Some(shadow) = &mut self.shadow
            && let Some(later) = &mut shadow.later
            && later.met(warp, lanes)
        {
            // What they do from now on is told apart from that.
            shadow.clocks[warp * shadow.stride + warp] += 1;
        }
    }

    /// `lanes` of a warp have arrived somewhere, behind [`Shared::release`].
    pub fn arrived_lanes(&mut self, warp: usize, lanes: u32) {
        if let Some(later) = self.shadow.as_mut().and_then(|shadow| shadow.later.as_mut()) {
            later.arrived(warp, lanes);
        }
    }
}

impl Shadow {
    /// As [`Shadow::ordered`], where one lane may have said so for its warp.
    #[inline(always)]
    pub(super) fn follows(&self, warp: usize, tag: Tag) -> bool {
        let by = tag.agent();
        if !self.ordered(warp, tag) || by >= self.agents.warps || by == warp {
            return self.ordered(warp, tag);
        }
        let known = self.clocks[warp * self.stride + by];
        self.later.as_ref().is_none_or(|later| !is_in(&later.holes[by][0], known, tag))
    }
}
