//! Zip archives: the bytes of a file in, the names of its entries and the places of their bytes out.
//!
//! Entries must be stored, not compressed: then they are read where they lie, and nothing can unfold to
//! more than the file has. Everything that two readers of one archive could see differently is refused:
//! equal names, entries that overlap, local headers that contradict the directory.

use crate::error::{Error, Kind, Result};
use crate::files;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// No model has more entries; the check of 100,000 takes milliseconds.
const MAX_ENTRIES: u64 = 100_000;
/// The fixed part of the record at the very end.
const END: usize = 22;
/// The fixed part of an entry's record in the directory.
const RECORD: usize = 46;
/// The fixed part of the header before an entry's bytes.
const LOCAL: usize = 30;
/// A size or an offset that is found in the zip64 field.
const ELSEWHERE: u64 = 0xffff_ffff;
/// The tag of the zip64 field among the extra fields.
const ZIP64: u64 = 1;
pub(super) const AGAIN: &str = "the file is damaged or was not written completely; fetch or make it again";

/// A stored entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// With the folders before it, separated by `/`. A folder's own entry ends with `/`.
    pub name: String,
    /// Where its bytes lie in the file.
    pub bytes: Range<usize>,
    crc: u32,
}

/// Finds the entries of the archive `bytes`, in the order of its directory; `path` is for the errors.
///
/// The checksums are not read: that would read the whole file. See [`verify`].
///
/// # Errors
/// [`Kind::Weights`] when it is no whole zip archive, an entry is compressed, encrypted or there twice, or
/// entries overlap.
pub(super) fn entries(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>> {
    let directory = find_directory(path, bytes)?;
    let start = directory.start;
    let records = records(path, bytes, directory)?;
    let mut places = Vec::with_capacity(records.len());
    let mut entries = Vec::with_capacity(records.len());
    for record in records {
        let place = record.place(path, bytes, start)?;
        places.push((record.local..place.end, entries.len()));
        entries.push(Entry { name: record.name.to_owned(), bytes: place, crc: record.crc });
    }
    places.sort_by_key(|(place, _)| (place.start, place.end));
    for pair in places.windows(2) {
        if let [(before, a), (after, b)] = pair
            && before.end > after.start
        {
            let name = |at: &usize| entries.get(*at).map_or_else(String::new, |e: &Entry| shorten(&e.name));
            return Err(Error::new(Kind::Weights, format!("entries of {} overlap", path.display()))
                .fact("entries", format!("`{}` and `{}`", name(a), name(b)))
                .help(AGAIN));
        }
    }
    Ok(entries)
}

/// The names of all entries, also of an archive whose entries [`entries`] refuses.
///
/// # Errors
/// [`Kind::Weights`] when the directory of the archive cannot be read.
pub(super) fn names<'a>(path: &Path, bytes: &'a [u8]) -> Result<Vec<&'a str>> {
    let directory = find_directory(path, bytes)?;
    Ok(records(path, bytes, directory)?.into_iter().map(|record| record.name).collect())
}

/// Reads an entry's bytes and compares their checksum.
///
/// For what is parsed, where one wrong byte changes the meaning of all that follow. Tensors go without, as
/// in safetensors: it would read 500 MB before the first of them is asked for. A checksum of 0 counts as none:
/// PyTorch writes it when it is told to save time.
///
/// # Errors
/// [`Kind::Weights`] when they differ.
pub(super) fn verify(path: &Path, bytes: &[u8], entry: &Entry) -> Result<()> {
    let crc = crc32fast::hash(bytes.get(entry.bytes.clone()).unwrap_or_default());
    if crc == entry.crc || entry.crc == 0 {
        return Ok(());
    }
    Err(wrong(path, &entry.name, "is damaged")
        .expected_got(format!("checksum {:08x}", entry.crc), format!("{crc:08x}"))
        .help("the file was changed on its way; fetch or make it again"))
}

/// What the directory says about an entry.
struct Record<'a> {
    name: &'a str,
    flags: u64,
    method: u64,
    crc: u32,
    size: usize,
    /// Where its local header begins.
    local: usize,
}

/// Where the directory lies, and how many records it has.
struct Directory {
    start: usize,
    end: usize,
    count: u64,
}

