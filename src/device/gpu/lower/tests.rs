//! Every launch covers its output, whole and without a block to spare, at sizes that divide nothing.

mod optimizer;

use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::{Adjust, LossRule, MaskSource, Normalize, Rmsprop};
use crate::device::gpu::Gpu;
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::plan::{Card, Plan};
use crate::device::{Buffer, Call, Device, Dtype};
use crate::error::Result;
use crate::random::Stream;
use crate::shape::{Conv2d, Dense, Pool2d};

struct Bench(Gpu<Plan>);

impl Bench {
    fn new() -> Self {
        Self(Gpu::new(Plan::new(Card::named("t4").unwrap())).unwrap())
    }

    fn f32(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::F32, len).unwrap()
    }

    fn bf16(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::Bf16, len).unwrap()
    }

    fn u8(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::U8, len).unwrap()
    }

    fn run(&self, call: Call<'_>) -> Vec<Launch> {
        self.try_run(call).unwrap()
    }

    fn try_run(&self, call: Call<'_>) -> Result<Vec<Launch>> {
        self.0.run(call)?;
        Ok(self.0.driver().take().launches().map(|(launch, _)| launch.clone()).collect())
    }

    fn conv2d(&self, g: Conv2d) -> Vec<Launch> {
        let (x, y) = (&mut self.f32(g.x().len()), &mut self.f32(g.y().len()));
        let (w, bias) = (&mut self.f32(g.weight().len()), &self.f32(g.c_out));
        let mut all = self.run(Call::Conv2dForward { geometry: g, x, weight: w, bias, relu: true, y });
        let plain = self.run(Call::Conv2dBackwardInput { geometry: g, dy: y, weight: w, mask: None, dx: x });
        let mask = &self.f32(g.x().len());
        let mask = Some(mask);
        let masked = self.run(Call::Conv2dBackwardInput { geometry: g, dy: y, weight: w, mask, dx: x });
        assert_eq!(plain.len(), masked.len());
        all.extend(plain);
        masked.iter().for_each(check);
        all.extend(self.run(Call::Conv2dBackwardWeight { geometry: g, x, dy: y, dweight: w, dbias: None }));
        let (rule, v) = (Rmsprop::default(), &mut self.f32(g.weight().len()));
        let (velocity, weight, shadow) = (v, w, None);
        let step =
            Call::Conv2dRmspropStep { geometry: g, rule, x, dy: y, velocity, weight, shadow, dbias: None };
        all.extend(self.run(step));
        all
    }

    fn dense(&self, g: Dense) -> Vec<Launch> {
        let (x, y) = (&mut self.f32(g.x().len()), &mut self.f32(g.y().len()));
        let (w, v) = (&mut self.f32(g.weight().len()), &mut self.f32(g.weight().len()));
        let bias = &self.f32(g.c_out);
        let rule = Rmsprop::default();
        let mut all = self.run(Call::DenseForward { geometry: g, x, weight: w, bias, relu: false, y });
        all.extend(self.run(Call::DenseBackwardInput { geometry: g, dy: y, weight: w, dx: x }));
        all.extend(self.run(Call::DenseBackwardWeight { geometry: g, x, dy: y, dweight: w }));
        let (velocity, weight) = (v, w);
        all.extend(self.run(Call::DenseRmspropStep { geometry: g, rule, x, dy: y, velocity, weight }));
        all
    }
}

/// The fields of a struct argument, all as u32.
fn words(launch: &Launch, name: &str) -> Vec<usize> {
    let arg = launch.args.iter().find(|arg| arg.name() == name);
    let Some(Arg::Value { bytes, .. }) = arg else { panic!("{} takes no {name}", launch.entry.name) };
    bytemuck::pod_collect_to_vec::<u8, u32>(bytes).iter().map(|&word| word as usize).collect()
}

/// `grid` blocks of `each` cover `all`, and one less would not.
fn covers(launch: &Launch, axis: usize, each: usize, all: usize) {
    let grid = launch.grid[axis] as usize;
    assert!(
        grid * each >= all && (grid - 1) * each < all,
        "{} {:?}: {grid} blocks of {each} along {axis} for {all}",
        launch.entry.name,
        words(launch, if launch.args[0].name() == "p" { "p" } else { "rule" })
    );
}

