//! Weights alone, with the names and layouts of PyTorch: torchvision's (safetensors or `.pth`) and timm's.

use super::model::{Model, Tensor};
use super::safetensors::{borrowed, write};
use super::{Layout, channels_first};
use crate::error::{Error, Kind, Result};
use crate::model::{Layer, Output};
use crate::weights::{layout, torch};
use std::path::Path;

/// Tensors by name.
type Named<'a> = Vec<(String, Tensor<'a>)>;

/// torchvision's names, safetensors.
///
/// # Errors
/// Those of [`Model::tensors`] and [`save`](crate::weights::save()).
pub fn torchvision(path: &Path, model: &Model<'_>) -> Result<()> {
    write(
        path,
        model,
        Layout::Nchw,
        &named(model)?,
        [("format", "pt".to_owned()), ("vgg_ft_torch", recipe(model))],
    )
}

/// torchvision's names, the archive that `torch.load` reads.
///
/// # Errors
/// Those of [`Model::tensors`] and [`torch::save`].
pub fn pth(path: &Path, model: &Model<'_>) -> Result<()> {
    torch::save(path, &borrowed(&named(model)?))
}

/// timm's names, safetensors: torchvision's features, and the classifier of ImageNet as convolutions of 7x7
/// and 1x1.
///
/// # Errors
/// As [`torchvision`]; [`Kind::Usage`] for a network without that classifier.
pub fn timm(path: &Path, model: &Model<'_>) -> Result<()> {
    let mut named = named(model)?;
    let architecture = model.architecture();
    let [h, w, c] = match *architecture.shape_before(architecture.base()).axes() {
        [_, h, w, c] => [h, w, c],
        _ => [0; 3],
    };
    let names = architecture.layers()[architecture.base()..].iter().map(|placed| placed.name.as_str());
    if !names.eq(["flatten", "fc1", "fc2", "predictions"]) || [h, w] != [7, 7] {
        return Err(Error::new(Kind::Usage, "timm's VGG has the classifier of ImageNet on top")
            .expected_got("a network with fc1, fc2 and predictions", &architecture.name)
            .help("write torchvision's names: --format torchvision"));
    }
    // Ours, timm's, and the inputs of the convolution that stands for a dense layer.
    let classifier = [
        ("classifier.0", "pre_logits.fc1", Some([c, h, w])),
        ("classifier.3", "pre_logits.fc2", Some([4096, 1, 1])),
        ("classifier.6", "head.fc", None),
    ];
    for (name, tensor) in &mut named {
        let Some((module, part)) = name.rsplit_once('.') else { continue };
        let Some((_, theirs, inputs)) = classifier.iter().find(|(ours, ..)| *ours == module) else {
            continue;
        };
        if let (Some(inputs), "weight") = (inputs, part) {
            tensor.shape = vec![tensor.shape[0], inputs[0], inputs[1], inputs[2]];
        }
        *name = format!("{theirs}.{part}");
    }
    write(path, model, Layout::Nchw, &named, [("format", "pt".to_owned())])
}

/// `features.0.weight` (OIHW), `classifier.0.weight` (out × in, inputs in the order C, H, W).
///
/// The numbers count as torchvision's `nn.Sequential`s do: a convolution and its ReLU are two, a pooling
/// one, a dense layer with ReLU and dropout three.
fn named<'a>(model: &Model<'a>) -> Result<Named<'a>> {
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
            Layer::Flatten | Layer::GlobalAvgpool2d | Layer::Dropout { .. } => {}
        }
        let Some([mut kernel, bias]) = layer.tensors else { continue };
        if let [inputs, outputs] = *kernel.shape {
            kernel.values = layout::transpose(&kernel.values, inputs, outputs).into();
            kernel.shape = vec![outputs, inputs];
        }
        named.push((format!("{place}.weight"), kernel));
        named.push((format!("{place}.bias"), bias));
    }
    Ok(named)
}

/// How torchvision's class is brought into the shape of this network.
pub fn recipe(model: &Model<'_>) -> String {
    let architecture = model.architecture();
    let row = architecture.layers().get(architecture.base());
    // What stands in front of torchvision's flatten; without a classifier nothing is flattened.
    let mut before = Vec::new();
    if let Some(Layer::GlobalAvgpool2d) = row.map(|placed| placed.layer) {
        before.push("torch.nn.AdaptiveAvgPool2d(1)".to_owned());
    }
    let mut inputs = row.map_or(0, |placed| placed.output.len());
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
            Layer::Dropout { rate: dropped } if !modules.is_empty() => rate = dropped,
            // In the classifier it would change the number of the layer behind it.
            Layer::Dropout { rate } => before.push(format!("torch.nn.Dropout({rate})")),
            _ => {}
        }
    }
    let before = match &before[..] {
        [] => "torch.nn.Identity()".to_owned(),
        [one] => one.clone(),
        several => format!("torch.nn.Sequential({})", several.join(", ")),
    };
    let mut lines =
        format!("m = torchvision.models.{}(weights=None); m.avgpool = {before}", architecture.name);
    // Of a base alone it is empty: the file has nothing for torchvision's own.
    let modules = modules.join(", ").replace("Dropout(0.0)", &format!("Dropout({rate})"));
    lines += &format!("; m.classifier = torch.nn.Sequential({modules})");
    lines += match architecture.output() {
        Output::Sigmoid => "; m.eval(); probabilities = torch.sigmoid(m(x))",
        Output::Softmax(_) => "; m.eval(); probabilities = torch.softmax(m(x), 1)",
        Output::Features => "; m.eval(); features = m.features(x)",
    };
    lines
}
