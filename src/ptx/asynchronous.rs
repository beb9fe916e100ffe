//! Operations of sm_90 that begin now and are done later: `mbarrier`, bulk copies, `wgmma`.
//!
//! In: rows that the decoder makes. Out: read by the emulator; the registers that each row names are shown to
//! whoever numbers them. Rows that may have to wait stand at the begin of a block (`Block::gate`).

use super::alu::Class;
use super::program::{Multiply, NONE};
use super::visit::Role;

/// `[base + offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The base's register, or [`NONE`].
    pub base: u16,
    /// Its class.
    pub class: Class,
    /// Added to it.
    pub offset: i64,
}

/// Where in global memory a bulk copy begins or ends.
#[derive(Clone, Debug)]
pub enum Outside {
    /// So many bytes (a slot of class W) from an address on.
    Bytes(Spot, u16),
    /// A box of a tensor.
    Tensor {
        /// The tensor map's generic address.
        map: Spot,
        /// The box's coordinates (slots of class W), innermost first.
        at: Vec<u16>,
        /// im2col: whether the map must be of that mode, and the offsets (slots of class W), innermost first.
        im2col: Option<Vec<u16>>,
    },
}

/// `wgmma.mma_async`: `d = ±a · ±b (+ d)`, m64nNkK, sums in f32.
#[derive(Clone, Debug)]
pub struct Wgmma {
    /// Type of a and b.
    pub kind: Multiply,
    /// Columns of the product: a multiple of 8, at most 256.
    pub n: u16,
    /// Accumulators: n / 2 slots of class W.
    pub d: Vec<u16>,
    /// Where a lies.
    pub a: Left,
    /// The matrix descriptor of b: a slot of class L.
    pub b: u16,
    /// Slot of class P: whether `d` is added.
    pub scale: u16,
    /// Whether a, and b, are negated.
    pub negate: [bool; 2],
    /// Whether a, and b, lie with m, or n, innermost.
    pub transposed: [bool; 2],
}

/// The left operand of a [`Wgmma`].
#[derive(Clone, Copy, Debug)]
pub enum Left {
    /// Shared memory, by a matrix descriptor in a slot of class L.
    Shared(u16),
    /// Four slots of class W.
    Registers([u16; 4]),
}

impl Wgmma {
    /// Registers of class W that hold a; none if it lies in shared memory.
    pub fn factors(&self) -> impl Iterator<Item = u16> + '_ {
        let slots = if let Left::Registers(slots) = &self.a { &slots[..] } else { &[] };
        slots.iter().copied()
    }

    /// Whether its registers may be those of `other`, which is on its way: accumulators of the same shape, summed one after
    /// the other, or factors that both read.
    pub fn may_follow(&self, other: &Self) -> bool {
        let holds = |wgmma: &Self, slot: u16| wgmma.d.contains(&slot);
        let same = self.k() == other.k() && self.d == other.d;
        let summed_on = same || !self.d.iter().any(|&slot| holds(other, slot));
        summed_on
            && !self.factors().any(|slot| holds(other, slot))
            && !other.factors().any(|slot| holds(self, slot))
    }

    /// Products that are summed: 16, or 8 of tf32.
    pub fn k(&self) -> usize {
        if self.kind == Multiply::Tf32 { 8 } else { 16 }
    }
}

/// What an arrival at an `mbarrier`, or a wait, orders: `.sem` and `.scope` of PTX. The two sides must name a scope that
/// holds the other ("morally strong", PTX ISA 9.0, 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing but the barrier itself.
    Relaxed,
    /// `.release.cta`, `.acquire.cta`: what threads of one block did.
    Block,
    /// `.release.cluster`, `.acquire.cluster`: of all blocks of a cluster.
    Cluster,
}

/// A row of `Program::asynchronous`. Slots are of class W unless the text says otherwise.
#[derive(Clone, Debug)]
pub enum Asynchronous {
    /// `mbarrier.init`.
    Init(Spot, u16),
    /// `mbarrier.inval`.
    Invalidate(Spot),
    /// `mbarrier.arrive`.
    Arrive {
        /// The barrier.
        barrier: Spot,
        /// Arrivals; one if [`NONE`].
        count: u16,
        /// `expect_tx`: bytes that are announced first, or [`NONE`].
        bytes: u16,
        /// Slot of class L of the phase that was arrived at, or [`NONE`].
        state: u16,
        /// Whether the address may be that of another block of the cluster.
        remote: bool,
        /// For whom what came before is in order.
        order: Order,
    },
    /// `mbarrier.expect_tx`; with `true`, `mbarrier.complete_tx`.
    Transactions(Spot, u16, bool),
    /// `mbarrier.test_wait` and `try_wait`. A gate.
    Wait {
        /// Result, class P.
        d: u16,
        /// The barrier.
        barrier: Spot,
        /// Slot of the parity, or [`NONE`].
        parity: u16,
        /// Slot of class L of the state that an arrival gave, or [`NONE`].
        state: u16,
        /// Whose past is known behind it.
        order: Order,
    },
    /// `fence.proxy.async`.
    FenceProxy,
    /// `fence.mbarrier_init`.
    FenceInit,
    /// `fence.acq_rel`, `fence.sc` or `membar` in a program with relaxed arrivals or waits; elsewhere it is nothing.
    Fence(Order),
    /// Global to shared memory.
    Load {
        /// In shared memory.
        to: Spot,
        /// In global memory.
        from: Outside,
        /// The `mbarrier` that learns of the bytes.
        barrier: Spot,
        /// Slot of a bit for each block of the cluster that gets them, and whose `mbarrier` at the same place learns of them;
        /// [`NONE`]: the warp's own alone.
        blocks: u16,
    },
    /// Shared to global memory.
    Store {
        /// In global memory.
        to: Outside,
        /// In shared memory.
        from: Spot,
    },
    /// `cp.async.bulk.commit_group`.
    CommitBulk,
    /// `cp.async.bulk.wait_group`: how many groups may be left. `.read` is taken as the whole wait.
    WaitBulk(u32),
    /// `wgmma.fence`.
    FenceWgmma,
    /// `wgmma.mma_async`. A gate.
    Wgmma(Box<Wgmma>),
    /// `wgmma.commit_group`.
    CommitWgmma,
    /// `wgmma.wait_group`. A gate.
    WaitWgmma {
        /// How many groups may be left.
        left: u32,
        /// Registers that may be in flight before: they keep their slots until here.
        flying: Vec<u16>,
    },
    /// `setmaxnreg`: registers of a thread, and whether they grow; then it is a gate.
    Registers(u32, bool),
    /// The machine's own: faults if one of these registers belongs to a `wgmma` that is not waited for.
    Grounded(Vec<u16>),
    /// The machine's own: faults if the `wgmma` of this row has registers of one on its way and may not
    /// ([`Wgmma::may_follow`]).
    Chained(u32),
    /// The machine's own: faults if one of these registers of the `wgmma` behind it was written and not handed over since.
    Unfenced(Vec<u16>),
    /// The machine's own: these registers were written.
    Wrote(Vec<u16>),
}

