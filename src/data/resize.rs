//! Resizing exactly as PIL does, bit for bit, because Keras resizes through PIL and a network sees
//! every pixel.
//!
//! In: an [`Rgb8`]. Out: an [`Rgb8`] of the asked size. The reference is Pillow up to 11.3; later
//! ones choose the order of the two bilinear passes by cost, which can differ by one grey level.

use super::image::Rgb8;
use std::fmt;
use std::str::FromStr;

/// Height and width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Size {
    /// `side` by `side`.
    pub fn square(side: usize) -> Self {
        Self { h: side, w: side }
    }

    /// Bytes of one RGB image: h * w * 3.
    pub fn bytes(self) -> usize {
        self.h * self.w * 3
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.h, self.w)
    }
}

/// How an image is brought to another size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resize {
    filter: Filter,
    /// Cut to the shape of the target first, as Keras does with `keep_aspect_ratio=True`; else squeezed into it.
    crops: bool,
    /// Turned first as its EXIF orientation says (PIL `exif_transpose`), which neither Keras nor torchvision does.
    upright: bool,
}

/// Which source pixels make one of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Filter {
    #[default]
    Nearest,
    Bilinear,
}

/// What becomes the target along one axis: of `from` pixels those from `first` on, `length` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    from: usize,
    first: usize,
    length: usize,
}

impl Resize {
    /// PIL `NEAREST`, the default of Keras' `flow_from_directory`.
    pub const NEAREST: Self = Self { filter: Filter::Nearest, crops: false, upright: false };
    /// PIL `BILINEAR`: a triangle filter, widened when shrinking, so that nothing aliases.
    pub const BILINEAR: Self = Self { filter: Filter::Bilinear, crops: false, upright: false };
    /// All.
    pub const ALL: [Self; 8] = [
        Self::NEAREST,
        Self::BILINEAR,
        Self::NEAREST.cropped(),
        Self::BILINEAR.cropped(),
        Self::NEAREST.upright(),
        Self::BILINEAR.upright(),
        Self::NEAREST.cropped().upright(),
        Self::BILINEAR.cropped().upright(),
    ];

    /// This way, of the largest part in the middle that has the shape of the target.
    #[must_use]
    pub const fn cropped(self) -> Self {
        Self { crops: true, ..self }
    }

    /// This way, with images turned first as their EXIF orientation says.
    #[must_use]
    pub const fn upright(self) -> Self {
        Self { upright: true, ..self }
    }

    /// This way with a filter that lets nothing alias, for people to look at.
    #[must_use]
    pub fn smooth(self) -> Self {
        Self { filter: Filter::Bilinear, ..self }
    }

    /// Whether images are cut to the shape of the target.
    pub fn crops(self) -> bool {
        self.crops
    }

    /// Whether an image is first turned as its EXIF orientation says.
    pub fn is_upright(self) -> bool {
        self.upright
    }

    /// The larger of what is made on the way from a size to another.
    pub(super) fn between(self, from: Size, to: Size) -> Size {
        match self.filter {
            Filter::Nearest => to,
            Filter::Bilinear => Size { h: from.h.max(to.h), w: to.w },
        }
    }

    /// Rows and columns of an image that become the target, by Keras' whole numbers.
    fn parts(self, from: Size, to: Size) -> [Part; 2] {
        let part = |from: usize, wanted: usize| {
            let length = if self.crops { wanted.clamp(1, from) } else { from };
            Part { from, first: (from - length) / 2, length }
        };
        [
            part(from.h, (from.w * to.h).checked_div(to.w).unwrap_or(from.h)),
            part(from.w, (from.h * to.w).checked_div(to.h).unwrap_or(from.w)),
        ]
    }

