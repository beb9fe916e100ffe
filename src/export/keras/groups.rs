//! Where Keras keeps weights inside HDF5: by layer name (legacy), or by class and number (`.keras`).

use super::Dialect;
use super::config::layers;
use crate::error::Result;
use crate::export::model::{Model, Tensor};
use crate::weights::hdf5::Group;
use std::collections::BTreeMap;

/// The legacy layout: a group per layer, its weights at the paths that `weight_names` lists. Groups of
/// layers without weights are there, with an empty list.
///
/// # Errors
/// Those of [`Model::tensors`].
pub fn legacy<'a>(model: &Model<'a>, dialect: Dialect, root: &mut Group<'a>) -> Result<()> {
    let layers = layers(model, dialect);
    // `Sequential` does not count its input.
    let names: Vec<String> =
        layers.iter().filter(|layer| layer.class != "InputLayer").map(|layer| layer.name.clone()).collect();
    root.text("backend", "tensorflow");
    root.text("keras_version", dialect.version());
    root.names("layer_names", names.clone());
    for name in &names {
        let group = root.group(name);
        let tensors = tensors(model, name)?;
        let path = |part: &str| match dialect {
            Dialect::Keras2 => format!("{name}/{part}:0"),
            Dialect::Keras3 => format!("{}/{name}/{part}", model.architecture().name),
        };
        let paths: Vec<String> = ["kernel", "bias"].map(path)[..tensors.len()].to_vec();
        group.names("weight_names", paths.clone());
        for (path, tensor) in paths.iter().zip(tensors) {
            group.array(path, &tensor.shape, tensor.values);
        }
    }
    root.group("top_level_model_weights").names("weight_names", Vec::new());
    Ok(())
}

/// `model.weights.h5` of a `.keras` archive: `layers/conv2d_3/vars/0`. The number counts layers of the
/// same class; the layer's own name is an attribute.
///
/// # Errors
/// Those of [`Model::tensors`].
pub fn numbered<'a>(model: &Model<'a>, root: &mut Group<'a>) -> Result<()> {
    root.group("vars").text("name", model.architecture().name.clone());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for layer in layers(model, Dialect::Keras3) {
        let class = match layer.class {
            "InputLayer" => continue,
            "Conv2D" => "conv2d",
            "MaxPooling2D" => "max_pooling2d",
            "Flatten" => "flatten",
            "Dense" => "dense",
            "Dropout" => "dropout",
            _ => "rescaling",
        };
        let number = seen.entry(class).or_default();
        let place = if *number == 0 { class.to_owned() } else { format!("{class}_{number}") };
        *number += 1;
        let vars = root.group("layers").group(&place).group("vars");
        vars.text("name", layer.name.clone());
        for (at, tensor) in tensors(model, &layer.name)?.into_iter().enumerate() {
            vars.array(&at.to_string(), &tensor.shape, tensor.values);
        }
    }
    Ok(())
}

/// Kernel and bias of the layer called `name`, or nothing.
fn tensors<'a>(model: &Model<'a>, name: &str) -> Result<Vec<Tensor<'a>>> {
    let placed = model.architecture().layers().iter().find(|placed| placed.name == name);
    let pair = placed.map(|placed| model.tensors(placed)).transpose()?.flatten();
    Ok(pair.map_or_else(Vec::new, Vec::from))
}
