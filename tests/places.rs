//! Where results go, as a new user would have it: nothing is written into the data or over a file, names say what
//! files are, and what cannot be written is named as it was typed.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::find_default;

fn vgg_ft(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir);
    command
}

/// Stdout and stderr.
fn succeeds(dir: &Path, args: &[&str]) -> (String, String) {
    let output = vgg_ft(dir).args(args).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The error of a command that must fail with `code`.
fn fails(dir: &Path, args: &[&str], code: i32) -> String {
    let output = vgg_ft(dir).args(args).assert().code(code).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.stdout.is_empty(),
        "on failure stdout is empty: {:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!text.contains("panicked") && !text.contains("partial"), "{text}");
    let helps = ["help:", "--help", "\"help\":\""].iter().any(|word| text.contains(word));
    assert!(helps, "{args:?}: {text}");
    text
}

/// Noisy images, reddish `warm/` and bluish `cold/`, `n` of each in each of `folders`.
fn draw(data: &Path, folders: &[&str], n: usize) {
    let mut draws = Draws::new(7, Stream::Demo, 0);
    for folder in folders {
        for (class, lift) in [("cold", 2), ("warm", 0)] {
            let dir = data.join(folder).join(class);
            fs::create_dir_all(&dir).unwrap();
            for i in 0..n {
                let mut image = image::RgbImage::new(32, 32);
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

/// Everything below a folder, with the bytes of its files.
fn all(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

const SMALL: [&str; 8] = ["--size", "32", "--units", "4", "--head-epochs", "1", "--epochs", "1"];

/// `pets`, a folder of classes without splits; `parted`, the same with them; a run on each: `whole`, and `run`, whose
/// last stage began at block5_conv3.
fn shared() -> &'static Path {
    static SHARED: OnceLock<PathBuf> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Nothing drops a static: a folder of its own in the build's, made anew.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("places");
        let _ = fs::remove_dir_all(&dir);
        draw(&dir.join("pets"), &["."], 5);
        draw(&dir.join("parted"), &["train", "validation"], 3);
        for (data, run) in [("pets", "whole"), ("parted", "run")] {
            let args = ["finetune", data, "-o", run, "--unfreeze-from", "block5_conv3"];
            succeeds(&dir, &[&args[..], &SMALL].concat());
        }
        dir
    })
}

#[test]
fn nothing_is_written_into_the_data_or_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 2);
    draw(&here.join("parted"), &["train", "validation"], 2);
    succeeds(here, &["extract", "pets", "-o", "features", "--size", "32"]);
    let mut refused = vec![
        ("pets", "pets", "is the data itself"),
        ("pets", "./pets/../pets/", "is the data itself"),
        ("pets", "pets/run", "lies inside the data"),
        ("pets", "pets/cold", "lies inside the data"),
        ("pets", "pets/cold/run", "lies inside the data"),
        ("parted", "parted/train", "lies inside the data"),
        ("parted", "parted/train/warm/x/y", "lies inside the data"),
        ("./pets", "none/../pets/run", "lies inside the data"),
        ("pets", ".", "the data lie inside ."),
        ("parted/train", "parted", "the data lie inside parted"),
    ];
    if cfg!(unix) {
        #[cfg(unix)]
        std::os::unix::fs::symlink("pets", here.join("link")).unwrap();
        refused.extend([
            ("pets", "link/run", "lies inside the data"),
            ("link", "pets/run", "lies inside the data"),
            ("link", "link", "is the data itself"),
        ]);
    }
    let before = all(here);
    for (data, output, words) in refused {
        for command in ["finetune", "extract"] {
            let error = fails(here, &[command, data, "-o", output, "--size", "32"], 2);
            assert!(
                error.contains(words) && error.contains("runs/NAME"),
                "{command} {data} {output}: {error}"
            );
        }
        for more in ["--force", "--resume"] {
            let error = fails(here, &["finetune", data, "-o", output, "--size", "32", more], 2);
            assert!(error.contains(words), "{more} {data} {output}: {error}");
        }
    }
    for args in [
        &["notebook", "pets", "-o", "pets"][..],
        &["notebook", "pets", "-o", "pets/book"],
        &["fit", "features", "-o", "features"],
        &["fit", "features", "-o", "features/run"],
        &["fit", "features", "-o", "pets/run"],
        &["fit", "features", "-o", "."],
        &["augment", "preview", "pets", "-o", "pets/cold/sheet.png"],
        &["demo", "-o", "pets"],
        &["extract", "pets", "-o", "new", "--size", "32", "--cache", "pets/cache"],
    ] {
        let error = fails(here, args, 2);
        assert!(error.contains("data") || error.contains("other things than a demo"), "{args:?}: {error}");
    }
    fs::remove_dir(here.join("new")).unwrap();
    assert!(before == all(here), "the data are as they were, and nothing is beside them");
    // Beside the data, with a name that begins as theirs, is no place inside.
    succeeds(here, &["fit", "features", "-o", "pets-run", "--epochs", "1", "--units", "4"]);
}

#[test]
fn a_run_in_the_data_is_no_class() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 2);
    for place in ["pets/run", "pets/cold/deep"] {
        let run = here.join(place);
        fs::create_dir_all(&run).unwrap();
        for name in ["curves.png", "job.toml"] {
            fs::copy(here.join("pets/cold/0.png"), run.join(name)).unwrap();
        }
        let error = fails(here, &["extract", "pets", "-o", "features", "--size", "32"], 1);
        assert!(error.contains("holds a run, ") && error.contains(&place[5..]), "{error}");
        fs::remove_dir_all(run).unwrap();
    }
}

