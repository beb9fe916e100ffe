//! Every format that we write is read again, bit for bit, and understood.

use crate::scratch;
use half::bf16;
use std::collections::BTreeMap;
use std::path::Path;
use vgg_ft::export::{Dialect, Format, Layout, Model, write};
use vgg_ft::model::{Architecture, Head, Layer, Pooling, Preprocess, Pretrained};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::{FloatType, NamedTensor, save};

type Stored = (String, Vec<usize>, Vec<f32>);

/// A VGG16 of few filters, no two blocks alike, with a classifier of two classes.
fn twin() -> Architecture {
    let mut layers = Vec::new();
    for (block, (convolutions, filters)) in [(2, 3), (2, 4), (3, 5), (3, 6), (3, 7)].into_iter().enumerate() {
        for conv in 1..=convolutions {
            layers.push((format!("block{}_conv{conv}", block + 1), Layer::Conv2d { filters }));
        }
        layers.push((format!("block{}_pool", block + 1), Layer::Maxpool2d));
    }
    let base = Architecture::base_of("twin", [96, 64], layers).unwrap();
    base.with_head(Head { pooling: Pooling::Flatten, units: 9, dropout: 0.5, classes: 2 }).unwrap()
}

fn drawn(architecture: &Architecture) -> Vec<Stored> {
    let mut draws = Draws::new(7, Stream::Demo, 0);
    architecture
        .parameters()
        .iter()
        .map(|spec| {
            let shape = match *spec.shape.axes() {
                [o, h, w, i] => vec![h, w, i, o],
                ref axes => axes.to_vec(),
            };
            let values = (0..spec.shape.len()).map(|_| draws.below(2001) as f32 / 1000.0 - 1.0).collect();
            (spec.name.clone(), shape, values)
        })
        .collect()
}

fn stored(path: &Path, tensors: &[Stored], metadata: &BTreeMap<String, String>) -> Pretrained {
    let named: Vec<_> = tensors
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    save(path, &named, FloatType::F32, metadata).unwrap();
    Pretrained::open(path).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Whether `again` holds the parameters that were stored in `tensors` and opened as `first`.
#[track_caller]
fn same(what: &str, again: &Pretrained, first: &Pretrained, architecture: &Architecture, tensors: &[Stored]) {
    let names: Vec<String> = again.parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, tensors.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>(), "{what}");
    for ((name, shape, values), spec) in tensors.iter().zip(architecture.parameters()) {
        let got = again.tensor(name, shape).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(bits(&got), bits(values), "{what}: {name}");
        let mut engine = vec![f32::NAN; values.len()];
        let mut expected = engine.clone();
        again.read(spec, &mut engine).unwrap();
        first.read(spec, &mut expected).unwrap();
        assert_eq!(bits(&engine), bits(&expected), "{what}: {name} for the engine");
    }
}

