use super::header::LONGEST;
use super::*;
use crate::device::Precision;

fn recipe(rows: usize) -> Recipe {
    Recipe {
        engine: "0".into(),
        root: "data".into(),
        weights: "w".into(),
        variant: "vgg16".into(),
        input: [32, 32],
        preprocess: "notebook".into(),
        resize: "nearest".into(),
        precision: Precision::F32,
        layer: "block5_pool".into(),
        classes: vec!["cats".into(), "dogs \"x\"".into()],
        files: (0..rows).map(|i| (format!("cats/{i}.png"), 10, 20).into()).collect(),
        parted: None,
        row: vec![1, 1, 1, 3],
        labels: (0..rows as u32).map(|i| i % 2).collect(),
    }
}

fn writer(begin: Begin) -> Writer {
    match begin {
        Begin::From(writer) => writer,
        Begin::Complete(_) => panic!("complete already"),
    }
}

#[test]
fn an_interrupted_extraction_goes_on_and_gives_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..15).map(|i| i as f32).collect();
    let whole = dir.path().join("whole.safetensors");
    let mut w = writer(Writer::begin(&whole, &recipe(5), "cpu").unwrap());
    w.append(&values).unwrap();
    assert_eq!(w.finish().unwrap().values().unwrap(), values);

    let path = dir.path().join("train.safetensors");
    let mut w = writer(Writer::begin(&path, &recipe(5), "cpu").unwrap());
    w.append(&values[..6]).unwrap();
    w.make_safe().unwrap();
    // Written, but not yet declared safe: must be written again.
    w.append(&[f32::NAN; 3]).unwrap();
    drop(w);
    assert!(!path.exists());
    let mut w = writer(Writer::begin(&path, &recipe(5), "cpu").unwrap());
    assert_eq!(w.done(), 2);
    w.append(&values[6..]).unwrap();
    w.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&whole).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing temporary is left");
    assert!(matches!(Writer::begin(&path, &recipe(5), "cpu").unwrap(), Begin::Complete(_)));

    // Where nothing is locked another may have begun over it: then its rows are not given a name.
    let torn = dir.path().join("torn.safetensors");
    let mut w = writer(Writer::begin(&torn, &recipe(5), "cpu").unwrap());
    w.append(&values).unwrap();
    let others = header(&Recipe { weights: "x".into(), ..recipe(5) }, "key").unwrap();
    OpenOptions::new().write(true).open(suffixed(&torn, "partial")).unwrap().write_all(&others).unwrap();
    let error = w.finish().err().unwrap();
    assert!(error.message().contains("by another process at the same time"), "{error}");
    assert!(!torn.exists());
    fs::remove_file(suffixed(&torn, "partial")).unwrap();

    // Nobody else may write where somebody writes.
    let other = dir.path().join("other.safetensors");
    let held = writer(Writer::begin(&other, &recipe(5), "cpu").unwrap());
    let error = Writer::begin(&other, &recipe(5), "cpu").err().unwrap();
    assert!(error.message().contains("another vgg-ft is writing"), "{error}");
    drop(held);

    // Another file list is another extraction.
    assert_eq!(writer(Writer::begin(&path, &recipe(4), "cpu").unwrap()).done(), 0);
}

/// A, stopped; B over it, killed before it vouched for anything; A again: nothing of B's may be
/// taken for A's.
#[test]
fn rows_of_another_extraction_are_never_relied_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let mut a = writer(Writer::begin(&path, &recipe(5), "cpu").unwrap());
    a.append(&[1.0; 9]).unwrap();
    a.make_safe().unwrap();
    drop(a);
    let mut b = writer(Writer::begin(&path, &Recipe { layer: "other".into(), ..recipe(5) }, "cpu").unwrap());
    assert_eq!(b.done(), 0);
    b.append(&[2.0; 3]).unwrap();
    drop(b);
    assert_eq!(writer(Writer::begin(&path, &recipe(5), "cpu").unwrap()).done(), 0);
}

#[test]
fn damage_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let mut w = writer(Writer::begin(&path, &recipe(2), "cpu").unwrap());
    w.append(&[1.0; 3]).unwrap();
    assert_eq!(w.finish().err().unwrap().kind(), Kind::Data);

    let mut w = writer(Writer::begin(&path, &recipe(2), "cpu").unwrap());
    w.append(&[1.0; 6]).unwrap();
    w.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(Features::open(&path).err().unwrap().kind(), Kind::Data);
    assert!(Features::open(&dir.path().join("none")).err().unwrap().to_string().contains("vgg-ft extract"));
}

#[test]
fn what_is_no_features_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let refused = || Writer::begin(&path, &recipe(2), "cpu").err().unwrap();
    fs::write(&path, "mine").unwrap();
    let error = refused();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("choose another folder"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    fs::remove_file(&path).unwrap();
    let partial = suffixed(&path, "partial");
    fs::write(&partial, "a download, half of it").unwrap();
    assert_eq!(refused().kind(), Kind::Usage);
    assert_eq!(fs::read(&partial).unwrap(), b"a download, half of it");
    assert!(Writer::beginnings(&path).is_empty());
    // One of ours, of other images.
    fs::remove_file(&partial).unwrap();
    drop(writer(Writer::begin(&path, &recipe(3), "cpu").unwrap()));
    assert_eq!(Writer::beginnings(&path).len(), 2);
    let mut w = writer(Writer::begin(&path, &recipe(2), "cpu").unwrap());
    w.append(&[1.0; 6]).unwrap();
    w.finish().unwrap();
}

#[test]
fn names_that_no_header_holds_are_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let mut recipe = recipe(1);
    recipe.files[0].name = "x".repeat(LONGEST);
    let error = Writer::begin(&path, &recipe, "cpu").err().unwrap();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("so many names"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn rows_of_another_device_are_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let mut first = writer(Writer::begin(&path, &recipe(5), "cuda").unwrap());
    first.append(&[1.0; 6]).unwrap();
    first.make_safe().unwrap();
    drop(first);
    assert_eq!(writer(Writer::begin(&path, &recipe(5), "cuda").unwrap()).done(), 2);
    assert_eq!(writer(Writer::begin(&path, &recipe(5), "cpu").unwrap()).done(), 0);
}

/// Training on nothing would end well, with a loss that is no number.
#[test]
fn a_file_without_rows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.safetensors");
    let refused = writer(Writer::begin(&path, &recipe(0), "cpu").unwrap()).finish().err().unwrap();
    assert!(refused.to_string().contains("it has no rows"), "{refused}");
}
