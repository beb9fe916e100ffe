//! The JSON from which Keras builds a model in; the names and classes of its layers out, in their order.
//!
//! Every version writes it differently, and nothing here is needed to find weights. So what is not understood
//! is passed over, down to the whole text: then names come from the weights alone.

use crate::weights::unzip::shorten;
use serde_json::Value;

/// Longer texts are not read: parsed, they take a dozen times their size. The largest of keras-applications
/// has 600 kB.
const LONGEST: usize = 8 << 20;
/// Models in models.
const DEPTH: usize = 16;

/// A layer, or a model of layers.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// `Conv2D`.
    pub class: String,
    /// `block1_conv1`.
    pub name: String,
    /// The layers of a model, in the order of data; `None` for a layer.
    pub layers: Option<Vec<Node>>,
    /// What it does to every number of a channel, if that is all it does.
    affine: Option<Affine>,
    /// Its settings, as far as a VGG's layers have them.
    settings: Settings,
    /// Whether it is a function, `x - mean`, which is no layer and so is not counted as one.
    pub operation: bool,
}

/// What makes a layer one that a VGG has not, in words; and its activation.
#[derive(Debug, Default)]
struct Settings {
    unlike: Option<&'static str>,
    activation: Option<String>,
    units: Option<u64>,
    /// Height and width of the images that it takes, or makes, where they are always the same.
    size: Option<[u64; 2]>,
}

/// `scale · x + offset`, by channel, or one for all of them.
#[derive(Clone, Debug, PartialEq)]
struct Affine {
    scale: Vec<f64>,
    offset: Vec<f64>,
}

impl Node {
    /// The model that `json` describes.
    pub fn parse(json: &str) -> Option<Self> {
        if json.len() > LONGEST {
            return None;
        }
        Self::read(&serde_json::from_str(json).ok()?, DEPTH)
    }

    fn read(value: &Value, depth: usize) -> Option<Self> {
        let class = value.get("class_name")?.as_str()?.to_owned();
        let config = value.get("config");
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let name = text(config.and_then(|config| config.get("name"))).or_else(|| text(value.get("name")));
        // The oldest Sequential has the list for its configuration.
        let layers = config.and_then(|config| config.get("layers").unwrap_or(config).as_array());
        let layers = layers.filter(|_| depth > 0);
        let layers = layers.map(|all| all.iter().filter_map(|layer| Self::read(layer, depth - 1)).collect());
        let affine = config.and_then(|config| Affine::of(&class, config));
        let settings = config.map(|config| Settings::of(&class, config)).unwrap_or_default();
        let operation = is_operation(value);
        Some(Self { class, name: name.unwrap_or_default(), layers, affine, settings, operation })
    }

    /// The layers that are no models, in the order of data.
    pub fn leaves(&self) -> Vec<&Node> {
        self.steps().into_iter().filter(|node| !node.operation).collect()
    }

    /// The same, and the functions between them.
    pub fn steps(&self) -> Vec<&Node> {
        match &self.layers {
            Some(layers) => layers.iter().flat_map(Self::steps).collect(),
            None => vec![self],
        }
    }

    /// The models inside.
    pub fn models(&self) -> Vec<&Node> {
        let inside = self.layers.as_deref().unwrap_or_default().iter();
        inside
            .filter(|node| node.layers.is_some())
            .flat_map(|node| [vec![node], node.models()].concat())
            .collect()
    }