/// Every command that writes one file: by the same rule.
#[test]
fn a_file_is_written_over_only_with_force_and_its_name_says_what_it_is() {
    let here = shared();
    let weights = find_default().unwrap().canonicalize().unwrap();
    let weights = weights.to_str().unwrap();
    for (command, ending, wrong, known) in [
        (&["predict", "run", "pets", "-o"][..], "csv", "json", ".csv, .jsonl, .ndjson, .txt or .tsv"),
        (&["evaluate", "run", "parted", "-o"], "jsonl", "xlsx", ".csv, .jsonl, .ndjson, .txt or .tsv"),
        (
            &["augment", "preview", "pets", "--count", "1", "--draws", "1", "--size", "32", "-o"],
            "png",
            "jpg",
            ".png",
        ),
        (&["compare", "run", "-o"], "svg", "pdf", ".svg or .png"),
        (&["report", "run", "-o"], "html", "pdf", ".html or .htm"),
        (&["export", "run", "-o"], "onnx", "bin", ".h5, .hdf5, .keras, .onnx, .pth or .pt"),
        (
            &["weights", "convert", weights],
            "safetensors",
            "bin",
            ".safetensors, .h5, .hdf5, .keras, .onnx, .pth or .pt",
        ),
    ] {
        let with = |name: &str, more: &[&'static str]| -> Vec<String> {
            command
                .iter()
                .map(|&word| word.to_owned())
                .chain([name.to_owned()])
                .chain(more.iter().map(|&w| w.to_owned()))
                .collect()
        };
        let fails =
            |args: Vec<String>, code| fails(here, &args.iter().map(String::as_str).collect::<Vec<_>>(), code);
        let name = format!("{}-{}.{ending}", command[0], command[1].len());
        fs::write(here.join(&name), b"mine").unwrap();
        let error = fails(with(&name, &[]), 2);
        assert!(error.contains(&format!("{name} is there already")) && error.contains("--force"), "{error}");
        assert_eq!(fs::read(here.join(&name)).unwrap(), b"mine");
        vgg_ft(here).args(with(&name, &["--force"])).assert().success();
        let written = fs::read(here.join(&name)).unwrap();
        assert!(written.len() > 20, "{name}");
        fs::remove_file(here.join(&name)).unwrap();
        vgg_ft(here).args(with(&name, &[])).assert().success();
        assert_eq!(fs::read(here.join(&name)).unwrap().len(), written.len(), "{name}");

        let error = fails(with(&format!("x.{wrong}"), &[]), 2);
        assert!(error.contains(known) && error.contains(&format!(".{wrong}")), "{error}");
        let error = fails(with(&format!("nowhere/x.{ending}"), &[]), 2);
        assert!(error.contains(&format!("cannot write nowhere/x.{ending}")), "{error}");
        assert!(error.contains("the folder nowhere") && error.contains("mkdir -p nowhere"), "{error}");
        fs::create_dir_all(here.join(format!("d.{ending}"))).unwrap();
        let error = fails(with(&format!("d.{ending}"), &["--force"]), 2);
        assert!(error.contains("is a folder"), "{error}");
        assert!(!here.join(format!("x.{wrong}")).exists() && !here.join("nowhere").exists());
    }
    // What is meant is told from what is surely wrong.
    for (args, code) in [
        (&["predict", "run", "pets", "-o", "a.txt", "--format", "csv"][..], 0),
        (&["predict", "run", "pets", "-o", "a.parquet", "--format", "csv"], 0),
        (&["predict", "run", "pets", "-o", "a.jsonl", "--format", "csv"], 2),
        (&["evaluate", "run", "parted", "-o", "a.csv", "--format", "text"], 2),
        (&["export", "run", "-o", "a.safetensors"], 2),
        (&["export", "run", "-o", "a.safetensors", "--format", "onnx"], 2),
        (&["export", "run", "-o", "a.onnx", "--format", "torchvision"], 2),
        (&["export", "run", "-o", "a.h5", "--keras-version", "3"], 0),
        (&["predict", "run", "pets", "--force"], 2),
    ] {
        vgg_ft(here).args(args).assert().code(code);
    }
    let csv = fs::read_to_string(here.join("a.parquet")).unwrap();
    assert!(csv.starts_with("path,class,probability,p_cold,p_warm\n"), "{csv}");
}

#[test]
fn a_report_goes_where_it_is_asked_for_and_leaves_the_run_alone() {
    let here = shared();
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let before = all(&here.join("run"));
    let (out, _) = succeeds(here, &["report", "run", "-o", page.to_str().unwrap()]);
    assert!(out.contains(&format!("report     {}", page.display())), "{out}");
    assert!(fs::read_to_string(&page).unwrap().contains("On the validation images"));
    assert!(before == all(&here.join("run")));
}

