use super::*;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

const FEW: Counts = Counts { train: 3, validation: 2, test: 1 };

/// Path within the folder → bytes.
fn drawn(counts: &Counts, seed: u64) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    draw(dir.path(), counts, [40, 48], seed).unwrap();
    let mut out = BTreeMap::new();
    for set in ["train", "validation", "test"] {
        for class in ["cats", "dogs"] {
            for entry in fs::read_dir(dir.path().join(set).join(class)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(dir.path()).unwrap().to_path_buf();
                out.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    out
}

#[test]
fn the_folders_are_those_of_the_notebook() {
    let names: Vec<String> = drawn(&FEW, 1).keys().map(|p| p.display().to_string()).collect();
    let expected = [
        "test/cats/cat.5.png",
        "test/dogs/dog.5.png",
        "train/cats/cat.0.png",
        "train/cats/cat.1.png",
        "train/cats/cat.2.png",
        "train/dogs/dog.0.png",
        "train/dogs/dog.1.png",
        "train/dogs/dog.2.png",
        "validation/cats/cat.3.png",
        "validation/cats/cat.4.png",
        "validation/dogs/dog.3.png",
        "validation/dogs/dog.4.png",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_one_others() {
    let once = drawn(&FEW, 7);
    assert_eq!(once, drawn(&FEW, 7));
    let other = drawn(&FEW, 8);
    assert!(once.iter().all(|(name, bytes)| other[name] != *bytes));
}

#[test]
fn no_two_images_are_equal_and_all_can_be_read() {
    let all = drawn(&Counts { train: 20, validation: 10, test: 10 }, 3);
    assert_eq!(all.len(), Counts { train: 20, validation: 10, test: 10 }.total());
    assert_eq!(all.values().collect::<HashSet<_>>().len(), 80);
    for (name, bytes) in all {
        let image = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!(image.dimensions(), (48, 40));
        // Something is drawn: the values spread.
        let (low, high) = image.iter().fold((255, 0), |(l, h), &v| (v.min(l), v.max(h)));
        assert!(high - low > 60, "{}: {low} to {high}", name.display());
    }
}

#[test]
fn more_images_leave_the_first_ones_as_they_were() {
    let (few, more) = (drawn(&FEW, 7), drawn(&Counts { train: 5, ..FEW }, 7));
    for name in ["train/cats/cat.2.png", "train/dogs/dog.0.png"] {
        assert_eq!(few[Path::new(name)], more[Path::new(name)]);
    }
}

#[test]
fn nothing_is_overwritten_and_no_absurd_size_drawn() {
    let dir = tempfile::tempdir().unwrap();
    for size in [[0, 48], [48, 31], [2049, 48]] {
        assert_eq!(draw(&dir.path().join("new"), &FEW, size, 1).unwrap_err().kind(), Kind::Usage);
    }
    fs::write(dir.path().join("mine"), "mine").unwrap();
    let error = draw(dir.path(), &FEW, [48, 48], 1).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
