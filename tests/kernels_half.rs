//! Calls on buffers of 16 bits, bf16 and f16, all but the convolutions (`kernels_mma.rs`): the same formulas on rounded
//! inputs, rounded once more where the result has 16 bits. On the emulator with all checks, and on a GPU where one is.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support;

use support::cases::{Integers, Reals, Source, case, make};
use support::close::Near;
use support::half::{HALVES, Half};
use support::run::{Case, Output, Want};
use support::{devices, naive, optimizer, tensor_cores};
use vgg_ft::data::{Augment, Size};
use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::{Adjust, LossRule, Normalize, ParameterUpdate, Rule};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use vgg_ft::error::Kind;
use vgg_ft::graph::{Mode, Parameter, Tape, Tensor};
use vgg_ft::op::{self, Activation};
use vgg_ft::shape::{Pool2d, Shape};

/// Ends and tails of sixteen bytes, and more than a block.
const LENGTHS: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 65, 1003, 100_001];

/// `(n, h, w, c)`: channels that fill sixteen bytes and such that do not, odd maps.
const POOL2D: &[(usize, usize, usize, usize)] = &[
    (1, 2, 2, 1),
    (1, 2, 2, 8),
    (1, 5, 7, 3),
    (2, 9, 9, 65),
    (3, 4, 6, 12),
    (2, 7, 5, 16),
    (1, 75, 74, 5),
    (1, 37, 36, 64),
    (2, 3, 2, 64),
];

fn fail_together(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn values(near: Vec<Near>) -> impl Iterator<Item = f32> {
    near.into_iter().map(|near| near.value as f32)
}

fn fresh(want: Want) -> Output {
    Output { before: None, want }
}

fn all(half: Half) -> Vec<Case> {
    let mut cases = Vec::new();
    LENGTHS.iter().for_each(|&len| elementwise(half, &mut cases, len));
    for &(n, h, w, c) in POOL2D {
        for kind in [Integers, Reals] {
            maxpool2d(half, &mut cases, Pool2d { n, h, w, c }, &Source::new(4).f32(kind, n * h * w * c));
        }
    }
    maxpool2d_nan(half, &mut cases);
    bias_backward(half, &mut cases);
    normalize(half, &mut cases);
    cases
}

fn elementwise(half: Half, cases: &mut Vec<Case>, len: usize) {
    let mut source = Source::new(5);
    let mut x = half.rounded(&source.f32(Reals, len));
    let [least, most] = half.ends();
    let specials = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, least, -least, most];
    for (at, special) in specials.into_iter().enumerate() {
        x[(at * len / 8 + len / 3) % len] = half.round(special);
    }
    let mut other = half.rounded(&source.f32(Reals, len));
    // A zero below zero comes through, where it is let through, and as a summand of its like.
    (0..len).step_by(3).for_each(|at| other[at] = -0.0);
    cases.push(case(
        len,
        vec![half.data(&x)],
        vec![fresh(half.exactly(values(naive::relu_forward(&x))))],
        make!([x] => [y], Call::ReluForward { x, y }),
    ));
    cases.push(case(
        len,
        vec![half.data(&x)],
        vec![Output {
            before: Some(half.data(&other)),
            want: half.exactly(values(naive::relu_backward(&x, &other))),
        }],
        make!([y] => [gradient], Call::ReluBackward { y, gradient }),
    ));
    cases.push(case(
        len,
        vec![half.data(&x)],
        // Rounded to f32 first, as everywhere.
        vec![Output {
            before: Some(half.data(&other)),
            want: half.exactly(x.iter().zip(&other).map(|(x, into)| into + x)),
        }],
        make!([x] => [into], Call::Add { x, into }),
    ));
}

