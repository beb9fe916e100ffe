//! Checksums of files that others published: which kind, and whether it is the one.
//!
//! In: bytes, as they come or as they lie on the disk. Out: hexadecimal digits and a verdict.

use super::Watch;
use crate::error::{Error, Result};
use crate::files::hex;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What is known of a file's bytes, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest<'a> {
    /// The whole SHA-256.
    Sha256(&'a str),
    /// Its first digits, which torchvision writes into its files' names; torch.hub checks no more.
    Sha256Prefix(&'a str),
    /// The whole MD5, which is what Keras publishes.
    Md5(&'a str),
}

impl<'a> Digest<'a> {
    /// What is known of it.
    pub fn digits(self) -> &'a str {
        match self {
            Self::Sha256(digits) | Self::Sha256Prefix(digits) | Self::Md5(digits) => digits,
        }
    }

    /// `sha256` or `md5`.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Sha256(_) | Self::Sha256Prefix(_) => "sha256",
            Self::Md5(_) => "md5",
        }
    }

    /// How much of it is known: "whole", or "first 8 digits".
    pub fn known(self) -> String {
        match self {
            Self::Sha256(_) | Self::Md5(_) => "whole".into(),
            Self::Sha256Prefix(digits) => format!("first {} digits", digits.len()),
        }
    }

    /// Whether the digits of a file are those. Lower case on both sides.
    pub fn fits(self, hex: &str) -> bool {
        match self {
            Self::Sha256(digits) | Self::Md5(digits) => digits == hex,
            Self::Sha256Prefix(digits) => digits.len() >= 8 && hex.starts_with(digits),
        }
    }

    pub(super) fn hasher(self) -> Hasher {
        match self {
            Self::Sha256(_) | Self::Sha256Prefix(_) => Hasher::Sha256(Sha256::new()),
            Self::Md5(_) => Hasher::Md5(Md5::new()),
        }
    }
}

impl fmt::Display for Digest<'_> {
    /// "md5 6d6bbae1…", "sha256 397923af… (first 8 digits)"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digits) => write!(f, "sha256 {digits}"),
            Self::Sha256Prefix(digits) => write!(f, "sha256 {digits}… ({})", self.known()),
            Self::Md5(digits) => write!(f, "md5 {digits}"),
        }
    }
}

/// A checksum in the making.
#[derive(Clone)]
pub(super) enum Hasher {
    Sha256(Sha256),
    Md5(Md5),
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    /// Of what came so far; more may follow.
    pub fn hex(&self) -> String {
        match self.clone() {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Md5(hash) => hex(&hash.finalize()),
        }
    }
}

/// Bytes read at a time: a stop is heard between two pieces.
const PIECE: usize = 1 << 20;

/// Hands a file on piece by piece and gives its length.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io) with the path; what `take` returns; a stop.
pub(super) fn read_through(
    path: &Path,
    watch: &mut dyn Watch,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
    let (mut length, mut piece) = (0, vec![0; PIECE]);
    loop {
        watch.check()?;
        let n = file.read(&mut piece).map_err(|e| Error::io("read", path, &e))?;
        if n == 0 {
            return Ok(length);
        }
        take(&piece[..n])?;
        length += n as u64;
        watch.at(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(digest: Digest<'_>, text: &str) -> String {
        let mut hasher = digest.hasher();
        // In two pieces, with a look in between that must not disturb.
        let (first, rest) = text.as_bytes().split_at(text.len() / 2);
        hasher.update(first);
        hasher.hex();
        hasher.update(rest);
        hasher.hex()
    }

    #[test]
    fn the_digits_are_those_of_the_standards() {
        // RFC 1321, appendix A.5; FIPS 180-2, appendix B.1.
        assert_eq!(digits(Digest::Md5(""), "abc"), "900150983cd24fb0d6963f7d28e17f72");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digits(Digest::Sha256(""), "abc"), sha256);
        assert!(Digest::Sha256(sha256).fits(sha256) && Digest::Sha256Prefix("ba7816bf").fits(sha256));
        assert!(!Digest::Sha256("ba7816bf").fits(sha256), "a part is not the whole");
        assert!(!Digest::Sha256Prefix("ba7816be").fits(sha256));
        assert!(!Digest::Sha256Prefix("").fits(sha256), "nothing known is nothing checked");
        assert_eq!(Digest::Sha256Prefix("ba7816bf").to_string(), "sha256 ba7816bf… (first 8 digits)");
    }
}
