//! What is known of a job before one of its images is read.
//!
//! In: the job. Out: its splits, its network, the room that it needs and the base's weights; or what is wrong with them.

use super::Finetune;
use super::origin::other_classes;
use crate::data::{Folder, Splits};
use crate::error::Result;
use crate::model::classes::told_from;
use crate::model::{Architecture, Network};
use crate::task::Host;
use crate::task::base::Base;
use crate::task::course::StageConfig;
use crate::task::earlier;
use crate::task::estimate::{Estimate, Keeps, Learning};
use crate::task::extract::misleading;
use crate::task::remarks::unvalidated;
use crate::task::run::{Begin, Config};

/// What a job goes by.
pub(super) struct Plan {
    /// The images' folders.
    pub splits: Splits,
    architecture: Architecture,
    /// The layers from which on each stage's network may differ from the base: all below is the base's for good.
    pub places: Vec<usize>,
    /// Bytes of the device that it needs.
    pub needed: u64,
    /// The weights that it begins with.
    pub base: Base,
}

impl Plan {
    /// That of `job`, with remarks on what may have been meant otherwise.
    ///
    /// # Errors
    /// Of data, classes, stages, room and weights.
    pub fn new(host: &Host, job: &Finetune) -> Result<Self> {
        let splits = earlier::splits(&job.data, job.validation_split, job.head.seed, job.earlier.as_ref())?;
        misleading(host, &splits);
        let classes = &splits.train.classes;
        named_classes(host, job, classes)?;
        if splits.validation.is_none() {
            unvalidated(host, &job.stages, "--validation-split 0.2 holds back a fifth of the images");
        }
        let architecture = architecture(job, &splits)?;
        job.stages.iter().try_for_each(|stage| stage.suits(&architecture, classes))?;
        if job.begin != Begin::Resume {
            job.stages.iter().try_for_each(|stage| stage.unfreezes(&architecture))?;
        }
        let places = places(&architecture, &job.stages)?;
        let needed = estimate(job, &architecture, &places, &splits).tell(host)?;
        let base = base(host, job)?;
        Ok(Self { splits, architecture, places, needed, base })
    }

    /// The classes of the data.
    pub fn classes(&self) -> &[String] {
        &self.splits.train.classes
    }

    /// The network before its first step.
    ///
    /// # Errors
    /// Of weights and device.
    pub fn network(&self, host: &Host, job: &Finetune, config: &Config) -> Result<Network> {
        if !job.trained_classifier && self.base.weights.lineage().has_own_classifier() {
            host.note(
                "the file's own classifier is left out, and a new one begins at random; `vgg-ft predict` asks the \
                 file's, and `finetune --from RUN` keeps that of a run",
            );
        }
        self.base.network(host, self.architecture.clone(), config.training.classifier_seed())
    }
}

/// The weights that `job` begins with.
fn base(host: &Host, job: &Finetune) -> Result<Base> {
    let base = Base::open(host, job.images.weights.as_deref(), job.images.preprocess)?;
    if let Some(named) = job.named_weights.as_ref().filter(|named| **named != base.sha256) {
        host.note(format_args!(
            "these are not the weights that the job began with, whose sha256 is {}…",
            named.get(..12).unwrap_or(named)
        ));
    }
    Ok(base)
}

fn architecture(job: &Finetune, splits: &Splits) -> Result<Architecture> {
    Architecture::vgg(job.variant, job.size)?.with_head(job.head.head(splits.train.classes.len()))
}

/// Says where the classes of the data are not those that a configuration names.
///
/// # Errors
/// [`Kind::Data`](crate::error::Kind::Data) when the classifier has learned those.
fn named_classes(host: &Host, job: &Finetune, classes: &[String]) -> Result<()> {
    if job.named_classes.is_empty() || job.named_classes == classes {
        return Ok(());
    }
    if job.trained_classifier {
        return Err(other_classes(job, classes));
    }
    host.note(format_args!(
        "the classes are those of the data, {}, not {} as in the configuration",
        told_from(classes, &job.named_classes),
        told_from(&job.named_classes, classes)
    ));
    Ok(())
}

/// Whether the memory has room for the job on `splits`.
///
/// # Errors
/// Those of [`Estimate::check`], and of the job's numbers.
pub(in crate::task) fn fits(host: &Host, job: &Finetune, splits: &Splits) -> Result<()> {
    let architecture = architecture(job, splits)?;
    let places = places(&architecture, &job.stages)?;
    estimate(job, &architecture, &places, splits).check(host).map(|_| ())
}

fn estimate<'a>(
    job: &Finetune,
    architecture: &'a Architecture,
    places: &[usize],
    splits: &Splits,
) -> Estimate<'a> {
    let of = |split: &Option<Folder>| split.as_ref().map_or(0, Folder::len);
    let samples = [splits.train.len(), of(&splits.validation)];
    let tested = job.test_images.unwrap_or(usize::MAX).min(of(&splits.test));
    Estimate {
        architecture,
        batch: job.head.batch,
        images: samples.iter().sum::<usize>() + tested,
        training: Some(Learning {
            boundary: places.iter().copied().min().unwrap_or_default(),
            samples,
            augmented: job.stages.iter().any(|stage| stage.augment.is_some()),
            keeps: Keeps::of(&job.stages),
        }),
    }
}

/// The layers from which on each stage's network may differ from the base: all below is the base's for good.
fn places(architecture: &Architecture, stages: &[StageConfig]) -> Result<Vec<usize>> {
    let mut lowest = usize::MAX;
    stages
        .iter()
        .map(|stage| {
            lowest = lowest.min(stage.boundary(architecture)?);
            Ok(lowest)
        })
        .collect()
}
