//! The file of decoded images under [`Images`](super::Images): written once, mapped ever after.
//!
//! Layout, little-endian: header (64 bytes: magic, version, h, w, resize, 0, key), `count` images of
//! h * w * 3 bytes, an index with one [`Record`] each, footer (56 bytes: count, length of the index,
//! SHA-256 of the index, magic). A file that was cut anywhere has no footer in its place.

use super::folder::Folder;
use super::resize::{Resize, Size};
use super::{Caveats, DecodedImage};
use crate::error::{Error, Kind, Result};
use crate::files;
use memmap2::Mmap;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Its last letter counts the ways in which records were written.
const MAGIC: [u8; 8] = *b"VGGFTPIY";
/// How images become pixels. Part of the key: pixels that a newer decoder would make otherwise must not be found.
pub const VERSION: u32 = 3;
const HEADER: usize = 64;
const FOOTER: usize = 56;

const PREFIX: &str = "images-";
const SUFFIX: &str = ".cache";

/// What caches were called before; nothing reads them any more, and they go with the others.
const FORMER: &str = "pictures-";

/// Whether a file of this name is a cache file: 16 hexadecimal digits between [`PREFIX`] and [`SUFFIX`].
pub(super) fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(FORMER));
    let digits = rest.and_then(|rest| rest.strip_suffix(SUFFIX));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What a cache file is for. One file serves all splits of a folder.
pub(super) struct Key {
    pub path: PathBuf,
    pub size: Size,
    header: [u8; HEADER],
}

impl Key {
    /// The file in `dir` for the images of `folder` in this size.
    pub fn new(dir: &Path, folder: &Folder, size: Size, resize: Resize) -> Result<Self> {
        let root = fs::canonicalize(&folder.root).map_err(|e| Error::io("find", &folder.root, &e))?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        let words = [VERSION, size.h as u32, size.w as u32, resize.code()];
        for (slot, word) in header[8..].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut hash = Sha256::new();
        hash.update(header);
        hash.update(root.as_os_str().as_encoded_bytes());
        header[HEADER - 32..].copy_from_slice(&hash.finalize());
        let short = files::hex(&header[HEADER - 32..][..8]);
        Ok(Self { path: dir.join(format!("{PREFIX}{short}{SUFFIX}")), size, header })
    }
}

/// What tells that an image file is still the one that was decoded. On Unix the time of its last change of any kind, a new
/// name too, is asked as well: files of one length and date, as they come out of an archive, may change places. (So a
/// `chmod` has it decoded again, too.) Elsewhere that is not noticed, nor is a file rewritten within the clock tick of its file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    seconds: i64,
    nanos: u32,
    /// Seconds and nanoseconds of the last change of the file or its name; 0 where there are none.
    changed: [i64; 2],
}

/// See [`Stamp::changed`].
#[cfg(unix)]
fn changed(meta: &fs::Metadata) -> [i64; 2] {
    use std::os::unix::fs::MetadataExt;
    [meta.ctime(), meta.ctime_nsec()]
}

/// See [`Stamp::changed`].
#[cfg(not(unix))]
fn changed(_: &fs::Metadata) -> [i64; 2] {
    [0; 2]
}

impl Stamp {
    /// The stamp of a file; None if it cannot be asked, which decoding will then report.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let modified = meta.modified().ok()?;
        // Before 1970 the distance counts backwards; it only has to be the same next time.
        let (seconds, nanos) = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
            Err(before) => (-(before.duration().as_secs() as i64) - 1, before.duration().subsec_nanos()),
        };
        Some(Self { bytes: meta.len(), seconds, nanos, changed: changed(&meta) })
    }
}

/// One image in the index.
struct Record {
    path: Vec<u8>,
    stamp: Stamp,
    sum: u64,
    caveats: Caveats,
}

