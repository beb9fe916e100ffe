//! Where weights come from and what they expect of an image: names and a few values in, a judgement and its
//! reasons out.

use super::layers::{Form, Layers, Naming, REASON};
use crate::error::Result;
use crate::files;
use crate::model::{Pooling, Preprocess, Variant};
use crate::weights::{Weights, shorten};
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
    /// What the classifier takes of the last map; `None` for a base.
    pub pooling: Option<Pooling>,
    /// Whether that is a guess, from as many rows as there are channels.
    pub guessed_means: bool,
    /// What images must be made into; `None` when nothing tells.
    pub preprocess: Option<&'static str>,
    /// Whether the first kernel takes R, G, B and was trained with B, G, R in mind: turned at load.
    pub turned: bool,
    /// What the judgement rests on, and what was left out.
    pub reasons: Vec<String>,
    /// How many tensors of floats there are that are no part of the network.
    pub others: usize,
    /// Whether the file has a classifier that is left out, since it cannot be understood.
    #[serde(skip)]
    pub left_out: bool,
    /// Whether its last layer had two outputs, of which one was made.
    #[serde(skip)]
    pub joined: bool,
    #[serde(skip)]
    variant: Option<Variant>,
    #[serde(skip)]
    recipe: Option<Preprocess>,
    /// What images will be made into, where the user says it.
    #[serde(skip)]
    asked: Option<Preprocess>,
    /// Whether the recipe is taken from how the base was trained, since nothing says what the whole network was fed.
    #[serde(skip)]
    pub inferred: bool,
    /// Whether its one output is known to go through no sigmoid.
    #[serde(skip)]
    pub linear: bool,
    /// Whether the first kernel is known to take R, G, B.
    #[serde(skip)]
    red_first: bool,
}

/// The first three biases of the convolutions that Simonyan and Zisserman trained at Oxford, which Keras, Caffe
/// and MatConvNet pass on: the same in every order of channels.
const OXFORD_BIAS: [f32; 3] = [0.734_298_35, 0.093_403_675, 0.067_756_74];
/// Their first kernel's first number, which belongs to blue.
const OXFORD_BLUE: f32 = 0.429_470_57;
const TURNED: &str = "the first kernel takes R, G, B: its channels are turned at load";
const UNKNOWN: &str = "how pixels are scaled is not known";
const JOINED: &str =
    "the softmax of two classes is made one sigmoid of their difference, which gives the same probabilities";
/// Whose word a recipe is, where a conversion wrote it down.
pub const SINCE: &str = "preprocess_since";
/// Half precision and bfloat16 keep three and two digits.
const NEAR: f32 = 0.005;

impl Lineage {
    const GIVEN: &'static str = "given with --preprocess when it was converted";
    const INFERRED: &'static str = "inferred when it was converted";

    pub(super) fn of(weights: &Weights, layers: &Layers, variant: Option<Variant>) -> Result<Self> {
        let units = layers.dense.iter().map(|layer| layer.shape.last().copied().unwrap_or(0));
        let mut out = Self {
            format: weights.format().name(),
            naming: layers.naming.name(),
            network: variant.map(|variant| variant.name().to_owned()),
            convolutions: layers.convolutions.len(),
            batch_norm: layers.convolutions.iter().any(|layer| layer.norm.is_some()),
            dense: units.collect(),
            pooling: None,
            guessed_means: false,
            preprocess: None,
            turned: false,
            reasons: Vec::new(),
            others: layers.others.len(),
            left_out: layers.trouble.is_some(),
            joined: false,
            variant,
            recipe: None,
            asked: None,
            inferred: false,
            linear: weights.metadata().contains_key("linear-output") && layers.trouble.is_none(),
            red_first: false,
        };
        out.scaling(weights, layers)?;
        out.preprocess = out.recipe.map(Preprocess::name);
        if let Some(behind) = &layers.behind {
            out.reasons.push(format!("what stands behind the base is left out: {behind}"));
        }
        if let Some(trouble) = &layers.trouble {
            out.reasons.push(format!("the classifier is left out: {trouble}"));
        }
        out.pool(weights, layers);
        if let Some(first) = layers.others.first() {
            let more = if out.others == 1 { String::new() } else { format!(" and {} more", out.others - 1) };
            out.reasons.push(format!("no part of the network, and left out: `{}`{more}", shorten(first)));
        }
        // A softmax, or outputs that are to go through one.
        if let [last @ 2] | [_, last @ 2] = &mut out.dense[..] {
            *last = 1;
            out.joined = true;
            out.reasons.push(JOINED.into());
        }
        if let Some(recipe) = out.recipe {
            out.turn(recipe);
        }
        Ok(out)
    }