    /// What makes its settings those of another layer, in words that follow its name.
    pub fn unlike(&self) -> Option<&'static str> {
        self.settings.unlike
    }

    /// What it does to its numbers in the end, `relu`.
    pub fn activation(&self) -> &str {
        self.settings.activation.as_deref().unwrap_or("linear")
    }

    /// The units of a dense layer.
    pub fn units(&self) -> Option<u64> {
        self.settings.units
    }

    /// Height and width of the images that the first convolution takes, "48x48"; `None` where any will do.
    pub fn size(&self) -> Option<String> {
        let steps = self.steps();
        let first =
            steps.iter().position(|step| matches!(step.class.as_str(), "Conv2D" | "Convolution2D"))?;
        // A model inside may be made for one size, and the model around it for any.
        let [h, w] = steps[..=first].iter().rev().find_map(|step| step.settings.size)?;
        Some(format!("{h}x{w}"))
    }

    /// What is done to the numbers of an image before the first layer that does more, `scale offset`; either
    /// is one number, or three with commas between.
    pub fn rescaling(&self) -> Option<String> {
        // A class of the user's own lists none: nothing is known.
        self.layers.as_ref()?;
        let mut all: Option<Affine> = None;
        for layer in self.steps() {
            match &layer.affine {
                // What a function does is not known.
                _ if layer.operation => return Some("operations that are no layers".into()),
                Some(affine) => {
                    all = Some(match all {
                        Some(before) => affine.after(&before)?,
                        None => affine.clone(),
                    });
                }
                None => match layer.class.as_str() {
                    "InputLayer" | "Resizing" | "CenterCrop" => {}
                    // Images are moved and brightened in training alone.
                    class if class.starts_with("Random") => {}
                    "Conv2D" | "Convolution2D" | "ZeroPadding2D" => break,
                    // It may do anything to pixels, whatever was done before.
                    class => return Some(format!("layers of the class {}", shorten(class))),
                },
            }
        }
        let Affine { scale, offset } = all?;
        let text = |numbers: Vec<f64>| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        Some(format!("{} {}", text(scale), text(offset)))
    }
}

impl Settings {
    fn of(class: &str, config: &Value) -> Self {
        let text = |key: &str| config.get(key).and_then(Value::as_str);
        // A list of equal numbers, or one that stands for it; absent or null it is Keras' default.
        let all = |key: &str, wanted: u64| match config.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::Array(list)) => list.iter().all(|n| n.as_u64() == Some(wanted)),
            Some(one) => one.as_u64() == Some(wanted),
        };
        let zero = |key: &str| config.get(key).is_none_or(|n| n.is_null() || n.as_f64() == Some(0.0));
        let first = text("data_format") == Some("channels_first") || text("dim_ordering") == Some("th");
        // The words of Keras 1 are the other ones.
        let padding = text("padding").or(text("border_mode"));
        let strides = if config.get("subsample").is_some() { "subsample" } else { "strides" };
        let class = if class == "Convolution2D" { "Conv2D" } else { class };
        let unlike = match class {
            _ if first => Some("keeps the channels first"),
            "Conv2D" if !all(strides, 1) => Some("goes in larger steps than 1"),
            "Conv2D" if !all("dilation_rate", 1) => Some("is dilated"),
            "Conv2D" if !all("groups", 1) => Some("has groups"),
            "Conv2D" if padding.is_some_and(|padding| padding != "same") => Some("is not padded"),
            "MaxPooling2D" if !all("pool_size", 2) || !all("strides", 2) => Some("is no pooling of 2x2"),
            "MaxPooling2D" if padding.is_some_and(|padding| padding != "valid") => Some("pads images"),
            "ReLU" if config.get("max_value").is_some_and(|most| !most.is_null()) => Some("is no plain ReLU"),
            "ReLU" if !zero("negative_slope") || !zero("threshold") => Some("is no plain ReLU"),
            "AveragePooling2D" => Some("takes means, where a VGG takes the largest"),
            "DepthwiseConv2D" | "SeparableConv2D" | "Conv2DTranspose" => Some("is another convolution"),
            _ => None,
        };
        let activation = match (class, config.get("activation")) {
            ("ReLU", _) => Some("relu"),
            ("Softmax", _) => Some("softmax"),
            (_, None | Some(Value::Null)) => None,
            (_, Some(Value::String(name))) => Some(name.as_str()),
            // A function as an object: its name, or that of its class.
            (_, Some(object)) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                Some(text("config").or(text("class_name")).unwrap_or("a function"))
            }
        };
        let units = config.get("units").and_then(Value::as_u64);
        let size = if first { None } else { size(class, config) };
        Self { unlike, activation: activation.map(str::to_owned), units, size }
    }
}