#[test]
fn what_is_written_in_any_format_is_read_again() {
    let (dir, path) = scratch();
    let architecture = twin();
    let tensors = drawn(&architecture);
    let first = stored(&path, &tensors, &BTreeMap::new());
    let classes = ["cats".to_owned(), "dogs".to_owned()];
    for preprocess in Preprocess::ALL {
        for (ending, format) in [
            ("2.h5", Format::KerasH5(Dialect::Keras2)),
            ("3.h5", Format::KerasH5(Dialect::Keras3)),
            ("w2.h5", Format::KerasH5Weights(Dialect::Keras2)),
            ("w3.h5", Format::KerasH5Weights(Dialect::Keras3)),
            ("x.weights.h5", Format::KerasWeights),
            ("x.keras", Format::Keras),
            ("nhwc.onnx", Format::Onnx(Layout::Nhwc)),
            ("nchw.onnx", Format::Onnx(Layout::Nchw)),
            ("torchvision.safetensors", Format::Torchvision),
            ("keras.safetensors", Format::Safetensors),
        ] {
            for scales in [false, true] {
                let mut model = Model::new(&architecture, &first, preprocess, &classes);
                if scales {
                    if !format.has_layers() {
                        continue;
                    }
                    model = model.with_preprocessing();
                }
                let what = format!("{ending}, {preprocess}, scales: {scales}");
                let file = dir.path().join(ending);
                write(&file, &model, format).unwrap_or_else(|e| panic!("{what}: {e}"));
                let again = Pretrained::open(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
                let lineage = again.lineage();
                assert_eq!((lineage.convolutions, &lineage.dense[..]), (13, &[9, 1][..]), "{what}");
                assert_eq!(lineage.recipe(), Some(preprocess), "{what}");
                assert_eq!(lineage.turned, scales && preprocess == Preprocess::Caffe, "{what}");
                assert_eq!(again.size(), Some([96, 64]), "{what}");
                same(&what, &again, &first, &architecture, &tensors);
            }
        }
    }
}

/// A .pth has no metadata: how high its images are it does not say, but in which order a classifier takes them.
#[test]
fn a_pth_is_read_again_whatever_the_form_of_its_image() {
    let (dir, path) = scratch();
    let architecture = twin();
    let file = dir.path().join("x.pth");
    let tensors = drawn(&architecture);
    let first = stored(&path, &tensors, &BTreeMap::new());
    write(&file, &Model::new(&architecture, &first, Preprocess::Torch, &[]), Format::Torch).unwrap();
    let again = Pretrained::open(&file).unwrap();
    assert_eq!(
        (again.lineage().recipe(), &again.lineage().dense[..]),
        (Some(Preprocess::Torch), &[9, 1][..])
    );
    assert_eq!(again.size(), None);
    same("an oblong .pth", &again, &first, &architecture, &tensors);

    let base = (0..18).map(|at| &architecture.layers()[at]).map(|placed| (placed.name.clone(), placed.layer));
    let square = Architecture::base_of("twin", [64, 64], base.collect()).unwrap();
    let square =
        square.with_head(Head { pooling: Pooling::Flatten, units: 9, dropout: 0.0, classes: 5 }).unwrap();
    let tensors = drawn(&square);
    let first = stored(&path, &tensors, &BTreeMap::new());
    write(&file, &Model::new(&square, &first, Preprocess::Torch, &[]), Format::Torch).unwrap();
    same(".pth", &Pretrained::open(&file).unwrap(), &first, &square, &tensors);
}

/// What cannot be understood of a classifier is left out and said; the convolutions stay.
#[test]
fn a_strange_classifier_leaves_the_base() {
    let (_dir, path) = scratch();
    let mut base = Vec::new();
    let mut inputs = 3;
    for (at, filters) in [2, 3, 4, 4, 5, 5, 6, 6].into_iter().enumerate() {
        base.push((
            format!("features.{at}.weight"),
            vec![filters, inputs, 3, 3],
            vec![0.5; filters * inputs * 9],
        ));
        inputs = filters;
    }
    let dense = |name: &str, out: usize, inputs: usize, value: f32| {
        (format!("{name}.weight"), vec![out, inputs], vec![value; out * inputs])
    };
    let norm = |name: &str, n: usize| {
        ["weight", "bias", "running_mean", "running_var"]
            .map(|part| (format!("{name}.{part}"), vec![n], vec![1.0; n]))
    };
    let nan = dense("classifier.0", 4, 24, f32::NAN);
    for (more, reason) in [
        (vec![dense("classifier.0", 4, 24, 0.5), dense("classifier.3", 2, 5, 0.5)], "does not take what"),
        (
            [vec![dense("classifier.0", 4, 24, 0.5)], norm("classifier.1", 4).to_vec()].concat(),
            "normalises between",
        ),
        (vec![dense("classifier.0", 4, 25, 0.5)], "cannot be told"),
        // Means, of as many channels as the last convolution has, are normalised: that is not its own normalisation.
        (
            [norm("head.0", 6).to_vec(), vec![dense("head.1", 2, 6, 0.5)]].concat(),
            "`head.0` normalises what the classifier takes",
        ),
        // In one list with the convolutions, with a mean between them.
        (
            [norm("features.9", 6).to_vec(), vec![dense("head.1", 2, 6, 0.5)]].concat(),
            "`features.9` normalises what the classifier takes",
        ),
        // By the alphabet it could stand anywhere: a LayerNorm of what the classifier takes.
        (
            vec![
                dense("head", 2, 6, 0.5),
                ("norm.weight".into(), vec![6], vec![1.0; 6]),
                ("norm.bias".into(), vec![6], vec![0.0; 6]),
            ],
            "no layer of ours has `norm.bias`",
        ),
    ] {
        let found = stored(&path, &[base.clone(), more].concat(), &BTreeMap::new());
        let reasons = found.lineage().reasons.join("; ");
        assert!(found.lineage().dense.is_empty() && reasons.contains(reason), "{reasons}");
        let kernel = found.tensor("block5_conv2.kernel", &[3, 3, 6, 6]).unwrap();
        assert!(kernel.iter().all(|&value| value == 0.5), "{reason}: {kernel:?}");
    }
    // `save` writes no NaN, so the header is written by hand.
    let zero = (nan.0.clone(), nan.1.clone(), vec![0.0; nan.2.len()]);
    drop(stored(&path, &[base.clone(), vec![zero]].concat(), &BTreeMap::new()));
    let mut bytes = std::fs::read(&path).unwrap();
    // `classifier.0.weight` comes first in the alphabet: its data lie behind the header.
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[data..data + 4 * nan.2.len()]
        .chunks_mut(4)
        .for_each(|b| b.copy_from_slice(&f32::NAN.to_le_bytes()));
    std::fs::write(&path, &bytes).unwrap();
    let found = Pretrained::open(&path).unwrap();
    assert!(found.lineage().reasons.join("; ").contains("is not filled"), "{:?}", found.lineage().reasons);
    // As whole numbers, which a quantised classifier may have.
    let header = String::from_utf8(bytes[8..data].to_vec()).unwrap();
    let entry = header.find("\"classifier.0.weight\"").unwrap();
    let kind = 8 + entry + header[entry..].find("F32").unwrap();
    bytes[kind..kind + 3].copy_from_slice(b"I32");
    std::fs::write(&path, &bytes).unwrap();
    let found = Pretrained::open(&path).unwrap();
    let reasons = found.lineage().reasons.join("; ");
    assert!(
        found.lineage().dense.is_empty() && reasons.contains("holds no floating-point numbers"),
        "{reasons}"
    );
    found.tensor("block5_conv2.kernel", &[3, 3, 6, 6]).unwrap();

    // A normalisation that no convolution stands before, or one of other channels, is no network of ours; nor is it where
    // normalisations stand in a list of their own, of the last convolution alone, or of what the images are.
    let head = || vec![dense("head.1", 2, 6, 0.5)];
    let listed: Vec<Stored> = [2, 3, 4, 4, 5, 5, 6, 6]
        .iter()
        .enumerate()
        .flat_map(|(at, &n)| norm(&format!("g.{at}"), n))
        .collect();
    for (at, more, why) in [
        ("a", norm("a", 2).to_vec(), "cannot be folded"),
        ("features.0n", norm("features.0n", 5).to_vec(), "cannot be folded"),
        ("a list", [listed.clone(), head()].concat(), "`g.0` cannot be folded"),
        ("a list behind the head", [norm("z.0", 5).to_vec(), head()].concat(), "`z.0` cannot be folded"),
        ("no head", norm("head.0", 6).to_vec(), "one convolution alone, the last"),
        ("the last", [norm("features.8", 6).to_vec(), head()].concat(), "one convolution alone, the last"),
        ("images", [norm("g", 3).to_vec(), head()].concat(), "cannot be folded"),
    ] {
        let strange = [base.clone(), more].concat();
        drop(save(
            &path,
            &strange
                .iter()
                .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
                .collect::<Vec<_>>(),
            FloatType::F32,
            &BTreeMap::new(),
        ));
        let error = Pretrained::open(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{at}: {error}");
    }
}

/// Whether a base of eight convolutions with `more` in the file is read, and what is said of the rest.
fn beside(more: Vec<Stored>, keras: bool) -> Result<Pretrained, String> {
    let (_dir, path) = scratch();
    let mut all = more;
    let mut inputs = 3;
    for (at, filters) in [2, 3, 4, 4, 5, 5, 6, 6].into_iter().enumerate() {
        let block =
            ["1_conv1", "2_conv1", "3_conv1", "3_conv2", "4_conv1", "4_conv2", "5_conv1", "5_conv2"][at];
        let (name, shape) = if keras {
            (format!("block{block}.kernel"), vec![3, 3, inputs, filters])
        } else {
            (format!("features.{}.weight", 3 * at), vec![filters, inputs, 3, 3])
        };
        all.push((name, shape, vec![0.5; filters * inputs * 9]));
        inputs = filters;
    }
    let named: Vec<_> = all
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    save(&path, &named, FloatType::F32, &BTreeMap::new()).unwrap();
    Pretrained::open(&path).map_err(|error| error.to_string())
}

/// What computes something between two layers cannot be left out.
#[test]
fn parameters_of_other_layers_are_not_dropped() {
    let one = |name: &str, n: usize| (name.to_owned(), vec![n], vec![0.5; n]);
    let dense =
        |name: &str, shape: [usize; 2]| (name.to_owned(), shape.to_vec(), vec![0.5; shape[0] * shape[1]]);
    for (name, keras) in [
        // GroupNorm, between two convolutions and behind the last; a slope.
        ("features.1.weight", false),
        ("features.22.weight", false),
        ("features.2.slope", false),
        ("block1_conv1_ln.gamma", true),
        ("block3_conv1_prelu.alpha", true),
        ("block5_conv2_ln.beta", true),
    ] {
        let error = beside(vec![one(name, 2)], keras).err().unwrap_or_default();
        assert!(error.contains(&format!("no layer of one has `{name}`")), "{name}: {error}");
    }
    // In the classifier they end its use.
    let head = || vec![dense("classifier.0.weight", [4, 24]), dense("classifier.3.weight", [2, 4])];
    let found = beside([head(), vec![one("classifier.1.weight", 4)]].concat(), false).unwrap();
    let reasons = found.lineage().reasons.join("; ");
    assert!(reasons.contains("left out: no layer of ours has `classifier.1.weight`"), "{reasons}");
    assert_eq!((found.lineage().dense.len(), found.lineage().others), (0, 0));
    // Elsewhere they are counted.
    let found = beside([head(), vec![one("optimizer.m", 2), one("zeta", 1)]].concat(), false).unwrap();
    let reasons = found.lineage().reasons.join("; ");
    assert!(reasons.contains("no part of the network, and left out: `optimizer.m` and 1 more"), "{reasons}");
    assert_eq!((found.lineage().dense.len(), found.lineage().others), (2, 2));
}

/// A file that says where it pools must pool as a VGG does.
#[test]
fn poolings_in_other_places_are_another_network() {
    let (dir, path) = scratch();
    let all: Vec<_> =
        twin().layers()[..18].iter().map(|placed| (placed.name.clone(), placed.layer)).collect();
    let mut moved = all.clone();
    moved.swap(2, 3);
    let fewer = all.iter().filter(|(name, _)| name != "block2_pool").cloned().collect();
    for (layers, behind) in [(moved, "[3, 4, 7, 10, 13]"), (fewer, "[2, 7, 10, 13]"), (all, "")] {
        let architecture = Architecture::base_of("twin", [96, 64], layers).unwrap();
        let first = stored(&path, &drawn(&architecture), &BTreeMap::new());
        let model = Model::new(&architecture, &first, Preprocess::Caffe, &[]);
        for (file, format) in [("x.h5", Format::KerasH5(Dialect::Keras2)), ("x.keras", Format::Keras)] {
            let file = dir.path().join(file);
            write(&file, &model, format).unwrap();
            let error = Pretrained::open(&file).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error.is_empty(), behind.is_empty(), "{error}");
            assert!(error.contains(behind), "{error}");
        }
    }
}

/// Names do not say what a classifier is; the number of its layers does.
#[test]
fn a_classifier_is_known_by_its_layers_and_not_by_their_names() {
    let head = |a: &str, b: &str| {
        let dense = |name: &str, shape: [usize; 2]| {
            let kernel = (format!("{name}.kernel"), shape.to_vec(), vec![0.5; shape[0] * shape[1]]);
            [kernel, (format!("{name}.bias"), vec![shape[1]], vec![0.5; shape[1]])]
        };
        [dense(a, [6, 4]), dense(b, [4, 1])].concat()
    };
    for (a, b) in [("fc1", "predictions"), ("dense", "dense_1"), ("hidden", "output"), ("fc1", "fc2")] {
        let found = beside(head(a, b), true).unwrap();
        found.tensor("dense.kernel", &[6, 4]).unwrap();
        found.tensor("dense_1.kernel", &[4, 1]).unwrap();
    }
}

/// No size that a file says is computed with before it is one that images have.
#[test]
fn sizes_that_cannot_be_are_not_said() {
    let (_dir, path) = scratch();
    let architecture = twin();
    let tensors = drawn(&architecture);
    for (said, size) in [
        ("96x64", Some([96, 64])),
        ("96x64x3, f32; BGR", Some([96, 64])),
        ("3x96x64, f32; BGR", Some([96, 64])),
        ("18446744073709551615x18446744073709551615", None),
        ("31x64", None),
        ("4097x64", None),
        ("4x96x64", None),
        ("96", None),
        ("", None),
    ] {
        let metadata = BTreeMap::from([("size".to_owned(), said.to_owned())]);
        assert_eq!(stored(&path, &tensors, &metadata).size(), size, "{said}");
    }
}

/// An axis of 0 claims any other for nothing.
#[test]
fn kernels_without_numbers_claim_no_memory() {
    let (_dir, path) = scratch();
    for (name, shape) in [
        ("features.0.weight", vec![1usize << 56, 0, 3, 3]),
        ("pre_logits.fc1.weight", vec![0, 1 << 40, 1 << 40, 1]),
        ("block1_conv1.kernel", vec![3, 3, 0, 1 << 62]),
    ] {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[0,0]}}}}"#);
        std::fs::write(&path, crate::file(&header, &[])).unwrap();
        let error = Pretrained::open(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!error.is_empty(), "{name}");
    }
}