/// Winners are those of the rounded numbers: many more tie than of the numbers as they were.
fn maxpool2d(half: Half, cases: &mut Vec<Case>, geometry: Pool2d, x: &[f32]) {
    let x = half.rounded(x);
    let (want, winner) = naive::maxpool2d_forward(&geometry, &x);
    let want: Vec<f32> = values(want).collect();
    cases.push(case(
        (geometry, "training"),
        vec![half.data(&x)],
        vec![fresh(half.exactly(want.clone())), Output::fresh_u8(winner)],
        make!([x] => [y, winner], Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
    ));
    cases.push(case(
        (geometry, "inference"),
        vec![half.data(&x)],
        vec![fresh(half.exactly(want))],
        make!([x] => [y], Call::Maxpool2dForward { geometry, x, y, winner: None }),
    ));
    let mut source = Source::new(6);
    let dy = half.rounded(&source.f32(Reals, geometry.y().len()));
    let mask = half.rounded(&source.f32(Integers, geometry.y().len()));
    let winner: Vec<u8> =
        source.f32(Reals, geometry.winners()).iter().map(|x| (128.0 + 127.0 * x) as u8).collect();
    cases.push(case(
        geometry,
        vec![half.data(&dy), winner.clone().into()],
        vec![fresh(half.exactly(values(naive::maxpool2d_backward(&geometry, &dy, &winner))))],
        make!([dy, winner] => [dx], Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx }),
    ));
    let open: Vec<f32> = dy.iter().zip(&mask).map(|(&dy, &y)| if y > 0.0 { dy } else { 0.0 }).collect();
    cases.push(case(
        (geometry, "mask"),
        vec![half.data(&dy), winner.clone().into(), half.data(&mask)],
        vec![fresh(half.exactly(values(naive::maxpool2d_backward(&geometry, &open, &winner))))],
        make!([dy, winner, mask] => [dx],
            Call::Maxpool2dBackward { geometry, dy, winner, mask: Some(mask), dx }),
    ));
}

/// Every set of corners that are NaN, others that tie, and infinities, in every lane of both paths.
fn maxpool2d_nan(half: Half, cases: &mut Vec<Case>) {
    for c in [16, 17] {
        let geometry = Pool2d { n: 1, h: 2, w: 2 * 16, c };
        let mut x = vec![1.0; geometry.x().len()];
        for set in 0..16 {
            for (which, lane) in (0..4).flat_map(|which| (0..c).map(move |lane| (which, lane))) {
                let at = ((which / 2) * geometry.w + 2 * set + which % 2) * c + lane;
                if set >> which & 1 == 1 {
                    x[at] = f32::NAN;
                } else if (which + lane) % 3 == 0 {
                    x[at] = f32::NEG_INFINITY;
                }
            }
        }
        maxpool2d(half, cases, geometry, &x);
    }
}

/// Sums are f32: of integers exact, of reals within the bound of sums.
fn bias_backward(half: Half, cases: &mut Vec<Case>) {
    let sizes = [
        (1, 1),
        (1, 65),
        (1, 64),
        (31, 8),
        (300, 3),
        (1000, 64),
        (81, 65),
        (20, 256),
        (20_000, 17),
        (9000, 72),
    ];
    for (rows, channels) in sizes {
        for kind in [Integers, Reals] {
            let dy = half.rounded(&Source::new(1).f32(kind, rows * channels));
            let mut want = naive::bias_backward(channels, &dy);
            if kind == Integers {
                want.iter_mut().for_each(|near| near.within = 0.0);
            }
            cases.push(case(
                (kind, rows, channels),
                vec![half.data(&dy)],
                vec![Output::fresh(want)],
                make!([dy] => [dbias], Call::BiasBackward { rows, channels, dy, dbias }),
            ));
        }
    }
}

fn rules() -> [Normalize; 2] {
    [
        Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] },
        Normalize { order: [0, 1, 2], scale: [1.0 / 255.0; 3], offset: [0.0; 3] },
    ]
}

fn pixels(len: usize) -> Vec<u8> {
    Source::new(9).f32(Reals, len).iter().map(|x| (128.0 + 127.9 * x) as u8).collect()
}

fn normalize(half: Half, cases: &mut Vec<Case>) {
    for (rows, rule) in [1, 2, 21, 1000].into_iter().flat_map(|rows| rules().map(|rule| (rows, rule))) {
        let pixels = pixels(rows * 3);
        let one = |at: usize| {
            let c = at % 3;
            let byte = f32::from(pixels[at - c + usize::from(rule.order[c])]);
            byte * rule.scale[c] + rule.offset[c]
        };
        let want = half.exactly((0..rows * 3).map(one));
        cases.push(case(
            (rows, rule),
            vec![pixels.into()],
            vec![fresh(want)],
            make!([pixels] => [y], Call::Normalize { rows, rule, pixels, y }),
        ));
    }
}

