//! `--from`: a job that begins with the network of a finished run, its classifier included.
//!
//! In: the run's folder. Out: the job with that network, fed as it was trained; or why the data are not for it.

use super::Finetune;
use crate::data::Splits;
use crate::error::{Error, Kind, Result};
use crate::files::quoted;
use crate::model::Pooling;
use crate::model::classes::{composed_otherwise, told_from};
use crate::task::ImageOptions;
use crate::task::earlier::{Earlier, job_file};
use crate::task::run::{Begin, MODEL, RUN, Run};
use std::path::{Path, PathBuf};

/// A run that a job begins with.
pub struct Origin {
    run: Run,
    weights: PathBuf,
}

impl Origin {
    /// The run in the folder `run`.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is no finished run; [`Kind::Weights`] when its weights are missing, [`Kind::Data`] when they
    /// are of another run.
    pub fn open(run: &Path) -> Result<Self> {
        let opened = Run::open(run)?;
        opened.weights()?;
        Ok(Self { run: opened, weights: run.join(MODEL) })
    }

    /// The file of its weights.
    pub fn weights(&self) -> PathBuf {
        self.weights.clone()
    }

    /// The dropout that it was trained with.
    pub fn dropout(&self) -> f32 {
        self.run.config.network.dropout
    }

    /// What its classifier takes of the last map.
    pub fn pooling(&self) -> Pooling {
        self.run.config.network.pooling
    }

    /// The units of its hidden layer; 0 for none.
    pub fn units(&self) -> usize {
        self.run.config.network.units
    }

    /// The seed that decided who was held out.
    pub fn seed(&self) -> u64 {
        self.run.config.training.split_seed()
    }

    /// The share of `data` that it held out, where that has no validation folder.
    pub fn validation_split(&self, data: &Path) -> Option<f32> {
        let validated = Splits::open(data, None, 0).is_ok_and(|splits| splits.validation.is_some());
        self.run.config.training.validation_split.filter(|_| !validated)
    }

    /// `job` with its network, fed as it was trained; what it learned from and held out stays where it was.
    ///
    /// # Errors
    /// [`Kind::Data`] for names in its `run.toml` that this version does not know; those of its lists.
    pub fn network(self, job: Finetune) -> Result<Finetune> {
        let earlier = match Earlier::of(&self.run, &job.data) {
            // They would only have told of pixels; and what goes on has lists of its own.
            Err(_) if job.validation_split.is_none() || goes_on(&job) => None,
            earlier => earlier?,
        };
        let file = self.weights.with_file_name(RUN);
        let mut config = self.run.config;
        // Those lists are in `earlier` already.
        config.training.earlier_sha256.clear();
        let fed = config.job(&file, job.output.clone(), job.begin, job.images.reading.clone())?;
        let mut job = Finetune {
            variant: fed.variant,
            size: fed.size,
            images: ImageOptions { weights: job.images.weights, ..fed.images },
            trained_classifier: true,
            named_classes: fed.named_classes,
            earlier,
            ..job
        };
        job.head.pooling = fed.head.pooling;
        job.head.units = fed.head.units;
        Ok(job)
    }
}

/// The classifier was trained for other classes than those of the data.
pub(super) fn other_classes(job: &Finetune, classes: &[String]) -> Error {
    let weights = job.images.weights.clone().unwrap_or_default();
    let error =
        Error::new(Kind::Data, format!("the classes of {} are not those of the network", job.data.display()))
            .expected_got(told_from(&job.named_classes, classes), told_from(classes, &job.named_classes));
    let error = match composed_otherwise(classes, &job.named_classes) {
        Some(alike) => error.fact("reason", alike),
        None => error,
    };
    error.help(format!(
            "give a folder with those classes; or begin with its base and a new classifier: `vgg-ft finetune DATA --weights {} \
             --network {} --size {}x{} --resize {} --pooling {} --units {}{} -o RUN`",
            quoted(&weights),
            job.variant.name(),
            job.size[0],
            job.size[1],
            job.images.resize.name(),
            job.head.pooling.name(),
            job.head.units,
            job.validation_split.map(|share| format!(" --validation-split {share}")).unwrap_or_default()
        ))
}

/// Whether the job's folder has what it will go on with.
fn goes_on(job: &Finetune) -> bool {
    job.begin == Begin::Resume && job_file(&job.output).is_some()
}