/// γ (x·k + b − μ) / √(σ² + ε) + β is one convolution with another kernel and bias.
#[test]
fn batch_normalisation_is_folded() {
    let (_dir, path) = scratch();
    let mut draws = Draws::new(3, Stream::Demo, 0);
    let mut tensors: Vec<Stored> = Vec::new();
    let mut layer = 0;
    let mut inputs = 3;
    for (n, filters) in [(1, 2), (1, 3), (2, 4), (2, 5), (2, 6)] {
        for _ in 0..n {
            let mut put = |name: String, shape: Vec<usize>, low: f32| {
                let size = shape.iter().product();
                let values = (0..size).map(|_| low + draws.below(1000) as f32 / 500.0).collect();
                tensors.push((name, shape, values));
            };
            put(format!("features.{layer}.weight"), vec![filters, inputs, 3, 3], -1.0);
            put(format!("features.{layer}.bias"), vec![filters], -1.0);
            let norm = layer + 1;
            put(format!("features.{norm}.weight"), vec![filters], -1.0);
            put(format!("features.{norm}.bias"), vec![filters], -1.0);
            put(format!("features.{norm}.running_mean"), vec![filters], -1.0);
            // Near zero too, where ε counts.
            put(format!("features.{norm}.running_var"), vec![filters], 0.0);
            layer += 3;
            inputs = filters;
        }
        layer += 1;
    }
    let found = stored(&path, &tensors, &BTreeMap::new());
    assert!(found.lineage().batch_norm);
    let of = |name: &str| &tensors.iter().find(|(n, ..)| n == name).unwrap().2;
    // VGG11: the second convolution of block 3 is the fourth, features.11.
    let (kernel, bias) = (of("features.11.weight"), of("features.11.bias"));
    let [scale, offset, mean, variance] =
        ["weight", "bias", "running_mean", "running_var"].map(|part| of(&format!("features.12.{part}")));
    let got = found.tensor("block3_conv2.kernel", &[3, 3, 4, 4]).unwrap();
    for (o, i, y, x) in (0..144).map(|n| (n % 4, n / 4 % 4, n / 48, n / 16 % 3)) {
        let factor = f64::from(scale[o]) / (f64::from(variance[o]) + 1e-5).sqrt();
        let expected = f64::from(kernel[((o * 4 + i) * 3 + y) * 3 + x]) * factor;
        assert_eq!(got[((y * 3 + x) * 4 + i) * 4 + o], expected as f32, "o {o} i {i} y {y} x {x}");
    }
    let got = found.tensor("block3_conv2.bias", &[4]).unwrap();
    for o in 0..4 {
        let factor = f64::from(scale[o]) / (f64::from(variance[o]) + 1e-5).sqrt();
        let expected = (f64::from(bias[o]) - f64::from(mean[o])) * factor + f64::from(offset[o]);
        assert_eq!(got[o], expected as f32, "{o}");
    }
    for (name, .., values) in &mut tensors {
        if name.ends_with("running_var") {
            values[1] = -1.0;
        }
    }
    let damaged = stored(&path, &tensors, &BTreeMap::new());
    let error = damaged.tensor("block1_conv1.kernel", &[3, 3, 3, 2]).unwrap_err();
    assert!(error.message().contains("the variance `features.1.running_var` is impossible"), "{error}");
}

