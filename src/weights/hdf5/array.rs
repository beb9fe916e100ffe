//! An array of an HDF5 file in; its type, its shape and the place of its numbers out.
//!
//! Little-endian numbers in one piece, which is how Keras writes them, stay where they are. Those of
//! `h5repack` (chunks, gzip, shuffle) and of big-endian machines are decoded, after it is clear that the file
//! has the bytes for what it claims: a chunk unfolds to 1,032 times its size at most, and counts once.

use super::window::Meter;
use crate::weights::contents::{Place, most_claimed};
use crate::weights::header::MAX_RANK;
use hdf5_pure::{
    AttrValue, Chunk, Dataset, Datatype, DatatypeByteOrder, FixedPointLayout, FloatingPointLayout, Layout,
};
use safetensors::Dtype;
use std::cell::Cell;
use std::ops::Range;

/// Deflate's greatest ratio: 258 bytes for two bits.
const DEFLATE: u64 = 1032;
/// Chunks of an array. h5py chooses chunks of 16 kB and more, so that an array of 4 GB has fewer.
const MAX_CHUNKS: u64 = 1 << 18;
// HDF5's filters; SUM is fletcher32. LZF is h5py's own, and its ratio is under 90.
const GZIP: u16 = 1;
const SHUFFLE: u16 = 2;
const SUM: u16 = 3;
const LZF: u16 = 32000;

/// An array of numbers.
#[derive(Debug)]
pub(in crate::weights) struct Array {
    pub dtype: Dtype,
    /// Slowest axis first.
    pub shape: Vec<usize>,
    pub place: Place,
}

/// The file that the array is in, and what it may still cost.
pub(super) struct Whole<'a> {
    pub bytes: &'a [u8],
    /// The HDF5 file in it.
    pub within: &'a Range<usize>,
    pub meter: &'a Meter,
    pub decodable: &'a Decodable,
}

/// What may still be decoded. A byte of the file counts once: many arrays over the same few bytes are a bomb.
pub(super) struct Decodable {
    stored: Cell<u64>,
    decoded: Cell<u64>,
    /// What `decoded` was in the beginning.
    most: u64,
}

/// Why an array cannot be had.
pub(super) enum Wrong {
    Library(hdf5_pure::Error),
    /// Without `help`, the file is damaged.
    Said {
        what: &'static str,
        expected: String,
        got: String,
        help: &'static str,
    },
}

impl From<hdf5_pure::Error> for Wrong {
    fn from(error: hdf5_pure::Error) -> Self {
        Self::Library(error)
    }
}

impl Decodable {
    /// For an HDF5 file of `length` bytes.
    pub fn of(length: usize) -> Self {
        let length = length as u64;
        // What no file could keep would be refused once it is decoded: it is not decoded then.
        let most = length.saturating_mul(DEFLATE).min(most_claimed(length));
        Self { stored: Cell::new(length), decoded: Cell::new(most), most }
    }

    pub fn spend(&self, stored: u64, decoded: u64) -> Result<(), Wrong> {
        match (self.stored.get().checked_sub(stored), self.decoded.get().checked_sub(decoded)) {
            (Some(stored_left), Some(decoded_left)) => {
                self.stored.set(stored_left);
                self.decoded.set(decoded_left);
                Ok(())
            }
            _ => Err(said(
                "unfolds to more than the file can hold",
                format!("at most {} bytes in all, {} of them left", self.most, self.decoded.get()),
                format!("{decoded} bytes of {stored} stored"),
            )),
        }
    }
}

fn said(what: &'static str, expected: impl Into<String>, got: impl Into<String>) -> Wrong {
    Wrong::Said { what, expected: expected.into(), got: got.into(), help: "" }
}