#[test]
fn a_folder_without_splits_is_called_by_its_name() {
    let here = shared();
    let (out, said) = succeeds(here, &["evaluate", "whole", "pets"]);
    assert!(out.starts_with("all images of pets\naccuracy") && said.contains("10 images"), "{out} {said}");
    assert!(said.contains("note: the run was trained on these images"), "{said}");
    let (out, said) = succeeds(here, &["evaluate", "run", "pets", "--json"]);
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&outcome["split"], &outcome["images"]), (&serde_json::Value::Null, &10.into()));
    assert_eq!(outcome["folder"], "pets");
    assert!(said.contains("may be among these"), "{said}");
    // What was kept for the end may be all that is in its folder.
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("kept"), &["test", "val"], 2);
    let kept = dir.path().join("kept");
    let kept = kept.to_str().unwrap();
    for (args, part, split) in [
        (&[][..], "test", "test"),
        (&["--split", "test"], "test", "test"),
        (&["--split", "validation"], "val", "validation"),
    ] {
        let (out, said) = succeeds(here, &[&["evaluate", "run", kept], args].concat());
        assert!(out.starts_with(&format!("{split}\naccuracy")), "{out}");
        assert!(said.contains(&format!("note: {kept} has no train; {kept}/{part} is judged")), "{said}");
    }
    let error = fails(here, &["evaluate", "run", kept, "--split", "train"], 1);
    assert!(error.contains("there is no train beside them"), "{error}");
    let (out, said) = succeeds(here, &["evaluate", "run", "parted", "--split", "train"]);
    assert!(out.starts_with("train\n") && said.contains("the run was trained on these"), "{out} {said}");
    let error = fails(here, &["evaluate", "run", "pets", "--split", "test"], 2);
    assert!(error.contains("pets has no split `test`") && error.contains("leave --split out"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    succeeds(here, &["report", "whole", "-o", page.to_str().unwrap()]);
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("On all images of ") && !html.contains("train accuracy"), "{html}");
}

/// The split that a run made for itself is that of its own folder; another folder is judged whole.
#[test]
fn new_images_are_judged_all_and_the_runs_own_by_its_split() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 5);
    draw(&here.join("others"), &["."], 6);
    let args = ["finetune", "pets", "-o", "run", "--validation-split", "0.2"];
    succeeds(here, &[&args[..], &SMALL].concat());
    let judged = |args: &[&str]| {
        let (out, said) = succeeds(here, &[&["evaluate", "run"], args, &["--json"]].concat());
        let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
        (outcome["split"].as_str().map(str::to_owned), outcome["images"].as_u64().unwrap(), said)
    };
    let (split, images, _) = judged(&["pets"]);
    assert_eq!((split.as_deref(), images), (Some("validation"), 2));
    let (split, images, said) = judged(&["others"]);
    assert_eq!((split, images), (None, 12));
    assert!(said.contains("--split validation takes only what was held out"), "{said}");
    // It is a copy that has grown: what was held out is known by the run's list, not by a new draw.
    let (split, images, said) = judged(&["others", "--split", "validation"]);
    assert_eq!((split.as_deref(), images), (Some("validation"), 2));
    assert!(said.contains("others: 2 images are new to the run, and not judged"), "{said}");
    assert!(!said.contains("these are not"), "{said}");
    let (_, images, said) = judged(&["others", "--split", "train"]);
    assert!(images == 8 && !said.contains("not quite"), "{images} {said}");
    // Without the list they are drawn, and told to be others if they are.
    for part in ["train", "validation"] {
        fs::remove_file(here.join(format!("run/samples-{part}.jsonl"))).unwrap();
    }
    let (_, images, said) = judged(&["others", "--split", "validation"]);
    assert!(
        images == 2 && said.contains("these are not the images that the run was validated with"),
        "{said}"
    );
    let (_, _, said) = judged(&["pets", "--split", "validation"]);
    assert!(!said.contains("these are not"), "{said}");
}

