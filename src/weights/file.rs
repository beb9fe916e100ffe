//! A weights file that is open: its tensors by name, borrowed from the map where they can be.

use super::header::{self, Entry, Header};
use crate::error::{Error, Kind, Result};
use bytemuck::{Pod, cast_slice_mut, pod_collect_to_vec, try_cast_slice};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Values per task: 64 Ki floats (256 kB) stay in the second-level cache between conversion and check.
const CHUNK: usize = 1 << 16;

/// A memory-mapped safetensors file whose header has been checked.
pub struct Weights {
    path: PathBuf,
    map: Mmap,
    header: Header,
}

impl Weights {
    /// Opens a safetensors file and checks its header; the values are checked when they are asked for.
    ///
    /// The file must not be changed in place while it is open (files of this crate are replaced by
    /// renaming, which is safe).
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such file or it is not a whole, valid safetensors file;
    /// other formats that hold weights are named. [`Kind::Io`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let about = fs::metadata(path).map_err(|e| {
            if e.kind() == std::io::ErrorKind::NotFound {
                Error::new(Kind::Weights, format!("there is no weights file {name}"))
                    .help("check the path, or leave it out to use the weights that come with vgg-ft")
            } else {
                Error::io("read", path, &e)
            }
        })?;
        if about.is_dir() {
            return Err(Error::new(Kind::Weights, format!("{name} is a folder, not a weights file"))
                .help("name the .safetensors file inside it"));
        }
        if !about.is_file() {
            return Err(Error::new(Kind::Weights, format!("{name} is not a regular file"))
                .help("weights are mapped into memory; copy them into a file first"));
        }
        if about.len() == 0 {
            return Err(Error::new(Kind::Weights, format!("{name} is empty"))
                .help("a download or a copy has failed; fetch or make the file again"));
        }
        let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
        // SAFETY: the map is read-only and private to this value. Its bytes change only if someone
        // writes into the open file, which `open` asks not to do; every value read from it is a plain
        // number, for which any bit pattern is valid.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, &e))?;
        refuse_foreign(path, &map)?;
        let header = header::parse(path, &map)?;
        Ok(Self { path: path.to_path_buf(), map, header })
    }

    /// The file this came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.header.entries.keys().map(String::as_str)
    }

    /// The axes of a tensor as the file has them, slowest first.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such tensor; the names there are, are listed.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.entry(name)?.shape)
    }

    /// The type in which the file keeps a tensor.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such tensor; the names there are, are listed.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        Ok(self.entry(name)?.dtype)
    }

    /// What the file says about itself (`format`, `layout`, `source` …).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The size of the file in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The SHA-256 of the whole file in lower-case hexadecimal. Reads it all.
    pub fn sha256(&self) -> String {
        Sha256::digest(&self.map[..]).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The values of a tensor in the order of the file: borrowed where the file keeps aligned `f32`,
    /// converted from half precision (exactly) or copied otherwise. `expected` is the shape as the
    /// file should have it.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the name is unknown, the shape is another, the type is none of F32, F16
    /// and BF16, or a value is NaN or infinite.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        let entry = self.entry(name)?;
        if entry.shape != expected {
            return Err(Error::new(
                Kind::Weights,
                format!("the tensor `{name}` in {} has another shape", self.path.display()),
            )
            .expected_got(format!("{expected:?}"), format!("{:?}", entry.shape))
            .help("these weights are of another network; `vgg-ft weights inspect` lists what a file holds"));
        }
        let values = self.values(name)?;
        self.refuse_not_finite(name, &values)?;
        Ok(values)
    }

    /// The values as they are, NaN and infinity included.
    pub(super) fn values(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let entry = self.entry(name)?;
        let bytes = &self.map[entry.bytes.clone()];
        match entry.dtype {
            Dtype::F32 => Ok(aligned(bytes)),
            Dtype::F16 => Ok(Cow::Owned(widen::<f16>(&aligned(bytes)))),
            Dtype::BF16 => Ok(Cow::Owned(widen::<bf16>(&aligned(bytes)))),
            other => Err(Error::new(
                Kind::Weights,
                format!("the tensor `{name}` in {} is of type {other}", self.path.display()),
            )
            .expected_got("F32, F16 or BF16", other)
            .help("convert the tensor to F32 where it comes from")),
        }
    }

    fn refuse_not_finite(&self, name: &str, values: &[f32]) -> Result<()> {
        let count: usize = values.par_chunks(CHUNK).map(count_not_finite).sum();
        let Some(first) = (count > 0).then(|| values.iter().position(|x| !x.is_finite())).flatten() else {
            return Ok(());
        };
        Err(Error::new(
            Kind::Weights,
            format!("the tensor `{name}` in {} holds values that are not finite", self.path.display()),
        )
        .fact("count", format!("{count} of {}", values.len()))
        .fact("first", format!("{} at index {first}", values[first]))
        .help("the file is damaged, or its training diverged; use another"))
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.header.entries.get(name).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Error {
        /// More names than this would hide the message.
        const LISTED: usize = 40;
        let mut list: Vec<&str> = self.names().take(LISTED).collect();
        let more = format!("and {} more", self.names().len().saturating_sub(LISTED));
        if self.names().len() > LISTED {
            list.push(&more);
        }
        let error =
            Error::new(Kind::Weights, format!("there is no tensor `{name}` in {}", self.path.display()))
                .fact("there", if list.is_empty() { "nothing".into() } else { list.join("\n") });
        match nearest(name, self.names()) {
            Some(near) => error.help(format!("the nearest name is `{near}`")),
            None => error.help("these weights are of another network, or named in another way"),
        }
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({}, {} tensors)", self.path.display(), self.header.entries.len())
    }
}

