//! A zip archive of stored (uncompressed) entries, all that a `.keras` file is.
//!
//! Names and bytes in, the archive out. No date: the same entries make the same bytes.

use crate::error::{Error, Kind, Result};
use std::io::{self, Write};

/// 1980-01-01, the first day that zip can say.
const DATE: u16 = 1 << 5 | 1;
/// Version 2.0 of the format is enough to read it.
const VERSION: u16 = 20;

/// Writes `entries` in order.
///
/// # Errors
/// [`Kind::Weights`] for an archive of 4 GiB and more, which needs an extension that we do not write;
/// [`Kind::Io`] from `out`.
pub fn write(out: &mut dyn Write, entries: &[(&str, &[u8])]) -> Result<()> {
    let total: u64 = entries.iter().map(|(name, bytes)| (bytes.len() + 2 * name.len() + 76) as u64).sum();
    if total + 22 > u64::from(u32::MAX) {
        return Err(Error::new(Kind::Weights, "the network is too large for a zip archive")
            .expected_got("less than 4 GiB", format!("{total} bytes"))
            .help("export it as keras-h5, which has no such limit"));
    }
    archive(out, entries).map_err(|e| Error::new(Kind::Io, "cannot write the archive").fact("reason", e))
}

fn archive(out: &mut dyn Write, entries: &[(&str, &[u8])]) -> io::Result<()> {
    let mut directory = Vec::new();
    let mut place: u32 = 0;
    for (name, bytes) in entries {
        // What stands before the data and again in the directory.
        let mut common = Vec::new();
        for half in [VERSION, 0, 0, 0, DATE] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc32fast::hash(bytes), bytes.len() as u32, bytes.len() as u32] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&0u16.to_le_bytes());

        out.write_all(b"PK\x03\x04")?;
        out.write_all(&common)?;
        out.write_all(name.as_bytes())?;
        out.write_all(bytes)?;

        directory.extend_from_slice(b"PK\x01\x02");
        directory.extend_from_slice(&VERSION.to_le_bytes());
        directory.extend_from_slice(&common);
        // No comment, first disk, no attributes inside (2 bytes each) and none outside (4).
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&place.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        place += (30 + name.len() + bytes.len()) as u32;
    }
    out.write_all(&directory)?;
    out.write_all(b"PK\x05\x06\0\0\0\0")?;
    for half in [entries.len() as u16; 2] {
        out.write_all(&half.to_le_bytes())?;
    }
    out.write_all(&(directory.len() as u32).to_le_bytes())?;
    out.write_all(&place.to_le_bytes())?;
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
        write(&mut out, &[("a.txt", b"hi")]).unwrap();
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, python);
    }
}
