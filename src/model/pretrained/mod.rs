//! A VGG in a file of any kind, in our names and layouts.
//!
//! In: a [`Weights`] file as Keras, PyTorch, timm or an ONNX exporter wrote it. Out: its parameters by
//! Keras' names (`block1_conv1.kernel`, `fc1.kernel`), convolutions as OHWI for the engine or HWIO for files,
//! dense kernels as `[in, out]` with `in` in the order H, W, C, batch normalisation folded in, channels in the
//! order that the preprocessing makes; and the [`Lineage`], which says what that is and why.

mod claims;
mod layers;
mod lineage;
mod loose;
mod names;
mod read;

pub use layers::Naming;
pub use lineage::{Lineage, SINCE};

use super::{ParameterSpec, Pooling, Preprocess, Variant};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::weights::{Order, Weights, shorten};
use layers::{Found, Layers};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// A file of weights, understood.
pub struct Pretrained {
    weights: Weights,
    origins: Vec<Origin>,
    /// Places in `origins`, by layer.
    index: BTreeMap<String, usize>,
    lineage: Lineage,
}

/// Where the parameters of a layer of ours come from.
struct Origin {
    found: Found,
    /// The image that was flattened with channels first before this layer, H, W, C, perhaps as a single line.
    flattened: Option<[usize; 3]>,
    /// The three input channels change places.
    turned: bool,
    /// Its two columns become one, the second minus the first.
    joined: bool,
}

impl Origin {
    /// The kernel's axes in Keras' layout, as they are given out.
    fn shape(&self) -> Vec<usize> {
        match self.found.shape[..] {
            [rows, 2] if self.joined => vec![rows, 1],
            ref shape => shape.to_vec(),
        }
    }
}

/// What of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Kernel,
    Bias,
}

impl Pretrained {
    /// Opens a file of any format and finds the VGG in it.
    ///
    /// # Errors
    /// Those of [`Weights::open`] and [`Pretrained::of`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(Weights::open(path)?)
    }

    /// Finds the VGG in `weights`.
    ///
    /// A classifier that cannot be understood is left out, and [`Lineage::reasons`] say why.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is none: another number of convolutions, or
    /// convolutions that do not follow from one another.
    pub fn of(weights: Weights) -> Result<Self> {
        let mut layers = Layers::of(&weights)?;
        let variant = variant(&layers);
        let channels = layers.convolutions.last().map_or(0, |last| last.shape[3]);
        let flattened = flattened(&weights, &layers, channels);
        if flattened.is_err() {
            layers.trouble = flattened.clone().err();
            layers.dense.clear();
        }
        // `max`, of somebody else's: no classifier of ours takes that.
        let strange = said(&weights, "pooling").filter(|name| name.parse::<Pooling>().is_err());
        if let Some(name) = strange.filter(|_| !layers.dense.is_empty()) {
            layers.trouble = Some(format!("the file says that it takes `{}` of the last map", shorten(name)));
            layers.dense.clear();
        }
        let lineage = Lineage::of(&weights, &layers, variant)?;
        let count = layers.convolutions.len();
        let blocks = Variant::ALL
            .map(Variant::blocks)
            .into_iter()
            .find(|blocks| blocks.iter().sum::<usize>() == count);
        let names = names::canonical(&layers, blocks).filter(|_| count > 0);
        let Some([of_convolutions, of_dense]) = names else { return Err(stranger(&weights, &layers)) };
        let mut out = Self { weights, origins: Vec::new(), index: BTreeMap::new(), lineage };
        for (at, (name, found)) in of_convolutions.into_iter().zip(layers.convolutions).enumerate() {
            let turned = at == 0 && out.lineage.turned;
            out.push(name, Origin { found, flattened: None, turned, joined: false });
        }
        let mut flattened = flattened.ok().flatten();
        let last = layers.dense.len().saturating_sub(1);
        for (at, (name, found)) in of_dense.into_iter().zip(layers.dense).enumerate() {
            let joined = at == last && out.lineage.joined;
            out.push(name, Origin { found, flattened: flattened.take(), turned: false, joined });
        }
        Ok(out)
    }

    fn push(&mut self, name: String, origin: Origin) {
        self.index.insert(name, self.origins.len());
        self.origins.push(origin);
    }

    /// The file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where it comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Says that images will be scaled by `recipe`, whatever the file tells: a first kernel that takes R, G, B is turned
    /// where the recipe gives B, G, R, and stays where it does not. One that takes B, G, R is left as it is: the book feeds
    /// it R, G, B.
    pub fn feed(&mut self, recipe: Preprocess) {
        self.lineage.feed(recipe);
        if let Some(first) = self.origins.first_mut() {
            first.turned = self.lineage.turned;
        }
    }

    /// Our names of its parameters and their shapes in Keras' layout, in the order of the network.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut out = vec![Vec::new(); self.origins.len()];
        for (name, &at) in &self.index {
            let shape = self.origins[at].shape();
            let units = shape.last().copied().unwrap_or(0);
            out[at] = vec![(format!("{name}.kernel"), shape), (format!("{name}.bias"), vec![units])];
        }
        out.into_iter().flatten().collect()
    }

    /// The values of a parameter in Keras' layout (HWIO, in × out), whose axes must be `expected`: borrowed
    /// where the file has them so.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such parameter, its shape is another, or a value is not finite.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        let (origin, role) = self.origin(name, expected)?;
        read::keras(&self.weights, origin, role)
    }

    /// Writes the values of `spec` into `to`, in the engine's layout (OHWI, `[in, out]`). No more than a few
    /// megabytes are held beside `to`, and of a mapped file no more than that stays in memory.
    ///
    /// # Errors
    /// As [`Pretrained::tensor`].
    pub fn read(&self, spec: &ParameterSpec, to: &mut [f32]) -> Result<()> {
        let expected = match *spec.shape.axes() {
            [o, h, w, i] => vec![h, w, i, o],
            ref axes => axes.to_vec(),
        };
        let (origin, role) = self.origin(&spec.name, &expected)?;
        read::engine(&self.weights, origin, role, to)
    }

    fn origin(&self, name: &str, expected: &[usize]) -> Result<(&Origin, Role)> {
        let (layer, role) = match name.rsplit_once('.') {
            Some((layer, "kernel")) => (layer, Role::Kernel),
            Some((layer, "bias")) => (layer, Role::Bias),
            _ => return Err(self.missing(name)),
        };
        let origin = self.index.get(layer).map(|&at| &self.origins[at]).ok_or_else(|| self.missing(name))?;
        let axes = origin.shape();
        let shape = if role == Role::Kernel { axes } else { vec![axes.last().copied().unwrap_or(0)] };
        if shape == expected {
            return Ok((origin, role));
        }
        let file = self.weights.path().display();
        let error = Error::new(
            Kind::Weights,
            format!("the parameter `{}` in {file} has another shape", shorten(name)),
        )
        .expected_got(format!("{expected:?}"), format!("{shape:?}"));
        Err(error.help(self.hint()))
    }

    fn missing(&self, name: &str) -> Error {
        let names: Vec<&str> = self.index.keys().map(String::as_str).collect();
        Error::new(
            Kind::Weights,
            format!("there is no `{}` in {}", shorten(name), self.weights.path().display()),
        )
        .fact(
            "there",
            if names.is_empty() { "no layers".into() } else { files::shorten(&names.join(" "), 1000) },
        )
        .help(self.hint())
    }

    /// What to do about weights of another network.
    fn hint(&self) -> String {
        match &self.lineage.network {
            Some(network) => {
                format!("these are weights of {network}; `vgg-ft weights inspect` lists what a file holds")
            }
            None => INSPECT.into(),
        }
    }

    /// What a file of ours says of `key`: an export as `vgg_ft_key`, a run's weights as `key`.
    pub fn said(&self, key: &str) -> Option<&str> {
        said(&self.weights, key)
    }

    /// Height and width of the images that the network was made for, if the file says it.
    pub fn size(&self) -> Option<[usize; 2]> {
        said_size(&self.weights)
    }
}

