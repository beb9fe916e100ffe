//! What one lane of a warp says for the others: nothing, unless they have met.
//!
//! In: who touches shared memory, meets, arrives, fences. Out: what an arrival or a fence of some lanes leaves without order
//! ([`Hole`]), which the checks of `later` ask for. It errs on the side of order.

use super::later::Later;
use super::{Shadow, Shared, Tag};

/// What lanes of a warp did since they last met. A lane's arrival or fence is its own: what others did before it is in order
/// only if they have met it, or arrived (fenced) somewhere themselves, since.
#[derive(Clone, Copy, Default)]
pub(super) struct Since {
    /// The warp's clock when all had met: what it did until then stands for all lanes.
    pub clock: u32,
    /// Lanes that touched shared memory and have neither met others nor arrived anywhere since.
    pub touched: u32,
    /// Lanes that wrote to it and have neither met others nor run a fence of the proxies since.
    pub wrote: u32,
}

/// What an arrival, or a fence of the proxies, at clock `to` of a warp does not order: what `lanes` did behind `from`. Who knows
/// the warp's clock from there, and not from a later one, does not know of that.
#[derive(Clone, Copy)]
pub(super) struct Hole {
    to: u32,
    from: u32,
    lanes: u32,
}

/// Of each warp, in their order. So many are remembered; older ones are taken for order.
const HOLES: usize = 256;

/// Whether `tag` is in a hole of `holes`, for somebody who knows the warp's clock up to `known`.
pub(super) fn is_in(holes: &[Hole], known: u32, tag: Tag) -> bool {
    let hole = holes.iter().rev().find(|hole| hole.to == known);
    hole.is_some_and(|hole| tag.clock() > hole.from && hole.lanes >> tag.lane() & 1 == 1)
}

impl Later {
    /// Notes what an arrival of `lanes` (or `fence`) at a warp's clock leaves without order.
    pub fn leave_out(&mut self, warp: usize, lanes: u32, to: u32, fence: bool) {
        let Since { clock: from, touched, wrote } = self.since[warp];
        let lanes = !lanes & if fence { wrote } else { touched };
        if lanes != 0 {
            let holes = &mut self.holes[warp][usize::from(fence)];
            if holes.len() == HOLES {
                holes.remove(0);
            }
            holes.push(Hole { to, from, lanes });
        }
    }

    /// All lanes of a warp have met when it had come to `clock`.
    pub fn met(&mut self, warp: usize, clock: u32) {
        self.since[warp] = Since { clock, touched: 0, wrote: 0 };
    }
}

impl Shared {
    /// Lanes of a warp touch shared memory.
    #[inline(always)]
    pub fn touch(&mut self, warp: usize, lanes: u32) {
        if let Some(later) = self.shadow.as_mut().and_then(|shadow| shadow.later.as_mut()) {
            later.since[warp].touched |= lanes;
        }
    }

    /// Lanes of a warp meet: what each did before is before what the others do behind it. Of some only that is left to them:
    /// one of them will say so.
    pub fn meet_lanes(&mut self, warp: usize, lanes: u32) {
        let Some(shadow) = &mut self.shadow else { return };
        let Some(later) = &mut shadow.later else { return };
        let since = &mut later.since[warp];
        let some = (since.touched | since.wrote) & lanes != 0;
        since.touched &= !lanes;
        since.wrote &= !lanes;
        if some && since.touched | since.wrote == 0 {
            let clock = &mut shadow.clocks[warp * shadow.stride + warp];
            later.met(warp, *clock);
            *clock += 1;
        }
    }

    /// `lanes` of a warp have arrived somewhere, and so have done for others what they must.
    pub fn arrived_lanes(&mut self, warp: usize, lanes: u32) {
        if let Some(later) = self.shadow.as_mut().and_then(|shadow| shadow.later.as_mut()) {
            later.since[warp].touched &= !lanes;
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
