//! Every launch covers its output, whole and without a block to spare, at sizes that divide nothing.

mod bench;
mod check;
mod half;
mod hopper;
mod optimizer;
mod tensor_cores;

use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::{Adjust, LossRule, MaskSource, Normalize, Rmsprop};
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::{Call, Device, Dtype};
use crate::random::Stream;
use crate::shape::{Conv2d, Dense, GlobalPool2d, Pool2d};
use bench::{Bench, words};
use check::check_all;

const CONV2D: [&str; 3] = ["conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"];

#[test]
fn convolutions_cover_their_outputs() {
    let bench = Bench::new();
    let step = &["conv2d_backward_weight", "conv2d_rmsprop_step_reduce"][..];
    let whole = [&CONV2D[..], step].concat();
    let cut = [&CONV2D[..], &["conv2d_backward_weight_reduce"], step].concat();
    for (n, h, w, c_in, c_out, names) in [
        (1, 1, 1, 5, 3, &whole),
        (1, 5, 7, 3, 4, &whole),
        (1, 8, 16, 64, 128, &whole),
        (2, 17, 16, 65, 65, &cut),
        (20, 150, 150, 64, 64, &cut),
        (20, 9, 9, 512, 512, &whole),
        (128, 224, 224, 3, 64, &cut),
    ] {
        check_all(&bench.conv2d(Conv2d { n, h, w, c_in, c_out }), names);
    }
}

/// Filters that would share bytes of winners go another way, in inference they need not.
#[test]
fn pooled_convolutions_cover_their_windows() {
    let bench = Bench::new();
    for (n, h, w, c_in, c_out) in
        [(1, 2, 2, 5, 4), (1, 5, 7, 3, 6), (3, 17, 16, 65, 68), (20, 150, 150, 64, 64)]
    {
        let geometry = Conv2d { n, h, w, c_in, c_out };
        let (x, weight, bias) =
            (&bench.f32(geometry.x().len()), &bench.f32(geometry.weight().len()), &bench.f32(c_out));
        let (y, winner) =
            (&mut bench.f32(geometry.pool().y().len()), &mut bench.u8(geometry.pool().winners()));
        let fused = &["conv2d_maxpool2d_forward"][..];
        let halves = &["conv2d_forward", "maxpool2d_forward"][..];
        let call = Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: None };
        check_all(&bench.run(call), fused);
        let call = Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner: Some(winner) };
        check_all(&bench.run(call), if c_out % 4 == 0 { fused } else { halves });
    }
}

#[test]
fn dense_layers_cover_their_outputs() {
    let bench = Bench::new();
    for (n, c_in, c_out) in [
        (1, 1, 1),
        (20, 8192, 256),
        (21, 1030, 257),
        (64, 40, 31),
        (1000, 25_088, 4096),
        (33, 16, 129),
        // VGG16 on images of 2912x2912: more tiles of inputs than a grid has blocks along y.
        (1, 91 * 91 * 512, 256),
    ] {
        let launches = bench.dense(Dense { n, c_in, c_out });
        let names = [
            "dense_forward",
            "dense_forward_reduce",
            "dense_backward_input",
            "dense_backward_weight",
            "dense_rmsprop_step",
        ];
        check_all(&launches, &names);
    }
}

