//! `check`: what is wrong with a data set is found, named and counted, and nothing else is.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, json, stdout, vgg_ft};
use image::imageops::{FilterType, flip_horizontal, resize};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use vgg_ft::data::draw as demo;

/// Drawings of cats and dogs, no two of them alike, for each of `names` in `data`.
fn drawings(data: &Path, names: &[&str]) -> Vec<image::RgbImage> {
    let counts = demo::Counts { train: names.len() as u32, validation: 0, test: 0 };
    let dir = tempfile::tempdir().unwrap();
    demo::draw(dir.path(), &counts, [96, 96], 1).unwrap();
    let drawn = |(i, name): (usize, &&str)| {
        let (class, animal) = [("cats", "cat"), ("dogs", "dog")][i % 2];
        let from = dir.path().join(format!("train/{class}/{animal}.{i}.png"));
        fs::copy(&from, data.join(name)).unwrap();
        image::open(from).unwrap().to_rgb8()
    };
    names.iter().enumerate().map(drawn).collect()
}

/// `(finding, path below data, other below data)` of a result.
fn found(result: &Value) -> Vec<(String, String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(|text| text.replace('\\', "/"));
    let below = |value: &Value| text(value).map(|path| path.strip_prefix("data/").unwrap().to_owned());
    let findings = result["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|f| (text(&f["finding"]).unwrap(), below(&f["path"]).unwrap(), below(&f["other"])))
        .collect()
}

#[test]
fn a_set_with_nothing_wrong_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("data"), &[("train", 4), ("validation", 2)]);
    let command = ["check", "data", "--size", "32", "--strict"];
    let text = stdout(vgg_ft(dir.path()).args(command));
    assert!(text.starts_with("data: 12 images of 2 classes\n"), "{text}");
    assert!(text.ends_with("\n\nno problems\n") && !text.contains("worth a look"), "{text}");
    let result = json(&stdout(vgg_ft(dir.path()).args(command).arg("--json")));
    assert_eq!(found(&result), []);
    assert_eq!(result["splits"], json!(["train", "validation"]));
    let cold = &result["classes"][0];
    assert_eq!(
        [&cold["images"], &cold["median"], &cold["formats"]],
        [&json!([4, 2]), &json!([36, 40]), &json!({ "PNG": 6 })]
    );
    // Of larger input all of them are small.
    let text = stdout(vgg_ft(dir.path()).args(["check", "data"]));
    assert!(
        text.contains(
            "12 images are smaller than 150x150 and would be enlarged\n    train/cold/0.png: 36x40"
        ),
        "{text}"
    );
    assert!(
        text.contains("and 9 more") && text.contains("no problems; -o FILE.csv lists every image"),
        "{text}"
    );
    let text = stdout(vgg_ft(dir.path()).args(["check", "data", "-o", "all.csv"]));
    assert!(text.contains("and 9 more") && text.ends_with("no problems\n"), "{text}");
}