const INSPECT: &str =
    "these weights are of another network; `vgg-ft weights inspect` lists what a file holds";

/// As [`Pretrained::said`].
fn said<'a>(weights: &'a Weights, key: &str) -> Option<&'a str> {
    let metadata = weights.metadata();
    metadata.get(&format!("vgg_ft_{key}")).or_else(|| metadata.get(key)).map(String::as_str)
}

/// Pixels of an image's side.
pub const SIDES: RangeInclusive<usize> = 32..=4096;

/// `size`, "150x150", of a run; `vgg_ft_input`, "150x150x3, f32; …" or "3x150x150, …", of an export. What no network of ours
/// can have is not said.
fn said_size(weights: &Weights) -> Option<[usize; 2]> {
    let said = |key| weights.metadata().get(key);
    let text = said("vgg_ft_input").or_else(|| said("size"))?;
    let axes: Option<Vec<usize>> = text.split(',').next()?.split('x').map(|axis| axis.parse().ok()).collect();
    let size = match axes?[..] {
        [3, h, w] | [h, w, 3] | [h, w] => [h, w],
        _ => return None,
    };
    size.iter().all(|side| SIDES.contains(side)).then_some(size)
}

/// The image before the first dense layer, H, W, C or as a single line, when the file flattens it channels first; why
/// its order cannot be told otherwise.
fn flattened(
    weights: &Weights,
    layers: &Layers,
    channels: usize,
) -> std::result::Result<Option<[usize; 3]>, String> {
    let Some(first) = layers.dense.first().filter(|_| layers.flatten == Order::ChannelsFirst) else {
        return Ok(None);
    };
    if let Ok(&[_, c, h, w]) = weights.shape(&first.kernel) {
        return Ok(Some([h, w, c]));
    }
    // The order depends on how many pixels there are, and not on how high the image is: a line of them does.
    let rows = first.shape[0];
    if channels > 0 && rows.is_multiple_of(channels) {
        return Ok(Some([1, rows / channels, channels]));
    }
    Err(format!(
        "the order of the {rows} inputs of `{}` cannot be told: they are no image of {channels} channels",
        shorten(&first.kernel)
    ))
}

/// The member of the family whose convolutions these are.
fn variant(layers: &Layers) -> Option<Variant> {
    let filters = layers.convolutions.iter().map(|layer| layer.shape[3]);
    Variant::ALL.into_iter().find(|variant| {
        let widths = variant.blocks().into_iter().zip(Variant::FILTERS);
        widths.flat_map(|(n, width)| std::iter::repeat_n(width, n)).eq(filters.clone())
    })
}

/// The error for a file that holds no VGG.
fn stranger(weights: &Weights, layers: &Layers) -> Error {
    let names: Vec<String> = layers.convolutions.iter().take(20).map(|layer| shorten(&layer.name)).collect();
    let count = layers.convolutions.len();
    let file = weights.path().display();
    Error::new(Kind::Weights, format!("{file} holds no VGG"))
        .expected_got("8, 10, 13 or 16 convolutions, no two of one name", format!("{count} convolutions"))
        .fact("there", if names.is_empty() { "none".into() } else { names.join(" ") })
        .fact("format", format!("{}, {}", weights.format().name(), layers.naming.name()))
        .help("`vgg-ft weights inspect` lists what a file holds")
}
