//! A split of the data at every place where a stage enters: images, and the activations of the frozen layers below.
//!
//! In: a split, the places, a limit of bytes. Out: samples and the layer at which they enter. What is frozen for good runs
//! once per image; its output is in `RUN/features`, memory-mapped. Beyond the limit the frozen layers run again in every
//! epoch, and so they do for validation images that a GPU computes in less than half the time of an upload.

use super::Host;
use super::extract::Extraction;
use super::fit::samples;
use crate::data::{Augment, Features, Folder, Images, Split};
use crate::device::call::Normalize;
use crate::device::gpu::plan::lines;
use crate::error::{Kind, Result};
use crate::model::{Architecture, Network};
use crate::train::{FeatureSamples, ImageSamples, Samples, plan};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Bytes of features that a GPU is given in a second: gathered by one thread, copied to pinned memory, sent. By epochs
/// of the notebook on an H200, which took 0.54 s more than their steps and passes do, with 700.9 MB to give; rows that
/// a cache holds went at 3.5 GB/s at least.
const GIVEN: f64 = 1.3e9;

/// A split and what was computed from it.
pub(super) struct Part {
    split: Split,
    pub images: Arc<Images>,
    /// Activations before a layer.
    levels: BTreeMap<usize, Features>,
}

/// A part as samples.
pub(super) struct Ready<'a> {
    levels: BTreeMap<usize, FeatureSamples<'a>>,
    plain: ImageSamples<'a>,
}

/// Where features are put, and how many bytes of them.
pub(super) struct Cache<'a> {
    pub folder: &'a Path,
    /// Where those of a run lie that is to be written over.
    pub former: Option<&'a Path>,
    pub limit: u64,
    /// Bytes that were given away.
    pub taken: u64,
}

impl Part {
    /// Computes the activations of `images` before each of the layers `places`.
    pub fn new(
        host: &Host,
        from: &Extraction<'_>,
        network: &Network,
        (split, folder): (Split, &Folder),
        images: Arc<Images>,
        places: &[usize],
        cache: &mut Cache<'_>,
    ) -> Result<Self> {
        let mut part = Self { split, images, levels: BTreeMap::new() };
        let architecture = network.architecture();
        let mut places: Vec<usize> = places.iter().copied().filter(|&place| place > 0).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let row = architecture.shape_before(place).len();
            let (rows, layer) = (part.images.len(), &architecture.layers()[place].name);
            let bytes = (rows * row * 4) as u64;
            let spared = multiplications(architecture, place);
            let all = multiplications(architecture, architecture.layers().len());
            let facts = format!("{split:10} at {layer}: {rows} x {row} numbers, {}", size(bytes));
            if cache.taken + bytes > cache.limit {
                host.say(format_args!(
                    "{facts}: more than --cache-limit leaves, so the layers before it run in every epoch"
                ));
                continue;
            }
            if split == Split::Validation && sooner_anew(host, architecture, (place, row), from.batch)? {
                host.say(format_args!(
                    "{facts}: the GPU recomputes them faster than they can be copied to it, so the layers before \
                     {layer} run in every epoch"
                ));
                continue;
            }
            host.say(format_args!(
                "{facts}, computed once: saves {:.1} of {:.1} GMAC ({:.0} %) per image and epoch",
                spared as f64 / 1e9,
                all as f64 / 1e9,
                100.0 * spared as f64 / all as f64
            ));
            cache.taken += bytes;
            let file = format!("{split}.{place:02}.safetensors");
            let path = cache.folder.join(&file);
            let former = cache.former.filter(|_| !path.exists()).map(|former| former.join(&file));
            if let Some(former) = former.filter(|former| Features::open(former).is_ok()) {
                // They may be the very same: a second name for them spares the work. Where there are no such names it
                // is done.
                let _ = std::fs::hard_link(former, &path);
            }
            let features = match part.levels.last_key_value() {
                Some((&below, lower)) => from.features(host, network, split, lower, below..place, &path),
                None => from.images(host, network, split, folder, &part.images, 0..place, &path),
            };
            let features = features.map_err(|error| match error.kind() {
                Kind::Io => error.or_help(
                    "give a lower --cache-limit in gigabytes: beyond it the frozen layers run in every epoch",
                ),
                _ => error,
            });
            part.levels.insert(place, features?);
        }
        Ok(part)
    }

    /// For stages that enter at `places`, and need so many bytes of the device.
    pub fn ready(&self, host: &Host, rule: Normalize, places: &[usize], needed: u64) -> Result<Ready<'_>> {
        let mut levels = BTreeMap::new();
        for (&place, features) in &self.levels {
            levels.insert(place, samples(features)?);
        }
        let wanted = places.iter().any(|place| levels.range(..=place).next().is_none());
        let plain = if wanted {
            let plain = ImageSamples::new(host.device.as_ref(), &self.images, rule, needed)?;
            host.say(format_args!("{:10} {plain}", self.split));
            plain
        } else {
            ImageSamples::once(&self.images, rule)
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

    /// The same to learn from: images that are changed anew in every step enter at the first layer.
    pub fn training(&mut self, place: usize, augment: Option<&Augment>, seed: u64) -> (usize, &dyn Samples) {
        self.plain.augment(augment.map(|augment| (augment.clone(), seed)));
        if augment.is_some() { (0, &self.plain) } else { self.samples(place) }
    }
}

