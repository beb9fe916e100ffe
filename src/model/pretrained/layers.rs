//! The layers with weights that a file holds: names and shapes in, layers in order out.
//!
//! Three ways to say the same network are understood: Keras' (`block1_conv1.kernel`), PyTorch's and timm's
//! (`features.0.weight`, `pre_logits.fc1.weight`), and a graph (ONNX), where names mean nothing. What cannot be
//! understood of a classifier leaves the convolutions usable; what cannot be of the convolutions is an error.

use super::claims;
use super::loose::Loose;
use super::names::natural;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::model::Variant;
use crate::weights::{FileFormat, GraphLayer, GraphOp, Order, Weights, shorten};

/// How a file names what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Layers by Keras' names; kernels HWIO and `[in, out]`, flattened H, W, C.
    Keras,
    /// Modules by torchvision's names; kernels OIHW and `[out, in]`, flattened C, H, W.
    Torchvision,
    /// As [`Naming::Torchvision`], by other names.
    Torch,
    /// As [`Naming::Torchvision`], but the dense layers are convolutions.
    Timm,
    /// By the edges of a graph.
    Graph,
}

impl Naming {
    /// "torchvision's names", for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keras => "Keras' names",
            Self::Torchvision => "torchvision's names",
            Self::Torch => "names of PyTorch's modules",
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
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What the file calls it.
    pub name: String,
    pub form: Form,
    /// Names of tensors.
    pub kernel: String,
    pub bias: Option<String>,
    pub norm: Option<Norm>,
    /// The kernel's axes in Keras' layout: HWIO, or in and out. No axis is 0.
    pub shape: Vec<usize>,
}

/// Batch normalisation behind a convolution: names of tensors.
#[derive(Clone, Debug)]
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
    /// How the image lay when it was flattened.
    pub flatten: Order,
    /// Why there are no dense layers although the file has some.
    pub trouble: Option<String>,
    /// What stands behind the last pooling of a base alone, and is no part of it.
    pub behind: Option<String>,
    /// Modules of a classifier that is left out: their tensors are no other network's.
    pub left: Vec<String>,
    /// Tensors of floats that are no part of the network.
    pub others: Vec<String>,
}

/// Characters of what a file says about itself.
pub(super) const REASON: usize = 200;
/// torch.nn.BatchNorm2d's default; what is in a file of weights does not say it.
const TORCH_EPSILON: f64 = 1e-5;

impl Layers {
    /// Reads the names of `weights`.
    ///
    /// # Errors
    /// [`Kind::Weights`] for convolutions that do not follow from one another, and normalisation that cannot be
    /// folded into them.
    pub fn of(weights: &Weights) -> Result<Self> {
        let mut out = if weights.graph().is_some() {
            of_graph(weights)?
        } else if weights.names().any(|name| name.ends_with(".kernel")) {
            of_keras(weights)?
        } else {
            of_torch(weights)?
        };
        // A graph says itself what is on the way.
        if weights.graph().is_none() {
            claims::check(weights, &mut out)?;
        }
        check_pools(weights, out.convolutions.len())?;
        out.chain(weights)?;
        Ok(out)
    }

    fn new(naming: Naming, flatten: Order) -> Self {
        Self {
            naming,
            convolutions: Vec::new(),
            dense: Vec::new(),
            flatten,
            trouble: None,
            behind: None,
            left: Vec::new(),
            others: Vec::new(),
        }
    }

    fn put(&mut self, found: Found) {
        let convolution = matches!(found.form, Form::Hwio | Form::Oihw);
        if convolution { &mut self.convolutions } else { &mut self.dense }.push(found);
    }

