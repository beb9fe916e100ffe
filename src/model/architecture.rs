//! The table of layers, with every size worked out and no weight anywhere.
//!
//! In: a variant of VGG, an input size, what comes on top. Out: layers in order, each with its output
//! shape and parameters, or the reason why the sizes do not work. Names are Keras'.

use super::head::Head;
use super::variant::Variant;
use crate::error::{Error, Kind, Result};
use crate::shape::{Conv2d, GlobalPool2d, Pool2d, Shape};

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// 3x3 convolution, ReLU.
    Conv2d {
        /// Output channels.
        filters: usize,
    },
    /// 2x2 maximum.
    Maxpool2d,
    /// `[n, h, w, c]` to `[n, h·w·c]`, h slowest.
    Flatten,
    /// The mean of each channel, `[n, h, w, c]` to `[n, c]`.
    GlobalAvgpool2d,
    /// Matrix product with bias.
    Dense {
        /// Output columns.
        units: usize,
        /// Whether ReLU follows.
        relu: bool,
    },
    /// Dropout.
    Dropout {
        /// Share of elements dropped.
        rate: f32,
    },
}

impl Layer {
    /// Keras' class name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "Conv2D",
            Self::Maxpool2d => "MaxPooling2D",
            Self::Flatten => "Flatten",
            Self::GlobalAvgpool2d => "GlobalAveragePooling2D",
            Self::Dense { .. } => "Dense",
            Self::Dropout { .. } => "Dropout",
        }
    }
}

/// A parameter before it has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// `block1_conv1.kernel`.
    pub name: String,
    /// OHWI for convolutions, `[c_in, c_out]` for dense layers, `[c_out]` for biases.
    pub shape: Shape,
    /// Inputs and outputs of a unit, window included: what glorot_uniform asks for.
    pub fans: [usize; 2],
}

impl ParameterSpec {
    /// Whether this is a bias, which begins at zero.
    pub fn is_bias(&self) -> bool {
        self.shape.axes().len() == 1
    }
}

/// A layer in its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// `block1_conv1`.
    pub name: String,
    /// What it does.
    pub layer: Layer,
    /// Output shape of a batch of one.
    pub output: Shape,
    /// Where its kernel stands in the list of parameters (its bias is next), if it has any.
    pub kernel: Option<usize>,
}

/// What the last layer's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Activations; there is no classifier.
    Features,
    /// One logit: the second of two classes against the first.
    Sigmoid,
    /// One logit per class.
    Softmax(usize),
}

/// Layers, sizes and names.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// What the network is called: `vgg16`.
    pub name: String,
    /// `[h, w]` of the images.
    pub input: [usize; 2],
    layers: Vec<Placed>,
    parameters: Vec<ParameterSpec>,
    base: usize,
    output: Output,
    top: bool,
}

impl Architecture {
    /// The convolutional base of a VGG for images of `[h, w]`.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a side is under 32 pixels: five poolings would leave nothing.
    pub fn vgg(variant: Variant, input: [usize; 2]) -> Result<Self> {
        if input.iter().any(|&side| side < 32) {
            return Err(Error::new(
                Kind::Usage,
                format!("images of {}x{} are too small", input[0], input[1]),
            )
            .expected_got("at least 32x32", format!("{}x{}", input[0], input[1]))
            .help("VGG halves its input five times; choose a larger --size"));
        }
        let mut layers = Vec::new();
        for (block, (convolutions, filters)) in variant.blocks().into_iter().zip(Variant::FILTERS).enumerate()
        {
            for conv in 1..=convolutions {
                layers.push((format!("block{}_conv{conv}", block + 1), Layer::Conv2d { filters }));
            }
            layers.push((format!("block{}_pool", block + 1), Layer::Maxpool2d));
        }
        Self::base_of(variant.name(), input, layers)
    }

    /// A convolutional base of any layers: the narrow twins that tests run.
    ///
    /// # Errors
    /// [`Kind::Shape`] when a layer does not fit what comes before it.
    pub fn base_of(name: &str, input: [usize; 2], layers: Vec<(String, Layer)>) -> Result<Self> {
        let mut out = Self {
            name: name.to_owned(),
            input,
            layers: Vec::new(),
            parameters: Vec::new(),
            base: 0,
            output: Output::Features,
            top: false,
        };
        for (name, layer) in layers {
            out.push(name, layer)?;
        }
        out.base = out.layers.len();
        Ok(out)
    }

