//! The same of products on tensor cores, in every precision: of VGG16's layers at real sizes, of ragged ones, by every
//! kernel that there is.

use super::bench::{Bench, len, words};
use super::check::{self, covers, parts};
use crate::device::call::Rmsprop;
use crate::device::gpu::driver::Address;
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::module::{MODULES, SOURCES};
use crate::device::{Buffer, Call, Dtype, Kernels, Precision};
use crate::shape::{Conv2d, Dense};
use std::collections::{BTreeMap, BTreeSet};

/// `conv2d_forward_parts`, `tf32`, `128x64x32` of `conv2d_forward_parts_tf32_128x64x32`.
fn split_name(name: &str) -> Option<(&str, &str, &str)> {
    ["bf16", "f16", "tf32x3", "tf32"].into_iter().find_map(|format| {
        let (call, kind) = name.split_once(&format!("_{format}_"))?;
        Some((call, format, kind))
    })
}

/// The numbers of `128x64x32`.
pub fn numbers<const N: usize>(kind: &str) -> [usize; N] {
    let numbers: Vec<usize> = kind.split('x').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{kind} names {N} sides of a tile"))
}

/// What the file of an entry says of its dynamic shared memory; none where it says nothing.
pub fn declared(name: &str) -> u32 {
    let lines = SOURCES.iter().flat_map(|(_, text)| text.lines());
    let said = lines.filter_map(|line| line.strip_prefix("// dynamic-shared: ")?.split_once(' '));
    said.filter(|(entry, _)| *entry == name).map(|(_, bytes)| bytes.parse().unwrap()).next().unwrap_or(0)
}

/// Whether it is such a product, and then that it covers its output.
pub fn check(launch: &Launch) -> bool {
    let Some((call, format, kind)) = split_name(launch.entry.name) else { return false };
    if call == "bias_backward" {
        return false;
    }
    assert_eq!(launch.shared, declared(launch.entry.name), "{}", launch.entry.name);
    let p = words(launch, "p");
    if kind == "reduce" {
        // 16 bytes a thread, of the pool's output a window of four rows each; of dense layers an output a thread.
        let bytes = if format.ends_with("16") { 2 } else { 4 };
        let [each, all] = match call {
            "dense_forward" => [1, p[1]],
            "conv2d_maxpool2d_forward" => [16 / bytes, p[1] / 4],
            _ => [16 / bytes, p[1]],
        };
        covers(launch, 0, 256 * each, all);
        let out = if call == "conv2d_backward_input" { "dx" } else { "y" };
        assert_eq!(len(launch, out), all, "{}", launch.entry.name);
        return true;
    }
    if call == "dense_forward" {
        let [units, samples, depth] = if kind == "any" { [128, 32, 32] } else { numbers(kind) };
        covers(launch, 0, units, p[2]);
        covers(launch, 1, samples, p[0]);
        parts(launch, 2, depth, p[1]);
        return true;
    }
    let [n, h, w, c_in, c_out] = p[..] else { panic!("sizes of a convolution") };
    let whole = !matches!(kind, "any" | "rgb");
    let [rows, columns, depth] = if whole { numbers(kind) } else { [128, 64, 32] };
    let call = call.trim_end_matches("_parts");
    if call == "conv2d_backward_weight" {
        // Whole chunks: a block's columns are channels of one tap.
        let across = if whole { 9 * c_in.div_ceil(columns) } else { (9 * c_in).div_ceil(columns) };
        let down = c_out.div_ceil(rows);
        assert_eq!(launch.grid[..2], [across as u32, down as u32], "{} {p:?}", launch.entry.name);
        parts(launch, 2, depth, n * h * w);
        let count = launch.grid[2] as usize;
        // One part is the gradient itself.
        let parts = if launch.args.iter().any(|arg| arg.name() == "dweight") { "dweight" } else { "parts" };
        assert_eq!(len(launch, parts), count * 9 * c_in * c_out, "{p:?}");
        assert!(parts == "parts" || count == 1, "{p:?}");
        assert!([0, count * across * c_out].contains(&len(launch, "biases")), "{p:?}");
        return true;
    }
    let (pixels, across, deep) = match call {
        "conv2d_forward" => (n * h * w, c_out, c_in),
        "conv2d_maxpool2d_forward" => (4 * n * (h / 2) * (w / 2), c_out, c_in),
        "conv2d_backward_input" => (n * h * w, c_in, c_out),
        other => panic!("no word about {other}"),
    };
    let tiles = pixels.div_ceil(rows) * across.div_ceil(columns);
    assert_eq!(launch.grid[..2], [tiles as u32, 1], "{} {p:?}", launch.entry.name);
    if launch.entry.name.contains("_parts_") {
        // Counted in steps of the depth.
        parts(launch, 2, 1, 9 * deep.div_ceil(depth));
        assert_eq!(len(launch, "parts"), launch.grid[2] as usize * pixels * across, "{p:?}");
    } else {
        assert_eq!(launch.grid[2], 1, "{} {p:?}", launch.entry.name);
    }
    true
}

