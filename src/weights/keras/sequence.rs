//! Whether the layers of a configuration are a VGG's: a model in; what makes it another network out, or its classifier
//! one that is not ours.
//!
//! What is not known to change nothing is refused, never passed over: a file of weights computes something else with one
//! layer more. Behind the last convolution or pooling it costs the classifier alone.

use super::config::Node;
use crate::weights::unzip::shorten;

/// What is known of a model's layers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judgement {
    /// Why the convolutions are no VGG's.
    pub unlike: Option<String>,
    /// Why the classifier is none of ours.
    pub classifier: Option<String>,
    /// How many convolutions come before each pooling; `None` where no layers are listed.
    pub pools: Option<Vec<usize>>,
    /// Whether its one output goes through no sigmoid: a logit, or the number of a regression.
    pub linear: bool,
    /// Whether the classifier takes the mean of each channel.
    pub means: bool,
    /// Whether normalisations are the classifier's alone.
    pub normalised: bool,
}

/// What a layer does, as far as a VGG has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Nothing, but in training.
    Nothing,
    /// Something to images, which may stand before the first convolution.
    Before,
    Convolution,
    Pool,
    Activation,
    /// In the base its weights are refused by whoever reads them, with advice.
    Norm,
    Flatten,
    Means,
    Dense,
    Other,
}

/// How far the last convolution is from being whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There was none.
    Start,
    /// It has no activation yet.
    Linear,
    Active,
}

impl Role {
    fn of(layer: &Node) -> Self {
        match layer.class.as_str() {
            _ if layer.operation => Self::Before,
            "InputLayer"
            | "Dropout"
            | "SpatialDropout2D"
            | "AlphaDropout"
            | "GaussianDropout"
            | "GaussianNoise"
            | "ActivityRegularization" => Self::Nothing,
            class if class.starts_with("Random") => Self::Nothing,
            "Rescaling" | "Normalization" | "Resizing" | "CenterCrop" | "Lambda" | "TFOpLambda"
            | "SlicingOpLambda" => Self::Before,
            // Keras 1 has the longer name.
            "Conv2D" | "Convolution2D" => Self::Convolution,
            "MaxPooling2D" => Self::Pool,
            "Activation" | "ReLU" | "Softmax" => Self::Activation,
            "BatchNormalization" => Self::Norm,
            "Flatten" => Self::Flatten,
            "GlobalAveragePooling2D" => Self::Means,
            "Dense" => Self::Dense,
            _ => Self::Other,
        }
    }

    fn is_base(self) -> bool {
        matches!(self, Self::Convolution | Self::Pool)
    }
}

/// Judges the layers of `model` in the order of data.
pub(super) fn judge(model: &Node) -> Judgement {
    // A class of the user's own lists none.
    if model.layers.is_none() {
        return Judgement::default();
    }
    let steps = model.steps();
    let unlike = |why: String| Judgement { unlike: Some(why), ..Judgement::default() };
    let Some(last) = steps.iter().rposition(|step| Role::of(step).is_base()) else {
        return unlike("no convolution is among its layers".into());
    };
    let (base, head) = steps.split_at(last + 1);
    match convolutions(base) {
        Ok((pools, open)) => match classifier(head, open) {
            Ok(judgement) => {
                let normalised =
                    judgement.normalised && !base.iter().any(|step| Role::of(step) == Role::Norm);
                Judgement { pools: Some(pools), normalised, ..judgement }
            }
            Err(why) => unlike(why),
        },
        Err(why) => unlike(why),
    }
}