impl Asynchronous {
    /// Whether it is an arrival or a wait that orders nothing.
    pub fn is_relaxed(&self) -> bool {
        matches!(self, Self::Arrive { order: Order::Relaxed, .. } | Self::Wait { order: Order::Relaxed, .. })
    }

    /// Whether an operation may have to wait, or needs more of the block than one warp's registers.
    pub fn is_gate(&self) -> bool {
        matches!(self, Self::Wait { .. } | Self::Wgmma(_) | Self::WaitWgmma { .. } | Self::Registers(_, true))
    }

    /// Shows `see` every register, operands first.
    pub(super) fn visit(&mut self, see: &mut dyn FnMut(&mut u16, Class, Role)) {
        let mut one = |slot: &mut u16, class: Class, role: Role| {
            if *slot != NONE {
                see(slot, class, role);
            }
        };
        let spot = |spot: &mut Spot, one: &mut dyn FnMut(&mut u16, Class, Role)| {
            one(&mut spot.base, spot.class, Role::Use);
        };
        match self {
            Self::Init(at, count) => {
                spot(at, &mut one);
                one(count, Class::W, Role::Use);
            }
            Self::Invalidate(at) => spot(at, &mut one),
            Self::Arrive { barrier, count, bytes, state, remote: _, order: _ } => {
                spot(barrier, &mut one);
                one(count, Class::W, Role::Use);
                one(bytes, Class::W, Role::Use);
                one(state, Class::L, Role::Def);
            }
            Self::Transactions(at, bytes, _) => {
                spot(at, &mut one);
                one(bytes, Class::W, Role::Use);
            }
            Self::Wait { d, barrier, parity, state, order: _ } => {
                spot(barrier, &mut one);
                one(parity, Class::W, Role::Use);
                one(state, Class::L, Role::Use);
                one(d, Class::P, Role::Def);
            }
            Self::Load { to, from, barrier, blocks } => {
                spot(to, &mut one);
                from.visit(&mut one);
                spot(barrier, &mut one);
                one(blocks, Class::W, Role::Use);
            }
            Self::Store { to, from } => {
                to.visit(&mut one);
                spot(from, &mut one);
            }
            Self::Wgmma(wgmma) => {
                match &mut wgmma.a {
                    Left::Shared(slot) => one(slot, Class::L, Role::Use),
                    Left::Registers(slots) => {
                        slots.iter_mut().for_each(|slot| one(slot, Class::W, Role::Use));
                    }
                }
                one(&mut wgmma.b, Class::L, Role::Use);
                one(&mut wgmma.scale, Class::P, Role::Use);
                wgmma.d.iter_mut().for_each(|slot| one(slot, Class::W, Role::Summand));
            }
            Self::WaitWgmma { flying, .. } | Self::Grounded(flying) => {
                flying.iter_mut().for_each(|slot| one(slot, Class::W, Role::Kept));
            }
            // Their operations, which stand beside them, show their registers themselves.
            Self::Chained(_) => {}
            Self::Unfenced(slots) | Self::Wrote(slots) => {
                slots.iter_mut().for_each(|slot| one(slot, Class::W, Role::Kept));
            }
            Self::Fence(_)
            | Self::FenceProxy
            | Self::FenceInit
            | Self::CommitBulk
            | Self::WaitBulk(_)
            | Self::FenceWgmma
            | Self::CommitWgmma
            | Self::Registers(..) => {}
        }
    }
}

impl Outside {
    fn visit(&mut self, one: &mut dyn FnMut(&mut u16, Class, Role)) {
        match self {
            Self::Bytes(spot, bytes) => {
                one(&mut spot.base, spot.class, Role::Use);
                one(bytes, Class::W, Role::Use);
            }
            Self::Tensor { map, at, im2col } => {
                one(&mut map.base, map.class, Role::Use);
                let all = at.iter_mut().chain(im2col.iter_mut().flatten());
                all.for_each(|slot| one(slot, Class::W, Role::Use));
            }
        }
    }
}
