//! `resume`: which run, and at which rates from here on.

use super::args::ReadingArgs;
use super::values::factor;
use clap::Args;
use std::path::PathBuf;

/// `resume`
#[derive(Args, Debug)]
pub struct ResumeArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Where its data (or, of `fit`, its features) lie now, if they were moved; the same pictures as before
    pub data: Option<PathBuf>,
    /// From here on multiply the learning rate of this stage and of those that follow, as after a loss that was no
    /// number; the run's files say so
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub rate_factor: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}