/// The way from the image to the last pooling. Out: the poolings, and the convolution that still has no activation.
fn convolutions<'a>(base: &[&'a Node]) -> Result<(Vec<usize>, Option<&'a Node>), String> {
    let (mut stage, mut count, mut pools) = (Stage::Start, 0, Vec::new());
    let mut open = None;
    for &layer in base {
        let refuse = |why: &str| Err(named(layer, why));
        let role = Role::of(layer);
        if let (Some(unlike), true) = (layer.unlike(), role != Role::Nothing) {
            return refuse(unlike);
        }
        match (role, stage) {
            (Role::Nothing, _) | (Role::Before, Stage::Start) => {}
            (Role::Convolution, Stage::Start | Stage::Active) => {
                count += 1;
                stage = match layer.activation() {
                    "relu" => Stage::Active,
                    "linear" => Stage::Linear,
                    _ => return refuse("has another activation than ReLU"),
                };
                open = (stage == Stage::Linear).then_some(layer);
            }
            (Role::Convolution, Stage::Linear) => return Err(open.map_or_else(String::new, no_relu)),
            (Role::Activation, Stage::Linear | Stage::Active) => match layer.activation() {
                "relu" => (stage, open) = (Stage::Active, None),
                "linear" => {}
                _ => return refuse("is no ReLU"),
            },
            // Behind a normalisation anything may stand.
            (Role::Norm, Stage::Linear | Stage::Active) => (stage, open) = (Stage::Active, None),
            (Role::Pool, Stage::Linear | Stage::Active) => pools.push(count),
            (_, Stage::Start) => {
                return refuse("stands before the first convolution, where a VGG has nothing");
            }
            _ => return refuse("stands among the convolutions, where a VGG has none"),
        }
    }
    Ok((pools, open))
}

/// The way on from the last convolution or pooling; `open` is a convolution that still has no activation. Out: why the
/// classifier is none of ours, whether it has one output that is linear, and whether it takes means.
fn classifier(head: &[&Node], mut open: Option<&Node>) -> Result<Judgement, String> {
    let (mut flat, mut means, mut normalised) = (false, false, false);
    let mut trouble: Option<String> = None;
    // The last dense layer, and its activation.
    let mut dense: Option<(&Node, &str)> = None;
    for &layer in head {
        let why = match (Role::of(layer), &mut dense) {
            (Role::Nothing, _) => None,
            // Behind a convolution that has no activation yet it is the base's.
            (Role::Norm, None) => {
                normalised = open.take().is_none();
                normalised.then_some("normalises what the classifier takes")
            }
            // Said by who reads its weights.
            (Role::Norm, Some(_)) => None,
            (Role::Flatten, None) if layer.unlike().is_none() => {
                flat = true;
                None
            }
            // Of what the last ReLU gave; a ReLU behind it changes no mean of numbers that are not negative.
            (Role::Means, None) if layer.unlike().is_none() && !flat && open.is_none() => {
                (flat, means) = (true, true);
                None
            }
            (Role::Activation | Role::Means, _) if layer.unlike().is_some() => layer.unlike(),
            (Role::Activation, _) if layer.activation() == "linear" => None,
            (Role::Activation, Some((_, activation))) if *activation == "linear" => {
                *activation = layer.activation();
                None
            }
            (Role::Activation, None) if layer.activation() == "relu" => {
                open = None;
                None
            }
            (Role::Dense, before) => {
                let why = match before {
                    None if !flat => Some("takes images that are not flattened"),
                    Some((_, "relu")) | None => None,
                    Some((first, _)) => {
                        trouble.get_or_insert(named(first, "is followed by another, and has no ReLU"));
                        None
                    }
                };
                *before = Some((layer, layer.activation()));
                why
            }
            _ => Some("is nothing that the classifier of a VGG does"),
        };
        if let Some(why) = why {
            trouble.get_or_insert(named(layer, why));
        }
    }
    if let Some(open) = open {
        return Err(no_relu(open));
    }
    let Some((last, activation)) = dense else {
        return Ok(Judgement { classifier: trouble, means, normalised, ..Judgement::default() });
    };
    let fits = match activation {
        "softmax" => last.units() != Some(1),
        "sigmoid" => last.units() == Some(1),
        "linear" => true,
        _ => false,
    };
    if !fits {
        trouble.get_or_insert(named(
            last,
            &format!(
                "ends in `{}`, where ours end in a softmax, or one unit in a sigmoid",
                shorten(activation)
            ),
        ));
    }
    let linear = activation == "linear" && last.units() == Some(1);
    Ok(Judgement { classifier: trouble, linear, means, normalised, ..Judgement::default() })
}

fn named(layer: &Node, why: &str) -> String {
    format!("`{}` ({}) {why}", shorten(&layer.name), shorten(&layer.class))
}

