//! Who touches shared memory: warps, and what works for them when they have gone on.
//!
//! In: the number of warps, and whether the program does things later. Out: numbers for clocks and notes.

use std::ops::Range;

/// Most `mbarrier`s of a block that are told apart.
pub const BARRIERS: usize = 128;

/// What a warp or a barrier knows of every agent, in four parts ([`Agents`]): clocks; those clocks whose writes a proxy
/// fence has made visible to the asynchronous proxy; those whose `mbarrier.init`s a `fence.mbarrier_init` has; those of
/// asynchronous work that is over.
pub type Clock = Vec<u32>;

/// The agents of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agents {
    /// Warps: agents 0 and on.
    pub warps: usize,
    /// Whether there are others.
    pub later: bool,
}

/// What an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// A warp.
    Warp(usize),
    /// The `wgmma`s of a warpgroup.
    Wgmma(usize),
    /// The bulk copies out of shared memory of a warp.
    Store(usize),
    /// The bulk copies into shared memory that an `mbarrier` learns of.
    Load(usize),
}

impl Agents {
    /// Most that notes tell apart.
    pub const MOST: usize = 256;

    /// Warpgroups, a last one of fewer warps included.
    pub fn groups(self) -> usize {
        self.warps.div_ceil(4)
    }

    /// How many.
    pub fn count(self) -> usize {
        if self.later { self.number(Agent::Load(BARRIERS)) } else { self.warps }
    }

    /// Numbers of a [`Clock`].
    pub fn stride(self) -> usize {
        if self.later { 4 * self.count() } else { self.warps }
    }

    /// The part of a [`Clock`] of writes that the asynchronous proxy sees.
    pub fn fenced(self) -> Range<usize> {
        self.count()..2 * self.count()
    }

    /// The part of a [`Clock`] of `mbarrier`s that everybody sees.
    pub fn inits(self) -> Range<usize> {
        2 * self.count()..3 * self.count()
    }

    /// The part of a [`Clock`] of copies and `wgmma`s that were waited for: their place may be filled again. To read what
    /// a copy brought takes more, to know of it.
    pub fn over(self) -> Range<usize> {
        3 * self.count()..4 * self.count()
    }

    /// The part of a [`Clock`] that an arrival carries, or a wait brings. A relaxed one orders no load or store of a
    /// thread, but what is over is over, and there is what `fence.mbarrier_init` is for.
    pub fn carried(self, relaxed: bool) -> Range<usize> {
        match (relaxed, self.later) {
            (false, _) => 0..self.stride(),
            (true, true) => self.inits().start..self.over().end,
            (true, false) => 0..0,
        }
    }

    /// An agent's number.
    pub fn number(self, agent: Agent) -> usize {
        match agent {
            Agent::Warp(warp) => warp,
            Agent::Wgmma(group) => self.warps + group,
            Agent::Store(warp) => self.warps + self.groups() + warp,
            Agent::Load(barrier) => 2 * self.warps + self.groups() + barrier,
        }
    }

    /// What a number stands for.
    pub fn agent(self, number: usize) -> Agent {
        let others = self.warps + self.groups();
        if number < self.warps {
            Agent::Warp(number)
        } else if number < others {
            Agent::Wgmma(number - self.warps)
        } else if number < others + self.warps {
            Agent::Store(number - others)
        } else {
            Agent::Load(number - others - self.warps)
        }
    }
}
