//! What Hopper's kernels owe: blocks that stay until all tiles are done, tensor maps whose boxes are the tiles', and slots
//! for the sums that blocks share.

use super::bench::{Bench, arg, len, words};
use super::tensor_cores::{declared, numbers};
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::lower::{SMS, is_turned};
use crate::device::gpu::plan::Card;
use crate::device::gpu::tensor_map::{Swizzle, TensorMap, Window};
use crate::device::{Call, Device, Dtype, Kernels, Precision};
use crate::shape::Conv2d;

/// What one instruction should move.
enum Box {
    /// Taps of so many pixels, of 128 bytes of channels.
    Pixels(usize),
    /// So many rows of 128 bytes.
    Rows(usize),
    /// So many lines and columns of 128 bytes of channels.
    Lines([usize; 2]),
}

/// The map of `name` is of the whole buffer, dense, with such boxes, in whole ones along channels.
fn check_map(launch: &Launch, name: &str, sizes: &[usize], moved: Box, rounds: bool) {
    let who = format!("{name} of {}", launch.entry.name);
    let Arg::Tensor { bytes, at, dtype, len, .. } = arg(launch, name) else { panic!("{who} is no map") };
    let map = TensorMap::decode(bytes[..].try_into().unwrap()).unwrap();
    assert_eq!((map.base(), map.dtype(), map.rounds()), (*at, *dtype, rounds), "{who}");
    assert!(map.sizes().iter().map(|&size| size as usize).eq(sizes.iter().copied()), "{who}: {map:?}");
    assert_eq!(sizes.iter().product::<usize>(), *len, "{who}");
    let dense = sizes.iter().scan(dtype.size(), |bytes, size| {
        *bytes *= size;
        Some(*bytes as u64)
    });
    assert!(dense.take(sizes.len() - 1).eq(map.strides().iter().copied()), "{who}: {map:?}");
    assert_eq!((map.swizzle(), map.inner_bytes()), (Swizzle::B128, 128), "{who}");
    assert!((sizes[0] * dtype.size()).is_multiple_of(128), "{who}: no box is cut along channels");
    let inner = (128 / dtype.size()) as u32;
    let want = match moved {
        Box::Pixels(pixels) => {
            let corner = [-1, -1, 0];
            Window::Im2col { lower: corner, upper: corner, channels: inner, pixels: pixels as u32 }
        }
        Box::Rows(rows) => Window::Tile([inner, rows as u32, 0, 0, 0]),
        Box::Lines([lines, columns]) => Window::Tile([inner, columns as u32, lines as u32, 1, 0]),
    };
    assert_eq!(map.window(), want, "{who}");
}

