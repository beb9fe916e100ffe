//! Extracted features on disk: one safetensors file per split, mapped, not read.
//!
//! In: rows of activations, batch by batch. Out: a file with the tensors `features` `[n, …]` (f32) and
//! `labels` `[n]` (u32) and, in its metadata, what they were made from. While it grows it is called
//! `<name>.partial`, with `<name>.progress` beside it that says how many rows are safely on the disk;
//! an interrupted extraction goes on from there if its key is still the same.

mod header;

use super::Split;
use super::recipe::{Recipe, broken_recipe};
use crate::error::{Error, Kind, Result};
use crate::files::{self, remove_if_there};
use crate::shape::Shape;
use header::{header, is_ours};
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A finished extraction, memory-mapped.
pub struct Features {
    /// What the rows are.
    pub recipe: Recipe,
    /// Its fingerprint.
    pub key: String,
    map: Mmap,
    values: std::ops::Range<usize>,
}

impl Features {
    /// The file of a split in a folder of features.
    pub fn path(folder: &Path, split: Split) -> PathBuf {
        folder.join(format!("{split}.safetensors"))
    }

    /// What that file is called while it grows.
    pub fn partial_path(folder: &Path, split: Split) -> PathBuf {
        partial(&Self::path(folder, split))
    }

    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot be read; [`Kind::Data`] when it is no extraction of ours or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = files::open_regular(path).map_err(|e| {
            let error = Error::io("read", path, &e);
            if e.kind() == std::io::ErrorKind::NotFound {
                error.help("run `vgg-ft extract DATA -o FEATURES` first")
            } else {
                error
            }
        })?;
        // SAFETY: a file gets this name by rename when it is complete, from a writer that held its lock
        // alone; nobody of ours writes to it or cuts it short afterwards.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, &e))?;
        let refuse = |why: &dyn std::fmt::Display| {
            Error::new(Kind::Data, format!("{} is not a file of features", path.display()))
                .fact("reason", why)
                .help("remove it and run `vgg-ft extract` again")
        };
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|e| refuse(&e))?;
        let described = metadata.metadata().as_ref().and_then(|m| m.get("recipe"));
        let described = described.ok_or_else(|| refuse(&"there is no description in its metadata"))?;
        let recipe: Recipe = serde_json::from_str(described).map_err(|e| refuse(&e))?;
        let info = metadata.info("features").ok_or_else(|| refuse(&"there is no tensor `features`"))?;
        let begin = 8 + header;
        let values = begin + info.data_offsets.0..begin + info.data_offsets.1;
        let row = recipe.row.iter().try_fold(4usize, |bytes, axis| bytes.checked_mul(*axis));
        let expected = row.and_then(|row| row.checked_mul(recipe.labels.len()));
        let right = info.dtype == safetensors::Dtype::F32
            && expected == Some(values.len())
            && values.end <= map.len()
            && (1..=4).contains(&recipe.row.len())
            && recipe.files.len() == recipe.labels.len()
            && recipe.labels.iter().all(|&label| (label as usize) < recipe.classes.len());
        if !right {
            return Err(refuse(&"its tensors and its description do not agree"));
        }
        if recipe.labels.is_empty() {
            return Err(refuse(&"it has no rows"));
        }
        let key = recipe.key()?;
        Ok(Self { recipe, key, map, values })
    }

    /// `[rows, row.len()]`, row after row.
    ///
    /// # Errors
    /// [`Kind::Data`] when the mapping is not aligned, which no file of ours is.
    pub fn values(&self) -> Result<&[f32]> {
        bytemuck::try_cast_slice(&self.map[self.values.clone()]).map_err(|e| {
            Error::new(Kind::Data, "the features are not aligned in their file").fact("reason", e)
        })
    }

    /// The class of each row.
    pub fn labels(&self) -> &[u32] {
        &self.recipe.labels
    }

    /// Shape of one row as a batch of one.
    pub fn row(&self) -> Shape {
        Shape::new(&self.recipe.row)
    }
}

#[derive(Serialize, Deserialize)]
struct Progress {
    key: String,
    /// The device that computed the rows: two would differ in last bits.
    #[serde(default)]
    by: String,
    rows: usize,
}

