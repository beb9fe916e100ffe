//! Names and numbers of an augmentation as they stand in `run.toml` and on the command line.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What an angle is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AngleUnit {
    /// As Keras now: 0.2 is next to nothing.
    #[default]
    Degrees,
    /// As Keras when the book was written: 0.2 is 11 degrees.
    Radians,
}

/// What stands outside an image: Keras' `fill_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FillMode {
    /// `aaaa|abcd|dddd`.
    #[default]
    Nearest,
    /// `dcba|abcd|dcba`.
    Reflect,
    /// The image again.
    Wrap,
    /// One level.
    Constant,
}

impl AngleUnit {
    /// All.
    pub const ALL: [Self; 2] = [Self::Degrees, Self::Radians];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Degrees => "degrees",
            Self::Radians => "radians",
        }
    }
}

impl FillMode {
    /// All.
    pub const ALL: [Self; 4] = [Self::Nearest, Self::Reflect, Self::Wrap, Self::Constant];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Reflect => "reflect",
            Self::Wrap => "wrap",
            Self::Constant => "constant",
        }
    }
}

impl FromStr for AngleUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|unit| unit.name() == text);
        found.ok_or_else(|| "choose degrees or radians".into())
    }
}

impl FromStr for FillMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| "choose nearest, reflect, wrap or constant".into())
    }
}

/// A single number z as factors from 1-z to 1+z, or the two factors.
pub fn zoom<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 2], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Zoom {
        Share(f64),
        Factors([f64; 2]),
    }
    match Zoom::deserialize(from) {
        Ok(Zoom::Share(share)) => Ok([1.0 - share, 1.0 + share]),
        Ok(Zoom::Factors(factors)) => Ok(factors),
        Err(_) => Err(D::Error::custom("zoom is a share, such as 0.2, or two factors, such as [0.8, 1.2]")),
    }
}
