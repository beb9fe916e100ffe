//! What the arms of a device's `match` on [`Call`](super::Call) share: whether a buffer is what the call
//! needs, and errors that begin with the call's name.

use super::call::{Keeps, ParameterUpdate, Rmsprop};
use super::{Buffer, Dtype};
use crate::error::{Error, Kind, Result};
use crate::shape::Conv2d;
use std::fmt;

/// Said where the caller must be wrong; within the vgg-ft command that is vgg-ft itself.
const BUG: &str = "a call's sizes come from its tensors' shapes: look at what made it (within vgg-ft this is a bug: \
                   please report it)";

/// The call whose arguments are being opened.
#[derive(Clone, Copy)]
pub struct Arm {
    call: &'static str,
}

impl Arm {
    /// For the call of that name.
    pub fn new(call: &'static str) -> Self {
        Self { call }
    }

    /// Whether `buffer` holds `len` elements of `dtype`.
    ///
    /// # Errors
    /// [`Kind::Device`] with what was expected and what it is.
    pub fn fits(&self, name: &str, buffer: &Buffer, dtype: Dtype, len: usize) -> Result<()> {
        if buffer.dtype() == dtype && buffer.len() == len {
            return Ok(());
        }
        Err(self
            .refuse(format!("`{name}` does not fit"))
            .expected_got(format!("{dtype}[{len}]"), format!("{buffer:?}"))
            .help(BUG))
    }

    /// `columns`, if the buffer divides into rows of that many.
    ///
    /// # Errors
    /// [`Kind::Device`] when it does not.
    pub fn columns(&self, name: &str, columns: usize, buffer: &Buffer) -> Result<usize> {
        if columns == 0 || !buffer.len().is_multiple_of(columns) {
            return Err(self
                .refuse(format!("`{name}` does not divide into rows"))
                .expected_got(format!("a multiple of {columns} elements"), buffer.len())
                .help(BUG));
        }
        Ok(columns)
    }

    /// The length of a cast, if `x` and `y` hold as many floating-point numbers.
    ///
    /// # Errors
    /// [`Kind::Device`] naming the one that does not.
    pub fn floats(&self, x: &Buffer, y: &Buffer) -> Result<usize> {
        for (name, buffer) in [("x", x), ("y", y)] {
            if !matches!(buffer.dtype(), Dtype::F32 | Dtype::F16 | Dtype::Bf16) {
                return Err(self
                    .refuse(format!("`{name}` holds no floating-point numbers"))
                    .expected_got("f32, f16 or bf16", buffer.dtype())
                    .help("this is a bug in vgg-ft"));
            }
        }
        self.fits("y", y, y.dtype(), x.len())?;
        Ok(x.len())
    }

    /// Whether `slot`, the `k`-th of its call, has the state that the rule keeps, and no other.
    ///
    /// # Errors
    /// [`Kind::Device`] naming the state.
    pub fn keeps(&self, k: usize, slot: &ParameterUpdate<'_>, keeps: Keeps) -> Result<()> {
        let states = [
            ("velocity", slot.velocity.is_some(), keeps.velocity),
            ("momentum", slot.momentum.is_some(), keeps.momentum),
            ("mean", slot.mean.is_some(), keeps.mean),
        ];
        let words = |there| if there { "a buffer" } else { "none" };
        match states.into_iter().find(|(_, got, expected)| got != expected) {
            None => Ok(()),
            Some((name, got, expected)) => Err(self
                .refuse(format!("`{name}[{k}]` is not what the rule keeps"))
                .expected_got(words(expected), words(got))
                .help("a rule's state does not change between its steps; this is a bug in vgg-ft")),
        }
    }

    /// Whether `rule` is the plain one.
    ///
    /// # Errors
    /// [`Kind::Device`] when it keeps more than a mean square, or has epsilon outside the root.
    pub fn plain(&self, rule: Rmsprop) -> Result<()> {
        if rule.is_plain() {
            return Ok(());
        }
        Err(self
            .refuse("`rule` is not the plain RMSprop")
            .expected_got("no momentum, not centered, epsilon inside the root", format!("{rule:?}"))
            .help("store the gradient and use rmsprop_step; this is a bug in vgg-ft"))
    }

    /// Whether two convolutions are one behind the other.
    pub fn chained(&self, [first, second]: [Conv2d; 2]) -> Result<()> {
        if second == (Conv2d { c_in: first.c_out, c_out: second.c_out, ..first }) {
            return Ok(());
        }
        Err(self
            .refuse("the second convolution does not take what the first one gives")
            .expected_got(first.y(), second.x())
            .help("this is a bug in vgg-ft"))
    }

    /// An error that begins with the call's name.
    pub fn refuse(&self, what: impl fmt::Display) -> Error {
        Error::new(Kind::Device, format!("{}: {what}", self.call))
    }

    /// What follows "while" when the whole call cannot run.
    pub fn running(&self) -> String {
        format!("running {}", self.call)
    }

    /// What follows "while" when an argument cannot be opened.
    pub fn doing(&self, name: &str) -> String {
        format!("opening `{name}` of {}", self.call)
    }
}

/// For copies: the host's bytes must be the buffer's.
///
/// # Errors
/// [`Kind::Device`] with both numbers.
pub fn same_length(verb: &str, buffer: &Buffer, host: usize) -> Result<()> {
    let bytes = buffer.len() * buffer.dtype().size();
    if bytes == host {
        return Ok(());
    }
    Err(Error::new(Kind::Device, format!("{verb}: the host's bytes are not as many as the buffer's"))
        .expected_got(format!("{bytes} bytes"), host)
        .help(BUG))
}
