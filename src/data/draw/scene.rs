//! A whole image: background, animal, things in front of it, light and grain.
//!
//! In: a class and random numbers. Out: a [`Canvas`].

use super::animal;
use super::canvas::{Canvas, Colour, Frame, Point, ellipse, hsv, mix, shade, slab, taper, triangle};
use crate::random::Draws;
use std::f32::consts::{PI, TAU};

/// The size of the image, rows and columns.
struct Page {
    size: [f32; 2],
}

impl Page {
    /// The shorter side.
    fn unit(&self) -> f32 {
        self.size[0].min(self.size[1])
    }

    /// A place by shares of width and height.
    fn at(&self, x: f32, y: f32) -> Point {
        [x * self.size[1], y * self.size[0]]
    }

    /// Its middle is the origin, half the longer side the unit; reach 1.5 covers it all.
    fn frame(&self, angle: f32) -> Frame {
        Frame::new(self.at(0.5, 0.5), self.size[0].max(self.size[1]) / 2.0, angle)
    }
}

/// One image of class 0 (cat) or 1 (dog).
pub fn image(class: usize, size: [usize; 2], r: &mut Draws) -> Canvas {
    let page = Page { size: size.map(|n| n as f32) };
    let mut canvas = background(size, &page, r);
    let at = page.at(r.range(0.33, 0.67), r.range(0.36, 0.62));
    let scale = page.unit() * r.range(0.18, 0.34);
    let tilt = (r.unit() + r.unit() - 1.0) * 0.75;
    let frame = Frame::new(at, scale, tilt);
    if class == 0 {
        animal::cat(&mut canvas, &frame, r);
    } else {
        animal::dog(&mut canvas, &frame, r);
    }
    foreground(&mut canvas, &frame, &page, r);
    light_and_grain(&mut canvas, &page, r);
    canvas
}

/// A soft gradient, a pattern over it, and some clutter.
fn background(size: [usize; 2], page: &Page, r: &mut Draws) -> Canvas {
    let [a, b] = [(); 2].map(|()| hsv(r.unit(), r.range(0.05, 0.6), r.range(0.3, 0.95)));
    let (sin, cos) = r.range(0.0, TAU).sin_cos();
    let [h, w] = page.size;
    let along = |[x, y]: Point| (x / w - 0.5) * cos + (y / h - 0.5) * sin;
    let mut canvas = Canvas::new(size, |p| mix(a, b, (along(p) + 0.5).clamp(0.0, 1.0)));
    let wall = page.frame(r.range(0.0, PI));
    let tint = hsv(r.unit(), r.range(0.1, 0.7), r.range(0.3, 1.0));
    let opacity = r.range(0.2, 0.7);
    match r.below(5) {
        // Wallpaper: stripes, checks.
        0 => {
            let period = r.range(0.12, 0.5);
            let stripe = |[x, _]: Point| ((x / period).rem_euclid(1.0) - 0.5).abs() * period - period * 0.25;
            canvas.paint(&wall, 1.5, opacity, |_| tint, stripe);
        }
        1 => {
            let period = r.range(0.2, 0.6);
            let wave = |v: f32| ((v / period).rem_euclid(1.0) - 0.5).abs() * period - period * 0.25;
            let checks = |[x, y]: Point| {
                let (u, v) = (wave(x), wave(y));
                u.max(v).min((-u).max(-v))
            };
            canvas.paint(&wall, 1.5, opacity, |_| tint, checks);
        }
        // A meadow under a sky, or a floor before a wall.
        2 => {
            let level = page.frame(r.range(-0.15, 0.15));
            let (horizon, swing) = (r.range(-0.2, 0.6), r.range(0.0, 0.15));
            let phase = r.range(0.0, TAU);
            let ground = |[x, y]: Point| horizon + swing * (3.0 * x + phase).sin() - y;
            canvas.paint(&level, 1.5, 1.0, |[_, y]| shade(tint, 1.1 - 0.25 * y), ground);
        }
        _ => {}
    }
    for _ in 0..r.below(9) {
        clutter(&mut canvas, page, r);
    }
    canvas
}

