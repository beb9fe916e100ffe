//! Every call at the shapes of VGG16 on pictures of 150x150, a batch of 20, by the layer's name.
//!
//! Each is checked once, on a sample of its outputs, against the naive loops of the tests; then timed
//! with the device synchronised inside. Ids that end in `[flop]` count floating-point operations (a
//! multiply-add is two, padding included), so criterion's Gelem/s are GFLOP/s; the others count the bytes
//! that must be read and written. At the end each rate is compared with the device's roof: operations with
//! its peak, bytes with a copy (`common/roof.rs`).

// Helpers may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;
// A folder without main.rs is no bench to Cargo.
#[path = "common/convolutions.rs"]
mod convolutions;
#[path = "common/ladder.rs"]
mod ladder;
#[path = "common/report.rs"]
mod report;
#[path = "common/roof.rs"]
mod roof;

use convolutions::{conv2d, conv2d_maxpool2d_forward};
use criterion::{Criterion, SamplingMode, Throughput};
use report::{Measured, device, json, shares};
use roof::Roof;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use support::cases::make;
use support::close::Near;
use support::naive;
use support::optimizer::{self, Tensor};
use support::run::{Data, Make};
use vgg_ft::data::{Augment, Size};
use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::{Adamw, Adjust, LossRule, MaskSource, Normalize, Rmsprop, Rule, Sgd};
use vgg_ft::device::cpu::CpuDevice;
use vgg_ft::device::{Buffer, Call, Device};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::{Conv2d, Dense, Pool2d};

/// Pictures in a batch.
const BATCH: usize = 20;

/// Block and layer, side of the map, channels in and out; layers like an earlier one are left out.
const CONV2D: &[(&str, usize, usize, usize)] = &[
    ("block1_conv1", 150, 3, 64),
    ("block1_conv2", 150, 64, 64),
    ("block2_conv1", 75, 64, 128),
    ("block2_conv2", 75, 128, 128),
    ("block3_conv1", 37, 128, 256),
    ("block3_conv2", 37, 256, 256),
    ("block4_conv1", 18, 256, 512),
    ("block4_conv2", 18, 512, 512),
    ("block5_conv1", 9, 512, 512),
];

/// Those with a pool behind them.
const CONV2D_MAXPOOL2D: &[(&str, usize, usize, usize)] = &[
    ("block1_conv2", 150, 64, 64),
    ("block2_conv2", 75, 128, 128),
    ("block3_conv3", 37, 256, 256),
    ("block4_conv3", 18, 512, 512),
    ("block5_conv3", 9, 512, 512),
];

/// Block, side of the map, channels.
const POOL2D: &[(&str, usize, usize)] =
    &[("block1_pool", 150, 64), ("block3_pool", 37, 256), ("block5_pool", 9, 512)];

/// The head's layers.
const DENSE: &[(&str, usize, usize)] = &[("fc1", 8192, 256), ("fc2", 256, 1)];

/// The expected value of an output's element.
type Want = Box<dyn Fn(usize) -> Near>;

/// One line of the report.
struct Line {
    /// Layer or size; the call's name stands before it.
    shape: String,
    work: Throughput,
    inputs: Vec<Data>,
    /// Content before the call, and what every element should be after it.
    outputs: Vec<(Data, Want)>,
    make: Make,
}

