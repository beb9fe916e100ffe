//! A VGG in a file of any kind, in our names and layouts.
//!
//! In: a [`Weights`] file as Keras, PyTorch, timm or an ONNX exporter wrote it. Out: its parameters by
//! Keras' names (`block1_conv1.kernel`, `fc1.kernel`), convolutions as OHWI for the engine or HWIO for files,
//! dense kernels as `[in, out]` with `in` in the order H, W, C, batch normalisation folded in, channels in the
//! order that the preprocessing makes; and the [`Lineage`], which says what that is and why.

mod layers;
mod lineage;
mod read;

pub use layers::Naming;
pub use lineage::Lineage;

use super::{ParameterSpec, Variant};
use crate::error::{Error, Kind, Result};
use crate::weights::{Order, Weights};
use layers::{Form, Found, Layers};
use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// The kernel's axes in Keras' layout: HWIO, or in and out.
    shape: Vec<usize>,
    /// The picture that was flattened with channels first before this layer, H, W, C.
    flattened: Option<[usize; 3]>,
    /// The three input channels change places.
    turned: bool,
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
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) when there is none: no convolutions, or another number
    /// of them, or kernels of other sizes.
    pub fn of(weights: Weights) -> Result<Self> {
        let layers = Layers::of(&weights)?;
        let variant = variant(&weights, &layers)?;
        let lineage = Lineage::of(&weights, &layers, variant)?;
        let blocks = Variant::ALL.map(Variant::blocks);
        let count = layers.convolutions.len();
        let blocks = blocks.into_iter().find(|blocks| blocks.iter().sum::<usize>() == count);
        let Some(names) = layers::canonical(&layers, blocks) else {
            return Err(stranger(&weights, &layers));
        };
        let Layers { convolutions, dense, flatten, .. } = layers;
        let channels = match convolutions.last() {
            Some(last) => weights.shape(&last.kernel)?[if last.form == Form::Hwio { 3 } else { 0 }],
            None => 0,
        };
        let mut out = Self { weights, origins: Vec::new(), index: BTreeMap::new(), lineage };
        let [of_convolutions, of_dense] = names;
        for (at, (name, found)) in of_convolutions.into_iter().zip(convolutions).enumerate() {
            let turned = at == 0 && out.lineage.turned;
            let shape = out.keras_shape(&found)?;
            out.push(name, Origin { found, shape, flattened: None, turned });
        }
        for (at, (name, found)) in of_dense.into_iter().zip(dense).enumerate() {
            let shape = out.keras_shape(&found)?;
            let flattened = match (at, flatten) {
                (0, Order::ChannelsFirst) => Some(out.flattened(&found, shape[0], channels)?),
                _ => None,
            };
            out.push(name, Origin { found, shape, flattened, turned: false });
        }
        Ok(out)
    }

    fn push(&mut self, name: String, origin: Origin) {
        self.index.insert(name, self.origins.len());
        self.origins.push(origin);
    }

    /// The kernel's axes in Keras' order.
    fn keras_shape(&self, found: &Found) -> Result<Vec<usize>> {
        let shape = self.weights.shape(&found.kernel)?;
        let out = match (found.form, shape) {
            (Form::Hwio | Form::InOut, shape) => shape.to_vec(),
            (Form::Oihw, &[o, i, h, w]) => vec![h, w, i, o],
            (Form::OutIn, [o, rest @ ..]) => vec![rest.iter().product(), *o],
            _ => Vec::new(),
        };
        let rank = if matches!(found.form, Form::Hwio | Form::Oihw) { 4 } else { 2 };
        if out.len() == rank {
            return Ok(out);
        }
        Err(Error::new(Kind::Weights, format!("`{}` is no kernel of a VGG", found.kernel))
            .expected_got(format!("{rank} axes"), format!("{shape:?}"))
            .help(INSPECT))
    }

    /// The picture before the first dense layer of `rows` inputs, when the file flattens channels first.
    fn flattened(&self, found: &Found, rows: usize, channels: usize) -> Result<[usize; 3]> {
        if let (Form::OutIn, &[_, c, h, w]) = (found.form, self.weights.shape(&found.kernel)?) {
            return Ok([h, w, c]);
        }
        // An export of ours says the size of its pictures: "150x150x3, f32; …".
        let said = self.weights.metadata().get("vgg_ft_input").and_then(|text| {
            let (h, rest) = text.split_once('x')?;
            let (w, _) = rest.split_once('x')?;
            Some([h.parse::<usize>().ok()? / 32, w.parse::<usize>().ok()? / 32, channels])
        });
        let side = (rows / channels.max(1)).isqrt();
        let fits = |[h, w, c]: &[usize; 3]| h.checked_mul(*w).and_then(|n| n.checked_mul(*c)) == Some(rows);
        said.filter(fits).or(Some([side, side, channels]).filter(fits)).ok_or_else(|| {
            Error::new(Kind::Weights, format!("the order of the {rows} inputs of `{}` cannot be told", found.kernel))
                .expected_got(format!("{channels} channels of a square"), format!("{rows} inputs"))
                .help("the file flattens with the channels first; export the network as keras-h5, which says how")
        })
    }

    /// The file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where it comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Our names of its parameters and their shapes in Keras' layout, in the order of the network.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let mut out = vec![Vec::new(); self.origins.len()];
        for (name, &at) in &self.index {
            let shape = &self.origins[at].shape;
            let units = shape.last().copied().unwrap_or(0);
            out[at] = vec![(format!("{name}.kernel"), shape.clone()), (format!("{name}.bias"), vec![units])];
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
        let units = origin.shape.last().copied().unwrap_or(0);
        let shape = if role == Role::Kernel { origin.shape.clone() } else { vec![units] };
        if shape == expected {
            return Ok((origin, role));
        }
        let file = self.weights.path().display();
        let error = Error::new(Kind::Weights, format!("the parameter `{name}` in {file} has another shape"))
            .expected_got(format!("{expected:?}"), format!("{shape:?}"));
        Err(error.help(self.hint()))
    }

    fn missing(&self, name: &str) -> Error {
        let names: Vec<&str> = self.index.keys().map(String::as_str).collect();
        Error::new(Kind::Weights, format!("there is no `{name}` in {}", self.weights.path().display()))
            .fact("there", if names.is_empty() { "no layers".into() } else { names.join(" ") })
            .help(self.hint())
    }

    /// What to do about weights of another network.
    fn hint(&self) -> String {
        match &self.lineage.network {
            Some(network) => format!("these are weights of {network}: say `--network {network}`, or give others"),
            None => INSPECT.into(),
        }
    }
}

