//! Writing: named tensors of `f32` in, one whole safetensors file out.
//!
//! The same tensors make the same bytes: names and metadata are sorted, the header is padded to
//! eight bytes. (The official writer takes its metadata from a hash map, in another order each time.)

use super::header::{MAX_HEADER, MAX_RANK, METADATA};
use super::unzip::shorten;
use crate::error::{Error, Kind, Result};
use crate::files::write_atomic;
use crate::interrupt;
use bytemuck::cast_slice;
use half::vec::HalfFloatVecExt;
use half::{bf16, f16};
use safetensors::Dtype;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The type in which a file keeps its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits: exact.
    F32,
    /// 16 bits with 11 significant: up to 65504, full precision from 6.1e-5.
    F16,
    /// 16 bits with 8 significant: the range of `f32`.
    Bf16,
}

impl FloatType {
    /// The type's name in the file.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> usize {
        self.dtype().bitsize() / 8
    }

    /// The largest number the type holds.
    pub fn max(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
            Self::Bf16 => bf16::MAX.to_f32(),
        }
    }

    /// The smallest positive number of full precision.
    pub fn min_normal(self) -> f32 {
        match self {
            Self::F32 => f32::MIN_POSITIVE,
            Self::F16 => f16::MIN_POSITIVE.to_f32(),
            Self::Bf16 => bf16::MIN_POSITIVE.to_f32(),
        }
    }

    /// `values` rounded to the type (nearest, ties to even), as bytes of the file.
    fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::F32 => out.extend_from_slice(cast_slice(values)),
            Self::F16 => out.extend_from_slice(cast_slice(&Vec::<f16>::from_f32_slice(values))),
            Self::Bf16 => out.extend_from_slice(cast_slice(&Vec::<bf16>::from_f32_slice(values))),
        }
    }
}

/// A tensor on its way into a file.
#[derive(Clone, Debug)]
pub struct NamedTensor<'a> {
    /// Its name in the file, `block1_conv1.kernel`.
    pub name: String,
    /// The axes in the order of the file (HWIO, in × out), slowest first.
    pub shape: Vec<usize>,
    /// The values, dense, in that order.
    pub data: &'a [f32],
}

/// Writes `tensors` to `path` as safetensors; the file is whole or absent. Equal input makes equal bytes.
///
/// # Errors
/// [`Kind::Weights`] when a name is empty, reserved or there twice, a shape does not fit its data, a
/// value is not finite or too large for `float`. [`Kind::Io`] with the path when it cannot be written.
pub fn save(
    path: &Path,
    tensors: &[NamedTensor<'_>],
    float: FloatType,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    save_until(&NEVER, path, (tensors, float), metadata)
}

/// As [`save`], for a command that has nothing to keep when the user stops it.
///
/// # Errors
/// As [`save`]; [`Kind::Interrupted`].
pub fn save_stoppable(
    path: &Path,
    tensors: &[NamedTensor<'_>],
    float: FloatType,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    save_until(interrupt::flag(), path, (tensors, float), metadata)
}

/// Nobody stops it.
static NEVER: AtomicBool = AtomicBool::new(false);

fn save_until(
    stop: &AtomicBool,
    path: &Path,
    (tensors, float): (&[NamedTensor<'_>], FloatType),
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let sorted = sorted(path, tensors, float)?;
    let header = header(path, &sorted, float, metadata)?;
    write_until(stop, path, |out| put(path, out, &header, &sorted, float))
}

/// `tensors` by name, each of them one that can be saved.
fn sorted<'a, 'b>(
    path: &Path,
    tensors: &'a [NamedTensor<'b>],
    float: FloatType,
) -> Result<Vec<&'a NamedTensor<'b>>> {
    let mut sorted: Vec<&NamedTensor<'_>> = tensors.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for (at, tensor) in sorted.iter().enumerate() {
        check(path, tensor, float)?;
        if at > 0 && sorted[at - 1].name == tensor.name {
            return Err(refused(path, tensor, "is there twice"));
        }
    }
    Ok(sorted)
}

fn put(
    path: &Path,
    out: &mut dyn Write,
    header: &[u8],
    sorted: &[&NamedTensor<'_>],
    float: FloatType,
) -> Result<()> {
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io("write", path, &e));
    put(&(header.len() as u64).to_le_bytes())?;
    put(header)?;
    let mut bytes = Vec::new();
    for values in sorted.iter().flat_map(|tensor| tensor.data.chunks(CHUNK)) {
        float.encode(values, &mut bytes);
        put(&bytes)?;
    }
    Ok(())
}

/// As [`write_atomic`], until the user stops it: then there is no new file.
///
/// # Errors
/// As [`write_atomic`]; [`Kind::Interrupted`].
pub(crate) fn write_stoppable(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    write_until(interrupt::flag(), path, fill)
}

fn write_until(
    stop: &AtomicBool,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    write_atomic(path, |out| {
        let outcome = fill(&mut Stoppable { out, stop });
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Interrupted, "stopped by the user"));
        }
        outcome
    })
}

