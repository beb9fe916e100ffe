//! What a kernel did wrong, and how a person is told.
//!
//! In: the place in the program, block and thread, facts. Out: an [`Error`] with the kernel's source line.

use crate::error::{Error, Kind};
use crate::ptx::{Line, Module};

/// The checks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An address that belongs to no variable.
    Bounds,
    /// An address that the access does not divide.
    Alignment,
    /// Memory or a register that nobody wrote.
    Uninitialized,
    /// Two threads at one place without a barrier between them.
    Race,
    /// A barrier that a part of a warp reached.
    BarrierDivergence,
    /// Nobody can go on.
    Deadlock,
    /// A write to constants.
    ConstWrite,
    /// `ld.global.nc` of memory that the launch writes.
    ReadOnly,
    /// `trap`.
    Trap,
    /// Too many instructions.
    Endless,
    /// No fence between the generic and the asynchronous proxy.
    Proxy,
    /// A register that belongs to a `wgmma` on its way.
    InFlight,
    /// A wrong use of an `mbarrier`.
    Mbarrier,
    /// A bulk copy that cannot be, or that nobody waits for.
    Bulk,
    /// A wrong use of `wgmma`.
    Wgmma,
    /// More registers than a block has.
    Registers,
    /// No wait for the kernel before, which may still run.
    Predecessor,
    /// A wrong use of another block of the cluster.
    Cluster,
}

/// What went wrong, where.
#[derive(Debug)]
pub struct Fault {
    /// Which check found it.
    pub check: Check,
    /// One line: "write past the end of `y`".
    pub what: String,
    /// Where in the kernel.
    pub line: Line,
    /// The block.
    pub block: [u32; 3],
    /// The thread, where one is to blame.
    pub thread: Option<[u32; 3]>,
    /// More, by name.
    pub facts: Vec<(String, String)>,
    /// What to look for.
    pub help: String,
}

/// `(224, 0, 0)`.
pub fn triple([x, y, z]: [u32; 3]) -> String {
    format!("({x}, {y}, {z})")
}

/// `kernels/dense.cu:58`, or the line of the PTX where there is no source.
pub fn place(module: &Module, line: Line) -> String {
    line.place.map_or_else(|| format!("{}:{}", module.file, line.ptx), |place| module.place(place))
}

impl Fault {
    /// For people.
    pub fn report(&self, module: &Module, kernel: &str) -> Error {
        let mut error = Error::new(Kind::Device, format!("emulator: {}", self.what))
            .fact("kernel", format!("{kernel}   {}", place(module, self.line)));
        if let Some(text) = module.lines.get((self.line.ptx as usize).wrapping_sub(1)) {
            error = error.fact("instruction", text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        error = match self.thread {
            Some(thread) => {
                error.fact("thread", format!("{} of block {}", triple(thread), triple(self.block)))
            }
            None => error.fact("block", triple(self.block)),
        };
        for (name, value) in &self.facts {
            error = error.fact(name.clone(), value);
        }
        if self.help.is_empty() { error } else { error.help(self.help.clone()) }
    }
}