const INSPECT: &str =
    "these weights are of another network; `vgg-ft weights inspect` lists what a file holds";

/// The member of the family whose convolutions these are.
fn variant(weights: &Weights, layers: &Layers) -> Result<Option<Variant>> {
    let mut filters = Vec::new();
    for layer in &layers.convolutions {
        let shape = weights.shape(&layer.kernel)?;
        filters.push(match (layer.form, shape) {
            (Form::Hwio, &[3, 3, _, o]) | (Form::Oihw, &[o, _, 3, 3]) => o,
            _ => return Ok(None),
        });
    }
    Ok(Variant::ALL.into_iter().find(|variant| {
        let widths = variant.blocks().into_iter().zip(Variant::FILTERS);
        widths.flat_map(|(n, width)| std::iter::repeat_n(width, n)).eq(filters.iter().copied())
    }))
}

/// The error for a file that holds no VGG.
fn stranger(weights: &Weights, layers: &Layers) -> Error {
    let count = layers.convolutions.len();
    let file = weights.path().display();
    Error::new(Kind::Weights, format!("{file} holds no VGG"))
        .expected_got("8, 10, 13 or 16 convolutions of 3x3", format!("{count} convolutions"))
        .fact("format", format!("{}, {}", weights.format().name(), layers.naming.name()))
        .help("`vgg-ft weights inspect` lists what a file holds")
}
