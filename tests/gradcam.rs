//! Is the gradient behind Grad-CAM the class logit's own, whatever head stands on top? Against finite
//! differences, on every device.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use support::devices;
use vgg_ft::device::Device;
use vgg_ft::graph::{Mode, Tape, Tensor};
use vgg_ft::model::{Architecture, Head, Layer, Network, Pooling, Source};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::Shape;
use vgg_ft::train::{cams, gradcam, last_convolution, saliency};

fn network(device: &dyn Device, classes: usize) -> Network {
    let layers = vec![
        ("block1_conv1".to_owned(), Layer::Conv2d { filters: 4 }),
        ("block1_pool".to_owned(), Layer::Maxpool2d),
        ("block2_conv1".to_owned(), Layer::Conv2d { filters: 6 }),
        ("block2_pool".to_owned(), Layer::Maxpool2d),
    ];
    let architecture = Architecture::base_of("tiny", [12, 8], layers)
        .unwrap()
        .with_head(Head { pooling: Pooling::Flatten, units: 9, dropout: 0.5, classes })
        .unwrap();
    Network::new(device, architecture, |_| Source::Glorot { seed: 5 }).unwrap()
}

/// Numbers in ±1 far from each other, so that no step of a difference crosses a tie of a maximum.
fn spread(len: usize, seed: u64) -> Vec<f32> {
    let order = Draws::new(seed, Stream::Weights, 0).permutation(len);
    order.into_iter().map(|k| (k as f32 + 0.5) / len as f32 * 2.0 - 1.0).collect()
}

/// The class logit of each row, dropout off.
fn logits(device: &dyn Device, network: &Network, from: usize, x: Tensor, classes: &[usize]) -> Vec<f64> {
    let tape = Tape::new(device, Mode::Inference);
    let end = network.architecture().layers().len();
    let logits = network.forward(&tape, x, from..end, None).unwrap();
    let columns = logits.shape().axes()[1];
    let values: Vec<f32> = device.download(logits.buffer()).unwrap();
    let of = |(row, &class): (&[f32], &usize)| match columns {
        1 => f64::from(if class == 1 { row[0] } else { -row[0] }),
        _ => f64::from(row[class]),
    };
    values.chunks_exact(columns).zip(classes).map(of).collect()
}

#[test]
fn the_gradient_is_the_class_logits_own() {
    for device in devices::all() {
        let device = device.as_ref();
        for (count, classes) in [(2, [1, 0]), (3, [2, 0])] {
            let network = network(device, count);
            let last = last_convolution(network.architecture()).unwrap();
            assert_eq!(network.architecture().layers()[last].name, "block2_conv1");
            let shape = Shape::new(&[2, 6, 4, 6]);
            let values = spread(shape.len(), 3);
            let got = saliency(device, &network, last + 1, (shape, &values), &classes).unwrap();
            let scale = got.gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
            assert!(scale > 0.0, "all is zero");
            let at = |values: &[f32]| {
                let x = Tensor::constant(shape, device.upload(values).unwrap()).unwrap();
                logits(device, &network, last + 1, x, &classes).iter().sum::<f64>()
            };
            // Between neighbours of `spread` lie 2/288: no tie within this step. The head is linear but for ReLU.
            let step = 1e-3f32;
            for e in 0..shape.len() {
                let mut moved = values.clone();
                moved[e] = values[e] + step;
                let above = at(&moved);
                moved[e] = values[e] - step;
                let expected = (above - at(&moved)) / f64::from(2.0 * step);
                let error = (f64::from(got.gradient[e]) - expected).abs();
                // Two logits near 1 in f32, subtracted, over the step: 2 · 6e-8 · a few / 2e-3.
                assert!(
                    error <= 5e-4,
                    "{} of {count} on {}: {} by the tape, {expected} by differences",
                    e,
                    devices::name(device),
                    got.gradient[e]
                );
            }
        }
    }
}

#[test]
fn maps_of_images_have_the_size_of_the_last_convolution() {
    for device in devices::all() {
        let device = device.as_ref();
        let network = network(device, 3);
        let shape = Shape::new(&[2, 12, 8, 3]);
        let image = || Tensor::constant(shape, device.upload(&spread(shape.len(), 7)).unwrap()).unwrap();
        let maps = gradcam(device, &network, image(), &[1, 1]).unwrap();
        assert_eq!(maps.len(), 2);
        for map in &maps {
            assert_eq!((map.size, map.values.len()), ([6, 4], 24));
            assert!(map.values.iter().all(|v| *v >= 0.0));
        }
        let error = gradcam(device, &network, image(), &[1, 3]).unwrap_err();
        assert!(error.to_string().contains("one class per image"), "{error}");
        let error = gradcam(device, &network, image(), &[1]).unwrap_err();
        assert!(error.to_string().contains("2 below 3"), "{error}");
        // By the formula from its parts.
        let tape = Tape::new(device, Mode::Inference);
        let activation = network.forward(&tape, image(), 0..3, None).unwrap();
        let values: Vec<f32> = device.download(activation.buffer()).unwrap();
        let parts = saliency(device, &network, 3, (activation.shape(), &values), &[1, 1]).unwrap();
        assert_eq!(cams(&parts).unwrap(), maps);
    }
}