    /// What the classifier takes: what the file says, else what its rows tell.
    fn pool(&mut self, weights: &Weights, layers: &Layers) {
        let said = super::said(weights, "pooling");
        let (Some(dense), Some(last)) = (layers.dense.first(), layers.convolutions.last()) else {
            // The base is read, and what stands behind it makes something else of its features.
            if said.is_some_and(|name| name == Pooling::Average.name()) && layers.trouble.is_none() {
                self.reasons.push("the mean of each channel behind the last pooling is left out".into());
            }
            return;
        };
        let one_place = super::said_size(weights).is_some_and(is_one_place);
        let per_channel = dense.shape.first() == last.shape.last();
        // What is said of another number of inputs is not true of them.
        let said =
            said.and_then(|name| name.parse().ok()).filter(|said| per_channel || *said == Pooling::Flatten);
        // A graph says itself what it takes.
        let guessed = said.is_none() && !one_place && layers.naming != Naming::Graph && per_channel;
        self.guessed_means = guessed;
        self.pooling = said.or(Some(if guessed { Pooling::Average } else { Pooling::Flatten }));
    }

    /// Takes note that images will be what `recipe` makes, whatever the file tells.
    pub(super) fn feed(&mut self, recipe: Preprocess) {
        self.asked = Some(recipe);
        self.turn(recipe);
    }

    /// Decides whether the first kernel is turned, for images that `recipe` makes.
    fn turn(&mut self, recipe: Preprocess) {
        self.turned = self.red_first && recipe.rule().order == [2, 1, 0];
        self.reasons.retain(|reason| reason != TURNED);
        if self.turned {
            self.reasons.push(TURNED.into());
        }
    }

    /// The recipe for pixels: what the file says, else what its values say, else what its names say.
    fn scaling(&mut self, weights: &Weights, layers: &Layers) -> Result<()> {
        let said = |key: &str| weights.metadata().get(key).map(String::as_str);
        let input = said("vgg_ft_input").unwrap_or_default();
        let named = super::said(weights, "preprocess").and_then(|name| name.parse().ok());
        let described = || Preprocess::ALL.into_iter().find(|recipe| input.ends_with(recipe.description()));
        if let Some(recipe) = named.or_else(described) {
            match super::said(weights, SINCE) {
                Some(since @ (Self::GIVEN | Self::INFERRED)) => {
                    self.inferred = since == Self::INFERRED;
                    self.decide(recipe, &format!("the file says so, as {since}"));
                }
                _ => self.decide(recipe, "the file says so"),
            }
            // An export that scales pixels itself has them in the order R, G, B.
            self.red_first = input.ends_with("; RGB, 0 to 255");
        } else if let Some(affine) = said("rescaling") {
            match Preprocess::ALL.into_iter().find(|recipe| is(recipe, affine)) {
                Some(recipe) => {
                    self.decide(recipe, "the model scales pixels so itself");
                    self.red_first = true;
                }
                None => {
                    let affine = files::shorten(affine, REASON);
                    self.unknown(&format!("the model scales pixels itself, by {affine}"));
                }
            }
        } else if let Some(nodes) = said("preprocessing") {
            self.unknown(&format!("the graph scales pixels itself ({})", files::shorten(nodes, REASON)));
        } else if let Some(blue_first) = self.oxford(weights, layers)? {
            self.red_first = !blue_first;
            self.infer(
                Preprocess::Caffe,
                "the first biases are those that Simonyan & Zisserman trained at Oxford (Caffe, Keras)",
            );
        } else {
            let maker = said("producer_name").unwrap_or_default();
            match layers.naming {
                Naming::Torchvision | Naming::Timm => {
                    self.infer(Preprocess::Torch, &format!("the file has {}", layers.naming.name()));
                }
                Naming::Keras => self.infer(Preprocess::Caffe, "the file has Keras' names"),
                Naming::Graph if maker == "pytorch" => {
                    self.infer(Preprocess::Torch, "the graph was exported by PyTorch");
                }
                Naming::Graph if maker.starts_with("tf2onnx") || maker.starts_with("keras") => {
                    self.infer(Preprocess::Caffe, "the graph was exported from Keras");
                }
                Naming::Graph | Naming::Torch => self.unknown("nothing in it tells"),
            }
        }
        Ok(())
    }