/// A buffer as a call has it: what its launches should be given.
type Named = (&'static str, Address, Dtype, usize);

/// Every buffer of a call reaches its launches under its own name, whole; and what is none of the call's is written by
/// one launch and read by the next.
fn check_buffers(buffers: &[Named], launches: &[Launch]) {
    let names: Vec<_> = launches.iter().map(|launch| launch.entry.name).collect();
    let (mut seen, mut between) = (BTreeSet::new(), BTreeMap::<Address, Vec<(usize, Dtype, usize)>>::new());
    for (k, launch) in launches.iter().enumerate() {
        for one in &launch.args {
            let (Arg::Pointer { name, at, dtype, len } | Arg::Tensor { name, at, dtype, len, .. }) = one
            else {
                continue;
            };
            match buffers.iter().find(|(_, place, ..)| place == at) {
                None if *len == 0 => assert_eq!(*at, Address(0), "{name} of {names:?}"),
                None => between.entry(*at).or_default().push((k, *dtype, *len)),
                Some(&(whose, _, of, all)) => {
                    assert_eq!(*name, whose, "to {names:?}");
                    assert_eq!((*dtype, *len), (of, all), "{whose} of {names:?}");
                    seen.insert(whose);
                }
            }
        }
    }
    for (name, ..) in buffers {
        assert!(seen.contains(name), "{name} reached none of {names:?}");
    }
    for uses in between.values() {
        // What blocks of a cluster leave for each other.
        if let [(at, ..)] = uses[..]
            && names[at].ends_with("_split")
        {
            continue;
        }
        let [(first, a, len), (second, b, again)] = uses[..] else { panic!("{uses:?} of {names:?}") };
        // The bias' sums of gradients that are turned for a product wait for the product.
        let later = if names[first].ends_with("_turn") { 1..=2 } else { 1..=1 };
        assert!(later.contains(&(second - first)) && a == b && len == again, "{uses:?} of {names:?}");
    }
}

/// Runs calls on paper, checks what becomes of them, and remembers the entries.
struct Ran {
    bench: Bench,
    entries: BTreeSet<&'static str>,
}

impl Ran {
    fn on(card: &str, precision: Precision, kernels: Kernels) -> Self {
        Self { bench: Bench::on(card, precision, kernels), entries: BTreeSet::new() }
    }

    fn named<const N: usize>(&self, buffers: [(&'static str, &Buffer); N]) -> Vec<Named> {
        buffers.map(|(name, b)| (name, self.bench.at(b), b.dtype(), b.len())).into()
    }

    fn call(&mut self, buffers: &[Named], call: Call<'_>) {
        let name = call.name();
        let launches = self.bench.run(call);
        assert!(!launches.is_empty(), "{name}");
        launches.iter().for_each(check::check);
        check::check_pairs(&launches);
        check_buffers(buffers, &launches);
        self.entries.extend(launches.iter().map(|launch| launch.entry.name));
    }

    /// All calls of a convolution, with and without what may be left out.
    fn conv2d(&mut self, geometry: Conv2d) {
        let some = |len| self.bench.activations(len);
        let (g, pool) = (geometry, geometry.pool());
        let (x, mut y, mut dx) = (some(g.x().len()), some(g.y().len()), some(g.x().len()));
        let (weight, dy, mask) = (some(g.weight().len()), some(g.y().len()), some(g.x().len()));
        let (mut small, mut winner) = (some(pool.y().len()), self.bench.u8(pool.winners()));
        let [bias, mut dbias] = [g.c_out; 2].map(|len| self.bench.f32(len));
        let [mut dweight, mut velocity, mut master] = [g.weight().len(); 3].map(|len| self.bench.f32(len));
        let mut shadow = self.bench.bf16(g.weight().len());

        let named = self.named([("x", &x), ("weight", &weight), ("bias", &bias), ("y", &y)]);
        let (x, weight, bias) = (&x, &weight, &bias);
        self.call(&named, Call::Conv2dForward { geometry, x, weight, bias, relu: true, y: &mut y });

        let named = self.named([("dy", &dy), ("weight", weight), ("mask", &mask), ("dx", &dx)]);
        let (dy, mask) = (&dy, Some(&mask));
        self.call(&named, Call::Conv2dBackwardInput { geometry, dy, weight, mask, dx: &mut dx });
        let without = [named[0], named[1], named[3]];
        self.call(&without, Call::Conv2dBackwardInput { geometry, dy, weight, mask: None, dx: &mut dx });

        let named = self.named([("x", x), ("dy", dy), ("dweight", &dweight), ("dbias", &dbias)]);
        for (named, dbias) in [(&named[..3], None), (&named[..], Some(&mut dbias))] {
            let dweight = &mut dweight;
            self.call(named, Call::Conv2dBackwardWeight { geometry, x, dy, dweight, dbias });
        }

        let rule = Rmsprop::default();
        let named = self.named([
            ("x", x),
            ("dy", dy),
            ("velocity", &velocity),
            ("weight", &master),
            ("shadow", &shadow),
            ("dbias", &dbias),
        ]);
        let all = (Some(&mut shadow), Some(&mut dbias));
        for (named, (shadow, dbias)) in [(&named[..4], (None, None)), (&named[..], all)] {
            let (velocity, weight) = (&mut velocity, &mut master);
            let call = Call::Conv2dRmspropStep { geometry, rule, x, dy, velocity, weight, shadow, dbias };
            self.call(named, call);
        }

        if pool.y().is_empty() {
            return;
        }
        let named =
            self.named([("x", x), ("weight", weight), ("bias", bias), ("y", &small), ("winner", &winner)]);
        for (named, winner) in [(&named[..4], None), (&named[..], Some(&mut winner))] {
            let y = &mut small;
            self.call(named, Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner });
        }
    }

    fn dense(&mut self, geometry: Dense) {
        let (x, weight) =
            (self.bench.activations(geometry.x().len()), self.bench.activations(geometry.weight().len()));
        let (bias, relu) = (self.bench.f32(geometry.c_out), true);
        for mut y in [self.bench.activations(geometry.y().len()), self.bench.f32(geometry.y().len())] {
            let named = self.named([("x", &x), ("weight", &weight), ("bias", &bias), ("y", &y)]);
            let (x, weight, bias) = (&x, &weight, &bias);
            self.call(&named, Call::DenseForward { geometry, x, weight, bias, relu, y: &mut y });
        }
    }

    /// All entries of these modules ran, so that nothing above went by itself.
    fn all_of(&self, modules: &[&str]) {
        for name in modules {
            let module = MODULES.iter().find(|module| module.name == *name).unwrap();
            let idle: Vec<_> = module
                .entries
                .iter()
                .map(|entry| entry.name)
                .filter(|name| !self.entries.contains(name))
                .collect();
            assert!(idle.is_empty(), "{idle:?} ran for no layer");
        }
    }
}

/// VGG16's convolutions: how often its images were halved, channels, filters.
const LAYERS: [(usize, usize, usize); 9] = [
    (0, 3, 64),
    (0, 64, 64),
    (1, 64, 128),
    (1, 128, 128),
    (2, 128, 256),
    (2, 256, 256),
    (3, 256, 512),
    (3, 512, 512),
    (4, 512, 512),
];

fn layers() -> impl Iterator<Item = Conv2d> {
    let batches = [1, 3, 20, 64].into_iter().flat_map(|n| [150, 224].map(|side| (n, side)));
    batches.flat_map(|(n, side)| {
        LAYERS.map(|(halved, c_in, c_out)| Conv2d { n, h: side >> halved, w: side >> halved, c_in, c_out })
    })
}

/// One pixel, one past a tile in each direction, channels in whole chunks and not.
const RAGGED: [(usize, usize, usize, usize, usize); 16] = [
    (1, 1, 1, 8, 8),
    (1, 1, 1, 64, 64),
    (1, 5, 7, 3, 4),
    (3, 7, 1, 16, 16),
    (1, 3, 43, 64, 136),
    (2, 5, 13, 136, 128),
    (33, 2, 2, 8, 16),
    (1, 13, 13, 3, 70),
    (2, 9, 8, 65, 66),
    (3, 17, 16, 20, 12),
    (5, 6, 5, 64, 192),
    (2, 13, 10, 192, 128),
    (64, 19, 11, 128, 320),
    (3, 37, 41, 192, 65),
    (1, 9, 9, 256, 64),
    (1, 9, 9, 64, 256),
];

fn ragged() -> impl Iterator<Item = Conv2d> {
    RAGGED.into_iter().map(|(n, h, w, c_in, c_out)| Conv2d { n, h, w, c_in, c_out })
}

#[test]
fn convolutions_on_tensor_cores_cover_their_outputs() {
    // What has room for two on a multiprocessor of one GPU has none on another's.
    for (cards, precision) in [
        (&["a100", "rtx4090", "h200"][..], Precision::Bf16),
        (&["a100", "rtx4090", "h200"], Precision::Tf32),
        (&["a100"], Precision::Tf32x3),
        (&["t4"], Precision::F16),
    ] {
        let on = |card: &&'static str| {
            let mut ran = Ran::on(card, precision, Kernels::Portable);
            layers().chain(ragged()).for_each(|g| ran.conv2d(g));
            ran
        };
        let all = cards.iter().map(on).reduce(|mut all, ran| {
            all.entries.extend(ran.entries);
            all
        });
        all.unwrap().all_of(&[&format!("conv2d_{precision}")]);
    }
}

#[test]
fn convolutions_on_hopper_cover_their_outputs() {
    for (precision, modules) in [
        (Precision::Bf16, &["conv2d_sm90", "conv2d_sm90_pool", "conv2d_sm90_split"][..]),
        (Precision::Tf32, &["conv2d_sm90_tf32", "conv2d_sm90_tf32_weight"]),
    ] {
        let mut ran = Ran::on("h100", precision, Kernels::Sm90a);
        layers().chain(ragged()).for_each(|g| ran.conv2d(g));
        ran.all_of(modules);
    }
}

#[test]
fn dense_layers_on_tensor_cores_cover_their_outputs() {
    for (precision, module) in [
        (Precision::Bf16, "dense_bf16"),
        (Precision::Tf32x3, "dense_tf32x3"),
        (Precision::Tf32, "dense_tf32x3"),
    ] {
        let mut ran = Ran::on("a100", precision, Kernels::Portable);
        for n in [1, 3, 16, 17, 20, 64, 65] {
            for (c_in, c_out) in
                [(8192, 256), (25_088, 4096), (4096, 4096), (4096, 1000), (256, 1), (1030, 257), (1, 1)]
            {
                ran.dense(Dense { n, c_in, c_out });
            }
        }
        ran.all_of(&[module]);
    }
}