/// A writer that fails once it is to stop.
struct Stoppable<'a, W> {
    out: W,
    stop: &'a AtomicBool,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// A tensor of 400 MB is written in pieces, so that the flag is looked at in between.
        const PIECE: usize = 4 << 20;
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped by the user"));
        }
        self.out.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Values encoded at a time: the buffer stays in the cache.
const CHUNK: usize = 1 << 16;

fn refused(path: &Path, tensor: &NamedTensor<'_>, why: impl fmt::Display) -> Error {
    Error::new(Kind::Weights, format!("cannot save the tensor `{}`: {why}", shorten(&tensor.name)))
        .context(format!("writing {}", path.display()))
}

fn check(path: &Path, tensor: &NamedTensor<'_>, float: FloatType) -> Result<()> {
    if tensor.name.is_empty() || tensor.name == METADATA {
        return Err(refused(path, tensor, "the name is empty or reserved"));
    }
    let size = tensor.shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
    if size != Some(tensor.data.len()) || tensor.shape.len() > MAX_RANK {
        return Err(refused(path, tensor, "its shape does not fit its data")
            .expected_got(format!("{:?}", tensor.shape), format!("{} values", tensor.data.len())));
    }
    let max = float.max();
    let Some(at) = tensor.data.iter().position(|x| x.abs() > max || x.is_nan()) else { return Ok(()) };
    let value = tensor.data[at];
    if value.is_finite() {
        return Err(refused(path, tensor, format!("a value is too large for {}", float.dtype()))
            .fact("expected", format!("at most {max}"))
            .fact("got", format!("{value} at index {at}"))
            .help("save in F32 or BF16"));
    }
    Err(refused(path, tensor, "a value is not finite")
        .fact("first", format!("{value} at index {at}"))
        .help("the training diverged; lower the learning rate"))
}

/// The JSON of the header, padded so that the data after it begins at a multiple of eight bytes.
fn header(
    path: &Path,
    sorted: &[&NamedTensor<'_>],
    float: FloatType,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec(&HeaderJson { sorted, float, metadata }).map_err(|e| {
        Error::new(Kind::Weights, format!("cannot make the header of {}", path.display())).fact("reason", e)
    })?;
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() as u64 > MAX_HEADER {
        return Err(Error::new(Kind::Weights, format!("the header of {} is too long", path.display()))
            .expected_got(format!("at most {MAX_HEADER} bytes"), json.len())
            .help("shorten the metadata"));
    }
    Ok(json)
}

struct HeaderJson<'a> {
    sorted: &'a [&'a NamedTensor<'a>],
    float: FloatType,
    metadata: &'a BTreeMap<String, String>,
}

#[derive(serde::Serialize)]
struct EntryJson<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: (usize, usize),
}

impl Serialize for HeaderJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, self.metadata)?;
        }
        let mut begin = 0;
        for tensor in self.sorted {
            let end = begin + tensor.data.len() * self.float.size();
            let (dtype, shape) = (self.float.dtype(), tensor.shape.as_slice());
            map.serialize_entry(&tensor.name, &EntryJson { dtype, shape, data_offsets: (begin, end) })?;
            begin = end;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_stopped_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.h5");
        std::fs::write(&path, b"old").unwrap();
        let stop = AtomicBool::new(false);
        // In the middle of one long tensor.
        let bytes = vec![7; 64 << 20];
        let stopped = write_until(&stop, &path, |out| {
            let first = out.write(&bytes).unwrap();
            assert!(first < bytes.len());
            stop.store(true, Ordering::Relaxed);
            out.write_all(&bytes[first..]).map_err(|e| Error::io("write", Path::new("w.h5"), &e))
        });
        assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        // Between the last byte and the renaming.
        assert!(write_until(&stop, &path, |_| Ok(())).is_err());
        stop.store(false, Ordering::Relaxed);
        write_until(&stop, &path, |out| {
            out.write_all(&bytes).map_err(|e| Error::io("write", Path::new("w.h5"), &e))
        })
        .unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 64 << 20);
    }
}
