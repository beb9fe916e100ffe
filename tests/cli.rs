//! The command as a user types it: results, exit codes, messages, files, and nothing half-written.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::{FloatType, NamedTensor, Weights, find_default, save};

/// The repository's weights, wherever a command is run from.
fn weights() -> PathBuf {
    find_default().unwrap().canonicalize().unwrap()
}

/// `vgg-ft` with a cache and a weights file of its own.
pub fn vgg_ft(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", weights())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir);
    command
}

pub fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

/// The error of a command that must fail with `code`.
pub fn fails(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    assert!(
        output.stdout.is_empty(),
        "on failure stdout is empty: {:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    text
}

/// Noisy 40x36 PNGs, reddish `warm/` and bluish `cold/`, `n` of each in every split.
pub fn draw(data: &Path, splits: &[(&str, usize)]) {
    let mut draws = Draws::new(1, Stream::Demo, 0);
    for (split, n) in splits {
        for (class, lift) in [("cold", 2), ("warm", 0)] {
            let dir = data.join(split).join(class);
            fs::create_dir_all(&dir).unwrap();
            for i in 0..*n {
                let mut image = image::RgbImage::new(40, 36);
                for pixel in image.pixels_mut() {
                    let mut rgb = [0; 3].map(|_: u8| draws.below(120) as u8);
                    rgb[lift] += 100;
                    pixel.0 = rgb;
                }
                image.save(dir.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What lies in the folder of a finished run.
const FINISHED: [&str; 10] = [
    "curves.png",
    "curves.svg",
    "history.csv",
    "history.jsonl",
    "model.safetensors",
    "report.html",
    "run.toml",
    "samples-train.jsonl",
    "samples-validation.jsonl",
    "tensorboard",
];

#[test]
fn summary_gives_the_numbers_of_the_notebook() {
    let dir = tempfile::tempdir().unwrap();
    let text = stdout(vgg_ft(dir.path()).args(["summary", "--units", "256", "--freeze"]));
    assert!(text.contains("Trainable params: 2,097,665"), "{text}");
    assert!(text.contains("Non-trainable params: 14,714,688"), "{text}");
    assert!(text.contains("Trainable weight tensors: 4"), "{text}");
    let text = stdout(vgg_ft(dir.path()).args(["summary", "--units", "256", "--json"]));
    assert_eq!(json(&text)["trainable_tensors"], 30);
    let text = stdout(vgg_ft(dir.path()).args(["summary", "--json", "--unfreeze-from", "block5_conv1"]));
    assert_eq!(json(&text)["trainable"], 3 * 2_359_808);
    let text = stdout(vgg_ft(dir.path()).args(["summary", "--include-top", "--size", "224", "--json"]));
    assert_eq!(json(&text)["parameters"], 138_357_544);
    // The classifier of ImageNet takes no other size, so it need not be said.
    assert_eq!(json(&stdout(vgg_ft(dir.path()).args(["summary", "--include-top", "--json"]))), json(&text));
    let layers = &json(&text)["layers"];
    assert_eq!(layers[0]["output_shape"], serde_json::json!([null, 224, 224, 3]));
    assert_eq!(layers[19]["output_shape"], serde_json::json!([null, 25088]), "{}", layers[19]);
}

#[test]
fn help_lists_the_values_of_what_takes_a_few() {
    let dir = tempfile::tempdir().unwrap();
    let help = |command: &str| {
        let text = stdout(vgg_ft(dir.path()).args(command.split(' ')).arg("--help"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (finetune, bench) = (help("finetune"), help("bench"));
    for (text, option, values) in [
        (&finetune, "--network <NAME>", "vgg11, vgg13, vgg16, vgg19"),
        (&finetune, "--preprocess <RECIPE>", "notebook, caffe, torch"),
        (
            &finetune,
            "--resize <METHOD>",
            "nearest, bilinear, crop-nearest, crop-bilinear, upright-nearest, upright-bilinear, upright-crop-nearest, \
             upright-crop-bilinear",
        ),
        (&finetune, "--optimizer <RULE>", "rmsprop, sgd, adamw"),
        (&finetune, "--monitor <FIGURE>", "val_loss, val_accuracy"),
        (&finetune, "--fill <MODE>", "nearest, reflect, wrap, constant"),
        (&finetune, "--shear-unit <UNIT>", "degrees, radians"),
        (&finetune, "--precision <PRECISION>", "f32, tf32x3, tf32, f16, bf16"),
        (&finetune, "--kernels <KERNELS>", "auto, portable, winograd, sm90a"),
        (&finetune, "--launches <LAUNCHES>", "serial, programmatic"),
        (&bench, "--gpu <GPU>", "h100, h200, a100, t4, rtx3090, l4, rtx4090"),
        (&help("weights convert"), "--dtype <TYPE>", "f32, f16, bf16"),
    ] {
        let own = text.split(option).nth(1).unwrap().split_once("ossible values: ").unwrap().1;
        let short = own.starts_with(&format!("{values}]"));
        // With a line for each where they have a word of their own.
        let long =
            own.starts_with("- ") && values.split(", ").all(|value| own.contains(&format!("- {value}: ")));
        assert!(short || long, "{option}: {own}");
    }
}

/// What is typed and not there is one error with one exit code, whatever the command; an image of `predict` is one that
/// cannot be read.
#[test]
fn what_is_not_there_is_wrong_use_in_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 1)]);
    fs::create_dir(here.join("there")).unwrap();
    for args in [
        "summary GONE",
        "extract GONE -o new",
        "extract data -o new --weights GONE",
        "fit GONE -o new",
        "fit there -o new --weights GONE",
        "finetune GONE -o new",
        "finetune data -o new --weights GONE",
        "finetune --config GONE -o new",
        "notebook GONE -o new",
        "notebook data -o new --config GONE",
        "notebook data -o new --weights GONE",
        "resume GONE",
        "evaluate GONE data",
        "evaluate there GONE",
        "predict GONE data",
        "predict GONE.safetensors data",
        "augment preview GONE -o new.png",
        "report GONE",
        "report there GONE",
        "compare GONE",
        "compare there GONE",
        "export GONE -o new.h5",
        "demo -o new --weights GONE",
        "weights inspect GONE",
        "weights convert GONE new.h5",
        "weights diff GONE there",
        "weights diff there GONE",
    ] {
        let error = fails(vgg_ft(here).args(args.split(' ')), 2);
        let first = error.lines().next().unwrap();
        assert!(first.starts_with("error: GONE") && first.ends_with(" does not exist"), "{args}: {error}");
        assert!(error.contains("\n  help: "), "{args}: {error}");
    }
    let error = fails(vgg_ft(here).env("VGG_FT_WEIGHTS", "GONE").args(["weights", "inspect"]), 2);
    assert!(error.contains("VGG_FT_WEIGHTS names no file"), "{error}");
    assert_eq!(names(here), ["data", "there"], "nothing is left behind");
}

/// Nothing is decoded, loaded or written for what the machine has no room for.
#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_the_machine_is_refused_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2)]);
    // 4 TB of weights and as much of the optimizer's.
    for job in [
        vec!["finetune", "data", "-o", "new", "--size", "4096", "--units", "65536"],
        vec!["notebook", "data", "-o", "new", "--size", "4096", "--units", "65536"],
    ] {
        let error = fails(vgg_ft(here).args(["--device", "cpu"]).args(&job), 1);
        assert!(
            error.contains("error: this job does not fit into this machine's memory"),
            "{job:?}: {error}"
        );
        assert!(error.contains("needed   at least 409") && error.contains("\n  help: "), "{job:?}: {error}");
    }
    assert_eq!(names(here), ["data"], "nothing is left behind");
    // A hundred thousand paths that are one image: a batch of them would be 1.6 TB of maps.
    let run = ["finetune", "data", "-o", "run", "--size", "224", "--units", "4", "--head-epochs", "1"];
    stdout(vgg_ft(here).args(run).args(["--epochs", "0"]));
    let all = "data/train/warm/0.png\n".repeat(3);
    let predict = ["--device", "cpu", "predict", "run", "-", "--batch", "1000000"];
    let error = fails(vgg_ft(here).args(predict).write_stdin(all), 1);
    assert!(error.contains("does not fit") && error.contains("--batch "), "{error}");
    // But of three images that are known no more than three run at once.
    let image = ["data/train/warm/0.png"; 3];
    let text = stdout(vgg_ft(here).args(["predict", "run"]).args(image).args(["--batch", "1000000"]));
    assert_eq!(text.lines().count(), 3);
}

/// What decides the last bits is written down, and said where it is another.
#[test]
fn a_run_that_goes_on_by_other_instructions_says_so() {
    use vgg_ft::device::cpu::instructions;
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2)]);
    let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"];
    let cpu = |simd: &str| {
        let mut command = vgg_ft(here);
        command.env("VGG_FT_SIMD", simd).args(["--device", "cpu"]).args(job).args(["--epochs", "0"]);
        command
    };
    let refused = cpu("avx1024").assert().code(2).get_output().stderr.clone();
    let refused = String::from_utf8(refused).unwrap();
    assert!(
        refused.contains("VGG_FT_SIMD names no vector instructions") && refused.contains("portable"),
        "{refused}"
    );
    stdout(&mut cpu("portable"));
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    assert!(config.contains("device = \"cpu (portable code) f32\""), "{config}");
    let said = cpu("").arg("--resume").assert().success().get_output().stderr.clone();
    let note =
        format!("began on cpu (portable code) f32; on cpu ({}) f32 its numbers may differ", instructions());
    let other = instructions() != "portable code";
    assert_eq!(String::from_utf8(said).unwrap().contains(&note), other, "{note}");
}

#[test]
fn extract_fit_evaluate_predict() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 20), ("validation", 8)]);
    let text = stdout(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "36x40", "--json"]));
    assert_eq!(json(&text)["features"][0]["images"], 40);
    assert_eq!(names(&here.join("features")), ["train.safetensors", "validation.safetensors"]);

    let fit = ["fit", "features", "-o", "run", "--epochs", "6", "--units", "16", "--rate", "1e-3", "--json"];
    let result = json(&stdout(vgg_ft(here).args(fit)));
    assert_eq!(result["history"].as_array().unwrap().len(), 6);
    // Red against blue is no riddle for VGG's first filters.
    assert!(result["result"]["val_accuracy"].as_f64().unwrap() > 0.9, "{result}");
    assert_eq!(names(&here.join("run")), FINISHED);
    let csv = fs::read_to_string(here.join("run/history.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7, "{csv}");

    let error = fails(vgg_ft(here).args(fit), 2);
    assert!(error.contains("holds a finished run") && error.contains("--force"), "{error}");

    let outcome = json(&stdout(vgg_ft(here).args(["evaluate", "run", "data", "--json"])));
    assert_eq!(outcome["accuracy"], result["result"]["val_accuracy"], "evaluate agrees with the last epoch");
    let difference = outcome["loss"].as_f64().unwrap() - result["result"]["val_loss"].as_f64().unwrap();
    // The same images through the same weights, in batches of the same size.
    assert!(difference.abs() < 1e-6, "{difference}");
    let text = stdout(vgg_ft(here).args(["evaluate", "run", "data", "--split", "train"]));
    assert!(text.contains("cold") && text.contains("warm"), "{text}");
    let error = fails(vgg_ft(here).args(["evaluate", "run", "data", "--split", "test"]), 2);
    assert!(error.contains("no split `test`"), "{error}");

    let image = "data/validation/warm/0.png";
    let text = stdout(vgg_ft(here).args(["predict", "run", image, "--top", "2"]));
    assert!(text.starts_with(&format!("{image}\twarm\t")), "{text}");
    fs::write(here.join("empty.png"), b"").unwrap();
    let output = vgg_ft(here).args(["predict", "run", "empty.png", image, "--json"]).assert().code(1);
    let output = output.get_output();
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let [unread, read] = rows.lines().map(json).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((&unread["path"], &read["top"][0]["class"]), (&"empty.png".into(), &"warm".into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 of 2 images could not be read"));
}

fn tensors(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let weights = Weights::open(path).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    let bits = |name: &String| {
        let shape = weights.shape(name).unwrap().to_vec();
        weights.tensor(name, &shape).unwrap().iter().map(|value| value.to_bits()).collect()
    };
    names.iter().map(|name| (name.clone(), bits(name))).collect()
}

#[test]
fn finetune_moves_what_is_unfrozen_and_nothing_else_and_repeats_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 12), ("validation", 6), ("test", 6)]);
    let job = |out: &str, threads: &str, seed: &str| {
        let text = stdout(vgg_ft(here).args([
            "finetune",
            "data",
            "-o",
            out,
            "--size",
            "32",
            "--units",
            "8",
            "--head-epochs",
            "2",
            "--epochs",
            "2",
            "--threads",
            threads,
            "--seed",
            seed,
            "--json",
        ]));
        json(&text)
    };
    let result = job("a", "2", "1");
    assert_eq!(result["history"].as_array().unwrap().len(), 4);
    assert!(result["test"]["accuracy"].is_f64(), "{result}");
    assert_eq!(names(&here.join("a")), FINISHED);

    let base = tensors(&weights());
    let tuned = tensors(&here.join("a/model.safetensors"));
    assert_eq!(tuned.len(), 30);
    for (name, bits) in &base {
        if name.starts_with("block5") {
            assert_ne!(bits, &tuned[name], "{name} should have learned");
        } else {
            assert_eq!(bits, &tuned[name], "{name} is frozen");
        }
    }
    // What is not ours in the run folder stays.
    fs::create_dir_all(here.join("b/features")).unwrap();
    fs::write(here.join("b/features/mine.txt"), b"mine").unwrap();
    job("b", "1", "1");
    assert_eq!(names(&here.join("b/features")), ["mine.txt"]);
    assert_eq!(tuned, tensors(&here.join("b/model.safetensors")), "the same seed on one thread and on two");
    job("c", "2", "2");
    assert_ne!(tuned["dense.kernel"], tensors(&here.join("c/model.safetensors"))["dense.kernel"]);
}

