//! ONNX: a file's bytes in, its tensors and the layers of its graph out.
//!
//! Written by PyTorch's two exporters, tf2onnx, Keras 3 and ourselves. By hand, because a generated reader
//! copies every weight, and builds whatever a file nests. Kernels stay as ONNX has them: OIHW, and dense ones
//! as the graph takes them.

mod affine;
mod before;
mod data;
mod layers;
mod message;
mod names;
mod tensor;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

use self::message::Parts;
use self::names::Names;
use self::wire::File;
use super::contents::{Contents, FileFormat, Found, Graph};
use crate::error::Result;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Reads the whole file `bytes`; `path` is for the errors.
///
/// The graph's kernels are as their layers say. Its other tensors are a number per channel or unit, and may
/// have axes of length 1 around it. Some may be made here and not in the file (see `affine`).
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when the file is damaged, or its graph is not a VGG's.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let file = File { path, bytes };
    let mut model = message::model(file)?;
    let mut parts = message::graph(file, model.graph.clone())?;
    let mut tensors = stored(file, &mut parts)?;
    let names = Names::new(file, &parts, &tensors)?;
    let walk::Walk { graph, made, preprocessing, .. } = walk::walk(&parts, &names)?;
    if !preprocessing.is_empty() {
        model.metadata.insert("preprocessing".into(), preprocessing.join(", "));
    }
    if graph.means {
        model.metadata.insert("pooling".into(), "avg".into());
    }
    tensors.extend(made);
    sort(&mut tensors, &graph);
    let (format, metadata) = (FileFormat::Onnx, model.metadata);
    Ok(Contents { format, tensors, metadata, graph: Some(graph), pools: None })
}

/// Initializers and constants, each name once.
fn stored(file: File<'_>, parts: &mut Parts<'_>) -> Result<Vec<Found>> {
    let mut tensors = std::mem::take(&mut parts.tensors);
    for node in parts.nodes.iter().filter(|node| node.standard() == Some("Constant")) {
        tensors.extend(node.constant(file)?);
    }
    let mut seen = HashSet::new();
    match tensors.iter().find(|found| !seen.insert(found.name.as_str())) {
        Some(again) => Err(names::twice(file, &again.name)),
        None => Ok(tensors),
    }
}

/// The tensors of the layers first, in the order of the layers; the others as the file has them.
fn sort(tensors: &mut [Found], graph: &Graph) {
    let mut ranks = HashMap::new();
    for layer in &graph.layers {
        let norm = layer.norm.iter().flat_map(|norm| [&norm.scale, &norm.offset, &norm.mean, &norm.variance]);
        for name in [&layer.kernel].into_iter().chain(&layer.bias).chain(norm) {
            let next = ranks.len();
            ranks.entry(name.as_str()).or_insert(next);
        }
    }
    tensors.sort_by_key(|found| ranks.get(found.name.as_str()).copied().unwrap_or(usize::MAX));
}
