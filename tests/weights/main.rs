//! Weights files from outside: round trips, conversion, and what cannot be written.

// The exemption for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic)]

#[macro_use]
#[path = "../support/skip.rs"]
mod skip;

mod formats;
mod keras;
mod mutation;
mod refusals;
mod shipped;
mod tools;

use half::{bf16, f16};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use vgg_ft::error::Kind;
use vgg_ft::weights::{Dtype, FloatType, NamedTensor, Weights, inspect, rewrite, save};

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    (dir, path)
}

fn tensor<'a>(name: &str, shape: &[usize], data: &'a [f32]) -> NamedTensor<'a> {
    NamedTensor { name: name.into(), shape: shape.to_vec(), data }
}

fn metadata() -> BTreeMap<String, String> {
    [("format", "keras"), ("layout", "HWIO"), ("a", "ä\"\n")].map(|(k, v)| (k.into(), v.into())).into()
}

/// A file with this header and this much data behind it.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn what_is_saved_is_read_back_in_each_float_type() {
    // Odd sizes put tensors at offsets that are no multiple of 4 in the half types.
    let kernel: Vec<f32> = (0..3 * 3 * 3 * 5).map(|i| (i as f32 - 60.0) * 0.37).collect();
    let bias = [0.0, -0.0, 65504.0, 1e-7, -1.0];
    let tensors = [tensor("b.kernel", &[3, 3, 3, 5], &kernel), tensor("a.bias", &[5], &bias)];
    type Round = fn(f32) -> f32;
    let types: [(FloatType, Dtype, Round); 3] = [
        (FloatType::F32, Dtype::F32, |x| x),
        (FloatType::F16, Dtype::F16, |x| f16::from_f32(x).to_f32()),
        (FloatType::Bf16, Dtype::BF16, |x| bf16::from_f32(x).to_f32()),
    ];
    for (float, dtype, round) in types {
        let (_dir, path) = scratch();
        save(&path, &tensors, float, &metadata()).unwrap();
        let weights = Weights::open(&path).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a.bias", "b.kernel"]);
        assert_eq!(weights.metadata(), &metadata());
        assert_eq!(weights.len_bytes(), fs::metadata(&path).unwrap().len());
        for NamedTensor { name, shape, data } in &tensors {
            assert_eq!(weights.dtype(name).unwrap(), dtype);
            assert_eq!(weights.shape(name).unwrap(), shape);
            let got = weights.tensor(name, shape).unwrap();
            let expected: Vec<u32> = data.iter().map(|&x| round(x).to_bits()).collect();
            assert_eq!(got.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected, "{name} {float:?}");
        }
    }
}

#[test]
fn the_official_reader_agrees_with_our_writer() {
    let (_dir, path) = scratch();
    let data = [1.0, -2.5, 3.25];
    save(&path, &[tensor("x", &[3, 1], &data)], FloatType::F32, &metadata()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.tensor("x").unwrap().data(), bytemuck::cast_slice::<f32, u8>(&data));
    assert_eq!(theirs.tensor("x").unwrap().shape(), [3, 1]);
}