/// Draws depend on seed, step and sample: not on threads. Nothing of the training images is cached.
#[test]
fn augmented_training_is_said_kept_and_repeated_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4), ("validation", 2)]);
    let job = |out: &str, threads: &str, more: &[&str]| {
        let mut command = vgg_ft(here);
        command.args(["finetune", "data", "-o", out, "--size", "32", "--units", "8", "--batch", "3"]);
        command.args(["--head-epochs", "1", "--epochs", "1", "--threads", threads, "--keep-features"]);
        let output = command.args(more).assert().success().get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    let book = ["--augment", "book", "--brightness", "0.5,1.5", "--horizontal-flip=false"];
    let said = job("a", "2", &book);
    assert!(said.contains(" rotation ±40°, width shift ±20 %"), "{said}");
    assert!(said.contains("brightness 0.5 to 1.5, outside nearest"), "{said}");
    assert!(said.contains("8 images, 0.0 MB, handed over batch by batch: cpu reads them"), "{said}");
    let kept = names(&here.join("a/features"));
    assert!(kept.len() == 2 && kept.iter().all(|name| name.starts_with("validation")), "{kept:?}");
    let run = fs::read_to_string(here.join("a/run.toml")).unwrap();
    assert!(run.contains("[training.stages.augment]\nrotation = 40.0\nwidth_shift = 0.2"), "{run}");
    assert!(run.contains("brightness = [0.5, 1.5]\nhorizontal_flip = false"), "{run}");

    let first = tensors(&here.join("a/model.safetensors"));
    job("b", "1", &book);
    assert_eq!(first, tensors(&here.join("b/model.safetensors")), "one thread and two");
    let plain = job("c", "2", &[]);
    assert!(!plain.contains("augmenting"), "{plain}");
    let plain = tensors(&here.join("c/model.safetensors"));
    assert_ne!(first["dense.kernel"], plain["dense.kernel"]);
    for name in ["block4_conv3.kernel", "block5_conv1.kernel"] {
        assert_eq!(first[name] == plain[name], name.starts_with("block4"), "{name}");
    }
    // A run with augmentation is read back like any other.
    stdout(vgg_ft(here).args(["evaluate", "a", "data", "--split", "validation"]));
}

