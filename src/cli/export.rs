//! `export` as it is typed. Options that a format knows nothing of are refused, not ignored.

use crate::error::{Error, Kind, Result};
use crate::export::{Dialect, Format, Layout};
use crate::task;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Folder that `fit` or `finetune` wrote
    pub run: PathBuf,
    /// What to write; as FILE ends (.h5, .weights.h5, .keras, .onnx, .pth) if not given
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatName>,
    /// The file
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// For keras-h5 and keras-h5-weights: 2, which Keras 3 reads too, or 3, as Keras 3 alone writes it
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(2..=3))]
    pub keras_version: Option<u8>,
    /// For onnx: the axes of the input, and of a base's features; nhwc if not given
    #[arg(long, value_enum, value_name = "AXES")]
    pub layout: Option<LayoutName>,
    /// Put the scaling of pixels into the network, so that it takes RGB from 0 to 255
    #[arg(long)]
    pub with_preprocessing: bool,
}

/// A format by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// The whole model, HDF5: `load_model_hdf5` in R, `load_model` in Keras 2 and 3
    KerasH5,
    /// Its weights alone, HDF5: `load_weights`
    KerasH5Weights,
    /// The whole model, Keras 3's own format
    Keras,
    /// The whole model for ONNX Runtime and others, opset 13
    Onnx,
    /// Weights as Keras 3 writes them: `load_weights` of a .weights.h5
    KerasWeights,
    /// Weights with torchvision's names and layouts, safetensors
    Torchvision,
    /// The same as PyTorch saves them: `torch.load` of a .pth
    Torch,
    /// Weights with timm's names, safetensors; of a network with the classifier of ImageNet
    Timm,
    /// Weights with Keras' names and layouts, safetensors
    Safetensors,
}

impl FormatName {
    /// The format in the dialect of `keras_version`, with the axes of `layout`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for one of them that the format does not have.
    pub fn format(self, keras_version: Option<u8>, layout: Option<LayoutName>) -> Result<Format> {
        let dialect = match keras_version {
            Some(3) => Dialect::Keras3,
            _ => Dialect::Keras2,
        };
        let axes = match layout {
            Some(LayoutName::Nchw) => Layout::Nchw,
            _ => Layout::Nhwc,
        };
        let format = match self {
            Self::KerasH5 => Format::KerasH5(dialect),
            Self::KerasH5Weights => Format::KerasH5Weights(dialect),
            Self::KerasWeights => Format::KerasWeights,
            Self::Keras => Format::Keras,
            Self::Onnx => Format::Onnx(axes),
            Self::Torchvision => Format::Torchvision,
            Self::Torch => Format::Torch,
            Self::Timm => Format::Timm,
            Self::Safetensors => Format::Safetensors,
        };
        let h5 = matches!(format, Format::KerasH5(_) | Format::KerasH5Weights(_));
        let onnx = matches!(format, Format::Onnx(_));
        refuse_unused("--keras-version", keras_version.is_some(), h5, "keras-h5 and keras-h5-weights")?;
        refuse_unused("--layout", layout.is_some(), onnx, "onnx")?;
        Ok(format)
    }
}

/// An option that the format does not have is refused, not ignored.
fn refuse_unused(option: &str, given: bool, fits: bool, formats: &str) -> Result<()> {
    if !given || fits {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{option} means nothing to this format"))
        .help(format!("it is for {formats}; leave it out")))
}

/// Axes by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutName {
    /// [batch, height, width, 3]
    Nhwc,
    /// [batch, 3, height, width]
    Nchw,
}

/// Endings that stand for one format: .h5 for the whole model, and first .safetensors, which is Keras' names where
/// nothing else is in question.
pub(super) const ENDINGS: [(&str, FormatName); 7] = [
    ("safetensors", FormatName::Safetensors),
    ("h5", FormatName::KerasH5),
    ("hdf5", FormatName::KerasH5),
    ("keras", FormatName::Keras),
    ("onnx", FormatName::Onnx),
    ("pth", FormatName::Torch),
    ("pt", FormatName::Torch),
];

impl FormatName {
    /// What the file's name stands for, by `endings` and `.weights.h5`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an ending that stands for none.
    pub fn of(output: &task::Output, endings: &[(&str, Self)]) -> Result<Self> {
        if output.path.to_string_lossy().ends_with(".weights.h5") {
            return Ok(Self::KerasWeights);
        }
        output.format(endings)
    }
}

impl ExportArgs {
    /// The task.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an option that the format does not have, or a file whose name says none.
    pub fn job(self) -> Result<task::Export> {
        let output = task::Output { path: self.output, force: self.force };
        let name = self.format.map_or_else(|| FormatName::of(&output, &ENDINGS[1..]), Ok).map_err(|error| {
            if output.path.is_dir() {
                return error;
            }
            error.help("say which with --format: a name that ends in .safetensors could be torchvision, timm or safetensors")
        })?;
        let format = name.format(self.keras_version, self.layout)?;
        let (given, fits) = (self.with_preprocessing, format.has_layers());
        refuse_unused("--with-preprocessing", given, fits, "keras-h5, keras and onnx")?;
        Ok(task::Export { run: self.run, format, output, with_preprocessing: self.with_preprocessing })
    }
}
