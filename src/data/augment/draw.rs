//! From ranges to one image's numbers, and from those to the matrix that the device takes.

use super::{AngleUnit, Augment};
use crate::data::Size;
use crate::device::augment::Transform;
use crate::random::{Stream, draw};

/// What happens to one image; the parameters of Keras' `apply_transform`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Radians.
    pub theta: f64,
    /// Pixels, from the height's range; moves along columns (see [`Drawn::matrix`]).
    pub tx: f64,
    /// Pixels, from the width's range; moves along rows.
    pub ty: f64,
    /// Radians.
    pub shear: f64,
    /// Factor of columns.
    pub zx: f64,
    /// Factor of rows.
    pub zy: f64,
    /// Left and right change places.
    pub flip_horizontal: bool,
    /// Top and bottom change places.
    pub flip_vertical: bool,
    /// Levels added.
    pub channel_shift: Option<f64>,
    /// Factor of levels.
    pub brightness: Option<f64>,
}

type Matrix = [[f64; 3]; 3];

impl Augment {
    /// What happens to sample `sample` in batch `step` of the run, an image of `size`.
    ///
    /// Every parameter has a word of its own, so a range that is added leaves the others' draws as they were.
    pub fn draw(&self, seed: u64, step: u64, sample: u32, size: Size) -> Drawn {
        // Three draws of four words; the counter has room for 2^30 steps.
        let counter = step << 34 | u64::from(sample) << 2;
        let words: [[u32; 4]; 3] = std::array::from_fn(|k| draw(seed, Stream::Augment, counter | k as u64));
        let unit = |word: u32| f64::from(word) / 4_294_967_296.0;
        let within = |[low, high]: [f64; 2], word: u32| low + (high - low) * unit(word);
        let around = |range: f64, word: u32| within([-range, range], word);
        let pixels = |range: f64, side: usize| if range < 1.0 { side as f64 } else { 1.0 };
        let [[theta, tx, ty, shear], [zx, zy, across, down], [channel, bright, ..]] = words;
        let shear = around(self.shear, shear);
        Drawn {
            theta: around(self.rotation, theta).to_radians(),
            tx: around(self.height_shift, tx) * pixels(self.height_shift, size.h),
            ty: around(self.width_shift, ty) * pixels(self.width_shift, size.w),
            shear: match self.shear_unit {
                AngleUnit::Degrees => shear.to_radians(),
                AngleUnit::Radians => shear,
            },
            zx: within(self.zoom, zx),
            zy: within(self.zoom, zy),
            flip_horizontal: self.horizontal_flip && unit(across) < 0.5,
            flip_vertical: self.vertical_flip && unit(down) < 0.5,
            channel_shift: self.shifts_channels().then(|| around(self.channel_shift, channel)),
            brightness: self.brightness.map(|range| within(range, bright)),
        }
    }
}

