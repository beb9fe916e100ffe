//! Keras 3's HDF5: `layers/conv2d_3/vars/0`, by the classes of layers, and by number.
//!
//! A layer's group is called after its class; the counter counts layers of that class within one model. The
//! layer's own name is an attribute of `vars` in newer files, or in the configuration of a `.keras` archive, or
//! nowhere. tf_keras and Keras 2.13 to 2.15 write `_layer_checkpoint_dependencies` for `layers`.

use super::config::Node;
use super::names::{numbered, snake};
use super::{Weight, shorten};
use crate::error::{Error, Kind, Result};
use crate::weights::hdf5::{Array, Folder};
use std::collections::BTreeMap;
use std::path::Path;

/// Models in models, with two groups for each.
const DEPTH: usize = 32;
/// Groups that hold the layers of a model.
const LAYERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];

/// A layer or a model in the file.
struct Place<'a> {
    folder: Folder<'a>,
    /// `conv2d_3`; empty for the whole model.
    key: String,
    node: Option<&'a Node>,
}

struct Walk<'a> {
    path: &'a Path,
    weights: Vec<Weight>,
    /// The keys of all layers.
    keys: Vec<String>,
}

/// Reads what is below `root`; `config` is the model's. Out: the weights, the names of all layers as far as their order is
/// known, and their keys, which tell of those without weights too.
///
/// # Errors
/// [`Kind::Weights`] when the file is damaged, or an array has no numbers.
pub(super) fn read(
    path: &Path,
    root: &Folder<'_>,
    config: Option<&Node>,
) -> Result<(Vec<Weight>, Vec<String>, Vec<String>)> {
    let mut walk = Walk { path, weights: Vec::new(), keys: Vec::new() };
    let mut groups = root.groups()?;
    groups.retain(|(key, _)| key != "optimizer" && key != "_optimizer");
    walk.inside(groups, config, &[], DEPTH)?;
    let Walk { weights, keys, .. } = walk;
    let layers = match config {
        Some(config) => config.leaves().into_iter().map(|leaf| leaf.name.clone()).collect(),
        // Where the others belong is not known.
        None => {
            let mut layers: Vec<String> = weights.iter().map(|weight| weight.layer.clone()).collect();
            layers.dedup();
            layers
        }
    };
    Ok((weights, layers, keys))
}