#[test]
fn augment_preview_draws_a_sheet() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 3)]);
    let sheet = |out: &str, more: &[&str]| {
        let mut command = vgg_ft(here);
        command.args(["augment", "preview", "data", "-o", out, "--size", "33x40", "--count", "4"]);
        let said = json(&stdout(command.args(["--draws", "2", "--json"]).args(more)));
        assert_eq!((&said["path"], &said["images"]), (&out.into(), &4.into()));
        let shown: Vec<_> =
            said["shown"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert!(shown.len() == 4 && shown.iter().all(|path| here.join(path).is_file()), "{shown:?}");
        image::open(here.join(out)).unwrap().to_rgb8()
    };
    let book = sheet("book.png", &[]);
    assert_eq!(book.dimensions(), (4 + 3 * 44, 4 + 4 * 37));
    assert_eq!(book.get_pixel(0, 0).0, [255; 3]);
    // The first column is the image itself, the others are not.
    let cell = |sheet: &image::RgbImage, column: u32, row: u32| -> Vec<u8> {
        let (left, top) = (4 + column * 44, 4 + row * 37);
        (0..33).flat_map(|i| (0..40).flat_map(move |j| sheet.get_pixel(left + j, top + i).0)).collect()
    };
    let still = sheet("still.png", &["--vertical-flip", "--seed", "2"]);
    for row in 0..4 {
        let own = cell(&book, 0, row);
        assert_eq!(own, cell(&still, 0, row));
        assert_ne!(own, cell(&book, 1, row));
        assert_ne!(cell(&book, 1, row), cell(&book, 2, row));
        let turned: Vec<u8> = own.chunks(120).rev().flatten().copied().collect();
        for column in 1..3 {
            let seen = cell(&still, column, row);
            assert!(seen == own || seen == turned, "row {row}, column {column}");
        }
    }
    let again = sheet("again.png", &["--augment", "book", "--device", "emulator:checked"]);
    assert_eq!(again, book, "our PTX machine draws the same");
    // As training would, it leaves out what cannot be read, also where nothing can stand in for it.
    fs::write(here.join("data/train/warm/1.png"), "no image").unwrap();
    let typed = ["augment", "preview", "data", "--size", "33x40", "--count", "6", "--draws", "2", "--json"];
    let said = json(&stdout(vgg_ft(here).args(typed).args(["-o", "five.png"])));
    assert_eq!((&said["images"], said["shown"].as_array().unwrap().len()), (&5.into(), 5));
    assert_eq!(image::open(here.join("five.png")).unwrap().to_rgb8().dimensions(), (4 + 3 * 44, 4 + 5 * 37));
    for file in ["cold/0", "cold/1", "cold/2", "warm/0", "warm/2"] {
        fs::write(here.join("data/train").join(file).with_extension("png"), "no image").unwrap();
    }
    let error = fails(vgg_ft(here).args(typed).args(["-o", "none.png"]), 1);
    assert!(error.contains("is not an image that can be read") && !here.join("none.png").exists(), "{error}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_extraction_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 200)]);
    let args = |out: &str| {
        ["extract", "data", "-o", out, "--size", "48", "--threads", "1"].map(str::to_owned).to_vec()
    };
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"));
    let mut child = crate::signals::hears(&mut command)
        .args(args("stopped"))
        .env("VGG_FT_CACHE", here.join("cache"))
        .env("VGG_FT_WEIGHTS", weights())
        .current_dir(here)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let partial = here.join("stopped/train.safetensors.partial");
    while !partial.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the extraction ended before it began to write");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("error: stopped by the user"), "{error}");
    assert_eq!(names(&here.join("stopped")), ["train.safetensors.partial", "train.safetensors.progress"]);

    let output = vgg_ft(here).args(args("stopped")).assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("going on after"), "{said}");
    vgg_ft(here).args(args("whole")).assert().success();
    let [stopped, whole] =
        ["stopped", "whole"].map(|d| fs::read(here.join(d).join("train.safetensors")).unwrap());
    assert!(stopped == whole, "a resumed extraction equals an uninterrupted one");
}

