//! The options of `summary`.

use super::values::{classes, fraction, pooling, size, variant, width};
use crate::model::{Head, Pooling, Variant};
use crate::task::{self, Top};
use clap::Args;
use std::path::PathBuf;

/// `summary`
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// A run whose network to show; otherwise the network that the options describe
    #[arg(value_name = "RUN", conflicts_with_all = ["network", "size", "include_top", "pooling", "units", "classes", "dropout"])]
    pub run: Option<PathBuf>,
    /// Network
    #[arg(long, value_name = "NAME", default_value = "vgg16", value_parser = variant())]
    pub network: Variant,
    /// Image size in pixels: one number, or HEIGHTxWIDTH; 150 if not given, with --include-top 224
    #[arg(long, alias = "image-size", value_name = "SIZE", value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// With the ImageNet classifier (fc1, fc2, predictions) on top, which takes images of 224x224
    #[arg(long, conflicts_with_all = ["pooling", "units", "classes", "dropout"])]
    pub include_top: bool,
    /// With the book's classifier on top: a hidden layer of N units, or none for 0; 256 if only another of these is given
    #[arg(long, value_name = "N", value_parser = width)]
    pub units: Option<usize>,
    /// What that classifier takes of the last map: all its numbers, or the mean of each channel
    #[arg(long, value_name = "HOW", value_parser = pooling())]
    pub pooling: Option<Pooling>,
    /// Classes of that classifier; two, as by default, make one sigmoid unit
    #[arg(long, value_name = "N", value_parser = classes)]
    pub classes: Option<usize>,
    /// Dropout of that classifier; none if not given
    #[arg(long, value_name = "SHARE", value_parser = fraction::<f32>)]
    pub dropout: Option<f32>,
    /// Freeze the convolutional base
    #[arg(long)]
    pub freeze: bool,
    /// Freeze everything before this layer
    #[arg(long, value_name = "LAYER", conflicts_with = "freeze")]
    pub unfreeze_from: Option<String>,
}

impl SummaryArgs {
    /// The job.
    pub fn job(self) -> task::Summary {
        task::Summary {
            top: self.top(),
            run: self.run,
            variant: self.network,
            size: self.size,
            freeze: self.freeze,
            unfreeze_from: self.unfreeze_from,
        }
    }

    /// The book's classifier stands there as soon as something is said of it.
    fn top(&self) -> Top {
        match (self.units, self.pooling, self.classes, self.dropout) {
            _ if self.include_top => Top::ImageNet,
            (None, None, None, None) => Top::None,
            (units, pooling, classes, dropout) => Top::Head(Head {
                pooling: pooling.unwrap_or_default(),
                units: units.unwrap_or(256),
                dropout: dropout.unwrap_or(0.0),
                classes: classes.unwrap_or(2),
            }),
        }
    }
}
