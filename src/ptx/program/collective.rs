//! Operations of a whole warp, and of a block's warps together: votes, shuffles, matrices, barriers.

use crate::ptx::alu::Class;

/// A vote: `mode` over `a` in the lanes of the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as PTX names them
pub enum Vote {
    All,
    Any,
    Uni,
    Ballot,
    ActiveMask,
    ReduceAdd,
    ReduceMinS,
    ReduceMaxS,
    ReduceMinU,
    ReduceMaxU,
    ReduceAnd,
    ReduceOr,
    ReduceXor,
    MatchAny,
    Elect,
    /// `bar.warp.sync`: lanes meet, and nothing comes of it.
    Meet,
}

/// A shuffle's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as PTX names them
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// A tensor-core multiplication's operand type and k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiply {
    /// m16n8k8 or m16n8k16, bf16.
    Bf16,
    /// m16n8k8 or m16n8k16, f16.
    F16,
    /// m16n8k4 or m16n8k8, tf32.
    Tf32,
}

/// `ldmatrix`, `stmatrix` and `mma.sync`.
#[derive(Clone, Copy, Debug)]
pub enum Matrix {
    /// Eight-by-eight matrices of 16-bit elements from shared memory.
    Load {
        /// Matrices: 1, 2, 4.
        count: u8,
        /// Whether each is transposed.
        transposed: bool,
        /// One per matrix.
        regs: [u16; 4],
        /// Address register (32 or 64 bits by class).
        base: u16,
        /// Its class.
        base_class: Class,
        /// Added to it.
        offset: i64,
    },
    /// The same the other way.
    Store {
        /// Matrices: 1, 2, 4.
        count: u8,
        /// Whether each is transposed.
        transposed: bool,
        /// One per matrix.
        regs: [u16; 4],
        /// Address register (32 or 64 bits by class).
        base: u16,
        /// Its class.
        base_class: Class,
        /// Added to it.
        offset: i64,
    },
    /// `d = a · b + c`, m16n8kK, f32 accumulators.
    Multiply {
        /// Type of a and b.
        kind: Multiply,
        /// 4, 8 or 16.
        k: u8,
        /// Results.
        d: [u16; 4],
        /// Up to four.
        a: [u16; 4],
        /// One or two.
        b: [u16; 2],
        /// Summands.
        c: [u16; 4],
    },
}

/// Number of the barrier of a cluster, behind those of a block.
pub const CLUSTER_BARRIER: u32 = 16;

/// What a barrier does.
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    /// Slot (class W) of the barrier's number.
    pub id: u16,
    /// Slot (class W) of the number of threads, or [`NONE`](super::NONE) for all of the block.
    pub count: u16,
    /// Whether it is the cluster's, whose number is [`CLUSTER_BARRIER`].
    pub cluster: bool,
    /// Whether the warp waits (`bar.arrive` does not).
    pub waits: bool,
    /// `barrier.cluster.arrive.relaxed`: no order of what came before it.
    pub relaxed: bool,
    /// `bar.red`: slot of the predicate read, its inversion, and what becomes of it.
    pub reduce: Option<Reduce>,
}

/// `bar.red`.
#[derive(Clone, Copy, Debug)]
pub struct Reduce {
    /// The result's slot: class W for `popc`, class P otherwise.
    pub d: u16,
    /// The predicate's slot.
    pub p: u16,
    /// Whether it is inverted.
    pub inverted: bool,
    /// What is made of the block's predicates.
    pub kind: ReduceKind,
}

/// What `bar.red` makes of the block's predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as PTX names them
pub enum ReduceKind {
    Popc,
    And,
    Or,
}
