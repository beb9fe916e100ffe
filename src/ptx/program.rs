//! An entry, ready to run: blocks of operations on numbered slots.
//!
//! In: a [`Function`] of a [`Module`]. Out: a [`Program`], which `device::gpu::emulator` runs. Immediates
//! and special registers are slots that a warp fills once, so that every operand is a slot.

mod collective;

pub use collective::*;

use super::alu::{Class, Code};
use super::asynchronous::Asynchronous;
use super::tree::{Function, Module, Place, Space};
use super::{decode, flight, flow, registers};
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;

/// One operation: at most one result and four operands, all numbers of slots.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// What it does.
    pub code: Code,
    /// Result.
    pub d: u16,
    /// First operand.
    pub a: u16,
    /// Second.
    pub b: u16,
    /// Third.
    pub c: u16,
    /// Fourth.
    pub e: u16,
    /// A number, or an index into one of the program's tables.
    pub imm: u32,
}

impl Op {
    /// An operation without operands yet.
    pub fn new(code: Code) -> Self {
        Self { code, d: 0, a: 0, b: 0, c: 0, e: 0, imm: 0 }
    }
}

/// Where an operation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line of the PTX.
    pub ptx: u32,
    /// Line of the CUDA source.
    pub place: Option<Place>,
}

/// How many bytes one register takes from memory, and how they fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Whether a narrow number's sign fills the register.
    pub signed: bool,
}

/// An atomic's operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as PTX names them
pub enum Atomic {
    AddW,
    AddL,
    AddF,
    AddD,
    MinS,
    MaxS,
    MinU,
    MaxU,
    MinL,
    MaxL,
    MinI,
    MaxI,
    And,
    Or,
    Xor,
    Exchange,
    Compare,
    Inc,
    Dec,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Memory to registers; `nc`: through the path that must not see writes of the launch.
    Load {
        /// `ld.global.nc`
        nc: bool,
    },
    /// Registers to memory.
    Store,
    /// Both; `regs` holds the result (or [`NONE`]), the operand, the second operand of `cas`.
    Atomic(Atomic),
    /// `cp.async`: global at `base + offset` to shared at `regs[0] + second`; `regs[1]` is the source's
    /// size or [`NONE`], `width × vector` the copy's.
    AsyncCopy,
}

/// No slot.
pub const NONE: u16 = u16::MAX;

/// A memory operation.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Load, store, atomic.
    pub group: Group,
    /// Which memory.
    pub space: Space,
    /// Of one register.
    pub width: Width,
    /// Registers: 1, 2 or 4.
    pub vector: u8,
    /// Class of the data registers.
    pub class: Class,
    /// Data registers.
    pub regs: [u16; 4],
    /// The address's register, or [`NONE`].
    pub base: u16,
    /// Its class.
    pub base_class: Class,
    /// Added to the base.
    pub offset: i64,
    /// The second address's offset (`cp.async`).
    pub second: i64,
    /// The second address's class.
    pub second_class: Class,
    /// Whether other threads may change the memory meanwhile (`volatile`, `relaxed`…): no race.
    pub volatile: bool,
    /// Whether its words have four bytes.
    pub usual: bool,
}

/// How a block ends. Targets are blocks; [`EXIT`] ends the thread.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// On to one block.
    Jump(u32),
    /// By a predicate.
    Branch {
        /// Slot of class P.
        p: u16,
        /// Whether the branch is taken where it is not set.
        inverted: bool,
        /// Where to.
        taken: u32,
        /// Where else.
        next: u32,
    },
    /// At a barrier, then on.
    Barrier {
        /// Which.
        barrier: Barrier,
        /// Where then.
        next: u32,
    },
}

/// The end of the thread as a target.
pub const EXIT: u32 = u32::MAX;

/// No gate before a block.
pub const NO_GATE: u32 = u32::MAX;

/// Operations that run one after the other.
#[derive(Clone, Debug)]
pub struct Block {
    /// In [`Program::ops`].
    pub ops: Range<u32>,
    /// How it ends.
    pub end: End,
    /// Line of the end.
    pub line: Line,
    /// Slot (class W) of the mask of lanes that must meet before the block begins.
    pub meet: u16,
    /// The row of [`Program::asynchronous`] that must be passed before the block runs, or [`NO_GATE`].
    pub gate: u32,
}

/// What a permanent slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fixed {
    /// Class W.
    ConstW(u32),
    /// Class L.
    ConstL(u64),
    /// Class P.
    ConstP(bool),
    /// Class W: `%tid.x` …
    Special(Special),
}