impl Drawn {
    /// From a place (row, column) of the output to one of the input, as Keras builds it in f64: rotation · shift
    /// · shear · zoom about the centre, then rows and columns of the matrix swapped. `None` where nothing
    /// moves.
    ///
    /// The swap is Keras' own: it turns the other way round than the formula says, moves `tx`, which is drawn
    /// from the height, along columns, and exchanges the centre of an image that is not square.
    pub fn matrix(&self, size: Size) -> Option<[f64; 6]> {
        let mut parts: Vec<Matrix> = Vec::new();
        if self.theta != 0.0 {
            let (sin, cos) = self.theta.sin_cos();
            parts.push([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]);
        }
        if self.tx != 0.0 || self.ty != 0.0 {
            parts.push([[1.0, 0.0, self.tx], [0.0, 1.0, self.ty], [0.0, 0.0, 1.0]]);
        }
        if self.shear != 0.0 {
            let (sin, cos) = self.shear.sin_cos();
            parts.push([[1.0, -sin, 0.0], [0.0, cos, 0.0], [0.0, 0.0, 1.0]]);
        }
        if self.zx != 1.0 || self.zy != 1.0 {
            parts.push([[self.zx, 0.0, 0.0], [0.0, self.zy, 0.0], [0.0, 0.0, 1.0]]);
        }
        let moved = parts.into_iter().reduce(|a, b| product(&a, &b))?;
        let [x, y] = [size.h as f64 / 2.0 - 0.5, size.w as f64 / 2.0 - 0.5];
        let there = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]];
        let back = [[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]];
        let [[a, b, c], [d, e, f], _] = product(&product(&there, &moved), &back);
        Some([e, d, f, b, a, c])
    }

    /// What was drawn as the device takes it.
    pub fn transform(&self, size: Size) -> Transform {
        let mut out = Transform::IDENTITY;
        if let Some(matrix) = self.matrix(size) {
            out.matrix = matrix;
            out.flags |= Transform::MOVES;
        }
        if self.flip_horizontal {
            out.flags |= Transform::FLIPS_COLUMNS;
        }
        if self.flip_vertical {
            out.flags |= Transform::FLIPS_ROWS;
        }
        if let Some(shift) = self.channel_shift {
            out.shift = shift as f32;
            out.flags |= Transform::SHIFTS;
        }
        if let Some(factor) = self.brightness {
            out.brightness = factor as f32;
            out.flags |= Transform::BRIGHTENS;
        }
        out
    }
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { h: 150, w: 100 };

    #[test]
    fn a_draw_depends_on_seed_step_and_sample_and_on_nothing_else() {
        let book = Augment::book();
        let first = book.draw(1, 0, 0, SIZE);
        assert_eq!(first, book.draw(1, 0, 0, SIZE));
        for other in [book.draw(2, 0, 0, SIZE), book.draw(1, 1, 0, SIZE), book.draw(1, 0, 1, SIZE)] {
            assert_ne!(first, other);
        }
        let more = Augment { brightness: Some([0.5, 1.5]), channel_shift: 9.0, ..book };
        let more = Drawn { brightness: None, channel_shift: None, ..more.draw(1, 0, 0, SIZE) };
        assert_eq!(first, more);
    }

    /// 4000 draws: within the range, from one end to the other, about the right mean; flips about half.
    #[test]
    fn draws_fill_their_ranges() {
        let augment = Augment {
            channel_shift: 20.0,
            brightness: Some([0.5, 1.5]),
            vertical_flip: true,
            height_shift: 7.0,
            ..Augment::book()
        };
        let drawn: Vec<Drawn> = (0..4000).map(|k| augment.draw(3, k / 50, k as u32 % 50, SIZE)).collect();
        let spread = |of: fn(&Drawn) -> f64, low: f64, high: f64| {
            let values: Vec<f64> = drawn.iter().map(of).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            let width = high - low;
            assert!(least >= low && least < low + width / 100.0, "{least} in {low} to {high}");
            assert!(most <= high && most > high - width / 100.0, "{most} in {low} to {high}");
            // Four standard errors of a uniform mean: width / √12 / √4000 · 4.
            assert!((mean - (low + high) / 2.0).abs() < width * 0.019, "{mean} in {low} to {high}");
        };
        spread(|d| d.theta.to_degrees(), -40.0, 40.0);
        spread(|d| d.tx, -7.0, 7.0); // pixels
        spread(|d| d.ty, -20.0, 20.0); // a fifth of the width
        spread(|d| d.shear.to_degrees(), -0.2, 0.2);
        spread(|d| d.zx, 0.8, 1.2);
        spread(|d| d.zy, 0.8, 1.2);
        spread(|d| d.channel_shift.unwrap(), -20.0, 20.0);
        spread(|d| d.brightness.unwrap(), 0.5, 1.5);
        spread(|d| f64::from(u8::from(d.flip_horizontal)), 0.0, 1.0);
        spread(|d| f64::from(u8::from(d.flip_vertical)), 0.0, 1.0);
    }

    /// A share below 1, pixels from 1 on; an angle in degrees or as it is.
    #[test]
    fn a_range_is_in_the_unit_that_it_says() {
        let most = |augment: &Augment, of: fn(&Drawn) -> f64| {
            let drawn = (0..4000).map(|step| of(&augment.draw(3, step, 0, SIZE)));
            drawn.fold(0.0, |most: f64, value| most.max(value.abs()))
        };
        for (range, reach) in [(0.5, 50.0), (1.0, 1.0), (1.5, 1.5)] {
            let across = Augment { width_shift: range, ..Augment::default() };
            let got = most(&across, |drawn| drawn.ty);
            assert!(got <= reach && got > 0.99 * reach, "{range}: {got}");
        }
        for (range, reach) in [(0.5, 75.0), (1.0, 1.0)] {
            let down = Augment { height_shift: range, ..Augment::default() };
            let got = most(&down, |drawn| drawn.tx);
            assert!(got <= reach && got > 0.99 * reach, "{range}: {got}");
        }
        for (shear_unit, reach) in [(AngleUnit::Degrees, 0.2f64.to_radians()), (AngleUnit::Radians, 0.2)] {
            let got = most(&Augment { shear: 0.2, shear_unit, ..Augment::default() }, |drawn| drawn.shear);
            assert!(got <= reach && got > 0.99 * reach, "{shear_unit:?}: {got}");
        }
    }

    /// Samples have words of their own: with fewer bits for the number of a draw two of them would share some.
    #[test]
    fn no_two_samples_share_a_word() {
        let all = Augment {
            channel_shift: 1.0,
            brightness: Some([0.0, 1.0]),
            vertical_flip: true,
            ..Augment::book()
        };
        let mut seen = std::collections::HashSet::new();
        for (step, sample) in [(0, 0), (0, 1), (0, 2), (0, 3), (0, u32::MAX), (1, 0), (1, 1), (2, 0)] {
            let drawn = all.draw(5, step, sample, SIZE);
            // The first word of each of the three draws.
            let shares = [
                drawn.theta.to_degrees() / 80.0 + 0.5,
                (drawn.zx - 0.8) / 0.4,
                drawn.channel_shift.unwrap() / 2.0 + 0.5,
            ];
            for share in shares {
                let word = (share * 4_294_967_296.0).round() as u64;
                assert!(seen.insert(word), "step {step}, sample {sample}");
            }
        }
        assert_eq!(seen.len(), 24);
    }

    #[test]
    fn nothing_moves_where_nothing_is_asked_for() {
        let still = Augment { horizontal_flip: true, ..Augment::default() }.draw(1, 2, 3, SIZE);
        assert_eq!(still.matrix(SIZE), None);
        assert!(!still.transform(SIZE).has(Transform::MOVES));
        assert_eq!(Augment::default().draw(1, 2, 3, SIZE).transform(SIZE), Transform::IDENTITY);
    }
}