    /// The ImageNet classifier on top: 4096, 4096, 1000.
    ///
    /// # Errors
    /// None for a base; the signature allows later checks.
    pub fn with_top(mut self) -> Result<Self> {
        self.push("flatten".into(), Layer::Flatten)?;
        self.push("fc1".into(), Layer::Dense { units: 4096, relu: true })?;
        self.push("fc2".into(), Layer::Dense { units: 4096, relu: true })?;
        self.push("predictions".into(), Layer::Dense { units: 1000, relu: false })?;
        self.output = Output::Softmax(1000);
        self.top = true;
        Ok(self)
    }

    /// The book's classifier on top, or one of another size.
    ///
    /// # Errors
    /// [`Kind::Usage`] when there are fewer than two classes, or no sensible dropout.
    pub fn with_head(mut self, head: Head) -> Result<Self> {
        if head.classes < 2 {
            return Err(Error::new(Kind::Usage, "a classifier needs at least two classes")
                .expected_got("2 or more", head.classes)
                .help("put the images of each class into a folder of their own"));
        }
        if !(0.0..1.0).contains(&head.dropout) {
            return Err(Error::new(Kind::Usage, "dropout must be a share of the units")
                .expected_got("0 <= dropout < 1", head.dropout));
        }
        let (name, pooling) = head.pooling.layer();
        self.push(name.into(), pooling)?;
        let hidden = head.units > 0;
        if hidden {
            self.push("dense".into(), Layer::Dense { units: head.units, relu: true })?;
        }
        if head.dropout > 0.0 {
            self.push("dropout".into(), Layer::Dropout { rate: head.dropout })?;
        }
        let units = if head.classes == 2 { 1 } else { head.classes };
        let last = if hidden { "dense_1" } else { "dense" };
        self.push(last.into(), Layer::Dense { units, relu: false })?;
        self.output = if units == 1 { Output::Sigmoid } else { Output::Softmax(units) };
        Ok(self)
    }

    fn push(&mut self, name: String, layer: Layer) -> Result<()> {
        let input = self.shape_before(self.layers.len());
        let mut kernel = None;
        let output = match layer {
            Layer::Conv2d { filters } => {
                let [_, _, _, c_in] = input.nhwc(&name)?;
                let shape = Shape::new(&[filters, 3, 3, c_in]);
                kernel = Some(self.weigh(&name, shape, [9 * c_in, 9 * filters], filters));
                Conv2d::of(input, shape)?.y()
            }
            Layer::Maxpool2d => Pool2d::of(input)?.y(),
            Layer::Flatten => Shape::new(&[1, input.len()]),
            Layer::GlobalAvgpool2d => GlobalPool2d::of(input)?.y(),
            Layer::Dense { units, .. } => {
                let [_, c_in] = input.matrix(&name)?;
                kernel = Some(self.weigh(&name, Shape::new(&[c_in, units]), [c_in, units], units));
                Shape::new(&[1, units])
            }
            Layer::Dropout { .. } => input,
        };
        self.layers.push(Placed { name, layer, output, kernel });
        Ok(())
    }

    fn weigh(&mut self, layer: &str, shape: Shape, fans: [usize; 2], outputs: usize) -> usize {
        let bias = Shape::new(&[outputs]);
        self.parameters.push(ParameterSpec { name: format!("{layer}.kernel"), shape, fans });
        self.parameters.push(ParameterSpec { name: format!("{layer}.bias"), shape: bias, fans });
        self.parameters.len() - 2
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Placed] {
        &self.layers
    }

    /// The parameters in order: kernel, bias, kernel, bias …
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// How many layers the convolutional base has; the rest is the classifier.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Whether the classifier is that of ImageNet, which nobody trains.
    pub fn has_top(&self) -> bool {
        self.top
    }

    /// What the last layer's numbers mean.
    pub fn output(&self) -> Output {
        self.output
    }

    /// The shape (of a batch of one) that enters layer `index`: images before layer 0.
    pub fn shape_before(&self, index: usize) -> Shape {
        match index.checked_sub(1).and_then(|previous| self.layers.get(previous)) {
            Some(placed) => placed.output,
            None => Shape::new(&[1, self.input[0], self.input[1], 3]),
        }
    }