#[test]
fn pools_and_matrices_cover_their_outputs() {
    let bench = Bench::new();
    for (n, h, w, c) in [(1, 2, 2, 1), (1, 5, 7, 3), (2, 9, 9, 65), (128, 224, 224, 64)] {
        let geometry = Pool2d { n, h, w, c };
        let (x, y) = (&mut bench.f32(geometry.x().len()), &mut bench.f32(geometry.y().len()));
        let winner = &mut bench.u8(geometry.winners());
        check_all(
            &bench.run(Call::Maxpool2dForward { geometry, x, y, winner: None }),
            &["maxpool2d_forward"],
        );
        check_all(
            &bench.run(Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
            &["maxpool2d_forward"],
        );
        check_all(
            &bench.run(Call::Maxpool2dBackward { geometry, dy: y, winner, mask: None, dx: x }),
            &["maxpool2d_backward"],
        );
        let mask = Some(&bench.f32(geometry.y().len()));
        check_all(
            &bench.run(Call::Maxpool2dBackward { geometry, dy: y, winner, mask, dx: x }),
            &["maxpool2d_backward"],
        );
        let geometry = GlobalPool2d { n, h, w, c };
        let y = &mut bench.f32(geometry.y().len());
        check_all(&bench.run(Call::GlobalAvgpool2dForward { geometry, x, y }), &["global_avgpool2d_forward"]);
        check_all(
            &bench.run(Call::GlobalAvgpool2dBackward { geometry, dy: y, dx: x }),
            &["global_avgpool2d_backward"],
        );
    }
    for (rows, columns, parts) in [(1, 1, false), (20, 256, false), (513, 65, true), (20_000, 17, true)] {
        let (x, y, sums) =
            (&bench.f32(rows * columns), &mut bench.f32(rows * columns), &mut bench.f32(columns));
        check_all(&bench.run(Call::Softmax { classes: columns, x, y }), &["softmax"]);
        let names: &[&str] =
            if parts { &["bias_backward", "bias_backward_reduce"] } else { &["bias_backward"] };
        let launches = bench.run(Call::BiasBackward { rows, channels: columns, dy: x, dbias: sums });
        check_all(&launches, names);
        let labels = &bench.0.alloc(Dtype::U32, rows).unwrap();
        let (outcome, targets) = (&mut bench.f32(rows * 2), &bench.f32(rows));
        let (classes, logits, dlogits, rule) = (columns, x, Some(y), LossRule::mean(rows));
        check_all(
            &bench.run(Call::SoftmaxCrossEntropy {
                rule,
                classes,
                logits,
                labels,
                weights: Some(targets),
                outcome,
                dlogits,
            }),
            &["softmax_cross_entropy"],
        );
        let logits = targets;
        check_all(
            &bench.run(Call::SigmoidCrossEntropy {
                rule,
                logits,
                targets,
                weights: None,
                outcome,
                dlogits: None,
            }),
            &["sigmoid_cross_entropy"],
        );
    }
}

#[test]
fn images_cover_their_outputs() {
    let bench = Bench::new();
    let rule = Normalize { order: [2, 1, 7], scale: [1.0; 3], offset: [0.0; 3] };
    // One pixel, a block, one past it, VGG's; a set larger than an `int` counts.
    for (count, n, h, w) in [(1, 1, 1, 1), (9, 1, 16, 16), (3, 4, 257, 1), (60_000, 20, 150, 150)] {
        for ranged in [false, true] {
            let geometry = Gather { count, n, h, w, border: Border::Constant(7.0), ranged, rule };
            let (pixels, y) = (&bench.u8(count * h * w * 3), &mut bench.f32(n * h * w * 3));
            let indices = &bench.0.alloc(Dtype::U32, n).unwrap();
            let transforms = &bench.0.alloc(Dtype::U32, n * Transform::WORDS).unwrap();
            let launches = bench.run(Call::Augment { geometry, pixels, indices, transforms, y });
            check_all(&launches, if ranged { &["augment_range", "augment"] } else { &["augment"] });
            let p = [count, n, h, w, 3, 7.0f32.to_bits() as usize, 2, 1, 2];
            assert_eq!(words(&launches[0], "p")[..9], p);
            let ranges = |launch: &Launch| launch.args.iter().find(|arg| arg.name() == "ranges").cloned();
            let Some(Arg::Pointer { len, .. }) = ranges(&launches[0]) else { panic!("ranges are a buffer") };
            assert_eq!(len, if ranged { 2 * n } else { 0 });
            assert_eq!(ranges(&launches[0]), ranges(&launches[launches.len() - 1]));
        }
    }
}

#[test]
fn lines_cover_their_outputs() {
    let bench = Bench::new();
    let normal = Normalize { order: [2, 1, 7], scale: [1.0; 3], offset: [0.0; 3] };
    for len in [1, 3, 4, 5, 1023, 1024, 1025, 100_001, i32::MAX as usize / 3] {
        let (x, y, z) = (&bench.f32(len), &mut bench.f32(len), &mut bench.f32(len));
        check_all(&bench.run(Call::ReluForward { x, y }), &["relu_forward"]);
        check_all(&bench.run(Call::ReluBackward { y: x, gradient: y }), &["relu_backward"]);
        check_all(&bench.run(Call::Add { x, into: y }), &["add"]);
        check_all(&bench.run(Call::Sigmoid { x, y }), &["sigmoid"]);
        let tensors = vec![optimizer::slot(x, y, Some(z), None)];
        let (rule, adjust) = (Rmsprop::default(), Adjust::NONE);
        check_all(&bench.run(Call::RmspropStep { rule, adjust, scaling: None, tensors }), &["rmsprop_step"]);
        let source = MaskSource { seed: 5 << 32 | 7, stream: Stream::Dropout, counter: 9 << 32 | 11 };
        let launches = bench.run(Call::Dropout { rate: 0.75, source, x, y });
        check_all(&launches, &["dropout"]);
        let bits = |x: f32| x.to_bits() as usize;
        assert_eq!(words(&launches[0], "p"), [len, bits(0.75), bits(4.0), 7, 5, 2, 11, 9]);
        let (pixels, y) = (&bench.u8(len * 3), &mut bench.f32(len * 3));
        let launches = bench.run(Call::Normalize { rows: len, rule: normal, pixels, y });
        check_all(&launches, &["normalize"]);
        assert_eq!(words(&launches[0], "p")[..4], [len, 2, 1, 2]);
    }
}

#[test]
fn casts_and_transposes_cover_their_outputs() {
    let bench = Bench::new();
    let formats = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    for (len, from, to) in [(1, 0, 1), (1025, 1, 0), (100_001, 2, 1), (4, 0, 2), (4096, 2, 2)] {
        let [x, y] = [from, to].map(|k: usize| bench.0.alloc(formats[k], len).unwrap());
        let launches = bench.run(Call::Cast { x: &x, y: &mut { y } });
        check_all(&launches, &["cast"]);
        assert_eq!(words(&launches[0], "p"), [len, from, to]);
    }
    for (batch, rows, columns) in [(1, 1, 1), (1, 31, 33), (20, 22_500, 3), (512, 512, 9), (1, 4608, 512)] {
        let (x, y) = (&bench.f32(batch * rows * columns), &mut bench.f32(batch * rows * columns));
        let launches = bench.run(Call::Transpose { batch, rows, columns, x, y });
        check_all(&launches, &["transpose"]);
        assert_eq!(words(&launches[0], "p"), [batch, rows, columns]);
    }
    let (x, y) = (&bench.f32(0), &mut bench.f32(0));
    assert!(bench.run(Call::Cast { x, y }).is_empty());
    assert!(bench.run(Call::Transpose { batch: 3, rows: 0, columns: 5, x, y }).is_empty());
}

#[test]
fn nothing_to_do_is_no_launch_but_a_sum_of_nothing_is_zero() {
    let bench = Bench::new();
    let none = |g: Conv2d| bench.conv2d(g).iter().map(|l| l.entry.name).collect::<Vec<_>>();
    // A step without a gradient still lets the mean square fade.
    let zero = ["conv2d_backward_weight", "conv2d_backward_weight", "conv2d_rmsprop_step_reduce"];
    assert_eq!(none(Conv2d { n: 0, h: 4, w: 4, c_in: 32, c_out: 32 }), zero);
    assert_eq!(none(Conv2d { n: 1, h: 0, w: 4, c_in: 32, c_out: 32 }), zero);
    assert_eq!(none(Conv2d { n: 1, h: 2, w: 2, c_in: 0, c_out: 2 }), ["conv2d_forward"]);
    let names: Vec<_> = bench.dense(Dense { n: 0, c_in: 3, c_out: 2 }).iter().map(|l| l.entry.name).collect();
    assert_eq!(names, ["dense_backward_weight", "dense_rmsprop_step"]);
    let (x, y) = (&bench.f32(0), &mut bench.f32(0));
    assert!(bench.run(Call::ReluForward { x, y }).is_empty());
    assert!(bench.run(Call::BiasBackward { rows: 0, channels: 0, dy: x, dbias: y }).is_empty());
    let sums = &mut bench.f32(3);
    check_all(
        &bench.run(Call::BiasBackward { rows: 0, channels: 3, dy: x, dbias: sums }),
        &["bias_backward"],
    );
}

#[test]
fn what_an_int_cannot_count_is_refused() {
    let bench = Bench::new();
    let len = 1 << 31;
    let (x, y) = (&bench.f32(len), &mut bench.f32(len));
    let error = bench.try_run(Call::ReluForward { x, y }).unwrap_err();
    assert!(error.message().ends_with("is too large for one call"), "{error}");
    assert!(error.to_string().contains("use a smaller batch"), "{error}");
}
