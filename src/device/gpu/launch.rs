//! A launch as a plain value, and the check that it passes before it goes anywhere.
//!
//! A driver that is given one argument too few reads past the list, and reports everything
//! else as "invalid value". So [`Launch::check`] compares with the kernel's signature and
//! the device's limits first, the same way for every driver, and says which number is wrong.

use super::driver::Address;
use super::module::{Entry, Param};
use super::tensor_map;
use crate::device::{Cost, Dtype};
use crate::error::{Error, Kind, Result};
use bytemuck::NoUninit;
use std::fmt;

/// What a device allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Compute capability: 90 for 9.0.
    pub capability: u32,
    /// Multiprocessors; a slice of a GPU has its name, and fewer. No launch is refused for more blocks, but blocks that
    /// stay until all is done want one each.
    pub sms: u32,
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
    /// Which kernel. Two loaded modules may have an entry of one name, for two targets: the address tells
    /// them apart.
    pub entry: &'static Entry,
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// One for each parameter, in order.
    pub args: Vec<Arg>,
    /// What it is for: of the first launch of a call the call's cost, of the second, which adds the parts
    /// of a sum, its own bytes, and what of the call's cost is left to it. Winograd's each have their own. What the
    /// first of two launches leaves to the second is written and read.
    pub cost: Cost,
    /// Bytes of it that no other kernel for the call would save.
    pub compulsory: u64,
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
        /// Where it begins; 0 for an operand that is not there or has no elements.
        at: Address,
        /// What it holds.
        dtype: Dtype,
        /// Elements.
        len: usize,
    },
    /// A struct that holds the addresses of many buffers.
    Table {
        /// Its name, for reports.
        name: &'static str,
        /// As [`Arg::Value`]'s.
        bytes: Vec<u8>,
        /// The buffers.
        operands: Vec<Held>,
    },
    /// A tensor map, by value: `const __grid_constant__ CUtensorMap`.
    Tensor {
        /// The operand's name, as [`Arg::Pointer`]'s.
        name: &'static str,
        /// As [`Driver::tensor_map`](super::driver::Driver::tensor_map) made them.
        bytes: Vec<u8>,
        /// Where the buffer begins.
        at: Address,
        /// What it holds.
        dtype: Dtype,
        /// Elements.
        len: usize,
    },
}

/// A buffer whose address lies in a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// `weight[3]`.
    pub name: String,
    /// Where it begins.
    pub at: Address,
    /// What it holds.
    pub dtype: Dtype,
    /// Elements.
    pub len: usize,
    /// At which byte of the struct its address stands.
    pub place: usize,
}

/// Bytes that a kernel may move by one instruction: where every buffer must begin.
const VECTOR: u64 = 16;

const AXES: [&str; 3] = ["x", "y", "z"];

impl Arg {
    /// A number, or a struct of `params.rs`.
    pub fn value<T: NoUninit>(name: &'static str, value: &T) -> Self {
        Self::Value { name, bytes: bytemuck::bytes_of(value).to_vec() }
    }

    /// An operand that is not there.
    pub fn nothing(name: &'static str, dtype: Dtype) -> Self {
        Self::Pointer { name, at: Address(0), dtype, len: 0 }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Value { name, .. }
            | Self::Pointer { name, .. }
            | Self::Table { name, .. }
            | Self::Tensor { name, .. } => name,
        }
    }

    /// The name and the address of a buffer.
    pub fn place(&self) -> Option<(&'static str, Address)> {
        match self {
            Self::Value { .. } | Self::Table { .. } => None,
            Self::Pointer { name, at, .. } | Self::Tensor { name, at, .. } => Some((name, *at)),
        }
    }

    /// Of a buffer `len` elements from element `first` on; of anything else itself.
    #[must_use]
    pub fn part(&self, first: usize, len: usize) -> Self {
        match self {
            &Self::Pointer { name, at, dtype, .. } => {
                Self::Pointer { name, at: Address(at.0 + (first * dtype.size()) as u64), dtype, len }
            }
            other => other.clone(),
        }
    }

    /// The bytes of the buffer behind it.
    pub fn buffer_bytes(&self) -> u64 {
        match self {
            Self::Value { .. } => 0,
            Self::Pointer { dtype, len, .. } | Self::Tensor { dtype, len, .. } => (dtype.size() * len) as u64,
            Self::Table { operands, .. } => operands.iter().map(|of| (of.dtype.size() * of.len) as u64).sum(),
        }
    }

    /// The bytes that the kernel receives.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Value { bytes, .. } | Self::Table { bytes, .. } | Self::Tensor { bytes, .. } => {
                bytes.clone()
            }
            Self::Pointer { at, .. } => at.0.to_le_bytes().to_vec(),
        }
    }
}

