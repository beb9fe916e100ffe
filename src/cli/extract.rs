//! The options of `extract`.

use super::args::{ImageArgs, NetworkArgs};
use super::values::{fraction, positive, whole};
use super::{held_out, images};
use crate::error::Result;
use crate::task;
use clap::Args;
use std::path::PathBuf;

/// `extract`
#[derive(Args, Debug)]
pub struct ExtractArgs {
    /// Folder with train/, validation/, test/, or with one folder per class
    pub data: PathBuf,
    /// Folder for the features, one file per split
    #[arg(long, short, value_name = "FEATURES")]
    pub output: PathBuf,
    /// Write over features of other data, another part held out, or other settings
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub network: NetworkArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub images: ImageArgs,
    /// The last layer to run
    #[arg(long, value_name = "LAYER", default_value = "block5_pool")]
    pub layer: String,
    /// Share of each class that becomes the validation split; 0 for none
    #[arg(long, alias = "val-split", value_name = "SHARE", value_parser = fraction::<f32>)]
    pub validation_split: Option<f32>,
    /// Decides which images belong to that split
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
    /// Images per pass
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 20, value_parser = positive)]
    pub batch: usize,
}

impl ExtractArgs {
    /// The job.
    ///
    /// # Errors
    /// Those of the weights file, where that decides how pixels are scaled.
    pub fn job(self) -> Result<task::Extract> {
        Ok(task::Extract {
            data: self.data,
            output: self.output,
            force: self.force,
            variant: self.network.network,
            size: self.network.size,
            images: images(self.images)?,
            layer: self.layer,
            validation_split: held_out(self.validation_split),
            seed: self.seed,
            batch: self.batch,
        })
    }
}
