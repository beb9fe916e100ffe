//! Every call at the shapes of VGG16 on images of 150x150, a batch of 20, by the layer's name.
//!
//! Each is checked once, on a sample of its outputs, against the naive loops of the tests; then timed
//! with the device synchronised inside. Ids that end in `[flop]` count floating-point operations (a
//! multiply-add is two, padding included), so criterion's Gelem/s are GFLOP/s; the others count the bytes
//! that must be read and written. At the end each rate is compared with the device's roof: operations with
//! its peak, bytes with a copy (`common/roof.rs`).

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[macro_use]
#[path = "../tests/support/skip.rs"]
mod skip;
#[path = "../tests/support/mod.rs"]
mod support;
// A folder without main.rs is no bench to Cargo.
#[path = "common/activations.rs"]
mod activations;
#[path = "common/convolutions.rs"]
mod convolutions;
#[path = "common/dense.rs"]
mod dense;
#[path = "common/ladder.rs"]
mod ladder;
#[path = "common/layers.rs"]
mod layers;
#[path = "common/line.rs"]
mod line;
#[path = "common/optimizers.rs"]
mod optimizers;
#[path = "common/images.rs"]
mod images;
#[path = "common/report.rs"]
mod report;
#[path = "common/roof.rs"]
mod roof;

use activations::{bias_backward, elementwise, global_avgpool2d, maxpool2d};
use convolutions::{conv2d, conv2d_conv2d_maxpool2d_forward, conv2d_maxpool2d_forward};
use criterion::Criterion;
use dense::{dense, losses};
use images::{augment, layouts, normalize};
use layers::{BATCH, CONV2D, CONV2D_MAXPOOL2D, DENSE, POOL2D};
use line::Line;
use optimizers::optimizers;
use report::{Measured, SAMPLES, device, json, shares};
use roof::Roof;
use std::time::Duration;
use vgg_ft::device::Device;
use vgg_ft::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};

fn kernels(criterion: &mut Criterion, device: &dyn Device, results: &mut Vec<Measured>) {
    // Lines are made one at a time: the large ones hold hundreds of megabytes.
    let mut measure = |line: Line| line.measure(criterion, device, results);
    for &(layer, side, c_in, c_out) in CONV2D {
        conv2d(layer, Conv2d { n: BATCH, h: side, w: side, c_in, c_out }).into_iter().for_each(&mut measure);
    }
    for &(layer, side, c_in, c_out) in CONV2D_MAXPOOL2D {
        measure(conv2d_maxpool2d_forward(layer, Conv2d { n: BATCH, h: side, w: side, c_in, c_out }));
    }
    let block = [3, 64].map(|c_in| Conv2d { n: BATCH, h: 150, w: 150, c_in, c_out: 64 });
    if device.joins(block) {
        measure(conv2d_conv2d_maxpool2d_forward("block1", block));
    }
    for &(layer, c_in, c_out) in DENSE {
        dense(layer, Dense { n: BATCH, c_in, c_out }).into_iter().for_each(&mut measure);
    }
    for &(layer, side, c) in POOL2D {
        maxpool2d(layer, Pool2d { n: BATCH, h: side, w: side, c }).into_iter().for_each(&mut measure);
    }
    let means = GlobalPool2d { n: BATCH, h: 4, w: 4, c: 512 };
    global_avgpool2d("block5_pool", means).into_iter().for_each(&mut measure);
    measure(bias_backward("block3_conv2", BATCH * 37 * 37, 256));
    measure(bias_backward("fc1", BATCH, 256));
    elementwise("block3_conv2", BATCH * 37 * 37 * 256).into_iter().for_each(&mut measure);
    elementwise("fc1", BATCH * 256).into_iter().for_each(&mut measure);
    measure(normalize());
    augment().into_iter().for_each(&mut measure);
    optimizers().into_iter().for_each(&mut measure);
    layouts().into_iter().for_each(&mut measure);
    losses().into_iter().for_each(&mut measure);
}

fn main() {
    // The largest call takes half a second on a cpu; ten of each keep the whole below three minutes.
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    let device = device();
    let (it, roof) = (device.describe(), Roof::of(&*device));
    println!("{}: {}", it.name, it.hardware);
    let mut results = Vec::new();
    kernels(&mut criterion, &*device, &mut results);
    ladder::measure(&mut criterion, &mut results);
    criterion.final_summary();
    print!("{}", shares(&roof, &results));
    if let Some(path) = std::env::var_os("VGG_FT_BENCH_JSON") {
        std::fs::write(&path, json(&*device, BATCH, &roof, &results)).unwrap();
    }
}