impl Record {
    /// The path; elsewhere than on Unix none that is not Unicode, which is decoded again when it is asked for.
    fn name(&self) -> Option<&Path> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            Some(Path::new(std::ffi::OsStr::from_bytes(&self.path)))
        }
        #[cfg(not(unix))]
        {
            std::str::from_utf8(&self.path).ok().map(Path::new)
        }
    }

    fn write(&self, index: &mut Vec<u8>) {
        index.extend((self.path.len() as u32).to_le_bytes());
        index.extend(&self.path);
        index.extend(self.stamp.bytes.to_le_bytes());
        index.extend(self.stamp.seconds.to_le_bytes());
        index.extend(self.stamp.nanos.to_le_bytes());
        self.stamp.changed.iter().for_each(|word| index.extend(word.to_le_bytes()));
        index.extend(self.sum.to_le_bytes());
        index.push(self.caveats.byte());
    }

    fn read(index: &mut &[u8]) -> Option<Self> {
        let length = u32::from_le_bytes(take(index)?) as usize;
        let (path, rest) = index.split_at_checked(length)?;
        *index = rest;
        let stamp = Stamp {
            bytes: u64::from_le_bytes(take(index)?),
            seconds: i64::from_le_bytes(take(index)?),
            nanos: u32::from_le_bytes(take(index)?),
            changed: [take(index)?, take(index)?].map(i64::from_le_bytes),
        };
        let sum = u64::from_le_bytes(take(index)?);
        let [caveats] = take(index)?;
        Some(Self { path: path.to_vec(), stamp, sum, caveats: Caveats::of_byte(caveats) })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*head)
}

/// 64 bits of pixels. FNV-1a over words instead of bytes: every step is a bijection, so one changed word always shows.
pub(super) fn checksum(pixels: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
    let (words, rest) = pixels.as_chunks::<8>();
    let sum = words.iter().fold(0xCBF2_9CE4_8422_2325, |sum, &word| mix(sum, u64::from_le_bytes(word)));
    rest.iter().fold(sum, |sum, &byte| mix(sum, u64::from(byte)))
}

/// An opened cache file.
pub(super) struct Store {
    map: Mmap,
    file: fs::File,
    size: Size,
    slots: HashMap<Vec<u8>, (usize, Record)>,
    /// Images whose bytes changed on the disk; they are not in `slots`.
    pub damaged: usize,
}