    /// Whether each layer takes what the one before gives.
    fn chain(&mut self, weights: &Weights) -> Result<()> {
        let mut channels = 3;
        for layer in &self.convolutions {
            let &[h, w, i, o] = &layer.shape[..] else { continue };
            if [h, w, i] != [3, 3, channels] {
                let got = format!("{h}x{w}x{i} in `{}`", shorten(&layer.kernel));
                return Err(Error::new(Kind::Weights, format!("{} holds no VGG", weights.path().display()))
                    .expected_got(format!("a convolution of 3x3 on {channels} channels"), got)
                    .help(super::INSPECT));
            }
            channels = o;
        }
        let fits = |pair: &[Found]| pair[0].shape.last() == pair[1].shape.first();
        if let Some(pair) = self.dense.windows(2).find(|pair| !fits(pair)) {
            let [a, b] = [&pair[0], &pair[1]].map(|layer| shorten(&layer.kernel));
            self.trouble = Some(format!("`{b}` does not take what `{a}` gives"));
        }
        // A classifier of NaN is torchvision's way to say that there is none (IMAGENET1K_FEATURES).
        for layer in &self.dense {
            if !weights.is_float(&layer.kernel)? {
                self.trouble
                    .get_or_insert(format!("`{}` holds no floating-point numbers", shorten(&layer.kernel)));
                continue;
            }
            let first = weights.first(&layer.kernel, 16)?;
            if self.trouble.is_none() && first.iter().all(|value| value.is_nan()) {
                self.trouble =
                    Some(format!("`{}` is not filled: its values are NaN", shorten(&layer.kernel)));
            }
        }
        if self.dense.is_empty() {
            self.behind = self.trouble.take();
        }
        if self.trouble.is_some() {
            self.dense.clear();
        }
        Ok(())
    }
}

/// The kernel's axes in Keras' order.
fn keras_shape(weights: &Weights, kernel: &str, form: Form) -> Result<Vec<usize>> {
    let shape = weights.shape(kernel)?;
    let out = match (form, shape) {
        (Form::Hwio, &[h, w, i, o]) | (Form::Oihw, &[o, i, h, w]) => vec![h, w, i, o],
        (Form::InOut, &[rows, units]) => vec![rows, units],
        // The file has as many numbers, so the product is no more than its size where no axis is 0.
        (Form::OutIn, [o, rest @ ..]) if !shape.contains(&0) => vec![rest.iter().product::<usize>(), *o],
        _ => Vec::new(),
    };
    if !out.is_empty() && !shape.contains(&0) {
        return Ok(out);
    }
    Err(Error::new(Kind::Weights, format!("`{}` is no kernel of a VGG", shorten(kernel)))
        .expected_got("4 axes of a convolution or 2 of a dense layer, none of them 0", format!("{shape:?}"))
        .help(super::INSPECT))
}

fn of_graph(weights: &Weights) -> Result<Layers> {
    let Some(graph) = weights.graph() else { return of_torch(weights) };
    let mut out = Layers::new(Naming::Graph, graph.flatten.unwrap_or(Order::ChannelsFirst));
    for GraphLayer { op, kernel, bias, norm } in &graph.layers {
        let form = match op {
            GraphOp::Conv2d => Form::Oihw,
            GraphOp::Dense { outputs_first: true } => Form::OutIn,
            GraphOp::Dense { outputs_first: false } => Form::InOut,
        };
        let norm = norm.as_ref().map(|norm| Norm {
            scale: norm.scale.clone(),
            offset: norm.offset.clone(),
            mean: norm.mean.clone(),
            variance: norm.variance.clone(),
            epsilon: norm.epsilon.into(),
        });
        let shape = keras_shape(weights, kernel, form)?;
        let (kernel, bias) = (kernel.clone(), bias.clone());
        out.put(Found { name: kernel.clone(), form, kernel, bias, norm, shape });
    }
    Ok(out)
}

/// A VGG pools behind each block and nowhere else; files of weights alone do not say where.
fn check_pools(weights: &Weights, count: usize) -> Result<()> {
    let blocks = Variant::ALL.map(Variant::blocks).into_iter().find(|b| b.iter().sum::<usize>() == count);
    let (Some(blocks), Some(pools)) = (blocks, weights.pools()) else { return Ok(()) };
    let mut before = 0;
    let ends = blocks.map(|n| {
        before += n;
        before
    });
    if pools == ends {
        return Ok(());
    }
    Err(Error::new(Kind::Weights, format!("{} holds no VGG", weights.path().display()))
        .expected_got(
            format!("poolings behind the convolutions {ends:?}"),
            format!("behind {:?}", pools.iter().take(20).collect::<Vec<_>>()),
        )
        .help(super::INSPECT))
}

