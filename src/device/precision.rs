//! In which numbers a device of kernels multiplies and keeps what flows between layers.

use super::{Description, Dtype, capability};
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The oldest compute capability whose tensor cores know tf32 and bf16: Ampere.
const AMPERE: u32 = 80;
/// The oldest whose tensor cores know f16, as our kernels multiply it: Turing.
const TURING: u32 = 75;

/// What products are made of and activations are kept as. Parameters and the optimizer's state are f32 in
/// all of them, and all sums are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 throughout, by fused multiply-adds: the cpu's numbers but for the order of sums (and, with `--kernels portable`,
    /// which multiplies as the formula says, but for the cpu's minimal filtering by Winograd).
    #[default]
    F32,
    /// f32 in memory; convolutions, and dense layers forward, multiply on tensor cores, each factor as a sum of two of
    /// tf32 (3xTF32): as near to the true sums as `F32`, by three products for one.
    Tf32x3,
    /// f32 in memory; convolutions multiply on tensor cores, factors rounded to 10 bits behind the point. Dense layers
    /// are those of `Tf32x3`.
    Tf32,
    /// Activations of the base, their gradients and a copy of the convolutions' weights are bf16 (7 bits behind the
    /// point), multiplied on tensor cores.
    Bf16,
    /// As [`Precision::Bf16`] in f16: 10 bits behind the point, but nothing beyond 65504 and little below 6e-5, so that
    /// training scales its loss ([`LossScale`](super::LossScale)). For GPUs that have no bf16.
    F16,
}

impl Precision {
    /// All, the most exact first.
    pub const ALL: [Self; 5] = [Self::F32, Self::Tf32x3, Self::Tf32, Self::F16, Self::Bf16];

    /// What activations and their gradients are kept as.
    pub fn activations(self) -> Dtype {
        match self {
            Self::F32 | Self::Tf32x3 | Self::Tf32 => Dtype::F32,
            Self::Bf16 => Dtype::Bf16,
            Self::F16 => Dtype::F16,
        }
    }

    /// `f32`, `tf32x3`, `tf32`, `f16`, `bf16`: what `--precision` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32x3 => "tf32x3",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl Precision {
    /// The oldest compute capability that can work so: 80 for 8.0.
    pub fn oldest(self) -> u32 {
        match self {
            Self::F32 | Self::F16 => TURING,
            Self::Tf32x3 | Self::Tf32 | Self::Bf16 => AMPERE,
        }
    }

    /// Whether a GPU of this compute capability (90 for 9.0) can work so.
    pub fn runs_on(self, capability: u32) -> bool {
        self == Self::F32 || capability >= self.oldest()
    }

    /// [`Precision::runs_on`], with the reason if it does not.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it cannot.
    pub fn check(self, card: &Description, got: u32) -> Result<()> {
        if self.runs_on(got) {
            return Ok(());
        }
        let who = format!("{} ({})", card.name, card.hardware);
        let error = Error::new(Kind::Usage, format!("{who} cannot work in {self}"));
        Err(capability::older(error, self.oldest(), got)
            .help("use --precision f32 or f16, which run on every GPU since Turing"))
    }

    /// For files: what is not written where it is the default.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| "choose f32, tf32x3, tf32, bf16 or f16".into())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