fn find_directory(path: &Path, bytes: &[u8]) -> Result<Directory> {
    let name = path.display();
    let Some(end) = find_end(bytes) else {
        return Err(Error::new(Kind::Weights, format!("{name} is a zip archive without its end"))
            .fact("got", format!("{} bytes", bytes.len()))
            .help(AGAIN));
    };
    let damaged = || Error::new(Kind::Weights, format!("the directory of {name} is damaged")).help(AGAIN);
    let directory = end_record(bytes, end).ok_or_else(damaged)?;
    if directory.count > MAX_ENTRIES {
        return Err(Error::new(Kind::Weights, format!("{name} has too many entries"))
            .expected_got(format!("at most {MAX_ENTRIES}"), directory.count)
            .help("this is no file of weights, or it is damaged"));
    }
    Ok(directory)
}

/// The last record that ends where the file ends: its comment, which may hold anything, is counted in.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    (first..=last).rev().find(|&at| {
        bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x05\x06"))
            && number::<2>(bytes, at + 20) == Some((last - at) as u64)
    })
}

/// Reads the record at `end`, and zip64's before it, when it is there. `None` when they make no sense.
fn end_record(bytes: &[u8], end: usize) -> Option<Directory> {
    // Disk, disk of the directory, records on this disk, records, size, start.
    let (u16_at, u32_at) = (|at| number::<2>(bytes, end + at), |at| number::<4>(bytes, end + at));
    let mut fields = [u16_at(4)?, u16_at(6)?, u16_at(8)?, u16_at(10)?, u32_at(12)?, u32_at(16)?];
    let mut limit = end;
    let is_locator = |at: &usize| bytes.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x06\x07"));
    if let Some(locator) = end.checked_sub(20).filter(is_locator) {
        limit = usize::try_from(number::<8>(bytes, locator + 8)?).ok()?;
        let record = bytes.get(limit..locator).filter(|record| record.starts_with(b"PK\x06\x06"))?;
        let (u32_at, u64_at) = (|at| number::<4>(record, at), |at| number::<8>(record, at));
        let wide = [u32_at(16)?, u32_at(20)?, u64_at(24)?, u64_at(32)?, u64_at(40)?, u64_at(48)?];
        let full = [[0xffff; 4].as_slice(), &[ELSEWHERE; 2]].concat();
        // What both say, both say alike.
        if (0..6).any(|at| fields[at] != wide[at] && fields[at] != full[at]) {
            return None;
        }
        fields = wide;
    }
    let [disk, disk_of_directory, here, count, size, start] = fields;
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let fits = disk == 0 && disk_of_directory == 0 && here == count && end <= limit;
    (fits && count <= size / RECORD as u64).then_some(Directory { start, end, count })
}

/// The records of the directory. Names are there once.
fn records<'a>(path: &Path, bytes: &'a [u8], directory: Directory) -> Result<Vec<Record<'a>>> {
    let damaged = |at| {
        Error::new(Kind::Weights, format!("the directory of {} is damaged", path.display()))
            .fact("record", format!("{at} of {}", directory.count))
            .help(AGAIN)
    };
    let mut rest = bytes.get(directory.start..directory.end).ok_or_else(|| damaged(0))?;
    let mut records = Vec::new();
    let mut names = BTreeSet::new();
    for at in 1..=directory.count {
        let record;
        (record, rest) = read_record(rest).ok_or_else(|| damaged(at))?;
        if !names.insert(record.name) {
            return Err(wrong(path, record.name, "is there twice")
                .help("which of the two is meant cannot be known; make the file again"));
        }
        records.push(record);
    }
    if rest.is_empty() { Ok(records) } else { Err(damaged(directory.count)) }
}