#[test]
fn unreadable_images_are_listed_and_skipped_or_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 4)]);
    fs::write(here.join("data/train/cold/empty.jpg"), b"").unwrap();
    let jpeg = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pixels/broken");
    let truncated = names(&jpeg).into_iter().find(|n| n.contains("trunc") && n.ends_with(".jpg")).unwrap();
    fs::copy(jpeg.join(truncated), here.join("data/train/warm/cut.jpg")).unwrap();
    let args = ["extract", "data", "-o", "features", "--size", "32"];
    let output = vgg_ft(here).args(args).assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot be read and are skipped: 2"), "{said}");
    assert!(said.contains("cold/empty.jpg") && said.contains("warm/cut.jpg"), "{said}");
    let error = fails(vgg_ft(here).args(args).arg("--strict"), 1);
    assert!(error.contains("empty.jpg"), "{error}");
    // A run keeps the list, and not that of the run before it.
    let train = |args: &[&str]| {
        let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"];
        vgg_ft(here).args(job).args(["--epochs", "0"]).args(args).assert()
    };
    train(&[]).success();
    let list = fs::read_to_string(here.join("run/skipped.csv")).unwrap();
    let rows: Vec<(&str, &str)> = list.lines().map(|line| line.split_once(',').unwrap()).collect();
    assert_eq!((rows.len(), rows[0]), (3, ("path", "reason")), "{list}");
    assert!(rows[1].0.ends_with("empty.jpg") && rows[1].1.ends_with("is empty"), "{list}");
    assert!(fs::read_to_string(here.join("run/report.html")).unwrap().contains("listed in skipped.csv"));
    for name in ["cold/empty.jpg", "warm/cut.jpg"] {
        fs::remove_file(here.join("data/train").join(name)).unwrap();
    }
    train(&["--force"]).success();
    assert_eq!(names(&here.join("run")), FINISHED);
    // What is wrong with a later part is known before anything is computed of an earlier one.
    draw(&here.join("data"), &[("validation", 2)]);
    for i in 0..2 {
        fs::write(here.join(format!("data/validation/cold/{i}.png")), b"").unwrap();
    }
    let output = train(&["--force"]).code(1).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no image of class \"cold\" can be read"), "{said}");
    assert!(!said.contains("computed once"), "{said}");
}

#[test]
fn folders_that_are_no_data_set_are_refused_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let try_on = |data: &str| fails(vgg_ft(here).args(["extract", data, "-o", "out", "--size", "32"]), 1);
    fs::create_dir(here.join("bare")).unwrap();
    let error = try_on("bare");
    assert!(error.contains("bare") && error.contains("help:"), "{error}");
    draw(here, &[("data", 2)]);
    fs::create_dir(here.join("data/none")).unwrap();
    let error = try_on("data");
    assert!(error.contains("none"), "{error}");
    fs::create_dir(here.join("flat")).unwrap();
    fs::copy(here.join("data/cold/0.png"), here.join("flat/0.png")).unwrap();
    let error = try_on("flat");
    assert!(error.contains("one folder per class") || error.contains("folder"), "{error}");
    assert!(!here.join("out/train.safetensors").exists());
}