#[test]
fn every_call_on_16_bits_agrees_with_naive_loops() {
    let mut failures = Vec::new();
    for half in HALVES {
        let cases = all(half);
        for device in devices::kernels().into_iter().chain(devices::hopper()) {
            for case in &cases {
                if let Some(miss) = case.check(&*device) {
                    let (device, case) = (devices::name(&*device), case.name(&*device));
                    failures.push(format!("{device}: {half:?} {case}: {miss}"));
                }
            }
        }
    }
    fail_together(&failures);
}

/// A call is of one format throughout or not at all.
#[test]
fn buffers_of_two_formats_are_refused_by_name() {
    for (device, half) in devices::kernels().iter().flat_map(|d| HALVES.map(|half| (d, half))) {
        let device = &**device;
        let mut seen = 0;
        for case in all(half) {
            let (mut inputs, mut outputs) = case.buffers(device);
            let name = (case.make)(&inputs, &mut outputs).name();
            let halves = inputs.iter().chain(&outputs).filter(|b| b.dtype() == half.0).count();
            // One buffer alone says what the call is.
            for which in 0..if halves > 1 { inputs.len() + outputs.len() } else { 0 } {
                let (buffer, at) = match which.checked_sub(inputs.len()) {
                    None => (&mut inputs[which], which),
                    Some(at) => (&mut outputs[at], at),
                };
                if buffer.dtype() != half.0 {
                    continue;
                }
                let other = device.alloc(Dtype::F32, buffer.len()).unwrap();
                let right = std::mem::replace(buffer, other);
                let error = device.run((case.make)(&inputs, &mut outputs)).unwrap_err();
                assert!(
                    error.kind() == Kind::Device && error.message().starts_with(&format!("{name}: `")),
                    "{error}"
                );
                *(if which < inputs.len() { &mut inputs[at] } else { &mut outputs[at] }) = right;
                seen += 1;
            }
        }
        assert!(seen > 200, "{seen}");
    }
}

/// Every kind of change and border, into all formats.
#[test]
fn augment_gives_its_f32_rounded_once_more() {
    let (h, w, n) = (13, 19, 5);
    let size = Size { h, w };
    let bright = Transform { flags: Transform::BRIGHTENS, brightness: 0.7, ..Transform::IDENTITY };
    for device in devices::kernels() {
        let device = &*device;
        let pixels = device.upload(&pixels(n * h * w * 3)).unwrap();
        let indices = device.upload(&[4u32, 0, 2, 2, 1]).unwrap();
        for border in [Border::Nearest, Border::Reflect, Border::Wrap, Border::Constant(3.5)] {
            let augment = Augment { channel_shift: 30.0, ..Augment::book() };
            let mut transforms: Vec<Transform> =
                (0..3).map(|draw| augment.draw(7, draw, 0, size).transform(size)).collect();
            transforms.extend([Transform::IDENTITY, bright]);
            let transforms = device.upload::<u32>(bytemuck::cast_slice(&transforms)).unwrap();
            for rule in rules() {
                let geometry = Gather { count: n, n, h, w, border, ranged: true, rule };
                let run = |dtype| {
                    let mut y = device.alloc(dtype, n * h * w * 3).unwrap();
                    let (pixels, indices, transforms) = (&pixels, &indices, &transforms);
                    device.run(Call::Augment { geometry, pixels, indices, transforms, y: &mut y }).unwrap();
                    y
                };
                let f32s = device.download::<f32>(&run(Dtype::F32)).unwrap();
                for half in HALVES {
                    let got = half.data(&device.download_floats(&run(half.0)).unwrap());
                    assert_eq!(got.bits(), half.data(&f32s).bits(), "{half:?} {border:?} {rule:?}");
                }
            }
        }
    }
}

/// Weights and states as they are before a step.
struct Before {
    gradients: Vec<Vec<f32>>,
    /// Velocity, momentum, mean, weight of each.
    tensors: Vec<[Vec<f32>; 4]>,
}

