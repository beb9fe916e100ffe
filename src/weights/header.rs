//! The header of a safetensors file: bytes in, checked names, types, shapes and places out.
//!
//! The official reader reports what is wrong without saying where, and keeps the last of two equal
//! names. So the header is first read here, with a reason for every refusal; the official reader
//! then has the last word. Nothing is allocated by a number that the file claims.

use super::contents::{Contents, FileFormat, Found, Place};
use super::unzip::shorten;
use crate::error::{Error, Kind, Result};
use crate::files;
use safetensors::{Dtype, SafeTensors};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::error::Category;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The length of the header's length.
pub(super) const PREFIX: usize = 8;
/// The format's own limit on the header.
pub(super) const MAX_HEADER: u64 = 100_000_000;
/// No network has more axes; a file that claims more is damaged.
pub(super) const MAX_RANK: usize = 8;
/// Characters of a reason that a library gives.
const REASON: usize = 200;
/// The entry that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// Where a tensor lies and what it is.
#[derive(Debug)]
struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes from the beginning of the file.
    pub bytes: Range<usize>,
}

#[derive(Debug, Default)]
struct Header {
    pub entries: BTreeMap<String, Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// What the whole file `bytes` holds; `path` is for the errors.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let Header { entries, metadata } = parse(path, bytes)?;
    let tensors = entries
        .into_iter()
        .map(|(name, Entry { dtype, shape, bytes })| Found { name, dtype, shape, place: Place::Here(bytes) })
        .collect();
    Ok(Contents { format: FileFormat::Safetensors, tensors, metadata, graph: None, pools: None })
}

/// Reads and checks the header of the whole file `bytes`; `path` is for the errors.
fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let name = path.display();
    let download = "the file is damaged or was not written completely; fetch or make it again";
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(Error::new(Kind::Weights, format!("{name} is too short for a weights file"))
            .expected_got("at least 8 bytes", format!("{} bytes", bytes.len()))
            .help(download));
    };
    let claimed = u64::from_le_bytes(*prefix);
    if claimed > MAX_HEADER {
        return Err(Error::new(Kind::Weights, format!("{name} is not a safetensors file"))
            .fact("expected", format!("a header of at most {MAX_HEADER} bytes"))
            .fact("got", format!("a header length of {claimed} bytes"))
            .help("vgg-ft reads safetensors, Keras' HDF5 and .keras, PyTorch's .pth and ONNX; this file begins like none of them"));
    }
    // At most 100 MB, so it fits in usize everywhere.
    let length = claimed as usize;
    let Some(header) = rest.get(..length) else {
        return Err(Error::new(Kind::Weights, format!("the header of {name} ends beyond the file"))
            .expected_got(format!("{} bytes", PREFIX as u64 + claimed), format!("{} bytes", bytes.len()))
            .help(download));
    };

    let raw = read_json(path, header)?;
    if let Some(twice) = raw.duplicate {
        return Err(Error::new(
            Kind::Weights,
            format!("{name} names the tensor `{}` twice", shorten(&twice)),
        )
        .help("which of the two is meant cannot be known; make the file again"));
    }
    let header =
        Header { entries: check(path, raw.tensors, PREFIX + length, bytes.len())?, metadata: raw.metadata };
    SafeTensors::read_metadata(bytes).map_err(|e| {
        Error::new(Kind::Weights, format!("{name} is not a valid safetensors file"))
            .fact("reason", files::shorten(&e.to_string(), REASON))
            .help(download)
    })?;
    Ok(header)
}