/// Whether the host's GPU computes what enters at `place`, `row` numbers an image, in less than half of the time that
/// it takes to be given them. It is the same in every run on a GPU; of one that is not known nobody can say.
fn sooner_anew(
    host: &Host,
    architecture: &Architecture,
    (place, row): (usize, usize),
    batch: usize,
) -> Result<bool> {
    let device = host.device.as_ref();
    let (Some(card), Some((_, kernels))) = (device.card(), device.kernels()) else {
        return Ok(false);
    };
    match computing((card, device.precision(), kernels), architecture, place, batch) {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        // What cannot be planned is no reason to stop: the limits of a call say themselves what they are.
        seconds => Ok(seconds.is_ok_and(|seconds| seconds < 0.5 * given(row))),
    }
}

/// Seconds of an image through the layers before `place`, as the static model of a GPU has them.
fn computing(on: plan::On, architecture: &Architecture, place: usize, batch: usize) -> Result<f64> {
    let record = plan::inference(on, architecture, 0..place, batch)?;
    let seconds: f64 = lines(&record, on.0).iter().map(|line| line.seconds).sum();
    Ok(seconds / batch as f64)
}

/// Seconds until a GPU has been given so many numbers.
fn given(row: usize) -> f64 {
    (row * 4) as f64 / GIVEN
}

/// Multiply-adds of one image through the layers before `end`.
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
    use crate::device::gpu::plan::Card;
    use crate::device::{Kernels, Precision};
    use crate::model::{Head, Pooling, Variant};

    /// On an H200 what is wide is computed anew, what is short is given, in bf16 as it was measured; in f32, whose
    /// convolutions take ten to thirty times as long, more is given.
    #[test]
    fn wide_features_are_computed_anew_on_a_fast_card() {
        let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
        let net = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap().with_head(head).unwrap();
        let h200 = Card::named("h200").unwrap();
        for (precision, kernels, layer, anew) in [
            (Precision::Bf16, Kernels::Sm90a, "block3_conv1", true),
            (Precision::Bf16, Kernels::Sm90a, "block5_conv1", true),
            (Precision::Bf16, Kernels::Sm90a, "dense", false),
            (Precision::F32, Kernels::Portable, "block5_conv1", false),
            (Precision::F32, Kernels::Winograd, "block5_conv1", false),
            (Precision::F32, Kernels::Winograd, "dense", false),
            (Precision::F32, Kernels::Portable, "dense", false),
        ] {
            let place = net.position(layer).unwrap();
            let seconds = computing((h200, precision, kernels), &net, place, 20).unwrap();
            let row = net.shape_before(place).len();
            assert_eq!(
                seconds < 0.5 * given(row),
                anew,
                "{precision} {layer}: {seconds:e} and {:e}",
                given(row)
            );
        }
    }

    /// The figures of VGG16 at 150x150 that were counted by another program.
    #[test]
    fn multiplications_are_those_of_the_paper_count() {
        let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
        let net = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap().with_head(head).unwrap();
        assert_eq!(multiplications(&net, net.base()), 6_615_491_328);
        assert_eq!(multiplications(&net, net.layers().len()), 6_615_491_328 + 8192 * 256 + 256);
        assert_eq!(multiplications(&net, net.position("block1_conv2").unwrap()), 38_880_000);
        assert_eq!((size(331_776_000), size(2_500_000_000)), ("331.8 MB".into(), "2.5 GB".into()));
    }
}