/// Whether it is one of Hopper's, and then that it covers its output.
pub fn check(launch: &Launch) -> bool {
    let Some((call, kind)) = launch.entry.name.split_once("_sm90_") else { return false };
    if ["reduce", "tf32_reduce"].contains(&kind) {
        check_reduce(launch);
        return true;
    }
    assert_eq!(launch.shared, declared(launch.entry.name), "{}", launch.entry.name);
    let p = words(launch, "p");
    let [n, h, w, c_in, c_out] = p[..] else { panic!("sizes of a convolution") };
    if kind == "tf32_turn" {
        // 128 pixels of 32 filters; rows are whole steps.
        let (pixels, blocks) = (n * h * w, (n * h * w).div_ceil(128));
        assert_eq!(launch.grid, [(blocks * c_out / 32) as u32, 1, 1], "{p:?}");
        assert_eq!(len(launch, "turned"), c_out * pixels.next_multiple_of(32), "{p:?}");
        assert!([0, blocks * c_out].contains(&len(launch, "biases")), "{p:?}");
        return true;
    }
    let (rounds, kind) = match kind.strip_prefix("tf32_") {
        Some(kind) => (true, kind),
        None => (false, kind),
    };
    let pixels = n * h * w;
    let (x, y) = ([c_in, w, h, n], [c_out, w, h, n]);
    if call == "conv2d_maxpool2d_forward" {
        let [filters, columns, lines] = numbers(kind);
        check_map(launch, "x", &x, Box::Lines([lines + 2, columns + 2]), false);
        check_map(launch, "weight", &[9 * c_in, c_out], Box::Rows(filters), false);
        check_map(launch, "y", &[c_out, w / 2, h / 2, n], Box::Lines([8, columns / 2]), false);
        assert!(c_out.is_multiple_of(filters));
        stay(launch, n * h.div_ceil(lines) * w.div_ceil(columns) * (c_out / filters), SMS);
        return true;
    }
    // Of a tile whose depth is shared four blocks have parts, for each of them.
    let (kind, sharers) = kind.strip_suffix("_split").map_or((kind, 1), |kind| (kind, 4));
    let [rows, columns] = numbers(kind);
    // Of products that are turned TMA stores all pixels of 64 filters at once, else 16 rows for a warp.
    let turned = is_turned(rows);
    let stored = if turned { rows } else { 16 };
    // Blocks come in pairs, each of which brings half of the pixels to both.
    let brought = if turned { rows / 2 } else { rows };
    assert!(!turned || launch.grid[0].is_multiple_of(2));
    match call {
        "conv2d_forward" => {
            check_map(launch, "x", &x, Box::Pixels(brought), rounds);
            check_map(launch, "weight", &[9 * c_in, c_out], Box::Rows(columns), rounds);
            if !rounds {
                check_map(launch, "y", &[c_out, pixels], Box::Rows(stored), false);
            }
        }
        "conv2d_backward_input" => {
            check_map(launch, "dy", &y, Box::Pixels(brought), rounds);
            if rounds {
                check_map(launch, "turned", &[c_out, 9 * c_in], Box::Rows(columns), true);
            } else {
                // A step of 64 filters, of which 64 channels are a box.
                check_map(launch, "weight", &[9 * c_in, c_out], Box::Rows(64), false);
            }
            if turned {
                let masked = words(launch, "masked")[0] == 1;
                for name in [masked.then_some("mask"), Some("dx")].into_iter().flatten() {
                    check_map(launch, name, &[c_in, pixels], Box::Rows(stored), false);
                }
            }
        }
        "conv2d_backward_weight" => {
            let step = pixels_of_a_step(launch);
            check_map(launch, "x", &x, Box::Pixels(step), rounds);
            if rounds {
                check_map(launch, "turned", &[32, pixels.div_ceil(32) * c_out], Box::Rows(rows), true);
            } else {
                check_map(launch, "dy", &[c_out, pixels], Box::Rows(step), false);
            }
            let tiles = c_out.div_ceil(rows) * (9 * c_in).div_ceil(columns);
            // As many blocks to each tile in tf32, where that leaves out two at most.
            let left = if rounds && SMS % tiles <= 2 { SMS % tiles } else { 0 };
            stay(launch, tiles * pixels.div_ceil(step), SMS - left);
            return true;
        }
        other => panic!("no word about {other}"),
    }
    let across = if call == "conv2d_forward" { c_out } else { c_in };
    assert!(across.is_multiple_of(columns), "{} {p:?}", launch.entry.name);
    let room = if columns == 64 { 2 * SMS } else { SMS };
    let tiles = pixels.div_ceil(rows) * (across / columns);
    // A GPU has room for 32 clusters of four.
    stay(launch, sharers * tiles, if sharers > 1 { 128 } else { room });
    if sharers > 1 {
        assert!(launch.grid[0].is_multiple_of(4), "whole clusters");
        assert_eq!(len(launch, "parts"), tiles * sharers * rows * columns);
    }
    true
}

/// 128 bytes of numbers.
fn pixels_of_a_step(launch: &Launch) -> usize {
    if launch.entry.name.contains("_tf32_") { 32 } else { 64 }
}

