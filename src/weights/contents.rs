//! What the reader of a format finds in a file: tensors by name, with the place of their numbers.
//!
//! In: nothing; these are the values that pass between the readers (`header`, `torch`, `keras`, `onnx`) and
//! [`Weights`](super::Weights). A reader is a pure function of bytes; it copies no numbers that lie in the
//! file as they are, and allocates nothing by a size that the file claims and does not have.

use safetensors::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;

/// A format of files that hold weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// safetensors: ours, timm's, Hugging Face's.
    Safetensors,
    /// Keras' HDF5 of weights: `save_weights("x.h5")` before Keras 3, and the files of keras-applications.
    KerasH5Weights,
    /// Keras' HDF5 of a whole model: `model.save("x.h5")`, R's `save_model_hdf5`.
    KerasH5,
    /// Keras 3's HDF5 of weights, `x.weights.h5`.
    Keras3Weights,
    /// Keras 3's zip archive, `x.keras`.
    Keras,
    /// PyTorch's pickle stream from before 1.6.
    TorchStream,
    /// PyTorch's zip archive.
    TorchZip,
    /// ONNX.
    Onnx,
}

impl FileFormat {
    /// What it is called on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::KerasH5Weights => "keras-h5-weights",
            Self::KerasH5 => "keras-h5",
            Self::Keras3Weights => "keras-weights",
            Self::Keras => "keras",
            Self::TorchStream => "torch (stream)",
            Self::TorchZip => "torch (zip)",
            Self::Onnx => "onnx",
        }
    }
}

/// All that a file says.
#[derive(Debug)]
pub(super) struct Contents {
    pub format: FileFormat,
    /// In the order of the file (of its layers, where it has layers); no name is there twice.
    pub tensors: Vec<Found>,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
    /// Which tensor does what, where the file has a graph.
    pub graph: Option<Graph>,
    /// How many convolutions come before each pooling, where the file lists layers without a graph.
    pub pools: Option<Vec<usize>>,
}

/// A tensor as the file has it.
#[derive(Debug)]
pub(super) struct Found {
    pub name: String,
    pub dtype: Dtype,
    /// Slowest axis first.
    pub shape: Vec<usize>,
    pub place: Place,
}

/// Where the numbers of a tensor lie. Little-endian always.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// In the file, dense, slowest axis first. Within the file and as long as shape and type say: the reader
    /// has checked it.
    Here(Range<usize>),
    /// In the file, in steps: element `[i, j, …]` is number `first + i·strides[0] + j·strides[1] + …` of the
    /// numbers that begin at byte `storage.start`. The farthest is within `storage`: the reader has checked it.
    Steps { storage: Range<usize>, first: usize, strides: Vec<usize> },
    /// Dense in another file of the same folder (ONNX' external data). Nothing of it is checked.
    Beside { file: String, bytes: Range<u64> },
    /// Not in the file as it is: decoded by the reader, dense.
    Decoded(Vec<u8>),
}

/// The layers with weights, in the order in which data pass through them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Graph {
    pub layers: Vec<GraphLayer>,
    /// How many of the layers come before each 2x2 pooling.
    pub pools: Vec<usize>,
    /// How the activations lay when they were flattened for the first dense layer; `None` if there is none.
    pub flatten: Option<Order>,
    /// Whether the first dense layer takes the mean of each channel, of more than one place.
    pub means: bool,
}

/// A layer of a [`Graph`].
#[derive(Debug, PartialEq)]
pub(crate) struct GraphLayer {
    pub op: GraphOp,
    /// Names of tensors.
    pub kernel: String,
    pub bias: Option<String>,
    /// Batch normalisation between this layer and its activation.
    pub norm: Option<GraphNorm>,
}

/// Names of the tensors of a batch normalisation.
#[derive(Debug, PartialEq)]
pub(crate) struct GraphNorm {
    pub scale: String,
    pub offset: String,
    pub mean: String,
    pub variance: String,
    pub epsilon: f32,
}

/// What a layer with weights does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GraphOp {
    /// Convolution; the kernel is OIHW.
    Conv2d,
    /// Matrix product; the kernel is `[in, out]`, or `[out, in]` with `outputs_first`.
    Dense { outputs_first: bool },
}

/// The order of an image's axes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// H, W, C: Keras.
    ChannelsLast,
    /// C, H, W: PyTorch.
    ChannelsFirst,
}

/// Bytes that the tensors of a file of `length` bytes may have together.
pub(super) fn most_claimed(length: u64) -> u64 {
    length.saturating_mul(MOST_SHARED).max(MOST_DECODED)
}

/// How many times its size the tensors of a file may have together: of a network whose halves share weights, 2.
const MOST_SHARED: u64 = 8;
/// Bytes that are no harm from the smallest of files: compressed zeros.
const MOST_DECODED: u64 = 1 << 30;
