//! The options of `check`.

use super::held_out;
use super::values::{fraction, resize, size, whole};
use crate::data::Resize;
use crate::task;
use clap::Args;
use std::path::PathBuf;

/// `check`
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Folder with train/, validation/, test/, or with one folder per class
    pub data: PathBuf,
    /// Write every finding here, one row each, as .csv
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// End with exit code 1 if there are problems
    #[arg(long)]
    pub strict: bool,
    /// Image size in pixels for which they are looked at: one number, or HEIGHTxWIDTH
    #[arg(long, alias = "image-size", value_name = "SIZE", default_value = "150", value_parser = size)]
    pub size: [usize; 2],
    /// How they will be brought to that size: squeezed into it, or with `crop-…` cut to its shape first; with `upright-…`
    /// turned first as their EXIF orientation says
    #[arg(long, value_name = "METHOD", default_value = "nearest", value_parser = resize())]
    pub resize: Resize,
    /// Share of each class that will become the validation split; 0 for none
    #[arg(long, alias = "val-split", value_name = "SHARE", value_parser = fraction::<f32>)]
    pub validation_split: Option<f32>,
    /// Decides which images belong to that split
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>)]
    pub seed: u64,
}

impl CheckArgs {
    /// The job.
    pub fn job(self) -> task::Check {
        task::Check {
            data: self.data,
            validation_split: held_out(self.validation_split),
            seed: self.seed,
            size: self.size,
            resize: self.resize,
            strict: self.strict,
            output: self.output.map(|path| task::Output { path, force: self.force }),
        }
    }
}
