//! A launch as a plain value, and the check that it passes before it goes anywhere.

use super::driver::Address;
use super::module::Entry;
use crate::device::Dtype;

/// What a device allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads along x, y, z.
    pub block: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block, static and dynamic, without asking for more.
    pub shared: u32,
    /// The same for a kernel that opts in.
    pub shared_opt_in: u32,
}

/// A kernel with everything it is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which kernel.
    pub entry: &'static Entry,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// One for each parameter, in order.
    pub args: Vec<Arg>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A number or a struct, as its bytes.
    Value {
        /// Its name, for reports.
        name: &'static str,
        /// `#[repr(C)]`, without padding that was not written.
        bytes: Vec<u8>,
    },
    /// A buffer.
    Pointer {
        /// The operand's name in the [`Call`](crate::device::Call): "x", "dweight".
        name: &'static str,
        /// Where it begins; 0 for an operand that is not there.
        at: Address,
        /// What it holds.
        dtype: Dtype,
        /// Elements.
        len: usize,
    },
}
