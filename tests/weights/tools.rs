//! Files that Keras, tf_keras, PyTorch and their exporters wrote, against what these tools compute with them.
//!
//! `scripts/weights-matrix` makes the folder (6 GB: whole networks) and runs this; `VGG_FT_TEST_WEIGHTS` names it.
//! Small files by the same tools are in `tests/golden/weights` and are read by every test run.

use serde::Deserialize;
use std::path::Path;
use vgg_ft::data::{Batch, Size};
use vgg_ft::device::Device;
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::graph::{Mode, Tape};
use vgg_ft::model::{Architecture, Network, Pretrained, Source};
use vgg_ft::train::input;

/// A file and how it came to be.
#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    tool: String,
    /// `logits` or `features`.
    kind: String,
}

/// What the issue allows. f32 sums of 25088 products in another order differ by some 1e-6.
const LIMIT: f64 = 1e-4;

fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(|i| f(i).powi(2)).sum::<f64>();
    (squares(&|i| f64::from(a[i]) - f64::from(b[i])) / squares(&|i| f64::from(b[i]))).sqrt()
}

fn top5(row: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    order.truncate(5);
    order
}

/// What our cpu device computes with the file for two images, before the softmax.
fn ours(device: &dyn Device, folder: &Path, case: &Case) -> (Vec<f32>, String) {
    let found = Pretrained::open(&folder.join(&case.file)).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let lineage = found.lineage();
    let variant = lineage.variant().unwrap();
    let mut architecture = Architecture::vgg(variant, [224, 224]).unwrap();
    assert_eq!(lineage.has_top(), case.kind == "logits", "{}", case.name);
    if lineage.has_top() {
        architecture = architecture.with_top().unwrap();
    }
    let file = std::fs::read(folder.join("pixels.safetensors")).unwrap();
    let pixels =
        safetensors::SafeTensors::deserialize(&file).unwrap().tensor("pixels").unwrap().data().to_vec();
    let batch = Batch { indices: vec![0, 1], pixels, labels: Vec::new() };
    let all = 0..architecture.layers().len();
    let network = Network::new(device, architecture, |_| Source::File(&found)).unwrap();
    let tape = Tape::new(device, Mode::Inference);
    let rule = lineage.recipe().unwrap().rule();
    let x = input(device, &batch, Size { h: 224, w: 224 }, rule).unwrap();
    let y = network.forward(&tape, x, all, None).unwrap();
    (device.download(y.buffer()).unwrap(), format!("{}, {}", lineage.format, lineage.naming))
}

#[test]
fn whole_networks_of_the_real_tools_compute_the_same() {
    let Some(folder) = std::env::var_os("VGG_FT_TEST_WEIGHTS") else {
        skipped!("VGG_FT_TEST_WEIGHTS is not set, so there are no files by the real tools");
        return;
    };
    let folder = Path::new(&folder);
    let device = CpuDevice::new(None).unwrap();
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "{} has no cases", folder.display());
    println!("| file | written by | read as | of | relative error | same top 5 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in &cases {
        let bytes = std::fs::read(folder.join(format!("{}.expected.safetensors", case.name))).unwrap();
        let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let expected: Vec<f32> = bytemuck::pod_collect_to_vec(expected.tensor(&case.kind).unwrap().data());
        let (got, read_as) = ours(&device, folder, case);
        let error = relative_error(&got, &expected);
        let same = case.kind != "logits"
            || got.chunks(1000).zip(expected.chunks(1000)).all(|(a, b)| top5(a) == top5(b));
        let top = if case.kind == "logits" { if same { "yes" } else { "no" } } else { "" };
        println!("| {} | {} | {read_as} | {} | {error:.1e} | {top} |", case.name, case.tool, case.kind);
        assert!(same, "{}: another top 5", case.name);
        // A NaN is no error that is small.
        assert!(error <= LIMIT, "{}: {error:e}", case.name);
    }
}