impl Walk<'_> {
    /// The layers among the `groups` of a model.
    fn inside(
        &mut self,
        groups: Vec<(String, Folder<'_>)>,
        node: Option<&Node>,
        outer: &[String],
        depth: usize,
    ) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Error::new(
                Kind::Weights,
                format!("the groups of {} are too deep", self.path.display()),
            )
            .expected_got(format!("at most {DEPTH} models in each other"), "more")
            .help("this is no file of weights, or it is damaged"));
        };
        let mut places = Vec::new();
        for (key, folder) in groups {
            if LAYERS.contains(&key.as_str()) {
                places.extend(pair(folder.groups()?, node));
            } else if key != "vars" && key != "seed_generator" {
                // A model's own attribute with a layer in it, in a class of the user's own.
                places.push((usize::MAX, Place { folder, key, node: None }));
            }
        }
        let mut all = Vec::with_capacity(places.len());
        for (at, place) in places {
            let groups = place.folder.groups()?;
            let is_model = groups.iter().any(|(key, _)| LAYERS.contains(&key.as_str()));
            all.push(((at, !is_model, natural(&place.key)), place, groups));
        }
        // As the configuration has them; without one, the base before its head, then by class and number.
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        for (_, place, groups) in all {
            self.keys.push(place.key.clone());
            let named = self.layer(&place, &groups, outer)?;
            let outer: Vec<String> = outer.iter().cloned().chain([named]).collect();
            self.inside(groups, place.node, &outer, depth)?;
        }
        Ok(())
    }

    /// The weights of the layer itself. Out: its name.
    fn layer(
        &mut self,
        place: &Place<'_>,
        groups: &[(String, Folder<'_>)],
        outer: &[String],
    ) -> Result<String> {
        let from_config = place.node.map(|node| node.name.clone()).filter(|name| !name.is_empty());
        let Some((_, vars)) = groups.iter().find(|(key, _)| key == "vars") else {
            return Ok(from_config.unwrap_or_else(|| place.key.clone()));
        };
        let attached = vars.attributes()?;
        let name = attached.text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let name = name.or(from_config).unwrap_or_else(|| place.key.clone());
        let mut numbers = vars.arrays()?;
        numbers.sort_by_key(|number| natural(number));
        let mut arrays = Vec::with_capacity(numbers.len());
        for number in &numbers {
            // The list of arrays had it.
            if let Some(array) = vars.array(number)? {
                arrays.push(array);
            }
        }
        let parts = parts(&place.key, &numbers, &arrays);
        for (part, array) in parts.into_iter().zip(arrays) {
            self.weights.push(Weight { outer: outer.to_vec(), layer: name.clone(), part, array });
        }
        Ok(name)
    }
}

/// Finds the layers of the model `node` that the `groups` belong to, and their order.
fn pair<'a>(groups: Vec<(String, Folder<'a>)>, node: Option<&'a Node>) -> Vec<(usize, Place<'a>)> {
    let mut by_class: BTreeMap<String, Vec<(usize, &Node)>> = BTreeMap::new();
    let layers = node.and_then(|node| node.layers.as_deref()).unwrap_or_default().iter();
    for (at, layer) in layers.filter(|layer| !layer.operation).enumerate() {
        by_class.entry(snake(&layer.class)).or_default().push((at, layer));
    }
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, _) in &groups {
        let (class, number) = class_and_number(key, &by_class);
        keys.entry(class).or_default().push(number);
    }
    keys.values_mut().for_each(|numbers| numbers.sort_unstable());
    let paired = groups.into_iter().map(|(key, folder)| {
        let (class, number) = class_and_number(&key, &by_class);
        let layers = by_class.get(&class).map(Vec::as_slice).unwrap_or_default();
        let numbers = keys.get(&class).map(Vec::as_slice).unwrap_or_default();
        // Where all are there, the order tells; Keras 2.13 has left numbers out. Else the number does.
        let place = if numbers.len() == layers.len() {
            numbers.binary_search(&number).ok()
        } else {
            usize::try_from(number).ok()
        };
        let found = place.and_then(|place| layers.get(place)).copied();
        (found.map_or(usize::MAX, |(at, _)| at), Place { folder, key, node: found.map(|(_, node)| node) })
    });
    paired.collect()
}

/// `conv2d` and 3 of `conv2d_3`. A class can end with a number itself.
fn class_and_number(key: &str, classes: &BTreeMap<String, Vec<(usize, &Node)>>) -> (String, u64) {
    match numbered(key) {
        Some((class, number)) if !classes.contains_key(key) => (class.to_owned(), number),
        _ => (key.to_owned(), 0),
    }
}

/// Sorts `conv2d_10` after `conv2d_9`, and `10` after `9`.
fn natural(key: &str) -> (String, u64) {
    if let Ok(number) = key.parse() {
        return (String::new(), number);
    }
    numbered(key).map_or_else(|| (key.to_owned(), 0), |(stem, number)| (stem.to_owned(), number))
}

/// What the arrays of a layer are, by its class and their shapes; their numbers, where that does not tell.
fn parts(key: &str, numbers: &[String], arrays: &[Array]) -> Vec<String> {
    let ranks: Vec<usize> = arrays.iter().map(|array| array.shape.len()).collect();
    let known: &[&str] = match ranks.as_slice() {
        [1, 1, 1, 1] if key.starts_with("batch_normalization") => {
            &["gamma", "beta", "moving_mean", "moving_variance"]
        }
        [kernel] if *kernel > 1 => &["kernel"],
        [kernel, 1] if *kernel > 1 => &["kernel", "bias"],
        _ => return numbers.iter().map(|number| shorten(number)).collect(),
    };
    known.iter().map(|&part| part.to_owned()).collect()
}