#[test]
fn what_is_broken_or_there_twice_is_named_with_what_it_is_a_copy_of() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for folder in ["train/a", "train/b", "val/a", "val/b"] {
        fs::create_dir_all(data.join(folder)).unwrap();
    }
    let names =
        ["train/a/0.png", "train/a/1.png", "train/b/2.png", "train/b/3.png", "val/a/4.png", "val/b/5.png"];
    let images = drawings(&data, &names);
    let copy = |from: &str, to: &str| fs::copy(data.join(from), data.join(to)).unwrap();
    copy("train/a/0.png", "train/a/again.png");
    copy("train/a/1.png", "train/b/torn.png");
    copy("train/b/2.png", "val/b/leak.png");
    // The same levels, in a file of another format.
    images[3].save(data.join("val/b/other.bmp")).unwrap();
    resize(&images[0], 64, 64, FilterType::Triangle).save(data.join("val/a/small.jpg")).unwrap();
    flip_horizontal(&images[2]).save(data.join("train/b/turned.png")).unwrap();
    image::RgbImage::from_pixel(96, 96, image::Rgb([9, 99, 199]))
        .save(data.join("train/b/flat.png"))
        .unwrap();
    image::RgbImage::from_fn(40, 120, |x, y| image::Rgb([(x * 5) as u8, (y * 2) as u8, 0]))
        .save(data.join("train/b/high.png"))
        .unwrap();
    // A drawing that is in its transparency alone, and levels that an 8-bit image has no room for.
    image::RgbaImage::from_fn(96, 96, |x, y| image::Rgba([0, 0, 0, (x * y % 251) as u8]))
        .save(data.join("train/b/clear.png"))
        .unwrap();
    image::ImageBuffer::<image::Luma<u16>, _>::from_fn(96, 96, |x, y| image::Luma([(300 + x * y) as u16]))
        .save(data.join("train/b/grey.png"))
        .unwrap();
    let whole = fs::read(data.join("train/a/0.png")).unwrap();
    fs::write(data.join("val/a/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(data.join("train/a/phone.heic"), b"").unwrap();

    let command = ["check", "data", "--size", "64", "--json"];
    let result = json(&stdout(vgg_ft(dir.path()).args(command).args(["-o", "found.csv"])));
    let pair = |what: &str, path: &str, other: &str| (what.into(), path.into(), Some(other.into()));
    let alone = |what: &str, path: &str| (what.into(), path.into(), None);
    assert_eq!(
        found(&result),
        [
            alone("unreadable", "val/a/cut.png"),
            pair("same-in-splits", "val/b/leak.png", "train/b/2.png"),
            pair("same-in-splits", "val/b/other.bmp", "train/b/3.png"),
            pair("same-in-classes", "train/b/torn.png", "train/a/1.png"),
            pair("alike-in-splits", "val/a/small.jpg", "train/a/0.png"),
            pair("same", "train/a/again.png", "train/a/0.png"),
            pair("alike", "train/b/turned.png", "train/b/2.png"),
            alone("blank", "train/b/clear.png"),
            alone("blank", "train/b/flat.png"),
            alone("blank", "train/b/grey.png"),
            alone("clipped", "train/b/grey.png"),
            alone("small", "train/b/high.png"),
            alone("squeezed", "train/b/high.png"),
        ]
    );
    assert_eq!(result["problems"], 4);
    let blank = result["findings"].as_array().unwrap().iter().filter(|found| found["finding"] == "blank");
    assert_eq!(
        blank.map(|found| found["detail"].as_str().unwrap()).collect::<Vec<_>>(),
        ["its transparency is dropped", "", "16-bit grey, clipped at 255"]
    );
    assert_eq!(result["notes"], json!(["train: 1 .heic left out: these formats are not read"]));
    assert_eq!(result["classes"][0]["readable"], 6 - 1, "{result}");
    let csv = fs::read_to_string(dir.path().join("found.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 13, "{csv}");
    assert!(
        csv.starts_with("finding,problem,split,class,path,other,detail\nunreadable,true,validation,a,"),
        "{csv}"
    );

    let text = stdout(vgg_ft(dir.path()).args(["check", "data"]));
    for words in [
        "1 image cannot be read and would be skipped\n    ",
        "2 images are in two splits, pixel for pixel",
        "val/b/leak.png and train/b/2.png\n",
        "train/b/turned.png and train/b/2.png: mirrored",
        "\n4 problems",
    ] {
        assert!(text.replace('\\', "/").contains(words), "{words}: {text}");
    }
    // A script that asks gets an answer, and what was found.
    let strict = vgg_ft(dir.path()).args(["check", "data", "--strict"]).assert().code(1).get_output().clone();
    assert!(String::from_utf8_lossy(&strict.stderr).contains("error: 4 problems in data"));
    assert!(!strict.stdout.is_empty());
    // What is there is not written over, nor is the data written into.
    fails(vgg_ft(dir.path()).args(["check", "data", "-o", "found.csv"]), 2);
    fails(vgg_ft(dir.path()).args(["check", "data", "-o", "data/found.csv"]), 2);
    fails(vgg_ft(dir.path()).args(["check", "data", "-o", "found.txt"]), 2);
}
