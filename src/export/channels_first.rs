//! Weights for those who keep channels before height and width: PyTorch and ONNX.
//!
//! In: a layer's tensors in Keras' layouts. Out: OIHW kernels, and the first dense kernel after the
//! flattening with its rows in the order C, H, W.

use super::model::{Model, Tensor};
use crate::error::Result;
use crate::model::{Layer, Placed};
use crate::weights::layout;

/// A layer on its way to a reader with channels first.
pub struct Turned<'a> {
    /// The layer.
    pub placed: &'a Placed,
    /// Kernel (OIHW or in × out) and bias, if it has any.
    pub tensors: Option<[Tensor<'a>; 2]>,
}

/// Every layer of `model`, in order.
///
/// # Errors
/// Those of [`Model::tensors`]; [`Kind::Shape`](crate::error::Kind::Shape) when what is flattened is no
/// image.
pub fn layers<'a>(model: &Model<'a>) -> Result<Vec<Turned<'a>>> {
    let architecture = model.architecture();
    // The axes of what was flattened, until a dense layer has mixed them.
    let mut flattened = None;
    let mut all = Vec::new();
    for (position, placed) in architecture.layers().iter().enumerate() {
        let mut tensors = model.tensors(placed)?;
        if let Layer::Flatten = placed.layer {
            let [_, h, w, c] = architecture.shape_before(position).nhwc(&placed.name)?;
            flattened = Some([h, w, c]);
        }
        if let Some([kernel, _]) = &mut tensors {
            match (kernel.shape.as_slice(), flattened.take()) {
                (&[h, w, i, o], _) => {
                    kernel.values = layout::hwio_to_oihw(&kernel.values, [h, w, i, o]).into();
                    kernel.shape = vec![o, i, h, w];
                }
                (_, Some(hwc)) => kernel.values = layout::rows_channels_first(&kernel.values, hwc).into(),
                (_, None) => {}
            }
        }
        all.push(Turned { placed, tensors });
    }
    Ok(all)
}