/// A folder that has grown, or lost an image, would be parted otherwise by the same seed; one that is as it was is judged
/// with what could not be read of it.
#[test]
fn what_a_run_held_out_is_known_whatever_becomes_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 9);
    let cold = here.join("pets/cold");
    // Two that have one name in the lists.
    #[cfg(target_os = "linux")]
    for (byte, from) in [(b"\xe4.png", "0.png"), (b"\xf6.png", "1.png")] {
        use std::os::unix::ffi::OsStrExt;
        fs::rename(cold.join(from), cold.join(std::ffi::OsStr::from_bytes(byte))).unwrap();
    }
    fs::write(here.join("pets/warm/torn.png"), b"no").unwrap();
    succeeds(here, &[&["finetune", "pets", "-o", "run", "--validation-split", "0.4"][..], &SMALL].concat());
    let judged = || {
        let (out, said) = succeeds(here, &["evaluate", "run", "pets", "--json"]);
        let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
        (outcome["images"].as_u64().unwrap(), outcome["confusion"].clone(), said)
    };
    let first = judged();
    assert!((6..=8).contains(&first.0) && !first.2.contains("new to the run"), "{first:?}");
    assert!(!first.2.contains("these are not"), "{first:?}");
    // One that is changed is told of, and no other is judged for it. What is behind a PNG's end is none of its image.
    let list = fs::read_to_string(here.join("run/samples-validation.jsonl")).unwrap();
    let is_held = |name: &String| list.contains(&format!("\"{name}\""));
    let file = here.join("pets").join((0..9).map(|k| format!("warm/{k}.png")).find(is_held).unwrap());
    let aside = here.join("aside.png");
    fs::rename(&file, &aside).unwrap();
    fs::write(&file, [fs::read(&aside).unwrap(), vec![0; 9]].concat()).unwrap();
    let changed = judged();
    assert!(changed.0 == first.0 && changed.2.contains("not quite the images"), "{changed:?}");
    fs::rename(&aside, &file).unwrap();
    for k in 0..4 {
        fs::copy(here.join("pets/warm/0.png"), cold.join(format!("new{k}.png"))).unwrap();
    }
    let grown = judged();
    assert_eq!((first.0, &first.1), (grown.0, &grown.1));
    assert!(grown.2.contains("pets: 4 images are new to the run, and not judged"), "{}", grown.2);
    assert!(!grown.2.contains("these are not"), "{}", grown.2);
    let list = fs::read_to_string(here.join("run/samples-validation.jsonl")).unwrap();
    let named =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()[0].as_str().unwrap().to_owned();
    let gone = list.lines().map(named).find(|name| !name.contains('\u{fffd}')).unwrap();
    fs::remove_file(here.join("pets").join(gone)).unwrap();
    let fewer = judged();
    assert!(
        fewer.0 == first.0 - 1 && fewer.2.contains("not quite the images that the run was validated with"),
        "{fewer:?}"
    );
    // A list that is not the run's would be another judgement, and a size that is none another image.
    let path = here.join("run/samples-validation.jsonl");
    fs::write(&path, list.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let error = fails(here, &["evaluate", "run", "pets"], 1);
    assert!(
        error.contains("the list of the images of validation was changed")
            && error.contains("got       2 images"),
        "{error}"
    );
    fs::write(&path, list).unwrap();
    let toml = fs::read_to_string(here.join("run/run.toml")).unwrap();
    for side in ["9223372036854775807", "20000", "0"] {
        fs::write(here.join("run/run.toml"), toml.replacen("32", side, 1)).unwrap();
        let error = fails(here, &["evaluate", "run", "pets"], 1);
        assert!(error.contains("run.toml cannot be understood") && error.contains(side), "{error}");
    }
}

#[test]
fn the_summary_of_a_run_shows_what_its_last_stage_trained() {
    let here = shared();
    let (out, _) = succeeds(here, &["summary", "run"]);
    // block5_conv3, and 512 x 4 + 4 + 4 + 1 of the classifier.
    let learns = 2_359_808 + 2052 + 5;
    assert!(out.contains(" Trainable params: 2,361,865 ("), "{out}");
    assert!(out.contains("the run's last stage (finetune) trained: block5_conv3 and after"), "{out}");
    let (out, _) = succeeds(here, &["summary", "run", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["trainable"], &json["trainable_tensors"], &json["stage"]),
        (&learns.into(), &6.into(), &"finetune".into())
    );
    // What is asked for goes before.
    let (out, _) = succeeds(here, &["summary", "run", "--freeze"]);
    assert!(out.contains(" Trainable params: 2,057 (") && !out.contains("last stage"), "{out}");
}

/// Whoever names a folder with files of a run's names, but no run, keeps them; what else is there does not matter.
#[test]
fn a_run_is_not_begun_over_files_that_are_none_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train", "validaton", "train/.hidden"], 3);
    fs::create_dir(here.join("run")).unwrap();
    for name in ["model.safetensors", "notes.txt"] {
        fs::write(here.join("run").join(name), "precious").unwrap();
    }
    let before = all(&here.join("run"));
    let job = [
        &["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--epochs", "0"][..],
        &["--head-epochs", "1", "--early-stopping", "2"],
    ]
    .concat();
    let error = fails(here, &job, 2);
    assert!(error.contains("model.safetensors") && error.contains("--force"), "{error}");
    assert!(!error.contains("notes.txt"), "{error}");
    assert_eq!(all(&here.join("run")), before);

    // What may have been meant otherwise is said.
    let (_, talk) = succeeds(here, &[&job[..], &["--force"]].concat());
    for part in
        ["validaton", "hidden folder .hidden counts as a class", "compared by training loss or accuracy"]
    {
        assert!(talk.contains(part), "{part}: {talk}");
    }
    assert_ne!(fs::read(here.join("run/model.safetensors")).unwrap(), b"precious");
    assert_eq!(fs::read(here.join("run/notes.txt")).unwrap(), b"precious");
}