#[test]
fn equal_tensors_make_equal_bytes_and_aligned_data() {
    let (a, b) = ([1.0, 2.0], [3.0]);
    let (_dir, path) = scratch();
    let mut files = Vec::new();
    for tensors in
        [[tensor("a", &[2], &a), tensor("b", &[1], &b)], [tensor("b", &[1], &b), tensor("a", &[2], &a)]]
    {
        save(&path, &tensors, FloatType::F32, &metadata()).unwrap();
        files.push(fs::read(&path).unwrap());
    }
    assert_eq!(files[0], files[1]);
    let header = u64::from_le_bytes(files[0][..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
    let weights = Weights::open(&path).unwrap();
    assert!(matches!(weights.tensor("a", &[2]).unwrap(), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn data_at_an_odd_offset_is_copied_and_right() {
    // A header of 63 bytes: 8 + 63 = 71, so no number is aligned.
    let header = format!("{:63}", r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#);
    let (_dir, path) = scratch();
    fs::write(&path, file(&header, bytemuck::cast_slice(&[1.5f32, -2.0]))).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert_eq!(weights.tensor("x", &[2]).unwrap(), vec![1.5, -2.0]);
}

#[test]
fn empty_tensors_and_scalars_are_tensors() {
    let (_dir, path) = scratch();
    let tensors = [tensor("none", &[0, 3], &[]), tensor("scalar", &[], &[7.0])];
    save(&path, &tensors, FloatType::F16, &BTreeMap::new()).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert!(weights.tensor("none", &[0, 3]).unwrap().is_empty());
    assert_eq!(weights.tensor("scalar", &[]).unwrap(), vec![7.0]);
    assert!(inspect(&path).unwrap().to_string().contains("scalar"));
}

#[test]
fn a_header_of_640_bytes_is_no_pickle() {
    // 640 is 80 02 in little-endian, as a pickle of protocol 2 begins.
    let header = format!("{:640}", r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#);
    let (_dir, path) = scratch();
    fs::write(&path, file(&header, &[0; 4])).unwrap();
    assert!(Weights::open(&path).is_ok());
}

#[test]
fn the_sha256_is_that_of_the_file() {
    let (_dir, path) = scratch();
    fs::write(&path, file("{}", b"")).unwrap();
    // printf '\x02\0\0\0\0\0\0\0{}' | sha256sum
    let expected = "411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd";
    assert_eq!(Weights::open(&path).unwrap().sha256(), expected);
}

#[test]
fn what_cannot_be_saved_is_named_and_leaves_nothing_behind() {
    let (dir, path) = scratch();
    let none = BTreeMap::new();
    let big = [1.0, -65_505.0];
    let cases: [(&[NamedTensor<'_>], FloatType, &str); 7] = [
        (
            &[tensor("x", &[2], &big)],
            FloatType::F16,
            "cannot save the tensor `x`: a value is too large for F16",
        ),
        (
            // Rounds to infinity in bf16.
            &[tensor("x", &[1], &[f32::MAX])],
            FloatType::Bf16,
            "cannot save the tensor `x`: a value is too large for BF16",
        ),
        (
            &[tensor("x", &[1], &[f32::NAN])],
            FloatType::F32,
            "cannot save the tensor `x`: a value is not finite",
        ),
        (
            &[tensor("x", &[1], &[f32::INFINITY])],
            FloatType::F16,
            "cannot save the tensor `x`: a value is not finite",
        ),
        (
            &[tensor("x", &[3], &big)],
            FloatType::F32,
            "cannot save the tensor `x`: its shape does not fit its data",
        ),
        (
            &[tensor("x", &[2], &big), tensor("x", &[2], &big)],
            FloatType::F32,
            "cannot save the tensor `x`: is there twice",
        ),
        (
            &[tensor("__metadata__", &[2], &big)],
            FloatType::F32,
            "cannot save the tensor `__metadata__`: the name is empty or reserved",
        ),
    ];
    for (tensors, float, line) in cases {
        let error = save(&path, tensors, float, &none).unwrap_err();
        assert_eq!((error.message(), error.kind()), (line, Kind::Weights));
    }
    let text = save(&path, &[tensor("x", &[2], &big)], FloatType::F16, &none).unwrap_err().to_string();
    assert!(text.contains("at most 65504") && text.contains("-65505 at index 1"), "{text}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_unwritable_place_keeps_the_old_file_and_leaves_no_other() {
    let (dir, path) = scratch();
    let x = [tensor("x", &[1], &[1.0])];
    let missing = dir.path().join("no/such/folder/w.safetensors");
    let error = save(&missing, &x, FloatType::F32, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("no/such/folder"), "{error}");

    // A folder stands where the file should be: all is written, only the last step, the renaming, fails.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), b"kept").unwrap();
    let error = save(&path, &x, FloatType::F32, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a partial file is left");
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
}

#[test]
fn a_conversion_says_what_it_cost() {
    let (dir, from) = scratch();
    let to = dir.path().join("half.safetensors");
    let values = [1.0, 1.0 + 1.0 / 4096.0, 1e-9, 0.0];
    save(&from, &[tensor("x", &[2, 2], &values)], FloatType::F32, &BTreeMap::new()).unwrap();
    let read = Weights::open(&from).unwrap();
    let report = rewrite(&read.all().unwrap(), &to, FloatType::F16, &metadata()).unwrap();
    assert_eq!((report.tensors, report.values), (1, 4));
    assert_eq!((report.rounding.subnormal, report.rounding.lost), (1, 1));
    assert_eq!(report.rounding.absolute, 1.0 / 4096.0);
    let half = Weights::open(&to).unwrap();
    assert_eq!(half.tensor("x", &[2, 2]).unwrap(), vec![1.0, 1.0, 0.0, 0.0]);
    assert_eq!(half.metadata(), &metadata());

    // In place: the source is open while it is replaced.
    rewrite(&half.all().unwrap(), &to, FloatType::F32, &BTreeMap::new()).unwrap();
    assert_eq!(Weights::open(&to).unwrap().tensor("x", &[2, 2]).unwrap(), vec![1.0, 1.0, 0.0, 0.0]);
}
