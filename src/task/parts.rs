//! A split of the data at every place where a stage takes it up: pictures, and the activations of the frozen
//! layers below.
//!
//! In: a split, the places, a limit of bytes. Out: samples and the layer at which they enter. What is frozen
//! for good runs once per picture; its output lies in `RUN/features`, mapped, so that it is in memory as far
//! as there is room. Beyond the limit the frozen layers run again in every epoch.

use super::Host;
use super::extract::From;
use super::fit::samples;
use crate::data::{Augment, Features, Folder, Pictures};
use crate::device::call::Normalize;
use crate::error::Result;
use crate::model::{Architecture, Network};
use crate::train::{FeatureSamples, PictureSamples, Samples};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A split and what was computed from it.
pub(super) struct Part {
    pub name: &'static str,
    pub pictures: Arc<Pictures>,
    /// Activations before a layer.
    levels: BTreeMap<usize, Features>,
}

/// A part as samples.
pub(super) struct Ready<'a> {
    levels: BTreeMap<usize, FeatureSamples<'a>>,
    plain: PictureSamples<'a>,
}

/// Where features are put, and how many bytes of them.
pub(super) struct Cache<'a> {
    pub folder: &'a Path,
    pub limit: u64,
    /// Bytes that were given away.
    pub taken: u64,
}

impl Part {
    /// Computes the activations of `pictures` before each of the layers `places`.
    pub fn new(
        host: &Host,
        from: &From<'_>,
        network: &Network,
        (name, split): (&'static str, &Folder),
        pictures: Arc<Pictures>,
        places: &[usize],
        cache: &mut Cache<'_>,
    ) -> Result<Self> {
        let mut part = Self { name, pictures, levels: BTreeMap::new() };
        let architecture = network.architecture();
        let mut places: Vec<usize> = places.iter().copied().filter(|&place| place > 0).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let row = architecture.shape_before(place).len();
            let (rows, layer) = (part.pictures.len(), &architecture.layers()[place].name);
            let bytes = (rows * row * 4) as u64;
            let spared = multiplications(architecture, place);
            let all = multiplications(architecture, architecture.layers().len());
            let facts = format!("{name:10} at {layer}: {rows} x {row} numbers, {}", size(bytes));
            if cache.taken + bytes > cache.limit {
                host.say(format_args!(
                    "{facts}: more than --cache-limit leaves, so the layers before it run in every epoch"
                ));
                continue;
            }
            host.say(format_args!(
                "{facts}, computed once: spares {:.1} of {:.1} GMAC ({:.0} %) a picture and epoch",
                spared as f64 / 1e9,
                all as f64 / 1e9,
                100.0 * spared as f64 / all as f64
            ));
            cache.taken += bytes;
            let path = cache.folder.join(format!("{name}.{place:02}.safetensors"));
            let features = match part.levels.last_key_value() {
                Some((&below, lower)) => from.features(host, network, name, lower, below..place, &path)?,
                None => from.pictures(host, network, name, split, &part.pictures, 0..place, &path)?,
            };
            part.levels.insert(place, features);
        }
        Ok(part)
    }

    /// For stages that enter at `places`.
    pub fn ready(&self, host: &Host, rule: Normalize, places: &[usize]) -> Result<Ready<'_>> {
        let mut levels = BTreeMap::new();
        for (&place, features) in &self.levels {
            levels.insert(place, samples(features)?);
        }
        let wanted = places.iter().any(|place| levels.range(..=place).next().is_none());
        let plain = if wanted {
            let plain = PictureSamples::new(host.device.as_ref(), &self.pictures, rule)?;
            host.say(format_args!("{:10} {plain}", self.name));
            plain
        } else {
            PictureSamples::once(&self.pictures, rule)
        };
        Ok(Ready { levels, plain })
    }
}

impl Ready<'_> {
    /// What a stage sees whose changed layers begin at `place`, and the layer at which that enters.
    pub fn samples(&self, place: usize) -> (usize, &dyn Samples) {
        match self.levels.range(..=place).next_back() {
            Some((&level, features)) => (level, features),
            None => (0, &self.plain),
        }
    }

    /// The same to learn from: pictures that are changed anew in every step enter at the first layer.
    pub fn training(&mut self, place: usize, augment: Option<&Augment>, seed: u64) -> (usize, &dyn Samples) {
        self.plain.augment(augment.map(|augment| (augment.clone(), seed)));
        if augment.is_some() { (0, &self.plain) } else { self.samples(place) }
    }
}

/// Multiply-adds of one picture through the layers before `end`.
pub(super) fn multiplications(architecture: &Architecture, end: usize) -> u64 {
    let layers = architecture.layers().iter().enumerate().take(end);
    layers
        .filter_map(|(position, placed)| {
            let kernel = &architecture.parameters()[placed.kernel?];
            // A convolution keeps the size of the map.
            let places = match *architecture.shape_before(position).axes() {
                [_, h, w, _] => h * w,
                _ => 1,
            };
            Some((kernel.shape.len() * places) as u64)
        })
        .sum()
}

/// "331.8 MB".
fn size(bytes: u64) -> String {
    if bytes < 1_000_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Head, Variant};

    /// The figures of VGG16 at 150x150 that were counted by another program.
    #[test]
    fn multiplications_are_those_of_the_paper_count() {
        let head = Head { units: 256, dropout: 0.5, classes: 2 };
        let net = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap().with_head(head).unwrap();
        assert_eq!(multiplications(&net, net.base()), 6_615_491_328);
        assert_eq!(multiplications(&net, net.layers().len()), 6_615_491_328 + 8192 * 256 + 256);
        assert_eq!(multiplications(&net, net.position("block1_conv2").unwrap()), 38_880_000);
        assert_eq!((size(331_776_000), size(2_500_000_000)), ("331.8 MB".into(), "2.5 GB".into()));
    }
}
