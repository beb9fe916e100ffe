//! The layers with weights that a file holds: names and shapes in, layers in order out.
//!
//! Three ways to say the same network are understood: Keras' (`block1_conv1.kernel`), PyTorch's and timm's
//! (`features.0.weight`, `pre_logits.fc1.weight`), and a graph (ONNX), where names mean nothing.

use crate::weights::{GraphLayer, GraphOp, Order, Weights};
use crate::error::Result;
use std::collections::BTreeSet;

/// How a file names what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Layers by Keras' names; kernels HWIO and `[in, out]`, flattened H, W, C.
    Keras,
    /// Modules by torchvision's names; kernels OIHW and `[out, in]`, flattened C, H, W.
    Torch,
    /// As [`Naming::Torch`], but the dense layers are convolutions.
    Timm,
    /// By the edges of a graph.
    Graph,
}

impl Naming {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keras => "Keras' names",
            Self::Torch => "torchvision's names",
            Self::Timm => "timm's names",
            Self::Graph => "a graph",
        }
    }
}

/// How the numbers of a kernel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A convolution of Keras.
    Hwio,
    /// A convolution of PyTorch.
    Oihw,
    /// A dense layer of Keras.
    InOut,
    /// A dense layer of PyTorch; of timm, where `in` is I, H, W.
    OutIn,
}

/// A layer as the file has it.
#[derive(Debug)]
pub(super) struct Found {
    /// What the file calls it.
    pub name: String,
    pub form: Form,
    /// Names of tensors.
    pub kernel: String,
    pub bias: Option<String>,
    pub norm: Option<Norm>,
}

/// Batch normalisation behind a convolution: names of tensors.
#[derive(Debug)]
pub(super) struct Norm {
    pub scale: String,
    pub offset: String,
    pub mean: String,
    pub variance: String,
    /// Added to the variance.
    pub epsilon: f64,
}

/// What a file holds, convolutions first, both in the order in which data pass through them.
#[derive(Debug)]
pub(super) struct Layers {
    pub naming: Naming,
    pub convolutions: Vec<Found>,
    pub dense: Vec<Found>,
    /// How the picture lay when it was flattened.
    pub flatten: Order,
}

/// torch.nn.BatchNorm2d's default; what is in a file of weights does not say it.
const TORCH_EPSILON: f64 = 1e-5;
/// keras.layers.BatchNormalization's default.
const KERAS_EPSILON: f64 = 1e-3;
/// Where timm keeps the dense layers that are convolutions.
const TIMM: &str = "pre_logits.";

impl Layers {
    /// Reads the names of `weights`.
    pub fn of(weights: &Weights) -> Result<Self> {
        if let Some(graph) = weights.graph() {
            let (dense, convolutions) =
                graph.layers.iter().map(of_graph).partition(|layer| matches!(layer.form, Form::InOut | Form::OutIn));
            let flatten = graph.flatten.unwrap_or(Order::ChannelsFirst);
            return Ok(Self { naming: Naming::Graph, convolutions, dense, flatten });
        }
        if weights.names().any(|name| name.ends_with(".kernel")) {
            return of_keras(weights);
        }
        of_torch(weights)
    }
}

fn of_graph(layer: &GraphLayer) -> Found {
    let form = match layer.op {
        GraphOp::Conv2d => Form::Oihw,
        GraphOp::Dense { outputs_first: true } => Form::OutIn,
        GraphOp::Dense { outputs_first: false } => Form::InOut,
    };
    let norm = layer.norm.as_ref().map(|norm| Norm {
        scale: norm.scale.clone(),
        offset: norm.offset.clone(),
        mean: norm.mean.clone(),
        variance: norm.variance.clone(),
        epsilon: norm.epsilon.into(),
    });
    let (kernel, bias) = (layer.kernel.clone(), layer.bias.clone());
    Found { name: kernel.clone(), form, kernel, bias, norm }
}

fn of_keras(weights: &Weights) -> Result<Layers> {
    let mut names: Vec<&str> = weights.in_order().collect();
    if weights.format() == crate::weights::FileFormat::Safetensors {
        // There the order is the alphabet's.
        names.sort_by_key(|name| natural(name));
    }
    let (mut convolutions, mut dense): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    let named = |stem: &str, role: &str| format!("{stem}.{role}");
    for name in names {
        if let Some(stem) = name.strip_suffix(".kernel") {
            let bias = Some(named(stem, "bias")).filter(|bias| weights.has(bias));
            let found = |form| Found { name: stem.into(), form, kernel: name.into(), bias, norm: None };
            match weights.shape(name)?.len() {
                4 => convolutions.push(found(Form::Hwio)),
                2 => dense.push(found(Form::InOut)),
                _ => {}
            }
        } else if let (Some(stem), Some(last)) = (name.strip_suffix(".moving_mean"), convolutions.last_mut()) {
            last.norm = Some(Norm {
                scale: named(stem, "gamma"),
                offset: named(stem, "beta"),
                mean: name.into(),
                variance: named(stem, "moving_variance"),
                epsilon: KERAS_EPSILON,
            });
        }
    }
    Ok(Layers { naming: Naming::Keras, convolutions, dense, flatten: Order::ChannelsLast })
}