/// The first layer of Oxford's weights is known by its biases and its first number; torchvision has a copy whose
/// channels are in the order R, G, B.
#[test]
fn the_weights_from_oxford_are_known_in_both_orders() {
    let shipped = crate::shipped::shipped();
    let kernel = shipped.tensor("block1_conv1.kernel", &[3, 3, 3, 64]).unwrap().into_owned();
    let bias = shipped.tensor("block1_conv1.bias", &[64]).unwrap().into_owned();
    let (_dir, path) = scratch();
    let torch = |turned: bool, bits: fn(f32) -> f32| -> Vec<Stored> {
        let mut first = vec![0.0; kernel.len()];
        for (o, i, y, x) in (0..1728).map(|n| (n % 64, n / 64 % 3, n / 576, n / 192 % 3)) {
            let channel = if turned { 2 - i } else { i };
            first[((o * 3 + channel) * 3 + y) * 3 + x] = bits(kernel[((y * 3 + x) * 3 + i) * 64 + o]);
        }
        let biases = bias.iter().map(|&b| bits(b)).collect();
        vec![
            ("features.0.weight".into(), vec![64, 3, 3, 3], first),
            ("features.0.bias".into(), vec![64], biases),
        ]
    };
    let fill = |mut tensors: Vec<Stored>| {
        let mut inputs = 64;
        let places = [2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];
        let filters = [64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
        for (place, filters) in places.into_iter().zip(filters) {
            let shape = vec![filters, inputs, 3, 3];
            tensors.push((format!("features.{place}.weight"), shape, vec![0.0; filters * inputs * 9]));
            inputs = filters;
        }
        tensors
    };
    // What the user says decides whether a kernel that takes R, G, B is turned. One that takes B, G, R never is.
    for (red_first, [caffe, others]) in [(true, [true, false]), (false, [false, false])] {
        let mut found = stored(&path, &fill(torch(red_first, |x| x)), &BTreeMap::new());
        for recipe in [Preprocess::Torch, Preprocess::Caffe, Preprocess::Notebook] {
            found.feed(recipe);
            let turned = if recipe == Preprocess::Caffe { caffe } else { others };
            assert_eq!(found.lineage().turned, turned, "{recipe}");
            assert_eq!(found.lineage().reasons.join(";").contains("are turned at load"), turned, "{recipe}");
            let got = found.tensor("block1_conv1.kernel", &[3, 3, 3, 64]).unwrap();
            // The file's first number is that of its first channel.
            let first = if red_first && !turned { kernel[2 * 64] } else { kernel[0] };
            assert_eq!(got[0], first, "{recipe}");
        }
    }
    for (turned, bits) in
        [(true, (|x| x) as fn(f32) -> f32), (false, |x| x), (true, |x| bf16::from_f32(x).to_f32())]
    {
        let found = stored(&path, &fill(torch(turned, bits)), &BTreeMap::new());
        assert_eq!(found.lineage().recipe(), Some(Preprocess::Caffe));
        assert_eq!(found.lineage().turned, turned);
        let got = found.tensor("block1_conv1.kernel", &[3, 3, 3, 64]).unwrap();
        assert!(got.iter().zip(&kernel).all(|(&got, &kernel)| got == bits(kernel)), "turned: {turned}");
    }
    // Another bias: no longer Oxford's, so the names decide.
    let mut other = torch(true, |x| x);
    other[1].2[1] += 0.01;
    assert_eq!(stored(&path, &fill(other), &BTreeMap::new()).lineage().recipe(), Some(Preprocess::Torch));
}

#[test]
fn a_file_without_a_vgg_is_no_network() {
    let (_dir, path) = scratch();
    let tensors: Vec<Stored> =
        (0..3).map(|n| (format!("layer{n}.weight"), vec![2, 2, 3, 3], vec![0.5; 36])).collect();
    let named: Vec<_> = tensors
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    save(&path, &named, FloatType::F32, &BTreeMap::new()).unwrap();
    let error = Pretrained::open(&path).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("holds no VGG") && error.contains("3x3 on 3 channels"), "{error}");
}
