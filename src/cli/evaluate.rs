//! The options of `evaluate`.

use super::args::ReadingArgs;
use super::predict::{FormatArg, LookArgs};
use super::reading;
use super::values::{positive, split};
use crate::data::Split;
use crate::error::Result;
use crate::task;
use clap::Args;
use std::path::PathBuf;

/// `evaluate`
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Folder that `fit` or `finetune` wrote
    pub run: PathBuf,
    /// Folder with train/, validation/, test/, or with one folder per class
    pub data: PathBuf,
    /// Which split of DATA; by default the first there is of test, validation, train; of a folder without splits all
    /// images, or, if the run split it itself, those it held out
    #[arg(long, value_name = "SPLIT", value_parser = split())]
    pub split: Option<Split>,
    /// Images per pass
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 20, value_parser = positive)]
    pub batch: usize,
    /// Write one row per image to this file: path, label, predicted class, probabilities
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// How those rows look; as FILE ends (.csv, .jsonl, .txt) if not given
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output")]
    pub format: Option<FormatArg>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: LookArgs,
}

impl EvaluateArgs {
    /// The job.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) for looks that cannot be.
    pub fn job(self) -> Result<task::Evaluate> {
        Ok(task::Evaluate {
            run: self.run,
            data: self.data,
            split: self.split,
            batch: self.batch,
            reading: reading(self.reading),
            look: self.look.look()?,
            output: self.output.map(|path| task::Output { path, force: self.force }),
            format: self.format.map(Into::into),
        })
    }
}
