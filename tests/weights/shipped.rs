//! The file that comes with the crate: complete, the right numbers, found.

use half::f16;
use std::fs;
use std::path::Path;
use vgg_ft::weights::{self, Dtype, Weights};

/// The thirteen convolutions: name, inputs, outputs.
const CONVOLUTIONS: [(&str, usize, usize); 13] = [
    ("block1_conv1", 3, 64),
    ("block1_conv2", 64, 64),
    ("block2_conv1", 64, 128),
    ("block2_conv2", 128, 128),
    ("block3_conv1", 128, 256),
    ("block3_conv2", 256, 256),
    ("block3_conv3", 256, 256),
    ("block4_conv1", 256, 512),
    ("block4_conv2", 512, 512),
    ("block4_conv3", 512, 512),
    ("block5_conv1", 512, 512),
    ("block5_conv2", 512, 512),
    ("block5_conv3", 512, 512),
];

pub fn shipped() -> Weights {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(weights::DEFAULT_NAME);
    Weights::open(&path).unwrap()
}

#[test]
fn the_shipped_file_holds_the_26_tensors_of_vgg16() {
    let weights = shipped();
    let mut names: Vec<String> = CONVOLUTIONS
        .iter()
        .flat_map(|(layer, ..)| [format!("{layer}.bias"), format!("{layer}.kernel")])
        .collect();
    names.sort();
    assert_eq!(weights.names().collect::<Vec<_>>(), names);
    for (layer, inputs, outputs) in CONVOLUTIONS {
        let kernel = weights.tensor(&format!("{layer}.kernel"), &[3, 3, inputs, outputs]).unwrap();
        assert_eq!(kernel.len(), 9 * inputs * outputs);
        weights.tensor(&format!("{layer}.bias"), &[outputs]).unwrap();
        assert_eq!(weights.dtype(&format!("{layer}.kernel")).unwrap(), Dtype::F16);
    }
    for key in ["format", "layout", "channel-order", "source", "license", "converted-from"] {
        assert!(weights.metadata().contains_key(key), "{key}");
    }
    // As written in weights/README.md.
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/README.md")).unwrap();
    assert!(
        readme.contains(&weights.sha256()),
        "the README names another checksum than {}",
        weights.sha256()
    );
}

#[test]
fn the_shipped_values_are_those_of_keras_rounded_to_half() {
    // Public prints of the Keras weights (issues and tutorials that show `get_weights()`), independent
    // of the file that ours was made from.
    let weights = shipped();
    let half = |x: f32| f16::from_f32(x).to_f32();
    let kernel = weights.tensor("block1_conv1.kernel", &[3, 3, 3, 64]).unwrap();
    assert_eq!(kernel[0], half(0.429_470_57));
    let bias = weights.tensor("block1_conv1.bias", &[64]).unwrap();
    assert_eq!(bias[..3], [0.734_298_35, 0.093_403_675, 0.067_756_74].map(half));
    let kernel = weights.tensor("block1_conv2.kernel", &[3, 3, 64, 64]).unwrap();
    assert_eq!(kernel[9 * 64 * 64 - 1], half(0.016_082_443));

    let Some(data) = std::env::var_os("VGG_FT_TEST_DATA") else {
        skipped!("the comparison with all values, since VGG_FT_TEST_DATA is not set");
        return;
    };
    let exact = Weights::open(&Path::new(&data).join("vgg16_imagenet_notop.safetensors")).unwrap();
    for name in weights.names() {
        let shape = weights.shape(name).unwrap();
        let (ours, theirs) = (weights.tensor(name, shape).unwrap(), exact.tensor(name, shape).unwrap());
        let differing = ours.iter().zip(theirs.iter()).filter(|&(&a, &b)| a != half(b)).count();
        assert_eq!(differing, 0, "{name}");
    }
    assert_eq!(weights.metadata()["converted-from"], format!("sha256:{}", exact.sha256()));
}

#[test]
fn the_shipped_file_is_found() {
    if std::env::var_os("VGG_FT_WEIGHTS").is_some() {
        skipped!("VGG_FT_WEIGHTS is set");
        return;
    }
    assert!(weights::find_default().unwrap().ends_with(Path::new("weights").join(weights::DEFAULT_NAME)));
}
