//! A whole VGG16 with its classifier: what it takes to load, and what `predict FILE` says.
//!
//! The file has 553 MB, all of them zeros but the last biases, and takes a few kB of the disk where files can have
//! holes. Real weights of the real tools are `scripts/weights-matrix`'.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "support/skip.rs"]
mod skip;

use assert_cmd::Command;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::model::{Architecture, Network, Pretrained, Source, Variant};
use vgg_ft::weights::find_default;

/// A safetensors file of zeros with Keras' names, and `biases` in `predictions.bias`.
fn zeros(path: &Path, architecture: &Architecture, biases: &[f32]) {
    let mut header = String::from("{");
    let (mut end, mut place) = (0, 0);
    for spec in architecture.parameters() {
        let shape = match *spec.shape.axes() {
            [o, h, w, i] => vec![h, w, i, o],
            ref axes => axes.to_vec(),
        };
        let begin = end;
        end += 4 * spec.shape.len();
        if spec.name == "predictions.bias" {
            place = begin;
        }
        let comma = if begin == 0 { "" } else { "," };
        let name = &spec.name;
        write!(
            header,
            r#"{comma}"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#
        )
        .unwrap();
    }
    header.push('}');
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let data = 8 + header.len() as u64;
    file.set_len(data + end as u64).unwrap();
    file.seek(SeekFrom::Start(data + place as u64)).unwrap();
    file.write_all(bytemuck::cast_slice(biases)).unwrap();
}

/// The most memory that this process ever had, in bytes; `None` where the system does not say it so.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Says how long it takes to load the base in half precision, with `--nocapture`; a limit on time has no place in a
/// test.
fn base(device: &CpuDevice) {
    let path = find_default().unwrap();
    let mut times = Vec::new();
    for _ in 0..9 {
        let begin = Instant::now();
        let found = Pretrained::open(&path).unwrap();
        let architecture = Architecture::vgg(Variant::Vgg16, [150, 150]).unwrap();
        let network = Network::new(device, architecture, |_| Source::File(&found)).unwrap();
        times.push(begin.elapsed());
        assert_eq!(network.parameters().len(), 26);
    }
    println!(
        "the base in half precision: first {:.1?}, then at best {:.1?}",
        times[0],
        times[1..].iter().min()
    );
}

/// One test, and beside it only those whose work is done by other processes: the memory of this one is measured.
#[test]
fn a_file_of_553_mb_is_loaded_within_its_size_and_100_mb_and_classifies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vgg16.safetensors");
    let architecture = Architecture::vgg(Variant::Vgg16, [224, 224]).unwrap().with_top().unwrap();
    let mut biases = vec![0f32; 1000];
    // With zeros before them the biases are the logits: 285, then 281, then all others alike.
    (biases[285], biases[281]) = (3.0, 2.0);
    zeros(&path, &architecture, &biases);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size > 553_000_000);

    let device = CpuDevice::new(None).unwrap();
    base(&device);
    let found = Pretrained::open(&path).unwrap();
    let network = Network::new(&device, architecture, |_| Source::File(&found)).unwrap();
    match peak() {
        Some(peak) => {
            println!("a file of {} MB, a peak of {} MB", size / 1_000_000, peak / 1_000_000);
            assert!(peak < size + 100_000_000, "{peak}");
        }
        None => skipped!("the memory of a process cannot be read here"),
    }
    drop(network);

    let image = dir.path().join("x.png");
    image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 9])).save(&image).unwrap();
    let mut predict = Command::new(env!("CARGO_BIN_EXE_vgg-ft"));
    let run = predict.args(["predict", "--device", "cpu", "--json", "--top", "5"]).args([&path, &image]);
    let output = run.assert().success().get_output().clone();
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let top = row["top"].as_array().unwrap();
    assert_eq!(top.len(), 5);
    // e³ / (e³ + e² + 998)
    let sum = 3f64.exp() + 2f64.exp() + 998.0;
    for (entry, (class, logit)) in top.iter().zip([("Egyptian cat", 3f64), ("tabby", 2.0)]) {
        assert_eq!(entry["class"], class);
        let probability = entry["probability"].as_f64().unwrap();
        assert!((probability - logit.exp() / sum).abs() < 1e-6, "{probability}");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("vgg16, 13 convolutions, dense 4096 4096 1000"), "{said}");
    assert!(said.contains("input      224x224 by nearest, BGR"), "{said}");
}

#[test]
fn a_file_without_the_classifier_and_a_name_without_a_file_are_refused() {
    let refuse = |arguments: &[&str], code: i32| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vgg-ft"));
        let output =
            command.arg("predict").args(arguments).arg("x.jpg").assert().code(code).get_output().clone();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/vgg16_imagenet_notop.f16.safetensors");
    let error = refuse(&[shipped], 1);
    assert!(error.contains("has no classifier to ask") && error.contains("weights fetch"), "{error}");
    let error = refuse(&["no-such.pth"], 2);
    assert!(error.contains("no-such.pth does not exist"), "{error}");
    let error = refuse(&["--preprocess", "torch", concat!(env!("CARGO_MANIFEST_DIR"), "/src")], 2);
    assert!(error.contains("--preprocess is not for a run"), "{error}");
}
