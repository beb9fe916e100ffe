//! Which format a file is of: its first bytes in, its contents (or what it is instead) out.

use super::contents::Contents;
use super::{header, keras, onnx, torch, unzip};
use crate::error::{Error, Kind, Result};
use std::path::Path;

/// What people have weights in and we read.
const READ: &str = "safetensors, Keras' HDF5 and .keras, PyTorch's .pth, ONNX";

/// Bytes of an unknown file that are shown.
const BEGIN: usize = 16;

/// Reads `bytes`, the whole of the file at `path`, by what they are and not by what the file is called.
///
/// # Errors
/// [`Kind::Weights`] for a file that is damaged or of no format that holds weights.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    // Byte 8 of every safetensors file is the brace of its header. Asked first: a header of 640 bytes
    // (80 02 00 …) would pass for a pickle.
    // Of another format, this byte is chance, and the length before it is not the file's.
    let length = bytes.first_chunk::<{ header::PREFIX }>().map(|prefix| u64::from_le_bytes(*prefix));
    if bytes.get(header::PREFIX) == Some(&b'{') && length.is_some_and(|n| n <= bytes.len() as u64) {
        return header::read(path, bytes);
    }
    match bytes {
        [0x89, b'H', b'D', b'F', ..] => keras::read(path, bytes),
        [b'P', b'K', 3, 4, ..] => archive(path, bytes),
        [0x80, 2..=5, ..] if torch::recognise(path, bytes).is_some() => torch::read(path, bytes),
        // The first field of every ONNX file is its version, a small number.
        [0x08, 1..=0x40, ..] => onnx::read(path, bytes),
        _ => match foreign(bytes) {
            Some((what, help)) => Err(Error::new(Kind::Weights, format!("{} is {what}", path.display()))
                .expected_got(READ, what)
                .help(help)),
            // It begins as a header that no safetensors file may have, and not with a brace behind its length.
            None if length.is_some_and(|n| n > header::MAX_HEADER)
                && bytes.get(header::PREFIX) != Some(&b'{') =>
            {
                let begin = &bytes[..bytes.len().min(BEGIN)];
                Err(Error::new(
                    Kind::Weights,
                    format!("{} is no file of weights that is known", path.display()),
                )
                .expected_got(READ, format!("a file that begins with \"{}\"", begin.escape_ascii()))
                .help("check the path; vgg-ft looks at what is in a file, not at its name"))
            }
            None => header::read(path, bytes),
        },
    }
}

/// A zip archive: Keras' or PyTorch's, by what is in it.
fn archive(path: &Path, bytes: &[u8]) -> Result<Contents> {
    if torch::recognise(path, bytes).is_some() {
        return torch::read(path, bytes);
    }
    let entries = unzip::entries(path, bytes)?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has("config.json") || has("model.weights.h5") {
        return keras::read(path, bytes);
    }
    let what = if entries.iter().any(|entry| entry.name.ends_with(".npy")) {
        "a NumPy .npz archive"
    } else {
        "a zip archive without weights that we know"
    };
    Err(Error::new(Kind::Weights, format!("{} is {what}", path.display()))
        .expected_got("a .keras model or a PyTorch .pth", what)
        .help("save the weights as safetensors: see weights/README.md"))
}

/// Names what people take for weights, so that the error is not about a header.
fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            Some(("a NumPy .npy file", "save the weights as safetensors: see weights/README.md"))
        }
        [0x80, 2..=5, ..] => Some((
            "a Python pickle that torch.save did not write; nothing in it was run",
            "save the weights with torch.save(model.state_dict(), FILE)",
        )),
        [0x1f, 0x8b, ..] => Some(("a gzip archive", "unpack it first: gunzip FILE")),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            Some(("a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`"))
        }
        [0xFF, 0xD8, 0xFF, ..] | [0x89, b'P', b'N', b'G', ..] | [b'G', b'I', b'F', b'8', ..] => {
            Some(("an image", "give a file of weights here; images stand elsewhere in the command"))
        }
        _ if bytes.starts_with(b"<") => {
            Some(("a web page or XML", "the download went wrong; fetch the file again"))
        }
        _ => None,
    }
}
