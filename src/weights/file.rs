//! A weights file that is open, of any format: its tensors by name, borrowed from the map where they can be.

use super::contents::{Contents, FileFormat, Found, Graph, Place};
use super::{format, numbers};
use crate::error::{Error, Kind, Result};
use memmap2::Mmap;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A memory-mapped file of weights whose structure has been checked.
pub struct Weights {
    path: PathBuf,
    format: FileFormat,
    /// The file, then those beside it that it names.
    maps: Vec<Mmap>,
    /// In the order of the file.
    tensors: Vec<Tensor>,
    /// Places in `tensors`.
    index: BTreeMap<String, usize>,
    metadata: BTreeMap<String, String>,
    graph: Option<Graph>,
}

/// A tensor read: its name, its axes (slowest first), its values.
pub type Named<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

/// A tensor and the place of its numbers.
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Data,
}

/// As [`Place`], with every range within its map.
enum Data {
    Mapped { map: usize, bytes: Range<usize> },
    Steps { storage: Range<usize>, first: usize, strides: Vec<usize> },
    Decoded(Vec<u8>),
}

impl Weights {
    /// Opens a file of any format that [`FileFormat`] lists, told apart by what is in it, and checks its
    /// structure; the values are checked when they are asked for. Nothing in the file is executed.
    ///
    /// The file must not be changed in place while it is open (files of this crate are replaced by
    /// renaming, which is safe).
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such file or it is not whole and valid. [`Kind::Io`] when it
    /// cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let map = map(path)?;
        let Contents { format, tensors, metadata, graph } = format::read(path, &map)?;
        let mut out = Self {
            path: path.to_path_buf(),
            format,
            maps: vec![map],
            tensors: Vec::with_capacity(tensors.len()),
            index: BTreeMap::new(),
            metadata,
            graph,
        };
        let mut beside = BTreeMap::new();
        for found in tensors {
            let tensor = out.place(found, &mut beside)?;
            out.index.insert(tensor.name.clone(), out.tensors.len());
            out.tensors.push(tensor);
        }
        Ok(out)
    }

    /// Finds the numbers of a tensor; `beside` are the other files that are mapped already.
    fn place(&mut self, found: Found, beside: &mut BTreeMap<String, usize>) -> Result<Tensor> {
        let Found { name, dtype, shape, place } = found;
        let data = match place {
            Place::Here(bytes) => Data::Mapped { map: 0, bytes },
            Place::Steps { storage, first, strides } => Data::Steps { storage, first, strides },
            Place::Decoded(bytes) => Data::Decoded(bytes),
            Place::Beside { file, bytes } => {
                let at = match beside.get(&file) {
                    Some(&at) => at,
                    None => {
                        let path = self.path.parent().unwrap_or(Path::new("")).join(&file);
                        let map = map(&path).map_err(|error| {
                            error.context(format!("reading what {} keeps beside it", self.path.display()))
                        })?;
                        self.maps.push(map);
                        beside.insert(file.clone(), self.maps.len() - 1);
                        self.maps.len() - 1
                    }
                };
                let length = self.maps[at].len();
                let within = usize::try_from(bytes.start).ok().zip(usize::try_from(bytes.end).ok());
                match within.filter(|&(begin, end)| begin <= end && end <= length) {
                    Some((begin, end)) => Data::Mapped { map: at, bytes: begin..end },
                    None => {
                        return Err(Error::new(Kind::Weights, format!("the tensor `{name}` ends beyond {file}"))
                            .expected_got(format!("at least {} bytes", bytes.end), format!("{length} bytes"))
                            .help(format!("{file} is not whole, or not that of {}", self.path.display())));
                    }
                }
            }
        };
        Ok(Tensor { name, dtype, shape, data })
    }

    /// The file this came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of file it is.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The names of the tensors in the order of the file.
    pub fn in_order(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Which tensor does what, where the file says it.
    pub(crate) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The axes of a tensor as the file has them, slowest first.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such tensor; the names there are, are listed.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.find(name)?.shape)
    }

    /// The type in which the file keeps a tensor.
    ///
    /// # Errors
    /// [`Kind::Weights`] when there is no such tensor; the names there are, are listed.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        Ok(self.find(name)?.dtype)
    }

    /// What the file says about itself (`format`, `layout`, `source` …).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The size of the file in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.maps[0].len() as u64
    }

    /// The SHA-256 of the whole file in lower-case hexadecimal. Reads it all.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let whole = &self.maps[0];
        for (at, block) in whole.chunks(BLOCK_BYTES).enumerate() {
            digest.update(block);
            release(whole, at * BLOCK_BYTES..at * BLOCK_BYTES + block.len());
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The values of a tensor in the order of the file: borrowed where the file keeps aligned `f32`,
    /// converted (from half precision exactly) or copied otherwise. `expected` is the shape as the
    /// file should have it.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the name is unknown, the shape is another, the type is no float, or a value
    /// is NaN or infinite.
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        self.expect(name, expected)?;
        let values = self.values(name)?;
        self.refuse_not_finite(name, &values)?;
        Ok(values)
    }

    /// All tensors by name, each as [`Weights::tensor`] gives it.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn all(&self) -> Result<Vec<Named<'_>>> {
        let tensor = |name: &str| {
            let shape = self.shape(name)?;
            Ok((name.to_owned(), shape.to_vec(), self.tensor(name, shape)?))
        };
        self.names().map(tensor).collect()
    }

    /// The values of a tensor, as [`Weights::tensor`], some whole rows of `row` values at a time: `each` gets
    /// the place of the first value and the values. What was read of a mapped file is given back to the
    /// system, so that no more than a block of it is in memory.
    ///
    /// # Errors
    /// As [`Weights::tensor`], and those of `each`.
    pub fn blocks(
        &self,
        name: &str,
        expected: &[usize],
        row: usize,
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let tensor = self.expect(name, expected)?;
        let step = (BLOCK_BYTES / 4 / row.max(1)).max(1) * row.max(1);
        let Data::Mapped { map, bytes } = &tensor.data else {
            let values = self.tensor(name, expected)?;
            return values.chunks(step).enumerate().try_for_each(|(at, block)| each(at * step, block));
        };
        let size = tensor.dtype.bitsize() / 8;
        for (at, begin) in (bytes.start..bytes.end).step_by((step * size).max(1)).enumerate() {
            let range = begin..(begin + step * size).min(bytes.end);
            let values = self.floats(tensor, &self.maps[*map][range.clone()])?;
            if numbers::not_finite(&values) > 0 {
                // Asked again as a whole, for the error that counts them all.
                return self.tensor(name, expected).map(drop);
            }
            each(at * step, &values)?;
            release(&self.maps[*map], range);
        }
        Ok(())
    }

    /// The values as they are, NaN and infinity included.
    pub(crate) fn values(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let tensor = self.find(name)?;
        match &tensor.data {
            Data::Mapped { map, bytes } => self.floats(tensor, &self.maps[*map][bytes.clone()]),
            Data::Decoded(bytes) => self.floats(tensor, bytes),
            Data::Steps { storage, first, strides } => {
                let size = tensor.dtype.bitsize() / 8;
                let dense = gather(&self.maps[0][storage.clone()], size, *first, &tensor.shape, strides);
                Ok(Cow::Owned(self.floats(tensor, &dense)?.into_owned()))
            }
        }
    }

    fn floats<'a>(&self, tensor: &Tensor, bytes: &'a [u8]) -> Result<Cow<'a, [f32]>> {
        numbers::floats(tensor.dtype, bytes).ok_or_else(|| {
            Error::new(
                Kind::Weights,
                format!("the tensor `{}` in {} is of type {}", tensor.name, self.path.display(), tensor.dtype),
            )
            .expected_got(numbers::READABLE, tensor.dtype)
            .help("convert the tensor to F32 where it comes from")
        })
    }

    /// The tensor called `name`, of the shape that it should have.
    fn expect(&self, name: &str, expected: &[usize]) -> Result<&Tensor> {
        let tensor = self.find(name)?;
        if tensor.shape == expected {
            return Ok(tensor);
        }
        Err(Error::new(
            Kind::Weights,
            format!("the tensor `{name}` in {} has another shape", self.path.display()),
        )
        .expected_got(format!("{expected:?}"), format!("{:?}", tensor.shape))
        .help("these weights are of another network; `vgg-ft weights inspect` lists what a file holds"))
    }

    fn refuse_not_finite(&self, name: &str, values: &[f32]) -> Result<()> {
        let count = numbers::not_finite(values);
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

    fn find(&self, name: &str) -> Result<&Tensor> {
        let at = self.index.get(name).and_then(|&at| self.tensors.get(at));
        at.ok_or_else(|| self.unknown(name))
    }

    /// The error for a tensor that is not there.
    pub(crate) fn unknown(&self, name: &str) -> Error {
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
        write!(f, "Weights({}, {} tensors)", self.path.display(), self.tensors.len())
    }
}

