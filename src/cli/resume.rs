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
    /// New place of its data (of a `fit` run: its features), if they were moved; the same images as before
    pub data: Option<PathBuf>,
    /// From here on, multiply the learning rate of this and later stages by this, for example after the loss became
    /// NaN; recorded in the run's files
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub rate_factor: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}
