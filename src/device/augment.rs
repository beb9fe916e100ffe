//! How an image is moved, shifted, turned over and brightened on its way to the network.
//!
//! One [`Transform`] for each output image goes to the device as [`Transform::WORDS`] u32: four-byte words,
//! since six of its numbers are f64 and the flags are bits. Coordinates are f64 because the edge of a constant
//! border and the truncation to bytes are cliffs: what f32 loses there is a whole grey level.

use super::call::Normalize;
use bytemuck::{Pod, Zeroable};

/// What stands outside an image; `scipy.ndimage`'s modes at order 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Border {
    /// `aaaa|abcd|dddd`.
    Nearest,
    /// `dcba|abcd|dcba`.
    Reflect,
    /// The image again, with a period of one pixel less than its size: scipy's `wrap` lays the last pixel on
    /// the first.
    Wrap,
    /// This level, for every point that is not between pixels.
    Constant(f32),
}

/// Images of a set, gathered by index: what [`Call::Augment`](super::Call::Augment) works on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gather {
    /// Images in the set.
    pub count: usize,
    /// Images to make.
    pub n: usize,
    /// Rows of each.
    pub h: usize,
    /// Columns of each.
    pub w: usize,
    /// What stands outside.
    pub border: Border,
    /// Whether channel shifts are heeded: their clip needs each image's smallest and largest level first.
    pub ranged: bool,
    /// From levels to the network's input.
    pub rule: Normalize,
}

/// What happens to one image. Twin of the struct in `kernels/augment.cu`; 64 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Transform {
    /// From a place in the output to one in the input: row = m0·i + m1·j + m2, column = m3·i + m4·j + m5.
    pub matrix: [f64; 6],
    /// Added to every level, then clipped to the image's own range.
    pub shift: f32,
    /// Factor of every level, as bytes.
    pub brightness: f32,
    /// Which of it is done: [`Transform::MOVES`] and its neighbours.
    pub flags: u32,
    /// 0.
    pub unused: u32,
}

impl Transform {
    /// The matrix counts.
    pub const MOVES: u32 = 1;
    /// The shift counts.
    pub const SHIFTS: u32 = 2;
    /// Left becomes right.
    pub const FLIPS_COLUMNS: u32 = 4;
    /// Top becomes bottom.
    pub const FLIPS_ROWS: u32 = 8;
    /// The brightness counts; a factor of 1 still cuts levels to bytes.
    pub const BRIGHTENS: u32 = 16;

    /// Its length as u32.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// The image as it is.
    pub const IDENTITY: Self =
        Self { matrix: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], shift: 0.0, brightness: 1.0, flags: 0, unused: 0 };

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn rust_and_cuda_agree_on_every_field() {
        let source = include_str!("../../kernels/augment.cu");
        let (_, rest) = source.split_once("struct Transform {").unwrap();
        let fields: Vec<_> = rest.split_once("};").unwrap().0.split(';').map(str::trim).collect();
        let twins =
            ["double matrix[6]", "float shift", "float brightness", "unsigned flags", "unsigned unused"];
        assert_eq!(fields[..5], twins);
        let offsets = [
            offset_of!(Transform, matrix),
            offset_of!(Transform, shift),
            offset_of!(Transform, brightness),
            offset_of!(Transform, flags),
            offset_of!(Transform, unused),
        ];
        assert_eq!((offsets, Transform::WORDS), ([0, 48, 52, 56, 60], 16));
        let flags = "MOVES = 1, SHIFTS = 2, FLIPS_COLUMNS = 4, FLIPS_ROWS = 8, BRIGHTENS = 16";
        assert!(source.contains(flags));
    }
}
