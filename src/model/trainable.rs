//! What learns, as one value: everything from one layer on, and nothing before it.

use super::Architecture;
use crate::error::Result;

/// The freeze boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trainable {
    /// The first layer (by position) that may learn.
    pub from: usize,
}

impl Trainable {
    /// Everything from the layer called `name`.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) when there is no such layer.
    pub fn from(architecture: &Architecture, name: &str) -> Result<Self> {
        Ok(Self { from: architecture.position(name)? })
    }

    /// The classifier alone; the convolutional base is frozen.
    pub fn head(architecture: &Architecture) -> Self {
        Self { from: architecture.base() }
    }

    /// Everything.
    pub fn all() -> Self {
        Self { from: 0 }
    }

    /// Whether the layer at `position` learns.
    pub fn learns(self, position: usize) -> bool {
        position >= self.from
    }
}
