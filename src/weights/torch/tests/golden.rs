//! The files of PyTorch.

use super::*;
use safetensors::SafeTensors;
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/torch")
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// The files of one name: of the zip format, and of the stream where there is one.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let all = [format!("{name}.pth"), format!("{name}-stream.pth")];
    all.into_iter()
        .filter(|file| folder().join(file).exists())
        .map(|file| (file.clone(), golden(&file)))
        .collect()
}

/// All files of the folder.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".pth"))
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), golden(&name))).collect()
}

#[test]
fn every_tensor_is_found_where_pytorch_has_put_it() {
    let bytes = golden("expected.safetensors");
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let order = metadata.metadata().as_ref().unwrap();
    assert_eq!(order.len(), 14, "has a case been added? then count it here");
    let mut streams = 0;
    for (case, names) in order {
        let files = files(case);
        assert!(!files.is_empty(), "{case}");
        for (file, bytes) in files {
            let stream = file.ends_with("-stream.pth");
            streams += usize::from(stream);
            let format = if stream { FileFormat::TorchStream } else { FileFormat::TorchZip };
            assert_eq!(recognise(Path::new(&file), &bytes), Some(format), "{file}");
            let contents = read(Path::new(&file), &bytes).unwrap();
            assert_eq!(contents.format, format);
            assert!(contents.graph.is_none());
            let found: Vec<&str> = contents.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            assert_eq!(found, names.split('\n').collect::<Vec<_>>(), "{file}");
            for tensor in &contents.tensors {
                let right = expected.tensor(&format!("{case}/{}", tensor.name)).unwrap();
                let name = format!("{} of {file}", tensor.name);
                assert_eq!((tensor.dtype, tensor.shape.as_slice()), (right.dtype(), right.shape()), "{name}");
                assert_eq!(dense(&bytes, tensor), right.data(), "{name}");
            }
        }
    }
    assert_eq!(streams, 10);
}

#[test]
fn only_what_lies_in_steps_is_read_in_steps() {
    let in_steps = [
        "transposed",
        "columns",
        "every other",
        "channels last",
        "permuted",
        "picked",
        "an axis of one",
        "overlapping",
        "windows",
    ];
    for (file, bytes) in files("strided") {
        for tensor in read(Path::new(&file), &bytes).unwrap().tensors {
            let steps = matches!(tensor.place, Place::Steps { .. });
            assert_eq!(steps, in_steps.contains(&tensor.name.as_str()), "{} of {file}", tensor.name);
        }
    }
    for (file, bytes) in files("shared") {
        let tensors = read(Path::new(&file), &bytes).unwrap().tensors;
        let places: Vec<&Place> = tensors.iter().map(|tensor| &tensor.place).collect();
        let [whole, tied, Place::Here(head), Place::Here(tail)] = places[..] else { panic!("{places:?}") };
        assert_eq!(whole, tied);
        assert_eq!(*whole, Place::Here(head.start..tail.end), "{file}");
        assert_eq!(head.end, tail.start);
    }
}

#[test]
fn the_metadata_say_what_was_done() {
    for (case, expected) in [
        ("plain", &[][..]),
        ("parameters", &[("skipped", "none")]),
        ("checkpoint", &[("read-from", "state_dict")]),
        ("nested", &[("read-from", "model > state_dict")]),
        ("odd", &[("read-from", "my weights")]),
        ("mixed", &[("skipped", "epoch, rng")]),
        ("parallel", &[("prefix-removed", "module.")]),
        ("compiled", &[("prefix-removed", "module._orig_mod."), ("read-from", "model")]),
    ] {
        for (file, bytes) in files(case) {
            let metadata = read(Path::new(&file), &bytes).unwrap().metadata;
            let found: Vec<(&str, &str)> =
                metadata.iter().map(|(key, value)| (&key[..], &value[..])).collect();
            assert_eq!(found, expected, "{file}");
        }
    }
}

#[test]
fn what_holds_no_weights_says_why() {
    let whole = "holds a whole Python object (torch.nn.modules.container.Sequential)";
    let commands = ["x.pth is refused: it makes Python call", "system", "nothing of it was run"];
    for (case, texts) in [
        ("module", &[whole, ", not weights", "save `model.state_dict()` instead"][..]),
        ("module-inside", &[whole, " in `model`, not weights"]),
        ("malicious", &commands),
        ("malicious-inside", &commands),
        ("expanded", &["`x` in x.pth has more elements than its storage", "at most 1", "clone()"]),
        ("sparse", &["`x` in x.pth is sparse", "to_dense"]),
        ("meta", &["`x` in x.pth has no numbers"]),
        ("negated", &["`x` in x.pth is kept conjugated or negated", "clone()"]),
        ("complex128", &["`x` in x.pth has a type that cannot be read", "ComplexDoubleStorage"]),
        ("list", &["x.pth holds a list, no weights by name"]),
        ("tensor", &["x.pth holds a tensor without a name, no weights by name"]),
        ("numbers", &["x.pth has no tensors where weights are by custom", "epoch, loss"]),
        ("parts", &["x.pth has no tensors where weights are by custom", "encoder, decoder"]),
        ("big-endian", &["x.pth has big-endian numbers"]),
        ("compressed", &["the entry `plain/data/0` of x.pth is compressed", "zip -0"]),
        ("script", &["x.pth holds a TorchScript program, not weights", "torch.jit.load"]),
    ] {
        let files = files(case);
        assert!(!files.is_empty(), "{case}");
        for (file, bytes) in files {
            let text = refusal(&bytes);
            for part in texts {
                assert!(text.contains(part), "{file}: {text}");
            }
        }
    }
}

#[test]
fn other_writers_of_zips_are_read_too() {
    let plain = read(Path::new("x.pth"), &golden("plain.pth")).unwrap();
    for file in ["same.pth", "no-checksums.pth"] {
        let bytes = golden(file);
        let contents = read(Path::new(file), &bytes).unwrap();
        assert_eq!(contents.tensors.len(), plain.tensors.len());
        for (one, other) in contents.tensors.iter().zip(&plain.tensors) {
            assert_eq!(dense(&bytes, one), dense(&golden("plain.pth"), other), "{}", one.name);
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for (file, bytes) in all() {
        for end in 0..bytes.len() {
            assert!(read(Path::new(&file), &bytes[..end]).is_err(), "{file} cut at {end}");
        }
    }
}

#[test]
fn no_changed_byte_makes_it_panic_or_reach_out_of_the_file() {
    for (file, mut bytes) in all() {
        for at in 0..bytes.len() {
            let flip = [1, 0x80, 0xff][at % 3];
            bytes[at] ^= flip;
            if let Ok(contents) = read(Path::new(&file), &bytes) {
                for tensor in &contents.tensors {
                    dense(&bytes, tensor);
                }
            }
            bytes[at] ^= flip;
        }
    }
}
