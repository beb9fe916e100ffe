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
    for layer in layers(model, Dialect::Keras3).iter().filter(|layer| layer.class != "InputLayer") {
        let class = snake_case(layer.class);
        let number = seen.entry(layer.class).or_default();
        let place = if *number == 0 { class } else { format!("{class}_{number}") };
        *number += 1;
        let vars = root.group("layers").group(&place).group("vars");
        vars.text("name", layer.name.clone());
        for (at, tensor) in tensors(model, &layer.name)?.into_iter().enumerate() {
            vars.array(&at.to_string(), &tensor.shape, tensor.values);
        }
    }
    Ok(())
}

/// `max_pooling2d` of `MaxPooling2D`: `keras.src.utils.naming.to_snake_case` for names of letters and digits. An underscore
/// goes before a word (a capital and small letters) and between a small letter and a capital.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut out = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let is_small = |at: usize| letters.get(at).is_some_and(char::is_ascii_lowercase);
        if at > 0 && letter.is_ascii_uppercase() && (is_small(at + 1) || is_small(at - 1)) {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// Kernel and bias of the layer called `name`, or nothing.
fn tensors<'a>(model: &Model<'a>, name: &str) -> Result<Vec<Tensor<'a>>> {
    let placed = model.architecture().layers().iter().find(|placed| placed.name == name);
    let pair = placed.map(|placed| model.tensors(placed)).transpose()?.flatten();
    Ok(pair.map_or_else(Vec::new, Vec::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Keras 3.9's `to_snake_case` gives.
    #[test]
    fn classes_are_written_as_keras_writes_them() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("Rescaling", "rescaling"),
            ("Flatten", "flatten"),
            ("Dense", "dense"),
            ("ReLU", "re_lu"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }
}