#[test]
fn a_folder_of_classes_is_split_by_seed() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(here, &[("data", 10)]);
    let args = ["extract", "data", "-o", "features", "--size", "32", "--json"];
    let split = ["--validation-split", "0.2"];
    let result = json(&stdout(vgg_ft(here).args(args).args(split)));
    assert_eq!((&result["features"][0]["images"], &result["features"][1]["images"]), (&16.into(), &4.into()));
    // A classifier on these features is judged on the images that were held out of them.
    let fit = ["fit", "features", "-o", "head", "--epochs", "2", "--units", "8", "--json"];
    let fitted = json(&stdout(vgg_ft(here).args(fit)));
    let outcome = json(&stdout(vgg_ft(here).args(["evaluate", "head", "data", "--json"])));
    assert_eq!((&outcome["split"], &outcome["images"]), (&"validation".into(), &4.into()));
    assert_eq!(outcome["accuracy"], fitted["result"]["val_accuracy"]);
    let learned = ["evaluate", "head", "data", "--split", "train", "--json"];
    assert_eq!(json(&stdout(vgg_ft(here).args(learned)))["images"], 16);
    let error = fails(vgg_ft(here).args(["evaluate", "head", "data", "--split", "test"]), 2);
    assert!(error.contains("that the run held out"), "{error}");
    // The same where the parted classes lie in train/.
    draw(&here.join("parts"), &[("train", 6), ("test", 2)]);
    stdout(vgg_ft(here).args([
        "extract",
        "parts",
        "-o",
        "parted",
        "--size",
        "32",
        "--validation-split",
        "0.34",
    ]));
    stdout(vgg_ft(here).args(["fit", "parted", "-o", "other", "--epochs", "1", "--units", "4"]));
    let outcome = vgg_ft(here)
        .args(["evaluate", "other", "parts", "--split", "validation", "--json"])
        .assert()
        .success();
    assert_eq!(json(&String::from_utf8_lossy(&outcome.get_output().stdout))["images"], 4);
    // Features of other images are not the run's.
    draw(here, &[("elsewhere", 3)]);
    let other =
        ["extract", "elsewhere", "-o", "features", "--size", "32", "--validation-split", "0.4", "--force"];
    let before = fs::read(here.join("features/train.safetensors")).unwrap();
    let error = fails(vgg_ft(here).args(&other[..8]), 2);
    assert!(
        error.contains("other features") && error.contains("data: ") && error.contains("--force"),
        "{error}"
    );
    let error =
        fails(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "40"]).args(split), 2);
    assert!(error.contains("size: 32x32 there, 40x40 here"), "{error}");
    assert!(fs::read(here.join("features/train.safetensors")).unwrap() == before);
    stdout(vgg_ft(here).args(other));
    let page = fs::read(here.join("head/report.html")).unwrap();
    let error = fails(vgg_ft(here).args(["report", "head"]), 2);
    assert!(
        error.contains("would lose the predictions") && error.contains("others or changed ones"),
        "{error}"
    );
    assert_eq!(fs::read(here.join("head/report.html")).unwrap(), page);
    stdout(vgg_ft(here).args(["report", "head", "features", "-o", "others.html"]));
    assert!(fs::read_to_string(here.join("others.html")).unwrap().contains("others or changed ones"));
    stdout(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "32", "--force"]).args(split));
    // What is left of a split that is no more goes with it; a split that is not there yet is said.
    fs::create_dir(here.join("begun")).unwrap();
    fs::write(here.join("begun/train.safetensors.partial"), b"").unwrap();
    let error = fails(vgg_ft(here).args(["fit", "begun", "-o", "none"]), 2);
    assert!(error.contains("an extraction that was stopped"), "{error}");
    fs::write(here.join("begun/validation.safetensors.partial"), b"").unwrap();
    stdout(vgg_ft(here).args(["extract", "data", "-o", "begun", "--size", "32"]));
    assert_eq!(names(&here.join("begun")), ["train.safetensors"]);
    // Of other images nobody knows a part.
    draw(here, &[("others", 2)]);
    let error = fails(vgg_ft(here).args(["evaluate", "head", "others", "--split", "test"]), 2);
    assert!(error.contains("no split `test`") && error.contains("leave --split out"), "{error}");
    // Extracted again without a split, the old one would be measured on what is learned from.
    let error = fails(vgg_ft(here).args(args), 2);
    assert!(error.contains("held out: 0.2 by seed 1 there, none here"), "{error}");
    stdout(vgg_ft(here).args(args).arg("--force"));
    assert_eq!(names(&here.join("features")), ["train.safetensors"]);

    // The README's example: the run remembers the split that it was trained with.
    let args =
        ["finetune", "data", "-o", "run", "--size", "32", "--head-epochs", "1", "--epochs", "1", "--json"];
    let result = json(&stdout(vgg_ft(here).args(args).args(split)));
    let args = ["evaluate", "run", "data", "--split", "validation", "--json"];
    let outcome = json(&stdout(vgg_ft(here).args(args)));
    assert_eq!((&outcome["split"], &outcome["images"]), (&"validation".into(), &4.into()));
    assert_eq!(outcome["accuracy"], result["result"]["val_accuracy"]);
    assert_eq!(outcome["note"], serde_json::Value::Null);
    // One that is gone would move another, which was trained on, into the part held out, if it were drawn again.
    let seen: Vec<String> =
        fs::read_to_string(here.join("run/run.toml")).unwrap().lines().map(str::to_owned).collect();
    assert!(seen.iter().any(|line| line.starts_with("digests = ")), "{seen:?}");
    for i in 0..9 {
        fs::remove_file(here.join(format!("data/cold/{i}.png"))).unwrap();
        fs::copy(here.join("data/warm/0.png"), here.join(format!("data/cold/1{i}.png"))).unwrap();
    }
    let outcome = json(&stdout(vgg_ft(here).args(args)));
    assert!(outcome["note"].as_str().is_some_and(|note| note.contains("not quite the images")), "{outcome}");
    let page = fs::read(here.join("run/report.html")).unwrap();
    let error = fails(vgg_ft(here).args(["report", "run"]), 2);
    assert!(
        error.contains("would lose the predictions") && error.contains("not quite the images"),
        "{error}"
    );
    assert_eq!(fs::read(here.join("run/report.html")).unwrap(), page);
    // The same image on both sides is counted, and under two classes.
    let again = ["finetune", "data", "-o", "again", "--size", "32", "--head-epochs", "1", "--epochs", "0"];
    let warm = ["--warmup", "99"];
    let said = vgg_ft(here).args(again).args(split).args(warm).assert().success().get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains("all within its warm-up of 99: the rate never reaches")
            && said.contains("note: in validation")
            && said.contains("also in train, pixel for pixel")
            && said.contains("under two classes, pixel for pixel, so one label is wrong; the first: cold/1")
            && said.contains("few for a rate"),
        "{said}"
    );
    // Many of one class and few of another.
    for i in 1..9 {
        fs::remove_file(here.join(format!("data/warm/{i}.png"))).unwrap();
    }
    let uneven = ["finetune", "data", "-o", "uneven", "--size", "32", "--validation-split", "0.1"];
    let short = ["--head-epochs", "1", "--epochs", "0"];
    let said = vgg_ft(here).args(uneven).args(short).assert().success().get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("9 of cold to train on and 1 of warm; --class-weights auto"), "{said}");
    let weighted = ["--class-weights", "auto", "--force"];
    let said =
        vgg_ft(here).args(uneven).args(short).args(weighted).assert().success().get_output().stderr.clone();
    assert!(!String::from_utf8(said).unwrap().contains("to train on and"));
    // A run is no data.
    for command in [&["finetune", "run", "-o", "x"][..], &["evaluate", "run", "run"]] {
        assert!(
            fails(vgg_ft(here).args(command), 2).contains("run is a run, not a folder of images"),
            "{command:?}"
        );
    }
}

/// What to do to a tensor; false leaves it out.
type Change<'a> = &'a dyn Fn(&str, &mut Vec<usize>, &mut Vec<f32>) -> bool;

#[test]
fn wrong_weights_are_refused_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2)]);
    let good = Weights::open(&weights()).unwrap();
    let all: Vec<(String, Vec<usize>, Vec<f32>)> = good
        .names()
        .map(|name| {
            let shape = good.shape(name).unwrap().to_vec();
            (name.to_owned(), shape.clone(), good.tensor(name, &shape).unwrap().into_owned())
        })
        .collect();
    let write = |path: &Path, change: Change<'_>| {
        let mut all = all.clone();
        all.retain_mut(|(name, shape, data)| change(name, shape, data));
        let tensors: Vec<_> = all
            .iter()
            .map(|(name, shape, data)| NamedTensor { name: name.clone(), shape: shape.clone(), data })
            .collect();
        save(path, &tensors, FloatType::F16, &BTreeMap::new()).unwrap();
    };
    let refused = |file: &str| {
        let args = ["extract", "data", "-o", "features", "--size", "32", "--weights", file];
        let error = fails(vgg_ft(here).args(args), 1);
        assert!(!here.join("features/train.safetensors").exists());
        error
    };
    write(&here.join("shape"), &|name, shape, data| {
        if name == "block3_conv1.kernel" {
            shape[3] = 128;
            data.truncate(data.len() / 2);
        }
        true
    });
    let error = refused("shape");
    // Seen where the next one does not take what it gives.
    assert!(error.contains("block3_conv2.kernel") && error.contains("on 128 channels"), "{error}");
    write(&here.join("name"), &|name, _, _| name != "block5_conv3.bias");
    assert!(refused("name").contains("block5_conv3.bias"));
    let bytes = fs::read(weights()).unwrap();
    fs::write(here.join("cut"), &bytes[..bytes.len() / 2]).unwrap();
    let error = refused("cut");
    assert!(error.contains("cut"), "{error}");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    // Root may write anywhere, so permissions prove nothing; a file in the way stops everybody.
    fs::write(here.join("file"), b"mine").unwrap();
    for args in [
        vec!["extract", "data", "-o", "file", "--size", "32"],
        vec!["finetune", "data", "-o", "file/run", "--size", "32"],
    ] {
        let error = fails(vgg_ft(here).args(&args), 2);
        assert!(error.contains("file, which is a file"), "{error}");
    }
    assert_eq!(fs::read(here.join("file")).unwrap(), b"mine");
}