/// What the kernels' heads say of thread and element, once more.
fn check(launch: &Launch) {
    if launch.entry.name.ends_with("_step") && launch.entry.name != "dense_rmsprop_step" {
        return optimizer::check_tensors(launch);
    }
    let p = words(launch, "p");
    let pixels = |p: &[usize]| p[0] * p[1] * p[2];
    assert_eq!(Some(launch.block[0]), launch.entry.max_threads, "{}", launch.entry.name);
    match launch.entry.name {
        "relu_forward" | "relu_backward" | "add" | "sigmoid" | "dropout" => {
            covers(launch, 0, 4 * 256, p[0]);
        }
        "relu_forward_bf16" | "relu_backward_bf16" | "add_bf16" => covers(launch, 0, 8 * 256, p[0]),
        "cast" => covers(launch, 0, 4 * 256, p[0]),
        "transpose" => assert_eq!(
            launch.grid,
            [(p[0] * p[1].div_ceil(32) * p[2].div_ceil(32)) as u32, 1, 1],
            "blocks of 32 x 32 for {p:?}"
        ),
        "normalize" | "normalize_bf16" | "sigmoid_cross_entropy" => covers(launch, 0, 256, p[0]),
        "augment" | "augment_bf16" => covers(launch, 0, 256, p[1] * p[2] * p[3]),
        "augment_range" => covers(launch, 0, 1, p[1]),
        "softmax" | "softmax_cross_entropy" => covers(launch, 0, 4, p[0]),
        "maxpool2d_forward" => covers(launch, 0, 4 * 256, p[0] * (p[1] / 2) * (p[2] / 2) * p[3]),
        "maxpool2d_backward" => {
            covers(launch, 0, 4 * 256, p[0] * p[1].div_ceil(2) * p[2].div_ceil(2) * p[3]);
        }
        "maxpool2d_forward_bf16" => covers(launch, 0, 8 * 256, p[0] * (p[1] / 2) * (p[2] / 2) * p[3]),
        "maxpool2d_backward_bf16" => {
            covers(launch, 0, 8 * 256, p[0] * p[1].div_ceil(2) * p[2].div_ceil(2) * p[3]);
        }
        "conv2d_forward" => {
            covers(launch, 0, 128, pixels(&p));
            covers(launch, 1, 64, p[4]);
        }
        "conv2d_maxpool2d_forward" => {
            covers(launch, 0, 128, 4 * p[0] * (p[1] / 2) * (p[2] / 2));
            covers(launch, 1, 64, p[4]);
        }
        "conv2d_backward_input" => {
            covers(launch, 0, 128, pixels(&p));
            covers(launch, 1, 64, p[3]);
        }
        "conv2d_backward_weight" => {
            covers(launch, 0, 128, 9 * p[3]);
            covers(launch, 1, 64, p[4]);
            parts(launch, 2, 8, pixels(&p));
        }
        "dense_forward" => {
            covers(launch, 0, 128, p[2]);
            covers(launch, 1, 32, p[0]);
            parts(launch, 2, 16, p[1]);
        }
        "dense_backward_input" => {
            covers(launch, 0, 128, p[1]);
            covers(launch, 1, 32, p[0]);
        }
        "dense_backward_weight" | "dense_rmsprop_step" => {
            covers(launch, 0, 64, p[2]);
            covers(launch, 1, 64, p[1]);
        }
        "bias_backward" => {
            covers(launch, 0, 32, p[1]);
            parts(launch, 1, 8, p[0]);
        }
        "bias_backward_bf16" => {
            covers(launch, 0, 64, p[1]);
            parts(launch, 1, 32, p[0]);
        }
        "bias_backward_bf16_reduce" => covers(launch, 0, 32, p[1]),
        "bias_backward_reduce" | "dense_forward_reduce" => covers(launch, 0, 256, p[1]),
        "conv2d_backward_weight_reduce" | "conv2d_rmsprop_step_reduce" => covers(launch, 0, 4 * 256, p[1]),
        other => panic!("no word about {other}"),
    }
}

