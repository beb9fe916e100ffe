//! What an extraction left, as `fit` learns from it.
//!
//! In: a folder of features. Out: those of the splits, made alike and of different images, and the base and the network
//! that they belong to.

use super::HeadOptions;
use crate::data::{Features, Recipe, Split};
use crate::error::{Error, Kind, Result};
use crate::model::Architecture;
use crate::task::Host;
use crate::task::base::Base;
use std::collections::HashSet;
use std::path::Path;

/// The features of a folder.
pub(super) struct Extracted {
    /// To learn from.
    pub train: Features,
    /// To check on after every epoch.
    pub validation: Option<Features>,
    /// To judge with at the end.
    pub test: Option<Features>,
}

impl Extracted {
    /// Those of `folder`.
    ///
    /// # Errors
    /// [`Kind::Usage`] when the extraction was stopped; [`Kind::Data`] when the splits do not belong together; those of
    /// [`Features::open`].
    pub fn open(folder: &Path) -> Result<Self> {
        let unfinished = |split| {
            let (whole, partial) = (Features::path(folder, split), Features::partial_path(folder, split));
            (!whole.exists() && partial.exists()).then_some(partial)
        };
        if let Some(partial) = Split::EPOCH.into_iter().find_map(unfinished) {
            return Err(Error::new(
                Kind::Usage,
                format!("{} holds an extraction that was stopped", folder.display()),
            )
            .fact("there", partial.display())
            .help("the same `vgg-ft extract` command goes on with it; or remove that file"));
        }
        let open = |split| Features::open(&Features::path(folder, split));
        let part = |split| Features::path(folder, split).exists().then(|| open(split)).transpose();
        let all = Self {
            train: open(Split::Train)?,
            validation: part(Split::Validation)?,
            test: part(Split::Test)?,
        };
        for (split, other) in [(Split::Validation, &all.validation), (Split::Test, &all.test)] {
            if other.as_ref().is_some_and(|other| !belong_together(all.recipe(), &other.recipe)) {
                return Err(Error::new(
                    Kind::Data,
                    format!("training and {split} features do not belong together"),
                )
                .fact("reason", "other settings, or images that are in both")
                .help("extract both again into one folder"));
            }
        }
        Ok(all)
    }

    /// How they were made.
    pub fn recipe(&self) -> &Recipe {
        &self.train.recipe
    }

    /// Samples of training and of validation.
    pub fn samples(&self) -> [usize; 2] {
        [self.train.labels().len(), self.validation.as_ref().map_or(0, |v| v.labels().len())]
    }

    /// The folders of images that they were made from and that are still there.
    pub fn images(&self) -> impl Iterator<Item = &Path> {
        let splits = [Some(&self.train), self.validation.as_ref(), self.test.as_ref()];
        splits.into_iter().flatten().map(|split| Path::new(&split.recipe.root)).filter(|root| root.is_dir())
    }

    /// The base that they were made with, of `weights` or of the usual place.
    ///
    /// # Errors
    /// [`Kind::Weights`] when those are others.
    pub fn base(&self, host: &Host, weights: Option<&Path>) -> Result<Base> {
        let (recipe, here) = (self.recipe(), host.device.precision());
        if recipe.precision != here {
            host.note(format_args!(
                "the features were made in {} and are learned from in {here}",
                recipe.precision
            ));
        }
        let base = Base::open(host, weights, recipe.preprocess.parse()?)?;
        if base.sha256 != recipe.weights {
            return Err(Error::new(Kind::Weights, "the features were made with other weights")
                .expected_got(&recipe.weights, &base.sha256)
                .help("give the weights of the extraction with --weights, or extract again"));
        }
        Ok(base)
    }

    /// The network with a classifier, and its layer at which they enter.
    ///
    /// # Errors
    /// [`Kind::Usage`] when they end before the base does.
    pub fn architecture(&self, head: &HeadOptions) -> Result<(Architecture, usize)> {
        let recipe = self.recipe();
        let architecture = Architecture::vgg(recipe.variant.parse()?, recipe.input)?;
        let from = architecture.base();
        let last = &architecture.layers()[from - 1].name;
        if recipe.layer != *last {
            return Err(Error::new(Kind::Usage, format!("the features end at {}", recipe.layer))
                .expected_got(last, &recipe.layer)
                .help("extract without --layer: the classifier stands on the whole base"));
        }
        Ok((architecture.with_head(head.head(recipe.classes.len()))?, from))
    }
}

/// Made alike, and from different images.
fn belong_together(train: &Recipe, other: &Recipe) -> bool {
    let known: HashSet<&str> = train.files.iter().map(|file| file.name.as_str()).collect();
    let overlap =
        train.root == other.root && other.files.iter().any(|file| known.contains(file.name.as_str()));
    train.comparable(other) && !overlap
}
