//! Weights alone, as safetensors: Keras' names and layouts, and the writing for other names.

use super::Layout;
use super::model::{Model, Tensor};
use crate::error::Result;
use crate::weights::{FloatType, NamedTensor, save_stoppable};
use std::collections::BTreeMap;
use std::path::Path;

/// `block1_conv1.kernel` (HWIO), `dense.kernel` (in × out).
///
/// # Errors
/// Those of [`Model::tensors`] and [`save_stoppable`].
pub fn keras(path: &Path, model: &Model<'_>) -> Result<()> {
    let mut named = Vec::new();
    for placed in model.architecture().layers() {
        for (tensor, part) in model.tensors(placed)?.into_iter().flatten().zip(["kernel", "bias"]) {
            named.push((format!("{}.{part}", placed.name), tensor));
        }
    }
    write(path, model, Layout::Nhwc, &named, [("format", "keras".to_owned()), ("layout", "HWIO".to_owned())])
}

/// Writes `named` with what every file of ours says about itself (its input in `layout`), and `own` metadata.
///
/// # Errors
/// Those of [`save_stoppable`].
pub fn write<const N: usize>(
    path: &Path,
    model: &Model<'_>,
    layout: Layout,
    named: &[(String, Tensor<'_>)],
    own: [(&str, String); N],
) -> Result<()> {
    let metadata: BTreeMap<String, String> =
        model.remarks(layout).into_iter().chain(own).map(|(key, text)| (key.to_owned(), text)).collect();
    save_stoppable(path, &borrowed(named), FloatType::F32, &metadata)
}

/// `named` as the writers of weights take it.
pub fn borrowed<'a>(named: &'a [(String, Tensor<'_>)]) -> Vec<NamedTensor<'a>> {
    let tensor = |(name, Tensor { shape, values }): &'a (String, Tensor<'_>)| NamedTensor {
        name: name.clone(),
        shape: shape.clone(),
        data: values,
    };
    named.iter().map(tensor).collect()
}