/// Height and width of the images behind the layer, as far as it decides them; null is any.
fn size(class: &str, config: &Value) -> Option<[u64; 2]> {
    if matches!(class, "Resizing" | "CenterCrop" | "RandomCrop") {
        return Some([config.get("height")?.as_u64()?, config.get("width")?.as_u64()?]);
    }
    // Before Keras 3 the second name, and before there were input layers that of the first layer, whatever it is.
    let shape = config.get("batch_shape").or_else(|| config.get("batch_input_shape"))?.as_array()?;
    match &shape[..] {
        [_, h, w, channels] if channels.as_u64() == Some(3) => Some([h.as_u64()?, w.as_u64()?]),
        _ => None,
    }
}

/// Whether it is a function in a Functional model.
fn is_operation(layer: &Value) -> bool {
    layer.get("module").and_then(Value::as_str).is_some_and(|module| module.starts_with("keras.src.ops"))
}

impl Affine {
    fn of(class: &str, config: &Value) -> Option<Self> {
        let numbers = |key: &str| match config.get(key)? {
            Value::Number(one) => Some(vec![one.as_f64()?]),
            Value::Array(all) => all.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>(),
            _ => None,
        };
        let affine = match class {
            "Rescaling" => Self { scale: numbers("scale")?, offset: numbers("offset").unwrap_or(vec![0.0]) },
            // Keras divides by the root of the variance, and by 1e-7 where that is less.
            "Normalization" if config.get("invert").and_then(Value::as_bool) != Some(true) => {
                let (mean, variance) = (numbers("mean")?, numbers("variance")?);
                let scale: Vec<f64> = variance.iter().map(|v| 1.0 / v.sqrt().max(1e-7)).collect();
                let offset = Self::pairs(&mean, &scale, |mean, scale| -mean * scale)?;
                Self { scale, offset }
            }
            _ => return None,
        };
        let fits = |all: &[f64]| (all.len() == 1 || all.len() == 3) && all.iter().all(|x| x.is_finite());
        (fits(&affine.scale) && fits(&affine.offset)).then_some(affine)
    }

    fn after(&self, before: &Self) -> Option<Self> {
        let scale = Self::pairs(&self.scale, &before.scale, |a, b| a * b)?;
        let shifted = Self::pairs(&self.scale, &before.offset, |a, b| a * b)?;
        Some(Self { scale, offset: Self::pairs(&shifted, &self.offset, |a, b| a + b)? })
    }