impl Line {
    fn measure(&self, criterion: &mut Criterion, device: &dyn Device, results: &mut Vec<Measured>) {
        let (inputs, mut outputs) = (RefCell::new(Vec::new()), Vec::new());
        let unit = if matches!(self.work, Throughput::Elements(_)) { " [flop]" } else { "" };
        let id = format!("{}{unit}/{}", self.shape, device.describe().name);
        let name = self.name();
        let mut samples = Vec::new();
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat).throughput(self.work.clone());
        // The closure runs for lines that pass the filter alone, and more than once.
        group.bench_function(&id, |bencher| {
            if outputs.is_empty() {
                *inputs.borrow_mut() = self.inputs.iter().map(|data| data.upload(device)).collect();
                outputs = self.outputs.iter().map(|(data, _)| data.upload(device)).collect();
                device.run((self.make)(&inputs.borrow(), &mut outputs)).unwrap();
                for ((before, want), buffer) in self.outputs.iter().zip(&outputs) {
                    check(&format!("{name}/{id}"), &before.download_like(device, buffer).unwrap(), want);
                }
            }
            let inputs = inputs.borrow();
            // A card runs its calls later: the wait belongs to the time, once for all of a sample.
            bencher.iter_custom(|count| {
                let begin = Instant::now();
                for _ in 0..count {
                    device.run((self.make)(&inputs, &mut outputs)).unwrap();
                }
                device.synchronize().unwrap();
                let time = begin.elapsed();
                samples.push(time.as_secs_f64() / count as f64);
                time
            });
        });
        group.finish();
        if !samples.is_empty() {
            results.push((format!("{name}/{id}"), self.work.clone(), samples));
        }
    }

    /// The call's name, from buffers that hold nothing.
    fn name(&self) -> &'static str {
        let cpu = CpuDevice::new(Some(1)).unwrap();
        let device: &dyn Device = &cpu;
        let inputs: Vec<Buffer> = self.inputs.iter().map(|_| device.zeros(0).unwrap()).collect();
        let mut outputs: Vec<Buffer> = self.outputs.iter().map(|_| device.zeros(0).unwrap()).collect();
        (self.make)(&inputs, &mut outputs).name()
    }
}

/// Both ends and some places between.
fn check(id: &str, got: &Data, want: &Want) {
    let len = got.bits().len();
    let mut draws = Draws::new(1, Stream::Demo, 0);
    let places = [0, len - 1].into_iter().chain((0..22).map(|_| draws.below(len as u32) as usize));
    for at in places {
        let near = want(at);
        let got = match got {
            Data::F32(got) => got[at],
            Data::U8(got) => f32::from(got[at]),
            Data::U32(got) => got[at] as f32,
            Data::F16(got) => got[at].to_f32(),
            Data::Bf16(got) => got[at].to_f32(),
        };
        assert!(near.meets(got), "{id}: element {at}: expected {near:?}, got {got}");
    }
}

/// Uniform in [-1, 1).
fn reals(seed: u64, len: usize) -> Vec<f32> {
    let mut draws = Draws::new(seed, Stream::Demo, 0);
    (0..len).map(|_| draws.range(-1.0, 1.0)).collect()
}

fn zeros(len: usize) -> Data {
    vec![0.0; len].into()
}

/// Bytes of so many f32.
fn words(count: usize) -> Throughput {
    Throughput::Bytes(4 * count as u64)
}

fn dense(layer: &str, geometry: Dense) -> [Line; 3] {
    let g = geometry;
    let work = Throughput::Elements((2 * g.n * g.c_in * g.c_out) as u64);
    let shape = format!("{layer}/b{}", g.n);
    let (x, dy) = (reals(1, g.x().len()), reals(2, g.y().len()));
    let (weight, bias) = (reals(3, g.weight().len()), reals(4, g.c_out));
    let (x1, w1, b1) = (x.clone(), weight.clone(), bias.clone());
    let (dy2, w2) = (dy.clone(), weight.clone());
    let (x3, dy3) = (x.clone(), dy.clone());
    [
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.clone().into(), weight.clone().into(), bias.into()],
            outputs: vec![(
                zeros(g.y().len()),
                Box::new(move |at| naive::dense_forward_at(&g, &x1, &w1, &b1, true, at)),
            )],
            make: make!([x, weight, bias] => [y],
                Call::DenseForward { geometry, x, weight, bias, relu: true, y }),
        },
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![dy.clone().into(), weight.into()],
            outputs: vec![(
                zeros(g.x().len()),
                Box::new(move |at| naive::dense_backward_input_at(&g, &dy2, &w2, at)),
            )],
            make: make!([dy, weight] => [dx], Call::DenseBackwardInput { geometry, dy, weight, dx }),
        },
        Line {
            shape,
            work,
            inputs: vec![x.into(), dy.into()],
            outputs: vec![(
                zeros(g.weight().len()),
                Box::new(move |at| naive::dense_backward_weight_at(&g, &x3, &dy3, at)),
            )],
            make: make!([x, dy] => [dweight], Call::DenseBackwardWeight { geometry, x, dy, dweight }),
        },
    ]
}

