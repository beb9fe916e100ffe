//! Zip archives: the bytes of a file in, the names of its entries and the places of their bytes out.
//!
//! Entries must be stored, not compressed: then they are read where they lie, and nothing can unfold to
//! more than the file has. Everything that two readers of one archive could see differently is refused:
//! equal names, entries that overlap, local headers that contradict the directory.

use crate::error::{Error, Kind, Result};
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
const AGAIN: &str = "the file is damaged or was not written completely; fetch or make it again";

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
/// in safetensors: it would read 500 MB before the first of them is asked for.
///
/// # Errors
/// [`Kind::Weights`] when they differ.
pub(super) fn verify(path: &Path, bytes: &[u8], entry: &Entry) -> Result<()> {
    let crc = crc32fast::hash(bytes.get(entry.bytes.clone()).unwrap_or_default());
    if crc == entry.crc {
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
    let locator =
        end.checked_sub(20).filter(|&at| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x06\x07")));
    let (disks, counts, size, start, limit) = match locator {
        Some(locator) => {
            let at = usize::try_from(number::<8>(bytes, locator + 8)?).ok()?;
            let record = bytes.get(at..locator)?;
            if !record.starts_with(b"PK\x06\x06") {
                return None;
            }
            let u64_at = |at| number::<8>(record, at);
            let disks = number::<4>(record, 16)? | number::<4>(record, 20)?;
            (disks, (u64_at(24)?, u64_at(32)?), u64_at(40)?, u64_at(48)?, at)
        }
        None => {
            let u16_at = |at| number::<2>(bytes, end + at);
            let (size, start) = (number::<4>(bytes, end + 12)?, number::<4>(bytes, end + 16)?);
            (u16_at(4)? | u16_at(6)?, (u16_at(8)?, u16_at(10)?), size, start, end)
        }
    };
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let possible = size / RECORD as u64;
    let fits = disks == 0 && counts.0 == counts.1 && counts.1 <= possible && end <= limit;
    fits.then_some(Directory { start, end, count: counts.1 })
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
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a record says, for both headers.
    #[derive(Clone)]
    struct Made {
        name: &'static str,
        data: &'static [u8],
        flags: u16,
        method: u16,
        /// The name in the local header.
        local_name: &'static str,
        /// Added to the offset in the directory.
        shift: i32,
        zip64: bool,
    }

    fn made(name: &'static str, data: &'static [u8]) -> Made {
        Made { name, data, flags: 0, method: 0, local_name: name, shift: 0, zip64: false }
    }

    /// An archive with the record of zip64 at its end when one of its entries has a zip64 field.
    fn archive(all: &[Made], comment: &[u8]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for one in all {
            let (offset, size) = (out.len() as i32 + one.shift, one.data.len() as u32);
            let wide = [u64::from(size), u64::from(size), offset as u64].map(u64::to_le_bytes).concat();
            let crc = crc32fast::hash(one.data).to_le_bytes();
            let head = |name: &str, extra: usize| {
                let mut head = vec![20, 0];
                head.extend(one.flags.to_le_bytes());
                head.extend(one.method.to_le_bytes());
                head.extend([0; 4]);
                head.extend(crc);
                let stated = if one.zip64 { u32::MAX } else { size };
                head.extend([stated.to_le_bytes(); 2].concat());
                head.extend((name.len() as u16).to_le_bytes());
                head.extend((extra as u16).to_le_bytes());
                head
            };
            out.extend(b"PK\x03\x04");
            out.extend(head(one.local_name, 7));
            out.extend(one.local_name.as_bytes());
            out.extend(b"FB\x03\0abc");
            out.extend(one.data);
            directory.extend(b"PK\x01\x02\x14\0");
            directory.extend(head(one.name, if one.zip64 { 4 + 24 } else { 0 }));
            directory.extend([0; 10]);
            directory.extend(if one.zip64 { u32::MAX } else { offset as u32 }.to_le_bytes());
            directory.extend(one.name.as_bytes());
            if one.zip64 {
                directory.extend(b"\x01\0\x18\0");
                directory.extend(wide);
            }
        }
        let (start, count) = (out.len(), all.len());
        out.extend(&directory);
        let mut end = [[count as u8, 0]; 2].concat();
        end.extend([directory.len() as u32, start as u32].map(u32::to_le_bytes).concat());
        if all.iter().any(|one| one.zip64) {
            let at = out.len() as u64;
            out.extend(b"PK\x06\x06");
            out.extend([44u64.to_le_bytes(), [45, 0, 45, 0, 0, 0, 0, 0]].concat());
            out.extend([0; 4]);
            out.extend([count, count, directory.len(), start].map(|n| (n as u64).to_le_bytes()).concat());
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend([1, 0, 0, 0]);
            end = vec![255; 12];
        }
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(end);
        out.extend((comment.len() as u16).to_le_bytes());
        out.extend(comment);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
        entries(Path::new("x.zip"), bytes)
    }

    fn refusal(all: &[Made]) -> String {
        read(&archive(all, b"")).unwrap_err().to_string()
    }

    #[test]
    fn entries_are_found_where_they_lie() {
        let mut all = vec![made("a/data.pkl", b"pickle"), made("a/data/0", b""), made("ä", b"123")];
        for (zip64, comment) in
            [(false, &b""[..]), (true, b""), (false, b"PK\x05\x06 is a comment"), (true, b"c")]
        {
            all[1].zip64 = zip64;
            all[2].zip64 = zip64;
            let bytes = archive(&all, comment);
            let found = read(&bytes).unwrap();
            for (entry, made) in found.iter().zip(&all) {
                assert_eq!(entry.name, made.name);
                assert_eq!(&bytes[entry.bytes.clone()], made.data);
                verify(Path::new("x.zip"), &bytes, entry).unwrap();
            }
            assert_eq!(found.len(), 3);
            assert_eq!(names(Path::new("x.zip"), &bytes).unwrap(), ["a/data.pkl", "a/data/0", "ä"]);
        }
        assert!(read(&archive(&[], b"")).unwrap().is_empty());
    }

    #[test]
    fn a_changed_byte_has_another_checksum() {
        let mut bytes = archive(&[made("a", b"pickle")], b"");
        let entry = read(&bytes).unwrap().remove(0);
        bytes[entry.bytes.start + 2] ^= 1;
        let error = verify(Path::new("x.zip"), &bytes, &entry).unwrap_err().to_string();
        assert!(error.starts_with("the entry `a` of x.zip is damaged"), "{error}");
    }

    #[test]
    fn what_two_readers_could_see_differently_is_refused() {
        let (a, b) = (made("a", b"11111"), made("b", b"22222"));
        let deflated = Made { method: 8, ..b.clone() };
        let text = refusal(&[a.clone(), deflated]);
        assert!(text.starts_with("the entry `b` of x.zip is compressed"), "{text}");
        assert!(text.contains("deflate") && text.contains("zip -0"), "{text}");
        let encrypted = Made { flags: 1, ..b.clone() };
        assert!(refusal(&[a.clone(), encrypted]).contains("is encrypted"));
        assert!(refusal(&[a.clone(), a.clone()]).contains("`a` of x.zip is there twice"));
        let misnamed = Made { local_name: "c", ..b.clone() };
        assert!(refusal(&[a.clone(), misnamed]).contains("`b` of x.zip is not where the directory says"));
        let far = Made { shift: 1 << 20, ..b.clone() };
        assert!(refusal(&[a.clone(), far]).contains("is not where the directory says"));
        // Named as its neighbour within the neighbour's bytes, so that the local header is the right one.
        let inner = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0b";
        let around = made("around", inner);
        let back = (LOCAL + 1 + 7) as i32 - 7;
        let within = Made { data: b"", shift: -back, ..b };
        assert!(
            refusal(&[around, within]).starts_with("entries of x.zip overlap\n  entries  `around` and `b`")
        );
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let wide = Made { zip64: true, ..made("a/b", b"12345") };
        for bytes in
            [archive(&[made("a", b"1"), made("b", b"2")], b"end"), archive(&[made("a", b"1"), wide], b"")]
        {
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end]).is_err(), "cut at {end}");
            }
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    for entry in read(&damaged).unwrap_or_default() {
                        assert!(entry.bytes.end <= bytes.len());
                    }
                }
            }
        }
    }
}
