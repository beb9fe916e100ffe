//! VGG16 as work to be timed: passes forward and steps of training, on noise and random weights.

use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::{Buffer, Device, Precision};
use vgg_ft::error::Result;
use vgg_ft::graph::Tensor;
use vgg_ft::model::{Architecture, Head, Network, Pooling, Preprocess, Source, Trainable, Variant};
use vgg_ft::op;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::Shape;
use vgg_ft::train::{self, Course, Epoch, Fit, Observer, Optimizer, Position, Samples, Score};

/// Samples of a step.
pub const BATCH: usize = 20;

/// Steps of a measured epoch on a GPU, so that what comes between epochs does not count; and passes forward of one
/// measurement, of whose answers each is read when the next pass is on its way.
const STEPS: usize = 32;

/// Noise as images, of two classes.
struct Noise {
    side: usize,
    pixels: Vec<u8>,
    /// On the device, as training keeps a set where the device has memory of its own.
    resident: Option<Buffer>,
    labels: Vec<u32>,
}

impl Noise {
    fn new(count: usize, side: usize) -> Self {
        let mut draws = Draws::new(1, Stream::Demo, 0);
        Self {
            side,
            pixels: (0..count * side * side * 3).map(|_| draws.below(256) as u8).collect(),
            resident: None,
            labels: (0..count as u32).map(|at| at % 2).collect(),
        }
    }

    /// On the device, too, where it has memory of its own.
    fn at_home(mut self, device: &dyn Device) -> Self {
        if device.memory().unwrap().is_some() {
            self.resident = Some(device.upload(&self.pixels).unwrap());
        }
        self
    }
}

impl Samples for Noise {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        let rule = Preprocess::Caffe.rule();
        if let Some(pixels) = &self.resident {
            let (n, h, w, count) = (indices.len(), self.side, self.side, self.labels.len());
            let geometry = Gather { count, n, h, w, border: Border::Nearest, ranged: false, rule };
            return op::augment(device, geometry, pixels, indices, &vec![Transform::IDENTITY; n]);
        }
        let len = self.side * self.side * 3;
        let pixels: Vec<u8> =
            indices.iter().flat_map(|&at| &self.pixels[at as usize * len..][..len]).copied().collect();
        let shape = Shape::new(&[indices.len(), self.side, self.side, 3]);
        op::normalize(device, &device.upload(&pixels)?, shape, rule)
    }
}

struct Silence;

impl Observer for Silence {
    fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        assert!(epoch.loss.is_finite());
        Ok(())
    }
}

/// With the notebook's classifier.
pub fn architecture(side: usize) -> Architecture {
    let head = Head { pooling: Pooling::Flatten, units: 256, dropout: 0.5, classes: 2 };
    Architecture::vgg(Variant::Vgg16, [side, side]).unwrap().with_head(head).unwrap()
}

fn network(device: &dyn Device, side: usize) -> Network {
    Network::new(device, architecture(side), |_| Source::Glorot { seed: 1 }).unwrap()
}

/// The layers that images pass in [`forward`].
pub fn end(side: usize, base_alone: bool) -> usize {
    let all = architecture(side);
    if base_alone { all.base() } else { all.layers().len() }
}

/// Images through the base, or through the classifier too, checked once: [`steps`] passes, from bytes (the host's, or
/// resident where the device has memory of its own) to answers on the host, each read one pass later.
pub fn forward(device: &dyn Device, batch: usize, side: usize, base_alone: bool) -> impl FnMut() + '_ {
    let (network, noise) = (network(device, side), Noise::new(batch, side).at_home(device));
    let (indices, end): (Vec<u32>, _) = ((0..batch as u32).collect(), end(side, base_alone));
    let pass = move |indices: &[u32]| {
        let x = noise.batch(device, indices).unwrap();
        train::forward(device, &network, 0..end, x).unwrap()
    };
    let answer = |indices: &[u32]| device.download_floats(pass(indices).buffer()).unwrap();
    // An image's numbers do not depend on its neighbours. They are sums of up to 8192 terms, taken through 16
    // layers; devices order them by the sizes of the batch, and what an untrained classifier says of noise is a
    // difference of large numbers, of which short factors leave little. Of features a few roundings are left.
    let within = match device.precision() {
        Precision::F32 | Precision::Tf32x3 => 1e-4,
        _ if base_alone => 2e-2,
        Precision::Tf32 | Precision::F16 => 0.1,
        Precision::Bf16 => 0.8,
    };
    let (together, alone) = (answer(&indices), answer(&indices[batch - 1..]));
    let last = &together[together.len() - alone.len()..];
    let largest = alone.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    assert!(largest > 0.0 && largest.is_finite(), "{largest}");
    for (a, b) in last.iter().zip(&alone) {
        assert!((a - b).abs() <= within * largest, "{a} in a batch, {b} alone");
    }
    let count = steps(device);
    move || {
        let mut before = None;
        for _ in 0..count {
            let now = device.download_later(pass(&indices).buffer()).unwrap();
            if let Some(arrival) = before.replace(now) {
                device.arrived(arrival).unwrap();
            }
        }
        if let Some(arrival) = before {
            device.arrived(arrival).unwrap();
        }
    }
}

/// How many steps [`step`], and passes [`forward`], makes at once on `device`.
pub fn steps(device: &dyn Device) -> usize {
    if device.memory().unwrap().is_some() { STEPS } else { 1 }
}

/// [`steps`] steps of training from the layer `from` on, images as bytes (the host's, or resident where the
/// device has memory of its own) to the updated weights, checked once.
pub fn step<'a>(device: &'a dyn Device, from: &str) -> impl FnMut() + 'a {
    let trainable = Trainable::from(&architecture(150), from).unwrap();
    let (mut network, noise) = (network(device, 150), Noise::new(BATCH * steps(device), 150).at_home(device));
    network.set_trainable(trainable);
    let rule = Rmsprop { rate: 1e-5, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    let course = Course::new(1, BATCH, 1, rule.rate);
    let mut position = Position::default();
    let mut step = move |network: &mut Network| {
        position = position.following();
        let train = &noise;
        Fit { device, from: 0, train, validation: None, stage: "bench", course: &course }
            .run(network, &mut optimizer, &mut position, &mut Silence)
            .unwrap();
    };
    let values = |network: &Network| -> Vec<Vec<f32>> {
        network.parameters().iter().map(|p| device.download(p.value()).unwrap()).collect()
    };
    // What learns has moved, by finite numbers; what is frozen has not.
    let before = values(&network);
    step(&mut network);
    for ((parameter, before), after) in network.parameters().iter().zip(before).zip(values(&network)) {
        let moved = before != after && after.iter().all(|v| v.is_finite());
        assert_eq!(moved, parameter.learns, "{}", parameter.name);
    }
    move || step(&mut network)
}