impl Before {
    /// Lengths around sixteen bytes and a block, and more tensors than a launch takes.
    fn new() -> Self {
        let mut source = Source::new(8);
        let lens: Vec<usize> = (0..70).map(|k| [1, 5, 1023, 1024, 1025, 2, 4, 3][k % 8] + k / 8).collect();
        let mut gradients: Vec<Vec<f32>> = lens.iter().map(|&len| source.f32(Reals, len)).collect();
        // A weight that goes to infinity, and one that becomes NaN.
        gradients[2][..2].copy_from_slice(&[f32::INFINITY, f32::NAN]);
        let tensors = lens.iter().map(|&len| {
            let velocity = source.f32(Reals, len).iter().map(|v| v * v).collect();
            [velocity, source.f32(Reals, len), vec![0.0; len], source.f32(Reals, len)]
        });
        Self { tensors: tensors.collect(), gradients }
    }

    /// The weights after a step, and the shadows of all tensors but each third, if there are any.
    fn step(&self, device: &dyn Device, rule: Rule, adjust: Adjust, shadows: Option<Half>) -> Stepped {
        let up = |data: &Vec<f32>| device.upload(data).unwrap();
        let gradients: Vec<Buffer> = self.gradients.iter().map(up).collect();
        let mut tensors: Vec<[Buffer; 4]> =
            self.tensors.iter().map(|states| [0, 1, 2, 3].map(|k| up(&states[k]))).collect();
        let shadow = |(k, gradient): (usize, &Buffer)| {
            shadows.filter(|_| k % 3 != 0).map(|half| device.alloc(half.0, gradient.len()).unwrap())
        };
        let mut shadows: Vec<Option<Buffer>> = gradients.iter().enumerate().map(shadow).collect();
        let keeps = rule.keeps();
        let slots = gradients.iter().zip(&mut tensors).zip(&mut shadows);
        let slots = slots.map(|((gradient, [velocity, momentum, mean, weight]), shadow)| ParameterUpdate {
            gradient,
            weight,
            velocity: keeps.velocity.then_some(velocity),
            momentum: keeps.momentum.then_some(momentum),
            mean: keeps.mean.then_some(mean),
            shadow: shadow.as_mut(),
        });
        device.run(optimizer::call(rule, 3, adjust, slots.collect())).unwrap();
        Stepped {
            weights: tensors.iter().map(|[.., weight]| device.download(weight).unwrap()).collect(),
            shadows: shadows.iter().map(|s| Some(device.download_floats(s.as_ref()?).unwrap())).collect(),
        }
    }
}

struct Stepped {
    weights: Vec<Vec<f32>>,
    shadows: Vec<Option<Vec<f32>>>,
}

#[test]
fn a_shadow_is_the_new_weight_to_the_nearest_and_changes_nothing_else() {
    let before = Before::new();
    let bits = |weights: &[Vec<f32>]| -> Vec<u32> { weights.iter().flatten().map(|w| w.to_bits()).collect() };
    for device in devices::kernels() {
        let device = &*device;
        for rule in optimizer::rules() {
            for adjust in [Adjust::NONE, Adjust { scale: 0.25, l2: 0.01, decay: 0.1 }] {
                let alone = before.step(device, rule, adjust, None);
                for half in HALVES {
                    let shaded = before.step(device, rule, adjust, Some(half));
                    assert_eq!(bits(&alone.weights), bits(&shaded.weights), "{rule:?}");
                    let mut count = 0;
                    for (weight, shadow) in shaded.weights.iter().zip(&shaded.shadows) {
                        let Some(shadow) = shadow else { continue };
                        let want = half.data(weight).bits();
                        assert_eq!(half.data(shadow).bits(), want, "{half:?} {rule:?}");
                        count += 1;
                    }
                    assert_eq!(count, 46, "of 70 tensors all but each third");
                }
            }
        }
    }
}