/// What is wrong with the new job is said before the old run goes.
#[test]
fn a_run_is_written_over_when_there_is_something_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train", "validation"], 3);
    let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--epochs", "0"];
    let job = [&job[..], &["--head-epochs", "2"]].concat();
    succeeds(here, &job);
    let before = all(&here.join("run"));
    fs::write(here.join("data/train/cold/bad.png"), "no image").unwrap();
    fails(here, &[&job[..], &["--force", "--strict"]].concat(), 1);
    assert_eq!(all(&here.join("run")), before);
    // Where there is nothing to lose it leaves nothing that is in the way.
    let new = [&["finetune", "data", "-o", "new"], &job[4..]].concat();
    fails(here, &[&new[..], &["--force", "--strict"]].concat(), 1);
    succeeds(here, &new);
    succeeds(here, &["predict", "run", "data/train/cold/0.png"]);
    // Nor are kept features touched by a job that fails, also where it has features of its own by then.
    fs::remove_file(here.join("data/train/cold/bad.png")).unwrap();
    let kept = [&["finetune", "data", "-o", "kept", "--keep-features"], &job[4..]].concat();
    succeeds(here, &kept);
    let before = all(&here.join("kept"));
    fs::create_dir_all(here.join("data/test/cold")).unwrap();
    fs::create_dir_all(here.join("data/test/warm")).unwrap();
    for class in ["cold", "warm"] {
        fs::copy(here.join("data/train/warm/0.png"), here.join(format!("data/test/{class}/0.png"))).unwrap();
    }
    fs::write(here.join("data/test/cold/bad.png"), "no image").unwrap();
    let other = [&kept[..], &["--preprocess", "notebook", "--force"]].concat();
    fails(here, &[&other[..], &["--strict"]].concat(), 1);
    assert_eq!(all(&here.join("kept")), before);
    // The next run has its own and none of the former's.
    fs::write(here.join("kept/features/train.07.safetensors"), "of a former stage").unwrap();
    fs::write(here.join("kept/features/notes.txt"), "mine").unwrap();
    succeeds(here, &other);
    let features = all(&here.join("kept/features"));
    let names: Vec<_> =
        features.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["notes.txt", "train.18.safetensors", "validation.18.safetensors"]);
    assert_ne!(
        features[1].1,
        before.iter().find(|(path, _)| path.ends_with("train.18.safetensors")).unwrap().1
    );
    assert!(!here.join("kept/features.new").exists());
    // The very same are not computed again, and without --keep-features they go.
    let (_, said) = succeeds(here, &other);
    assert!(said.contains("features are there already"), "{said}");
    // What is damaged is nothing to begin with.
    fs::write(here.join("kept/features/train.18.safetensors"), "cut").unwrap();
    succeeds(here, &other);
    assert_eq!(all(&here.join("kept/features"))[1], features[1]);
    let dropped: Vec<&str> = other.iter().copied().filter(|option| *option != "--keep-features").collect();
    succeeds(here, &dropped);
    assert_eq!(all(&here.join("kept/features")).len(), 1, "notes.txt stays");
    fs::remove_dir_all(here.join("data/test")).unwrap();
    // Two epochs of the former run are none of the next one's.
    let next = [&job[..10], &["--head-epochs", "1", "--seed", "9", "--force"]].concat();
    succeeds(here, &next);
    let (runs, _) = succeeds(here, &["compare", "run", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&runs).unwrap()["runs"][0]["epochs"], 1, "{runs}");
}

#[test]
fn what_is_no_features_is_neither_replaced_nor_removed_by_an_extraction() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train"], 2);
    fs::create_dir(here.join("user")).unwrap();
    let extract = ["extract", "data", "-o", "user", "--size", "32"];
    for name in ["test.safetensors", "test.safetensors.partial", "train.safetensors"] {
        fs::write(here.join("user").join(name), "mine").unwrap();
    }
    let before = all(&here.join("user"));
    let error = fails(here, &extract, 2);
    // Before anything is decoded.
    assert!(error.contains("train.safetensors") && !error.contains("decoded"), "{error}");
    assert_eq!(all(&here.join("user")), before);
    fs::rename(here.join("user/train.safetensors"), here.join("user/train.safetensors.partial")).unwrap();
    let output = vgg_ft(here).args(extract).assert().code(2).get_output().clone();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("was not written by vgg-ft") && !error.contains("decoded"), "{error}");
    fs::remove_file(here.join("user/train.safetensors.partial")).unwrap();
    // A folder, and a pipe that nobody writes to, which would be waited for without end.
    for (name, make) in [("train.safetensors", "mkdir"), ("train.safetensors.partial", "mkfifo")] {
        let at = here.join("user").join(name);
        assert!(std::process::Command::new(make).arg(&at).status().unwrap().success());
        let output = vgg_ft(here).args(extract).assert().code(2).get_output().clone();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("was not written by vgg-ft") && !error.contains("decoded"), "{error}");
        fs::remove_dir(&at).or_else(|_| fs::remove_file(&at)).unwrap();
    }
    succeeds(here, &extract);
    for name in ["test.safetensors", "test.safetensors.partial"] {
        assert_eq!(fs::read(here.join("user").join(name)).unwrap(), b"mine");
    }
}

/// A part that was renamed is soon called by its name again, and its features take hours.
#[test]
fn features_of_a_split_that_is_gone_are_removed_only_with_force() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train", "test"], 2);
    let extract = ["extract", "data", "-o", "features", "--size", "32"];
    succeeds(here, &extract);
    fs::rename(here.join("data/test"), here.join("data/tests")).unwrap();
    let before = all(&here.join("features"));
    let error = fails(here, &extract, 2);
    assert!(error.contains("features/test.safetensors is of a split that the data no longer has"), "{error}");
    assert_eq!(all(&here.join("features")), before);
    let (_, said) = succeeds(here, &[&extract[..], &["--force"]].concat());
    assert!(
        said.contains("features/test.safetensors is removed")
            && !here.join("features/test.safetensors").exists()
    );
}

/// A variable of the environment is no option that was typed.
#[test]
fn the_environment_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train"], 2);
    succeeds(here, &["extract", "data", "-o", "features", "--size", "32", "--no-cache"]);
    assert!(!here.join("cache").exists());
    let unset = vgg_ft(here)
        .env("VGG_FT_CACHE", "")
        .env("HOME", here)
        .env_remove("XDG_CACHE_HOME")
        .args(["extract", "data", "-o", "again", "--size", "32"])
        .assert()
        .success()
        .get_output()
        .clone();
    assert!(here.join(".cache/vgg-ft").is_dir(), "{}", String::from_utf8_lossy(&unset.stderr));
    let list =
        vgg_ft(here).env("VGG_FT_OFFLINE", "1").args(["weights", "fetch", "--list"]).assert().success();
    assert!(String::from_utf8_lossy(&list.get_output().stdout).contains("vgg16-notop"));
    let error = fails(here, &["notebook", "--print-config", "--seed", "18446744073709551615"], 2);
    assert!(error.contains("`seed`"), "{error}");
}

