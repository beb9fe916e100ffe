//! The options of `report` and `compare`.

use super::args::ReadingArgs;
use super::reading;
use super::values::{positive, split};
use crate::data::Split;
use crate::task;
use clap::Args;
use std::path::PathBuf;

/// `report`
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folder that `fit` or `finetune` wrote
    pub run: PathBuf,
    /// The images to judge it on; those it was trained with if not given
    pub data: Option<PathBuf>,
    /// Which split of DATA; by default the first there is of test, validation, train; of a folder without splits all
    /// images, or, if the run split it itself, those it held out
    #[arg(long, value_name = "SPLIT", value_parser = split())]
    pub split: Option<Split>,
    /// Write the page to this file, .html, instead of the run's report.html
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite an existing file, or the run's own report.html although DATA is not what it was trained with
    #[arg(long)]
    pub force: bool,
    /// Images per pass
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 20, value_parser = positive)]
    pub batch: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}

impl ReportArgs {
    /// The job.
    pub fn job(self) -> task::Report {
        task::Report {
            run: self.run,
            data: self.data,
            split: self.split,
            batch: self.batch,
            reading: reading(self.reading),
            output: self.output.map(|path| task::Output { path, force: self.force }),
            force: self.force,
        }
    }
}

/// `compare`
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Folders that `fit` or `finetune` wrote
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Draw the validation curves of all into this file, .svg or .png
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
}

impl CompareArgs {
    /// The job.
    pub fn job(self) -> task::Compare {
        task::Compare {
            runs: self.runs,
            output: self.output.map(|path| task::Output { path, force: self.force }),
        }
    }
}