fn no_relu(layer: &Node) -> String {
    named(layer, "is not followed by ReLU")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of the class `class`, with `more` in its configuration.
    fn layer(class: &str, more: &str) -> String {
        let name = class.to_lowercase();
        format!(r#"{{"class_name": "{class}", "config": {{"name": "{name}"{more}}}}}"#)
    }

    fn model(layers: &[String]) -> String {
        let layers = layers.join(",");
        format!(r#"{{"class_name": "Functional", "config": {{"name": "m", "layers": [{layers}]}}}}"#)
    }

    fn judged(layers: &[String]) -> Judgement {
        judge(&Node::parse(&model(layers)).unwrap())
    }

    fn conv() -> String {
        layer("Conv2D", r#", "activation": "relu", "padding": "same", "strides": [1, 1]"#)
    }

    fn dense(units: usize, activation: &str) -> String {
        layer("Dense", &format!(r#", "units": {units}, "activation": "{activation}""#))
    }

    fn plain(class: &str) -> String {
        layer(class, "")
    }

    fn base() -> Vec<String> {
        vec![plain("InputLayer"), conv(), plain("MaxPooling2D"), conv(), plain("MaxPooling2D")]
    }

    fn with(more: &[String]) -> Vec<String> {
        [base(), more.to_vec()].concat()
    }

    #[test]
    fn what_keras_writes_is_a_vgg() {
        let whole = Judgement { pools: Some(vec![1, 2]), ..Judgement::default() };
        let flatten = || plain("Flatten");
        let linear = layer("Conv2D", r#", "activation": "linear""#);
        let relu = layer("ReLU", r#", "max_value": null, "negative_slope": 0.0, "threshold": 0.0"#);
        let word = layer("Activation", r#", "activation": "relu""#);
        for layers in [
            base(),
            with(&[flatten(), dense(4096, "relu"), dense(4096, "relu"), dense(1000, "softmax")]),
            with(&[flatten(), dense(256, "relu"), plain("Dropout"), dense(1, "sigmoid")]),
            with(&[flatten(), dense(256, "linear"), relu.clone(), dense(3, "linear"), plain("Softmax")]),
            // The base as a model in a model, behind what is done to images.
            vec![plain("RandomFlip"), plain("Rescaling"), model(&base()), flatten(), dense(2, "linear")],
            vec![conv(), plain("MaxPooling2D"), linear.clone(), relu, plain("MaxPooling2D")],
            vec![conv(), plain("MaxPooling2D"), linear.clone(), plain("MaxPooling2D"), word],
        ] {
            assert_eq!(judged(&layers), whole, "{layers:?}");
        }
        // `pooling = "avg"`, of a base alone or with a classifier.
        for more in [&[][..], &[dense(3, "softmax")], &[plain("Dropout"), dense(1, "sigmoid")]] {
            let layers = with(&[&[plain("GlobalAveragePooling2D")], more].concat());
            assert_eq!(
                judged(&layers),
                Judgement { means: true, pools: Some(vec![1, 2]), ..Judgement::default() }
            );
        }
        assert_eq!(judged(&[linear]).unlike.unwrap(), "`conv2d` (Conv2D) is not followed by ReLU");
        // A class of the user's own: nothing is known.
        assert_eq!(judge(&Node::parse(&plain("MyModel")).unwrap()), Judgement::default());
    }

    #[test]
    fn a_layer_more_is_another_network() {
        let relu = |more: &str| layer("ReLU", more);
        for (between, why) in [
            (plain("UpSampling2D"), "stands among the convolutions"),
            (plain("Cropping2D"), "stands among the convolutions"),
            (plain("GlobalAveragePooling2D"), "stands among the convolutions"),
            (plain("Add"), "stands among the convolutions"),
            (plain("LeakyReLU"), "stands among the convolutions"),
            (plain("Rescaling"), "stands among the convolutions"),
            (plain("TFOpLambda"), "stands among the convolutions"),
            (plain("Flatten"), "stands among the convolutions"),
            (r#"{"module": "keras.src.ops.numpy", "class_name": "Add"}"#.into(), "stands among"),
            (relu(r#", "max_value": 6.0"#), "is no plain ReLU"),
            (relu(r#", "negative_slope": 0.1"#), "is no plain ReLU"),
            (relu(r#", "threshold": 1.0"#), "is no plain ReLU"),
            (layer("Activation", r#", "activation": "tanh""#), "is no ReLU"),
            (layer("Conv2D", r#", "activation": "gelu""#), "has another activation than ReLU"),
            (
                layer("Conv2D", r#", "activation": {"class_name": "f", "config": "gelu"}"#),
                "another activation",
            ),
            (layer("Conv2D", r#", "activation": "relu", "padding": "valid""#), "is not padded"),
        ] {
            let unlike = judged(&[vec![conv(), between], base()].concat()).unlike.unwrap();
            assert!(unlike.contains(why), "{why}: {unlike}");
        }
        let first = judged(&[vec![plain("UpSampling2D")], base()].concat()).unlike.unwrap();
        assert!(first.contains("before the first convolution"), "{first}");
        assert!(judged(&[plain("Flatten"), dense(1, "sigmoid")]).unlike.is_some());
        // Poolings are counted; where a VGG has them is not known here.
        assert_eq!(judged(&[conv(), conv()]).pools, Some(vec![]));
        assert_eq!(judged(&[conv(), conv(), plain("MaxPooling2D")]).pools, Some(vec![2]));
    }

    #[test]
    fn one_linear_output_is_told_from_others() {
        let ends = |more: &[String]| {
            judged(&with(&[vec![plain("Flatten"), dense(9, "relu")], more.to_vec()].concat())).linear
        };
        assert!(ends(&[dense(1, "linear")]));
        assert!(ends(&[dense(1, "linear"), plain("Dropout")]));
        assert!(!ends(&[dense(1, "sigmoid")]));
        assert!(!ends(&[dense(1, "linear"), layer("Activation", r#", "activation": "sigmoid""#)]));
        assert!(!ends(&[dense(2, "linear")]));
        assert!(!judged(&base()).linear);
    }

    #[test]
    fn another_classifier_leaves_the_base() {
        let linear = || layer("Conv2D", r#", "activation": "linear""#);
        let relu = || layer("ReLU", r#", "max_value": null, "negative_slope": 0.0, "threshold": 0.0"#);
        let flat = |more: &[String]| with(&[vec![plain("Flatten")], more.to_vec()].concat());
        for (layers, why) in [
            (flat(&[dense(9, "tanh"), dense(2, "softmax")]), "is followed by another, and has no ReLU"),
            (flat(&[dense(9, "linear"), dense(1, "sigmoid")]), "is followed by another, and has no ReLU"),
            (flat(&[dense(9, "relu"), dense(2, "sigmoid")]), "ends in `sigmoid`"),
            (flat(&[dense(9, "relu"), dense(1, "softmax")]), "ends in `softmax`"),
            (flat(&[dense(9, "relu"), dense(9, "relu")]), "ends in `relu`"),
            (
                flat(&[dense(9, "relu"), plain("LayerNormalization"), dense(2, "softmax")]),
                "LayerNormalization",
            ),
            (with(&[plain("GlobalMaxPooling2D"), dense(2, "softmax")]), "(GlobalMaxPooling2D) is nothing"),
            (
                with(&[
                    plain("GlobalAveragePooling2D"),
                    plain("GlobalAveragePooling2D"),
                    dense(2, "softmax"),
                ]),
                "(GlobalAveragePooling2D) is nothing",
            ),
            (
                with(&[
                    layer("GlobalAveragePooling2D", r#", "data_format": "channels_first""#),
                    dense(2, "softmax"),
                ]),
                "(GlobalAveragePooling2D) keeps the channels first",
            ),
            (
                with(&[plain("GlobalAveragePooling2D"), plain("BatchNormalization"), dense(2, "softmax")]),
                "(BatchNormalization) normalises what the classifier takes",
            ),
            // The mean of what went through no ReLU.
            (
                [base(), vec![linear(), plain("GlobalAveragePooling2D"), relu(), dense(2, "softmax")]]
                    .concat(),
                "(GlobalAveragePooling2D) is nothing",
            ),
            (with(&[dense(2, "softmax")]), "takes images that are not flattened"),
        ] {
            let normalised = layers.iter().any(|layer| layer.contains("\"BatchNormalization\""));
            let judgement = judged(&layers);
            assert_eq!(judgement.normalised, normalised);
            let Judgement { unlike, classifier, pools, .. } = judgement;
            assert_eq!((unlike, pools), (None, Some(vec![1, 2])));
            assert!(classifier.as_ref().unwrap().contains(why), "{why}: {classifier:?}");
        }
    }
}
