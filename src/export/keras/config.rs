//! The JSON from which Keras builds the layers again.
//!
//! Only keys without which a layer would be another one: what is left out takes Keras' default, and every
//! key more is one that some version does not know.

use super::Dialect;
use crate::export::model::{Affine, Model};
use crate::files::short;
use crate::model::{Layer, Output};
use serde_json::{Value, json};

/// A layer that Keras builds: class, name, what its class asks for.
pub struct Described {
    /// `Conv2D`.
    pub class: &'static str,
    /// `block1_conv1`.
    pub name: String,
    own: Value,
}

/// The layers of `model` as Keras counts them, the input first.
pub fn layers(model: &Model<'_>, dialect: Dialect) -> Vec<Described> {
    let architecture = model.architecture();
    let [h, w] = architecture.input;
    let batch = match dialect {
        Dialect::Keras2 => "batch_input_shape",
        Dialect::Keras3 => "batch_shape",
    };
    let input = json!({ batch: [null, h, w, 3], "dtype": "float32", "sparse": false });
    let mut all = vec![Described { class: "InputLayer", name: "input".into(), own: input }];
    if let Some(affine) = model.affine() {
        all.push(Described { class: "Rescaling", name: "rescaling".into(), own: rescaling(&affine) });
    }
    let last = architecture.layers().len().saturating_sub(1);
    for (position, placed) in architecture.layers().iter().enumerate() {
        let own = match placed.layer {
            Layer::Conv2d { filters } => json!({
                "filters": filters,
                "kernel_size": [3, 3],
                "strides": [1, 1],
                "padding": "same",
                "data_format": "channels_last",
                "activation": "relu",
                "use_bias": true,
            }),
            Layer::Maxpool2d => json!({
                "pool_size": [2, 2],
                "strides": [2, 2],
                "padding": "valid",
                "data_format": "channels_last",
            }),
            Layer::Flatten => json!({ "data_format": "channels_last" }),
            Layer::GlobalAvgpool2d => json!({ "data_format": "channels_last" }),
            Layer::Dense { units, relu } => json!({
                "units": units,
                "activation": activation(relu, (position == last).then(|| architecture.output())),
                "use_bias": true,
            }),
            Layer::Dropout { rate } => json!({ "rate": short(rate) }),
        };
        all.push(Described { class: placed.layer.kind(), name: placed.name.clone(), own });
    }
    all
}

/// The attribute `model_config` of an HDF5 file.
pub fn sequential(model: &Model<'_>, dialect: Dialect) -> Value {
    let layers: Vec<Value> = layers(model, dialect)
        .iter()
        .map(|layer| json!({ "class_name": layer.class, "config": layer.config() }))
        .collect();
    json!({ "class_name": "Sequential", "config": { "name": model.architecture().name, "layers": layers } })
}

/// `config.json` of a `.keras` archive, in which everything says where it is from.
pub fn archive(model: &Model<'_>) -> Value {
    let layers: Vec<Value> = layers(model, Dialect::Keras3)
        .iter()
        .map(|layer| {
            json!({
                "module": "keras.layers",
                "class_name": layer.class,
                "config": layer.config(),
                "registered_name": null,
            })
        })
        .collect();
    let [h, w] = model.architecture().input;
    json!({
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": model.architecture().name,
            "trainable": true,
            "dtype": "float32",
            "layers": layers,
            "build_input_shape": [null, h, w, 3],
        },
        "registered_name": null,
        "build_config": { "input_shape": [null, h, w, 3] },
    })
}

impl Described {
    fn config(&self) -> Value {
        let mut config = json!({ "name": self.name });
        if self.class != "InputLayer" {
            config["trainable"] = true.into();
            config["dtype"] = "float32".into();
        }
        if let (Some(config), Some(own)) = (config.as_object_mut(), self.own.as_object()) {
            config.extend(own.clone());
        }
        config
    }
}

fn activation(relu: bool, output: Option<Output>) -> &'static str {
    match output {
        _ if relu => "relu",
        Some(Output::Sigmoid) => "sigmoid",
        Some(Output::Softmax(_)) => "softmax",
        Some(Output::Features) | None => "linear",
    }
}

/// f32 numbers keep their bits on the way: the shortest text that is read back as the same f32.
fn rescaling(affine: &Affine) -> Value {
    let numbers = |values: [f32; 3]| {
        // One number where one is enough, as people write the layer.
        if values == [values[0]; 3] { json!(short(values[0])) } else { json!(values.map(short)) }
    };
    json!({ "scale": numbers(affine.scale), "offset": numbers(affine.offset) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_printed_for_keras_is_read_back_to_the_bit() {
        for value in [1.0 / 255.0, -103.939, 0.017_124_753, -2.117_904, 0.0] {
            let text = json!(short(value)).to_string();
            assert_eq!((text.parse::<f64>().unwrap() as f32).to_bits(), value.to_bits(), "{text}");
        }
    }
}
