//! `resume`: a run that was stopped, from what its folder says alone; and a job from another run's file.

use super::fit::{self, HeadOptions};
use super::run::{Begin, Config, Folder, damaged};
use super::{Finetune, Host, PictureOptions, Reading, finetune};
use crate::error::{Error, Kind, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Goes on with the job in `run`.
///
/// # Errors
/// [`Kind::Usage`] when there is none; those of the job.
pub fn resume(host: &Host, run: &Path, reading: Reading) -> Result<()> {
    let file = run.join("job.toml");
    if Folder::finished(run)? {
        return host.result(
            &format!("{} is finished, there is nothing to go on with", run.display()),
            &json!({ "run": run, "finished": true }),
        );
    }
    if !file.exists() {
        return Err(Error::new(Kind::Usage, format!("{} holds no run to go on with", run.display()))
            .fact("missing", file.display())
            .help("give the folder that a stopped `vgg-ft finetune` or `vgg-ft fit` wrote to"));
    }
    let config = Config::read(&file)?;
    let (begin, output) = (Begin::Resume, run.to_owned());
    if is_of_features(&config) {
        let head = config.head();
        let Config { training, .. } = config;
        let stage = training.stages.into_iter().next();
        let stage = stage.ok_or_else(|| damaged(&file, "there is no stage in it"))?;
        let (features, weights) = (training.data, training.weights);
        return fit::fit(host, &fit::Fit { features, output, begin, stage, head, weights });
    }
    finetune(host, &config.job(&file, output, begin, reading)?)
}

/// The job in `file`, a `run.toml` or `job.toml`, on `data` if that is given.
///
/// # Errors
/// [`Kind::Io`] when it cannot be read; [`Kind::Data`] when it is damaged; [`Kind::Usage`] when it is a job
/// of `fit`, which has no pictures.
pub fn job_of(
    file: &Path,
    data: Option<PathBuf>,
    output: PathBuf,
    begin: Begin,
    reading: Reading,
) -> Result<Finetune> {
    let mut config = Config::read(file)?;
    if is_of_features(&config) {
        return Err(Error::new(Kind::Usage, format!("{} is a job of `vgg-ft fit`", file.display()))
            .help("give the run.toml or job.toml of a `vgg-ft finetune`"));
    }
    if let Some(data) = data {
        config.training.data = data;
    }
    for stage in &config.training.stages {
        stage.validate()?;
    }
    config.job(file, output, begin, reading)
}

/// Whether its data are features.
fn is_of_features(config: &Config) -> bool {
    config.training.data.join("train.safetensors").exists()
}

impl Config {
    fn head(&self) -> HeadOptions {
        HeadOptions {
            units: self.network.units,
            dropout: self.network.dropout,
            batch: self.training.batch,
            seed: self.training.seed,
        }
    }

    /// As a job of `finetune`; `file` is named in errors.
    fn job(self, file: &Path, output: PathBuf, begin: Begin, reading: Reading) -> Result<Finetune> {
        let unknown = |reason: &dyn std::fmt::Display| damaged(file, &reason.to_string());
        let head = self.head();
        let Self { network, training, .. } = self;
        Ok(Finetune {
            data: training.data,
            output,
            begin,
            validation_split: training.validation_split,
            variant: network.variant.parse().map_err(|e: Error| unknown(&e.message()))?,
            size: network.size,
            pictures: PictureOptions {
                preprocess: network.preprocess.parse().map_err(|e: Error| unknown(&e.message()))?,
                resize: network.resize.parse().map_err(|e: String| unknown(&e))?,
                weights: training.weights,
                reading,
            },
            head,
            stages: training.stages,
            keep_features: training.keep_features,
            cache_limit: training.cache_limit,
            test_pictures: None,
        })
    }

    /// What another job would do otherwise, setting by setting; `None` if it is this one. Device, version,
    /// and what came out do not count.
    ///
    /// # Errors
    /// None in practice: the settings always serialize.
    pub fn differs(&self, other: &Self) -> Result<Option<String>> {
        let essence = |config: &Self| {
            let mut config = Self { vgg_ft: String::new(), result: None, ..config.clone() };
            config.training.device.clear();
            config.training.samples = [0, 0];
            config.text()
        };
        let (old, new) = (essence(self)?, essence(other)?);
        if old == new {
            return Ok(None);
        }
        let only = |text: &str, other: &str| -> Vec<String> {
            text.lines().filter(|line| !other.lines().any(|one| one == *line)).map(str::to_owned).collect()
        };
        let (was, is) = (only(&old, &new), only(&new, &old));
        let list = |lines: Vec<String>| if lines.is_empty() { "nothing".into() } else { lines.join("; ") };
        Ok(Some(if was.is_empty() && is.is_empty() {
            "the order of the stages or their settings".into()
        } else {
            format!("{} there, {} here", list(was), list(is))
        }))
    }
}