/// A Hopper with fewer multiprocessors, or a slice of one, has the same launches. Blocks that stay are no more than it has
/// room for, whole pairs and clusters; but a gradient of weights has as many as on a large one, since they cut its sum.
#[test]
fn blocks_that_stay_are_as_many_as_a_small_hopper_has_room_for() {
    let large = Card::named("h100").unwrap();
    for sms in [114, 61, 3] {
        let card: &Card = std::boxed::Box::leak(std::boxed::Box::new(Card { sms, ..*large }));
        for precision in [Precision::Bf16, Precision::Tf32] {
            let [here, there] = [card, large].map(|card| Bench::of(card, precision, Kernels::Sm90a));
            let mut fewer = 0;
            for (n, side, c_in, c_out) in [
                (64, 112, 64, 128),
                (64, 112, 128, 128),
                (64, 56, 256, 256),
                (8, 14, 512, 512),
                (64, 28, 512, 512),
                (64, 224, 64, 64),
            ] {
                let g = Conv2d { n, h: side, w: side, c_in, c_out };
                let (here, there) = (products(&here, g), products(&there, g));
                assert_eq!(here.len(), there.len());
                for (here, there) in here.iter().zip(&there) {
                    let name = here.entry.name;
                    assert_eq!((name, here.shared), (there.entry.name, there.shared));
                    let stays =
                        name.contains("_sm90_") && !name.ends_with("reduce") && !name.ends_with("turn");
                    if name.contains("weight") || !stays {
                        assert_eq!(here.grid, there.grid, "{name}");
                        continue;
                    }
                    let room = sms * if name.ends_with("x64") && !name.contains("pool") { 2 } else { 1 };
                    let (whole, room) = if name.ends_with("_split") {
                        (4, room.max(4))
                    } else if numbers::<2>(&shape(name)).first().is_some_and(|&rows| is_turned(rows)) {
                        (2, room.max(2))
                    } else {
                        (1, room)
                    };
                    let grid = here.grid[0];
                    assert!(grid <= room && grid.is_multiple_of(whole), "{name}: {grid} of {room}");
                    if here.grid != there.grid {
                        assert!(grid + whole > room, "{name}: {grid} of {room}");
                        fewer += 1;
                    }
                }
            }
            assert!(fewer >= 10, "{sms} {precision}: {fewer}");
        }
    }
}