/// An extraction under way.
pub struct Writer {
    path: PathBuf,
    key: String,
    by: String,
    file: File,
    /// Whether nobody else can write there meanwhile.
    locked: bool,
    /// What the file begins with.
    header: Vec<u8>,
    first_value: u64,
    row: usize,
    rows: usize,
    done: usize,
    safe: usize,
    /// When it was last made safe.
    since: Instant,
}

/// What was found at the place where features should go.
pub enum Begin {
    /// They are there already, made from the very same things.
    Complete(Box<Features>),
    /// They are to be written from row [`Writer::done`] on.
    From(Writer),
}

impl Writer {
    /// Rows between two points at which the file is made safe on the disk, and the least time: a GPU makes thousands a
    /// second, and a disk that is waited for so often would be the slower of the two.
    const SAFE_EVERY: (usize, Duration) = (200, Duration::from_secs(1));
    /// The most time, where rows take longer.
    const SAFE_AFTER: Duration = Duration::from_secs(5);

    /// What is beside `path` while it is written; nothing where that is none of ours.
    pub fn beginnings(path: &Path) -> Vec<PathBuf> {
        let (partial, progress) = (partial(path), progress(path));
        let ours = files::open_regular(&partial).is_ok_and(|mut file| is_ours(&mut file));
        if ours { vec![partial, progress] } else { Vec::new() }
    }

    /// Whether features can be written at `path`, as far as what is there tells: asked before the long work.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a file that is in the way; [`Kind::Io`] when it cannot be read.
    pub fn require_place(path: &Path) -> Result<()> {
        let partial = partial(path);
        // A pipe would be opened for as long as nobody writes to it.
        let is_no_file = fs::metadata(&partial).is_ok_and(|found| !found.is_file());
        if is_no_file || File::open(&partial).is_ok_and(|mut file| !is_ours(&mut file)) {
            return Err(foreign(&partial));
        }
        there(path).map(|_| ())
    }

