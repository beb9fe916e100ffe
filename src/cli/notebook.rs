//! `notebook`: the chapter's numbers, and what may be typed in their place.

use super::args::ReadingArgs;
use super::values::{fraction, positive, preprocess, resize, size, whole, width};
use super::{held_out, reading};
use crate::data::Resize;
use crate::error::Result;
use crate::model::Preprocess;
use crate::task::{self, Host, Numbers};
use clap::Args;
use std::path::PathBuf;

/// `notebook`
#[derive(Args, Debug)]
pub struct NotebookArgs {
    /// Folder with train/, validation/, test/, or with one folder per class
    #[arg(required_unless_present = "print_config")]
    pub data: Option<PathBuf>,
    /// Folder for the runs 1-features and 2-finetune
    #[arg(long, short, value_name = "RUN", required_unless_present = "print_config")]
    pub output: Option<PathBuf>,
    /// A file with all numbers, as --print-config writes it; what it leaves out is as in the book
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the numbers as a file for --config, and do nothing
    #[arg(long)]
    pub print_config: bool,
    /// Begin all parts anew; without it finished parts stay and a stopped one goes on
    #[arg(long)]
    pub force: bool,
    /// Epochs of the classifier on features; 0 leaves it out [book: 30]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub features_epochs: Option<usize>,
    /// Epochs with augmentation and the base frozen; 0 leaves them out [book: 30]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub frozen_epochs: Option<usize>,
    /// Epochs from block3_conv1 on; 0 leaves them out [book: 100]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub finetune_epochs: Option<usize>,
    /// Steps of an augmented epoch [book: 100]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub steps_per_epoch: Option<usize>,
    /// Batches of validation after an augmented epoch [book: 50]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub validation_steps: Option<usize>,
    /// Samples per step [book: 20]
    #[arg(long, alias = "batch-size", value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Units of the hidden dense layer, 0 for none [book: 256]
    #[arg(long, value_name = "N", value_parser = width)]
    pub units: Option<usize>,
    /// Image size in pixels: one number, or HEIGHTxWIDTH [book: 150]
    #[arg(long, alias = "image-size", value_name = "SIZE", value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// Pixel scaling [book: notebook, RGB/255; caffe learns better]
    #[arg(long, value_name = "RECIPE", value_parser = preprocess())]
    pub preprocess: Option<Preprocess>,
    /// How images are brought to size [default: nearest]: squeezed into it, or with `crop-…` cut to its shape first; with
    /// `upright-…` turned first as their EXIF orientation says
    #[arg(long, value_name = "METHOD", value_parser = resize())]
    pub resize: Option<Resize>,
    /// Weights of the convolutional base; the ImageNet weights of this repository if not given
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Share of each class that becomes the validation split; 0 for none
    #[arg(long, alias = "val-split", value_name = "SHARE", value_parser = fraction::<f32>)]
    pub validation_split: Option<f32>,
    /// Decides initial weights, order, dropout and augmentation [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}

impl NotebookArgs {
    /// Does it, or prints the numbers.
    ///
    /// # Errors
    /// Those of the numbers and of the job.
    pub fn run(self, host: &Host) -> Result<()> {
        let numbers = self.numbers()?;
        if self.print_config {
            numbers.validate()?;
            return host.result(&numbers.text()?, &numbers.written());
        }
        task::notebook(
            host,
            &task::Notebook {
                // clap asks for both.
                data: self.data.unwrap_or_default(),
                output: self.output.unwrap_or_default(),
                numbers,
                force: self.force,
                reading: reading(self.reading),
            },
        )
    }

    /// The book's, then the file's, then what was typed.
    fn numbers(&self) -> Result<Numbers> {
        let mut n = self.config.as_deref().map_or_else(|| Ok(Numbers::default()), Numbers::read)?;
        set(&mut n.features.epochs, self.features_epochs);
        set(&mut n.frozen.epochs, self.frozen_epochs);
        set(&mut n.finetune.epochs, self.finetune_epochs);
        for stage in [&mut n.frozen, &mut n.finetune] {
            stage.steps_per_epoch = self.steps_per_epoch.or(stage.steps_per_epoch);
            stage.validation_steps = self.validation_steps.or(stage.validation_steps);
        }
        set(&mut n.batch, self.batch);
        set(&mut n.units, self.units);
        set(&mut n.size, self.size);
        set(&mut n.seed, self.seed);
        set(&mut n.preprocess, self.preprocess.map(|recipe| recipe.name().to_owned()));
        set(&mut n.resize, self.resize.map(|method| method.name().to_owned()));
        n.weights = self.weights.clone().or(n.weights);
        n.validation_split = held_out(self.validation_split.or(n.validation_split));
        Ok(n)
    }
}

fn set<T>(number: &mut T, typed: Option<T>) {
    if let Some(typed) = typed {
        *number = typed;
    }
}