/// The first record of `bytes`, and what follows it.
fn read_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (fixed, rest) = bytes.split_at_checked(RECORD)?;
    let u16_at = |at| number::<2>(fixed, at);
    let u32_at = |at| number::<4>(fixed, at);
    let (name, rest) = rest.split_at_checked(u16_at(28)? as usize)?;
    let (extra, rest) = rest.split_at_checked(u16_at(30)? as usize)?;
    let (_comment, rest) = rest.split_at_checked(u16_at(32)? as usize)?;

    // Those that are elsewhere, in this order.
    let mut wide = extra_field(extra, ZIP64).unwrap_or_default();
    let mut wide_or = |value: u64| {
        if value != ELSEWHERE {
            return Some(value);
        }
        let (first, others) = wide.split_first_chunk::<8>()?;
        wide = others;
        Some(u64::from_le_bytes(*first))
    };
    let size = wide_or(u32_at(24)?)?;
    let packed = wide_or(u32_at(20)?)?;
    let local = wide_or(u32_at(42)?)?;
    let (flags, method) = (u16_at(8)?, u16_at(10)?);
    if method == 0 && packed != size {
        return None;
    }
    let record = Record {
        name: str::from_utf8(name).ok()?,
        flags,
        method,
        crc: u32_at(16)? as u32,
        size: usize::try_from(size).ok()?,
        local: usize::try_from(local).ok()?,
    };
    Some((record, rest))
}

fn extra_field(mut extra: &[u8], tag: u64) -> Option<&[u8]> {
    loop {
        let (fixed, rest) = extra.split_at_checked(4)?;
        let (field, others) = rest.split_at_checked(number::<2>(fixed, 2)? as usize)?;
        if number::<2>(fixed, 0)? == tag {
            return Some(field);
        }
        extra = others;
    }
}

impl Record<'_> {
    /// Where the bytes lie: behind the local header, before the `directory`.
    fn place(&self, path: &Path, bytes: &[u8], directory: usize) -> Result<Range<usize>> {
        if self.flags & 1 != 0 {
            return Err(
                wrong(path, self.name, "is encrypted").help("unpack the archive, and pack it without")
            );
        }
        if self.method != 0 {
            let method =
                if self.method == 8 { "deflate".to_owned() } else { format!("method {}", self.method) };
            return Err(wrong(path, self.name, "is compressed").expected_got("stored entries", method).help(
                "unpack the archive and pack it again without compression (`unzip FILE -d x`, then in the \
                 folder x `zip -0 -r ../FILE .`)",
            ));
        }
        let damaged = || wrong(path, self.name, "is not where the directory says").help(AGAIN);
        let header = bytes.get(..directory).and_then(|all| all.get(self.local..)).ok_or_else(damaged)?;
        let length = self.header_length(header).ok_or_else(damaged)?;
        let start = self.local.checked_add(length).ok_or_else(damaged)?;
        let end = start.checked_add(self.size).filter(|&end| end <= directory).ok_or_else(damaged)?;
        Ok(start..end)
    }

    /// The length of the local header that `bytes` begin with, when it agrees with the record.
    fn header_length(&self, bytes: &[u8]) -> Option<usize> {
        let u16_at = |at| number::<2>(bytes, at);
        let (name, extra) = (u16_at(26)? as usize, u16_at(28)? as usize);
        // A size is absent when it came after the bytes (bit 3) or is in a field of zip64.
        let later = u16_at(6)? & 8 != 0;
        let size_agrees = |size: u64| size == self.size as u64 || size == ELSEWHERE || later && size == 0;
        let agrees = bytes.starts_with(b"PK\x03\x04")
            && u16_at(6)? & 1 == 0
            && u16_at(8)? == self.method
            && size_agrees(number::<4>(bytes, 18)?)
            && size_agrees(number::<4>(bytes, 22)?)
            && bytes.get(LOCAL..LOCAL + name)? == self.name.as_bytes();
        agrees.then_some(LOCAL + name + extra)
    }
}

fn wrong(path: &Path, entry: &str, what: &str) -> Error {
    Error::new(Kind::Weights, format!("the entry `{}` of {} {what}", shorten(entry), path.display()))
}

/// The little-endian number of `N` bytes at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut eight = [0; 8];
    eight.get_mut(..N)?.copy_from_slice(bytes.get(at..)?.get(..N)?);
    Some(u64::from_le_bytes(eight))
}

/// Text from the file, fit for one line of an error.
pub(crate) fn shorten(text: &str) -> String {
    files::shorten(text, 40)
}

#[cfg(test)]
mod tests;