fn maxpool2d(layer: &str, geometry: Pool2d) -> [Line; 2] {
    let g = geometry;
    let shape = format!("{layer}/b{}", g.n);
    let (small, large) = (g.y().len(), g.x().len());
    let (x, dy) = (reals(1, large), reals(2, small));
    let (y, winner) = naive::maxpool2d_forward(&g, &x);
    let dx = naive::maxpool2d_backward(&g, &dy, &winner);
    let names = winner.clone();
    // Two bits per winner, four bytes per number.
    let work = Throughput::Bytes((4 * (small + large) + g.winners()) as u64);
    [
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.into()],
            outputs: vec![
                (zeros(small), Box::new(move |at| y[at])),
                (Data::U8(vec![0; g.winners()]), Box::new(move |at| Near::exactly(f64::from(names[at])))),
            ],
            make: make!([x] => [y, winner],
                Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
        },
        Line {
            shape,
            work,
            inputs: vec![dy.into(), winner.into()],
            outputs: vec![(zeros(large), Box::new(move |at| dx[at]))],
            make: make!([dy, winner] => [dx],
                Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx }),
        },
    ]
}

fn bias_backward(layer: &str, rows: usize, channels: usize) -> Line {
    let dy = reals(1, rows * channels);
    let want = naive::bias_backward(channels, &dy);
    Line {
        shape: format!("{layer}/{rows}x{channels}"),
        work: words(dy.len()),
        inputs: vec![dy.into()],
        outputs: vec![(zeros(channels), Box::new(move |at| want[at]))],
        make: make!([dy] => [dbias], Call::BiasBackward { rows, channels, dy, dbias }),
    }
}

/// Calls whose elements do not know each other, at the size of a block's activations.
fn elementwise(layer: &str, len: usize) -> Vec<Line> {
    let shape = format!("{layer}/{len}");
    let (x, other) = (reals(1, len), reals(2, len));
    let source = MaskSource { seed: 7, stream: Stream::Dropout, counter: 0 };
    let line = |words_of: usize, before: Data, want: Vec<Near>, make: Make| Line {
        shape: shape.clone(),
        work: words(words_of * len),
        inputs: vec![x.clone().into()],
        outputs: vec![(before, Box::new(move |at| want[at]))],
        make,
    };
    vec![
        line(2, zeros(len), naive::relu_forward(&x), make!([x] => [y], Call::ReluForward { x, y })),
        line(
            3,
            other.clone().into(),
            naive::relu_backward(&x, &other),
            make!([y] => [gradient], Call::ReluBackward { y, gradient }),
        ),
        line(3, other.clone().into(), naive::add(&x, &other), make!([x] => [into], Call::Add { x, into })),
        line(
            2,
            zeros(len),
            naive::dropout(0.5, &source, &x),
            make!([x] => [y], Call::Dropout { rate: 0.5, source, x, y }),
        ),
        line(2, zeros(len), naive::sigmoid(&x), make!([x] => [y], Call::Sigmoid { x, y })),
    ]
}

fn normalize() -> Line {
    let rows = BATCH * 150 * 150;
    let rule = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let mut draws = Draws::new(1, Stream::Demo, 0);
    let pixels: Vec<u8> = (0..rows * 3).map(|_| draws.below(256) as u8).collect();
    let want = naive::normalize(&rule, &pixels);
    Line {
        shape: format!("pictures/b{BATCH}"),
        work: Throughput::Bytes((pixels.len() * 5) as u64),
        inputs: vec![pixels.into()],
        outputs: vec![(zeros(rows * 3), Box::new(move |at| want[at]))],
        make: make!([pixels] => [y], Call::Normalize { rows, rule, pixels, y }),
    }
}