/// Paths are bytes on Unix; JSON and TOML are Unicode.
#[cfg(unix)]
#[test]
fn names_that_are_no_unicode_end_in_no_panic() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &["train"], 2);
    let odd = |name: &[u8]| std::ffi::OsStr::from_bytes(name).to_owned();
    fs::copy(here.join("data/train/cold/0.png"), here.join("data/train/cold").join(odd(b"z\xff.png")))
        .unwrap();
    let run = |args: Vec<std::ffi::OsString>, code: i32| {
        let output = vgg_ft(here).args(args).assert().code(code).get_output().clone();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("panicked"), "{text}");
        text
    };
    let words = |text: &str| text.split(' ').map(Into::into).collect::<Vec<std::ffi::OsString>>();
    run(words("augment preview data -o sheet.png --augment book --count 9"), 0);
    let out =
        [words("finetune data --size 32 --units 4 --epochs 0 --head-epochs 1 -o"), vec![odd(b"run\xff")]];
    run(out.concat(), 0);
    run([words("summary"), vec![odd(b"run\xff")]].concat(), 0);
    run([words("export"), vec![odd(b"run\xff")], words("-o"), vec![odd(b"p\xff.h5")]].concat(), 0);
    fs::rename(here.join("data"), here.join(odd(b"d\xff"))).unwrap();
    let job = [
        words("finetune"),
        vec![odd(b"d\xff")],
        words("--size 32 --units 4 --epochs 0 --head-epochs 1 --force -o"),
        vec![odd(b"run\xff")],
    ];
    let text = run(job.concat(), 2);
    assert!(text.contains("run.toml cannot be written") && text.contains("Unicode"), "{text}");
    run([words("summary"), vec![odd(b"run\xff")]].concat(), 0);
}

/// Whoever judges writes beside the data, too, with `--force` or without it.
#[test]
fn rows_and_pages_are_not_written_into_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 2);
    let run = shared().join("whole");
    let run = run.to_str().unwrap();
    let before = all(&here.join("pets"));
    for (command, output, force) in [
        ("evaluate", "pets/cold/1.png", true),
        ("evaluate", "pets/cold/j.csv", false),
        ("evaluate", "pets/j.csv", false),
        ("report", "pets/cold/r.html", false),
        ("predict", "pets/cold/1.png", true),
        ("check", "pets/cold/c.csv", false),
    ] {
        let of: &[&str] = if command == "check" { &["check"] } else { &[command, run] };
        let how: &[&str] = if output.ends_with(".png") { &["--format", "csv"] } else { &[] };
        let force: &[&str] = if force { &["--force"] } else { &[] };
        let error = fails(here, &[of, &["pets", "-o", output], how, force].concat(), 2);
        let words = if command == "predict" { "over itself" } else { "lies inside the data" };
        assert!(error.contains(words), "{command}: {error}");
    }
    assert_eq!(all(&here.join("pets")), before);
    // The page of a run's own data.
    let inside = shared().join("pets/warm/r.html");
    let error = fails(here, &["report", run, "-o", inside.to_str().unwrap()], 2);
    assert!(error.contains("lies inside the data") && !inside.exists(), "{error}");
}

/// A link is written through, so it is no way into a run.
#[cfg(unix)]
#[test]
fn a_link_to_a_runs_file_is_that_file() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let run = here.join("run");
    fs::create_dir(&run).unwrap();
    for name in ["run.toml", "history.csv"] {
        fs::copy(shared().join("run").join(name), run.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("run/history.csv", here.join("link.csv")).unwrap();
    let images = shared().join("pets");
    let predict = |out: &str| {
        let run = shared().join("run");
        vgg_ft(here)
            .arg("predict")
            .arg(run)
            .arg(&images)
            .args(["-o", out, "--force"])
            .assert()
            .code(2)
            .get_output()
            .clone()
    };
    let before = all(&run);
    for out in ["link.csv", "run/history.csv"] {
        let error = String::from_utf8_lossy(&predict(out).stderr).into_owned();
        assert!(error.contains("belongs to the run"), "{error}");
    }
    assert_eq!(all(&run), before);
}

/// Images as [`draw`] draws them, each of a size of its own, as photographs are: bytes behind the end are no part of
/// a PNG.
fn draw_unlike(data: &Path, n: usize) {
    draw(data, &["."], n);
    for (at, class) in ["cold", "warm"].iter().enumerate() {
        for i in 0..n {
            let file = data.join(class).join(format!("{i}.png"));
            let mut bytes = fs::read(&file).unwrap();
            bytes.extend(vec![0; at * n + i]);
            fs::write(file, bytes).unwrap();
        }
    }
}

/// The same images in another place are known by their names and sizes: what was held out is judged, not what was
/// learned.
#[test]
fn a_copy_of_the_data_is_judged_as_the_data_are() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw_unlike(&here.join("pets"), 6);
    let args = ["finetune", "pets", "-o", "run", "--validation-split", "0.34"];
    succeeds(here, &[&args[..], &SMALL].concat());
    draw_unlike(&here.join("copy"), 6);
    // Of one size they may be others.
    draw(&here.join("alike"), &["."], 6);
    let json = |data: &str| -> serde_json::Value {
        serde_json::from_str(&succeeds(here, &["evaluate", "run", data, "--json"]).0).unwrap()
    };
    let (own, copy) = (json("pets"), json("copy"));
    assert_eq!(
        (&own["split"], &own["images"], &own["loss"]),
        (&copy["split"], &copy["images"], &copy["loss"])
    );
    assert_eq!(copy["split"], "validation");
    assert_eq!(json("alike")["split"], serde_json::Value::Null);
    // With one more image it is some folder, and all of it is judged.
    fs::copy(here.join("copy/cold/0.png"), here.join("copy/cold/more.png")).unwrap();
    let (other, said) =
        succeeds(here, &["evaluate", "run", "copy", "--json", "--threshold", "0.25", "--tta", "flip"]);
    let other: serde_json::Value = serde_json::from_str(&other).unwrap();
    assert_eq!(
        (&other["split"], &other["threshold"], &other["views"]),
        (&serde_json::Value::Null, &0.25.into(), &2.into())
    );
    assert!(said.contains("--split validation"), "{said}");
}

