//! What a job shows its network: the images of all splits, and the activations of the layers that stay as they are.
//!
//! In: the splits, the network, the layers at which stages enter. Out: training and validation as parts, the test's
//! images, what could not be read.

use super::conclusion::Validated;
use super::plan::Plan;
use super::{Finetune, some};
use crate::data::{HeldOut, Images, Split};
use crate::error::Result;
use crate::files;
use crate::model::Network;
use crate::task::contents::Listing;
use crate::task::extract;
use crate::task::images::{Skipped, decode, skipped};
use crate::task::parts::{Cache, Part, Ready};
use crate::task::stage::{Seen, Stages};
use crate::task::{Host, run};
use std::path::PathBuf;
use std::sync::Arc;

/// The images of a job.
pub(super) struct Shown {
    /// Training, and validation if there is one.
    pub parts: Vec<Part>,
    /// The folder of the test split, and its images.
    pub test: Option<(PathBuf, Arc<Images>)>,
    /// Those that could not be read.
    pub unread: Vec<Skipped>,
}

impl Shown {
    /// Reads what `plan` has for the run in the folder `run`, and computes what is kept of it. `stages` is told what it
    /// learns from before anything is computed.
    ///
    /// # Errors
    /// Of images, files and device; [`Kind::Data`](crate::error::Kind::Data) when a run that is taken up began with
    /// others.
    pub fn new(
        host: &Host,
        job: &Finetune,
        plan: &Plan,
        network: &Network,
        run: &run::Folder,
        stages: &mut Stages<'_>,
    ) -> Result<Self> {
        let splits = &plan.splits;
        let (features, former) = (run.features(), run.former_features());
        let mut cache =
            Cache { folder: &features, former: former.as_deref(), limit: job.cache_limit, taken: 0 };
        let from = extract::Extraction {
            variant: job.variant,
            base: &plan.base,
            images: &job.images,
            batch: job.head.batch,
            parted: job.validation_split.map(|share| HeldOut { share, seed: job.head.seed }),
        };
        let tested = splits.test.as_ref().map(|folder| some(folder, job.test_images, job.head.seed));
        if let (Some(all), Some(some)) = (&splits.test, &tested)
            && some.len() < all.len()
        {
            host.note(format_args!("{} of {} test images are judged", some.len(), all.len()));
        }
        let mut shown = Self { parts: Vec::new(), test: None, unread: Vec::new() };
        // All are decoded before the long work: what is wrong with them is known then.
        let mut learned = Vec::new();
        for (split, folder) in splits.iter() {
            let folder = tested.as_ref().filter(|_| split == Split::Test).unwrap_or(folder);
            let images =
                decode(host, split.name(), folder, job.size, job.images.resize, &job.images.reading)?;
            let images = Arc::new(images);
            shown.unread.extend(skipped(&folder.root, &images));
            if split == Split::Test {
                shown.test = Some((folder.root.clone(), images));
                continue;
            }
            let parted = job.validation_split.is_some().then_some(folder.root.as_path());
            stages.see(learned.len(), Listing::of_images(&folder.root, &images)?, parted)?;
            learned.push((split, folder, images));
        }
        files::create_dir(&features)?;
        for (split, folder, images) in learned {
            let still = job.stages.iter().zip(&plan.places);
            let kept: Vec<usize> = still
                .filter(|(stage, _)| split != Split::Train || stage.augment.is_none())
                .map(|(_, &place)| place)
                .collect();
            shown.parts.push(Part::new(host, &from, network, (split, folder), images, &kept, &mut cache)?);
        }
        Ok(shown)
    }

    /// What is learned from.
    pub fn train(&self) -> &Part {
        &self.parts[0]
    }

    /// What every epoch is checked on.
    pub fn validation(&self) -> Option<&Part> {
        self.parts.get(1)
    }

    /// The images that must not be among those of training.
    pub fn judges(&self) -> [(Split, Option<&Arc<Images>>); 2] {
        [
            (Split::Validation, self.validation().map(|part| &part.images)),
            (Split::Test, self.test.as_ref().map(|(_, images)| images)),
        ]
    }

    /// How many there are to learn from, and to check on.
    pub fn samples(&self) -> [usize; 2] {
        [self.train().images.len(), self.validation().map_or(0, |part| part.images.len())]
    }

    /// The validation as the last stage has it, by what is `ready` of it.
    pub fn held<'a>(&'a self, plan: &'a Plan, ready: Option<&'a Ready<'_>>) -> Option<Validated<'a>> {
        let (part, folder) = (self.validation()?, plan.splits.validation.as_ref()?);
        let (from, samples) = ready?.samples(*plan.places.last()?);
        Some(Validated { root: &folder.root, files: &part.images.files, from, samples })
    }

    /// Runs all stages. Gives the validation's samples.
    ///
    /// # Errors
    /// Those of [`Part::ready`] and [`Stages::run`].
    pub fn learn(
        &self,
        host: &Host,
        job: &Finetune,
        plan: &Plan,
        network: &mut Network,
        stages: &mut Stages<'_>,
    ) -> Result<Option<Ready<'_>>> {
        let (places, needed) = (&plan.places, plan.needed);
        let rule = job.images.preprocess.rule();
        let augmented = job.stages.iter().map(|stage| stage.augment.is_some());
        let entered: Vec<usize> =
            augmented.zip(places).map(|(a, &place)| if a { 0 } else { place }).collect();
        let mut train = self.train().ready(host, rule, &entered, needed)?;
        let validation = self.validation().map(|part| part.ready(host, rule, places, needed)).transpose()?;
        for (index, (stage, &place)) in job.stages.iter().zip(places).enumerate() {
            let seen = Seen {
                train: train.training(place, stage.augment.as_ref(), job.head.seed),
                validation: validation.as_ref().map(|part| part.samples(place)),
            };
            stages.run(index, stage, network, &seen)?;
        }
        Ok(validation)
    }
}