/// `256x128` of `conv2d_backward_weight_sm90_tf32_256x128`.
fn shape(name: &str) -> String {
    let sides = name.split('_').filter(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    sides.flat_map(|part| part.split('x')).take(2).collect::<Vec<_>>().join("x")
}

/// Launches of a layer's products, and with a pool behind it.
fn products(bench: &Bench, geometry: Conv2d) -> Vec<Launch> {
    let g = geometry;
    let [x, dy, mask] = [g.x(), g.y(), g.x()].map(|shape| bench.activations(shape.len()));
    let weight = bench.activations(g.weight().len());
    let (bias, mut dweight) = (bench.f32(g.c_out), bench.f32(g.weight().len()));
    let [mut y, mut dx] = [g.y(), g.x()].map(|shape| bench.activations(shape.len()));
    let (mut small, mut winner) = (bench.activations(g.pool().y().len()), bench.u8(g.pool().winners()));
    let (x, weight, bias, dy) = (&x, &weight, &bias, &dy);
    let mut all = bench.run(Call::Conv2dForward { geometry, x, weight, bias, relu: true, y: &mut y });
    all.extend(bench.run(Call::Conv2dBackwardInput { geometry, dy, weight, mask: Some(&mask), dx: &mut dx }));
    let dbias = None;
    all.extend(bench.run(Call::Conv2dBackwardWeight { geometry, x, dy, dweight: &mut dweight, dbias }));
    let (y, winner) = (&mut small, Some(&mut winner));
    all.extend(bench.run(Call::Conv2dMaxpool2dForward { geometry, x, weight, bias, y, winner }));
    let geometries = [Conv2d { c_in: 3, ..g }, g];
    if bench.0.joins(geometries) {
        let (images, kernel) =
            (bench.activations(geometries[0].x().len()), bench.activations(3 * 9 * g.c_out));
        let (weights, biases) = ([&kernel, weight], [bias; 2]);
        all.extend(bench.run(Call::Conv2dConv2dMaxpool2dForward {
            geometries,
            x: &images,
            weights,
            biases,
            y,
        }));
    }
    all
}

/// A block for each piece of work, as long as the GPU has room for it.
fn stay(launch: &Launch, work: usize, room: usize) {
    assert_eq!(launch.grid, [work.min(room) as u32, 1, 1], "{}: {work} pieces", launch.entry.name);
}

/// Four neighbours a thread, after those of 32 filters' bias.
fn check_reduce(launch: &Launch) {
    let [_, _, _, c_in, c_out] = words(launch, "p")[..] else { panic!("sizes of a convolution") };
    let bias = len(launch, "dbias");
    assert!([0, c_out].contains(&bias));
    assert_eq!(bias == 0, len(launch, "biases") == 0);
    let blocks = bias.div_ceil(32) + (9 * c_in * c_out).div_ceil(4 * 256);
    assert_eq!(launch.grid, [blocks as u32, 1, 1], "{}", launch.entry.name);
}

/// Gradients become rows of pixels before they are multiplied along them; the bias' sums are made on the way.
pub fn check_turned_gradients(from: &Launch, to: &Launch) {
    assert_eq!(words(from, "p"), words(to, "p"), "before {}", to.entry.name);
    assert_eq!(arg(from, "turned").place().map(|(_, at)| at), arg(to, "turned").place().map(|(_, at)| at));
}

/// (c_out, 3, 3, c_in) becomes (3, 3, c_in, c_out) before it is multiplied along the filters.
pub fn check_turned(from: &Launch, to: &Launch) {
    let [_, _, _, c_in, c_out] = words(to, "p")[..] else { panic!("sizes of a convolution") };
    assert_eq!(words(from, "p"), [1, c_out, 9 * c_in], "before {}", to.entry.name);
    assert_eq!(arg(from, "y").place().map(|(_, at)| at), arg(to, "turned").place().map(|(_, at)| at));
}

/// Blocks that share out the steps of all tiles evenly leave their sums of a tile in a slot of their own: block and tile
/// together are its number.
/// `before` is what ran before `from`.
pub fn check_slots(before: Option<&Launch>, from: &Launch, to: &Launch) {
    let name = from.entry.name;
    let [rows, columns] = numbers(name.rsplit('_').next().unwrap());
    let [n, h, w, c_in, c_out] = words(from, "p")[..] else { panic!("sizes of a convolution") };
    assert_eq!(words(to, "p"), words(from, "p"));
    let steps = (n * h * w).div_ceil(pixels_of_a_step(from));
    let blocks = from.grid[0] as usize;
    assert_eq!(words(to, "split"), [blocks, rows, columns, steps], "{name}");
    // Sums of the bias by the pixels that were turned together, or in slots.
    let turned = before.filter(|_| name.contains("_tf32_"));
    let lines = turned.map(|_| words(to, "bias_rows")[0]);
    assert!(lines.is_none_or(|lines| lines == (n * h * w).div_ceil(128)), "{name}: {lines:?}");
    let tiles = c_out.div_ceil(rows) * (9 * c_in).div_ceil(columns);
    // The last block's slot of the last tile, and the ends of a block's share as the kernels compute them.
    let slots = blocks - 1 + tiles;
    assert!(tiles * steps < 1 << 31, "{name}: an int counts the steps of all tiles");
    assert_eq!(arg(from, "parts"), arg(to, "parts"));
    assert_eq!(len(from, "parts"), slots * rows * columns, "{name}");
    let (whose, most) =
        turned.zip(lines).map_or((from, slots * rows), |(turned, lines)| (turned, lines * c_out));
    assert_eq!(arg(whose, "biases"), arg(to, "biases"));
    assert!([0, most].contains(&len(to, "biases")), "{name}");
    assert!(matches!(arg(to, "parts"), Arg::Pointer { dtype: Dtype::F32, .. }));
}
