//! `resume`: a run that was stopped, from what its folder says alone.

use super::fit::{self, HeadOptions};
use super::run::{Begin, Config, damaged};
use super::{Finetune, Host, PictureOptions, Reading, finetune};
use crate::error::{Error, Kind, Result};
use serde_json::json;
use std::path::Path;

/// Goes on with the job in `run`.
///
/// # Errors
/// [`Kind::Usage`] when there is none; those of the job.
pub fn resume(host: &Host, run: &Path, reading: Reading) -> Result<()> {
    let file = run.join("job.toml");
    if !file.exists() {
        if run.join("run.toml").exists() {
            return host.result(
                &format!("{} is finished, there is nothing to go on with", run.display()),
                &json!({ "run": run, "finished": true }),
            );
        }
        return Err(Error::new(Kind::Usage, format!("{} holds no run to go on with", run.display()))
            .fact("missing", file.display())
            .help("give the folder that a stopped `vgg-ft finetune` or `vgg-ft fit` wrote to"));
    }
    let config = Config::read(&file)?;
    let (network, training) = (config.network, config.training);
    let head = HeadOptions {
        units: network.units,
        dropout: network.dropout,
        batch: training.batch,
        seed: training.seed,
    };
    let (begin, output, weights) = (Begin::Resume, run.to_owned(), training.weights);
    if training.data.join("train.safetensors").exists() {
        let stage = training.stages.into_iter().next();
        let stage = stage.ok_or_else(|| damaged(&file, "there is no stage in it"))?;
        return fit::fit(host, &fit::Fit { features: training.data, output, begin, stage, head, weights });
    }
    let unknown = |reason: &dyn std::fmt::Display| damaged(&file, &reason.to_string());
    let job = Finetune {
        data: training.data,
        output,
        begin,
        validation_split: training.validation_split,
        variant: network.variant.parse().map_err(|e: Error| unknown(&e.message()))?,
        size: network.size,
        pictures: PictureOptions {
            preprocess: network.preprocess.parse().map_err(|e: Error| unknown(&e.message()))?,
            resize: network.resize.parse().map_err(|e: String| unknown(&e))?,
            weights,
            reading,
        },
        head,
        stages: training.stages,
        keep_features: training.keep_features,
        cache_limit: training.cache_limit,
    };
    finetune(host, &job)
}