    /// Looks what is at `path` and prepares the rest, which the device `by` computes: it does not go on with another's
    /// rows.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file; [`Kind::Usage`] for one that is there and is no features, and for more names than a
    /// safetensors file can hold.
    pub fn begin(path: &Path, recipe: &Recipe, by: &str) -> Result<Begin> {
        let key = recipe.key()?;
        if let Some(found) = there(path)?.filter(|found| found.key == key) {
            return Ok(Begin::Complete(Box::new(found)));
        }
        let header = header(recipe, &key)?;
        let partial = partial(path);
        let mut options = OpenOptions::new();
        // Not cut short here: it may be another's, which the lock will tell.
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&partial).map_err(|e| Error::io("create", &partial, &e))?;
        let lock = file.try_lock();
        // Its last writer may have given it its name since it was opened.
        if matches!(lock, Err(TryLockError::WouldBlock)) || !files::is_at(&file, &partial) {
            return Err(Error::new(Kind::Io, format!("another vgg-ft is writing {}", partial.display()))
                .help("wait for it, or choose another folder"));
        }
        if !is_ours(&mut file) {
            return Err(foreign(&partial));
        }
        let row: usize = recipe.row.iter().product();
        let rows = recipe.labels.len();
        let first_value = header.len() as u64 + (rows * 4) as u64;
        let whole = first_value + (rows * row * 4) as u64;
        let done = safe_rows(path, &mut file, (&key, by), &header, whole).min(rows);
        if done == 0 {
            // First what vouches for the rows, then the rows: the other way round a kill in between
            // would leave a promise about rows that are gone.
            remove_if_there(&progress(path))?;
            file.set_len(0).map_err(|e| Error::io("write", &partial, &e))?;
        }
        let mut writer = Self {
            path: path.to_owned(),
            key,
            by: by.to_owned(),
            file,
            locked: lock.is_ok(),
            header,
            first_value,
            row,
            rows,
            done,
            safe: done,
            since: Instant::now(),
        };
        writer.lay_out(&recipe.labels)?;
        Ok(Begin::From(writer))
    }

    fn lay_out(&mut self, labels: &[u32]) -> Result<()> {
        let whole = self.first_value + (self.rows * self.row * 4) as u64;
        let result = (|| {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&self.header)?;
            self.file.write_all(bytemuck::cast_slice(labels))?;
            self.file.set_len(whole)?;
            self.file.seek(SeekFrom::Start(self.first_value + (self.done * self.row * 4) as u64))
        })();
        result.map(|_| ()).map_err(|e| Error::io("write", &self.path, &e))
    }

    /// Whether nobody else can write there meanwhile: some file systems know no locks.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Rows that are written already.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Appends whole rows.
    ///
    /// # Errors
    /// [`Kind::Io`], for example when the disk is full; what was safe stays safe.
    pub fn append(&mut self, values: &[f32]) -> Result<()> {
        self.file
            .write_all(bytemuck::cast_slice(values))
            .map_err(|e| Error::io("write", &partial(&self.path), &e))?;
        self.done += values.len() / self.row;
        let (rows, time) = Self::SAFE_EVERY;
        let since = self.since.elapsed();
        let is_due = since >= time && self.done - self.safe >= rows || since >= Self::SAFE_AFTER;
        if is_due { self.make_safe() } else { Ok(()) }
    }

    /// Puts what is written on the disk and remembers how far it goes: after this, a kill loses none
    /// of it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn make_safe(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("write", &self.path, &e))?;
        (self.safe, self.since) = (self.done, Instant::now());
        let reached = Progress { key: self.key.clone(), by: self.by.clone(), rows: self.done };
        let bytes = serde_json::to_vec(&reached).map_err(|e| broken_recipe(&e))?;
        files::write_bytes(&progress(&self.path), &bytes)
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`] when rows are missing.
    pub fn finish(mut self) -> Result<Features> {
        if self.done != self.rows {
            return Err(Error::new(Kind::Data, format!("{} is not complete", self.path.display()))
                .expected_got(format!("{} rows", self.rows), self.done));
        }
        self.file.sync_all().map_err(|e| Error::io("write", &self.path, &e))?;
        // Where nothing is locked another may have written over this one's beginning: then its rows are nobody's.
        let mut begins = vec![0; self.header.len()];
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut begins));
        if read.is_err() || begins != self.header {
            return Err(Error::new(
                Kind::Data,
                format!("{} was written by another process at the same time", self.path.display()),
            )
            .help("remove the file that ends in .partial, and give each vgg-ft a folder of its own"));
        }
        // In this order: what is complete and has no note of it would be begun again.
        fs::rename(partial(&self.path), &self.path).map_err(|e| Error::io("write", &self.path, &e))?;
        remove_if_there(&progress(&self.path))?;
        let features = Features::open(&self.path)?;
        if features.key == self.key {
            Ok(features)
        } else {
            Err(Error::new(Kind::Data, format!("{} was replaced by somebody else", self.path.display()))
                .help("give each run a folder of its own"))
        }
    }
}

/// The features at `path`; none where nothing is.
fn there(path: &Path) -> Result<Option<Features>> {
    if !path.exists() {
        return Ok(None);
    }
    if !path.is_file() {
        return Err(foreign(path));
    }
    Features::open(path).map(Some).map_err(|error| match error.kind() {
        Kind::Data => error.of_kind(Kind::Usage).help(IN_THE_WAY),
        _ => error,
    })
}

/// That what is there is no file of features.
fn foreign(path: &Path) -> Error {
    Error::new(Kind::Usage, format!("{} was not written by vgg-ft", path.display())).help(IN_THE_WAY)
}

const IN_THE_WAY: &str = "vgg-ft has to write there: choose another folder, or remove it";

/// How many rows of the partial file can be relied on: those that its progress vouches for, if both
/// belong to this very extraction.
fn safe_rows(path: &Path, file: &mut File, (key, by): (&str, &str), header: &[u8], whole: u64) -> usize {
    let mut vouched = || {
        let bytes = files::read_regular(&progress(path)).ok()?;
        let progress: Progress = serde_json::from_slice(&bytes).ok()?;
        let mut found = vec![0; header.len()];
        file.read_exact(&mut found).ok()?;
        let same = (&progress.key[..], &progress.by[..]) == (key, by)
            && found == header
            && file.metadata().ok()?.len() == whole;
        same.then_some(progress.rows)
    };
    vouched().unwrap_or(0)
}

fn partial(path: &Path) -> PathBuf {
    suffixed(path, "partial")
}

fn progress(path: &Path) -> PathBuf {
    suffixed(path, "progress")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
