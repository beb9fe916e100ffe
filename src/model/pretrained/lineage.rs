//! Where weights come from and what they expect of a picture: names and a few values in, a judgement and its
//! reasons out.

use super::layers::{Form, Layers, Naming};
use crate::error::Result;
use crate::model::{Preprocess, Variant};
use crate::weights::{FileFormat, Weights};
use serde::Serialize;
use std::fmt;

/// What a file of weights is, as far as can be told.
#[derive(Clone, Debug, Serialize)]
pub struct Lineage {
    /// The kind of file.
    pub format: &'static str,
    /// How it names its layers, in words.
    pub naming: &'static str,
    /// The network, if it is one of the family.
    pub network: Option<String>,
    /// How many convolutions there are.
    pub convolutions: usize,
    /// Whether a batch normalisation stands behind the convolutions; it is folded into them at load.
    pub batch_norm: bool,
    /// Units of the dense layers, in order; none for a base.
    pub dense: Vec<usize>,
    /// What pictures must be made into; `None` when nothing tells.
    pub preprocess: Option<&'static str>,
    /// Whether the first kernel takes R, G, B and was trained with B, G, R in mind: turned at load.
    pub turned: bool,
    /// What the judgement rests on.
    pub reasons: Vec<String>,
    #[serde(skip)]
    variant: Option<Variant>,
    #[serde(skip)]
    recipe: Option<Preprocess>,
}

/// The first three biases of the convolutions that Simonyan and Zisserman trained at Oxford, which Keras, Caffe
/// and MatConvNet pass on: the same in every order of channels.
const OXFORD_BIAS: [f32; 3] = [0.734_298_35, 0.093_403_675, 0.067_756_74];
/// Their first kernel's first number, which belongs to blue.
const OXFORD_BLUE: f32 = 0.429_470_57;
/// Half precision and bfloat16 keep three and two digits.
const NEAR: f32 = 0.005;

impl Lineage {
    pub(super) fn of(weights: &Weights, layers: &Layers, variant: Option<Variant>) -> Result<Self> {
        let mut out = Self {
            format: weights.format().name(),
            naming: layers.naming.name(),
            network: variant.map(|variant| variant.name().to_owned()),
            convolutions: layers.convolutions.len(),
            batch_norm: layers.convolutions.iter().any(|layer| layer.norm.is_some()),
            dense: Vec::new(),
            preprocess: None,
            turned: false,
            reasons: Vec::new(),
            variant,
            recipe: None,
        };
        for layer in &layers.dense {
            let shape = weights.shape(&layer.kernel)?;
            let units = if layer.form == Form::InOut { shape.last() } else { shape.first() };
            out.dense.push(units.copied().unwrap_or(0));
        }
        out.scaling(weights, layers)?;
        out.preprocess = out.recipe.map(Preprocess::name);
        Ok(out)
    }

    /// The recipe for pixels: what the file says, else what its values say, else what its names say.
    fn scaling(&mut self, weights: &Weights, layers: &Layers) -> Result<()> {
        let oxford = self.oxford(weights, layers)?;
        let said = weights.metadata().get("vgg_ft_input").map(String::as_str);
        let said = said.and_then(|text| Preprocess::ALL.into_iter().find(|p| text.ends_with(p.description())));
        let said = said.or_else(|| weights.metadata().get("preprocess")?.parse().ok());
        if let Some(recipe) = said {
            self.decide(recipe, "the file says so");
        } else if let Some(blue_first) = oxford {
            self.turned = !blue_first;
            self.decide(
                Preprocess::Caffe,
                "the first biases are those that Simonyan & Zisserman trained at Oxford (Caffe, Keras)",
            );
            if self.turned {
                self.reasons.push("the first kernel takes R, G, B: its channels are turned at load".into());
            }
        } else {
            match (layers.naming, self.variant, weights.format()) {
                (_, None, _) => self.reasons.push("no VGG of the family: nothing tells how pixels are scaled".into()),
                (Naming::Torch | Naming::Timm, ..) => {
                    self.decide(Preprocess::Torch, "the names are torchvision's or timm's");
                }
                (Naming::Graph, _, FileFormat::Onnx) => {
                    let maker = weights.metadata().get("producer_name").map_or("", String::as_str);
                    if maker == "pytorch" {
                        self.decide(Preprocess::Torch, "the graph was exported by PyTorch");
                    } else {
                        self.decide(Preprocess::Caffe, "the graph was not exported by PyTorch");
                    }
                }
                _ => self.decide(Preprocess::Caffe, "the names are Keras'"),
            }
        }
        Ok(())
    }

    /// Whether the first layer is Oxford's, and if so whether blue comes first.
    fn oxford(&self, weights: &Weights, layers: &Layers) -> Result<Option<bool>> {
        let Some(first) = layers.convolutions.first() else { return Ok(None) };
        let shape = weights.shape(&first.kernel)?;
        // Places of [0, 0, channel, 0] in HWIO and of [0, channel, 0, 0] in OIHW.
        let step = match (first.form, shape) {
            (Form::Hwio, [3, 3, 3, 64]) => 64,
            (Form::Oihw, [64, 3, 3, 3]) => 9,
            _ => return Ok(None),
        };
        let Some(bias) = first.bias.as_ref().filter(|_| first.norm.is_none()) else { return Ok(None) };
        let (bias, kernel) = (weights.values(bias)?, weights.values(&first.kernel)?);
        let near = |got: f32, expected: f32| (got - expected).abs() <= NEAR * expected;
        if bias.len() != 64 || !bias.iter().zip(OXFORD_BIAS).all(|(&got, expected)| near(got, expected)) {
            return Ok(None);
        }
        Ok(match [kernel[0], kernel[2 * step]] {
            [first, _] if near(first, OXFORD_BLUE) => Some(true),
            [_, last] if near(last, OXFORD_BLUE) => Some(false),
            // Biases alone are no proof: the kernels were trained further or scaled.
            _ => None,
        })
    }

    fn decide(&mut self, recipe: Preprocess, reason: &str) {
        self.recipe = Some(recipe);
        self.reasons.push(format!("{recipe}: {reason}"));
    }

    /// The network, if it is one of the family.
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// What pictures must be made into; `None` when nothing tells.
    pub fn recipe(&self) -> Option<Preprocess> {
        self.recipe
    }

    /// Whether the classifier of ImageNet is there: 4096, 4096, 1000.
    pub fn has_top(&self) -> bool {
        self.dense == [4096, 4096, 1000]
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = self.network.as_deref().unwrap_or("no known VGG");
        write!(f, "  format      {}, {}\n  network     {network}", self.format, self.naming)?;
        write!(f, ", {} convolutions", self.convolutions)?;
        if self.batch_norm {
            f.write_str(" with batch normalisation, folded at load")?;
        }
        if !self.dense.is_empty() {
            let dense: Vec<String> = self.dense.iter().map(usize::to_string).collect();
            write!(f, ", dense {}", dense.join(" "))?;
        }
        write!(f, "\n  pixels      {}", self.recipe.map_or("not known", Preprocess::description))?;
        for reason in &self.reasons {
            write!(f, "\n  since       {reason}")?;
        }
        Ok(())
    }
}
