//! Files in memory without being read: a path in, a map of its bytes out, and elements that do not lie in a row.

use crate::error::{Error, Kind, Result};
use memmap2::Mmap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

/// Maps the file at `path`.
pub(super) fn map(path: &Path) -> Result<Mmap> {
    let name = path.display();
    let about = fs::metadata(path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::new(Kind::Weights, format!("there is no weights file {name}"))
                .help("check the path; `vgg-ft weights fetch` gets files that others publish")
        } else {
            Error::io("read", path, &e)
        }
    })?;
    if about.is_dir() {
        return Err(Error::new(Kind::Weights, format!("{name} is a folder, not a weights file"))
            .help("name a weights file inside it"));
    }
    if !about.is_file() {
        return Err(Error::new(Kind::Weights, format!("{name} is not a regular file"))
            .help("weights are mapped into memory; copy them into a file first"));
    }
    if about.len() == 0 {
        return Err(Error::new(Kind::Weights, format!("{name} is empty"))
            .help("a download or a copy has failed; fetch or make the file again"));
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
    // SAFETY: the map is read-only and private to its `Weights`. Its bytes change only if someone writes
    // into the open file, which `Weights::open` asks not to do; every value read from it is a plain number,
    // for which any bit pattern is valid.
    unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, &e))
}

/// Whether `path`, which the file `of` names, lies beside it: a link may lead elsewhere, to what nobody meant to
/// hand out.
///
/// # Errors
/// [`Kind::Weights`] where it does. Links into a folder `blobs` are Hugging Face's cache, and allowed.
pub(super) fn inside(of: &Path, path: &Path) -> Result<()> {
    let real = |path: &Path| path.canonicalize().map_err(|e| Error::io("find", path, &e));
    let folder = real(of.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    let found = real(path)?;
    let blob = found.parent().and_then(Path::file_name).is_some_and(|name| name == "blobs");
    if blob || found.starts_with(&folder) {
        return Ok(());
    }
    Err(Error::new(Kind::Weights, format!("{} is a link to another folder", path.display()))
        .fact("leads to", found.display())
        .help(format!("put the file itself beside {}", of.display())))
}

/// Gives the pages of `range` back to the system; they are read from the file again when they are touched.
#[cfg(unix)]
pub(super) fn release(map: &Mmap, range: Range<usize>) {
    // SAFETY: the map is of a file, read-only and never written through, and `Weights::open` asks that nobody
    // changes or cuts the file while it is open. So a dropped page comes back with the same bytes, and borrows of
    // it stay valid. Failure leaves the pages where they are.
    let _ =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
}

#[cfg(not(unix))]
pub(super) fn release(_: &Mmap, _: Range<usize>) {}

/// The elements of `size` bytes in the order of `shape`, slowest axis first, one after another. The reader
/// has checked that the farthest is there.
pub(super) fn gather(
    storage: &[u8],
    size: usize,
    first: usize,
    shape: &[usize],
    strides: &[usize],
) -> Vec<u8> {
    let count = shape.iter().product::<usize>();
    let mut out = Vec::with_capacity(count * size);
    let mut place = vec![0; shape.len()];
    let mut at = first;
    for _ in 0..count {
        out.extend_from_slice(&storage[at * size..][..size]);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            at += strides[axis];
            if place[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            place[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_gathered() {
        // [[0, 1, 2], [3, 4, 5]] by columns, and its second column alone.
        let bytes: Vec<u8> = (0..6).collect();
        assert_eq!(gather(&bytes, 1, 0, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(&bytes, 1, 1, &[2], &[3]), [1, 4]);
        assert_eq!(gather(&bytes, 2, 0, &[3, 1], &[1, 9]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(gather(&bytes, 1, 5, &[], &[]), [5]);
        assert_eq!(gather(&bytes, 1, 0, &[0, 2], &[1, 1]), [0u8; 0]);
    }
}
