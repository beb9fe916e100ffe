//! Zip archives of stored (uncompressed) entries: names and bytes in, the archive out.
//!
//! What a `.keras` and a `.pth` file are. No date: the same entries make the same bytes.

use std::io::{self, Write};

/// 1980-01-01, the first day that zip can say.
const DATE: u16 = 1 << 5 | 1;
/// Version 2.0 of the format is enough to read it.
const VERSION: u16 = 20;
/// Without zip64, offsets have 32 bits and entries are counted with 16.
const MOST_BYTES: usize = u32::MAX as usize;
/// See above.
pub const MOST_ENTRIES: usize = u16::MAX as usize;

/// A name and the bytes under it.
pub type Entry<'a> = (String, &'a [u8]);

/// Bytes of an archive of `entries`, or somewhat more.
pub fn size(entries: &[Entry<'_>], alignment: usize) -> usize {
    22 + entries.iter().map(|(name, bytes)| bytes.len() + 2 * name.len() + 2 * alignment + 80).sum::<usize>()
}

/// Whether [`write()`] can write `entries`.
pub fn fits(entries: &[Entry<'_>], alignment: usize) -> bool {
    size(entries, alignment) <= MOST_BYTES && entries.len() <= MOST_ENTRIES
}

/// Writes `entries` in order. With an `alignment` over 1 the bytes of each begin at a multiple of it, behind an extra field
/// that fills up to there, as PyTorch does it.
///
/// # Errors
/// Of `out`; [`io::ErrorKind::InvalidInput`] for entries that do not [fit](fits).
pub fn write(out: &mut dyn Write, entries: &[Entry<'_>], alignment: usize) -> io::Result<()> {
    if !fits(entries, alignment) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the archive would be too large"));
    }
    let (mut place, mut directory) = (0, Vec::new());
    for (name, bytes) in entries {
        // What stands before the data and again in the directory: version, flags, method, time, date, checksum, sizes,
        // length of the name.
        let mut common = [VERSION, 0, 0, 0, DATE].map(u16::to_le_bytes).concat();
        common.extend(crc32fast::hash(bytes).to_le_bytes());
        common.extend([(bytes.len() as u32).to_le_bytes(); 2].concat());
        common.extend((name.len() as u16).to_le_bytes());

        let mut header = b"PK\x03\x04".to_vec();
        header.extend(&common);
        let bare = header.len() + 2 + name.len();
        // The tag of the field and its length come first.
        let padding =
            if alignment > 1 { (place + bare + 4).next_multiple_of(alignment) - place - bare } else { 0 };
        header.extend((padding as u16).to_le_bytes());
        header.extend(name.as_bytes());
        if let Some(fill) = padding.checked_sub(4) {
            header.extend(b"FB");
            header.extend((fill as u16).to_le_bytes());
            header.resize(header.len() + fill, b'Z');
        }
        out.write_all(&header)?;
        out.write_all(bytes)?;

        directory.extend(b"PK\x01\x02");
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&common);
        // No extra field, no comment, first disk, no attributes inside (2 bytes each) and none outside (4).
        directory.extend([0; 12]);
        directory.extend((place as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        place += header.len() + bytes.len();
    }
    out.write_all(&directory)?;
    out.write_all(b"PK\x05\x06\0\0\0\0")?;
    out.write_all(&[(entries.len() as u16).to_le_bytes(); 2].concat())?;
    out.write_all(&[directory.len() as u32, place as u32].map(u32::to_le_bytes).concat())?;
    out.write_all(&[0; 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `zipfile` of Python 3.11 with `ZipInfo("a.txt")`, `create_system = 0`, `writestr(…, b"hi")`.
    #[test]
    fn the_bytes_are_those_of_python() {
        let python = "504b030414000000000000002100ac2a93d8020000000200000005000000612e7478746869504b01\
                      02140014000000000000002100ac2a93d80200000002000000050000000000000000000000000000\
                      000000612e747874504b0506000000000100010033000000250000000000";
        let mut out = Vec::new();
        write(&mut out, &[("a.txt".into(), b"hi")], 1).unwrap();
        assert_eq!(crate::files::hex(&out), python);
        assert!(out.len() <= size(&[("a.txt".into(), b"hi")], 1));
    }
}