/// Of some classes a test set may have no images; of others it must not.
#[test]
fn a_set_without_some_classes_is_judged_by_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("three"), &["."], 3);
    draw(&here.join("two"), &["."], 3);
    fs::rename(here.join("three/cold"), here.join("three/blue")).unwrap();
    fs::create_dir(here.join("three/cold")).unwrap();
    for name in ["0.png", "1.png", "2.png"] {
        fs::copy(here.join("two/cold").join(name), here.join("three/cold").join(name)).unwrap();
    }
    succeeds(here, &[&["finetune", "three", "-o", "run"], &SMALL[..]].concat());
    let (out, said) = succeeds(here, &["evaluate", "run", "two", "--json"]);
    assert!(said.contains("has no images of blue"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    // Rows are true classes, in the run's order: blue, cold, warm.
    let sum = |row: usize| -> u64 {
        json["confusion"][row].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    assert_eq!([0, 1, 2].map(sum), [0, 3, 3], "{json}");
    // One class is enough to be judged on, and too little to learn from.
    fs::create_dir(here.join("one")).unwrap();
    fs::rename(here.join("two/cold"), here.join("one/cold")).unwrap();
    let (out, said) = succeeds(here, &["evaluate", "run", "one", "--json"]);
    assert!(said.contains("has no images of blue, warm"), "{said}");
    let one: serde_json::Value = serde_json::from_str(&out).unwrap();
    let right = one["confusion"][1][1].as_f64().unwrap() / 3.0;
    assert_eq!((one["accuracy"].as_f64(), &one["images"]), (Some(right), &3.into()), "{one}");
    succeeds(here, &["report", "run", "one", "-o", "one.html"]);
    let error = fails(here, &[&["finetune", "one", "-o", "other"], &SMALL[..]].concat(), 1);
    assert!(error.contains("has only one class"), "{error}");
    fs::rename(here.join("one/cold"), here.join("two/cold")).unwrap();
    fs::rename(here.join("two/warm"), here.join("two/hot")).unwrap();
    let error = fails(here, &["evaluate", "run", "two"], 1);
    assert!(error.contains("other classes than the run"), "{error}");
}

/// Containers often have a home that cannot be written. A folder that somebody named must do.
#[test]
fn without_room_for_a_cache_images_stay_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 2);
    fs::write(here.join("home"), "no folder").unwrap();
    let run = |output: &str, variable: &str| {
        let mut command = vgg_ft(here);
        command.args(["finetune", "pets", "-o", output]).args(SMALL);
        command.env_remove("VGG_FT_CACHE").env_remove("XDG_CACHE_HOME").env(variable, here.join("home"));
        command.assert().get_output().clone()
    };
    let (without, chosen) = (run("a", "HOME"), run("b", "VGG_FT_CACHE"));
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(without.status.success() && said.contains("decoded images stay in memory"), "{said}");
    let said = String::from_utf8_lossy(&chosen.stderr);
    assert!(!chosen.status.success() && said.contains("cannot create the folder"), "{said}");
}

/// The first command of the README.
#[test]
fn a_demo_is_drawn_trained_and_drawn_no_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let demo = |more: &[&str]| {
        let args =
            ["demo", "-o", "demo", "--size", "32", "--units", "4", "--head-epochs", "1", "--epochs", "0"];
        succeeds(here, &[&args[..], more].concat())
    };
    let (out, said) = demo(&[]);
    assert!(out.contains("test\naccuracy") && said.contains("cartoon cats and dogs"), "{out}{said}");
    for name in ["report.html", "model.safetensors", "run.toml"] {
        assert!(here.join("demo/run").join(name).is_file(), "{name}");
    }
    let (_, said) = demo(&["--force"]);
    assert!(said.contains("is there already"), "{said}");
    let stray = tempfile::tempdir().unwrap();
    fs::write(stray.path().join("holiday.txt"), "").unwrap();
    let error = fails(stray.path(), &["demo", "-o", "."], 2);
    assert!(error.contains("holds other things than a demo"), "{error}");
}

