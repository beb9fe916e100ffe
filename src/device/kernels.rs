//! Which kernels a device of kernels takes where there are several for one thing.

use super::capability::{self, HOPPER};
use super::{Description, Precision};
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// Convolutions: as their sums are written or, of f32, with fewer multiply-adds; for all GPUs or, on tensor cores, for
/// one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kernels {
    /// In bf16 and tf32 those of sm_90a where the GPU has them; in f32 Winograd's; else the portable ones. Those of sm_90a
    /// were right and faster on such a GPU (benches/results), but for tf32's gradient of the weights, which no GPU has
    /// run yet.
    #[default]
    Auto,
    /// Those that every GPU runs, each sum as it is written.
    Portable,
    /// Those that every GPU runs, in f32 by Winograd's minimal filtering where channels are many: a quarter of the
    /// multiply-adds. What `auto` takes in f32.
    Winograd,
    /// Hopper's own, of bf16 and tf32, where channels and filters are multiples of 64, and of bf16 VGG16's first block in
    /// one. Tf32's gradient of the weights was never run by a GPU.
    Sm90a,
}

impl Kernels {
    /// All.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Portable, Self::Winograd, Self::Sm90a];

    /// `auto`, `portable`, `winograd`, `sm90a`: what `--kernels` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Portable => "portable",
            Self::Winograd => "winograd",
            Self::Sm90a => "sm90a",
        }
    }

    /// `Auto` decided for a GPU of this compute capability (90 for 9.0).
    ///
    /// # Errors
    /// [`Kind::Usage`] for sm_90a on another GPU, and in a precision that they do not have.
    pub fn decide(self, card: &Description, got: u32, precision: Precision) -> Result<Self> {
        let has = |precision| matches!(precision, Precision::Bf16 | Precision::Tf32);
        match self {
            Self::Auto if got == HOPPER && has(precision) => Ok(Self::Sm90a),
            Self::Auto | Self::Winograd if precision == Precision::F32 => Ok(Self::Winograd),
            Self::Auto | Self::Portable => Ok(Self::Portable),
            Self::Winograd => Err(Error::new(Kind::Usage, "--kernels winograd multiplies f32 alone")
                .expected_got("--precision f32", precision)
                .help("leave --precision out, or --kernels")),
            Self::Sm90a if got != HOPPER => {
                let error = Error::new(Kind::Usage, "--kernels sm90a runs on Hopper alone")
                    .fact("device", &card.hardware);
                Err(capability::other(error, HOPPER, got)
                    .help("leave --kernels out: auto takes what the GPU can run"))
            }
            Self::Sm90a if !has(precision) => {
                Err(Error::new(Kind::Usage, "--kernels sm90a multiplies bf16 and tf32 alone")
                    .expected_got("--precision bf16 or tf32", precision)
                    .help("add --precision bf16, or leave --kernels out"))
            }
            Self::Sm90a => Ok(Self::Sm90a),
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kernels| kernels.name() == text)
            .ok_or_else(|| format!("choose {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_hoppers_on_hopper_in_bf16_and_tf32() {
        let card = Description { name: "plan".into(), hardware: "a GPU".into() };
        let decide = |kernels: Kernels, capability, precision| kernels.decide(&card, capability, precision);
        for (capability, precision, want) in [
            (90, Precision::Bf16, Kernels::Sm90a),
            (90, Precision::Tf32, Kernels::Sm90a),
            (90, Precision::F32, Kernels::Winograd),
            (75, Precision::F32, Kernels::Winograd),
            (90, Precision::Tf32x3, Kernels::Portable),
            (89, Precision::Bf16, Kernels::Portable),
            (100, Precision::Bf16, Kernels::Portable),
        ] {
            assert_eq!(decide(Kernels::Auto, capability, precision).unwrap(), want);
            assert_eq!(decide(Kernels::Portable, capability, precision).unwrap(), Kernels::Portable);
            let asked = decide(Kernels::Sm90a, capability, precision);
            let has = capability == HOPPER && matches!(precision, Precision::Bf16 | Precision::Tf32);
            assert_eq!(asked.is_ok(), has, "{capability} {precision}");
            let asked = decide(Kernels::Winograd, capability, precision);
            assert_eq!(asked.is_ok(), precision == Precision::F32, "{precision}");
        }
        for (capability, precision, part) in [(100, Precision::Bf16, "10.0"), (90, Precision::F32, "tf32")] {
            let error = decide(Kernels::Sm90a, capability, precision).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn names_are_read_or_refused() {
        for kernels in Kernels::ALL {
            assert_eq!(kernels.name().parse(), Ok(kernels));
        }
        assert!("sm_90a".parse::<Kernels>().unwrap_err().contains("sm90a"));
    }
}
