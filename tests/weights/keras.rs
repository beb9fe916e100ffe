//! What Keras has saved is computed here as Keras computes it.

use std::path::Path;
use vgg_ft::data::{Batch, Size};
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::model::{Architecture, Head, Layer, Network, Pooling, Preprocess, Pretrained, Source};
use vgg_ft::train::{input, predict};

/// Softmax of two outputs is a sigmoid of their difference: `pair.keras`, and what Keras 3.15 said of the images of
/// tests/golden/make_keras_weights.py.
#[test]
fn a_softmax_of_two_classes_is_computed_as_by_keras() {
    const KERAS: [[f32; 2]; 2] = [[0.949_589_2, 0.050_410_88], [0.947_205_36, 0.052_794_63]];
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/keras/pair.keras");
    let found = Pretrained::open(&file).unwrap();
    assert_eq!((found.size(), &found.lineage().dense[..]), (Some([32, 32]), &[5, 1][..]));
    assert!(found.lineage().reasons.join(";").contains("the softmax of two classes"), "{}", found.lineage());
    let mut layers = Vec::new();
    for (block, convolutions) in [1, 1, 2, 2, 2].into_iter().enumerate() {
        for conv in 1..=convolutions {
            layers.push((format!("block{}_conv{conv}", block + 1), Layer::Conv2d { filters: 4 }));
        }
        layers.push((format!("block{}_pool", block + 1), Layer::Maxpool2d));
    }
    let base = Architecture::base_of("pair", [32, 32], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 5, dropout: 0.0, classes: 2 }).unwrap();
    let device = CpuDevice::new(Some(1)).unwrap();
    let network = Network::new(&device, architecture, |_| Source::File(&found)).unwrap();
    let pixels = [37, 101].into_iter().flat_map(|step| (0..32 * 32 * 3).map(move |i| (i * step % 256) as u8));
    let batch = Batch { indices: vec![0, 1], pixels: pixels.collect(), labels: Vec::new() };
    let x = input(&device, &batch, Size { h: 32, w: 32 }, Preprocess::Notebook.rule()).unwrap();
    for (ours, keras) in predict(&device, &network, 0, x).unwrap().iter().zip(KERAS) {
        for (a, b) in ours.iter().zip(keras) {
            // f32 sums in another order, through ten layers; the smaller probability has the larger relative error.
            assert!((a - b).abs() <= 2e-5 * b, "{ours:?} is not Keras' {keras:?}");
        }
    }
}
