//! Keras' files of weights: the bytes of any of them in; tensors under the names of their layers out.
//!
//! Four layouts: HDF5 by layer name, of weights ([`legacy`]) or of a whole model; Keras 3's HDF5 by class and
//! number ([`three`]); and the zip archive around the latter ([`archive`]). Kernels stay as they are, HWIO and
//! in × out. A tensor is called `<layer>.<part>` after its layer's own name where the file has it, without the
//! models around the layer, unless two would then be called the same.

mod archive;
mod config;
mod legacy;
mod names;
mod sequence;
mod three;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod made;
#[cfg(test)]
mod tests;

use super::contents::{Contents, FileFormat, Found};
use super::hdf5::{self, Array, Attributes, Folder};
use super::unzip::shorten;
use crate::error::{Error, Kind, Result};
use config::Node;
use sequence::Judgement;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// An array with all that is known about its name.
struct Weight {
    /// Names of the models around the layer, outermost first, without that of the whole.
    outer: Vec<String>,
    layer: String,
    /// `kernel`, `bias`, `gamma` …, or what the file calls it.
    part: String,
    array: Array,
}

/// What a layout says.
struct Said {
    format: FileFormat,
    weights: Vec<Weight>,
    /// All layers in order, those without weights too where the file has them.
    layers: Vec<String>,
    metadata: BTreeMap<String, String>,
    /// How many convolutions come before each pooling, where the file says it.
    pools: Option<Vec<usize>>,
}

/// Reads `bytes`, the whole of the file at `path`.
///
/// # Errors
/// [`Kind::Weights`] when it is damaged, or holds no weights in a layout of Keras.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let said = if bytes.starts_with(b"PK") {
        archive::read(path, bytes)?
    } else {
        read_hdf5(path, bytes, 0..bytes.len(), None)?
    };
    let Said { format, weights, layers, mut metadata, pools } = said;
    if weights.is_empty() {
        return Err(Error::new(Kind::Weights, format!("there are no weights in {}", path.display()))
            .help("the model was saved before it was built, or it has no layers with weights"));
    }
    refuse_theano(path, &weights)?;
    if !layers.is_empty() {
        metadata.insert("layers".into(), cut(&layers.join(",")));
    }
    Ok(Contents { format, tensors: tensors(path, weights)?, metadata, graph: None, pools })
}

/// Reads the HDF5 file at `within`; `config` is the model's, where it is not in that file.
fn read_hdf5(path: &Path, bytes: &[u8], within: Range<usize>, config: Option<&Node>) -> Result<Said> {
    hdf5::open(path, bytes, within, |root| {
        let attributes = root.attributes()?;
        let mut metadata = BTreeMap::new();
        describe(&attributes, &mut metadata);
        if attributes.has("layer_names") {
            let (weights, layers) = legacy::read(path, root, &attributes, None)?;
            pooled(&layers, &mut metadata);
            let format = FileFormat::KerasH5Weights;
            return Ok(Said { format, weights, layers, metadata, pools: None });
        }
        if let Some(group) = root.group("model_weights")? {
            let attributes_of_group = group.attributes()?;
            describe(&attributes_of_group, &mut metadata);
            let model = attributes.text("model_config").and_then(Node::parse);
            let pools = understand(model.as_ref(), &mut metadata);
            let (weights, layers) = legacy::read(path, &group, &attributes_of_group, model.as_ref())?;
            return Ok(Said { format: FileFormat::KerasH5, weights, layers, metadata, pools });
        }
        let (weights, layers, keys) = three::read(path, root, config)?;
        // An archive's configuration says it better.
        if config.is_none() {
            pooled(&keys, &mut metadata);
        }
        if weights.is_empty() && layers.is_empty() {
            return Err(foreign(path, root, &attributes)?);
        }
        Ok(Said { format: FileFormat::Keras3Weights, weights, layers, metadata, pools: None })
    })
}

/// HDF5, but not Keras': the error says what is in it.
fn foreign(path: &Path, root: &Folder<'_>, attributes: &Attributes) -> Result<Error> {
    let list = |mut names: Vec<String>| {
        names.sort();
        let more = names.len().saturating_sub(8);
        let mut text: Vec<String> = names.iter().take(8).map(|name| format!("`{}`", shorten(name))).collect();
        if more > 0 {
            text.push(format!("{more} more"));
        }
        if text.is_empty() { "nothing".into() } else { text.join(", ") }
    };
    let mut members: Vec<String> = root.groups()?.into_iter().map(|(name, _)| name).collect();
    members.extend(root.arrays()?);
    let attached = list(attributes.names().cloned().collect());
    Ok(Error::new(Kind::Weights, format!("{} is HDF5, but not a file of Keras' weights", path.display()))
        .expected_got(
            "the attribute `layer_names`, the group `model_weights`, or groups `layers/…/vars`",
            format!("at the root: {}; attached to it: {attached}", list(members)),
        )
        .help("save the weights with Keras: model.save_weights(\"x.weights.h5\")"))
}

