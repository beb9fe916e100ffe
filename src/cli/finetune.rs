//! The options of `finetune`, most of which are those of `demo`, too: what was typed, a run or a file becomes a job.

use super::args::{ImageArgs, NetworkArgs};
use super::augment::AugmentArgs;
use super::train::{HeadArgs, TrainArgs, head_rate};
use super::values::{fraction, rate, share, whole};
use super::{begin, held_out, images, reading};
use crate::error::Result;
use crate::task::{self, Finetune, Origin, StageConfig};
use clap::Args;
use std::path::{Path, PathBuf};

/// Learning rate of the second stage, if none is given; its help text repeats it.
pub const RATE: f32 = 1e-5;
/// The first layer that learns in it, if none is given; so does its help text.
pub const UNFREEZE_FROM: &str = "block5_conv1";

/// `finetune`
#[derive(Args, Clone, Debug)]
pub struct FinetuneArgs {
    /// Folder with train/, validation/, test/, or with one folder per class
    #[arg(required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// Take the whole job from a run.toml or job.toml; DATA, --seed, --weights and --validation-split, if given,
    /// replace its own
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "NetworkArgs", "pooling", "units", "dropout", "batch", "TrainArgs", "AugmentArgs", "preprocess", "resize", "head_epochs",
        "head_rate", "unfreeze_from", "epochs", "rate", "keep_features", "cache_limit",
    ])]
    pub config: Option<PathBuf>,
    /// Begin with the network of a finished run, its classifier included, and train it on; --dropout, --seed and
    /// --validation-split, if not given, are that run's, and what it learned from or held out stays so
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "config", "network", "size", "pooling", "units", "preprocess", "resize", "weights",
    ])]
    pub from: Option<PathBuf>,
    /// Folder for the run
    #[arg(long, short, value_name = "RUN")]
    pub output: PathBuf,
    /// Share of each class that becomes the validation split, instead of the one in --config or --from; 0 for none
    /// (needed if a --config job has a share but the data have a validation folder)
    #[arg(long, alias = "val-split", value_name = "SHARE", value_parser = fraction::<f32>)]
    pub validation_split: Option<f32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
}

impl FinetuneArgs {
    /// Whether augmentation options were typed that change no image.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for numbers that cannot be.
    pub fn augments_nothing(&self) -> Result<bool> {
        let augment = &self.job.augment;
        Ok(self.config.is_none() && augment.given() && augment.parameters()?.is_none())
    }

    /// The job, of a file or of options.
    ///
    /// # Errors
    /// Those of the file, of the run that it begins with, and of numbers that cannot be.
    pub fn job(mut self) -> Result<Finetune> {
        if let Some(file) = self.config.take() {
            return self.of_file(&file);
        }
        let data = self.data.unwrap_or_default();
        let from = self.from.as_deref().map(Origin::open).transpose()?;
        let share = self.validation_split.or_else(|| from.as_ref()?.validation_split(&data));
        self.job.job(data, self.output, held_out(share), from)
    }

    /// That of a `run.toml` or `job.toml`, but for what was typed beside it.
    fn of_file(self, file: &Path) -> Result<Finetune> {
        let begin = begin(self.job.force, self.job.resume);
        let others = self.data.is_some() || self.validation_split.is_some() || self.job.head.seed.is_some();
        let mut job = task::job_of(file, self.data, self.output, begin, reading(self.job.images.reading))?;
        if others {
            job.named_digests.clear();
        }
        if self.validation_split.is_some() {
            job.validation_split = held_out(self.validation_split);
        }
        if let Some(seed) = self.job.head.seed {
            job.head.seed = seed;
        }
        if let Some(weights) = self.job.images.weights {
            job.images.weights = Some(weights);
        }
        Ok(job)
    }
}