/// Special registers, all of class W.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as PTX names them
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Lane,
    Warp,
    Warps,
    MaskEq,
    MaskLt,
    MaskLe,
    MaskGt,
    MaskGe,
    Sm,
    Sms,
    DynamicShared,
    ClusterRank,
    ClusterSize,
    /// `%cluster_ctaid`.
    ClusterCtaid(u8),
    /// `%cluster_nctaid`.
    ClusterNctaid(u8),
    /// `%clusterid`.
    Clusterid(u8),
    /// `%nclusterid`.
    Nclusterid(u8),
}

/// A variable in shared or local memory and where it lies.
#[derive(Clone, Debug)]
pub struct Placed {
    /// `tile`.
    pub name: String,
    /// As it stands in the PTX.
    pub symbol: String,
    /// Bytes from the begin of its space.
    pub offset: u32,
    /// Bytes; 0 for the dynamic part.
    pub size: u32,
    /// Bytes of one element.
    pub element: u32,
}

impl Program {
    /// The bytes of shared memory between variables.
    pub fn guards(&self) -> Vec<Range<u32>> {
        let pairs = self.shared.iter().zip(self.shared.iter().skip(1));
        pairs.filter(|(a, _)| a.size > 0).map(|(a, b)| a.offset + a.size..b.offset).collect()
    }
}

/// An entry, ready to run.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The entry's name.
    pub name: String,
    /// Its blocks in the text's order; the first is the entry.
    pub blocks: Vec<Block>,
    /// The blocks' operations.
    pub ops: Vec<Op>,
    /// One for each operation.
    pub lines: Vec<Line>,
    /// Tables of operations that need more than five slots.
    pub accesses: Vec<Access>,
    /// Votes.
    pub votes: Vec<Vote>,
    /// Shuffles.
    pub shuffles: Vec<(Shuffle, u16)>,
    /// Tensor-core operations.
    pub matrices: Vec<Matrix>,
    /// `mbarrier`, bulk copies, `wgmma`.
    pub asynchronous: Vec<Asynchronous>,
    /// Operations that run in some lanes only.
    pub guarded: Vec<Op>,
    /// Permanent slots: class, number, content.
    pub fixed: Vec<(Class, u16, Fixed)>,
    /// Numbers of slots of class P, W, L.
    pub slots: [u16; 3],
    /// Slots of class P that must be zero when a warp begins: bits of tracked registers.
    pub tracked: Vec<u16>,
    /// Names of the registers that `CheckInit` speaks of.
    pub tracked_names: Vec<String>,
    /// Order in which diverged parts of a warp run: lowest first. One for each block.
    pub priority: Vec<u32>,
    /// Shared variables.
    pub shared: Vec<Placed>,
    /// Bytes of static shared memory, [`SHARED_BASE`] included; dynamic memory begins there.
    pub shared_end: u32,
    /// Local variables.
    pub local: Vec<Placed>,
    /// Bytes of local memory of a thread.
    pub local_size: u32,
    /// Bytes of arguments.
    pub param_size: u32,
    /// Blocks of a cluster, which lie along x: 1 where the kernel names none.
    pub cluster: u32,
    /// Whether it waits for the kernel before it (`griddepcontrol.wait`): it may be launched before that has ended.
    pub awaits: bool,
}

/// First address of user's shared memory; below lies what sm_90 keeps for itself, so that code that
/// counts on address 0 fails here too.
pub const SHARED_BASE: u32 = 1024;
/// Bytes between two shared variables, which belong to none: all banks once, so that conflicts are what they were.
pub const GUARD: u32 = 128;
/// Generic addresses of shared memory begin here.
pub const SHARED_WINDOW: u64 = 0x0100_0000_0000;
/// Generic addresses of local memory begin here.
pub const LOCAL_WINDOW: u64 = 0x0200_0000_0000;
/// Generic addresses of constants begin here.
pub const CONST_WINDOW: u64 = 0x0300_0000_0000;
/// Generic addresses of the launch's arguments begin here.
pub const PARAM_WINDOW: u64 = 0x0400_0000_0000;
/// Bytes of each of these windows.
pub const WINDOW: u64 = 1 << 32;

impl Program {
    /// Decodes `function`. `addresses` gives the module's global variables their places, and constants
    /// their offsets. With `tracked`, registers that may be read before they are written are watched.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device): an opcode, modifier or operand that is not known,
    /// with file, line and text.
    pub fn new(
        module: &Module,
        function: &Function,
        addresses: &HashMap<String, u64>,
        tracked: bool,
    ) -> Result<Self> {
        let mut draft = decode::decode(module, function, addresses)?;
        if !flight::follow(&mut draft.program, tracked) {
            let what = format!("`{}` has too many registers on their way through its blocks", function.name);
            return Err(super::refuse(&module.file, function.line, what));
        }
        registers::rename(module, function, &mut draft, tracked)?;
        draft.program.priority = flow::priorities(&draft.program.blocks);
        Ok(draft.program)
    }
}
