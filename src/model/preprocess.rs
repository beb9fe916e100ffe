//! How an image's bytes become the network's input. The ImageNet weights of Keras were trained with
//! [`Preprocess::Caffe`]; the notebook feeds them [`Preprocess::Notebook`], which works, but worse.

use crate::device::call::Normalize;
use crate::error::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// A named recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preprocess {
    /// RGB / 255, as the book's notebook.
    Notebook,
    /// BGR minus the ImageNet mean (103.939, 116.779, 123.68), unscaled: `vgg16.preprocess_input`.
    Caffe,
    /// (RGB / 255 - (.485, .456, .406)) / (.229, .224, .225): torchvision.
    Torch,
}

impl Preprocess {
    /// All recipes.
    pub const ALL: [Self; 3] = [Self::Notebook, Self::Caffe, Self::Torch];

    /// The name that the command line and `run.toml` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notebook => "notebook",
            Self::Caffe => "caffe",
            Self::Torch => "torch",
        }
    }

    /// What to do with pixels (RGB, 0 to 255), in words for those who use the network elsewhere.
    pub fn description(self) -> &'static str {
        match self {
            Self::Notebook => "RGB, 0 to 255, divided by 255",
            Self::Caffe => {
                "BGR, 0 to 255, minus (103.939, 116.779, 123.68): keras.applications.vgg16.preprocess_input"
            }
            Self::Torch => {
                "RGB, 0 to 255, divided by 255, minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)"
            }
        }
    }

    /// Order, factors and summands for the device.
    pub fn rule(self) -> Normalize {
        match self {
            Self::Notebook => Normalize { order: [0, 1, 2], scale: [1.0 / 255.0; 3], offset: [0.0; 3] },
            Self::Caffe => {
                Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] }
            }
            Self::Torch => {
                let mean = [0.485f64, 0.456, 0.406];
                let deviation = [0.229f64, 0.224, 0.225];
                let at = |f: fn(f64, f64) -> f64| std::array::from_fn(|c| f(mean[c], deviation[c]) as f32);
                Normalize {
                    order: [0, 1, 2],
                    scale: at(|_, deviation| 1.0 / (255.0 * deviation)),
                    offset: at(|mean, deviation| -mean / deviation),
                }
            }
        }
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preprocess {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no preprocessing called `{name}`"))
                .help("choose notebook, caffe or torch")
        })
    }
}