impl Launch {
    /// Whether the kernel and the device can take this.
    ///
    /// # Errors
    /// [`Kind::Device`] for the first thing that does not fit, with the kernel's name and both numbers.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        self.check_args()?;
        for (axis, (got, most)) in AXES.iter().zip(self.block.iter().zip(limits.block)) {
            self.within(format!("the block's {axis} is out of range"), 1, most, *got)?;
        }
        for (axis, (got, most)) in AXES.iter().zip(self.grid.iter().zip(limits.grid)) {
            self.within(format!("the grid's {axis} is out of range"), 1, most, *got)?;
        }
        let threads = self.block.iter().map(|&axis| u64::from(axis)).product();
        self.most("a block has too many threads for the device", limits.threads, threads)?;
        if let Some(most) = self.entry.max_threads {
            self.most("a block has more threads than the kernel was compiled for", most, threads)?;
        }
        let fixed = u64::from(self.entry.static_shared);
        self.most("the kernel declares too much shared memory", limits.shared, fixed)?;
        let shared = fixed + u64::from(self.shared);
        self.most("a block asks for too much shared memory", limits.shared_opt_in, shared)
    }

    /// Whether there is an argument for each of the kernel's parameters, of its size: [`Launch::check`]'s first part, on
    /// which it depends what memory a driver reads.
    ///
    /// # Errors
    /// As [`Launch::check`].
    pub fn check_args(&self) -> Result<()> {
        let params = self.entry.params;
        if params.len() != self.args.len() {
            let names: Vec<_> = self.args.iter().map(Arg::name).collect();
            return Err(self
                .wrong("the number of arguments")
                .expected_got(params.len(), format!("{} ({})", names.len(), names.join(", "))));
        }
        params.iter().zip(&self.args).try_for_each(|(param, arg)| self.check_arg(*param, arg))
    }

    fn check_arg(&self, param: Param, arg: &Arg) -> Result<()> {
        let name = arg.name();
        let size = match arg {
            Arg::Value { bytes, .. } | Arg::Table { bytes, .. } | Arg::Tensor { bytes, .. } => {
                bytes.len() as u64
            }
            Arg::Pointer { .. } => 8,
        };
        if u64::from(param.size) != size {
            return Err(self
                .wrong(format!("the size of `{name}`"))
                .expected_got(format!("{} bytes", param.size), size));
        }
        match arg {
            Arg::Value { .. } | Arg::Table { .. } if !size.is_multiple_of(u64::from(param.align.max(1))) => {
                Err(self
                    .wrong(format!("the alignment of `{name}`"))
                    .expected_got(format!("a multiple of {} bytes", param.align), size))
            }
            Arg::Pointer { .. } if param.align != 8 => Err(self
                .wrong(format!("the kind of `{name}`"))
                .expected_got(format!("8 bytes aligned to {}", param.align), "a pointer, aligned to 8")),
            Arg::Tensor { .. } if size != tensor_map::BYTES as u64 || !param.align.is_multiple_of(64) => {
                Err(self.wrong(format!("the kind of `{name}`")).expected_got(
                    format!("{size} bytes aligned to {}", param.align),
                    "a tensor map, 128 bytes aligned to 64",
                ))
            }
            Arg::Pointer { at, len, .. } | Arg::Tensor { at, len, .. } => self.check_address(name, *at, *len),
            Arg::Table { bytes, operands, .. } => {
                operands.iter().try_for_each(|held| self.check_held(name, bytes, held))
            }
            Arg::Value { .. } => Ok(()),
        }
    }

    fn check_held(&self, table: &str, bytes: &[u8], held: &Held) -> Result<()> {
        self.check_address(&held.name, held.at, held.len)?;
        if bytes.get(held.place..held.place + 8) == Some(&held.at.0.to_le_bytes()) {
            return Ok(());
        }
        Err(self
            .wrong(format!("the place of `{}` in `{table}`", held.name))
            .expected_got(format!("its address at byte {}", held.place), "something else"))
    }

    fn check_address(&self, name: &str, at: Address, len: usize) -> Result<()> {
        let wrong = || self.wrong(format!("the address of `{name}`"));
        if at.0 == 0 && len > 0 {
            return Err(wrong().expected_got(format!("the place of {len} elements"), "0"));
        }
        if !at.0.is_multiple_of(VECTOR) {
            return Err(wrong().expected_got(format!("a multiple of {VECTOR}"), format!("{:#x}", at.0)));
        }
        Ok(())
    }

    fn most(&self, what: &str, most: u32, got: u64) -> Result<()> {
        if got <= u64::from(most) {
            return Ok(());
        }
        Err(self.wrong(what).expected_got(format!("at most {most}"), got))
    }

    fn within(&self, what: String, least: u32, most: u32, got: u32) -> Result<()> {
        if (least..=most).contains(&got) {
            return Ok(());
        }
        Err(self.wrong(what).expected_got(format!("{least} to {most}"), got))
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::new(Kind::Device, format!("{}: {what}", self.entry.name)).help(
            "use a smaller batch or smaller images if the grid is too large; anything else is a bug in vgg-ft (src/device/gpu/lower)",
        )
    }
}