    /// One number stands for as many as the other side has.
    fn pairs(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Option<Vec<f64>> {
        match (a, b) {
            ([a], b) => Some(b.iter().map(|&b| f(*a, b)).collect()),
            (a, [b]) => Some(a.iter().map(|&a| f(a, *b)).collect()),
            (a, b) if a.len() == b.len() => Some(a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(layers: &str) -> Node {
        Node::parse(&format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "m", "layers": [{layers}]}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn layers_are_named_in_every_dialect() {
        let names = |node: &Node| node.leaves().iter().map(|leaf| leaf.name.clone()).collect::<Vec<_>>();
        let conv = |name: &str| {
            format!(r#"{{"class_name": "Conv2D", "config": {{"name": "{name}", "unknown": []}}}}"#)
        };
        let inner = format!(
            r#"{{"module": "keras.src.models", "class_name": "Functional", "name": "base",
                 "config": {{"name": "base", "layers": [{}, {{"module": "keras.src.ops.numpy", "class_name": "Add"}}]}}}}"#,
            conv("b")
        );
        let node = model(&format!("{}, {inner}, 3, {}", conv("a"), conv("c")));
        assert_eq!(names(&node), ["a", "b", "c"]);
        assert_eq!(
            node.models().iter().map(|model| (model.name.as_str(), model.leaves().len())).collect::<Vec<_>>(),
            [("base", 1)]
        );
        let oldest =
            Node::parse(&format!(r#"{{"class_name": "Sequential", "config": [{}]}}"#, conv("a"))).unwrap();
        assert_eq!(names(&oldest), ["a"]);
        for odd in ["", "[]", "3", r#"{"class_name": 4}"#, "{", &"[".repeat(100_000)] {
            assert!(Node::parse(odd).is_none(), "{odd:.20}");
        }
        let deep = (0..40).fold(conv("x"), |inner, _| {
            format!(r#"{{"class_name": "Model", "config": {{"layers": [{inner}]}}}}"#)
        });
        assert_eq!(names(&Node::parse(&deep).unwrap()), [""]);
    }

    #[test]
    fn the_size_is_that_before_the_first_convolution() {
        let input = |key: &str, shape: &str| {
            format!(r#"{{"class_name": "InputLayer", "config": {{"name": "i", "{key}": {shape}}}}}"#)
        };
        let layer = |class: &str, more: &str| {
            format!(r#"{{"class_name": "{class}", "config": {{"name": "x"{more}}}}}"#)
        };
        let (new, conv) = (|shape: &str| input("batch_shape", shape), layer("Conv2D", ""));
        let said = |layers: &[&str]| model(&layers.join(",")).size();
        let some = |size: &str| Some(size.to_owned());
        assert_eq!(said(&[&new("[null, 48, 40, 3]"), &conv]), some("48x40"));
        assert_eq!(said(&[&input("batch_input_shape", "[null, 48, 40, 3]"), &conv]), some("48x40"));
        let oldest = layer("Convolution2D", r#", "batch_input_shape": [null, 48, 40, 3]"#);
        assert_eq!(said(&[&oldest]), some("48x40"));
        for unknown in ["[null, null, null, 3]", "[null, 48, null, 3]", "[null, 3, 48, 40]", "[null, 9]", "3"]
        {
            assert_eq!(said(&[&new(unknown), &conv]), None, "{unknown}");
        }
        let any = new("[null, null, null, 3]");
        let base = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "base", "layers": [{}, {conv}]}}}}"#,
            new("[null, 64, 64, 3]")
        );
        assert_eq!(said(&[&any, &base]), some("64x64"));
        let resizing = layer("Resizing", r#", "height": 32, "width": 36"#);
        assert_eq!(said(&[&any, &resizing, &conv]), some("32x36"));
        assert_eq!(said(&[&new("[null, 90, 90, 3]"), &resizing, &any, &conv]), some("32x36"));
        // Without a convolution it is no image's.
        assert_eq!(said(&[&new("[null, 48, 40, 3]")]), None);
        let first =
            layer("Conv2D", r#", "data_format": "channels_first", "batch_input_shape": [null, 48, 40, 3]"#);
        assert_eq!(said(&[&first]), None);
    }

    #[test]
    fn rescaling_is_that_of_all_layers_in_front() {
        let rescaling = |scale: &str, offset: &str| {
            format!(r#"{{"class_name": "Rescaling", "config": {{"scale": {scale}, "offset": {offset}}}}}"#)
        };
        let [input, flip, conv] = ["InputLayer", "RandomFlip", "Conv2D"]
            .map(|class| format!(r#"{{"class_name": "{class}", "config": {{"name": "x"}}}}"#));
        let said = |layers: &[&str]| model(&layers.join(",")).rescaling();
        let first = rescaling("0.5", "-1.0");
        assert_eq!(said(&[&input, &flip, &first, &conv]).unwrap(), "0.5 -1");
        assert_eq!(said(&[&conv, &first]), None);
        assert_eq!(said(&[&input, &conv]), None);
        let second = rescaling("[2, 4, 8]", "[1, 0, 0]");
        assert_eq!(said(&[&first, &second, &conv]).unwrap(), "1,2,4 -1,-4,-8");
        assert_eq!(said(&[&rescaling("[1, 2]", "0")]).unwrap(), "layers of the class Rescaling");
        assert_eq!(said(&[&rescaling("2", "null")]).unwrap(), "2 0");
        let normal =
            r#"{"class_name": "Normalization", "config": {"mean": [1, 2, 3], "variance": [4, 4, 16]}}"#;
        assert_eq!(said(&[normal]).unwrap(), "0.5,0.5,0.25 -0.5,-1,-0.75");
    }
}