/// A shadow of another length or format, and on the cpu any.
#[test]
fn a_shadow_that_does_not_fit_is_refused() {
    let step = |device: &dyn Device, shadow: &mut Buffer| {
        let (gradient, mut weight) = (device.zeros(5).unwrap(), device.zeros(5).unwrap());
        let slot = ParameterUpdate {
            gradient: &gradient,
            weight: &mut weight,
            velocity: None,
            momentum: None,
            mean: None,
            shadow: Some(shadow),
        };
        device.run(Call::SgdStep {
            rule: Default::default(),
            adjust: Adjust::NONE,
            scaling: None,
            tensors: vec![slot],
        })
    };
    for device in devices::kernels() {
        for (dtype, len) in [(Dtype::F32, 5), (Dtype::U32, 5), (Dtype::F16, 6), (Dtype::Bf16, 4)] {
            let error = step(&*device, &mut device.alloc(dtype, len).unwrap()).unwrap_err();
            assert_eq!(error.message(), "sgd_step: `shadow[0]` does not fit");
        }
        for half in HALVES {
            step(&*device, &mut device.alloc(half.0, 5).unwrap()).unwrap();
        }
    }
    let cpu = &devices::cpus(&[1])[0];
    let error = step(&**cpu, &mut cpu.alloc(Dtype::Bf16, 5).unwrap()).unwrap_err();
    assert_eq!(error.message(), "sgd_step: `shadow[0]` is not written by the cpu");
}

/// f32, a cast, a pool in 16 bits, a cast, a dense layer and a loss in f32: what arrives at the beginning is the gradient
/// of the same on the cpu, rounded where it went through 16 bits.
#[test]
fn gradients_flow_through_casts() {
    HALVES.into_iter().for_each(gradients_flow_through);
}

fn gradients_flow_through(half: Half) {
    let (shape, classes) = (Shape::new(&[2, 4, 4, 8]), 3);
    let mut source = Source::new(3);
    // Numbers that have 16 bits, so that both see the same winners.
    let x = half.rounded(&source.f32(Reals, shape.len()));
    let weight = source.f32(Reals, 32 * classes);
    let gradient = |device: &dyn Device, dtype: Dtype| -> Vec<f32> {
        let leaf = Parameter::new(device, "x".into(), shape, &x).unwrap();
        let frozen = |shape: Shape, data: &[f32]| {
            let mut frozen = Parameter::new(device, "frozen".into(), shape, data).unwrap();
            frozen.learns = false;
            frozen
        };
        let (weight, bias) =
            (frozen(Shape::new(&[32, classes]), &weight), frozen(Shape::new(&[classes]), &[0.5, 0.0, -0.5]));
        let tape = Tape::new(device, Mode::Training);
        let x = op::cast(&tape, &tape.parameter(0, &leaf), dtype).unwrap();
        let y = op::maxpool2d(&tape, &x).unwrap();
        assert_eq!(y.dtype(), dtype);
        let y = op::cast(&tape, &y, Dtype::F32).unwrap();
        let y = tape.reshape(&y, Shape::new(&[2, 32])).unwrap();
        let [weight, bias] = [&weight, &bias].map(|of| tape.parameter(1, of));
        let logits = op::dense(&tape, &y, &weight, &bias, Activation::Linear).unwrap();
        let labels = device.upload(&[0u32, 2]).unwrap();
        let loss = op::softmax_cross_entropy(&tape, LossRule::mean(2), &logits, &labels, None).unwrap();
        let mut found = Vec::new();
        tape.backward(&loss.outcome, |_, gradient| {
            let gradient = gradient.store(device)?;
            assert_eq!(gradient.dtype(), Dtype::F32, "as the leaf");
            found = device.download(&gradient)?;
            Ok(())
        })
        .unwrap();
        found
    };
    let cpu = &devices::cpus(&[1])[0];
    let want = gradient(&**cpu, Dtype::F32);
    assert_eq!(want.iter().filter(|&&g| g != 0.0).count(), 64, "one of each window");
    for device in devices::kernels() {
        let got = gradient(&*device, half.0);
        for (at, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_eq!(*got, half.round(*got), "element {at} went through {half:?}");
            // Half a unit in the last place, and the few roundings of f32 before it.
            let within = want.abs() * (half.error() as f32 + 1e-6) + half.least() as f32 + 1e-9;
            assert!((got - want).abs() <= within, "{half:?} {at}: {got} {want}");
        }
    }
}