/// Kernels of Keras 1 with Theano's order of axes are OIHW, and mirrored if Theano has trained them, of which
/// nothing in the file tells. So they are refused, not turned.
fn refuse_theano(path: &Path, weights: &[Weight]) -> Result<()> {
    let first = weights.iter().find(|weight| weight.part == "kernel" && weight.array.shape.len() == 4);
    let Some(Weight { layer, array: Array { shape, .. }, .. }) = first else { return Ok(()) };
    // Colours are 3; a kernel that is 3 wide and not 3 high is nobody's.
    let &[out, 3, 3, 3] = shape.as_slice() else { return Ok(()) };
    if out == 3 {
        return Ok(());
    }
    let name = shorten(layer);
    Err(Error::new(Kind::Weights, format!("the kernels in {} are in Theano's order of axes", path.display()))
        .expected_got(
            format!("[3, 3, 3, {out}] for `{name}.kernel`: height, width, in, out"),
            format!("{shape:?}"),
        )
        .help(
            "take the file with `tf_dim_ordering` in its name, or convert the model with Keras 2's \
             convert_all_kernels_in_model",
        ))
}

/// Versions, and what our own exports say about themselves.
fn describe(attributes: &Attributes, metadata: &mut BTreeMap<String, String>) {
    for name in attributes.names() {
        if let Some(text) = attributes.text(name) {
            remark(name, text, metadata);
        }
    }
}

fn remark(name: &str, text: &str, metadata: &mut BTreeMap<String, String>) {
    if matches!(name, "keras_version" | "backend") || name.starts_with("vgg_ft_") {
        metadata.insert(cut(name), cut(text));
    }
}

/// What the configuration says beside names: into the metadata, and where the poolings are.
fn understand(config: Option<&Node>, metadata: &mut BTreeMap<String, String>) -> Option<Vec<usize>> {
    let config = config?;
    let Judgement { unlike, classifier, pools, linear, means, normalised } = sequence::judge(config);
    let said = [
        ("rescaling", config.rescaling()),
        ("size", config.size()),
        ("unlike-vgg", unlike),
        ("unlike-classifier", classifier),
        ("linear-output", linear.then(|| "one".to_owned())),
        ("pooling", means.then(|| "avg".to_owned())),
        ("normalised-classifier", normalised.then(|| "yes".to_owned())),
    ];
    metadata.extend(said.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))));
    pools
}

/// What the names of layers tell of the classifier where no configuration does.
fn pooled(layers: &[String], metadata: &mut BTreeMap<String, String>) {
    // Inside a model its name stands before them.
    let called = |class: &str| {
        layers.iter().find(|name| name.rsplit('/').next().is_some_and(|own| own.starts_with(class)))
    };
    let other = ["layer_normalization", "group_normalization", "unit_normalization", "p_re_lu"];
    if let Some(name) = other.into_iter().find_map(called) {
        let why = format!("`{}` is nothing that the classifier of a VGG does", shorten(name));
        metadata.insert("unlike-classifier".into(), why);
    } else if let Some(name) = called("global_max_pooling2d") {
        let why = format!("`{}` takes the largest of each channel", shorten(name));
        metadata.insert("unlike-classifier".into(), why);
    } else if called("global_average_pooling2d").is_some() {
        metadata.insert("pooling".into(), "avg".into());
    }
}

#[cfg(test)]
#[test]
fn names_of_layers_tell_of_the_classifier() {
    let told = |names: &[&str]| {
        let mut metadata = BTreeMap::new();
        pooled(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), &mut metadata);
        metadata.into_iter().next()
    };
    let said = |key: &str, text: &str| Some((key.to_owned(), text.to_owned()));
    assert_eq!(told(&["conv2d", "max_pooling2d", "flatten", "dense"]), None);
    assert_eq!(told(&["conv2d", "global_average_pooling2d_3", "dense"]), said("pooling", "avg"));
    let largest = "`vgg16/global_max_pooling2d` takes the largest of each channel";
    assert_eq!(told(&["vgg16/global_max_pooling2d", "dense"]), said("unlike-classifier", largest));
    let norm = "`layer_normalization` is nothing that the classifier of a VGG does";
    assert_eq!(
        told(&["global_average_pooling2d", "layer_normalization", "dense"]),
        said("unlike-classifier", norm)
    );
}

/// A list of a thousand names of classes has 20 kB.
fn cut(text: &str) -> String {
    text.chars().take(1 << 16).collect()
}

/// Gives every weight its name.
fn tensors(path: &Path, weights: Vec<Weight>) -> Result<Vec<Found>> {
    let mut often: BTreeMap<String, usize> = BTreeMap::new();
    for weight in &weights {
        *often.entry(weight.short()).or_default() += 1;
    }
    let mut seen = BTreeSet::new();
    let mut tensors = Vec::with_capacity(weights.len());
    for weight in weights {
        let short = weight.short();
        let name = match often.get(&short) {
            Some(1) => short,
            _ => weight.outer.iter().map(|model| format!("{model}/")).collect::<String>() + &short,
        };
        if !seen.insert(name.clone()) {
            return Err(Error::new(
                Kind::Weights,
                format!("{} has two tensors `{}`", path.display(), shorten(&name)),
            )
            .help("which of the two is meant cannot be known; give the layers different names"));
        }
        let Array { dtype, shape, place } = weight.array;
        tensors.push(Found { name, dtype, shape, place });
    }
    Ok(tensors)
}

impl Weight {
    fn short(&self) -> String {
        format!("{}.{}", self.layer, self.part)
    }
}