/// Finds the numbers of `dataset`.
pub(super) fn find(dataset: &Dataset, whole: &Whole<'_>) -> Result<Array, Wrong> {
    let datatype = dataset.datatype()?;
    let Some((dtype, big)) = kind(&datatype).or(brain(dataset, &datatype)?) else {
        // Types can be nested thousands of levels deep, and so can their description.
        let got: String = format!("{datatype}").chars().take(60).flat_map(char::escape_debug).collect();
        return Err(Wrong::Said {
            what: "is not of numbers",
            expected: "IEEE floats of 16, 32 or 64 bits, or integers".into(),
            got,
            help: "leave it out, or keep it as f32, where the file is made",
        });
    };
    let axes = dataset.shape()?;
    let sizes: Option<Vec<usize>> = axes.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let width = (dtype.bitsize() / 8) as u64;
    let size = axes.iter().try_fold(width, |size, &axis| size.checked_mul(axis));
    let (Some(shape), Some(size), true) = (sizes, size, axes.len() <= MAX_RANK) else {
        let got = format!("{:?} of {dtype}", axes.iter().take(MAX_RANK + 1).collect::<Vec<_>>());
        return Err(said("has an impossible shape", format!("at most {MAX_RANK} axes"), got));
    };
    let turned = |mut bytes: Vec<u8>| {
        if big {
            bytes.chunks_exact_mut(width as usize).for_each(<[u8]>::reverse);
        }
        Place::Decoded(bytes)
    };
    let place = match dataset.layout()? {
        _ if size == 0 => Place::Decoded(Vec::new()),
        Layout::Contiguous { address: Some(address), size: stored } => {
            let range = within(whole, address, stored, size, &shape, dtype)?;
            if big {
                whole.decodable.spend(size, size)?;
                turned(whole.bytes.get(range).unwrap_or_default().to_vec())
            } else {
                Place::Here(range)
            }
        }
        Layout::Contiguous { address: None, .. } => return Err(unwritten("nothing")),
        Layout::Compact { size: stored } if stored == size => {
            whole.decodable.spend(size, size)?;
            turned(raw(dataset, size)?)
        }
        Layout::Compact { size: stored } => return Err(other_size(stored, size, &shape, dtype)),
        Layout::Chunked { chunk_shape, .. } => {
            check_chunks(dataset, whole, &axes, &chunk_shape, width)?;
            turned(raw(dataset, size)?)
        }
        _ => {
            return Err(Wrong::Said {
                what: "is pieced together from other arrays",
                expected: "numbers in the file itself".into(),
                got: "a virtual dataset".into(),
                help: "save the weights again with Keras",
            });
        }
    };
    Ok(Array { dtype, shape, place })
}

/// The type of numbers, and whether they are big-endian; `None` for everything else, odd floats included.
fn kind(datatype: &Datatype) -> Option<(Dtype, bool)> {
    /// The parts of f16 and bf16, for which hdf5-pure has no constants.
    fn float16(exponent: u8, mantissa: u8, bias: u32) -> FloatingPointLayout {
        FloatingPointLayout {
            bit_offset: 0,
            bit_precision: 16,
            exponent_location: mantissa,
            exponent_size: exponent,
            mantissa_location: 0,
            mantissa_size: mantissa,
            exponent_bias: bias,
        }
    }
    let (dtype, order) = match datatype {
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let dtype = match size {
                2 if *layout == float16(5, 10, 15) => Dtype::F16,
                2 if *layout == float16(8, 7, 127) => Dtype::BF16,
                4 if *layout == FloatingPointLayout::IEEE754_BINARY32 => Dtype::F32,
                8 if *layout == FloatingPointLayout::IEEE754_BINARY64 => Dtype::F64,
                _ => return None,
            };
            (dtype, byte_order)
        }
        Datatype::FixedPoint { size, byte_order, layout } => {
            let FixedPointLayout { signed, bit_offset: 0, bit_precision } = *layout else { return None };
            if u32::from(bit_precision) != size.checked_mul(8)? {
                return None;
            }
            let dtype = match (size, signed) {
                (1, true) => Dtype::I8,
                (1, false) => Dtype::U8,
                (2, true) => Dtype::I16,
                (2, false) => Dtype::U16,
                (4, true) => Dtype::I32,
                (4, false) => Dtype::U32,
                (8, true) => Dtype::I64,
                (8, false) => Dtype::U64,
                _ => return None,
            };
            (dtype, byte_order)
        }
        _ => return None,
    };
    match order {
        DatatypeByteOrder::LittleEndian => Some((dtype, false)),
        DatatypeByteOrder::BigEndian => Some((dtype, true)),
        DatatypeByteOrder::Vax => None,
    }
}

/// Keras 3 keeps its bfloat16 as two opaque bytes, and says so in an attribute.
fn brain(dataset: &Dataset, datatype: &Datatype) -> Result<Option<(Dtype, bool)>, Wrong> {
    if !matches!(datatype, Datatype::Opaque { size: 2, .. }) {
        return Ok(None);
    }
    let said = dataset.attrs()?;
    let is = said.get("dtype").and_then(AttrValue::as_str) == Some("bfloat16");
    Ok(is.then_some((Dtype::BF16, false)))
}

/// The place in the outer file of `stored` bytes at `address`.
fn within(
    whole: &Whole<'_>,
    address: u64,
    stored: u64,
    size: u64,
    shape: &[usize],
    dtype: Dtype,
) -> Result<Range<usize>, Wrong> {
    if stored != size {
        return Err(other_size(stored, size, shape, dtype));
    }
    let place = usize::try_from(address).ok().zip(usize::try_from(size).ok());
    let range = place.and_then(|(address, size)| {
        let start = whole.within.start.checked_add(address)?;
        Some(start..start.checked_add(size)?)
    });
    range.filter(|range| range.end <= whole.within.end).ok_or_else(|| {
        said(
            "lies beyond the file",
            format!("at most {} bytes", whole.within.len()),
            format!("{size} bytes at {address}"),
        )
    })
}

