//! A weights file that is open, of any format: its tensors by name, borrowed from the map where they can be.

use super::contents::{Contents, FileFormat, Found, Graph, Place, most_claimed};
use super::map::{gather, inside, map, release};
use super::unzip::shorten;
use super::{format, numbers};
use crate::error::{Error, Kind, Result};
use crate::{files, interrupt};
use memmap2::Mmap;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
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
    pools: Option<Vec<usize>>,
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
        let Contents { format, tensors, metadata, graph, pools } = format::read(path, &map)?;
        let mut out = Self {
            path: path.to_path_buf(),
            format,
            maps: vec![map],
            tensors: Vec::with_capacity(tensors.len()),
            index: BTreeMap::new(),
            metadata,
            graph,
            pools,
        };
        let mut beside = BTreeMap::new();
        let mut claimed = 0u64;
        for found in tensors {
            let tensor = out.place(found, &mut beside)?;
            // Tensors may share numbers. But a thousand names for one would be a thousand times the work.
            let elements = tensor.shape.iter().fold(1u64, |n, &axis| n.saturating_mul(axis as u64));
            claimed = claimed.saturating_add(elements.saturating_mul(tensor.dtype.bitsize() as u64 / 8));
            let most = most_claimed(out.len_bytes());
            if claimed > most {
                return Err(Error::new(
                    Kind::Weights,
                    format!("{} claims more than it holds", path.display()),
                )
                .expected_got(
                    format!("tensors of at most {most} bytes together, in a file of {}", out.len_bytes()),
                    format!("{claimed} bytes and more"),
                )
                .help("the file is damaged, or made to cost time; fetch or make it again"));
            }
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
                        if !path.exists() {
                            let name = self.path.display();
                            return Err(Error::new(
                                Kind::Weights,
                                format!("{name} keeps its numbers in another file"),
                            )
                            .fact("missing", shorten(&file))
                            .help("put the two into one folder, as the exporter wrote them"));
                        }
                        inside(&self.path, &path)?;
                        let map = map(&path)?;
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
                        let (name, file) = (shorten(&name), shorten(&file));
                        return Err(Error::new(
                            Kind::Weights,
                            format!("the tensor `{name}` ends beyond {file}"),
                        )
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

    /// How many convolutions come before each 2x2 pooling, where the file says it.
    pub(crate) fn pools(&self) -> Option<&[usize]> {
        self.graph.as_ref().map(|graph| &graph.pools).or(self.pools.as_ref()).map(Vec::as_slice)
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

    /// The size in bytes of the file and those beside it that hold its numbers.
    pub fn len_bytes(&self) -> u64 {
        self.maps.iter().map(|map| map.len() as u64).sum()
    }

    /// The SHA-256 of the whole file, and of those beside it that hold its numbers in the order in which it names
    /// them, in lower-case hexadecimal. Reads it all.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for map in &self.maps {
            for (at, block) in map.chunks(BLOCK_BYTES).enumerate() {
                digest.update(block);
                release(map, at * BLOCK_BYTES..at * BLOCK_BYTES + block.len());
            }
        }
        files::hex(&digest.finalize())
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

    /// The first `count` values of a tensor, or as many as it has, NaN and infinity included.
    pub(crate) fn first(&self, name: &str, count: usize) -> Result<Cow<'_, [f32]>> {
        let tensor = self.find(name)?;
        let bytes = match &tensor.data {
            Data::Mapped { map, bytes } => &self.maps[*map][bytes.clone()],
            Data::Decoded(bytes) => bytes,
            Data::Steps { .. } => return self.values(name),
        };
        self.floats(tensor, &bytes[..bytes.len().min(count * tensor.dtype.bitsize() / 8)])
    }

    /// Whether a tensor is of a type that is read as numbers.
    pub(crate) fn is_float(&self, name: &str) -> Result<bool> {
        Ok(numbers::floats(self.find(name)?.dtype, &[]).is_some())
    }

    /// The bytes of a tensor of any type, one behind the other.
    pub(crate) fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let tensor = self.find(name)?;
        Ok(match &tensor.data {
            Data::Mapped { map, bytes } => Cow::Borrowed(&self.maps[*map][bytes.clone()]),
            Data::Decoded(bytes) => Cow::Borrowed(bytes),
            Data::Steps { storage, first, strides } => {
                let size = tensor.dtype.bitsize() / 8;
                let storage = &self.maps[0][storage.clone()];
                Cow::Owned(gather(storage, size, *first, &tensor.shape, strides))
            }
        })
    }

    /// How many tensors are of 64-bit floats, which are rounded to f32 wherever values are read.
    pub fn doubles(&self) -> usize {
        self.tensors.iter().filter(|tensor| tensor.dtype == Dtype::F64).count()
    }

    /// All tensors by name, each as [`Weights::tensor`] gives it.
    ///
    /// # Errors
    /// As [`Weights::tensor`]; [`Kind::Interrupted`].
    pub fn all(&self) -> Result<Vec<Named<'_>>> {
        let tensor = |name: &str| {
            interrupt::check()?;
            let shape = self.shape(name)?;
            Ok((name.to_owned(), shape.to_vec(), self.tensor(name, shape)?))
        };
        self.names().map(tensor).collect()
    }

    /// The values of a tensor, as [`Weights::tensor`], some whole rows of `row` values at a time: `each` gets
    /// the place of the first value and the values, about `bytes` of them. What was read of a mapped file is given
    /// back to the system, so that no more than a block of it is in memory.
    ///
    /// # Errors
    /// As [`Weights::tensor`], and those of `each`.
    pub fn blocks(
        &self,
        name: &str,
        expected: &[usize],
        (row, bytes): (usize, usize),
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.expect(name, expected)?;
        self.raw_blocks(name, (row, bytes), &mut |first, values| {
            if numbers::not_finite(values) > 0 {
                // Asked again as a whole, for the error that counts them all.
                return self.tensor(name, expected).map(drop);
            }
            each(first, values)
        })
    }

    /// As [`Weights::blocks`], of a tensor of any shape, NaN and infinity included.
    pub(super) fn raw_blocks(
        &self,
        name: &str,
        (row, bytes): (usize, usize),
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let tensor = self.find(name)?;
        let step = (bytes / 4 / row.max(1)).max(1) * row.max(1);
        let Data::Mapped { map, bytes } = &tensor.data else {
            let values = self.values(name)?;
            return values.chunks(step).enumerate().try_for_each(|(at, block)| each(at * step, block));
        };
        let size = tensor.dtype.bitsize() / 8;
        for (at, begin) in (bytes.start..bytes.end).step_by((step * size).max(1)).enumerate() {
            interrupt::check()?;
            let range = begin..(begin + step * size).min(bytes.end);
            each(at * step, &self.floats(tensor, &self.maps[*map][range.clone()])?)?;
            release(&self.maps[*map], range);
        }
        Ok(())
    }

    /// The values as they are, NaN and infinity included.
    pub(crate) fn values(&self, name: &str) -> Result<Cow<'_, [f32]>> {
        let tensor = self.find(name)?;
        match self.bytes(name)? {
            Cow::Borrowed(bytes) => self.floats(tensor, bytes),
            Cow::Owned(bytes) => Ok(Cow::Owned(self.floats(tensor, &bytes)?.into_owned())),
        }
    }

    fn floats<'a>(&self, tensor: &Tensor, bytes: &'a [u8]) -> Result<Cow<'a, [f32]>> {
        numbers::floats(tensor.dtype, bytes).ok_or_else(|| {
            Error::new(
                Kind::Weights,
                format!(
                    "the tensor `{}` in {} is of type {}",
                    shorten(&tensor.name),
                    self.path.display(),
                    tensor.dtype
                ),
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
            format!("the tensor `{}` in {} has another shape", shorten(name), self.path.display()),
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
            format!(
                "the tensor `{}` in {} holds values that are not finite",
                shorten(name),
                self.path.display()
            ),
        )
        .fact("count", format!("{count} of {}", values.len()))
        .fact("first", format!("{} at index {first}", values[first]))
        .help("the file is damaged, or its training diverged; use another"))
    }

    fn find(&self, name: &str) -> Result<&Tensor> {
        let at = self.index.get(name).and_then(|&at| self.tensors.get(at));
        at.ok_or_else(|| self.unknown(name))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({}, {} tensors)", self.path.display(), self.tensors.len())
    }
}

/// Read at a time where nothing asks for another size: enough for all threads, little beside the network.
pub(super) const BLOCK_BYTES: usize = 8 << 20;