/// A parameter that comes in as a weight of f32 and as an activation of 16 bits has one gradient, in f32: what the same is
/// on the cpu, of which one part went through 16 bits.
#[test]
fn gradients_of_two_formats_are_added_in_f32() {
    let half = HALVES[0];
    let mut source = Source::new(5);
    let [data, mixed] = [0, 1].map(|_| half.rounded(&source.f32(Reals, 64)));
    let gradient = |device: &dyn Device, dtype: Dtype| -> Vec<f32> {
        let shape = Shape::new(&[8, 8]);
        let new = |value: &[f32]| Parameter::new(device, "p".into(), shape, value).unwrap();
        let (parameter, mut mixing) = (new(&data).shadowed(device).unwrap(), new(&mixed));
        mixing.learns = false;
        let tape = Tape::new(device, Mode::Training);
        let zeros = || Tensor::constant(Shape::new(&[8]), device.zeros(8).unwrap()).unwrap();
        let activation = tape.parameter_in(0, &parameter, dtype);
        assert_eq!(activation.dtype(), dtype);
        let x = op::cast(&tape, &activation, Dtype::F32).unwrap();
        let y = op::dense(&tape, &x, &tape.parameter(1, &mixing), &zeros(), Activation::Linear).unwrap();
        let weight = tape.parameter_in(0, &parameter, Dtype::F32);
        let logits = op::dense(&tape, &y, &weight, &zeros(), Activation::Linear).unwrap();
        let labels = device.upload(&[0u32, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        let loss = op::softmax_cross_entropy(&tape, LossRule::mean(8), &logits, &labels, None).unwrap();
        let mut found = Vec::new();
        tape.backward(&loss.outcome, |_, gradient| {
            assert!(found.is_empty(), "one gradient");
            found = device.download(&gradient.store(device)?)?;
            Ok(())
        })
        .unwrap();
        found
    };
    let cpu = &devices::cpus(&[1])[0];
    let want = gradient(&**cpu, Dtype::F32);
    let largest = want.iter().fold(0.0f32, |most, g| most.max(g.abs()));
    for device in tensor_cores::devices(Precision::Bf16, Kernels::Portable) {
        let got = gradient(&*device, half.0);
        for (at, (got, want)) in got.iter().zip(&want).enumerate() {
            // The activation's part, of the gradient's size at most, is rounded to 16 bits.
            assert!((got - want).abs() <= 2.0 * half.error() as f32 * largest, "{at}: {got} {want}");
        }
    }
}

/// What the device's precision says becomes of images and of a kernel.
#[test]
fn images_and_shadows_are_of_the_devices_precision() {
    use vgg_ft::device::gpu::Gpu;
    use vgg_ft::device::gpu::emulator::{Emulator, Options};
    for precision in Precision::ALL {
        let gpu = Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap().with_precision(precision);
        let device: &dyn Device = &gpu;
        let pixels = device.upload(&pixels(12)).unwrap();
        let x = op::normalize(device, &pixels, Shape::new(&[1, 2, 2, 3]), rules()[0]).unwrap();
        assert_eq!(x.dtype(), precision.activations());
        let value = Source::new(2).f32(Reals, 2 * 9 * 3);
        let shape = Shape::new(&[2, 3, 3, 3]);
        let mut kernel =
            Parameter::new(device, "kernel".into(), shape, &value).unwrap().shadowed(device).unwrap();
        let shadow = |kernel: &Parameter| -> Option<Vec<f32>> {
            kernel.shadow().map(|shadow| device.download_floats(shadow).unwrap())
        };
        let half = Half::of(precision);
        assert_eq!(shadow(&kernel), half.map(|half| half.rounded(&value)));
        // It follows, and not while a tape holds it.
        let other = Source::new(3).f32(Reals, value.len());
        kernel.set(device, &other).unwrap();
        assert_eq!(shadow(&kernel), half.map(|half| half.rounded(&other)));
        assert_eq!(device.download::<f32>(kernel.value()).unwrap(), other);
        let tape = Tape::new(device, Mode::Inference);
        let held = tape.parameter(0, &kernel);
        assert_eq!(held.dtype(), precision.activations());
        assert!(kernel.update().is_err());
        drop(held);
        assert_eq!(kernel.update().unwrap().1.is_some(), half.is_some());
    }
}
