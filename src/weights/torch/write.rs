//! Writing: named tensors of `f32` in, a file out that `torch.load` reads with `weights_only=True`.
//!
//! What PyTorch 1.6 to 2.15 write for an `OrderedDict` of tensors: a zip archive of stored entries, each at a
//! multiple of 64 bytes. Equal tensors make equal bytes: no times, no names of machines. The numbers go from
//! the caller's slices into the file.

use super::super::header::MAX_RANK;
use super::super::save::{NamedTensor, write_stoppable};
use super::super::zip;
use super::shorten;
use super::value::MAX_NAME;
use crate::error::{Error, Kind, Result};
use bytemuck::cast_slice;
use std::collections::BTreeSet;
use std::path::Path;

/// Where entries begin, so that PyTorch can map them into memory.
const ALIGNMENT: usize = 64;
/// Writes `tensors`, in this order, to `path` in PyTorch's zip format; the file is whole or absent.
///
/// # Errors
/// [`Kind::Weights`] when a name is empty, over 1024 bytes long or there twice, a shape does not fit its data, a value is not
/// finite, or the tensors are 4 GiB or more. [`Kind::Io`] with the path when it cannot be written.
pub fn save(path: &Path, tensors: &[NamedTensor<'_>]) -> Result<()> {
    check(path, tensors)?;
    let pickle = pickle(tensors);
    let mut entries: Vec<zip::Entry<'_>> =
        vec![("archive/data.pkl".into(), &pickle), ("archive/byteorder".into(), b"little")];
    entries
        .extend(tensors.iter().enumerate().map(|(at, t)| (format!("archive/data/{at}"), cast_slice(t.data))));
    // PyTorch reads versions up to 10; 3 came with 1.6.
    entries.push(("archive/version".into(), b"3\n"));
    if !zip::fits(&entries, ALIGNMENT) {
        let size = zip::size(&entries, ALIGNMENT);
        return Err(Error::new(Kind::Weights, format!("{} would be too large", path.display()))
            .fact("expected", format!("less than 4 GiB in at most {} tensors", zip::MOST_ENTRIES))
            .fact("got", format!("{size} bytes in {} tensors", tensors.len()))
            .help("save safetensors, which have no such limit"));
    }
    write_stoppable(path, |out| {
        zip::write(out, &entries, ALIGNMENT).map_err(|e| Error::io("write", path, &e))
    })
}

fn check(path: &Path, tensors: &[NamedTensor<'_>]) -> Result<()> {
    let mut names = BTreeSet::new();
    for NamedTensor { name, shape, data } in tensors {
        let refused = |why: &str| {
            Error::new(Kind::Weights, format!("cannot save the tensor `{}`: {why}", shorten(name)))
                .context(format!("writing {}", path.display()))
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(refused("its name is empty or too long"));
        }
        if !names.insert(name) {
            return Err(refused("it is there twice"));
        }
        let size = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        let small = shape.len() <= MAX_RANK && shape.iter().all(|&axis| i32::try_from(axis).is_ok());
        if size != Some(data.len()) || !small {
            return Err(refused("its shape does not fit its data")
                .expected_got(format!("{shape:?}"), format!("{} values", data.len())));
        }
        if let Some(at) = data.iter().position(|x| !x.is_finite()) {
            return Err(refused("a value is not finite")
                .fact("first", format!("{} at index {at}", data[at]))
                .help("the training diverged; lower the learning rate"));
        }
    }
    Ok(())
}

/// The pickle of `OrderedDict([(name, tensor), …])`, in protocol 2.
fn pickle(tensors: &[NamedTensor<'_>]) -> Vec<u8> {
    const DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut out = b"\x80\x02".to_vec();
    out.extend(DICT);
    out.push(b'(');
    for (key, tensor) in tensors.iter().enumerate() {
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.data.len());
        // The storage; the offset in it.
        out.extend(b"tQK\0");
        tuple(&mut out, &tensor.shape);
        tuple(&mut out, &strides(&tensor.shape));
        // It needs no gradient and has no hooks.
        out.push(0x89);
        out.extend(DICT);
        out.extend(b"tR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// `value` is at most `i32::MAX`: axes are checked, and no tensor has 4 GiB.
fn int(out: &mut Vec<u8>, value: usize) {
    match value {
        0..=0xff => out.extend([b'K', value as u8]),
        _ => {
            out.push(b'J');
            out.extend((value as i32).to_le_bytes());
        }
    }
}

fn tuple(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    values.iter().for_each(|&value| int(out, value));
    out.push(b't');
}

/// The strides of a dense tensor. One without elements may have any.
fn strides(shape: &[usize]) -> Vec<usize> {
    if shape.contains(&0) {
        return vec![1; shape.len()];
    }
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &axis in shape.iter().rev() {
        strides.push(stride);
        stride *= axis;
    }
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::contents::Place;
    use safetensors::SafeTensors;
    use std::fs;

    fn golden(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/torch");
        fs::read(folder.join(name)).unwrap()
    }

    fn tensor<'a>(name: &str, shape: &[usize], data: &'a [f32]) -> NamedTensor<'a> {
        NamedTensor { name: name.to_owned(), shape: shape.to_vec(), data }
    }

    fn write(tensors: &[NamedTensor<'_>]) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pth");
        save(&path, tensors)?;
        Ok(fs::read(&path).unwrap())
    }

    /// `make_torch.py --check` loads the golden file: PyTorch finds the expected tensors in it.
    #[test]
    fn the_file_is_the_one_that_pytorch_has_loaded() {
        let bytes = golden("expected.safetensors");
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let mut names: Vec<&str> = expected.names();
        names.retain(|name| {
            let of_network = name.starts_with("plain/") && !name.ends_with("num_batches_tracked");
            of_network || ["types/scalar", "strided/empty"].contains(name)
        });
        names.sort_unstable();
        let floats =
            |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
        let values: Vec<Vec<f32>> =
            names.iter().map(|name| floats(expected.tensor(name).unwrap().data())).collect();
        let tensors: Vec<NamedTensor<'_>> = names
            .iter()
            .zip(&values)
            .map(|(name, values)| tensor(name, expected.tensor(name).unwrap().shape(), values))
            .collect();
        let written = write(&tensors).unwrap();
        assert_eq!(written, write(&tensors).unwrap(), "equal tensors make equal bytes");
        assert!(written == golden("written.pth"), "the format has changed: let PyTorch check it again");

        let contents = super::super::read(Path::new("x.pth"), &written).unwrap();
        assert_eq!(contents.tensors.len(), 10);
        for (found, tensor) in contents.tensors.iter().zip(&tensors) {
            let Place::Here(place) = &found.place else { panic!("{found:?}") };
            assert_eq!((&found.name, &found.shape), (&tensor.name, &tensor.shape));
            assert_eq!(&written[place.clone()], cast_slice::<f32, u8>(tensor.data), "{}", found.name);
            assert_eq!(place.start % ALIGNMENT, 0, "{}", found.name);
        }
    }

    #[test]
    fn what_cannot_be_saved_is_refused() {
        let long = "n".repeat(MAX_NAME + 1);
        for (tensors, why) in [
            (vec![tensor("", &[1], &[1.0])], "its name is empty or too long"),
            (vec![tensor(&long, &[1], &[1.0])], "its name is empty or too long"),
            (vec![tensor("a", &[1], &[1.0]), tensor("a", &[1], &[2.0])], "`a`: it is there twice"),
            (vec![tensor("a", &[2], &[1.0])], "its shape does not fit its data"),
            (vec![tensor("a", &[0, 1 << 40], &[])], "its shape does not fit its data"),
            (vec![tensor("a", &[1; 9], &[1.0])], "its shape does not fit its data"),
            (vec![tensor("a", &[2], &[1.0, f32::NAN])], "a value is not finite"),
        ] {
            let text = write(&tensors).unwrap_err().to_string();
            assert!(text.contains(why), "{text}");
        }
        let many: Vec<NamedTensor<'_>> = (0..65_535).map(|at| tensor(&at.to_string(), &[0], &[])).collect();
        assert!(write(&many).unwrap_err().to_string().contains("x.pth would be too large"));
    }
}