#[test]
fn what_cannot_be_asked_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 1)]);
    for (args, word) in [
        (vec!["summary", "--size", "16"], "32x32"),
        (vec!["summary", "--unfreeze-from", "xyz"], "name one of these"),
        (vec!["summary", "--unfreeze-from", "blok5_conv1"], "block5_conv1 is the nearest"),
        (vec!["summary", "--unfreeze-from", "block5"], "block5_conv1 is the nearest"),
        (vec!["finetune", "data", "-o", "r", "--unfreeze-from", "dense"], "classifier"),
        (vec!["evaluate", "data", "data"], "not a finished run"),
        (vec!["finetune", "data", "-o", "r", "--rate", "0"], "rate"),
        // A value, not an option that is not known.
        (vec!["finetune", "data", "-o", "r", "--rate", "-1"], "above 0"),
        (vec!["finetune", "data", "-o", "r", "--rate", "-1e-5"], "above 0"),
        (vec!["resume", "r", "--rate-factor", "-1e-1"], "rate-factor"),
        (vec!["finetune", "data", "-o", "r", "--seed", "-1"], "invalid value '-1' for '--seed"),
        (vec!["finetune", "data", "-o", "r", "--brightness", "-1,1"], "the smaller first"),
        (
            vec!["finetune", "data", "-o", "r", "--class-weights", "-1,1"],
            "invalid value '-1,1' for '--class-weights",
        ),
        (vec!["--threads", "1000", "summary"], "1..=512"),
        (vec!["finetune", "data", "-o", "r", "--zoom", "1.5"], "`zoom` cannot be drawn from"),
        (vec!["finetune", "data", "-o", "r", "--brightness", "2,1"], "the smaller first"),
        (vec!["finetune", "data", "-o", "r", "--fill", "edge"], "nearest, reflect, wrap, constant"),
        (vec!["finetune", "data", "-o", "r", "--augment", "all"], "`book`"),
        (
            vec!["finetune", "data", "-o", "r", "--optimizer", "adam"],
            "tip: Keras' Adam is --optimizer adamw --weight-decay 0",
        ),
        (vec!["augment", "preview", "data", "-o", "r.png", "--draws", "99999"], "too large"),
        (vec!["augment", "preview", "data", "-o", "r.png", "--draws", "18446744073709551615"], "too large"),
        (vec!["augment", "preview", "data", "-o", "r.png", "--rotation", "0"], "change no image"),
        (vec!["--device", "gpu", "summary"], "cuda:N"),
        (vec!["--precision", "f8", "summary"], "possible values: f32, tf32x3, tf32, f16, bf16"),
        (
            vec!["finetune", "data", "-o", "r", "--device", "cpu", "--precision", "bf16"],
            "the cpu computes in f32 alone",
        ),
        (vec!["emulate", "softmax", "--precision", "bf16"], "softmax has no kernel of bf16"),
        (vec!["summary", "--include-top", "--size", "150"], "224x224"),
        (vec!["summary", "--include-top", "--classes", "10"], "'--classes <N>'"),
        (vec!["summary", "--include-top", "--dropout", "0.3"], "'--dropout <SHARE>'"),
        (vec!["summary", "--units", "8", "--classes", "1"], "from 2 to 65536"),
        (vec!["bench", "--plan", "--gpu", "h1000"], "possible values: h100"),
        (vec!["summary", "--units", "18446744073709551615"], "65536"),
        (vec!["finetune", "data", "-o", "r", "--epochs", "-1"], "invalid value '-1' for '--epochs"),
        (vec!["finetune", "data", "-o", "r", "--rotation", "-40"], "invalid value '-40' for '--rotation"),
        (vec!["finetune", "data", "-o", "r", "--unfreeze-from", "block5_pool"], "such as block5_conv3"),
        (vec!["augment", "preview", "data", "-o", "no/r.png"], "no"),
        (vec!["finetune", "data", "-o", "-5"], "-5"),
        (vec!["finetune", "data", "-o", "r", "--zoom", "-0.5,3"], "invalid value '-0.5,3' for '--zoom"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let error = fails(vgg_ft(here).args(&args), 2);
        assert!(error.contains(word), "{args:?}: {error}");
    }
    assert_eq!(names(here), ["data"], "nothing is left behind");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"))
        .args(["summary", "--include-top"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The weights that are committed are what the command makes of the f32 file.
#[test]
fn convert_makes_the_committed_weights_again() {
    let Some(data) = std::env::var_os("VGG_FT_TEST_DATA") else {
        skipped!("VGG_FT_TEST_DATA is not set, so there is no f32 weights file");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let f32_file = PathBuf::from(data).join("vgg16_imagenet_notop.safetensors");
    let out = dir.path().join("f16.safetensors");
    vgg_ft(dir.path())
        .args(["weights", "convert", "--dtype", "f16"])
        .arg(&f32_file)
        .arg(&out)
        .assert()
        .success();
    assert_eq!(tensors(&out), tensors(&weights()));
}

/// The first layers of a deeper network would fit a shallower one.
#[test]
fn weights_of_another_network_are_refused_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("data"), &[("train", 2)]);
    for network in ["vgg11", "vgg13", "vgg19"] {
        let error = fails(
            vgg_ft(dir.path()).args(["extract", "data", "-o", "out", "--size", "32", "--network", network]),
            1,
        );
        assert!(error.contains("holds the weights of another network"), "{error}");
        assert!(error.contains("give `--network vgg16`"), "{error}");
    }
}

#[test]
fn a_step_is_planned_without_a_gpu() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |args: &[&str]| {
        let mut command = vgg_ft(dir.path());
        command.args(["bench", "--plan"]).args(args);
        command
    };
    let text = stdout(&mut plan(&["--gpu", "t4"]));
    // The boundary of `finetune`.
    let help = stdout(vgg_ft(dir.path()).args(["finetune", "--help"]));
    assert!(help.contains("[default: block5_conv1]"), "{help}");
    assert!(text.starts_with("vgg16 150x150, batch 20: a training step from block5_conv1 on"), "{text}");
    assert!(text.contains("% of the roof\nmemory ") && text.contains("NVIDIA T4"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&mut plan(&["--inference", "--batch", "1", "--gpu", "h100", "--json"])))
            .unwrap();
    let launches = json["launches"].as_array().unwrap();
    assert_eq!(json["sums"]["launches"], launches.len());
    let count = |kernel: &str| launches.iter().filter(|l| l["kernel"] == kernel).count();
    // The first block's, whose channels are few; of all others a product for each point.
    assert_eq!((count("conv2d_forward"), count("conv2d_maxpool2d_forward")), (1, 1));
    assert_eq!(count("conv2d_winograd_forward"), 11);
    assert!(launches.iter().all(|l| l["pass"] == "forward" && l["microseconds"].as_f64().unwrap() > 0.0));
    let share = json["sums"]["share_of_roof"].as_f64().unwrap();
    assert!(share > 0.0 && share < 1.0, "{share}");
    // Of weights that no kernel counts (2 TB, more than the host has) nothing is made.
    let error = fails(&mut plan(&["--size", "4096", "--units", "65536", "--batch", "1"]), 2);
    assert!(error.contains("use smaller images (--size) or fewer --units"), "{error}");
    // What is too large is refused with what is not, and that is so to the image.
    let large = ["--gpu", "t4", "--unfreeze-from", "block1_conv1"];
    let text = fails(&mut plan(&[&large[..], &["--batch", "100000"]].concat()), 2);
    let number = |text: &str, before: &str| -> usize {
        let digits = text.split(before).nth(1).unwrap().split(' ').next().unwrap();
        digits.trim().parse().unwrap_or_else(|_| panic!("{text}"))
    };
    assert!(text.contains("100000 images of 150x150 do not fit into one step"), "{text}");
    let (counted, fits) = (number(&text, "expected  --batch "), number(&text, "help: --batch "));
    assert!(0 < fits && fits < counted, "{text}");
    stdout(&mut plan(&[&large[..], &["--batch", &counted.to_string()]].concat()));
    fails(&mut plan(&[&large[..], &["--batch", &(counted + 1).to_string()]].concat()), 2);
    for (batch, does_not) in [(fits, false), (fits + 1, true)] {
        let output = plan(&[&large[..], &["--batch", &batch.to_string()]].concat())
            .assert()
            .success()
            .get_output()
            .clone();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.contains(&format!("--batch {fits} does")), does_not, "{batch}: {said}");
    }
    let text = fails(&mut plan(&["--gpu", "voodoo"]), 2);
    assert!(text.contains("h100, h200"), "{text}");
    let text = fails(&mut plan(&["--unfreeze-from", "block9_conv1"]), 2);
    assert!(text.contains("block9_conv1"), "{text}");
    fails(vgg_ft(dir.path()).arg("bench"), 2);
}

