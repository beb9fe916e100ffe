//! What the kernels' heads say of thread and element, once more.

use super::bench::{arg, len, words};
use super::{hopper, optimizer, tensor_cores};
use crate::device::gpu::launch::Launch;

/// `grid` blocks of `each` cover `all`, and one less would not.
pub fn covers(launch: &Launch, axis: usize, each: usize, all: usize) {
    let grid = launch.grid[axis] as usize;
    assert!(
        grid * each >= all && (grid - 1) * each < all,
        "{} {:?}: {grid} blocks of {each} along {axis} for {all}",
        launch.entry.name,
        words(launch, if launch.args.iter().any(|arg| arg.name() == "p") { "p" } else { "rule" })
    );
}

/// The parts of a sum cover its terms, and each begins where a step may begin.
pub fn parts(launch: &Launch, axis: usize, step: usize, terms: usize) {
    let length = words(launch, "split")[0];
    assert!(length.is_multiple_of(step), "{}: parts of {length}", launch.entry.name);
    covers(launch, axis, length, terms.max(1));
}

/// The name without its format of 16 bits, and how many elements a thread takes.
fn plain(name: &str) -> (&str, usize) {
    let halves = ["_bf16", "_f16"];
    halves.iter().find_map(|half| Some((name.strip_suffix(half)?, 8))).unwrap_or((name, 4))
}

pub fn check(launch: &Launch) {
    if launch.entry.name.ends_with("_step") && launch.entry.name != "dense_rmsprop_step" {
        return optimizer::check_tensors(launch);
    }
    assert_eq!(Some(launch.block[0]), launch.entry.max_threads, "{}", launch.entry.name);
    if hopper::check(launch) || tensor_cores::check(launch) {
        return;
    }
    let p = words(launch, "p");
    let pixels = |p: &[usize]| p[0] * p[1] * p[2];
    let (name, lanes) = plain(launch.entry.name);
    match name {
        "relu_forward" | "relu_backward" | "add" => covers(launch, 0, lanes * 256, p[0]),
        "sigmoid" | "dropout" | "cast" => covers(launch, 0, 4 * 256, p[0]),
        "transpose" => assert_eq!(
            launch.grid,
            [(p[0] * p[1].div_ceil(32) * p[2].div_ceil(32)) as u32, 1, 1],
            "blocks of 32 x 32 for {p:?}"
        ),
        "normalize" | "sigmoid_cross_entropy" => covers(launch, 0, 256, p[0]),
        "augment" => covers(launch, 0, 256, p[1] * p[2] * p[3]),
        "augment_range" => covers(launch, 0, 1, p[1]),
        "softmax" | "softmax_cross_entropy" => covers(launch, 0, 4, p[0]),
        "maxpool2d_forward" => covers(launch, 0, lanes * 256, p[0] * (p[1] / 2) * (p[2] / 2) * p[3]),
        "maxpool2d_backward" => {
            covers(launch, 0, lanes * 256, p[0] * p[1].div_ceil(2) * p[2].div_ceil(2) * p[3]);
        }
        "global_avgpool2d_forward" => covers(launch, 0, 256, p[0] * p[2]),
        "global_avgpool2d_backward" => covers(launch, 0, 4 * 256, p[0] * p[1] * p[2]),
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
            covers(launch, 0, 64, p[1]);
            covers(launch, 1, 32, p[0]);
        }
        "dense_backward_weight" | "dense_rmsprop_step" => {
            let blocks = p[2].div_ceil(64) * p[1].div_ceil(64);
            assert_eq!(launch.grid, [blocks as u32, 1, 1], "{p:?}");
        }
        "bias_backward" => {
            let [channels, rows] = if lanes == 8 { [64, 32] } else { [32, 8] };
            covers(launch, 0, channels, p[1]);
            parts(launch, 1, rows, p[0]);
        }
        "bias_backward_bf16_reduce" | "bias_backward_f16_reduce" => covers(launch, 0, 32, p[1]),
        "bias_backward_reduce" | "dense_forward_reduce" => covers(launch, 0, 256, p[1]),
        "conv2d_backward_weight_reduce" | "conv2d_rmsprop_step_reduce" => {
            let [rows, channels] = words(launch, "bias")[..] else { panic!("parts of the bias") };
            // Where nobody asks for the bias there are neither parts of it nor blocks.
            let asked = usize::from(len(launch, "biases") > 0);
            assert_eq!(len(launch, "biases"), asked * rows * channels, "{p:?}");
            assert_eq!(len(launch, "dbias"), asked * channels, "{p:?}");
            let blocks = asked * channels.div_ceil(32) + p[1].div_ceil(4 * 256);
            assert_eq!(launch.grid, [blocks as u32, 1, 1], "{p:?}");
        }
        other => panic!("no word about {other}"),
    }
}

/// Pairs of launches agree about the parts between them.
pub fn check_all(launches: &[Launch], names: &[&str]) {
    assert_eq!(launches.iter().map(|launch| launch.entry.name).collect::<Vec<_>>(), names);
    launches.iter().for_each(check);
    check_pairs(launches);
}

/// What ends a sum takes as many parts as were left, and there; what reads turned weights reads these.
pub fn check_pairs(launches: &[Launch]) {
    for pair in launches.windows(2).filter(|pair| pair[0].entry.name == "transpose") {
        hopper::check_turned(&pair[0], &pair[1]);
    }
    for pair in launches.windows(2).filter(|pair| pair[0].entry.name.ends_with("_turn")) {
        hopper::check_turned_gradients(&pair[0], &pair[1]);
    }
    let ends = |at: &usize| launches[*at].entry.name.ends_with("_reduce");
    for at in (1..launches.len()).filter(ends) {
        let [from, to] = [&launches[at - 1], &launches[at]];
        if from.entry.name.contains("_sm90_") {
            hopper::check_slots(at.checked_sub(2).map(|at| &launches[at]), from, to);
            continue;
        }
        let [count, each] = words(to, "p")[..] else { panic!("parts have a count and a length") };
        if count == 0 {
            // The one part is the gradient itself: only the bias is left to be added.
            assert_eq!(arg(from, "biases"), arg(to, "biases"));
            assert_eq!((len(to, "parts"), each, from.grid[2]), (0, 0, 1), "{}", to.entry.name);
            continue;
        }
        assert_eq!(arg(from, "parts"), arg(to, "parts"));
        assert!(
            from.grid[1..].contains(&(count as u32)),
            "{} {:?}: {count} parts",
            from.entry.name,
            from.grid
        );
        assert_eq!(len(from, "parts"), count * each, "{}", to.entry.name);
        if from.args.iter().any(|arg| arg.name() == "biases") {
            assert_eq!(arg(from, "biases"), arg(to, "biases"));
        }
    }
}
