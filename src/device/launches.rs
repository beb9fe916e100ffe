//! How the kernels of a step follow each other on a GPU.

use super::Description;
use super::capability::{self, HOPPER};
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// When a kernel of a CUDA graph begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Launches {
    /// When the one before it has ended.
    #[default]
    Serial,
    /// When all blocks of the one before it are past their own wait, or have ended, and there is room (programmatic
    /// dependent launch): it gets ready, and waits by itself (`griddepcontrol.wait`) until the one before has ended.
    /// Kernels that do not wait by themselves begin as in a serial launch.
    Programmatic,
}

impl Launches {
    /// All.
    pub const ALL: [Self; 2] = [Self::Serial, Self::Programmatic];

    /// `serial`, `programmatic`: what `--launches` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Programmatic => "programmatic",
        }
    }

    /// Whether a GPU of this compute capability (90 for 9.0) can do it.
    ///
    /// # Errors
    /// [`Kind::Usage`] for programmatic launches on another GPU than Hopper: later ones can do it, but of their machine
    /// code nobody has looked whether the wait stands in front.
    pub fn check(self, card: &Description, got: u32) -> Result<()> {
        if self == Self::Serial || got == HOPPER {
            return Ok(());
        }
        let error = Error::new(Kind::Usage, "--launches programmatic is for Hopper alone, so far")
            .fact("device", &card.hardware);
        Err(capability::other(error, HOPPER, got).help("leave --launches out"))
    }
}

impl fmt::Display for Launches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Launches {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|launches| launches.name() == text)
            .ok_or_else(|| format!("choose {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programmatic_launches_are_for_hopper() {
        let card = Description { name: "cuda".into(), hardware: "a GPU".into() };
        for (launches, capability, can) in [
            (Launches::Serial, 75, true),
            (Launches::Programmatic, 89, false),
            (Launches::Programmatic, 90, true),
            (Launches::Programmatic, 120, false),
        ] {
            assert_eq!(launches.check(&card, capability).is_ok(), can, "{launches} {capability}");
            assert_eq!(launches.name().parse(), Ok(launches));
        }
        let error = Launches::Programmatic.check(&card, 80).unwrap_err().to_string();
        assert!(error.contains("compute capability 9.0") && error.contains("8.0"), "{error}");
    }
}
