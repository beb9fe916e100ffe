//! PTX text, read and made ready to run.
//!
//! In: the text that nvcc writes. [`parse()`] makes a [`Module`] of it: names resolved, nothing
//! understood. [`Program::new`] decodes one entry of a module: every opcode known, blocks and their
//! order checked, registers renamed. Unknown opcodes, modifiers and operands are errors that name
//! file, line and text.

mod alu;
pub(crate) mod arith;
mod asynchronous;
mod decode;
mod flight;
mod flow;
mod lex;
mod parse;
mod program;
mod registers;
mod tree;
mod visit;

pub(crate) use alu::instructions;
pub use alu::{Class, Code, spellings};
pub use asynchronous::{Asynchronous, Left, Order, Outside, Spot, Wgmma};
pub use parse::parse;
pub use program::*;
pub use tree::{Function, Module, Place, Space, Variable};

use crate::error::{Error, Kind};

/// A refusal that names the place.
pub(crate) fn refuse(file: &str, line: u32, what: impl Into<String>) -> Error {
    Error::new(Kind::Device, format!("{}:{line}: {}", file, what.into()))
}
