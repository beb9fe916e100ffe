//! One `TensorProto`: a message in, a name, a type, a shape and the place of the numbers out.
//!
//! Numbers lie in `raw_data` or packed in `float_data`, where they are left, in lists of varints, which are
//! decoded, or in a file beside. Types that safetensors has no name for (text, complex, four bits) are passed
//! over: no network of ours has weights of them.

use super::wire::{Field, Fields, File};
use crate::error::{Error, Kind, Result};
use crate::weights::contents::{Found, Place};
use crate::weights::header::MAX_RANK;
use safetensors::Dtype;
use std::ops::Range;

/// Longer names are no names; and every layer of the graph repeats some.
const MAX_NAME: usize = 4096;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i64 = 1;
const MESSAGE: &str = "TensorProto";

/// The fields of a `TensorProto` that hold numbers.
const FLOATS: u32 = 4;
const INT32S: u32 = 5;
const INT64S: u32 = 7;
const DOUBLES: u32 = 10;
const UINT64S: u32 = 11;

/// What a `TensorProto` says, before it is believed.
struct Said<'a> {
    name: &'a str,
    dims: Vec<i64>,
    data_type: i64,
    raw: Option<Range<usize>>,
    /// How many fields of numbers there are, and the place of the last that is bytes.
    lists: usize,
    packed: Option<(u32, Range<usize>)>,
    external: bool,
    location: Option<&'a str>,
    offset: Option<&'a str>,
    length: Option<&'a str>,
}

/// Reads the tensor at `place`. `name` is its name where it has none of its own (a Constant's). `None` for a
/// type that is passed over.
///
/// # Errors
/// [`Kind::Weights`] when a size, a place or a name cannot be.
pub(super) fn read(file: File<'_>, place: Range<usize>, name: Option<&str>) -> Result<Option<Found>> {
    let said = said(file, place.clone())?;
    let name = name.unwrap_or(said.name);
    check_name(file, place.start, name)?;
    let Some(dtype) = dtype(said.data_type) else { return Ok(None) };
    let tensor = Tensor { file, place, name, dtype, said: &said };
    let shape = tensor.shape()?;
    let size = byte_size(&shape, dtype).ok_or_else(|| {
        tensor.refused("has an impossible shape").fact("shape", format!("{shape:?} of {dtype}")).help(AGAIN)
    })?;
    let place = match (said.external, &said.raw) {
        (true, _) => tensor.beside(size as u64)?,
        (false, Some(raw)) if said.lists == 0 => {
            tensor.check_size(&shape, size, raw.len())?;
            Place::Here(raw.clone())
        }
        (false, Some(raw)) if !raw.is_empty() => {
            return Err(tensor.refused("has its numbers twice").help(AGAIN));
        }
        (false, _) => tensor.listed(&shape, size)?,
    };
    Ok(Some(Found { name: name.to_owned(), dtype, shape, place }))
}

const AGAIN: &str = "the file is damaged; fetch or make it again";

/// Bytes of a tensor; `None` when the product overflows.
fn byte_size(shape: &[usize], dtype: Dtype) -> Option<usize> {
    shape.iter().try_fold(dtype.bitsize() / 8, |size, &axis| size.checked_mul(axis))
}

/// The type with the number `data_type` in `TensorProto.DataType`, of those with whole bytes.
fn dtype(data_type: i64) -> Option<Dtype> {
    Some(match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        4 => Dtype::U16,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::BOOL,
        10 => Dtype::F16,
        11 => Dtype::F64,
        12 => Dtype::U32,
        13 => Dtype::U64,
        16 => Dtype::BF16,
        17 => Dtype::F8_E4M3,
        18 => Dtype::F8_E4M3FNUZ,
        19 => Dtype::F8_E5M2,
        20 => Dtype::F8_E5M2FNUZ,
        24 => Dtype::F8_E8M0,
        _ => return None,
    })
}

/// Refuses a name that is none, or too long to be one.
pub(super) fn check_name(file: File<'_>, at: usize, name: &str) -> Result<()> {
    match name.len() {
        0 => Err(file.damaged(at, "a tensor without a name")),
        1..=MAX_NAME => Ok(()),
        length => Err(file.damaged(at, format!("a tensor's name of {length} bytes"))),
    }
}

fn said(file: File<'_>, place: Range<usize>) -> Result<Said<'_>> {
    let mut said = Said {
        name: "",
        dims: Vec::new(),
        data_type: 0,
        raw: None,
        lists: 0,
        packed: None,
        external: false,
        location: None,
        offset: None,
        length: None,
    };
    let mut fields = file.fields(place.clone(), MESSAGE);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => field.ints(|axis| {
                if said.dims.len() == MAX_RANK {
                    return Err(file.damaged(place.start, format!("a tensor of more than {MAX_RANK} axes")));
                }
                said.dims.push(axis);
                Ok(())
            })?,
            2 => said.data_type = field.int()?,
            8 => said.name = field.text()?,
            9 => said.raw = Some(field.bytes()?),
            FLOATS | INT32S | INT64S | DOUBLES | UINT64S => {
                said.lists += 1;
                said.packed = field.bytes().ok().map(|bytes| (field.number, bytes));
            }
            13 => entry(field.message("StringStringEntryProto")?, &mut said)?,
            14 => said.external = field.int()? == EXTERNAL,
            _ => {}
        }
    }
    Ok(said)
}

