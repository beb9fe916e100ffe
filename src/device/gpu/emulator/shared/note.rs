//! Notes on a word of shared memory: who touched it last, what is wrong with an access, how a write treats what is there.
//!
//! In: a clock, an agent, an operation, a lane. Out: 64 bits ([`Tag`]), and conflicts for reports.

/// Who touched a word last: clock, several readers, agent, which bytes of it were written, operation, lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub(super) u64);

pub(super) const SEVERAL: u64 = 1 << 34;

/// Of a word's notes: a `cp.async`, which copies whole words, is on its way to it.
pub(super) const FLYING: u8 = 0x10;
/// It belongs to an `mbarrier`: anything else than its own operations is undefined.
pub(super) const BARRIER: u8 = 0x20;
/// It stands between two variables.
pub(super) const GUARD: u8 = 0x40;
/// Any of these.
pub(super) const CLOSED: u8 = FLYING | BARRIER | GUARD;

impl Tag {
    /// `at` is the operation's number, below 2¹⁷, `clock` below 2²⁹; there are at most 256 agents.
    #[inline(always)]
    pub fn new(clock: u32, agent: usize, at: u32, lane: usize) -> Self {
        Self(u64::from(clock) << 35 | (agent as u64) << 26 | u64::from(at & 0x1_ffff) << 5 | lane as u64)
    }
    #[inline(always)]
    pub(super) fn clock(self) -> u32 {
        (self.0 >> 35) as u32
    }
    /// Of a read: it stands for those of several warps. Of a write: it is volatile or atomic.
    #[inline(always)]
    pub(super) fn several(self) -> bool {
        self.0 & SEVERAL != 0
    }
    /// The warp, or what works for one: a number of [`Agents`](super::Agents).
    #[inline(always)]
    pub fn agent(self) -> usize {
        (self.0 >> 26 & 255) as usize
    }
    /// The lane.
    pub fn lane(self) -> usize {
        (self.0 & 31) as usize
    }
    /// The operation's number.
    pub fn at(self) -> u32 {
        (self.0 >> 5 & 0x1_ffff) as u32
    }
    /// Of a write: the bytes of the word that it stands for, all where nothing was said.
    #[inline(always)]
    pub(super) fn bytes(self) -> u8 {
        match (self.0 >> 22 & 15) as u8 {
            0 => 15,
            some => some,
        }
    }
    /// The note of a write of the bytes `want` behind this one: it stands for what the same warp wrote in the same
    /// stretch, too. A neighbour's write is forgotten.
    #[inline(always)]
    pub(super) fn followed_by(self, new: Self, want: u8) -> Self {
        let same = self.clock() == new.clock() && self.agent() == new.agent();
        Self(new.0 | u64::from(if same { want | self.bytes() } else { want }) << 22)
    }
}

/// What is wrong with an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Nobody wrote this byte.
    Uninitialized(u32),
    /// This address was written or read by the other party, whose access was a write or not.
    Race(u32, Tag, bool),
    /// Here should be an `mbarrier`, which the other party has initialized, or else written, with no order before.
    Unmade(u32, Tag),
    /// An access of this address, which belongs to an initialized `mbarrier`.
    Barrier(u32),
    /// This address belongs to no variable.
    Outside(u32),
    /// The other party wrote this address through the generic proxy, with no fence before a read through the
    /// asynchronous one.
    Proxy(u32, Tag),
}

/// How a write treats what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It collides with all others.
    Plain,
    /// Volatile, relaxed: it does not collide with its like and with atomics.
    Volatile,
    /// It is as volatile, and reads what was there.
    Atomic,
}

/// The note of a word's readers after one more. Several warps that read in the same stretch between
/// barriers become one note that stands for all.
#[inline(always)]
pub(super) fn renewed(old: Tag, new: Tag, warp: usize) -> Tag {
    if old.clock() == new.clock() && (old.several() || old.agent() != warp) {
        Tag(new.0 | SEVERAL)
    } else {
        new
    }
}

/// The bits of a word's bytes that an access touches.
#[inline(always)]
pub(super) fn wanted(address: u32, bytes: u32) -> u8 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << (address % 4) }
}
