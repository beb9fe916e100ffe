//! A trained network as files that other tools open: Keras' HDF5 and `.keras`, ONNX, safetensors, PyTorch's
//! `.pth`.
//!
//! In: an architecture, its weights file, how images were fed. Out: one file, whole or absent, the same
//! bytes every time. What a file cannot say to its reader (classes, preprocessing) stands in its metadata.

mod channels_first;
mod keras;
mod model;
mod onnx;
mod safetensors;
mod torch;

pub use model::Model;
pub use onnx::Layout;
pub use torch::recipe as torch_recipe;

use crate::error::{Context, Error, Kind, Result};
use crate::weights::write_stoppable;
use std::io::Write;
use std::path::Path;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The whole model in HDF5, as `save_model_hdf5` and `model.save("x.h5")` write it.
    KerasH5(Dialect),
    /// The weights in HDF5, as `save_model_weights_hdf5` and Keras 2's `save_weights` write them.
    KerasH5Weights(Dialect),
    /// Keras 3's zip archive.
    Keras,
    /// ONNX, opset 13.
    Onnx(Layout),
    /// The weights as Keras 3 writes them, `x.weights.h5`.
    KerasWeights,
    /// safetensors with torchvision's names and layouts.
    Torchvision,
    /// PyTorch's own zip archive with torchvision's names and layouts.
    Torch,
    /// safetensors with timm's names, whose first dense layers are convolutions.
    Timm,
    /// safetensors with Keras' names and layouts.
    Safetensors,
}

/// How a Keras describes layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Keras 2 and tf_keras; Keras 3 reads it too.
    Keras2,
    /// Keras 3 alone.
    Keras3,
}

impl Format {
    /// As it is typed after `--format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::KerasH5(_) => "keras-h5",
            Self::KerasH5Weights(_) => "keras-h5-weights",
            Self::Keras => "keras",
            Self::Onnx(_) => "onnx",
            Self::KerasWeights => "keras-weights",
            Self::Torchvision => "torchvision",
            Self::Torch => "torch",
            Self::Timm => "timm",
            Self::Safetensors => "safetensors",
        }
    }

    /// Whether the file holds layers, and not weights alone.
    pub fn has_layers(self) -> bool {
        matches!(self, Self::KerasH5(_) | Self::Keras | Self::Onnx(_))
    }
}

/// Writes `model` to `path`; an old file stays until the new one is whole.
///
/// # Errors
/// [`Kind::Weights`] when the weights file is of another network or the format cannot hold it;
/// [`Kind::Usage`] when pixels are to be scaled by a file without layers; [`Kind::Io`].
pub fn write(path: &Path, model: &Model<'_>, format: Format) -> Result<()> {
    if model.scales_pixels() && !format.has_layers() {
        return Err(Error::new(Kind::Usage, "a file of weights alone cannot scale pixels")
            .help("leave out --with-preprocessing, or choose keras-h5, keras or onnx"));
    }
    match format {
        Format::KerasH5(dialect) => stream(path, |out| keras::model_h5(model, dialect)?.write(out)),
        Format::KerasH5Weights(dialect) => stream(path, |out| keras::weights_h5(model, dialect)?.write(out)),
        Format::Keras => stream(path, |out| keras::archive(model, out)),
        Format::Onnx(layout) => onnx::write(path, model, layout),
        Format::KerasWeights => stream(path, |out| keras::weights(model)?.write(out)),
        Format::Torchvision => torch::torchvision(path, model),
        Format::Torch => torch::pth(path, model),
        Format::Timm => torch::timm(path, model),
        Format::Safetensors => safetensors::keras(path, model),
    }
}

fn stream(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    write_stoppable(path, |out| fill(out).context(|| format!("writing {}", path.display())))
}
