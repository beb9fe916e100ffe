//! What features were made from: all that decides what an extraction gives, and what of it another shares.

use crate::device::Precision;
use crate::error::{Error, Kind, Result};
use crate::files;
use serde::{Deserialize, Serialize};

/// Everything that decides what an extraction gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Version of vgg-ft: other kernels and decoders may give other bits.
    pub engine: String,
    /// The split's folder.
    pub root: String,
    /// SHA-256 of the weights file.
    pub weights: String,
    /// Network, for example `vgg16`.
    pub variant: String,
    /// `[h, w]` of the images.
    pub input: [usize; 2],
    /// How pixels were scaled.
    pub preprocess: String,
    /// How images were resized.
    pub resize: String,
    /// In which numbers the layers were run; rows are f32 whatever it is.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// The last layer run.
    pub layer: String,
    /// Where one folder was parted, how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parted: Option<HeldOut>,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// The images, in row order.
    pub files: Vec<RecipeFile>,
    /// Shape of one row as a batch of one.
    pub row: Vec<usize>,
    /// Class of each row.
    pub labels: Vec<u32>,
}

/// What was held out of a folder for validation. It is written as a pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f32, u64)", into = "(f32, u64)")]
pub struct HeldOut {
    /// The share of each class.
    pub share: f32,
    /// The seed that decided who.
    pub seed: u64,
}

impl From<(f32, u64)> for HeldOut {
    fn from((share, seed): (f32, u64)) -> Self {
        Self { share, seed }
    }
}

impl From<HeldOut> for (f32, u64) {
    fn from(HeldOut { share, seed }: HeldOut) -> Self {
        (share, seed)
    }
}

/// An image that features were made of. It is written as a triple.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(String, u64, u64)", into = "(String, u64, u64)")]
pub struct RecipeFile {
    /// Relative to the split's folder; what is no UTF-8 is replaced.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The sum of its pixels as they were read.
    pub sum: u64,
}

impl From<(String, u64, u64)> for RecipeFile {
    fn from((name, bytes, sum): (String, u64, u64)) -> Self {
        Self { name, bytes, sum }
    }
}

impl From<RecipeFile> for (String, u64, u64) {
    fn from(RecipeFile { name, bytes, sum }: RecipeFile) -> Self {
        (name, bytes, sum)
    }
}

impl Recipe {
    /// Whether rows of `self` and `other` mean the same: all but the images and their labels.
    pub fn comparable(&self, other: &Self) -> bool {
        self.bare() == other.bare()
    }

    /// All but the images and their labels.
    fn bare(&self) -> Self {
        Self { root: String::new(), files: Vec::new(), labels: Vec::new(), ..self.clone() }
    }

    /// A fingerprint of what [`Recipe::comparable`] compares.
    ///
    /// # Errors
    /// As [`Recipe::key`].
    pub fn settings_key(&self) -> Result<String> {
        self.bare().key()
    }

    /// The first setting in which an extraction of other data, or by other numbers, differs from this one, as it is there
    /// and here; images that came or went and the version of vgg-ft do not count.
    pub fn set_otherwise(&self, here: &Self) -> Option<(&'static str, String, String)> {
        let settings = |recipe: &Self| {
            [
                ("data", recipe.root.clone()),
                ("weights", recipe.weights.clone()),
                ("network", recipe.variant.clone()),
                ("size", format!("{}x{}", recipe.input[0], recipe.input[1])),
                ("preprocess", recipe.preprocess.clone()),
                ("resize", recipe.resize.clone()),
                ("precision", recipe.precision.to_string()),
                ("layer", recipe.layer.clone()),
                (
                    "held out",
                    recipe
                        .parted
                        .map_or("none".into(), |HeldOut { share, seed }| format!("{share} by seed {seed}")),
                ),
            ]
        };
        let mut pairs = settings(self).into_iter().zip(settings(here));
        let ((name, there), (_, here)) = pairs.find(|(there, here)| there != here)?;
        Some((name, there, here))
    }

    /// A fingerprint of all of it: two extractions with the same key give the same rows.
    ///
    /// # Errors
    /// None in practice: the fields always serialize.
    pub fn key(&self) -> Result<String> {
        let json = serde_json::to_vec(self).map_err(|e| broken_recipe(&e))?;
        Ok(files::sha256_hex(&json))
    }
}

pub(super) fn broken_recipe(error: &serde_json::Error) -> Error {
    Error::new(Kind::Data, "the extraction's description cannot be written as JSON").fact("reason", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features of earlier versions are known by this text.
    #[test]
    fn a_recipe_is_written_as_pairs_and_triples() {
        let parted = HeldOut { share: 0.2, seed: 7 };
        let file = RecipeFile { name: "cats/1.png".into(), bytes: 1, sum: u64::MAX };
        let written = serde_json::to_string(&(parted, &file)).unwrap();
        assert_eq!(written, r#"[[0.2,7],["cats/1.png",1,18446744073709551615]]"#);
        let read: (HeldOut, RecipeFile) = serde_json::from_str(&written).unwrap();
        assert_eq!(read, (parted, file));
    }

    /// Every field is one or the other: a setting, in which another extraction differs, or of the images.
    #[test]
    fn a_setting_that_differs_is_named() {
        let plain = Recipe {
            engine: "0".into(),
            root: "data".into(),
            weights: "w".into(),
            variant: "vgg16".into(),
            input: [32, 40],
            preprocess: "notebook".into(),
            resize: "nearest".into(),
            precision: Precision::F32,
            layer: "block5_pool".into(),
            parted: None,
            classes: vec!["cats".into(), "dogs".into()],
            files: vec![RecipeFile { name: "cats/1.png".into(), bytes: 1, sum: 2 }],
            row: vec![1, 1, 1, 512],
            labels: vec![0],
        };
        let same = |other: &Recipe| assert_eq!(plain.set_otherwise(other), None);
        same(&plain);
        same(&Recipe { engine: "1".into(), files: Vec::new(), labels: Vec::new(), ..plain.clone() });
        for (other, name, there, here) in [
            (Recipe { root: "more".into(), ..plain.clone() }, "data", "data", "more"),
            (Recipe { weights: "v".into(), ..plain.clone() }, "weights", "w", "v"),
            (Recipe { variant: "vgg11".into(), ..plain.clone() }, "network", "vgg16", "vgg11"),
            (Recipe { input: [32, 48], ..plain.clone() }, "size", "32x40", "32x48"),
            (Recipe { preprocess: "torch".into(), ..plain.clone() }, "preprocess", "notebook", "torch"),
            (Recipe { resize: "bilinear".into(), ..plain.clone() }, "resize", "nearest", "bilinear"),
            (Recipe { precision: Precision::Bf16, ..plain.clone() }, "precision", "f32", "bf16"),
            (Recipe { layer: "block4_pool".into(), ..plain.clone() }, "layer", "block5_pool", "block4_pool"),
            (
                Recipe { parted: Some(HeldOut { share: 0.5, seed: 7 }), ..plain.clone() },
                "held out",
                "none",
                "0.5 by seed 7",
            ),
        ] {
            assert_eq!(plain.set_otherwise(&other), Some((name, there.into(), here.into())), "{name}");
            assert_eq!(plain.comparable(&other), name == "data", "{name}");
        }
    }
}