    /// The position of the layer called `name`.
    ///
    /// # Errors
    /// [`Kind::Usage`] that lists the layers there are.
    pub fn position(&self, name: &str) -> Result<usize> {
        self.layers.iter().position(|placed| placed.name == name).ok_or_else(|| {
            let names: Vec<_> = self.layers.iter().map(|placed| placed.name.as_str()).collect();
            // The first of a block, or else a name with a letter or two that are wrong.
            let first = names.iter().find(|there| !name.is_empty() && there.starts_with(name));
            let like = names.iter().map(|there| (strsim::jaro_winkler(name, there), there));
            let like = like.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
            let near = first.or(like.map(|(_, there)| there));
            let help = near.map_or("name one of these".into(), |there| {
                format!("name one of these; {there} is the nearest")
            });
            Error::new(Kind::Usage, format!("{} has no layer called `{name}`", self.name))
                .fact("layers", names.join(" "))
                .help(help)
        })
    }

    /// All parameters of the layers from `first` on.
    pub fn parameters_from(&self, first: usize) -> u64 {
        self.layers[first.min(self.layers.len())..].iter().map(|placed| self.parameters_of(placed)).sum()
    }

    /// The number of weights of one layer, bias included.
    pub fn parameters_of(&self, placed: &Placed) -> u64 {
        placed
            .kernel
            .map_or(0, |k| (self.parameters[k].shape.len() + self.parameters[k + 1].shape.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pooling;

    fn book() -> Architecture {
        let base = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap();
        base.with_head(Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 }).unwrap()
    }

    #[test]
    fn the_numbers_of_the_notebook() {
        let book = book();
        assert_eq!(book.parameters_from(0), 14_714_688 + 2_097_665);
        assert_eq!(book.parameters_from(book.base()), 2_097_665);
        assert_eq!(book.parameters().len(), 30);
        assert_eq!(book.shape_before(book.base()), Shape::new(&[1, 4, 4, 512]));
        assert_eq!(book.output(), Output::Sigmoid);
        // The notebook's fine-tuning from block3_conv1: 16,552,193 weights.
        assert_eq!(book.parameters_from(book.position("block3_conv1").unwrap()), 16_552_193);
    }

    /// 512 means whatever the size, and 512 · 256 + 256 + 256 + 1 weights behind them.
    #[test]
    fn a_classifier_on_means_has_no_size() {
        for size in [[32, 32], [150, 150], [224, 320]] {
            let base = Architecture::vgg(Variant::Vgg16, size).unwrap();
            let head = Head { pooling: Pooling::Average, units: 256, dropout: 0.0, classes: 2 };
            let means = base.with_head(head).unwrap();
            assert_eq!(means.parameters_from(means.base()), 131_585);
            assert_eq!(means.layers()[means.base()].output, Shape::new(&[1, 512]));
        }
        let alone = |pooling| {
            let base = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap();
            let head = Head { pooling, units: 0, dropout: 0.5, classes: 3 };
            let all = base.with_head(head).unwrap();
            let names: Vec<_> =
                all.layers()[all.base() + 1..].iter().map(|placed| placed.name.clone()).collect();
            assert_eq!(names, ["dropout", "dense"]);
            all.parameters_from(all.base())
        };
        assert_eq!(Pooling::ALL.map(alone), [8192 * 3 + 3, 512 * 3 + 3]);
        for pooling in Pooling::ALL {
            assert_eq!(pooling.name().parse::<Pooling>().unwrap(), pooling);
            assert_eq!(serde_json::to_value(pooling).unwrap(), pooling.name());
        }
    }

    #[test]
    fn the_whole_family_with_top() {
        // Simonyan & Zisserman, table 2, in millions: 133, 133, 138, 144.
        let of = |v| Architecture::vgg(v, [224, 224]).unwrap().with_top().unwrap().parameters_from(0);
        assert_eq!(Variant::ALL.map(of), [132_863_336, 133_047_848, 138_357_544, 143_667_240]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert!(Architecture::vgg(Variant::Vgg16, [31, 150]).is_err());
        assert_eq!(
            Architecture::vgg(Variant::Vgg16, [32, 63]).unwrap().shape_before(18),
            Shape::new(&[1, 1, 1, 512])
        );
        let error = book().position("block6_conv1").unwrap_err();
        assert!(error.to_string().contains("block5_conv3"), "{error}");
    }
}
