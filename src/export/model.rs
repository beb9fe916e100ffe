//! What every format is made from: layers, their values in Keras' layouts, and how pixels become input.

use super::Layout;
use crate::data::Resize;
use crate::error::Result;
use crate::interrupt;
use crate::model::classes::{as_stored_line, in_lines};
use crate::model::{Architecture, Layer, Output, Placed, Pooling, Preprocess, Pretrained};
use std::borrow::Cow;

/// A network on its way out.
pub struct Model<'a> {
    architecture: &'a Architecture,
    weights: &'a Pretrained,
    preprocess: Preprocess,
    since: Option<&'static str>,
    resize: Option<Resize>,
    classes: &'a [String],
    scales_pixels: bool,
}

/// A tensor in Keras' layout.
pub struct Tensor<'a> {
    /// HWIO, in × out, or one axis.
    pub shape: Vec<usize>,
    /// Dense.
    pub values: Cow<'a, [f32]>,
}

/// `x · scale + offset` per channel of an RGB image.
pub struct Affine {
    /// Factors of R, G, B.
    pub scale: [f32; 3],
    /// Summands of R, G, B.
    pub offset: [f32; 3],
}

impl<'a> Model<'a> {
    /// `architecture` with the values of `weights`. `classes` are in label order.
    pub fn new(
        architecture: &'a Architecture,
        weights: &'a Pretrained,
        preprocess: Preprocess,
        classes: &'a [String],
    ) -> Self {
        Self { architecture, weights, preprocess, since: None, resize: None, classes, scales_pixels: false }
    }

    /// The same with how images are brought to its size, if that is known.
    #[must_use]
    pub fn resized_by(self, resize: Option<Resize>) -> Self {
        Self { resize, ..self }
    }

    /// The same with whose word its preprocessing is, if not that of who trained it.
    #[must_use]
    pub fn scaled_since(self, since: Option<&'static str>) -> Self {
        Self { since, ..self }
    }

    /// The same with its preprocessing inside: the file's input is RGB from 0 to 255.
    #[must_use]
    pub fn with_preprocessing(self) -> Self {
        Self { scales_pixels: true, ..self }
    }

    /// Whether the preprocessing is inside.
    pub fn scales_pixels(&self) -> bool {
        self.scales_pixels
    }

    /// Layers and sizes.
    pub fn architecture(&self) -> &'a Architecture {
        self.architecture
    }

    /// How pixels are scaled, by the file or before it.
    pub fn preprocess(&self) -> Preprocess {
        self.preprocess
    }

    /// How images are brought to its size, if that is known.
    pub fn resize(&self) -> Option<Resize> {
        self.resize
    }

    /// What the file's input is, in words.
    pub fn input(&self) -> &'static str {
        if self.scales_pixels { "RGB, 0 to 255" } else { self.preprocess.description() }
    }

    /// What the file's output is, in words.
    pub fn output(&self) -> String {
        let class = |at: usize| self.classes.get(at).map(|name| as_stored_line(name));
        match self.architecture.output() {
            Output::Features => "activations of the convolutional base".into(),
            Output::Sigmoid => match (class(0), class(1)) {
                (Some(first), Some(second)) => {
                    format!("the probability of `{second}`; the rest is that of `{first}`")
                }
                _ => "the probability of the second class; the rest is that of the first".into(),
            },
            Output::Softmax(n) => match (class(0), class(n - 1)) {
                (Some(first), Some(last)) => format!("{n} probabilities, from `{first}` to `{last}`"),
                _ => format!("{n} probabilities, in the order of the classes"),
            },
        }
    }

    /// What a reader must know and no format has a place for: keys and texts, for a file whose input, and a base's
    /// features, have the axes of `layout`. No version of ours, so that the bytes change with the writer alone.
    pub fn remarks(&self, layout: Layout) -> Vec<(&'static str, String)> {
        let [h, w] = self.architecture.input;
        let axes = |h: usize, w: usize, c: usize| match layout {
            Layout::Nhwc => format!("{h}x{w}x{c}"),
            Layout::Nchw => format!("{c}x{h}x{w}"),
        };
        let last = self.architecture.shape_before(self.architecture.layers().len());
        let output = match (self.architecture.output(), last.axes()) {
            (Output::Features, &[_, h, w, c]) => format!("{}, f32; {}", axes(h, w, c), self.output()),
            _ => self.output(),
        };
        let mut remarks = vec![
            ("vgg_ft_network", self.architecture.name.clone()),
            ("vgg_ft_classes", in_lines(self.classes)),
            ("vgg_ft_input", format!("{}, f32; {}", axes(h, w, 3), self.input())),
            ("vgg_ft_output", output),
            ("vgg_ft_preprocess", self.preprocess.name().to_owned()),
        ];
        remarks.extend(self.since.map(|since| ("vgg_ft_preprocess_since", since.to_owned())));
        remarks.extend(self.resize.map(|resize| ("vgg_ft_resize", resize.name().to_owned())));
        if self.architecture.layers().iter().any(|placed| placed.layer == Layer::GlobalAvgpool2d) {
            remarks.push(("vgg_ft_pooling", Pooling::Average.name().to_owned()));
        }
        remarks.retain(|(key, _)| *key != "vgg_ft_classes" || !self.classes.is_empty());
        remarks
    }

    /// The scaling that a file with preprocessing does first; `None` for one without.
    pub fn affine(&self) -> Option<Affine> {
        if !self.scales_pixels {
            return None;
        }
        let rule = self.preprocess.rule();
        let mut affine = Affine { scale: [0.0; 3], offset: [0.0; 3] };
        // What the network's channel c was made from, back in the place where it came from.
        for (c, &from) in rule.order.iter().enumerate() {
            affine.scale[from as usize] = rule.scale[c];
            affine.offset[from as usize] = rule.offset[c];
        }
        Some(affine)
    }

    /// Kernel and bias of a layer; `None` for one without. With preprocessing inside, the first kernel
    /// takes its channels in the order R, G, B.
    ///
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) when the file has no such tensor of that shape.
    pub fn tensors(&self, placed: &Placed) -> Result<Option<[Tensor<'a>; 2]>> {
        let Some(at) = placed.kernel else { return Ok(None) };
        interrupt::check()?;
        let [kernel, bias] = [at, at + 1].map(|at| {
            let spec = &self.architecture.parameters()[at];
            let shape = match *spec.shape.axes() {
                [o, h, w, i] => vec![h, w, i, o],
                ref axes => axes.to_vec(),
            };
            let values = self.weights.tensor(&spec.name, &shape)?;
            Ok(Tensor { shape, values })
        });
        let mut kernel = kernel?;
        if at == 0 && self.scales_pixels {
            kernel.values = Cow::Owned(self.in_rgb(&kernel));
        }
        Ok(Some([kernel, bias?]))
    }

    /// The first kernel, HWIO, with its input channels where the image has them.
    fn in_rgb(&self, kernel: &Tensor<'_>) -> Vec<f32> {
        let order = self.preprocess.rule().order;
        let filters = kernel.shape[3];
        let mut out = vec![0.0; kernel.values.len()];
        for (to, from) in out.chunks_exact_mut(3 * filters).zip(kernel.values.chunks_exact(3 * filters)) {
            for (row, &channel) in from.chunks_exact(filters).zip(&order) {
                to[channel as usize * filters..][..filters].copy_from_slice(row);
            }
        }
        out
    }
}