/// Half the bytes between the layers, and tensor cores under the floor; not on a GPU that has none.
#[test]
fn a_step_in_bf16_is_planned_with_its_own_bytes_and_peaks() {
    let dir = tempfile::tempdir().unwrap();
    // Of tf32 the kernels of all GPUs: Hopper's have pools of their own, and turn weights.
    let plan = |precision: &str| {
        let mut command = vgg_ft(dir.path());
        command.args(["bench", "--plan", "--gpu", "h200", "--json", "--precision", precision]);
        // Of f32 each sum as it is written.
        let sums = matches!(precision, "f32" | "tf32");
        command.args(["--kernels", if sums { "portable" } else { "auto" }]);
        json(&stdout(&mut command))
    };
    let [f32, tf32x3, tf32, bf16] = ["f32", "tf32x3", "tf32", "bf16"].map(plan);
    let number = |plan: &serde_json::Value, of: [&str; 2]| plan[of[0]][of[1]].as_f64().unwrap();
    assert_eq!((&f32["precision"], &bf16["precision"]), (&"f32".into(), &"bf16".into()));
    let gflop = ["sums", "gflop"];
    assert_eq!([&tf32x3, &tf32, &bf16].map(|plan| number(plan, gflop)), [number(&f32, gflop); 3]);
    // What has to be moved; how sums are cut into parts is another matter.
    let moved = |plan: &serde_json::Value, but: &str| -> u64 {
        let launches = plan["launches"].as_array().unwrap().iter();
        let whole = launches.filter(|launch| {
            let kernel = launch["kernel"].as_str().unwrap();
            !kernel.ends_with("_reduce") && !kernel.starts_with(but)
        });
        whole.map(|launch| launch["bytes"].as_u64().unwrap()).sum()
    };
    let bytes = |plan: &serde_json::Value| moved(plan, "nothing");
    assert_eq!(bytes(&tf32x3), bytes(&f32), "tf32x3 is f32 in memory");
    // So is tf32, whose biases' gradients are summed where the weights' are: they write no more than themselves.
    let [one, other] = [&f32, &tf32].map(|plan| moved(plan, "bias_backward"));
    assert!(one.abs_diff(other) < one / 1000, "{one} {other}");
    // Weights that learn and their state are f32.
    assert!(10 * bytes(&bf16) < 7 * bytes(&f32), "{} {}", bytes(&bf16), bytes(&f32));
    let floor = ["sums", "floor_milliseconds"];
    let floors = [&f32, &tf32, &bf16, &tf32x3].map(|plan| number(plan, floor));
    assert!(floors[0] > 4.0 * floors[1] && floors[1] > 1.5 * floors[2], "{floors:?}");
    // Three products for one, where a layer waits for them.
    assert!(floors[3] > 2.0 * floors[1] && floors[3] < 3.0 * floors[1], "{floors:?}");
    let activations = |plan: &serde_json::Value| {
        let all = plan["memory"].as_array().unwrap();
        all.iter().find(|share| share["kind"] == "activations").unwrap()["bytes"].as_f64().unwrap()
    };
    assert!(activations(&bf16) < 0.6 * activations(&f32), "{} {}", activations(&bf16), activations(&f32));
    let t4 = ["bench", "--plan", "--gpu", "t4", "--precision", "bf16"];
    let error = fails(vgg_ft(dir.path()).args(t4), 2);
    assert!(error.contains("8.0 or later") && error.contains("--precision f32"), "{error}");
    // Which kernels are planned is asked for, as where they run.
    let by = |kernels: &str| {
        let mut command = vgg_ft(dir.path());
        command.args([
            "bench",
            "--plan",
            "--gpu",
            "h200",
            "--json",
            "--precision",
            "bf16",
            "--kernels",
            kernels,
        ]);
        json(&stdout(&mut command))
    };
    let hoppers = |plan: &serde_json::Value| {
        let launches = plan["launches"].as_array().unwrap().iter();
        launches.filter(|launch| launch["kernel"].as_str().unwrap().contains("_sm90")).count()
    };
    let [portable, sm90a] = ["portable", "sm90a"].map(by);
    assert_eq!((hoppers(&portable), hoppers(&sm90a)), (0, hoppers(&bf16)));
    assert!(
        hoppers(&bf16) > 10
            && number(&sm90a, ["sums", "milliseconds"]) < number(&portable, ["sums", "milliseconds"])
    );
    for launch in sm90a["launches"].as_array().unwrap() {
        let [waves, share] = ["waves", "share_of_floor"].map(|key| launch[key].as_f64().unwrap());
        assert!(launch["tiles"].as_u64().unwrap() > 0 && waves > 0.0, "{launch}");
        assert!((0.0..=1.0).contains(&share), "faster than it can be: {launch}");
    }
    let a100 = ["bench", "--plan", "--gpu", "a100", "--precision", "bf16", "--kernels", "sm90a"];
    let error = fails(vgg_ft(dir.path()).args(a100), 2);
    assert!(error.contains("--kernels sm90a runs on Hopper alone"), "{error}");
}