impl Store {
    /// Maps the file of `key`: None if there is none, a reason if it cannot be used.
    pub fn open(key: &Key) -> Result<Option<Self>, String> {
        let file = match files::open_regular(&key.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        // It is in use: those that are not are removed one day. Another user's cannot be marked, and is not removed by us.
        let _ = file.set_modified(SystemTime::now());
        Self::of(file, key).map(Some)
    }

    /// Maps `file`, which is for `key`, whatever it is called by now.
    pub fn of(file: fs::File, key: &Key) -> Result<Self, String> {
        // SAFETY: the mapping is sound while nobody shortens or rewrites the file under it. We never
        // do: a cache is only ever replaced by renaming a new file over its name, which leaves the
        // mapped one as it is until the last mapping goes.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| e.to_string())?;
        Self::read(map, file, key)
    }

    /// Whether the file at `path` is this one.
    pub fn is_at(&self, path: &Path) -> bool {
        files::is_at(&self.file, path)
    }

    fn read(map: Mmap, file: fs::File, key: &Key) -> Result<Self, String> {
        let cut = || "it was cut off".to_string();
        let header = map.get(..HEADER).ok_or_else(cut)?;
        if header != key.header {
            return Err("it belongs to other images or another version".into());
        }
        let footer_at = map.len().checked_sub(FOOTER).filter(|&at| at >= HEADER).ok_or_else(cut)?;
        let mut footer = &map[footer_at..];
        let (Some(count), Some(length), Some(digest)) = (
            take(&mut footer).map(u64::from_le_bytes),
            take(&mut footer).map(u64::from_le_bytes),
            take::<32>(&mut footer),
        ) else {
            return Err(cut());
        };
        let index_at = usize::try_from(length).ok().and_then(|n| footer_at.checked_sub(n)).ok_or_else(cut)?;
        let pixels = usize::try_from(count).ok().and_then(|n| n.checked_mul(key.size.bytes()));
        if footer != MAGIC || pixels.and_then(|n| n.checked_add(HEADER)) != Some(index_at) {
            return Err(cut());
        }
        let mut index = &map[index_at..footer_at];
        if Sha256::digest(index)[..] != digest {
            return Err("its index is damaged".into());
        }

        let mut records = Vec::new();
        while let Some(record) = Record::read(&mut index) {
            records.push(record);
        }
        let bytes = key.size.bytes();
        let is_whole: Vec<bool> = map[HEADER..index_at]
            .par_chunks_exact(bytes)
            .zip(&records)
            .map(|(pixels, record)| checksum(pixels) == record.sum)
            .collect();
        let damaged = is_whole.iter().filter(|&&ok| !ok).count();
        let slots = (0..)
            .zip(records)
            .filter(|&(slot, _)| is_whole.get(slot).is_some_and(|&ok| ok))
            .map(|(slot, record)| (record.path.clone(), (slot, record)))
            .collect();
        Ok(Self { map, file, size: key.size, slots, damaged })
    }

    /// The slot of an image, the checksum of its pixels, and [`DecodedImage::caveats`], if it was decoded from a file with this
    /// stamp.
    pub fn find(&self, path: &Path, stamp: Option<Stamp>) -> Option<(usize, u64, Caveats)> {
        let (slot, record) = self.slots.get(path.as_os_str().as_encoded_bytes())?;
        (Some(record.stamp) == stamp).then_some((*slot, record.sum, record.caveats))
    }

    /// The pixels in a slot, (h, w, 3).
    pub fn image(&self, slot: usize) -> &[u8] {
        let bytes = self.size.bytes();
        &self.map[HEADER + slot * bytes..][..bytes]
    }

    // Images that are still what is on the disk, in the order of the file.
    fn living(&self, root: &Path) -> Vec<&(usize, Record)> {
        let is_living = |record: &Record| {
            record.name().is_some_and(|path| Stamp::of(&root.join(path)) == Some(record.stamp))
        };
        let mut living: Vec<_> = self.slots.values().filter(|(_, record)| is_living(record)).collect();
        living.sort_unstable_by_key(|(slot, _)| *slot);
        living
    }
}

/// Writes a cache file front to back.
pub(super) struct Writer<'a, W: Write> {
    out: &'a mut W,
    key: &'a Key,
    index: Vec<u8>,
    count: u64,
    /// The paths that are in it.
    known: HashSet<Vec<u8>>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub fn begin(out: &'a mut W, key: &'a Key) -> Result<Self> {
        let mut writer = Self { out, key, index: Vec::new(), count: 0, known: HashSet::new() };
        writer.put(&key.header)?;
        Ok(writer)
    }

    /// Takes over from another file what still holds and is not here yet, until `stop` turns true: then that file had
    /// better stay.
    pub fn copy(&mut self, old: &Store, root: &Path, stop: &AtomicBool) -> Result<()> {
        for (slot, record) in old.living(root) {
            if !self.known.insert(record.path.clone()) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Interrupted, "stopped by the user"));
            }
            self.put(old.image(*slot))?;
            record.write(&mut self.index);
            self.count += 1;
        }
        Ok(())
    }

    pub fn add(&mut self, path: &Path, stamp: Stamp, read: &DecodedImage) -> Result<()> {
        self.put(&read.pixels)?;
        let path = path.as_os_str().as_encoded_bytes().to_vec();
        self.known.insert(path.clone());
        Record { path, stamp, sum: checksum(&read.pixels), caveats: read.caveats }.write(&mut self.index);
        self.count += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        let index = std::mem::take(&mut self.index);
        self.put(&index)?;
        self.put(&self.count.to_le_bytes())?;
        self.put(&(index.len() as u64).to_le_bytes())?;
        self.put(&Sha256::digest(&index))?;
        self.put(&MAGIC)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io("write", &self.key.path, &e))
    }
}
