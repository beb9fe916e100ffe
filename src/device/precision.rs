//! In which numbers a device of kernels multiplies and keeps what flows between layers.

use super::Dtype;
use std::fmt;

/// What products are made of and activations are kept as. Parameters and the optimizer's state are f32 in
/// all of them, and all sums are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 throughout, by fused multiply-adds: the cpu's numbers but for the order of sums.
    #[default]
    F32,
    /// f32 in memory; convolutions multiply on tensor cores, factors rounded to 10 bits behind the point.
    Tf32,
    /// Activations, their gradients and a copy of the convolutions' weights are bf16 (7 bits behind the
    /// point), multiplied on tensor cores.
    Bf16,
}

impl Precision {
    /// All, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// What activations and their gradients are kept as.
    pub fn activations(self) -> Dtype {
        match self {
            Self::F32 | Self::Tf32 => Dtype::F32,
            Self::Bf16 => Dtype::Bf16,
        }
    }

    /// `f32`, `tf32`, `bf16`: what `--precision` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
