//! PyTorch's checkpoints: the bytes of a `.pth` in, its weights by name out; and the way back.
//!
//! In: what `torch.save` writes, of today (`archive`: a zip) and of before 1.6 (`stream`). The pickle in
//! it is read as data (`pickle`, `value`): nothing that it names is ever called. `choose` finds the
//! weights among what a training script saves, `tensor` says where their numbers lie.
//! Out: `Contents`; and files that `torch.load` reads, from `write`.

mod archive;
mod choose;
mod danger;
mod pickle;
mod stream;
mod tensor;
mod value;
mod write;

pub use write::save;

use super::contents::{Contents, FileFormat, Found};
use super::unzip::shorten;
use crate::error::{Error, Kind, Result};
use pickle::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use value::Pickle;

/// A file, taken apart.
struct Checkpoint<'a> {
    path: &'a Path,
    pickle: Pickle<'a>,
    /// The places of the storages in the file, by key.
    storages: BTreeMap<String, Range<usize>>,
}

/// Which of PyTorch's formats `bytes` begin like. A zip counts when it has a pickle where PyTorch puts it.
pub(super) fn recognise(path: &Path, bytes: &[u8]) -> Option<FileFormat> {
    if stream::begins(bytes) {
        return Some(FileFormat::TorchStream);
    }
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    (is_zip && archive::has_pickle(path, bytes)).then_some(FileFormat::TorchZip)
}

/// Finds the weights in the file `bytes`, of either format; `path` is for the errors.
///
/// The metadata say what was done: `read-from` (the entries that led to the weights), `prefix-removed`,
/// `skipped` (entries beside the weights that are no tensors).
///
/// # Errors
/// [`Kind::Weights`] when the file is damaged, big-endian or holds a whole model instead of its weights; when
/// it names a function that runs code; when a tensor is not dense, or is not wholly in the file.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let is_stream = stream::begins(bytes);
    let file = if is_stream { stream::open(path, bytes)? } else { archive::open(path, bytes)? };
    let chosen = choose::weights(&file)?;
    let mut names = BTreeSet::new();
    let mut tensors: Vec<Found> = Vec::with_capacity(chosen.tensors.len());
    for (name, rebuild) in &chosen.tensors {
        if !names.insert(name) {
            return Err(Error::new(
                Kind::Weights,
                format!("{} names the tensor `{}` twice", path.display(), shorten(name)),
            )
            .help("which of the two is meant cannot be known; make the file again"));
        }
        tensors.push(tensor::found(&file, name, rebuild)?);
    }
    let format = if is_stream { FileFormat::TorchStream } else { FileFormat::TorchZip };
    Ok(Contents { format, tensors, metadata: chosen.metadata, graph: None, pools: None })
}

/// What is wrong with a pickle, as an error; `part` says which of the file's pickles it is.
fn refusal(path: &Path, part: &str, fault: Fault) -> Error {
    let name = path.display();
    match fault {
        Fault::Damaged(at, what) => Error::new(Kind::Weights, format!("{part} of {name} cannot be read"))
            .fact("reason", what)
            .fact("at", format!("byte {at} of the pickle"))
            .help("the file is damaged, or torch.save has not made it; fetch or make it again"),
        Fault::Dangerous(function) => Error::new(
            Kind::Weights,
            format!("{name} is refused: it makes Python call {}", shorten(&function)),
        )
        .fact("done", "nothing of it was run")
        .help("such a file runs commands on whoever loads it; do not use it, and ask where it comes from"),
    }
}

fn big_endian(path: &Path) -> Error {
    Error::new(Kind::Weights, format!("{} has big-endian numbers", path.display()))
        .expected_got("little-endian", "another byte order")
        .help("load the file in PyTorch on a usual machine (x86, ARM) and save it again")
}

#[cfg(test)]
mod tests;