/// A ball, a leaf, a peak or a box somewhere: also the shapes of which ears are made.
fn clutter(canvas: &mut Canvas, page: &Page, r: &mut Draws) {
    let at = page.at(r.unit(), r.unit());
    let frame = Frame::new(at, page.unit() * r.range(0.04, 0.22), r.range(0.0, TAU));
    let colour = hsv(r.unit(), r.range(0.0, 0.8), r.range(0.15, 1.0));
    let opacity = r.range(0.4, 1.0);
    let slim = r.range(0.35, 1.0);
    let kind = r.below(4);
    canvas.paint(
        &frame,
        1.3,
        opacity,
        |[x, _]| shade(colour, 1.0 - 0.2 * x),
        |p| match kind {
            0 => ellipse(p, [0.0; 2], [1.0, slim]),
            1 => triangle(p, [[-0.7 * slim, 0.7], [0.0, -0.8], [0.7 * slim, 0.7]], 0.1),
            2 => slab(p, [0.9, 0.9 * slim], 0.15),
            _ => taper(p, [-0.7, 0.0], [0.6, 0.0], 0.15, 0.4 * slim),
        },
    );
}

/// Something that hides a part of the animal, in two images of five.
fn foreground(canvas: &mut Canvas, animal: &Frame, page: &Page, r: &mut Draws) {
    let colour = hsv(r.unit(), r.range(0.1, 0.7), r.range(0.2, 0.9));
    match r.below(10) {
        // Bars of a fence.
        0 => {
            let fence = page.frame(r.range(-0.3, 0.3));
            let (period, offset) = (r.range(0.45, 0.8), r.unit());
            let bars = |[x, _]: Point| ((x / period + offset).rem_euclid(1.0) - 0.5).abs() * period - 0.05;
            canvas.paint(&fence, 1.5, 1.0, |_| colour, bars);
        }
        // A ball or a cushion before a part of the head.
        1 | 2 => {
            let (sin, cos) = r.range(0.0, TAU).sin_cos();
            let near = animal.within([cos * 1.1, sin * 1.1], r.range(0.3, 0.6), r.range(0.0, TAU));
            let flat = r.range(0.6, 1.0);
            let lit = |[x, y]: Point| shade(colour, 1.1 - 0.25 * (x + y));
            canvas.paint(&near, 1.2, 1.0, lit, |p| ellipse(p, [0.0; 2], [1.0, flat]));
        }
        // Blades of grass from below.
        3 => {
            for _ in 0..12 {
                let root = Frame::new(page.at(r.unit(), 1.0), page.unit() * r.range(0.2, 0.55), 0.0);
                let tip = [r.range(-0.12, 0.12), -1.0];
                let blade = shade(colour, r.range(0.7, 1.2));
                canvas.fill(&root, 1.2, blade, |p| taper(p, [0.0, 0.1], tip, 0.07, 0.005));
            }
        }
        _ => {}
    }
}

/// A light from one side, a cast, contrast, and the grain of a sensor.
fn light_and_grain(canvas: &mut Canvas, page: &Page, r: &mut Draws) {
    let [h, w] = page.size;
    let (sin, cos) = r.range(0.0, TAU).sin_cos();
    let (slope, brightness, contrast) = (r.range(0.0, 0.5), r.range(0.7, 1.2), r.range(0.7, 1.15));
    let cast: Colour = [0; 3].map(|_| r.range(0.88, 1.1));
    let grain = r.range(0.008, 0.06);
    canvas.map(|x, y, colour| {
        // The sum of a word's four bytes is nearly normal: mean 510, deviation 147.8.
        let noise = (r.word().to_le_bytes().map(f32::from).iter().sum::<f32>() - 510.0) / 147.8;
        let light = brightness * (1.0 + slope * (cos * (x / w - 0.5) + sin * (y / h - 0.5)));
        [0, 1, 2].map(|k| (colour[k] * light * cast[k] - 0.5) * contrast + 0.5 + grain * noise)
    });
}