/// Gathered alone, as validation reads a resident set, and moved as the book's notebook does.
fn augment() -> [Line; 2] {
    let (count, n, h, w) = (4 * BATCH, BATCH, 150, 150);
    let rule = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let geometry = Gather { count, n, h, w, border: Border::Nearest, ranged: false, rule };
    let mut draws = Draws::new(1, Stream::Demo, 0);
    let pixels: Vec<u8> = (0..count * h * w * 3).map(|_| draws.below(256) as u8).collect();
    let indices: Vec<u32> = (0..n as u32).map(|k| k * 3).collect();
    [("gathered", Augment::default()), ("moved", Augment::book())].map(|(what, augment)| {
        let size = Size { h, w };
        let transforms: Vec<Transform> =
            (0..n as u32).map(|k| augment.draw(1, 0, k, size).transform(size)).collect();
        // The oracle takes matrices as they come; the last bit of a coordinate is a 1e-13th of a level here.
        let want: Vec<Near> = support::augment::augment(&geometry, &pixels, &indices, &transforms)
            .into_iter()
            .map(|near| Near { within: 1e-4, ..near })
            .collect();
        let words: Vec<u32> = bytemuck::cast_slice(&transforms).to_vec();
        Line {
            shape: format!("{what}/b{n}"),
            work: Throughput::Bytes((n * h * w * 3 * 5) as u64),
            inputs: vec![pixels.clone().into(), indices.clone().into(), words.into()],
            outputs: vec![(zeros(n * h * w * 3), Box::new(move |at| want[at]))],
            make: make!([pixels, indices, transforms] => [y],
                Call::Augment { geometry, pixels, indices, transforms, y }),
        }
    })
}

/// What learns from block3_conv1 on, kernels and biases, and what learns of block 1 alone: many small.
const LEARNERS: &[(&str, &[usize])] = &[
    (
        "block3_conv1",
        &[
            256 * 1152,
            256,
            256 * 2304,
            256,
            256 * 2304,
            256,
            512 * 2304,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
            512 * 4608,
            512,
        ],
    ),
    ("block1", &[64 * 27, 64, 64 * 576, 64]),
];

fn optimizers() -> Vec<Line> {
    let rules: [Rule; 3] = [
        Rmsprop { rate: 2e-5, ..Rmsprop::default() }.into(),
        Sgd { momentum: 0.9, ..Sgd::default() }.into(),
        Adamw::default().into(),
    ];
    rules
        .iter()
        .flat_map(|&rule| LEARNERS.iter().map(move |&learners| optimizer_step(rule, learners)))
        .collect()
}

fn optimizer_step(rule: Rule, (name, lens): (&str, &[usize])) -> Line {
    let keeps = rule.keeps();
    let states = usize::from(keeps.velocity) + usize::from(keeps.momentum);
    let (mut inputs, mut outputs) = (Vec::<Data>::new(), Vec::<(Data, Want)>::new());
    for &len in lens {
        let tensor = Tensor {
            gradient: reals(1, len),
            weight: reals(2, len),
            velocity: reals(3, len).iter().map(|v| v * v).collect(),
            momentum: reals(4, len),
            mean: Vec::new(),
        };
        let want = optimizer::step(rule, 1, Adjust::NONE, &tensor);
        let all = [
            (keeps.velocity, tensor.velocity, want.velocity),
            (keeps.momentum, tensor.momentum, want.momentum),
            (true, tensor.weight, want.weight),
        ];
        inputs.push(tensor.gradient.into());
        for (_, before, want) in all.into_iter().filter(|kept| kept.0) {
            outputs.push((before.into(), Box::new(move |at| want[at])));
        }
    }
    Line {
        shape: format!("{name}/{}", lens.len()),
        work: words((3 + 2 * states) * lens.iter().sum::<usize>()),
        inputs,
        outputs,
        make: Box::new(move |inputs, outputs| {
            optimizer::call(rule, 1, Adjust::NONE, optimizer::slots(keeps, inputs, outputs))
        }),
    }
}

