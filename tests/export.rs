//! Files for other tools. `golden/export` holds what Keras 3, tf_keras and ONNX Runtime have read
//! (`scripts/interop`); here the writers are held to those bytes, and the bytes to our own predictions.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vgg_ft::data::Size;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::export::{Dialect, Format, Layout, Model, write};
use vgg_ft::model::{Architecture, Head, Layer, Network, Pooling, Preprocess, Pretrained, Source, Variant};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::train::predict;
use vgg_ft::weights::{FloatType, NamedTensor, Weights, save};

/// Two blocks on 12x10, one convolution each, and the book's classifier: what VGG is made of.
fn tiny(head: Head) -> Architecture {
    let layers = vec![
        ("block1_conv1".to_owned(), Layer::Conv2d { filters: 4 }),
        ("block1_pool".to_owned(), Layer::Maxpool2d),
        ("block2_conv1".to_owned(), Layer::Conv2d { filters: 5 }),
        ("block2_pool".to_owned(), Layer::Maxpool2d),
    ];
    Architecture::base_of("tiny", [12, 10], layers).unwrap().with_head(head).unwrap()
}

/// Two classes with dropout, three without, three on means, and one layer on these; the recipes with the most to do.
fn cases() -> [(&'static str, Architecture, Preprocess, Vec<String>); 4] {
    let classes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    [
        (
            "two",
            tiny(Head { pooling: Pooling::Flatten, units: 6, dropout: 0.5, classes: 2 }),
            Preprocess::Caffe,
            classes(&["cats", "dogs"]),
        ),
        (
            "three",
            tiny(Head { pooling: Pooling::Flatten, units: 6, dropout: 0.0, classes: 3 }),
            Preprocess::Torch,
            classes(&["Äpfel", "figs", "pears"]),
        ),
        (
            "means",
            tiny(Head { pooling: Pooling::Average, units: 6, dropout: 0.0, classes: 3 }),
            Preprocess::Torch,
            classes(&["Äpfel", "figs", "pears"]),
        ),
        (
            "lone",
            tiny(Head { pooling: Pooling::Average, units: 0, dropout: 0.5, classes: 2 }),
            Preprocess::Torch,
            classes(&["cats", "dogs"]),
        ),
    ]
}

/// Weights for `architecture`, drawn, in a file as a run has it.
fn weights(dir: &Path, architecture: &Architecture, seed: u64) -> Pretrained {
    let mut draws = Draws::new(seed, Stream::Demo, 0);
    let stored: Vec<(String, Vec<usize>, Vec<f32>)> = architecture
        .parameters()
        .iter()
        .map(|spec| {
            let shape = match *spec.shape.axes() {
                [o, h, w, i] => vec![h, w, i, o],
                ref axes => axes.to_vec(),
            };
            // Variance is kept from layer to layer; the last takes caffe's hundreds down to logits of some
            // units, where a sigmoid still moves.
            let last = if spec.name == "dense_1.kernel" && seed == 0 { 0.03 } else { 1.0 };
            let size = if spec.is_bias() { 0.1 } else { last * (3.0 / spec.fans[0] as f32).sqrt() };
            let values =
                (0..spec.shape.len()).map(|_| (draws.below(2001) as f32 / 1000.0 - 1.0) * size).collect();
            (spec.name.clone(), shape, values)
        })
        .collect();
    let tensors: Vec<_> = stored
        .iter()
        .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
        .collect();
    let path = dir.join(format!("{seed}.safetensors"));
    save(&path, &tensors, FloatType::F32, &BTreeMap::new()).unwrap();
    Pretrained::open(&path).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/export").join(name)
}

/// `VGG_FT_BLESS=1` takes what is written now for right; then the tools must read it again.
#[test]
fn the_files_are_those_that_the_tools_have_read() {
    let dir = tempfile::tempdir().unwrap();
    let bless = std::env::var_os("VGG_FT_BLESS").is_some();
    let mut differ = Vec::new();
    for (seed, (case, architecture, preprocess, classes)) in cases().into_iter().enumerate() {
        let weights = weights(dir.path(), &architecture, seed as u64);
        for (ending, format, pixels) in [
            (".h5", Format::KerasH5(Dialect::Keras2), false),
            (".keras3.h5", Format::KerasH5(Dialect::Keras3), false),
            (".pixels.h5", Format::KerasH5(Dialect::Keras2), true),
            (".layers.h5", Format::KerasH5Weights(Dialect::Keras2), false),
            (".keras3.layers.h5", Format::KerasH5Weights(Dialect::Keras3), false),
            (".keras", Format::Keras, false),
            (".pixels.keras", Format::Keras, true),
            (".onnx", Format::Onnx(Layout::Nhwc), false),
            (".nchw.onnx", Format::Onnx(Layout::Nchw), false),
            (".pixels.onnx", Format::Onnx(Layout::Nhwc), true),
            (".torchvision.safetensors", Format::Torchvision, false),
            (".safetensors", Format::Safetensors, false),
        ] {
            let name = format!("{case}{ending}");
            let model = Model::new(&architecture, &weights, preprocess, &classes);
            let model = if pixels { model.with_preprocessing() } else { model };
            let path = dir.path().join(&name);
            write(&path, &model, format).unwrap();
            let written = fs::read(&path).unwrap();
            if bless {
                fs::write(golden(&name), &written).unwrap();
            } else if fs::read(golden(&name)).unwrap() != written {
                differ.push(name);
            }
        }
    }
    assert!(
        differ.is_empty(),
        "{differ:?} are not what the tools have read; if that is meant, VGG_FT_BLESS=1 and scripts/interop"
    );
}

#[test]
fn keras_predicts_from_the_files_what_we_predict() {
    let dir = tempfile::tempdir().unwrap();
    let device = CpuDevice::new(Some(1)).unwrap();
    let expected = fs::read(golden("expected.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&expected).unwrap();
    let pixels = expected.tensor("pixels").unwrap().data().to_vec();
    for (seed, (case, architecture, preprocess, _)) in cases().into_iter().enumerate() {
        let weights = weights(dir.path(), &architecture, seed as u64);
        let network = Network::new(&device, architecture, |_| Source::File(&weights)).unwrap();
        let batch = vgg_ft::data::Batch { indices: vec![0, 1], pixels: pixels.clone(), labels: Vec::new() };
        let x = vgg_ft::train::input(&device, &batch, Size { h: 12, w: 10 }, preprocess.rule()).unwrap();
        let rows = predict(&device, &network, 0, x).unwrap();
        let keras: Vec<f32> = bytemuck::pod_collect_to_vec(expected.tensor(case).unwrap().data());
        // A sigmoid is the second class; Keras has no column for the first.
        let ours: Vec<f32> = rows
            .iter()
            .flat_map(|row| if row.len() == 2 { row[1..].to_vec() } else { row.clone() })
            .collect();
        assert_eq!(ours.len(), keras.len());
        for (a, b) in ours.iter().zip(&keras) {
            assert!(*b > 1e-3 && *b < 0.999, "{case}: {keras:?} would hide a difference");
            // f32 sums in another order; two layers of at most 54 products.
            assert!((a - b).abs() <= 1e-5 * b, "{case}: {a} is not Keras' {b}");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// By the rule that every reader follows: `layer_names`, then `weight_names`, then the path.
#[test]
fn keras_groups_hold_every_weight_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, (case, architecture, _, _)) in cases().into_iter().enumerate() {
        let weights = weights(dir.path(), &architecture, seed as u64);
        for (name, root) in [
            (".h5", "model_weights/"),
            (".keras3.h5", "model_weights/"),
            (".layers.h5", ""),
            (".keras3.layers.h5", ""),
        ] {
            let file = hdf5_pure::File::open(golden(&format!("{case}{name}"))).unwrap();
            let group = if root.is_empty() { file.root() } else { file.group("model_weights").unwrap() };
            let layers = group.attrs().unwrap()["layer_names"].as_strings().unwrap().to_vec();
            let ours: Vec<&str> = architecture.layers().iter().map(|placed| placed.name.as_str()).collect();
            assert_eq!(layers, ours);
            let mut found = 0;
            for (layer, placed) in layers.iter().zip(architecture.layers()) {
                let attributes = file.group(&format!("{root}{layer}")).unwrap().attrs().unwrap();
                let paths = attributes["weight_names"].as_strings().map_or_else(Vec::new, <[String]>::to_vec);
                assert_eq!(paths.len(), if placed.kernel.is_some() { 2 } else { 0 }, "{layer}");
                for (path, part) in paths.iter().zip(["kernel", "bias"]) {
                    let array = file.dataset(&format!("{root}{layer}/{path}")).unwrap();
                    let shape: Vec<usize> =
                        array.shape().unwrap().iter().map(|&axis| axis as usize).collect();
                    let ours = weights.tensor(&format!("{layer}.{part}"), &shape).unwrap();
                    assert_eq!(bits(&array.read_f32().unwrap()), bits(&ours), "{layer}.{part}");
                    found += 1;
                }
            }
            assert_eq!(found, architecture.parameters().len());
        }
    }
}

#[test]
fn torchvision_names_count_relu_pool_and_dropout_and_flatten_channels_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_, architecture, _, _) = &cases()[0];
    let weights = weights(dir.path(), architecture, 0);
    let file = Weights::open(&golden("two.torchvision.safetensors")).unwrap();
    let names: Vec<&str> = file.names().collect();
    let places = ["classifier.0", "classifier.3", "features.0", "features.3"];
    let expected: Vec<String> =
        places.iter().flat_map(|place| [format!("{place}.bias"), format!("{place}.weight")]).collect();
    assert_eq!(names, expected);

    let keras = weights.tensor("block2_conv1.kernel", &[3, 3, 4, 5]).unwrap();
    let torch = file.tensor("features.3.weight", &[5, 4, 3, 3]).unwrap();
    for (o, i, y, x) in (0..180).map(|n| (n % 5, n / 5 % 4, n / 60, n / 20 % 3)) {
        assert_eq!(torch[((o * 4 + i) * 3 + y) * 3 + x], keras[((y * 3 + x) * 4 + i) * 5 + o]);
    }
    // 12x10 halved twice: 3x2, five channels.
    let keras = weights.tensor("dense.kernel", &[30, 6]).unwrap();
    let torch = file.tensor("classifier.0.weight", &[6, 30]).unwrap();
    for (unit, y, x, c) in (0..180).map(|n| (n % 6, n / 60, n / 30 % 2, n / 6 % 5)) {
        assert_eq!(torch[unit * 30 + (c * 3 + y) * 2 + x], keras[((y * 2 + x) * 5 + c) * 6 + unit]);
    }
}

/// The layers of the committed `.h5` as Keras reads them, whole: a change of a key is a change seen.
#[test]
fn the_configuration_says_what_keras_needs_and_no_more() {
    let config = |name: &str| {
        let file = hdf5_pure::File::open(golden(name)).unwrap();
        let text = file.root().attrs().unwrap()["model_config"].as_str().unwrap().to_owned();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let two = config("two.h5");
    let layers = two["config"]["layers"].as_array().unwrap();
    let classes: Vec<&str> = layers.iter().map(|layer| layer["class_name"].as_str().unwrap()).collect();
    let expected = [
        "InputLayer",
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ];
    assert_eq!(classes, expected);
    assert_eq!(layers[0]["config"]["batch_input_shape"], serde_json::json!([null, 12, 10, 3]));
    assert_eq!(config("two.keras3.h5")["config"]["layers"][0]["config"]["batch_shape"][1], 12);
    let conv = serde_json::json!({
        "name": "block2_conv1", "trainable": true, "dtype": "float32", "filters": 5, "kernel_size": [3, 3],
        "strides": [1, 1], "padding": "same", "data_format": "channels_last", "activation": "relu",
        "use_bias": true,
    });
    assert_eq!(layers[3]["config"], conv);
    assert_eq!(layers[8]["config"]["activation"], "sigmoid");
    assert_eq!(config("three.h5")["config"]["layers"][7]["config"]["activation"], "softmax");
    // R, G, B: the means of caffe in the image's order.
    let rescaling = &config("two.pixels.h5")["config"]["layers"][1]["config"];
    assert_eq!(rescaling["scale"], 1.0);
    assert_eq!(rescaling["offset"], serde_json::json!([-123.68, -116.779, -103.939]));
}

#[test]
fn weights_alone_cannot_scale_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let (_, architecture, preprocess, classes) = &cases()[0];
    let weights = weights(dir.path(), architecture, 0);
    let path = dir.path().join("x");
    for format in [Format::Torchvision, Format::Safetensors, Format::KerasH5Weights(Dialect::Keras2)] {
        let model = Model::new(architecture, &weights, *preprocess, classes).with_preprocessing();
        let error = write(&path, &model, format).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(!path.exists());
    }
}

/// A run folder as `finetune` leaves it: VGG11 on 32x32, all weights a thousandth.
fn run_folder(dir: &Path) {
    let head = Head { pooling: Pooling::Flatten, units: 8, dropout: 0.5, classes: 2 };
    let architecture = Architecture::vgg(Variant::Vgg11, [32, 32]).unwrap().with_head(head).unwrap();
    let longest = architecture.parameters().iter().map(|spec| spec.shape.len()).max().unwrap();
    let values = vec![1e-3; longest];
    let tensors: Vec<_> = architecture
        .parameters()
        .iter()
        .map(|spec| {
            let shape = match *spec.shape.axes() {
                [o, h, w, i] => vec![h, w, i, o],
                ref axes => axes.to_vec(),
            };
            NamedTensor { name: spec.name.clone(), shape, data: &values[..spec.shape.len()] }
        })
        .collect();
    fs::create_dir(dir).unwrap();
    save(&dir.join("model.safetensors"), &tensors, FloatType::F32, &BTreeMap::new()).unwrap();
    let config = r#"
        format = 2
        vgg_ft = "0.1.0"
        [network]
        variant = "vgg11"
        size = [32, 32]
        preprocess = "caffe"
        resize = "nearest"
        classes = ["cats", "dogs"]
        units = 8
        dropout = 0.5
        [training]
        data = "data"
        base_weights = ""
        device = "cpu"
        seed = 1
        batch = 20
        samples = [1, 1]
        stages = [{ name = "head", epochs = 1, rate = 1e-5 }]
        [result]
        accuracy = 1.0
        seconds = 1.0
    "#;
    fs::write(dir.join("run.toml"), config).unwrap();
}

#[test]
fn the_command_says_what_it_wrote_and_writes_over_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    run_folder(&here.join("run"));
    let export = |args: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("vgg-ft").unwrap();
        command.current_dir(here).arg("export").args(args).output().unwrap()
    };
    let output = export(&["run", "--format", "onnx", "-o", "m.onnx", "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("BGR") && said.contains("probability of `dogs`"), "{said}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = fs::read(here.join("m.onnx")).unwrap();
    assert_eq!(result["bytes"], bytes.len());
    assert_eq!(result["sha256"], vgg_ft::files::sha256_hex(&bytes));
    assert_eq!(result["path"], "m.onnx");

    let text = |args: &[&str], code: i32| {
        let output = export(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        String::from_utf8(if code == 0 { output.stdout } else { output.stderr }).unwrap()
    };
    let error = text(&["run", "--format", "onnx", "--layout", "nchw", "-o", "m.onnx"], 2);
    assert!(error.contains("is there already") && error.contains("--force"), "{error}");
    assert_eq!(fs::read(here.join("m.onnx")).unwrap(), bytes);
    let line = text(&["run", "--layout", "nchw", "-o", "m.onnx", "--force"], 0);
    assert!(line.starts_with("m.onnx\t") && line.contains(" bytes\tsha256 "), "{line}");
    assert_ne!(fs::read(here.join("m.onnx")).unwrap(), bytes);

    for (args, word) in [
        (&["run", "--format", "keras", "-o", "m.h5"][..], ".keras"),
        (&["run", "--format", "keras-h5", "-o", "m.keras"], ".h5"),
        (&["run", "--format", "keras-h5-weights", "-o", "m.weights.h5"], "not .weights.h5"),
        (&["run", "--format", "keras-h5", "-o", "m.weights.h5"], "not .weights.h5"),
        (&["run", "--format", "keras-h5", "-o", "n.h5", "--layout", "nchw"], "--layout"),
        (&["run", "--format", "onnx", "-o", "n", "--keras-version", "3"], "--keras-version"),
        (&["run", "--format", "torchvision", "-o", "n", "--with-preprocessing"], "--with-preprocessing"),
        (&["run", "--format", "onnx", "-o", "n.safetensors"], ".onnx"),
        (&["run", "--format", "torchvision", "-o", "n.h5"], ".safetensors"),
        (&["run", "-o", "n.safetensors"], "--format"),
        (&["run", "--format", "onnx", "-o", "run"], "is a folder"),
        (&["nowhere", "--format", "onnx", "-o", "n"], "nowhere does not exist"),
        (&["run", "--format", "caffe", "-o", "n"], "caffe"),
    ] {
        let error = text(args, 2);
        assert!(error.contains(word), "{args:?}: {error}");
    }
    fs::remove_file(here.join("run/model.safetensors")).unwrap();
    let error = text(&["run", "--format", "onnx", "-o", "n"], 1);
    assert!(error.contains("model.safetensors"), "{error}");
    let mut left: Vec<_> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["m.onnx", "run"], "nothing is left behind");
}

/// Features lie as the input does: with channels first nothing is turned.
#[test]
fn a_base_with_channels_first_gives_features_with_channels_first() {
    let dir = tempfile::tempdir().unwrap();
    let base = Architecture::vgg(Variant::Vgg11, [32, 64]).unwrap();
    let weights = weights(dir.path(), &base, 0);
    for (layout, turned) in [(Layout::Nhwc, 2), (Layout::Nchw, 0)] {
        let path = dir.path().join("base.onnx");
        write(&path, &Model::new(&base, &weights, Preprocess::Caffe, &[]), Format::Onnx(layout)).unwrap();
        let bytes = fs::read(&path).unwrap();
        let count = |word: &[u8]| bytes.windows(word.len()).filter(|window| *window == word).count();
        assert_eq!(
            (count(b"Transpose"), count(b"Identity")),
            (turned, usize::from(turned == 0)),
            "{layout:?}"
        );
        // Behind the weights, the dimensions of `features` after those of the batch.
        let dims = &bytes[bytes.len() - 4096..];
        let want: &[i64] = if turned == 0 { &[512, 1, 2] } else { &[1, 2, 512] };
        let packed: Vec<u8> = want.iter().flat_map(|&axis| dimension(axis)).collect();
        assert!(dims.windows(packed.len()).any(|window| window == packed), "{layout:?}");
        let said: &[u8] =
            if turned == 0 { b"512x1x2, f32; activations" } else { b"1x2x512, f32; activations" };
        assert!(dims.windows(said.len()).any(|window| window == said), "{layout:?}");
    }
}

/// A `TensorShapeProto.Dimension` of so many, as a field of the shape: field 1, its length, field 1, a varint.
fn dimension(axis: i64) -> Vec<u8> {
    let number = if axis < 128 { vec![axis as u8] } else { vec![axis as u8 | 0x80, (axis >> 7) as u8] };
    [vec![0x0a, 1 + number.len() as u8, 0x08], number].concat()
}

/// Each class has a line, whatever it is called; without classes there is none. PyTorch's recipe makes room for nothing
/// that is not in the file.
#[test]
fn what_a_file_says_about_itself_is_true_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_, architecture, preprocess, _) = &cases()[0];
    let weights = weights(dir.path(), architecture, 0);
    let classes = ["a\nb".to_owned(), "c\r".to_owned()];
    let remarks = |classes: &[String], layout| {
        let all = Model::new(architecture, &weights, *preprocess, classes).remarks(layout);
        all.into_iter().collect::<BTreeMap<_, _>>()
    };
    let said = remarks(&classes, Layout::Nchw);
    assert_eq!(said["vgg_ft_classes"], "a\\nb\nc\\r");
    assert_eq!(said["vgg_ft_output"], "the probability of `c\\r`; the rest is that of `a\\nb`");
    assert!(said["vgg_ft_input"].starts_with("3x12x10, f32; "), "{said:?}");
    let said = remarks(&[], Layout::Nhwc);
    assert!(said["vgg_ft_input"].starts_with("12x10x3, f32; ") && !said.contains_key("vgg_ft_classes"));
    assert_eq!(said["vgg_ft_output"], "the probability of the second class; the rest is that of the first");

    let base = Architecture::vgg(Variant::Vgg11, [32, 32]).unwrap();
    let recipe = vgg_ft::export::torch_recipe(&Model::new(&base, &weights, *preprocess, &[]));
    assert_eq!(
        recipe,
        "m = torchvision.models.vgg11(weights=None); m.avgpool = torch.nn.Identity(); \
         m.classifier = torch.nn.Sequential(); m.eval(); features = m.features(x)"
    );
}
