//! A classifier of one's own: what it takes of the base's last map, and how large it is.
//!
//! In: names and numbers, as they are typed or stand in `run.toml`. Out: what `Architecture::with_head` puts on a base.

use super::architecture::Layer;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What makes a row of numbers of the base's last map, for the dense layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// All of its numbers: the book's.
    #[default]
    #[serde(rename = "flatten")]
    Flatten,
    /// The mean of each channel: far fewer weights behind it, and the same number whatever the images' size.
    #[serde(rename = "avg")]
    Average,
}

impl Pooling {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Flatten, Self::Average];

    /// The name that the command line and `run.toml` use, that of Keras' `pooling` where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flatten => "flatten",
            Self::Average => "avg",
        }
    }

    /// What [`Pooling::Flatten`] is: what files do not say.
    pub fn is_flatten(&self) -> bool {
        *self == Self::Flatten
    }

    /// The layer, by Keras' name.
    pub(super) fn layer(self) -> (&'static str, Layer) {
        match self {
            Self::Flatten => ("flatten", Layer::Flatten),
            Self::Average => ("global_average_pooling2d", Layer::GlobalAvgpool2d),
        }
    }
}

impl FromStr for Pooling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|pooling| pooling.name() == name).ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no pooling called `{name}`"))
                .help("choose flatten or avg")
        })
    }
}

/// The dense classifier of the book: `Dense(units, relu)`, `Dropout(rate)`, `Dense(1 or classes)`, on all numbers of the
/// map or on its means; without a hidden layer `Dropout(rate)`, `Dense(1 or classes)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// What comes first.
    pub pooling: Pooling,
    /// Units of the hidden layer; 0 for none.
    pub units: usize,
    /// Dropout in front of the last dense layer; 0 for none.
    pub dropout: f32,
    /// Classes; two make one sigmoid unit, more make a softmax.
    pub classes: usize,
}
