//! What `augment` means, and its rows of the table.
//!
//! Matrices are made of 64ths, so every coordinate, weight and sum below is exact in f64 whatever its order;
//! what remains are the roundings that the call promises, one by one. So a result must have the same bits.
//! Matrices as they are drawn are compared with Keras in tests/augment.rs.

use super::cases::make;
use super::close::Near;
use super::run::{Case, Output};
use vgg_ft::device::Call;
use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::Normalize;
use vgg_ft::random::{Draws, Stream};

/// An image that goes on in all directions: the level at whole coordinates.
fn level(image: &[u8], g: &Gather, i: i64, j: i64, c: usize) -> f64 {
    let within = |at: i64, size: usize| -> usize {
        let size = size as i64;
        let at = match g.border {
            Border::Reflect => {
                let at = at.rem_euclid(2 * size);
                at.min(2 * size - 1 - at)
            }
            _ => at.clamp(0, size - 1),
        };
        at as usize
    };
    f64::from(image[(within(i, g.h) * g.w + within(j, g.w)) * 3 + c])
}

/// Between four levels.
fn moved(image: &[u8], g: &Gather, (y, x): (f64, f64), c: usize) -> f32 {
    let outside = |at: f64, size: usize| at < 0.0 || at > (size - 1) as f64;
    if let (Border::Constant(value), true) = (g.border, outside(y, g.h) || outside(x, g.w)) {
        return value;
    }
    // scipy lays the last pixel on the first, but at the last itself it is the last.
    let wrapped = |at: f64, size: usize| match g.border {
        Border::Wrap if size == 1 => 0.0,
        Border::Wrap if outside(at, size) && at < 0.0 => {
            // Of the two that lie on each other, the last for coordinates below 0.
            let last = (size - 1) as f64;
            let at = at.rem_euclid(last);
            if at == 0.0 { last } else { at }
        }
        Border::Wrap if outside(at, size) => at.rem_euclid((size - 1) as f64),
        _ => at,
    };
    let (y, x) = (wrapped(y, g.h), wrapped(x, g.w));
    let (i, j) = (y.floor(), x.floor());
    let mut sum = 0.0;
    for (a, by_row) in [(0, 1.0 - (y - i)), (1, y - i)] {
        for (b, by_column) in [(0, 1.0 - (x - j)), (1, x - j)] {
            sum += level(image, g, i as i64 + a, j as i64 + b, c) * by_row * by_column;
        }
    }
    sum as f32
}

/// Every element of `y`.
pub fn augment(g: &Gather, pixels: &[u8], indices: &[u32], transforms: &[Transform]) -> Vec<Near> {
    let mut y = Vec::new();
    for (&index, t) in indices.iter().zip(transforms) {
        let len = g.h * g.w * 3;
        let image = &pixels[index as usize * len..][..len];
        let mut all = vec![0.0f32; len];
        for (at, v) in all.iter_mut().enumerate() {
            let (i, j, c) = (at / 3 / g.w, at / 3 % g.w, at % 3);
            *v = f32::from(image[at]);
            if t.has(Transform::MOVES) {
                let (y, x, m) = (i as f64, j as f64, t.matrix);
                *v = moved(image, g, (m[0] * y + m[1] * x + m[2], m[3] * y + m[4] * x + m[5]), c);
            }
        }
        if t.has(Transform::SHIFTS) && g.ranged {
            let low = all.iter().copied().fold(f32::INFINITY, f32::min);
            let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            all.iter_mut().for_each(|v| *v = (*v + t.shift).clamp(low, high));
        }
        for at in 0..len {
            let (mut i, mut j, c) = (at / 3 / g.w, at / 3 % g.w, at % 3);
            if t.has(Transform::FLIPS_COLUMNS) {
                j = g.w - 1 - j;
            }
            if t.has(Transform::FLIPS_ROWS) {
                i = g.h - 1 - i;
            }
            let mut v = all[(i * g.w + j) * 3 + usize::from(g.rule.order[c])];
            if t.has(Transform::BRIGHTENS) {
                v = f32::from((f32::from(v as u8) * t.brightness) as u8); // casts truncate and saturate
            }
            y.push(Near::exactly(f64::from(v * g.rule.scale[c] + g.rule.offset[c])));
        }
    }
    y
}

/// Transforms that reach every branch, in an image of any size.
pub fn transforms() -> Vec<Transform> {
    let of = |flags: u32, matrix: [f64; 6], shift: f32, brightness: f32| Transform {
        matrix,
        shift,
        brightness,
        flags,
        unused: 0,
    };
    let still = Transform::IDENTITY.matrix;
    let (moves, shifts, bright) = (Transform::MOVES, Transform::SHIFTS, Transform::BRIGHTENS);
    let (across, down) = (Transform::FLIPS_COLUMNS, Transform::FLIPS_ROWS);
    vec![
        Transform::IDENTITY,
        of(moves, still, 0.0, 1.0),
        of(moves | across, [1.0, 0.0, -2.25, 0.0, 1.0, 3.75], 0.0, 1.0),
        of(moves | down | shifts, [0.0, -1.0, 4.0, 1.0, 0.0, 0.5], 40.5, 1.0), // a quarter turn
        of(moves | shifts | bright, [0.75, 0.25, -3.0, -0.5, 1.25, 1.015625], -90.25, 1.5),
        of(moves, [2.5, 0.0, -70.0, 0.0, 3.25, 1000.5], 0.0, 1.0), // far outside, several times over
        of(moves, [-1.0, 0.0, 0.5, 0.0, -1.0, -0.5], 0.0, 1.0),    // between the edge and its mirror
        of(shifts | bright | across | down, still, 17.75, 0.6),
        of(bright, still, 0.0, 1.0),
        of(moves | bright, [0.015625, 0.0, 0.0, 0.0, 0.015625, 0.0], 0.0, 300.0),
    ]
}

/// Rows of the table.
pub fn cases(cases: &mut Vec<Case>) {
    let caffe = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let notebook = Normalize { order: [0, 1, 2], scale: [1.0 / 255.0; 3], offset: [0.0; 3] };
    // One pixel, one row, one column, odd and not square, a block's worth of pixels, one past it.
    for (h, w, rule) in [
        (1, 1, caffe),
        (1, 6, notebook),
        (5, 1, caffe),
        (5, 7, notebook),
        (16, 16, caffe),
        (17, 19, notebook),
    ] {
        for border in [Border::Nearest, Border::Reflect, Border::Wrap, Border::Constant(77.5)] {
            for ranged in [false, true] {
                let transforms = transforms();
                let (count, n) = (4, transforms.len());
                let geometry = Gather { count, n, h, w, border, ranged, rule };
                let mut draws = Draws::new(14, Stream::Demo, 0);
                let pixels: Vec<u8> = (0..count * h * w * 3).map(|_| draws.below(256) as u8).collect();
                let indices: Vec<u32> = (0..n as u32).map(|k| k * 3 % count as u32).collect();
                let want = augment(&geometry, &pixels, &indices, &transforms);
                let words: Vec<u32> = bytemuck::cast_slice(&transforms).to_vec();
                cases.push(Case {
                    title: format!("{geometry:?}"),
                    inputs: vec![pixels.into(), indices.into(), words.into()],
                    outputs: vec![Output::fresh(want)],
                    make: make!([pixels, indices, transforms] => [y],
                        Call::Augment { geometry, pixels, indices, transforms, y }),
                });
            }
        }
    }
}
