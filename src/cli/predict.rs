//! The options of `predict`, and of looking at images, which `evaluate` shares.

use super::augment::AugmentArgs;
use super::values::{positive, preprocess, resize, size, threshold, whole};
use crate::data::Resize;
use crate::error::{Error, Kind, Result};
use crate::model::Preprocess;
use crate::report::Format;
use crate::task;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `predict`
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Folder that `fit` or `finetune` wrote, or a file of weights with a classifier, ImageNet's or an export's (.h5,
    /// .keras, .pth, .safetensors, .onnx)
    pub run: PathBuf,
    /// Images, folders of images (runs below them are passed over), patterns in quotes ('new/**/*.jpg'), or - for
    /// paths on stdin
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Paths on stdin end in NUL, as `find -print0` writes them, not in a line end
    #[arg(long, short = '0')]
    pub null: bool,
    /// How many classes to show, the most probable first; with --threshold the answer first
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = positive)]
    pub top: usize,
    /// Show the probability of every class
    #[arg(long)]
    pub all_probabilities: bool,
    /// How rows look; as --output ends (.csv, .jsonl, .txt) if not given, otherwise text
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatArg>,
    /// Write the rows to this file, whole or not at all
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Images per pass; with 1 every path on stdin is answered at once
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 16, value_parser = positive)]
    pub batch: usize,
    /// End at the first image that cannot be read, instead of reporting and skipping it
    #[arg(long)]
    pub strict: bool,
    /// For a weights file: height and width of its images in pixels, or one number for both; as the file says if not given
    #[arg(long, alias = "image-size", value_name = "SIZE", value_parser = size)]
    pub size: Option<[usize; 2]>,
    /// For a weights file: pixel scaling; as the file says if not given, else what its base was trained with
    #[arg(long, value_name = "RECIPE", value_parser = preprocess())]
    pub preprocess: Option<Preprocess>,
    /// For a weights file: how images are brought to its size; as the file says if not given, else `nearest` for
    /// Keras' weights, `bilinear` for torchvision's
    #[arg(long, value_name = "METHOD", value_parser = resize())]
    pub resize: Option<Resize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: LookArgs,
}

/// How rows look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// Tabs between path, class and probability
    Text,
    /// A header and quotes as in RFC 4180, one column per class
    Csv,
    /// One JSON object per line
    Jsonl,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Text => Self::Text,
            FormatArg::Csv => Self::Csv,
            FormatArg::Jsonl => Self::Jsonl,
        }
    }
}

/// How images are looked at.
#[derive(Args, Clone, Debug)]
pub struct LookArgs {
    /// Call an image the second of two classes where its probability is above T, instead of 0.5
    #[arg(long, value_name = "T", value_parser = threshold)]
    pub threshold: Option<f32>,
    /// Look at each image N times and take the mean of the probabilities: as it is, and N-1 times as the run's
    /// training (or the augmentation options here) would see it; `flip`: as it is, and mirrored
    #[arg(long, value_name = "N|flip", value_parser = tta)]
    pub tta: Option<TtaArg>,
    /// Decides what --tta draws; 1 if not given
    #[arg(long, value_name = "N", requires = "tta", value_parser = whole::<u64>)]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub augment: AugmentArgs,
}

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtaArg {
    /// Twice, once mirrored.
    Flip,
    /// So often.
    Times(usize),
}

fn tta(text: &str) -> Result<TtaArg, String> {
    match (text, text.parse()) {
        ("flip", _) => Ok(TtaArg::Flip),
        (_, Ok(n @ 1..=1000)) => Ok(TtaArg::Times(n)),
        _ => Err("expected a whole number from 1 to 1000, or `flip`".into()),
    }
}

impl LookArgs {
    /// The options of a task.
    ///
    /// # Errors
    /// [`Kind::Usage`] for augmentation that is not used, or changes nothing.
    pub fn look(self) -> Result<task::Look> {
        let augment = self.augment.parameters()?;
        if self.augment.given() {
            let help = "give --tta N with them: the image as it is and N-1 draws";
            match self.tta {
                None => {
                    return Err(
                        Error::new(Kind::Usage, "augmentation options are given without --tta").help(help)
                    );
                }
                Some(TtaArg::Flip) => {
                    return Err(Error::new(
                        Kind::Usage,
                        "`--tta flip` draws nothing from augmentation options",
                    )
                    .help(help));
                }
                Some(TtaArg::Times(_)) if augment.is_none() => {
                    return Err(Error::new(Kind::Usage, "these augmentation options change no image")
                        .help("give a range such as --rotation 10, or leave them out for the run's own"));
                }
                Some(TtaArg::Times(_)) => {}
            }
        }
        let tta = self.tta.map(|tta| match tta {
            TtaArg::Flip => task::Tta::Flip,
            TtaArg::Times(views) => task::Tta::Times { views, augment },
        });
        Ok(task::Look { tta, seed: self.seed.unwrap_or(1), threshold: self.threshold })
    }
}

impl PredictArgs {
    /// The job.
    ///
    /// # Errors
    /// As [`LookArgs::look`]; [`Kind::Usage`] for `--null` without `-`.
    pub fn job(self) -> Result<task::Predict> {
        if self.null && !self.inputs.iter().any(|input| input.as_os_str() == "-") {
            return Err(Error::new(
                Kind::Usage,
                "--null is for paths on stdin, and - is not among the inputs",
            )
            .help("name - to read them, or leave --null out"));
        }
        Ok(task::Predict {
            look: self.look.look()?,
            run: self.run,
            feeding: task::Feeding { size: self.size, preprocess: self.preprocess, resize: self.resize },
            inputs: self.inputs,
            null: self.null,
            top: self.top,
            all: self.all_probabilities,
            format: self.format.map(Into::into),
            output: self.output.map(|path| task::Output { path, force: self.force }),
            batch: self.batch,
            strict: self.strict,
        })
    }
}
