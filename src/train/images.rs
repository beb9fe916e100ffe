//! Images as samples: their bytes stay on the device where it has memory of its own, and every step sends
//! indices and what happens to each image; elsewhere the batch's own bytes are handed over.

use super::samples::{Samples, input};
use crate::data::{Augment, Images, Source};
use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::Normalize;
use crate::device::{Buffer, Capacity, Device, cpu};
use crate::error::{Context, Result};
use crate::graph::Tensor;
use crate::op;
use std::fmt;

/// A set may take this share of a device's free memory: the rest is for the network.
const SHARE: u64 = 4;

/// Images as bytes; they are augmented and normalized on the device.
pub struct ImageSamples<'a> {
    images: &'a Images,
    rule: Normalize,
    place: Place,
    /// What training does to them, and the seed of its draws.
    augment: Option<(Augment, u64)>,
}

/// Where the bytes are when a step needs them.
enum Place {
    /// On the device, all of them.
    Resident(Buffer),
    /// With us, and why.
    Handed(String),
}

impl<'a> ImageSamples<'a> {
    /// Samples for many passes: resident if the device has memory of its own and the set takes at most a
    /// quarter of what is free, and none of the `needed` bytes that the job will take.
    ///
    /// # Errors
    /// The device's errors.
    pub fn new(device: &dyn Device, images: &'a Images, rule: Normalize, needed: u64) -> Result<Self> {
        let bytes = images.len() as u64 * images.size.bytes() as u64;
        let name = device.describe().name;
        let rooms = [device.memory()?, cpu::room()];
        // The emulator does as a GPU does; its memory is this computer's, which it does not count.
        let why_not = if device.is_simulated() { None } else { why_not(&name, bytes, needed, rooms) };
        let place = match why_not {
            Some(why) => Place::Handed(why),
            None => {
                let all: Vec<u32> = (0..images.len() as u32).collect();
                let pixels = images.batch(&all)?.pixels;
                let doing = || format!("keeping {} of images on {name}", megabytes(bytes));
                Place::Resident(device.upload(&pixels).context(doing)?)
            }
        };
        Ok(Self { images, rule, place, augment: None })
    }

    /// Samples for a single pass: handed over batch by batch.
    pub fn once(images: &'a Images, rule: Normalize) -> Self {
        Self { images, rule, place: Place::Handed("they are read once".into()), augment: None }
    }

    /// How they are changed from now on whenever they are learned from, and the seed that decides.
    pub fn augment(&mut self, augment: Option<(Augment, u64)>) {
        self.augment = augment;
    }

    /// Images `indices` with one of `transforms` each.
    fn gathered(
        &self,
        device: &dyn Device,
        indices: &[u32],
        transforms: &[Transform],
        border: Border,
    ) -> Result<Tensor> {
        let handed;
        let places: Vec<u32>;
        let (pixels, count, indices) = match &self.place {
            Place::Resident(pixels) => (pixels, self.images.len(), indices),
            Place::Handed(_) => {
                handed = device.upload(&self.images.batch(indices)?.pixels)?;
                places = (0..indices.len() as u32).collect();
                (&handed, indices.len(), &places[..])
            }
        };
        let geometry = Gather {
            count,
            n: indices.len(),
            h: self.images.size.h,
            w: self.images.size.w,
            border,
            ranged: transforms.iter().any(|transform| transform.has(Transform::SHIFTS)),
            rule: self.rule,
        };
        op::augment(device, geometry, pixels, indices, transforms)
    }
}

impl Samples for ImageSamples<'_> {
    fn labels(&self) -> &[u32] {
        &self.images.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        match &self.place {
            Place::Handed(_) => input(device, &self.images.batch(indices)?, self.images.size, self.rule),
            Place::Resident(_) => {
                let still = vec![Transform::IDENTITY; indices.len()];
                self.gathered(device, indices, &still, Border::Nearest)
            }
        }
    }

    fn training_batch(&self, device: &dyn Device, indices: &[u32], draw: u64) -> Result<Tensor> {
        let Some((augment, seed)) = &self.augment else { return self.batch(device, indices) };
        let size = self.images.size;
        let transforms: Vec<Transform> =
            indices.iter().map(|&sample| augment.draw(*seed, draw, sample, size).transform(size)).collect();
        self.gathered(device, indices, &transforms, augment.border())
    }
}

impl fmt::Display for ImageSamples<'_> {
    /// "2000 images, 135.0 MB, resident on the device".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.images.len() as u64 * self.images.size.bytes() as u64;
        write!(f, "{} images, {}, ", self.images.len(), megabytes(bytes))?;
        match &self.place {
            Place::Resident(_) => f.write_str("resident on the device"),
            Place::Handed(why) => write!(f, "handed over batch by batch: {why}"),
        }
    }
}

/// Why `bytes` of images do not stay on the device `name`, of which training takes `needed`; `None` if they do. Its
/// memory, if it has some of its own, and this computer's.
fn why_not(name: &str, bytes: u64, needed: u64, [device, here]: [Option<Capacity>; 2]) -> Option<String> {
    let Some(memory) = device else {
        return Some(format!("{name} reads them where they are"));
    };
    if bytes > memory.free / SHARE {
        return Some(format!("more than a quarter of the {} that {name} has free", megabytes(memory.free)));
    }
    // What the network holds already is counted twice: a set that just fits is handed over, too.
    if bytes > memory.free.saturating_sub(needed) {
        return Some(format!(
            "more than training leaves, which may take {} of the {} that {name} has free",
            megabytes(needed),
            megabytes(memory.free)
        ));
    }
    // They go there in one piece, which has to be here first.
    here.filter(|room| bytes > room.free)
        .map(|room| format!("more than the {} that are free here to send them at once", megabytes(room.free)))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_stays_on_a_card_that_has_room_for_it_and_for_the_training() {
        let room = |free: u64| Some(Capacity { free, total: 1000 });
        let why = |name, bytes, needed, memory| why_not(name, bytes, needed, memory).unwrap_or_default();
        // A quarter of 400 is 100.
        assert_eq!(why("cuda:0", 100, 300, [room(400), room(100)]), "");
        for (bytes, needed, here, reason) in [
            (101, 0, 1000, "more than a quarter of"),
            (100, 301, 1000, "more than training leaves"),
            (100, 500, 1000, "more than training leaves"),
            (100, 300, 99, "free here to send them at once"),
        ] {
            let said = why("cuda:0", bytes, needed, [room(400), room(here)]);
            assert!(said.contains(reason), "{bytes} {needed} {here}: {said}");
        }
        // Where nobody knows of this computer's memory, it is tried.
        assert_eq!(why("cuda:0", 100, 300, [room(400), None]), "");
        assert_eq!(why("cpu", 1, 0, [None, room(1000)]), "cpu reads them where they are");
    }
}