/// The bytes as numbers: in place when they are aligned (files of [`save`](super::save()) always are).
fn aligned<T: Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(pod_collect_to_vec(bytes)),
    }
}

/// Half precision that can be widened a slice at a time, by F16C where the machine has it.
trait Widen: Pod + Sync {
    fn widen(from: &[Self], to: &mut [f32]);
}

impl Widen for f16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
}

impl Widen for bf16 {
    fn widen(from: &[Self], to: &mut [f32]) {
        // A bf16 is the upper half of an f32; unlike the library's loop this one is vectorised.
        for (to, from) in cast_slice_mut::<f32, u32>(to).iter_mut().zip(from) {
            *to = u32::from(from.to_bits()) << 16;
        }
    }
}

fn widen<T: Widen>(from: &[T]) -> Vec<f32> {
    let mut to = vec![0.0; from.len()];
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| T::widen(from, to));
    to
}

fn count_not_finite(values: &[f32]) -> usize {
    // An exponent of all ones; on bits, so that the loop is vectorised.
    values.iter().map(|x| usize::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000)).sum()
}

/// Names the formats that people have weights in, so that the error is not about a header.
fn refuse_foreign(path: &Path, bytes: &[u8]) -> Result<()> {
    // Byte 8 of every safetensors file is the brace of its header. Without this, a header of 640 bytes
    // (80 02 00 …) would pass for a pickle.
    if bytes.get(header::PREFIX) == Some(&b'{') {
        return Ok(());
    }
    const CONVERT: &str = "convert it to safetensors first: see weights/README.md";
    let (what, help) = match bytes {
        [0x89, b'H', b'D', b'F', ..] => {
            ("a Keras HDF5 file", "convert it with weights/from_keras.py: see weights/README.md")
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive (a .keras model, a PyTorch .pth or an .npz)", CONVERT),
        [0x80, 2..=5, ..] => ("a Python pickle (an old PyTorch .pth)", CONVERT),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy .npy file", CONVERT),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            ("a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`")
        }
        _ if bytes.starts_with(b"<") => {
            ("a web page or XML", "the download went wrong; fetch the file again")
        }
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Weights, format!("{} is {what}", path.display()))
        .expected_got("a safetensors file", what)
        .help(help))
}

/// The name with the fewest edits, when it is near enough to be a slip of the pen.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    names.map(|other| (edits(name, other), other)).min().filter(|&(n, _)| n <= limit).map(|(_, near)| near)
}

/// Levenshtein's distance, row by row.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("fc1.kernel", "fc1.kernel"), 0);
        assert_eq!(nearest("fc1.kernal", ["fc1.bias", "fc1.kernel"].into_iter()), Some("fc1.kernel"));
        assert_eq!(nearest("x", ["fc1.bias"].into_iter()), None);
    }

    #[test]
    fn every_half_widens_exactly() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let f16s: Vec<f16> = all.iter().map(|&b| f16::from_bits(b)).collect();
        let bf16s: Vec<bf16> = all.iter().map(|&b| bf16::from_bits(b)).collect();
        for ((bits, wide), wide_b) in all.iter().zip(widen(&f16s)).zip(widen(&bf16s)) {
            let (one, two) = (f16::from_bits(*bits).to_f32(), bf16::from_bits(*bits).to_f32());
            // NaNs need only stay NaNs: F16C and software differ in the quiet bit.
            assert!(wide.to_bits() == one.to_bits() || wide.is_nan() && one.is_nan(), "f16 {bits:#06x}");
            assert!(wide_b.to_bits() == two.to_bits() || wide_b.is_nan() && two.is_nan(), "bf16 {bits:#06x}");
        }
    }
}