fn of_keras(weights: &Weights) -> Result<Layers> {
    if let Some(trouble) = weights.metadata().get("unlike-vgg") {
        return Err(Error::new(Kind::Weights, format!("{} holds no VGG", weights.path().display()))
            .fact("reason", files::shorten(trouble, REASON))
            .help(super::INSPECT));
    }
    let mut names: Vec<&str> = weights.in_order().collect();
    if weights.format() == FileFormat::Safetensors {
        // There the order is the alphabet's.
        names.sort_by_cached_key(|name| natural(name));
    }
    let mut out = Layers::new(Naming::Keras, Order::ChannelsLast);
    out.trouble = weights.metadata().get("unlike-classifier").map(|why| files::shorten(why, REASON));
    // A normalisation before any dense layer: of the classifier's, unless a convolution comes behind it.
    let mut loose: Option<(&str, Error)> = None;
    for name in names {
        if let Some(stem) = name.strip_suffix(".kernel") {
            let form = match weights.shape(name)?.len() {
                4 => Form::Hwio,
                2 => Form::InOut,
                _ => continue,
            };
            if let Some((_, error)) = loose.take_if(|_| form == Form::Hwio) {
                return Err(error);
            }
            // A VGG's layers all have one; a file that has lost it is damaged, and says so when it is read.
            let bias = Some(format!("{stem}.bias"));
            let shape = keras_shape(weights, name, form)?;
            out.put(Found { name: stem.into(), form, kernel: name.into(), bias, norm: None, shape });
        } else if let Some(stem) = name.strip_suffix(".moving_mean") {
            if out.dense.is_empty() {
                // Keras puts it before or behind the ReLU, as people write it, and each with an ε of its own.
                let error = Error::new(
                    Kind::Weights,
                    format!("the batch normalisation `{}` cannot be folded", shorten(stem)),
                )
                .fact("reason", "a file of Keras' weights does not say what stands before it")
                .help("export the model as ONNX, whose graph says it, and give that file");
                loose.get_or_insert((stem, error));
                continue;
            }
            out.trouble = Some(format!("`{}` normalises between dense layers", shorten(stem)));
        }
    }
    if let Some((stem, error)) = loose {
        // Nothing but a configuration tells.
        if !weights.metadata().contains_key("normalised-classifier") {
            return Err(error);
        }
        out.left.push(stem.into());
    }
    Ok(out)
}

fn of_torch(weights: &Weights) -> Result<Layers> {
    let mut stems: Vec<&str> = weights.in_order().filter_map(|name| name.strip_suffix(".weight")).collect();
    if weights.format() == FileFormat::Safetensors {
        // There the order is the alphabet's, and `head.fc` comes after `pre_logits.fc1`.
        stems.sort_by_cached_key(|stem| (stem.split('.').any(|part| part == "head"), natural(stem)));
    }
    let timm = |stem: &str| stem.split('.').any(|part| part == "pre_logits");
    let mut out = Layers::new(Naming::Torch, Order::ChannelsFirst);
    // The convolution that the module before this one is.
    let mut before: Option<usize> = None;
    // Those of none.
    let mut loose: Vec<Loose> = Vec::new();
    for &stem in &stems {
        let named = |role: &str| format!("{stem}.{role}");
        let kernel = named("weight");
        let form = match weights.shape(&kernel)?.len() {
            4 if timm(stem) => Form::OutIn,
            4 => Form::Oihw,
            2 => Form::OutIn,
            1 if weights.has(&named("running_mean")) => {
                let norm = Norm {
                    scale: kernel,
                    offset: named("bias"),
                    mean: named("running_mean"),
                    variance: named("running_var"),
                    epsilon: TORCH_EPSILON,
                };
                loose.extend(out.fold(weights, stem, norm, before.take())?);
                continue;
            }
            _ => continue,
        };
        let shape = keras_shape(weights, &kernel, form)?;
        let bias = Some(named("bias")).filter(|bias| weights.has(bias));
        if let (Some(loose), Form::Oihw) = (loose.first(), form) {
            return Err(loose.error());
        }
        before = (form == Form::Oihw).then_some(out.convolutions.len());
        out.put(Found { name: stem.into(), form, kernel, bias, norm: None, shape });
    }
    out.settle(loose)?;
    // Without a bias is a convolution whose normalisation has one, and no other.
    for layer in out.convolutions.iter_mut().chain(&mut out.dense) {
        if layer.norm.is_none() && layer.bias.is_none() {
            layer.bias = Some(format!("{}.bias", layer.name));
        }
    }
    let numbered = |stem: &str| {
        let number = stem.strip_prefix("features.").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    out.naming = match () {
        () if out.dense.iter().any(|layer| timm(&layer.name)) => Naming::Timm,
        () if out.convolutions.iter().all(|layer| numbered(&layer.name)) => Naming::Torchvision,
        () => Naming::Torch,
    };
    Ok(out)
}
