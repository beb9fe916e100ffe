//! Every reason to refuse a file or a tensor, each with a file made for it.

use crate::{file, scratch};
use half::{bf16, f16};
use std::fs;
use std::path::Path;
use vgg_ft::error::{Error, Kind};
use vgg_ft::weights::{Weights, inspect};

/// What `open` says about a file of these bytes.
fn refusal(bytes: &[u8]) -> Error {
    let (_dir, path) = scratch();
    fs::write(&path, bytes).unwrap();
    Weights::open(&path).unwrap_err()
}

/// The first line without the folder, which differs each time.
fn first_line(error: &Error) -> String {
    let words: Vec<&str> = error.message().split(' ').collect();
    let bare = |word: &&str| word.rsplit_once('/').map_or(*word, |(_, name)| name).to_string();
    words.iter().map(bare).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_refused(bytes: &[u8], line: &str, also: &[&str]) {
    let error = refusal(bytes);
    assert_eq!(first_line(&error), line);
    assert_eq!(error.kind(), Kind::Weights);
    let text = error.to_string();
    for part in also.iter().chain(&["\n  help: "]) {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_place_without_a_file_is_refused() {
    let (dir, path) = scratch();
    let missing = Weights::open(&path).unwrap_err();
    assert_eq!(first_line(&missing), "there is no weights file w.safetensors");
    let folder = Weights::open(dir.path()).unwrap_err();
    assert!(folder.message().ends_with("is a folder, not a weights file"), "{folder}");
    assert_eq!((missing.kind(), folder.kind()), (Kind::Weights, Kind::Weights));
    if Path::new("/dev/null").exists() {
        let device = Weights::open(Path::new("/dev/null")).unwrap_err();
        assert_eq!(device.message(), "/dev/null is not a regular file");
    }
}

#[test]
fn a_damaged_frame_is_refused() {
    assert_refused(b"", "w.safetensors is empty", &[]);
    assert_refused(b"abc", "w.safetensors is too short for a weights file", &["3 bytes"]);
    assert_refused(
        &[&100u64.to_le_bytes()[..], b"{}"].concat(),
        "the header of w.safetensors ends beyond the file",
        &["expected  108 bytes", "got       10 bytes"],
    );
    for absurd in [100_000_001, u64::MAX] {
        assert_refused(
            &[&absurd.to_le_bytes()[..], b"{}"].concat(),
            "w.safetensors is not a safetensors file",
            &["at most 100000000 bytes", &absurd.to_string()],
        );
    }
}

#[test]
fn other_formats_are_named() {
    let cases: [(&[u8], &str); 5] = [
        (b"root:x:0:0:root:/root:/bin/sh\n", "w.safetensors is no file of weights that is known"),
        (b"\x93NUMPY\x01\0v\0", "w.safetensors is a NumPy .npy file"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "w.safetensors is a Git LFS pointer, not the file itself",
        ),
        (b"<!DOCTYPE html><html>", "w.safetensors is a web page or XML"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "w.safetensors is a gzip archive"),
    ];
    for (bytes, line) in cases {
        assert_refused(bytes, line, &["expected  safetensors, Keras' HDF5"]);
    }
}

#[test]
fn a_damaged_header_is_refused() {
    let not_json = "the header of w.safetensors is not JSON";
    for header in ["{", "{\"a\":}", "{}x", "{\"a\":1,}"] {
        let bytes = file(header, b"");
        if header == "{\"a\":1,}" {
            // Its first fault is the entry, not the comma.
            assert_refused(&bytes, "the header of w.safetensors is not a safetensors header", &["entry   a"]);
        } else {
            assert_refused(&bytes, not_json, &["reason"]);
        }
    }
    assert_refused(&file("\0\0\0\0", b""), not_json, &[]);
    assert_refused(&[&4u64.to_le_bytes()[..], b"{\"\xff\""].concat(), not_json, &[]);

    let other = "the header of w.safetensors is not a safetensors header";
    for header in [
        "[]",
        "7",
        r#"{"x":{"dtype":"F32","shape":[1]}}"#,
        r#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":[[[]]]}}"#,
        r#"{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#,
        r#"{"__metadata__":{"n":1}}"#,
    ] {
        assert_refused(&file(header, &[0; 4]), other, &["reason"]);
    }
}

/// One F32 entry named `name` of one axis.
fn entry(name: &str, size: usize, begin: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"F32","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
}

#[test]
fn tensors_that_do_not_tile_the_file_are_refused() {
    let two = |b: &str| format!("{{{},{b}}}", entry("a", 2, 0, 8));
    assert_refused(
        &file(&two(&entry("b", 2, 8, 16)), &[0; 12]),
        "w.safetensors is cut off",
        &[&format!("expected  {} bytes", 8 + two(&entry("b", 2, 8, 16)).len() + 16)],
    );
    assert_refused(
        &file(&two(&entry("b", 2, 8, 16)), &[0; 17]),
        "w.safetensors is longer than its tensors",
        &["expected", "got"],
    );
    assert_refused(
        &file(&two(&entry("b", 2, 4, 12)), &[0; 12]),
        "the tensor `b` in w.safetensors overlaps `a`",
        &["offset 8", "offset 4"],
    );
    assert_refused(
        &file(&two(&entry("b", 2, 12, 20)), &[0; 20]),
        "the tensor `b` in w.safetensors leaves a gap after `a`",
        &["offset 8", "offset 12"],
    );
    assert_refused(
        &file(&format!("{{{}}}", entry("a", 1, 4, 8)), &[0; 8]),
        "the tensor `a` in w.safetensors leaves a gap after the header",
        &[],
    );
    assert_refused(
        &file(&two(&entry("b", 2, 16, 8)), &[0; 16]),
        "the tensor `b` in w.safetensors ends before it begins",
        &["16 to 8"],
    );
    assert_refused(
        &file(&two(&entry("b", 3, 8, 16)), &[0; 16]),
        "the tensor `b` in w.safetensors has another size than its shape",
        &["12 bytes for [3] of F32", "8 bytes"],
    );
    assert_refused(
        &file(&two(&entry("a", 2, 8, 16)), &[0; 16]),
        "w.safetensors names the tensor `a` twice",
        &[],
    );
    // The same name in disguise.
    assert_refused(
        &file(&two(&entry("\\u0061", 2, 8, 16)), &[0; 16]),
        "w.safetensors names the tensor `a` twice",
        &[],
    );
    let huge = usize::MAX / 2;
    assert_refused(
        &file(&format!(r#"{{"a":{{"dtype":"F32","shape":[{huge},4],"data_offsets":[0,8]}}}}"#), &[0; 8]),
        "the shape of the tensor `a` in w.safetensors is impossible",
        &["F32"],
    );
    assert_refused(
        &file(&format!(r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,{0}]}}}}"#, u64::MAX / 8), &[]),
        "w.safetensors is cut off",
        &[],
    );
    assert_refused(
        &file(r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]),
        "the tensor `a` in w.safetensors has an unknown type",
        &["expected  F32, F16 or BF16", "\"F31\""],
    );
}

#[test]
fn a_wrong_name_shape_or_type_is_refused() {
    let (_dir, path) = scratch();
    let header = format!(
        r#"{{{},"ids":{{"dtype":"I64","shape":[1],"data_offsets":[8,16]}}}}"#,
        entry("fc1.kernel", 2, 0, 8)
    );
    fs::write(&path, file(&header, &[0; 16])).unwrap();
    let weights = Weights::open(&path).unwrap();

    let name = weights.tensor("fc1.kernal", &[2]).unwrap_err();
    assert_eq!(first_line(&name), "there is no tensor `fc1.kernal` in w.safetensors");
    let text = name.to_string();
    assert!(text.contains("the nearest name is `fc1.kernel`") && text.contains("ids"), "{text}");
    let far = weights.shape("block1_conv1.kernel").unwrap_err().to_string();
    assert!(far.contains("another network"), "{far}");

    let shape = weights.tensor("fc1.kernel", &[1, 2]).unwrap_err();
    assert_eq!(first_line(&shape), "the tensor `fc1.kernel` in w.safetensors has another shape");
    assert!(shape.to_string().contains("expected  [1, 2]\n  got       [2]"), "{shape}");

    let dtype = weights.tensor("ids", &[1]).unwrap_err();
    assert_eq!(first_line(&dtype), "the tensor `ids` in w.safetensors is of type I64");
    assert!(inspect(&path).unwrap().to_string().contains("I64"));
    let errors = [name, shape, dtype];
    assert!(errors.iter().all(|e| e.kind() == Kind::Weights));
}

#[test]
fn values_that_are_not_finite_are_refused_with_their_place() {
    // Past one chunk of 65536, so that the count is a sum over tasks.
    let mut values = vec![1.0f32; 70_000];
    for (at, value) in [(65_537, f32::NEG_INFINITY), (69_999, f32::NAN)] {
        values[at] = value;
    }
    let f16s: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
    let bf16s: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
    let files: [(&str, usize, &[u8]); 3] = [
        ("F32", 4, bytemuck::cast_slice(&values)),
        ("F16", 2, bytemuck::cast_slice(&f16s)),
        ("BF16", 2, bytemuck::cast_slice(&bf16s)),
    ];
    for (dtype, size, data) in files {
        let header =
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":[70000],"data_offsets":[0,{}]}}}}"#, 70_000 * size);
        let (_dir, path) = scratch();
        fs::write(&path, file(&header, data)).unwrap();
        let error = Weights::open(&path).unwrap().tensor("x", &[70_000]).unwrap_err();
        assert_eq!(first_line(&error), "the tensor `x` in w.safetensors holds values that are not finite");
        let text = error.to_string();
        assert!(text.contains("2 of 70000") && text.contains("-inf at index 65537"), "{text}");
        assert_eq!(inspect(&path).unwrap().rows[0].not_finite, 2);
    }
}

/// A terminal obeys what it is sent, and a line of errors is a line.
#[test]
fn names_of_strangers_are_short_and_harmless() {
    let name = format!("\\u001b[2J{}", "n".repeat(70_000));
    let two = |a: &str, b: &str| format!("{{{a},{b}}}");
    for (header, data) in [
        (format!("{{{}}}", entry(&name, 1, 4, 8)), 8),
        (format!("{{{}}}", entry(&name, 2, 0, 4)), 4),
        (format!("{{{}}}", entry(&name, 1, 8, 4)), 8),
        (two(&entry(&name, 1, 0, 4), &entry(&name, 1, 4, 8)), 8),
        (two(&entry("a", 2, 0, 8), &entry(&name, 1, 4, 8)), 8),
        (format!(r#"{{"x":{{"{name}":1}}}}"#), 0),
        (format!(r#"{{"x":{{"dtype":"{name}","shape":[1],"data_offsets":[0,4]}}}}"#), 4),
    ] {
        let text = refusal(&file(&header, &vec![0; data])).to_string();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        // The path of a scratch file is some 40 characters.
        assert!(text.lines().all(|line| line.chars().count() < 400), "{text}");
        assert!(text.contains('…'), "{text}");
    }
    // The same in a file that is whole: a table, and an error about a tensor.
    let (_dir, path) = scratch();
    fs::write(&path, file(&format!("{{{}}}", entry(&name, 1, 0, 4)), &[0; 4])).unwrap();
    let table = inspect(&path).unwrap();
    assert_eq!(table.rows[0].name.chars().count(), 70_004);
    let text = table.to_string();
    assert!(!text.contains('\u{1b}') && text.contains("n…") && text.len() < 2000, "{text}");
    let weights = Weights::open(&path).unwrap();
    let text = weights.tensor(&table.rows[0].name, &[2]).unwrap_err().to_string();
    assert!(!text.contains('\u{1b}') && text.len() < 1000, "{text}");
}

/// Rows are as wide as the longest name, and there may be many.
#[test]
fn a_table_is_no_larger_than_its_file() {
    let (_dir, path) = scratch();
    let empty = |name: &str| format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let names = (0..2000).map(|at| at.to_string()).chain(["n".repeat(65_536)]);
    let header = names.map(|name| empty(&name)).collect::<Vec<_>>().join(",");
    fs::write(&path, file(&format!("{{{header}}}"), &[])).unwrap();
    let text = inspect(&path).unwrap().to_string();
    assert_eq!(text.lines().count(), 4 + 2001);
    assert!(text.len() < 500 * 2001, "{} bytes", text.len());
}
