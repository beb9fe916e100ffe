//! Tensors that no layer takes. Among the convolutions they are another network's (a normalisation, a slope), and an
//! error; in the classifier they end its use; elsewhere they are counted and left.

use super::layers::{Found, Layers};
use super::names::natural;
use crate::error::{Error, Kind, Result};
use crate::weights::{FileFormat, Weights, shorten};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Looks at every tensor of floats in `weights` that is none of `layers`.
///
/// # Errors
/// [`Kind::Weights`] naming the first that is among the convolutions.
pub(super) fn check(weights: &Weights, layers: &mut Layers) -> Result<()> {
    let mut names: Vec<&str> = weights.in_order().collect();
    let sorted = weights.format() == FileFormat::Safetensors;
    if sorted {
        names.sort_by_cached_key(|name| natural(name));
    }
    let places: BTreeMap<&str, usize> = names.iter().enumerate().map(|(at, &name)| (name, at)).collect();
    let (base, head) = (Part::of(&layers.convolutions, &places), Part::of(&layers.dense, &places));
    let claimed: BTreeSet<&str> =
        layers.convolutions.iter().chain(&layers.dense).flat_map(tensors).map(String::as_str).collect();
    let rows = layers.dense.first().and_then(|dense| dense.shape.first().copied());
    let (mut trouble, mut others) = (None, Vec::new());
    for (at, &name) in names.iter().enumerate() {
        if claimed.contains(name) || !weights.is_float(name)? {
            continue;
        }
        if name.rsplit_once('.').is_some_and(|(stem, _)| layers.left.iter().any(|left| left == stem)) {
            continue;
        }
        // In the order of the data, what comes before the classifier is on the way to it.
        let between = !sorted && base.ends_before(at) && head.begins_after(at);
        if base.has(at, name) || between {
            return Err(Error::new(
                Kind::Weights,
                format!("{} holds no VGG: no layer of one has `{}`", weights.path().display(), shorten(name)),
            )
            .expected_got(
                "kernels, biases and batch normalisation, between the convolutions",
                format!("{:?} of {}", weights.shape(name)?, weights.dtype(name)?),
            )
            .help(super::INSPECT));
        }
        // The alphabet hides what stands between: a norm or a slope for each of the classifier's inputs.
        let beside = sorted && matches!((weights.shape(name)?, rows), (&[one], Some(rows)) if one == rows);
        if head.has(at, name) || beside {
            trouble.get_or_insert(format!("no layer of ours has `{}`", shorten(name)));
        } else {
            others.push(name.to_owned());
        }
    }
    layers.trouble = layers.trouble.take().or(trouble);
    layers.others = others;
    Ok(())
}

/// The tensors of a layer.
fn tensors(layer: &Found) -> impl Iterator<Item = &String> {
    let norm = layer.norm.iter().flat_map(|norm| [&norm.scale, &norm.offset, &norm.mean, &norm.variance]);
    [&layer.kernel].into_iter().chain(&layer.bias).chain(norm)
}

/// Layers that follow one another, as places in the order of all tensors; and what their names begin with.
struct Part {
    places: Option<RangeInclusive<usize>>,
    prefixes: BTreeSet<String>,
}

impl Part {
    fn of(layers: &[Found], places: &BTreeMap<&str, usize>) -> Self {
        let all = || layers.iter().flat_map(tensors).filter_map(|name| places.get(name.as_str()).copied());
        let places = all().min().zip(all().max()).map(|(first, last)| first..=last);
        // `features.` of `features.28`; where a layer is in no module, its own name: `conv1` and `conv1_norm`.
        let prefix = |layer: &Found| match layer.name.rsplit_once('.') {
            Some((module, _)) => format!("{module}."),
            None => layer.name.clone(),
        };
        Self { places, prefixes: layers.iter().map(prefix).collect() }
    }

    /// Whether the tensor `name` at the place `at` is among its layers, or called as if it were.
    fn has(&self, at: usize, name: &str) -> bool {
        // Each beginning of the name is looked up: a file may have as many layers as other tensors.
        let begins = |(end, mark): (usize, &str)| {
            self.prefixes.contains(&name[..end]) || mark == "." && self.prefixes.contains(&name[..=end])
        };
        self.places.as_ref().is_some_and(|places| places.contains(&at))
            || name.match_indices(['.', '_', '/']).any(begins)
    }

    fn ends_before(&self, at: usize) -> bool {
        self.places.as_ref().is_some_and(|places| *places.end() < at)
    }

    fn begins_after(&self, at: usize) -> bool {
        self.places.as_ref().is_some_and(|places| at < *places.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_where_it_begins_as_a_layer_does() {
        let part =
            Part { places: Some(4..=6), prefixes: ["features.", "conv1", "a.b."].map(String::from).into() };
        for (at, name, has) in [
            (0, "features.3.weight", true),
            (0, "features", false),
            (0, "features_3.weight", false),
            (0, "conv1.bias", true),
            (0, "conv1_norm.scale", true),
            (0, "conv1/kernel", true),
            (0, "conv12.bias", false),
            (0, "conv1", false),
            (0, "a.b.c.d", true),
            (0, "a.c", false),
            (0, "x.conv1.bias", false),
            (5, "x.conv1.bias", true),
            (7, "", false),
        ] {
            assert_eq!(part.has(at, name), has, "{name} at {at}");
        }
    }
}
