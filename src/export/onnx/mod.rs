//! ONNX: one file with the graph and its weights, for ONNX Runtime and whatever else reads opset 13.
//!
//! In: the layers. Out: `input` → Conv, Relu, MaxPool …, (GlobalAveragePool,) Flatten, Gemm, Relu, Gemm, Sigmoid or Softmax →
//! `probabilities`. ONNX keeps channels first; the first dense kernel has its rows in that order, so the
//! only transposition is at the input; a base gives images, and turns them back. Dropout does nothing here and is left out.

mod graph;

use super::model::Model;
use crate::error::{Error, Kind, Result};
use crate::weights::write_stoppable;
use std::path::Path;

/// The axes of the input, and of a base's features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[batch, h, w, 3]`, as Keras' and our images lie.
    Nhwc,
    /// `[batch, 3, h, w]`, as PyTorch's.
    Nchw,
}

/// Protobuf counts the bytes of a message in 31 bits.
const LIMIT: u64 = i32::MAX as u64;

/// Writes `model` to `path`.
///
/// # Errors
/// Those of [`Model::tensors`]; [`Kind::Weights`] for a network of 2 GiB and more; [`Kind::Io`].
pub fn write(path: &Path, model: &Model<'_>, layout: Layout) -> Result<()> {
    let message = graph::model(model, layout)?;
    if message.length() > LIMIT {
        return Err(Error::new(Kind::Weights, "the network is too large for one ONNX file")
            .expected_got("less than 2 GiB", format!("{} bytes", message.length()))
            .help("export it as keras-h5 or safetensors, which have no such limit"));
    }
    write_stoppable(path, |out| message.write(out).map_err(|e| Error::io("write", path, &e)))
}