fn other_size(stored: u64, size: u64, shape: &[usize], dtype: Dtype) -> Wrong {
    said(
        "has another size than its shape",
        format!("{size} bytes for {shape:?} of {dtype}"),
        format!("{stored} bytes"),
    )
}

fn unwritten(got: impl Into<String>) -> Wrong {
    Wrong::Said {
        what: "was never written",
        expected: "numbers for all of its shape".into(),
        got: got.into(),
        help: "the program that made the file has stopped too early; make it again",
    }
}

/// All bytes of an array, as the file has them after its filters. Its size has been checked.
fn raw(dataset: &Dataset, size: u64) -> Result<Vec<u8>, Wrong> {
    let bytes = dataset.read_raw()?;
    if bytes.len() as u64 == size {
        return Ok(bytes);
    }
    Err(said("has another size than its shape", format!("{size} bytes"), format!("{} bytes", bytes.len())))
}

/// Checks that the chunks cover the array, that their bytes are there, and that these can hold what they are
/// to unfold to; before anything is unfolded.
fn check_chunks(
    dataset: &Dataset,
    whole: &Whole<'_>,
    axes: &[u64],
    chunk: &[u64],
    width: u64,
) -> Result<(), Wrong> {
    let filters = dataset.filters();
    if let Some(filter) = filters.iter().find(|id| ![GZIP, SHUFFLE, SUM, LZF].contains(id)) {
        return Err(Wrong::Said {
            what: "is packed in a way that is not read",
            expected: "gzip, shuffle, fletcher32 or LZF".into(),
            got: format!("HDF5's filter {filter}"),
            help: "repack the file: h5repack -f NONE FILE NEW",
        });
    }
    let odd =
        || said("has an impossible grid of chunks", format!("chunks of {axes:?}"), format!("{chunk:?}"));
    if axes.is_empty() || axes.len() != chunk.len() || chunk.contains(&0) {
        return Err(odd());
    }
    let grid: Vec<u64> = axes.iter().zip(chunk).map(|(&axis, &edge)| axis.div_ceil(edge)).collect();
    let length = whole.within.len() as u64;
    // In an index, a chunk has eight bytes at least.
    let most = MAX_CHUNKS.min(length / 8);
    let count = grid.iter().try_fold(1u64, |n, &axis| n.checked_mul(axis)).filter(|&n| n <= most);
    let each =
        chunk.iter().try_fold(width, |n, &edge| n.checked_mul(edge)).filter(|&n| n <= u64::from(u32::MAX));
    let (Some(count), Some(each)) = (count, each) else { return Err(odd()) };

    // The index may have nothing in it, at any size of the array: spent before it is read.
    let decoded = count.checked_mul(each).ok_or_else(odd)?;
    whole.decodable.spend(0, decoded)?;
    let chunks = dataset.chunks()?;
    let mut seen = vec![false; count as usize];
    let mut stored = 0u64;
    for piece in &chunks {
        let place = number_in_grid(piece, chunk, &grid).and_then(|number| seen.get_mut(number as usize));
        if place.map(|seen| std::mem::replace(seen, true)) != Some(false) {
            return Err(said("has a chunk out of place", "each once", format!("one at {:?}", piece.offset)));
        }
        let end = piece.address.checked_add(piece.storage_size).filter(|&end| end <= length);
        let possible = if filters.contains(&GZIP) || filters.contains(&LZF) {
            each <= piece.storage_size.saturating_mul(DEFLATE)
        } else {
            // A checksum has four bytes.
            piece.storage_size.checked_sub(each).is_some_and(|more| more <= 4 * filters.len() as u64)
        };
        if end.is_none() || !possible {
            return Err(said(
                "has an impossible chunk",
                format!("{each} bytes from within {length}"),
                format!("{} bytes at {}", piece.storage_size, piece.address),
            ));
        }
        stored = stored.saturating_add(piece.storage_size);
    }
    if chunks.len() as u64 != count {
        return Err(unwritten(format!("{} of {count} chunks", chunks.len())));
    }
    whole.decodable.spend(stored, 0)?;
    whole.meter.allow(chunks.len(), stored);
    Ok(())
}

/// Where in the grid a chunk is, the last axis fastest.
fn number_in_grid(piece: &Chunk, chunk: &[u64], grid: &[u64]) -> Option<u64> {
    if piece.offset.len() != grid.len() {
        return None;
    }
    let mut number = 0u64;
    for ((&offset, &edge), &count) in piece.offset.iter().zip(chunk).zip(grid) {
        let at = offset.checked_div(edge).filter(|&at| at < count && at * edge == offset)?;
        number = number.checked_mul(count)?.checked_add(at)?;
    }
    Some(number)
}
