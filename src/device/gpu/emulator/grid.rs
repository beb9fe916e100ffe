//! What all blocks of a launch share, and what is counted.
//!
//! In: a program, arguments, memory, the checks wanted. Out: read by every block; [`Statistics`] come
//! back from each worker and are added up.

use super::matrix::Tensor;
use super::memory::{Allocation, Memory};
use crate::device::Dtype;
use crate::ptx::{Module, Program};
use std::sync::Arc;

/// The order in which warps, and diverged parts of a warp, take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Lowest warp, lowest place in the program first.
    #[default]
    Lowest,
    /// The other way round.
    Reverse,
    /// By chance, the same for the same seed.
    Random(u64),
}

/// What the machine does beside running the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bounds and alignment are always checked; with this also what was never written, races in
    /// shared memory, and `ld.global.nc` of what the launch writes.
    pub checked: bool,
    /// Also report plain accesses of different blocks to one place of global memory, or of warps of a block with no barrier
    /// between. Slow, and with all checks of shared memory.
    pub global_races: bool,
    /// `cp.async` arrives when it is waited for, as late as it may; otherwise at once.
    pub late_copies: bool,
    /// Count sectors and bank conflicts.
    pub statistics: bool,
    /// Turn-taking.
    pub schedule: Schedule,
    /// Rounding of tensor-core sums.
    pub tensor: Tensor,
    /// Instructions of a block's warps after which a launch counts as endless.
    pub budget: u64,
    /// Compute capability of the GPU that this stands for (80 for 8.0): which kernels it is given, and how much
    /// shared memory a block may have.
    pub capability: u32,
    /// Threads of this machine; as many as it has when `None`.
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            checked: true,
            global_races: false,
            late_copies: true,
            statistics: false,
            schedule: Schedule::Lowest,
            tensor: Tensor::Fast,
            budget: 1_000_000_000,
            capability: 80,
            threads: None,
        }
    }
}

impl Options {
    /// Without the checks that cost time: for whole models.
    pub fn fast() -> Self {
        Self { checked: false, budget: 20_000_000_000, ..Self::default() }
    }
}

/// A buffer of the launch, for reports.
#[derive(Clone, Debug)]
pub struct Named {
    /// "x", `weight[3]`.
    pub name: String,
    /// Its address.
    pub base: u64,
    /// What it holds.
    pub dtype: Dtype,
}

/// A launch.
pub struct Grid<'l> {
    /// The kernel.
    pub program: &'l Program,
    /// Its module.
    pub module: &'l Module,
    /// The arguments, as the PTX lays them out.
    pub args: Vec<u8>,
    /// Names of its buffers.
    pub named: Vec<Named>,
    /// Global memory in order of address.
    pub memory: Vec<Arc<Allocation>>,
    /// For addresses that were given back.
    pub all: &'l Memory,
    /// The module's constants.
    pub constants: &'l [u8],
    /// Checks.
    pub options: Options,
    /// The launch's number, from 1.
    pub stamp: u32,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic: u32,
    /// Whether this processor has AVX2 and fused multiply-add.
    pub wide: bool,
    /// A thread to follow.
    pub trace: Option<&'l super::trace::Trace>,
    /// Accesses of global memory by block, where they are watched.
    pub owners: Option<super::owners::Owners>,
}

impl Grid<'_> {
    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    /// Warps of a block.
    pub fn warps(&self) -> usize {
        self.threads().div_ceil(32) as usize
    }

    /// Warps of a cluster.
    pub fn warps_of_cluster(&self) -> usize {
        self.warps() * self.program.cluster as usize
    }

    /// A thread's coordinates.
    pub fn thread(&self, number: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [number % x, number / x % y, number / (x * y)]
    }

    /// A block's coordinates.
    pub fn block_at(&self, number: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(u64::from);
        [(number % x) as u32, (number / x % y) as u32, (number / (x * y)) as u32]
    }
}

/// Counts of one block of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// How often a warp ran it.
    pub warps: u64,
    /// Lanes that were active then, together.
    pub lanes: u64,
    /// How often its end sent lanes of one warp to different places.
    pub diverged: u64,
}

/// Counts of one memory access of the program, or of one `ldmatrix` or `stmatrix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Requests of a warp.
    pub requests: u64,
    /// Lanes of those.
    pub lanes: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Global: sectors of 32 bytes touched. Shared: passes through the banks.
    pub passes: u64,
    /// The fewest sectors or passes that these bytes need.
    pub ideal: u64,
}

impl Touched {
    /// Counts those of `other`, too.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.lanes += other.lanes;
        self.bytes += other.bytes;
        self.passes += other.passes;
        self.ideal += other.ideal;
    }
}

/// What a launch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// For each block of the program.
    pub ran: Vec<Ran>,
    /// For each row of `Program::accesses`.
    pub touched: Vec<Touched>,
    /// For each row of `Program::matrices`: the shared memory of `ldmatrix` and `stmatrix`.
    pub matrices: Vec<Touched>,
}

impl Statistics {
    /// Zeros for a program.
    pub fn new(program: &Program) -> Self {
        Self {
            ran: vec![Ran::default(); program.blocks.len()],
            touched: vec![Touched::default(); program.accesses.len()],
            matrices: vec![Touched::default(); program.matrices.len()],
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (a, b) in self.ran.iter_mut().zip(&other.ran) {
            a.warps += b.warps;
            a.lanes += b.lanes;
            a.diverged += b.diverged;
        }
        self.touched.iter_mut().zip(&other.touched).for_each(|(a, b)| a.add(b));
        self.matrices.iter_mut().zip(&other.matrices).for_each(|(a, b)| a.add(b));
        self
    }
}