/// Types, sizes and places: every byte after the header belongs to exactly one tensor.
fn check(
    path: &Path,
    raw: Vec<(String, RawInfo)>,
    start: usize,
    length: usize,
) -> Result<BTreeMap<String, Entry>> {
    let name = path.display();
    let again = "the file is damaged; fetch or make it again";
    let mut raw = raw;
    raw.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));

    let mut entries = BTreeMap::new();
    let mut end_before = 0;
    let mut before: Option<String> = None;
    for (whole, info) in raw {
        let tensor = shorten(&whole);
        let dtype = parse_dtype(&info.dtype).ok_or_else(|| {
            Error::new(Kind::Weights, format!("the tensor `{tensor}` in {name} has an unknown type"))
                .expected_got("F32, F16 or BF16", format!("\"{}\"", shorten(&info.dtype)))
                .help("convert the tensor to F32 where it comes from")
        })?;
        let (begin, end) = info.data_offsets;
        if end < begin {
            return Err(Error::new(
                Kind::Weights,
                format!("the tensor `{tensor}` in {name} ends before it begins"),
            )
            .fact("offsets", format!("{begin} to {end}"))
            .help(again));
        }
        let size = byte_size(&info.shape, dtype).ok_or_else(|| {
            Error::new(Kind::Weights, format!("the shape of the tensor `{tensor}` in {name} is impossible"))
                .fact("shape", format!("{:?} of {dtype}", info.shape))
                .help(again)
        })?;
        if end - begin != size {
            return Err(Error::new(
                Kind::Weights,
                format!("the tensor `{tensor}` in {name} has another size than its shape"),
            )
            .expected_got(
                format!("{size} bytes for {:?} of {dtype}", info.shape),
                format!("{} bytes", end - begin),
            )
            .help(again));
        }
        if begin != end_before {
            let what = if begin < end_before { "overlaps" } else { "leaves a gap after" };
            let neighbour =
                before.map_or_else(|| "the header".into(), |other| format!("`{}`", shorten(&other)));
            return Err(Error::new(
                Kind::Weights,
                format!("the tensor `{tensor}` in {name} {what} {neighbour}"),
            )
            .expected_got(format!("offset {end_before}"), format!("offset {begin}"))
            .help(again));
        }
        end_before = end;
        // Checked against the length of the file below, before anyone slices with it.
        let place = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let place = place.and_then(|(b, e)| Some(start.checked_add(b)?..start.checked_add(e)?));
        if let Some(bytes) = place {
            entries.insert(whole.clone(), Entry { dtype, shape: info.shape, bytes });
        }
        before = Some(whole);
    }

    let expected = u128::from(end_before) + start as u128;
    if expected != length as u128 {
        let what = if expected > length as u128 { "is cut off" } else { "is longer than its tensors" };
        return Err(Error::new(Kind::Weights, format!("{name} {what}"))
            .expected_got(format!("{expected} bytes"), format!("{length} bytes"))
            .help("the file was not written or downloaded as it should be; fetch or make it again"));
    }
    Ok(entries)
}

/// Bytes of a tensor; `None` when the product overflows or is no whole number of bytes.
fn byte_size(shape: &[usize], dtype: Dtype) -> Option<u64> {
    let bits = shape.iter().try_fold(dtype.bitsize() as u64, |size, &axis| size.checked_mul(axis as u64))?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn parse_dtype(text: &str) -> Option<Dtype> {
    let deserializer: de::value::StrDeserializer<'_, de::value::Error> = text.into_deserializer();
    Dtype::deserialize(deserializer).ok()
}

#[derive(Default)]
struct Raw {
    tensors: Vec<(String, RawInfo)>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
    /// The entry being read, for the error.
    current: Option<String>,
}

// Unknown fields are refused: the official reader would buffer them, whatever their size.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInfo {
    dtype: String,
    #[serde(deserialize_with = "short_list")]
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

fn read_json(path: &Path, header: &[u8]) -> Result<Raw> {
    let mut raw = Raw::default();
    let mut json = serde_json::Deserializer::from_slice(header);
    let outcome = (&mut raw).deserialize(&mut json).and_then(|()| json.end());
    let Err(reason) = outcome else { return Ok(raw) };
    let message = match reason.classify() {
        Category::Data => format!("the header of {} is not a safetensors header", path.display()),
        _ => format!("the header of {} is not JSON", path.display()),
    };
    let mut error = Error::new(Kind::Weights, message);
    if let (Category::Data, Some(entry)) = (reason.classify(), &raw.current) {
        error = error.fact("entry", shorten(entry));
    }
    // It repeats what it did not expect.
    let reason = files::shorten(&reason.to_string(), REASON);
    Err(error.fact("reason", reason).help("the file is damaged or of another format; fetch or make it again"))
}

impl<'de> DeserializeSeed<'de> for &mut Raw {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Raw {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.current = Some(name.clone());
            if name == METADATA {
                self.metadata = map.next_value()?;
            } else {
                self.tensors.push((name.clone(), map.next_value()?));
            }
            if !seen.insert(name.clone()) {
                self.duplicate.get_or_insert(name);
            }
        }
        Ok(())
    }
}

fn short_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    struct Short;
    impl<'de> Visitor<'de> for Short {
        type Value = Vec<usize>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_RANK} sizes")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<usize>, A::Error> {
            let mut shape = Vec::new();
            while let Some(size) = list.next_element()? {
                if shape.len() == MAX_RANK {
                    return Err(de::Error::invalid_length(MAX_RANK + 1, &self));
                }
                shape.push(size);
            }
            Ok(shape)
        }
    }
    deserializer.deserialize_seq(Short)
}
