//! The members of the family: how many convolutions each has where, and its name.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// A member of the VGG family (Simonyan & Zisserman 2014, configurations A, B, D, E).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Configuration A, 8 convolutions.
    Vgg11,
    /// Configuration B, 10 convolutions.
    Vgg13,
    /// Configuration D, 13 convolutions.
    Vgg16,
    /// Configuration E, 16 convolutions.
    Vgg19,
}

impl Variant {
    /// All members.
    pub const ALL: [Self; 4] = [Self::Vgg11, Self::Vgg13, Self::Vgg16, Self::Vgg19];

    /// Convolutions per block; every block ends in a pooling layer.
    pub fn blocks(self) -> [usize; 5] {
        match self {
            Self::Vgg11 => [1, 1, 2, 2, 2],
            Self::Vgg13 => [2, 2, 2, 2, 2],
            Self::Vgg16 => [2, 2, 3, 3, 3],
            Self::Vgg19 => [2, 2, 4, 4, 4],
        }
    }

    /// Filters per block.
    pub const FILTERS: [usize; 5] = [64, 128, 256, 512, 512];

    /// The name that the command line and `run.toml` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name).ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no network called `{name}`"))
                .help("choose vgg11, vgg13, vgg16 or vgg19")
        })
    }
}