/// A kernel of block 5 from the file's half precision, and from HWIO to OHWI; features to NCHW.
fn layouts() -> Vec<Line> {
    let len = 4608 * 512;
    let x = reals(1, len);
    let half: Vec<half::f16> = x.iter().map(|&x| half::f16::from_f32(x)).collect();
    let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let mut lines = vec![Line {
        shape: "block5_conv1/f16-f32".into(),
        work: Throughput::Bytes(6 * len as u64),
        inputs: vec![Data::F16(half)],
        outputs: vec![(zeros(len), Box::new(move |at| Near::exactly(wide[at].into())))],
        make: make!([x] => [y], Call::Cast { x, y }),
    }];
    for (name, batch, rows, columns) in
        [("block5_conv1", 1, 4608, 512), ("block1_conv2", BATCH, 150 * 150, 64)]
    {
        let x = reals(1, batch * rows * columns);
        let from = x.clone();
        lines.push(Line {
            shape: format!("{name}/{batch}x{rows}x{columns}"),
            work: words(2 * x.len()),
            outputs: vec![(
                zeros(x.len()),
                Box::new(move |i| {
                    let (n, c, r) = (i / (rows * columns), i / rows % columns, i % rows);
                    Near::exactly(from[(n * rows + r) * columns + c].into())
                }),
            )],
            inputs: vec![x.into()],
            make: make!([x] => [y], Call::Transpose { batch, rows, columns, x, y }),
        });
    }
    lines
}

fn losses() -> [Line; 3] {
    let (logits, targets) = (reals(1, BATCH), (0..BATCH).map(|i| (i % 2) as f32).collect::<Vec<f32>>());
    let (outcome, dlogits) = naive::sigmoid_cross_entropy(&LossRule::mean(BATCH), &logits, &targets, None);
    let classes = 1000;
    let scores = reals(2, BATCH * classes);
    let labels: Vec<u32> = (0..BATCH).map(|row| (row * 37) as u32).collect();
    let (many_outcome, many_dlogits) =
        naive::softmax_cross_entropy(&LossRule::mean(BATCH), classes, &scores, &labels, None);
    let probabilities = naive::softmax(classes, &scores);
    [
        Line {
            shape: format!("b{BATCH}"),
            work: words(5 * BATCH),
            inputs: vec![logits.into(), targets.into()],
            outputs: vec![
                (zeros(2 * BATCH), Box::new(move |at| outcome[at])),
                (zeros(BATCH), Box::new(move |at| dlogits[at])),
            ],
            make: make!([logits, targets] => [outcome, dlogits],
            Call::SigmoidCrossEntropy {
                rule: LossRule::mean(BATCH), logits, targets, weights: None, outcome, dlogits: Some(dlogits),
            }),
        },
        Line {
            shape: format!("b{BATCH}/{classes}"),
            work: words(2 * BATCH * classes),
            inputs: vec![scores.clone().into(), labels.into()],
            outputs: vec![
                (zeros(2 * BATCH), Box::new(move |at| many_outcome[at])),
                (zeros(BATCH * classes), Box::new(move |at| many_dlogits[at])),
            ],
            make: make!([logits, labels] => [outcome, dlogits],
            Call::SoftmaxCrossEntropy {
                rule: LossRule::mean(BATCH), classes, logits, labels, weights: None, outcome,
                dlogits: Some(dlogits),
            }),
        },
        Line {
            shape: format!("b{BATCH}/{classes}"),
            work: words(2 * BATCH * classes),
            inputs: vec![scores.into()],
            outputs: vec![(zeros(BATCH * classes), Box::new(move |at| probabilities[at]))],
            make: make!([x] => [y], Call::Softmax { classes, x, y }),
        },
    ]
}

fn kernels(criterion: &mut Criterion, device: &dyn Device, results: &mut Vec<Measured>) {
    // Lines are made one at a time: the large ones hold hundreds of megabytes.
    let mut measure = |line: Line| line.measure(criterion, device, results);
    for &(layer, side, c_in, c_out) in CONV2D {
        conv2d(layer, Conv2d { n: BATCH, h: side, w: side, c_in, c_out }).into_iter().for_each(&mut measure);
    }
    for &(layer, side, c_in, c_out) in CONV2D_MAXPOOL2D {
        measure(conv2d_maxpool2d_forward(layer, Conv2d { n: BATCH, h: side, w: side, c_in, c_out }));
    }
    for &(layer, c_in, c_out) in DENSE {
        dense(layer, Dense { n: BATCH, c_in, c_out }).into_iter().for_each(&mut measure);
    }
    for &(layer, side, c) in POOL2D {
        maxpool2d(layer, Pool2d { n: BATCH, h: side, w: side, c }).into_iter().for_each(&mut measure);
    }
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
        .sample_size(10)
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