/// The parts of a sum cover its terms, and each begins where a step may begin.
fn parts(launch: &Launch, axis: usize, step: usize, terms: usize) {
    let length = words(launch, "split")[0];
    assert!(length.is_multiple_of(step), "{}: parts of {length}", launch.entry.name);
    covers(launch, axis, length, terms.max(1));
}

/// Pairs of launches agree about the parts between them.
fn check_all(launches: &[Launch], names: &[&str]) {
    assert_eq!(launches.iter().map(|launch| launch.entry.name).collect::<Vec<_>>(), names);
    launches.iter().for_each(check);
    for pair in launches.windows(2).filter(|pair| pair[1].entry.name.ends_with("_reduce")) {
        let of = |launch: &Launch| launch.args.iter().find(|arg| arg.name() == "parts").cloned();
        assert_eq!(of(&pair[0]), of(&pair[1]));
        let [count, len] = words(&pair[1], "p")[..] else { panic!("parts have a count and a length") };
        assert!(pair[0].grid.contains(&(count as u32)));
        let Some(Arg::Pointer { len: all, .. }) = of(&pair[0]) else { panic!("parts are a buffer") };
        assert_eq!(all, count * len);
    }
}

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
    for (n, c_in, c_out) in
        [(1, 1, 1), (20, 8192, 256), (21, 1030, 257), (64, 40, 31), (1000, 25_088, 4096), (33, 16, 129)]
    {
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
fn what_is_bf16_covers_its_outputs() {
    let bench = Bench::new();
    for (n, h, w, c) in [(1, 2, 2, 1), (1, 5, 7, 3), (2, 9, 9, 64), (128, 224, 224, 64)] {
        let geometry = Pool2d { n, h, w, c };
        let (x, y) = (&mut bench.bf16(geometry.x().len()), &mut bench.bf16(geometry.y().len()));
        let winner = &mut bench.u8(geometry.winners());
        let launches = bench.run(Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) });
        check_all(&launches, &["maxpool2d_forward_bf16"]);
        let launches = bench.run(Call::Maxpool2dBackward { geometry, dy: y, winner, mask: None, dx: x });
        check_all(&launches, &["maxpool2d_backward_bf16"]);
    }
    for (rows, channels, cut) in [(1, 1, false), (128, 256, false), (513, 65, true), (450_000, 64, true)] {
        let (dy, dbias) = (&bench.bf16(rows * channels), &mut bench.f32(channels));
        let both = ["bias_backward_bf16", "bias_backward_bf16_reduce"];
        let launches = bench.run(Call::BiasBackward { rows, channels, dy, dbias });
        check_all(&launches, if cut { &both } else { &both[..1] });
    }
    let rule = Normalize { order: [0, 1, 2], scale: [1.0; 3], offset: [0.0; 3] };
    for len in [1, 7, 8, 9, 2047, 2048, 2049, i32::MAX as usize / 3] {
        let (x, y) = (&bench.bf16(len), &mut bench.bf16(len));
        check_all(&bench.run(Call::ReluForward { x, y }), &["relu_forward_bf16"]);
        check_all(&bench.run(Call::ReluBackward { y: x, gradient: y }), &["relu_backward_bf16"]);
        check_all(&bench.run(Call::Add { x, into: y }), &["add_bf16"]);
        let (pixels, y) = (&bench.u8(len * 3), &mut bench.bf16(len * 3));
        check_all(&bench.run(Call::Normalize { rows: len, rule, pixels, y }), &["normalize_bf16"]);
    }
    let geometry = Gather { count: 3, n: 2, h: 257, w: 1, border: Border::Nearest, ranged: false, rule };
    let (pixels, y) = (&bench.u8(3 * 257 * 3), &mut bench.bf16(2 * 257 * 3));
    let [indices, transforms] = &[2, 2 * Transform::WORDS].map(|len| bench.0.alloc(Dtype::U32, len).unwrap());
    check_all(&bench.run(Call::Augment { geometry, pixels, indices, transforms, y }), &["augment_bf16"]);
}

#[test]
fn pictures_cover_their_outputs() {
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
        check_all(&bench.run(Call::RmspropStep { rule, adjust, tensors }), &["rmsprop_step"]);
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
    assert_eq!(names, ["dense_backward_weight"]);
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