    /// The word for it on a command line and in a file.
    pub fn name(self) -> &'static str {
        match (self.upright, self.crops, self.filter) {
            (false, false, Filter::Nearest) => "nearest",
            (false, false, Filter::Bilinear) => "bilinear",
            (false, true, Filter::Nearest) => "crop-nearest",
            (false, true, Filter::Bilinear) => "crop-bilinear",
            (true, false, Filter::Nearest) => "upright-nearest",
            (true, false, Filter::Bilinear) => "upright-bilinear",
            (true, true, Filter::Nearest) => "upright-crop-nearest",
            (true, true, Filter::Bilinear) => "upright-crop-bilinear",
        }
    }

    /// A number for it in files, which no other has and which stays.
    pub(super) fn code(self) -> u32 {
        let filter = match self.filter {
            Filter::Nearest => 0,
            Filter::Bilinear => 1,
        };
        filter + 2 * u32::from(self.upright) + 4 * u32::from(self.crops)
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|way| way.name() == word);
        found.ok_or_else(|| format!("unknown resize `{word}`: {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Rgb8 {
    /// The image in another size; itself if it has that size. An empty target gives no pixels.
    #[must_use]
    pub fn resize(self, to: Size, how: Resize) -> Self {
        if self.size == to {
            return self;
        }
        let parts = how.parts(self.size, to);
        match how.filter {
            Filter::Nearest => nearest(&self, parts, to),
            Filter::Bilinear => bilinear(self, parts, to),
        }
    }
}

// Source index of every output. PIL adds up the step in f64 instead of multiplying; the closed form
// floor((i + 0.5) * from / to) picks another pixel on about a fifth of all sizes.
fn nearest_indices(part: Part, to: usize) -> Vec<usize> {
    let step = part.length as f64 / to as f64;
    let mut at = part.first as f64 + step * 0.5;
    let mut indices = Vec::with_capacity(to);
    for _ in 0..to {
        // The sum ends half a step below the end; min() only keeps the bound visible.
        indices.push((at as usize).min(part.from - 1));
        at += step;
    }
    indices
}

fn nearest(image: &Rgb8, [rows, columns]: [Part; 2], to: Size) -> Rgb8 {
    let columns = nearest_indices(columns, to.w);
    let mut pixels = Vec::with_capacity(to.bytes());
    for y in nearest_indices(rows, to.h) {
        let (row, _) = image.row(y).as_chunks::<3>();
        pixels.extend(columns.iter().flat_map(|&x| row[x]));
    }
    Rgb8 { size: to, pixels }
}

/// Weights are 22-bit fixed point: 32 bits less 8 of the pixel and 2 of headroom.
const FRACTION_BITS: u32 = 22;

/// The inputs of one output pixel along one axis.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

// Pillow, Resample.c, precompute_coeffs and normalize_coeffs_8bpc with the triangle filter. The
// order of the f64 operations is PIL's; another order gives other last bits. At the edge of a part its neighbours
// outside count, too, as with PIL's `box`.
fn taps(part: Part, to: usize) -> Vec<Tap> {
    let scale = part.length as f64 / to as f64;
    let support = scale.max(1.0);
    let narrow = 1.0 / support;
    (0..to)
        .map(|i| {
            let center = part.first as f64 + (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(part.from);
            let weights: Vec<f64> =
                (first..end).map(|x| (1.0 - ((x as f64 - center + 0.5) * narrow).abs()).max(0.0)).collect();
            let sum: f64 = weights.iter().sum();
            let one = f64::from(1 << FRACTION_BITS);
            let weights = weights.iter().map(|w| (0.5 + w / sum * one) as i32).collect();
            Tap { first, weights }
        })
        .collect()
}

fn to_grey_level(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

// Across first, then down, with u8 in between: PIL's order, and visible in the result.
fn bilinear(image: Rgb8, [rows, columns]: [Part; 2], to: Size) -> Rgb8 {
    // As PIL: a pass that would change nothing is left out.
    let is_whole = |part: Part, to: usize| part.length == part.from && part.from == to;
    let across = Size { h: image.size.h, w: to.w };
    let image = if is_whole(columns, to.w) { image } else { resize_rows(&image, columns, across) };
    if is_whole(rows, to.h) { image } else { resize_columns(&image, rows, to) }
}

fn resize_rows(image: &Rgb8, part: Part, to: Size) -> Rgb8 {
    let taps = taps(part, to.w);
    let mut pixels = Vec::with_capacity(to.bytes());
    for y in 0..to.h {
        let (row, _) = image.row(y).as_chunks::<3>();
        for tap in &taps {
            let mut sum = [1 << (FRACTION_BITS - 1); 3];
            for (weight, pixel) in tap.weights.iter().zip(&row[tap.first..]) {
                for (s, &p) in sum.iter_mut().zip(pixel) {
                    *s += weight * i32::from(p);
                }
            }
            pixels.extend(sum.map(to_grey_level));
        }
    }
    Rgb8 { size: to, pixels }
}

fn resize_columns(image: &Rgb8, part: Part, to: Size) -> Rgb8 {
    let mut pixels = Vec::with_capacity(to.bytes());
    let mut sums = vec![0i32; to.w * 3];
    for tap in taps(part, to.h) {
        sums.fill(1 << (FRACTION_BITS - 1));
        for (y, weight) in (tap.first..).zip(&tap.weights) {
            for (s, &p) in sums.iter_mut().zip(image.row(y)) {
                *s += weight * i32::from(p);
            }
        }
        pixels.extend(sums.iter().map(|&s| to_grey_level(s)));
    }
    Rgb8 { size: to, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(h: usize, w: usize) -> Rgb8 {
        let pixels = (0..h * w * 3).map(|i| (i * 89 % 251) as u8).collect();
        Rgb8 { size: Size { h, w }, pixels }
    }

    #[test]
    fn nearest_adds_the_step_up_as_pil_does() {
        // Pillow 11.3, 64 columns to 63: output 31 alone falls on the other side of the closed form.
        let closed: Vec<usize> = (0..63).map(|i| ((i as f64 + 0.5) * 64.0 / 63.0) as usize).collect();
        let ours = nearest_indices(Part { from: 64, first: 0, length: 64 }, 63);
        let differing: Vec<usize> = (0..63).filter(|&i| ours[i] != closed[i]).collect();
        assert_eq!(differing, [31]);
    }

    #[test]
    fn an_image_of_the_right_size_is_not_touched() {
        let image = ramp(5, 7);
        for how in [Resize::NEAREST, Resize::BILINEAR] {
            assert_eq!(image.clone().resize(image.size, how), image);
        }
    }

    /// What is made on the way, not only what comes out, must fit: of an image 1 wide and 170 million high a file is
    /// small.
    #[test]
    fn a_narrow_image_that_is_very_high_is_refused() {
        let (high, to) = (Size { h: 170_000_000, w: 1 }, Size::square(150));
        assert_eq!(Resize::NEAREST.between(high, to), to);
        let between = Resize::BILINEAR.between(high, to);
        assert_eq!(between, Size { h: 170_000_000, w: 150 });
        let path = std::path::Path::new("high.png");
        let error = crate::data::image::fits(path, between).unwrap_err().to_string();
        assert!(error.contains("high.png is too large") && error.contains("170000000x150"), "{error}");
        crate::data::image::fits(path, Resize::BILINEAR.between(Size { h: 12_000, w: 9000 }, to)).unwrap();
    }

    #[test]
    fn names_go_both_ways() {
        for how in Resize::ALL {
            assert_eq!(how.name().parse(), Ok(how));
            assert_eq!(Resize::ALL.iter().filter(|other| other.code() == how.code()).count(), 1, "{how}");
        }
        assert!("cubic".parse::<Resize>().is_err());
    }

    proptest! {
        #[test]
        fn bilinear_keeps_a_flat_image_flat(
            h in 1usize..40, w in 1usize..40, th in 1usize..60, tw in 1usize..60, level: u8,
        ) {
            let flat = Rgb8 { size: Size { h, w }, pixels: vec![level; h * w * 3] };
            let to = Size { h: th, w: tw };
            // The rounded weights of a pixel sum to 1 within 2^-22 each: far less than half a level.
            prop_assert_eq!(flat.resize(to, Resize::BILINEAR).pixels, vec![level; to.bytes()]);
        }

        #[test]
        fn any_size_to_any_size(h in 1usize..30, w in 1usize..30, th in 0usize..40, tw in 0usize..40) {
            let to = Size { h: th, w: tw };
            for how in Resize::ALL {
                let out = ramp(h, w).resize(to, how);
                prop_assert_eq!(out.size, to);
                prop_assert_eq!(out.pixels.len(), to.bytes());
            }
        }
    }
}