fn of_torch(weights: &Weights) -> Result<Layers> {
    let mut stems: Vec<&str> = weights.names().filter_map(|name| name.strip_suffix(".weight")).collect();
    // `head.fc` comes after `pre_logits.fc1`, whatever the alphabet says.
    stems.sort_by_key(|stem| (stem.starts_with("head"), natural(stem)));
    let (mut convolutions, mut dense): (Vec<Found>, Vec<Found>) = (Vec::new(), Vec::new());
    let named = |stem: &str, role: &str| format!("{stem}.{role}");
    for stem in stems {
        let kernel = named(stem, "weight");
        let bias = Some(named(stem, "bias")).filter(|bias| weights.has(bias));
        let axes = weights.shape(&kernel)?.len();
        let mean = named(stem, "running_mean");
        let found = |form| Found { name: stem.into(), form, kernel, bias, norm: None };
        match axes {
            4 if stem.starts_with(TIMM) => dense.push(found(Form::OutIn)),
            4 => convolutions.push(found(Form::Oihw)),
            2 => dense.push(found(Form::OutIn)),
            1 if weights.has(&mean) => {
                if let Some(last) = convolutions.last_mut() {
                    last.norm = Some(Norm {
                        scale: named(stem, "weight"),
                        offset: named(stem, "bias"),
                        mean,
                        variance: named(stem, "running_var"),
                        epsilon: TORCH_EPSILON,
                    });
                }
            }
            _ => {}
        }
    }
    let timm = dense.iter().any(|layer| layer.name.starts_with(TIMM));
    let naming = if timm { Naming::Timm } else { Naming::Torch };
    Ok(Layers { naming, convolutions, dense, flatten: Order::ChannelsFirst })
}

/// A key by which `features.10` comes after `features.2`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        // A number of more than 19 digits is none that matters.
        key.push((0, word.to_owned()));
        key.push((number.parse().unwrap_or(u64::MAX), String::new()));
        rest = after;
    }
    key
}

/// What our network calls the layers of a file: Keras' names, which files of Keras keep.
///
/// Blocks are told by how many convolutions there are; `None` where that is no VGG's and the names are not
/// Keras'.
pub(super) fn canonical(layers: &Layers, blocks: Option<[usize; 5]>) -> Option<[Vec<String>; 2]> {
    let own = layers.naming == Naming::Keras && layers.convolutions.iter().all(|layer| is_block(&layer.name));
    let convolutions = match (own, blocks) {
        (true, _) => layers.convolutions.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>(),
        (false, Some(blocks)) => {
            let names = blocks.iter().enumerate();
            names.flat_map(|(b, &n)| (1..=n).map(move |c| format!("block{}_conv{c}", b + 1))).collect()
        }
        (false, None) => return None,
    };
    let known = ["fc1", "fc2", "predictions", "dense", "dense_1"];
    let kept = own && layers.dense.iter().all(|layer| known.contains(&layer.name.as_str()));
    let dense: Vec<String> = match layers.dense.len() {
        _ if kept => layers.dense.iter().map(|layer| layer.name.clone()).collect(),
        3 => known[..3].iter().map(|&name| name.into()).collect(),
        n => (0..n).map(|at| if at == 0 { "dense".into() } else { format!("dense_{at}") }).collect(),
    };
    let unique: BTreeSet<&String> = convolutions.iter().chain(&dense).collect();
    (unique.len() == convolutions.len() + dense.len()).then_some([convolutions, dense])
}

/// `block3_conv2`
fn is_block(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("block")
        .and_then(|rest| rest.split_once("_conv"))
        .is_some_and(|(block, conv)| number(block) && number(conv))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["features.10", "features.2", "features", "classifier.0", "conv2d_1", "conv2d", "conv2d_10"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(
            names,
            ["classifier.0", "conv2d", "conv2d_1", "conv2d_10", "features", "features.2", "features.10"]
        );
    }

    #[test]
    fn blocks_are_recognised() {
        assert!(is_block("block5_conv3"));
        assert!(!is_block("block_conv3") && !is_block("conv2d_1") && !is_block("block1_conv1x"));
    }
}
