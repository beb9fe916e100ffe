//! HDF5 by layer name: a group per layer, which lists the paths of its weights.
//!
//! The order of layers and weights is in the attributes `layer_names` and `weight_names` alone; HDF5 itself
//! sorts by name. A model inside the model is one layer here, its weights in one list: those that were trained
//! first, then those that were frozen.

use super::config::Node;
use super::names::{split, unnumbered};
use super::{Weight, shorten};
use crate::error::{Error, Kind, Result};
use crate::weights::hdf5::{Attributes, Folder};
use crate::weights::unzip::AGAIN;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads the layers that the `attributes` of `root` list. Out: the weights, and the names of all layers.
///
/// # Errors
/// [`Kind::Weights`] when a layer or a weight that is listed is not there, or is there twice.
pub(super) fn read(
    path: &Path,
    root: &Folder<'_>,
    attributes: &Attributes,
    config: Option<&Node>,
) -> Result<(Vec<Weight>, Vec<String>)> {
    let missing =
        |what: String| Error::new(Kind::Weights, format!("{what} in {}", path.display())).help(AGAIN);
    let names =
        attributes.texts("layer_names")?.ok_or_else(|| missing("there is no `layer_names`".into()))?;
    // One look at the root instead of one for each layer, each of which would go through all of them.
    let mut groups: BTreeMap<String, Folder<'_>> = root.groups()?.into_iter().collect();
    let known = config.map(Known::of);
    let mut seen = BTreeSet::new();
    let (mut weights, mut layers) = (Vec::new(), Vec::new());
    for name in &names {
        if !seen.insert(name) {
            return Err(missing(format!("the layer `{}` is listed twice", shorten(name))));
        }
        let absent = |what: &str| missing(format!("the layer `{}` has no {what}", shorten(name)));
        let group = match groups.remove(name) {
            Some(group) => group,
            // A name with slashes.
            None => root.group(name)?.ok_or_else(|| absent("group"))?,
        };
        let list = group.attributes()?.texts("weight_names")?.ok_or_else(|| absent("`weight_names`"))?;
        let model = known.as_ref().and_then(|known| known.models.get(name.as_str()));
        let owners = owners(name, &list, known.as_ref(), model);
        let mut inside = Vec::with_capacity(list.len());
        for (weight, owner) in list.iter().zip(owners) {
            let Some(array) = group.array(weight)? else {
                return Err(absent(&format!("array `{}`", shorten(weight))));
            };
            let part = split(weight).1.to_owned();
            inside.push(match owner {
                Some(layer) => Weight { outer: vec![name.clone()], layer, part, array },
                None => Weight { outer: Vec::new(), layer: name.clone(), part, array },
            });
        }
        // Layers of other networks have several kernels, which their paths tell apart.
        let parts: BTreeSet<_> = inside.iter().map(|weight| (&weight.layer, &weight.part)).collect();
        if parts.len() < inside.len() {
            for (weight, path) in inside.iter_mut().zip(&list) {
                weight.part.clone_from(path);
            }
        }
        sort(&mut inside, model);
        let before = layers.len();
        for weight in &inside {
            if layers.last() != Some(&weight.layer) {
                layers.push(weight.layer.clone());
            }
        }
        if before == layers.len() {
            layers.push(name.clone());
        }
        weights.extend(inside);
    }
    if let Some(config) = config {
        layers = config.leaves().into_iter().map(|leaf| leaf.name.clone()).collect();
    }
    Ok((weights, layers))
}

/// The layers of a model, and their places in it.
type Places<'a> = BTreeMap<&'a str, usize>;

/// The names in a configuration.
struct Known<'a> {
    layers: BTreeSet<&'a str>,
    /// The models inside, with theirs.
    models: BTreeMap<&'a str, Places<'a>>,
}

impl<'a> Known<'a> {
    fn of(config: &'a Node) -> Self {
        let numbered = |model: &'a Node| {
            let mut places = BTreeMap::new();
            for (place, leaf) in model.leaves().into_iter().enumerate() {
                places.entry(leaf.name.as_str()).or_insert(place);
            }
            places
        };
        Self {
            layers: config.leaves().into_iter().map(|leaf| leaf.name.as_str()).collect(),
            models: config.models().into_iter().map(|model| (model.name.as_str(), numbered(model))).collect(),
        }
    }
}

/// The layers inside the model `group` that the weights of `list` belong to; `None` where the group is a layer
/// itself.
fn owners(
    group: &str,
    list: &[String],
    known: Option<&Known<'_>>,
    model: Option<&Places<'_>>,
) -> Vec<Option<String>> {
    let scopes: Vec<Option<&str>> = list.iter().map(|weight| split(weight).0).collect();
    let distinct: BTreeSet<&str> = scopes.iter().flatten().copied().collect();
    let is_layer = match (known, distinct.first()) {
        _ if model.is_some() => false,
        (Some(known), _) if known.layers.contains(group) => true,
        // Without a configuration, a model is told by having several layers, or one of another name.
        (_, Some(only)) if distinct.len() == 1 => unnumbered(only) == unnumbered(group),
        (_, None) => true,
        _ => false,
    };
    if is_layer {
        return vec![None; list.len()];
    }
    let is_in_model = |layer: &str| model.is_some_and(|places| places.contains_key(layer));
    let own_name = |scope: &str| {
        // TensorFlow's numbers are no part of the layer's name.
        let bare = unnumbered(scope);
        if !is_in_model(scope) && is_in_model(bare) { bare.to_owned() } else { scope.to_owned() }
    };
    scopes.into_iter().map(|scope| scope.map(own_name)).collect()
}

/// Puts the weights of each layer together, and the layers in the order of `model`, or of their names if these
/// count them; else in the order of their first weights.
fn sort(weights: &mut [Weight], model: Option<&Places<'_>>) {
    let mut layers: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for weight in weights.iter() {
        if seen.insert(&weight.layer) {
            layers.push(&weight.layer);
        }
    }
    if let Some(model) = model {
        layers.sort_by_key(|layer| model.get(layer).copied().unwrap_or(usize::MAX));
    } else if count_up(&layers) {
        layers.sort_by_key(|layer| numbers_in(layer));
    }
    let places: BTreeMap<String, usize> =
        layers.iter().enumerate().map(|(place, layer)| ((*layer).to_owned(), place)).collect();
    weights.sort_by_key(|weight| places.get(&weight.layer).copied());
}

/// Whether the names differ in nothing but numbers: `block1_conv1` and `block5_conv3`, `conv2d` and `conv2d_12`.
fn count_up(names: &[&str]) -> bool {
    let bare = |name: &str| unnumbered(name).replace(|c: char| c.is_ascii_digit(), "#");
    let whole = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "#");
    names.iter().zip(names.iter().skip(1)).all(|(a, b)| bare(a) == bare(b) || whole(a) == whole(b))
}

/// The numbers in a name, in their order.
fn numbers_in(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}