/// What `finetune` and `demo` share.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// Write over a run that is there
    #[arg(long)]
    pub force: bool,
    /// Go on where an earlier run of the same command was stopped, bit for bit, or begin where there is none
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub network: NetworkArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub images: ImageArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub head: HeadArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub train: TrainArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub augment: AugmentArgs,
    /// Epochs with the base frozen; 0 leaves this stage out [default: 10; with --from 0]
    #[arg(help_heading = "Stages", long, value_name = "N", value_parser = whole::<usize>)]
    pub head_epochs: Option<usize>,
    /// Learning rate while the base is frozen [default: 2e-5; with --pooling avg or --units 0 1e-4, with both 1e-3]
    #[arg(help_heading = "Stages", long, value_name = "RATE", value_parser = rate)]
    pub head_rate: Option<f32>,
    /// The first layer that learns in the second stage [default: block5_conv1]
    #[arg(help_heading = "Stages", long, value_name = "LAYER")]
    pub unfreeze_from: Option<String>,
    /// Epochs with the top of the base unfrozen; 0 leaves this stage out
    #[arg(help_heading = "Stages", long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    pub epochs: usize,
    /// Learning rate of the second stage [default: 1e-5]
    #[arg(help_heading = "Stages", long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<f32>,
    /// Keep the activations at the freeze boundary in RUN/features when done
    #[arg(help_heading = "Stages", long)]
    pub keep_features: bool,
    /// Gigabytes that those activations may take on the disk; beyond, the frozen layers run in every epoch
    #[arg(help_heading = "Stages", long, value_name = "GB", default_value_t = 20.0, value_parser = share)]
    pub cache_limit: f64,
}

impl JobArgs {
    /// Epochs with the base frozen, of a job that begins with a run's classifier or not.
    pub fn head_epochs(&self, from: bool) -> usize {
        self.head_epochs.unwrap_or(if from { 0 } else { 10 })
    }

    /// The stages that are not left out, of a job that begins with the network of `from` or with a new classifier.
    fn stages(&self, from: Option<&Origin>) -> Result<Vec<StageConfig>> {
        let augment = self.augment.parameters()?;
        let mut stages = Vec::new();
        let head_epochs = self.head_epochs(from.is_some());
        if head_epochs > 0 {
            let (pooling, units) =
                from.map_or((self.head.pooling, self.head.units), |run| (run.pooling(), run.units()));
            let rate = self.head_rate.unwrap_or(head_rate(pooling, units));
            stages.push(self.train.stage("head", None, head_epochs, rate)?);
        }
        if self.epochs > 0 {
            let unfreeze_from = self.unfreeze_from.as_deref().unwrap_or(UNFREEZE_FROM);
            let rate = self.rate.unwrap_or(RATE);
            stages.push(self.train.stage("finetune", Some(unfreeze_from), self.epochs, rate)?);
        }
        stages.iter_mut().for_each(|stage| stage.augment.clone_from(&augment));
        Ok(stages)
    }

    /// The job on `data`, with a share of it held out.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for numbers and names that cannot be; those of `from`.
    fn job(
        mut self,
        data: PathBuf,
        output: PathBuf,
        validation_split: Option<f32>,
        from: Option<Origin>,
    ) -> Result<Finetune> {
        if let Some(run) = &from {
            self.images.weights = Some(run.weights());
        }
        let stages = self.stages(from.as_ref())?;
        let job = Finetune {
            data,
            output,
            begin: begin(self.force, self.resume),
            validation_split,
            variant: self.network.network,
            size: self.network.size,
            head: self.head.options(from.as_ref()),
            images: images(self.images)?,
            stages,
            keep_features: self.keep_features,
            cache_limit: (self.cache_limit * 1e9) as u64,
            test_images: None,
            named_weights: None,
            named_digests: Vec::new(),
            trained_classifier: false,
            named_classes: Vec::new(),
            earlier: None,
        };
        let job = match from {
            Some(run) => run.network(job)?,
            None => job,
        };
        // Also where that stage is left out: a name that is wrong is wrong.
        if let Some(layer) = self.unfreeze_from.filter(|_| self.epochs == 0) {
            job.can_unfreeze(&layer)?;
        }
        Ok(job)
    }
}

/// `demo`
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Folder for the images and the run
    #[arg(long, short, value_name = "DIR", default_value = "runs/demo")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobArgs,
}

impl DemoArgs {
    /// The job; where its images and its run lie is the demo's to say.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for numbers and names that cannot be.
    pub fn job(self) -> Result<task::Demo> {
        let job = self.job.job(PathBuf::new(), PathBuf::new(), None, None)?;
        Ok(task::Demo { output: self.output, job })
    }
}