/// On a GPU of Turing f16 moves what bf16 moves elsewhere; its loss is scaled once, before the way back, and its
/// gradients are looked at once, before the optimizer.
#[test]
fn a_step_in_f16_is_planned_for_turing() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |precision: &str, unfrozen: &str| -> Vec<String> {
        let mut command = vgg_ft(dir.path());
        command.args(["bench", "--plan", "--gpu", "t4", "--json", "--precision", precision]);
        let plan = json(&stdout(command.args(["--unfreeze-from", unfrozen])));
        let launches = plan["launches"].as_array().unwrap().iter();
        launches.map(|launch| launch["kernel"].as_str().unwrap().to_owned()).collect()
    };
    let kernels = plan("f16", "block3_conv1");
    let at = |name: &str| -> Vec<usize> {
        kernels.iter().enumerate().filter(|(_, kernel)| *kernel == name).map(|(at, _)| at).collect()
    };
    let first = |start: &str| kernels.iter().position(|kernel| kernel.starts_with(start)).unwrap();
    let [scaled, checked, stepped, updated] =
        ["scale_gradient", "check_gradients", "rmsprop_step", "update_loss_scale"].map(at);
    assert_eq!([scaled.len(), checked.len(), stepped.len(), updated.len()], [1; 4], "{kernels:?}");
    assert_eq!(first("sigmoid_cross_entropy") + 1, scaled[0]);
    assert_eq!([checked[0] + 1, checked[0] + 2, updated[0] + 1], [stepped[0], updated[0], kernels.len()]);
    // Sums of parts are f32, whatever the parts are of.
    let mut convolutions = kernels.iter().filter(|kernel| kernel.starts_with("conv2d"));
    assert!(
        convolutions.all(|kernel| kernel.contains("_f16") || kernel == "conv2d_backward_weight_reduce"),
        "{kernels:?}"
    );
    // Where nothing that is read as f16 learns, nothing is scaled.
    let head = plan("f16", "dense");
    assert!(!head.iter().any(|kernel| kernel.contains("scale")), "{head:?}");
    assert!(head.iter().any(|kernel| kernel == "dense_rmsprop_step"), "{head:?}");
    assert!(!plan("f32", "block3_conv1").iter().any(|kernel| kernel.contains("scale")));
}

/// The precision is said, written down, and a part of the job.
#[test]
fn a_job_keeps_its_precision() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 1)]);
    let job = |precision: &str, rest: &[&str]| {
        let mut command = vgg_ft(here);
        command
            .args(["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"])
            .args(["--epochs", "0", "--device", "emulator", "--precision", precision])
            .args(rest);
        command
    };
    let output = job("bf16", &["--json"]).assert().success().get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("device     emulator") && said.contains("precision bf16"), "{said}");
    assert_eq!(json(&String::from_utf8_lossy(&output.stdout))["precision"], "bf16");
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    assert!(
        config.contains("precision = \"bf16\"")
            && config.contains("device = \"emulator (8.0, portable) bf16\""),
        "{config}"
    );
    // The weights are saved as the f32 that they are.
    assert!(tensors(&here.join("run/model.safetensors")).len() > 30 - 1);
    // Whoever asks it in other numbers is told so, people and machines.
    let note = "note: the run was trained in bf16 but computes in f32 here";
    for (args, told) in [
        (vec!["evaluate", "run", "data", "--json"], true),
        (vec!["report", "run", "--json"], true),
        (vec!["predict", "run", "data", "-o", "rows.csv", "--json"], true),
        (vec!["evaluate", "run", "data", "--json", "--device", "emulator", "--precision", "bf16"], false),
    ] {
        let device = if told { &["--device", "cpu"][..] } else { &[] };
        let output = vgg_ft(here).args(device).args(&args).assert().success().get_output().clone();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.contains(note), told, "{args:?}: {said}");
        let result = json(&String::from_utf8_lossy(&output.stdout));
        let here = if told { "f32" } else { "bf16" };
        assert_eq!((&result["precision"], &result["run_precision"]), (&here.into(), &"bf16".into()));
    }

    // As if it had been stopped before its first epoch.
    fs::rename(here.join("run/run.toml"), here.join("run/job.toml")).unwrap();
    let error = fails(&mut job("f32", &["--resume"]), 2);
    assert!(error.contains("another job") && error.contains("precision = \"bf16\" there"), "{error}");
    let error = fails(vgg_ft(here).args(["resume", "run", "--device", "emulator", "--precision", "tf32"]), 2);
    assert!(error.contains("precision = \"bf16\" there"), "{error}");
    // Without a word it takes the job's, which the cpu does not have.
    let error = fails(vgg_ft(here).args(["resume", "run", "--device", "cpu"]), 2);
    assert!(error.contains("got       bf16"), "{error}");
    // A file from before there was a precision is f32.
    let old: String =
        config.lines().filter(|line| !line.starts_with("precision")).map(|l| format!("{l}\n")).collect();
    fs::write(here.join("run/job.toml"), old).unwrap();
    let error = fails(&mut job("bf16", &["--resume"]), 2);
    assert!(error.contains("precision = \"f32\" there"), "{error}");
}