    fn unknown(&mut self, reason: &str) {
        self.reasons.push(format!("{UNKNOWN}: {reason}"));
    }

    /// Whether the first layer is Oxford's, and if so whether blue comes first.
    fn oxford(&self, weights: &Weights, layers: &Layers) -> Result<Option<bool>> {
        let Some(first) = layers.convolutions.first() else { return Ok(None) };
        // Places of [0, 0, channel, 0] in HWIO and of [0, channel, 0, 0] in OIHW.
        let step = if first.form == Form::Hwio { 64 } else { 9 };
        let bias = first.bias.as_ref().filter(|bias| weights.has(bias));
        let bias = bias.filter(|_| first.norm.is_none() && first.shape == [3, 3, 3, 64]);
        let Some(bias) = bias else { return Ok(None) };
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

    fn infer(&mut self, recipe: Preprocess, reason: &str) {
        self.inferred = true;
        self.decide(recipe, reason);
    }

    /// Whose word a recipe is that is written into a new file; `None` for that of who trained the network. `asked` is what
    /// the user says.
    pub fn since(&self, weights: &Weights, asked: Option<Preprocess>) -> Option<&'static str> {
        let given = super::said(weights, SINCE) == Some(Self::GIVEN);
        match asked {
            Some(asked) if self.inferred || given || self.recipe != Some(asked) => Some(Self::GIVEN),
            None if given => Some(Self::GIVEN),
            None if self.inferred => Some(Self::INFERRED),
            _ => None,
        }
    }

    /// Whether there is a classifier that is not ImageNet's: what it was fed may be another thing than what its base was.
    pub fn has_own_classifier(&self) -> bool {
        !self.dense.is_empty() && !self.has_top()
    }

    /// What the classifier takes of images of `size`, where that is known.
    pub fn pooled(&self, size: Option<[usize; 2]>) -> Pooling {
        let taken = self.pooling.unwrap_or_default();
        if self.guessed_means && size.is_some_and(is_one_place) { Pooling::Flatten } else { taken }
    }

    /// The network, if it is one of the family.
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// What images must be made into; `None` when nothing tells.
    pub fn recipe(&self) -> Option<Preprocess> {
        self.recipe
    }

    /// Whether the classifier of ImageNet is there: 4096, 4096, 1000.
    pub fn has_top(&self) -> bool {
        self.dense == [4096, 4096, 1000]
    }
}

/// Whether five poolings leave one place of images of this size: its numbers are their own means, and nobody calls them so.
fn is_one_place(size: [usize; 2]) -> bool {
    size.iter().all(|side| side / 32 == 1)
}

/// Whether `affine`, "scale offset" of R, G, B as Keras' layers have them, is what `recipe` does.
fn is(recipe: &Preprocess, affine: &str) -> bool {
    let numbers = |text: &str| -> Option<[f64; 3]> {
        let all: Vec<f64> = text.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        if let [one] = all[..] { Some([one; 3]) } else { all.try_into().ok() }
    };
    let Some((scale, offset)) = affine.split_once(' ') else { return false };
    let (Some(scale), Some(offset)) = (numbers(scale), numbers(offset)) else { return false };
    let rule = recipe.rule();
    // Six digits: the models that people write have as many.
    let near = |a: f64, b: f32| (a - f64::from(b)).abs() <= 1e-6 * f64::from(b).abs().max(1e-3);
    (0..3).all(|c| {
        let from = rule.order[c] as usize;
        near(scale[from], rule.scale[c]) && near(offset[from], rule.offset[c])
    })
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
            let means = match self.pooling {
                Some(Pooling::Average) if self.guessed_means => {
                    "means of the channels (as many inputs as these), "
                }
                Some(Pooling::Average) => "means of the channels, ",
                _ => "",
            };
            write!(f, ", {means}dense {}", dense.join(" "))?;
        }
        let used = self.asked.or(self.recipe);
        write!(f, "\n  pixels      {}", used.map_or("not known", Preprocess::description))?;
        let other = used.filter(|used| self.recipe != Some(*used));
        if let Some(used) = other {
            write!(f, "\n  since       {used}: --preprocess says so")?;
        }
        let told = self.recipe.map(|recipe| format!("{recipe}: "));
        for reason in &self.reasons {
            let of_recipe =
                told.as_ref().is_some_and(|told| reason.starts_with(told)) || reason.starts_with(UNKNOWN);
            let word = if other.is_some() && of_recipe { "otherwise" } else { "since" };
            write!(f, "\n  {word:<11} {reason}")?;
        }
        Ok(())
    }
}