/// What lies among the images and is not what it seems is said: no class, no levels; a lesser ending is read.
#[test]
fn images_that_are_not_what_they_seem_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("pets"), &["."], 3);
    let cold = here.join("pets/cold");
    fs::copy(cold.join("0.png"), here.join("pets/stray.png")).unwrap();
    let image = image::open(cold.join("0.png")).unwrap();
    image.to_rgb8().save_with_format(cold.join("3.jfif"), image::ImageFormat::Jpeg).unwrap();
    // Dark for the most part, as an X-ray: what is bright becomes one white.
    let deep = image::ImageBuffer::from_fn(32, 32, |x, y| image::Luma([(x * y) as u16]));
    deep.save(here.join("pets/warm/deep.png")).unwrap();
    let (_, said) = succeeds(here, &["extract", "pets", "-o", "features", "--size", "32"]);
    assert!(said.contains("8 images (4 cold, 4 warm)"), "{said}");
    assert!(said.contains("of no class: 1 image beside the class folders of pets"), "{said}");
    let deep = "1 image is 16-bit grey with levels above 255";
    assert!(said.contains(deep) && said.contains("(the first: warm/deep.png)"), "{said}");
    assert_eq!(said.matches("note: train:").count(), 2, "{said}");
    // The cache remembers it.
    let (_, said) = succeeds(here, &["extract", "pets", "-o", "again", "--size", "32"]);
    assert!(said.contains("0 decoded, 8 from the cache") && said.contains(deep), "{said}");
}

/// The weights know what they were saved with: edited names of classes would be said of the wrong outputs.
#[test]
fn weights_and_run_toml_of_two_runs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    for name in ["run.toml", "model.safetensors", "history.csv"] {
        fs::copy(shared().join("whole").join(name), run.join(name)).unwrap();
    }
    let image = shared().join("pets/cold/0.png");
    let asks = ["predict", "run", image.to_str().unwrap()];
    succeeds(dir.path(), &asks);
    let own = fs::read_to_string(run.join("run.toml")).unwrap();
    for (was, is) in [("\"cold\"", "\"warm\""), ("preprocess = \"caffe\"", "preprocess = \"notebook\"")] {
        assert!(own.contains(was), "{own}");
        fs::write(run.join("run.toml"), own.replace(was, is)).unwrap();
        let error = fails(dir.path(), &asks, 1);
        assert!(error.contains("and its run.toml are not of one run"), "{error}");
    }
}

/// What was exported can be asked as the run can, and says the same.
#[test]
fn an_export_answers_as_its_run_does() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    // Of 40x36: resizing has something to do.
    crate::cli::draw(&here.join("data"), &[("", 3)]);
    succeeds(here, &[&["finetune", "data", "-o", "run", "--resize", "bilinear"], &SMALL[..]].concat());
    let ask = |network: &str| {
        let (rows, said) = succeeds(here, &["predict", network, "data", "--all-probabilities", "--json"]);
        (rows, said)
    };
    let (own, _) = ask("run");
    assert!(own.contains("\"warm\"") && own.lines().count() == 6, "{own}");
    assert_eq!(ask("run/model.safetensors").0, own);
    for (format, file) in [
        ("keras-h5", "a.h5"),
        ("keras", "a.keras"),
        ("onnx", "a.onnx"),
        ("torchvision", "b.safetensors"),
        ("safetensors", "c.safetensors"),
    ] {
        succeeds(here, &["export", "run", "--format", format, "-o", file]);
        let (rows, said) = ask(file);
        assert_eq!(rows, own, "{format}");
        assert!(said.contains("input      32x32 by bilinear"), "{said}");
    }
    // What else is made of an export says the same.
    succeeds(here, &["weights", "convert", "a.onnx", "again.safetensors"]);
    succeeds(here, &["weights", "convert", "again.safetensors", "again.h5", "--format", "keras-h5"]);
    assert_eq!(ask("again.safetensors").0, own);
    assert_eq!(ask("again.h5").0, own);
    // A .pth has no place for it: what is said at its export is said again.
    let (_, said) = succeeds(here, &["export", "run", "-o", "a.pth"]);
    let feeding = "--size 32x32 --preprocess caffe --resize bilinear";
    assert!(said.contains(feeding), "{said}");
    let asked = ["predict", "a.pth", "data", "--all-probabilities", "--json"];
    let (rows, _) = succeeds(here, &[&asked[..], &feeding.split(' ').collect::<Vec<_>>()].concat());
    let numbered = own.replace("\"cold\"", "\"0\"").replace("\"warm\"", "\"1\"");
    assert_eq!(rows, numbered);
    let nearest = feeding.replace("bilinear", "nearest");
    let (rows, _) = succeeds(here, &[&asked[..], &nearest.split(' ').collect::<Vec<_>>()].concat());
    assert_ne!(rows, numbered);
    let error = fails(here, &asked, 2);
    assert!(error.contains("how large its images are") && error.contains("--size"), "{error}");
    // One number for each channel: of larger images it would be a mean.
    let means = "taken for the mean of its map";
    let (_, said) = succeeds(here, &[&asked[..], &["--size", "32"]].concat());
    assert!(!said.contains(means), "{said}");
    let (_, said) = succeeds(here, &[&asked[..], &["--size", "96"]].concat());
    assert!(said.contains(means) && said.contains("give that --size"), "{said}");
}
