//! What kernels take by value: twins of the structs in `kernels/params.cuh`, field by field.
//!
//! A field is made of four-byte numbers or of pointers, which are eight bytes here too; neither side has
//! padding (`Pod` refuses it). The test below reads the header and compares names, order, types and offsets.

use bytemuck::{Pod, Zeroable};

macro_rules! twins {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
            #[repr(C)]
            pub struct $name { $(pub $field: $type,)* }
        )*

        /// Name, bytes, and each field's name, type and place.
        #[cfg(test)]
        const TWINS: &[(&str, usize, &[(&str, &str, usize)])] = &[$((
            stringify!($name),
            size_of::<$name>(),
            &[$((stringify!($field), stringify!($type), std::mem::offset_of!($name, $field)),)*],
        ),)*];
    };
}

twins! {
    /// Any shape, flat.
    Elements { len: u32, }
    /// Any shape, flat, between floating-point formats.
    Cast { len: u32, from: u32, to: u32, }
    /// Matrices, one behind the other.
    Transpose { batch: u32, rows: u32, columns: u32, }
    /// Rows of numbers that lie side by side.
    Matrix { rows: u32, columns: u32, }
    /// Bytes of images to numbers.
    Normalize { rows: u32, order: [u32; 3], scale: [f32; 3], offset: [f32; 3], }
    /// Images of a set: gathered, moved, normalized.
    Augment {
        count: u32,
        n: u32,
        h: u32,
        w: u32,
        border: u32,
        value: f32,
        order: [u32; 3],
        scale: [f32; 3],
        offset: [f32; 3],
    }
    /// A 3x3 convolution.
    Conv2d { n: u32, h: u32, w: u32, c_in: u32, c_out: u32, }
    /// Some tiles of a map.
    Tiles { h: u32, w: u32, c: u32, high: u32, wide: u32, first: u32, count: u32, }
    /// Products of matrices, one for each of some points.
    Product { rows: u32, columns: u32, depth: u32, length: u32, points: u32, }
    /// A maximum over 2x2.
    Pool2d { n: u32, h: u32, w: u32, c: u32, }
    /// The mean of a map.
    GlobalPool2d { n: u32, pixels: u32, c: u32, }
    /// A dense layer.
    Dense { n: u32, c_in: u32, c_out: u32, }
    /// A loss from logits.
    Loss { rows: u32, columns: u32, denominator: f32, smoothing: f32, }
    /// How many terms of a sum each part takes.
    Split { length: u32, }
    /// Tiles and steps of a product that blocks share out evenly.
    StreamK { blocks: u32, rows: u32, columns: u32, steps: u32, }
    /// How many parts there are, and the length of each.
    Partials { count: u32, len: u32, }
    /// A mask and the factor of what it keeps.
    Dropout {
        len: u32,
        rate: f32,
        scale: f32,
        seed_low: u32,
        seed_high: u32,
        stream: u32,
        counter_low: u32,
        counter_high: u32,
    }
    /// Tensors that one launch steps through; a place without a tensor begins at the largest block.
    Tensors {
        gradient: [u64; 64],
        weight: [u64; 64],
        velocity: [u64; 64],
        momentum: [u64; 64],
        mean: [u64; 64],
        shadow: [u64; 64],
        len: [u32; 64],
        first: [u32; 64],
    }
    /// What happens to gradients and weights before any rule.
    Adjust { scale: f32, l2: f32, decay: f32, rate: f32, }
    /// The optimizer's numbers.
    Rmsprop { rate: f32, rho: f32, epsilon: f32, momentum: f32, centered: u32, outside: u32, }
    /// Gradient descent, with or without momentum.
    Sgd { rate: f32, momentum: f32, nesterov: u32, }
    /// Adam of one step.
    Adamw { alpha: f32, new_1: f32, new_2: f32, epsilon: f32, }
}

/// Places of [`Tensors`].
pub const TENSORS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(String, String, usize)>;

    /// The header's structs as [`TWINS`] has them: a field a line, offsets by counting as C does.
    fn header() -> Vec<(String, usize, Fields)> {
        let mut structs = Vec::new();
        for line in include_str!("../../../kernels/params.cuh").lines() {
            let code = line.split("//").next().unwrap().trim();
            if let Some(name) = code.strip_prefix("struct ") {
                structs.push((name.trim_end_matches('{').trim().to_owned(), 0, Vec::new()));
            } else if let Some((kind, field)) = code.strip_suffix(';').and_then(|code| code.rsplit_once(' '))
            {
                let (kind, bytes) = match kind {
                    "unsigned" => ("u32", 4),
                    "float" => ("f32", 4),
                    "float*" | "const float*" | "unsigned short*" => ("u64", 8),
                    other => panic!("params.cuh: a field of type {other}"),
                };
                let (field, kind, count) = match field.strip_suffix(']').and_then(|f| f.split_once('[')) {
                    Some((field, count)) => (field, format!("[{kind}; {count}]"), count.parse().unwrap()),
                    None => (field, kind.to_owned(), 1),
                };
                let (_, size, fields) = structs.last_mut().unwrap();
                let place = usize::next_multiple_of(*size, bytes);
                fields.push((field.to_owned(), kind, place));
                *size = place + bytes * count;
            } else if code == "};" {
                let (_, size, fields) = structs.last_mut().unwrap();
                let widest = if fields.iter().any(|(_, kind, _)| kind.contains("u64")) { 8 } else { 4 };
                *size = usize::next_multiple_of(*size, widest);
            }
        }
        structs
    }

    #[test]
    fn rust_and_cuda_agree_on_every_field() {
        let twins: Vec<_> = TWINS
            .iter()
            .map(|&(name, size, fields)| {
                let fields = fields.iter().map(|&(f, t, at)| (f.to_owned(), t.to_owned(), at)).collect();
                (name.to_owned(), size, fields)
            })
            .collect();
        assert_eq!(header(), twins);
    }
}