/// Read at a time of a large tensor: enough for all threads, little beside the network.
const BLOCK_BYTES: usize = 8 << 20;

/// Maps the file at `path`.
fn map(path: &Path) -> Result<Mmap> {
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
    // SAFETY: the map is read-only and private to its `Weights`. Its bytes change only if someone writes
    // into the open file, which `Weights::open` asks not to do; every value read from it is a plain number,
    // for which any bit pattern is valid.
    unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, &e))
}

/// Gives the pages of `range` back to the system; they are read from the file again when they are touched.
#[cfg(unix)]
fn release(map: &Mmap, range: Range<usize>) {
    // SAFETY: the map is of a file, read-only and never written through, so that a dropped page comes back
    // with the same bytes: borrows of it stay valid. Failure leaves the pages where they are.
    let _ = unsafe {
        map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
    };
}

#[cfg(not(unix))]
fn release(_: &Mmap, _: Range<usize>) {}

/// The elements of `size` bytes in the order of `shape`, slowest axis first, one after another. The reader
/// has checked that the farthest is there.
fn gather(storage: &[u8], size: usize, first: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count = shape.iter().product::<usize>();
    let mut out = Vec::with_capacity(count * size);
    let mut place = vec![0; shape.len()];
    let mut at = first;
    for _ in 0..count {
        out.extend_from_slice(&storage[at * size..][..size]);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            at += strides[axis];
            if place[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            place[axis] = 0;
        }
    }
    out
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
    fn a_transposed_tensor_is_gathered() {
        // [[0, 1, 2], [3, 4, 5]] by columns, and its second column alone.
        let bytes: Vec<u8> = (0..6).collect();
        assert_eq!(gather(&bytes, 1, 0, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(&bytes, 1, 1, &[2], &[3]), [1, 4]);
        assert_eq!(gather(&bytes, 2, 0, &[3, 1], &[1, 9]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(gather(&bytes, 1, 5, &[], &[]), [5]);
        assert_eq!(gather(&bytes, 1, 0, &[0, 2], &[1, 1]), [0u8; 0]);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("fc1.kernel", "fc1.kernel"), 0);
        assert_eq!(nearest("fc1.kernal", ["fc1.bias", "fc1.kernel"].into_iter()), Some("fc1.kernel"));
        assert_eq!(nearest("x", ["fc1.bias"].into_iter()), None);
    }

}
