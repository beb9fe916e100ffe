//! Weights alone, with the names of Keras or of torchvision.

use super::channels_first;
use super::model::{Model, Tensor};
use crate::error::Result;
use crate::model::{Layer, Output};
use crate::weights::{FloatType, NamedTensor, layout, save};
use std::collections::BTreeMap;
use std::path::Path;

/// `block1_conv1.kernel` (HWIO), `dense.kernel` (in × out).
///
/// # Errors
/// Those of [`Model::tensors`] and [`save`].
pub fn keras(path: &Path, model: &Model<'_>) -> Result<()> {
    let mut named = Vec::new();
    for placed in model.architecture().layers() {
        for (tensor, part) in model.tensors(placed)?.into_iter().flatten().zip(["kernel", "bias"]) {
            named.push((format!("{}.{part}", placed.name), tensor));
        }
    }
    write(path, model, &named, [("format", "keras".to_owned()), ("layout", "HWIO".to_owned())])
}

/// `features.0.weight` (OIHW), `classifier.0.weight` (out × in, inputs in the order C, H, W).
///
/// The numbers count as torchvision's `nn.Sequential`s do: a convolution and its ReLU are two, a pooling
/// one, a dense layer with ReLU and dropout three.
///
/// # Errors
/// Those of [`Model::tensors`] and [`save`].
pub fn torchvision(path: &Path, model: &Model<'_>) -> Result<()> {
    let mut named = Vec::new();
    let (mut feature, mut classifier) = (0, 0);
    for layer in channels_first::layers(model)? {
        let place = match layer.placed.layer {
            Layer::Conv2d { .. } => format!("features.{feature}"),
            _ => format!("classifier.{classifier}"),
        };
        match layer.placed.layer {
            Layer::Conv2d { .. } => feature += 2,
            Layer::Maxpool2d => feature += 1,
            Layer::Dense { .. } => classifier += 3,
            Layer::Flatten | Layer::Dropout { .. } => {}
        }
        let Some([mut kernel, bias]) = layer.tensors else { continue };
        if let [inputs, outputs] = *kernel.shape {
            kernel.values = layout::transpose(&kernel.values, inputs, outputs).into();
            kernel.shape = vec![outputs, inputs];
        }
        named.push((format!("{place}.weight"), kernel));
        named.push((format!("{place}.bias"), bias));
    }
    write(path, model, &named, [("format", "pt".to_owned()), ("vgg_ft_torch", recipe(model))])
}

/// How torchvision's class is brought into the shape of this network.
pub fn recipe(model: &Model<'_>) -> String {
    let architecture = model.architecture();
    let mut lines = format!(
        "m = torchvision.models.{}(weights=None); m.avgpool = torch.nn.Identity()",
        architecture.name
    );
    let mut inputs = architecture.shape_before(architecture.base()).len();
    let mut modules = Vec::new();
    let mut rate = 0.0;
    for placed in architecture.layers() {
        match placed.layer {
            Layer::Dense { units, relu } => {
                modules.push(format!("torch.nn.Linear({inputs}, {units})"));
                if relu {
                    modules.push("torch.nn.ReLU()".into());
                    modules.push("torch.nn.Dropout(0.0)".into());
                }
                inputs = units;
            }
            // The place behind a ReLU is there already, whether or not the network drops anything.
            Layer::Dropout { rate: dropped } => rate = dropped,
            _ => {}
        }
    }
    if !modules.is_empty() {
        let modules = modules.join(", ").replace("Dropout(0.0)", &format!("Dropout({rate})"));
        lines += &format!("; m.classifier = torch.nn.Sequential({modules})");
    }
    lines += match architecture.output() {
        Output::Sigmoid => "; probabilities = torch.sigmoid(m(x))",
        Output::Softmax(_) => "; probabilities = torch.softmax(m(x), 1)",
        Output::Features => "; features = m.features(x)",
    };
    lines
}

fn write<const N: usize>(
    path: &Path,
    model: &Model<'_>,
    named: &[(String, Tensor<'_>)],
    own: [(&str, String); N],
) -> Result<()> {
    let tensors: Vec<_> = named
        .iter()
        .map(|(name, tensor)| NamedTensor {
            name: name.clone(),
            shape: tensor.shape.clone(),
            data: &tensor.values,
        })
        .collect();
    let metadata: BTreeMap<String, String> =
        model.remarks().into_iter().chain(own).map(|(key, text)| (key.to_owned(), text)).collect();
    save(path, &tensors, FloatType::F32, &metadata)
}