/// One key of the external data and its value. `checksum` and what is to come are not for us.
fn entry<'a>(mut fields: Fields<'a>, said: &mut Said<'a>) -> Result<()> {
    let (mut key, mut value) = ("", "");
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    match key {
        "location" => said.location = Some(value),
        "offset" => said.offset = Some(value),
        "length" => said.length = Some(value),
        _ => {}
    }
    Ok(())
}

/// A tensor whose type is known.
struct Tensor<'a> {
    file: File<'a>,
    place: Range<usize>,
    name: &'a str,
    dtype: Dtype,
    said: &'a Said<'a>,
}

impl Tensor<'_> {
    fn shape(&self) -> Result<Vec<usize>> {
        let sizes = self.said.dims.iter().map(|&axis| usize::try_from(axis).ok());
        sizes.collect::<Option<Vec<_>>>().ok_or_else(|| {
            self.refused("has a negative size").fact("shape", format!("{:?}", self.said.dims)).help(AGAIN)
        })
    }

    /// Numbers that lie in the lists of the message, one by one or packed.
    fn listed(&self, shape: &[usize], size: usize) -> Result<Place> {
        // Where ONNX puts numbers of the type. Those of two bytes and less stand as varints among the int32s,
        // halves with their bits.
        let (number, width) = match self.dtype {
            Dtype::F32 => (FLOATS, 4),
            Dtype::F64 => (DOUBLES, 8),
            Dtype::I64 => (INT64S, 8),
            Dtype::U32 => (UINT64S, 4),
            Dtype::U64 => (UINT64S, 8),
            other => (INT32S, other.bitsize() / 8),
        };
        let floats = number == FLOATS || number == DOUBLES;
        if let (true, 1, Some((packed, place))) = (floats, self.said.lists, &self.said.packed)
            && *packed == number
        {
            self.check_size(shape, size, place.len())?;
            return Ok(Place::Here(place.clone()));
        }
        let mut out = Vec::new();
        let mut fields = self.file.fields(self.place.clone(), MESSAGE);
        while let Some(field) = fields.next_field()? {
            if field.number != number {
                continue;
            }
            if floats {
                out.extend_from_slice(self.file.slice(&field.reals(width)?));
            } else {
                self.decode(&field, width, &mut out)?;
            }
        }
        self.check_size(shape, size, out.len())?;
        Ok(Place::Decoded(out))
    }

    /// Varints as numbers of `width` bytes.
    fn decode(&self, field: &Field<'_>, width: usize, out: &mut Vec<u8>) -> Result<()> {
        field.ints(|value| {
            // What is cut off may hold nothing but the sign.
            let bits = 8 * width as u32;
            let rest = if bits < 64 { value >> bits } else { 0 };
            if rest != 0 && rest != -1 {
                return Err(self
                    .refused("holds a number that is too large for its type")
                    .fact("number", value)
                    .fact("type", self.dtype)
                    .help(AGAIN));
            }
            out.extend(value.to_le_bytes().iter().take(width));
            Ok(())
        })
    }

    /// Numbers in a file of the same folder.
    fn beside(&self, size: u64) -> Result<Place> {
        let location = self.said.location.unwrap_or_default();
        // A name that leaves the folder could have any file read.
        let inside = location.len() <= MAX_NAME
            && !location.contains(['\\', ':', '\0'])
            && !location.contains('/')
            && !matches!(location, "" | "." | "..");
        if !inside {
            return Err(self
                .refused("lies in a file that is not beside the ONNX file")
                .expected_got("the name of a file in the same folder", format!("\"{}\"", shorten(location)))
                .help("save the model again with its external data in the same folder, or in one file"));
        }
        let number = |text: Option<&str>, default: u64| match text {
            None => Ok(default),
            Some(text) => text.parse::<u64>().map_err(|_| {
                self.refused("has external data at a place that is no number")
                    .fact("place", format!("\"{}\"", shorten(text)))
                    .help(AGAIN)
            }),
        };
        let offset = number(self.said.offset, 0)?;
        let length = number(self.said.length, size)?;
        if length != size {
            return Err(self
                .refused("has another size than its shape")
                .expected_got(format!("{size} bytes"), format!("{length} bytes in {}", shorten(location)))
                .help(AGAIN));
        }
        let end = offset.checked_add(length).ok_or_else(|| {
            self.refused("has external data at an impossible place").fact("offset", offset).help(AGAIN)
        })?;
        Ok(Place::Beside { file: location.to_owned(), bytes: offset..end })
    }

    fn check_size(&self, shape: &[usize], expected: usize, got: usize) -> Result<()> {
        if expected == got {
            return Ok(());
        }
        let dtype = self.dtype;
        Err(self
            .refused("has another size than its shape")
            .expected_got(format!("{expected} bytes for {shape:?} of {dtype}"), format!("{got} bytes"))
            .help(AGAIN))
    }

    fn refused(&self, why: &str) -> Error {
        let (name, file) = (shorten(self.name), self.file.path.display());
        Error::new(Kind::Weights, format!("the tensor `{name}` in {file} {why}"))
    }
}

/// Text from the file, fit for one line of an error. Names of nodes are paths, and long.
pub(super) fn shorten(text: &str) -> String {
    crate::files::shorten(text, 100)
}
