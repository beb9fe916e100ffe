//! `predict` and `evaluate` row by row: every way to name images, every format, several looks at each.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use image::{ImageEncoder, RgbImage};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::weights::find_default;

/// Noise, reddish or bluish or greenish.
fn image(seed: u64, lift: usize) -> RgbImage {
    let mut draws = Draws::new(seed, Stream::Demo, 0);
    let mut image = RgbImage::new(32, 32);
    for pixel in image.pixels_mut() {
        let mut rgb = [0; 3].map(|_: u8| draws.below(120) as u8);
        rgb[lift] += 100;
        pixel.0 = rgb;
    }
    image
}

/// Images and two runs that all tests share: `run`, of two classes and trained with augmentation, and `plain`,
/// of three and without.
pub(crate) fn shared() -> &'static Path {
    static SHARED: OnceLock<PathBuf> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Nothing drops a static: a folder of its own in the build's, made anew.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("predict");
        let _ = fs::remove_dir_all(&dir);
        let here = dir.as_path();
        for (data, classes) in [("two", &["cold", "warm"][..]), ("three", &["cold", "lush", "warm"])] {
            for (split, n) in [("train", 6), ("validation", 9)] {
                for (k, class) in classes.iter().enumerate() {
                    let folder = here.join(data).join(split).join(class);
                    fs::create_dir_all(&folder).unwrap();
                    for i in 0..n {
                        let lift = if *class == "cold" { 2 } else { usize::from(*class == "lush") };
                        let seed = (k * 100 + i + n) as u64;
                        image(seed, lift).save(folder.join(format!("{i}.png"))).unwrap();
                    }
                }
            }
        }
        // With RGB / 255 activations are small, and probabilities stay away from 0 and 1.
        let train = ["--size", "32", "--units", "8", "--preprocess", "notebook", "--epochs", "0"];
        let head = ["--head-epochs", "2", "--head-rate", "1e-3"];
        for (data, run, more) in [("two", "run", &["--augment", "book"][..]), ("three", "plain", &[])] {
            vgg_ft(here)
                .args(["finetune", data, "-o", run])
                .args(train)
                .args(head)
                .args(more)
                .assert()
                .success();
        }
        dir
    })
}

/// `vgg-ft` with a cache of its own and the repository's weights.
pub(crate) fn vgg_ft(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir);
    command
}

/// `vgg-ft predict` with the run of two classes, in `dir`.
fn predict(dir: &Path) -> Command {
    let mut command = vgg_ft(dir);
    command.arg("predict").arg(shared().join("run"));
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

/// Stdout and stderr of a command that must fail with `code`.
fn fails(command: &mut Command, code: i32) -> (String, String) {
    let output = command.assert().code(code).get_output().clone();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

/// RFC 4180, as small as it can be read.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    assert!(field.is_empty() && row.is_empty() && !quoted, "{text}");
    rows
}

/// The probability of `warm` for each image, in order.
fn warm(command: &mut Command) -> Vec<f32> {
    let rows = csv(&stdout(command.args(["--format", "csv"])));
    assert_eq!(rows[0], ["path", "class", "probability", "p_cold", "p_warm"]);
    rows[1..].iter().map(|row| row[4].parse().unwrap()).collect()
}

/// Images in folders, with files beside them that are none.
fn gallery(here: &Path) -> [&'static str; 5] {
    let names = ["new/top.png", "new/b/10.png", "new/b/2.png", "new/b/deep/x.png", "new/b-c/1.png"];
    for (seed, name) in (50..).zip(names) {
        let path = here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image(seed, seed as usize % 3).save(path).unwrap();
    }
    fs::write(here.join("new/notes.txt"), b"not an image").unwrap();
    names
}

#[test]
fn every_form_of_input_names_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    // In the order of the data readers: folders as text, so "b/deep" stands after "b-c".
    let mut names = gallery(here);
    names.sort_by_key(|name| name.rsplit_once('/').map(|(dir, file)| (dir.to_owned(), file.to_owned())));
    let plain = stdout(predict(here).args(names));
    assert_eq!(plain.lines().count(), 5);
    for (line, name) in plain.lines().zip(names) {
        let [path, class, p] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(path == name && ["cold", "warm"].contains(&class) && p.len() == 6, "{line}");
    }
    assert_eq!(stdout(predict(here).arg("new")), plain, "a folder");
    assert_eq!(stdout(predict(here).arg("new/**/*")), plain, "a pattern");
    assert_eq!(stdout(predict(here).arg("new/**/*.p[!x]g")), plain, "a pattern with a class");
    let list = |end: &str| names.map(|name| format!("{name}{end}")).concat();
    assert_eq!(stdout(predict(here).arg("-").write_stdin(list("\n"))), plain, "lines");
    assert_eq!(stdout(predict(here).arg("-").write_stdin(list("\r\n\r\n"))), plain, "lines from Windows");
    assert_eq!(stdout(predict(here).arg("-").write_stdin(list("\n").trim_end())), plain, "no last line end");
    assert_eq!(stdout(predict(here).args(["-", "--null"]).write_stdin(list("\0"))), plain, "as find -print0");
    // Several forms at once, in small batches.
    let rest = names[2..].join("\n");
    let args = [names[0], "-", "--batch", "2", names[1]];
    let mixed = stdout(predict(here).args(args).write_stdin(rest));
    let lines: Vec<&str> = plain.lines().collect();
    assert_eq!(mixed.lines().collect::<Vec<_>>(), [lines[0], lines[2], lines[3], lines[4], lines[1]]);
}

#[test]
fn runs_below_a_folder_are_passed_over_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    gallery(here);
    let plain = stdout(predict(here).arg("new"));
    for (name, file) in [("new/runs/a", "run.toml"), ("new/runs/b", "job.toml")] {
        let run = here.join(name);
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join(file), b"").unwrap();
        image(1, 0).save(run.join("curves.png")).unwrap();
    }
    for input in ["new", "new/**/*"] {
        let output = predict(here).arg(input).assert().success().get_output().clone();
        assert_eq!(String::from_utf8_lossy(&output.stdout), plain, "{input}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for run in ["new/runs/a", "new/runs/b"] {
            assert_eq!(said.matches(&format!("note: {run} is a run")).count(), 1, "{said}");
        }
    }
    // What is named is wanted.
    assert_eq!(stdout(predict(here).arg("new/runs/a/curves.png")).lines().count(), 1);
    let (_, error) = fails(predict(here).arg("new/runs"), 1);
    assert!(
        error.contains("the folder new/runs holds no images in a format that is read")
            && error.contains("passed over"),
        "{error}"
    );
}

#[test]
fn inputs_without_images_are_refused_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    gallery(here);
    fs::create_dir_all(here.join("empty/inside")).unwrap();
    fs::write(here.join("empty/inside/notes.txt"), b"").unwrap();
    fs::write(here.join("empty/inside/a.heic"), b"").unwrap();
    for (args, code, words) in [
        (&["empty"][..], 1, "the folder empty holds no images in a format that is read"),
        (&["new/top.png", "empty"], 1, "1 .heic, 1 .txt"),
        (&["new/*.jpg"], 1, "no image matches new/*.jpg"),
        (&["new/***"], 2, "is no pattern"),
        (&["-", "-"], 2, "given twice"),
        (&["new", "--null"], 2, "- is not among the inputs"),
        (&["new", "--tta", "0"], 2, "1 to 1000"),
        (&["new", "--tta", "3", "--rotation", "0"], 2, "change no image"),
        (&["new", "--rotation", "5"], 2, "without --tta"),
        (&["new", "--tta", "flip", "--rotation", "5"], 2, "draws nothing"),
        (&["new", "--threshold", "1"], 2, "between 0 and 1"),
        (&[], 2, "INPUT"),
    ] {
        let (out, error) = fails(predict(here).args(["-o", "rows.csv"]).args(args), code);
        assert!(error.contains(words) && out.is_empty(), "{args:?}: {error}");
        assert!(!here.join("rows.csv").exists(), "{args:?}");
    }
    let (_, error) = fails(predict(here).args(["new", "--json", "--format", "csv"]), 2);
    assert!(error.contains("--json and --format"), "{error}");
    let three = |args: &[&str]| {
        let mut command = vgg_ft(here);
        command.arg("predict").arg(shared().join("plain")).arg("new").args(args);
        fails(&mut command, 2).1
    };
    for exchanged in [["predict", "new/top.png"], ["predict", "new"], ["evaluate", "new"], ["report", "new"]]
    {
        let (_, error) = fails(vgg_ft(here).args(exchanged).arg(shared().join("plain")), 2);
        assert!(error.contains("name the run first"), "{exchanged:?}: {error}");
    }
    assert!(three(&["--threshold", "0.7"]).contains("only for models of two classes"));
    assert!(three(&["--tta", "2"]).contains("no augmentation is recorded for this model"));
    let (_, error) = fails(predict(here).arg("-").write_stdin("new/top.png\0"), 2);
    assert!(error.contains("give --null"), "{error}");
    let output = predict(here).arg("-").write_stdin("").assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("stdin named no image"));
}

#[test]
fn images_without_an_ending_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let note = "1 image without an ending passed over: add .jpg or .png to the names";
    for class in ["a", "b"] {
        fs::create_dir_all(here.join("data").join(class)).unwrap();
        image(1, 1).save(here.join("data").join(class).join("1.png")).unwrap();
    }
    fs::copy(here.join("data/a/1.png"), here.join("data/b/2")).unwrap();
    fs::write(here.join("data/b/LICENSE"), "free").unwrap();
    let output = predict(here).arg("data").assert().success().get_output().clone();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains(&format!("note: {note}")), "{talk}");
    assert!(stdout(vgg_ft(here).args(["check", "data"])).contains(note));
    // Where there are no others, it is said what to do.
    fs::remove_file(here.join("data/b/1.png")).unwrap();
    let (_, error) = fails(predict(here).arg("data/b"), 1);
    assert!(error.contains("names have no ending: add .jpg or .png"), "{error}");
}

#[test]
fn odd_names_survive_csv_and_json() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let mut names = vec!["a, b.png", " lead.png", "plain.png"];
    if cfg!(unix) {
        names.extend(["say \"hi\".png", "two\nlines.png", "star*[1].png", "\"quoted\".png", "ü.png"]);
    }
    for (seed, name) in (0..).zip(&names) {
        image(seed, 0).save(here.join(name)).unwrap();
    }
    let rows = csv(&stdout(predict(here).args(&names).args(["--format", "csv", "--top", "2"])));
    let header = ["path", "class", "probability", "class_2", "probability_2", "p_cold", "p_warm"];
    assert_eq!(rows[0], header);
    let json = stdout(predict(here).args(&names).args(["--json", "--all-probabilities"]));
    let objects: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len() - 1, objects.len()), (names.len(), names.len()));
    for ((row, object), name) in rows[1..].iter().zip(&objects).zip(&names) {
        assert_eq!((row[0].as_str(), object["path"].as_str()), (*name, Some(*name)));
        assert_eq!(
            (&object["predicted"], &object["top"][0]["class"]),
            (&row[1][..].into(), &row[1][..].into())
        );
        let [p, q, cold, warm] = [2, 4, 5, 6].map(|k| row[k].parse::<f32>().unwrap());
        assert!(p >= q && [[p, q], [q, p]].contains(&[cold, warm]), "{row:?}");
        assert_eq!(object["probabilities"]["warm"].as_f64().unwrap() as f32, warm, "every digit is there");
    }
    // A file's name says the format, and the file holds what stdout would.
    let result = stdout(predict(here).args(&names).args(["-o", "rows.CSV", "--top", "2", "--json"]));
    assert_eq!(csv(&fs::read_to_string(here.join("rows.CSV")).unwrap()), rows);
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!((&result["images"], &result["skipped"]), (&names.len().into(), &serde_json::json!([])));
}

#[test]
fn json_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    gallery(dir.path());
    let args = ["new/top.png", "new/b/2.png", "--top", "2"];
    let text = stdout(predict(dir.path()).args(args).arg("--json"));
    for (line, name) in text.lines().zip(args) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["path", "predicted", "top"]);
        assert_eq!(object["path"], name);
        let top = object["top"].as_array().unwrap();
        let keys: Vec<_> = top.iter().flat_map(|one| one.as_object().unwrap().keys()).collect();
        assert_eq!(keys, ["class", "probability", "class", "probability"]);
        assert!(top[0]["probability"].as_f64() >= top[1]["probability"].as_f64(), "{line}");
    }
    assert_eq!(stdout(predict(dir.path()).args(args).args(["--format", "jsonl"])), text);
}

#[test]
fn an_unreadable_image_is_skipped_or_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    for name in ["1.png", "3.png", "4.png"] {
        image(7, 0).save(here.join(name)).unwrap();
    }
    fs::write(here.join("2.png"), b"").unwrap();
    let job = |more: &[&str]| {
        let mut command = predict(here);
        command.args(["1.png", "2.png", "3.png", "missing.png", "4.png"]).args(more);
        command
    };
    let starts = |text: &str| text.lines().map(|line| line[..5].to_owned()).collect::<Vec<_>>();
    let (out, error) = fails(&mut job(&[]), 1);
    assert_eq!(starts(&out), ["1.png", "3.png", "4.png"]);
    assert!(error.contains("2 of 5 images could not be read"), "{error}");
    assert!(error.contains("which and why; the other 3 were classified"), "{error}");
    for (names, words) in
        [(&["2.png"][..], "1 of 1 images"), (&["2.png", "missing.png", "--batch", "1"], "2 of 2 images")]
    {
        let (out, error) = fails(predict(here).args(names), 1);
        assert!(out.is_empty() && error.contains(words), "{error}");
        assert!(error.contains("none was classified") && !error.contains("other"), "{error}");
    }
    let (_, error) = fails(predict(here).args(["2.png", "1.png"]), 1);
    assert!(error.contains("the other one was classified"), "{error}");
    let (_, error) = fails(&mut job(&[]), 1);
    assert!(error.contains("2.png is empty") && error.contains("cannot read missing.png"), "{error}");
    for batch in ["1", "2", "16"] {
        let (out, error) = fails(&mut job(&["--strict", "--batch", batch]), 1);
        assert_eq!(starts(&out), ["1.png"], "batches of {batch}");
        assert!(error.contains("2.png is empty") && !error.contains("missing.png"), "{error}");
    }
    let rows = here.join("rows.txt");
    fails(&mut job(&["-o", "rows.txt"]), 1);
    assert_eq!(fs::read_to_string(&rows).unwrap(), out);
    let [out, _] = [&["--format", "jsonl"][..], &["-o", "rows.jsonl"]].map(|more| fails(&mut job(more), 1).0);
    assert_eq!(fs::read_to_string(here.join("rows.jsonl")).unwrap(), out);
    assert_eq!((out.lines().count(), out.matches("\"error\"").count()), (5, 2), "{out}");
    // What stops leaves the old file, and no half of a new one.
    fs::write(&rows, b"mine").unwrap();
    fails(&mut job(&["-o", "rows.txt", "--strict", "--force"]), 1);
    assert_eq!(fs::read(&rows).unwrap(), b"mine");
    let left = fs::read_dir(here)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("partial"));
    assert_eq!(left.count(), 0);
    let image = fs::read(here.join("1.png")).unwrap();
    let over = ["4.png", "1.png", "-o", "./1.png", "--force", "--format", "csv"];
    for over in [over, [".", "-o", "./1.png", "--force", "--format", "text", "-q"]] {
        let (_, error) = fails(predict(here).args(over), 2);
        assert!(error.contains("1.png would be written over itself"), "{error}");
    }
    // Nor by another name, nor where a list names it.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("1.png", here.join("link.csv")).unwrap();
        let (_, error) = fails(predict(here).args(["1.png", "-o", "link.csv", "--force"]), 2);
        assert!(error.contains("1.png would be written over itself"), "{error}");
    }
    let listed = ["-", "-o", "1.png", "--force", "--format", "csv"];
    let (_, error) = fails(predict(here).args(listed).write_stdin("4.png\n1.png\n"), 2);
    assert!(error.contains("1.png would be written over itself"), "{error}");
    assert_eq!(fs::read(here.join("1.png")).unwrap(), image);
    let (_, error) = fails(predict(here).args(["1.png", "-o", "-"]), 2);
    assert!(error.contains("`-` is not a file"), "{error}");
    let (_, error) = fails(predict(here).args(["1.png", "-o", "no/such/rows.csv"]), 2);
    assert!(error.contains("no/such/rows.csv"), "{error}");
}

/// A phone's image: stored on its side, with an orientation of 6 (turn by 90 degrees clockwise).
fn on_its_side(upright: &RgbImage, path: &Path) {
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut encoder = image::codecs::png::PngEncoder::new(fs::File::create(path).unwrap());
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    image::imageops::rotate270(upright).write_with_encoder(encoder).unwrap();
}

#[test]
fn an_exif_orientation_is_told_of_or_followed() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let upright = image(3, 1);
    upright.save(here.join("up.png")).unwrap();
    image::imageops::rotate270(&upright).save(here.join("side.png")).unwrap();
    on_its_side(&upright, &here.join("phone.png"));
    let names = ["phone.png", "side.png", "up.png", "--format", "csv"];
    let note = "note: 1 image has an EXIF orientation";
    let asked = |command: &mut Command| {
        let output = command.args(names).assert().success().get_output().clone();
        let rows = csv(std::str::from_utf8(&output.stdout).unwrap());
        let warm: Vec<String> = rows[1..].iter().map(|row| row[4].clone()).collect();
        (warm, String::from_utf8(output.stderr).unwrap())
    };
    let (warm, said) = asked(&mut predict(here));
    assert!(warm[0] == warm[1] && warm[0] != warm[2], "{warm:?}");
    assert!(said.contains(note), "{said}");

    // A run that was trained on upright images looks at them so, and so does what it exports.
    let data = shared().join("two");
    let train = ["--resize", "upright-nearest", "--size", "32", "--units", "8", "--preprocess", "notebook"];
    let short = ["--head-epochs", "1", "--epochs", "0", "-o", "run"];
    vgg_ft(here).arg("finetune").arg(&data).args(train).args(short).assert().success();
    let exported = vgg_ft(here)
        .args(["export", "run", "--format", "keras-h5", "-o", "m.h5"])
        .assert()
        .success()
        .get_output()
        .clone();
    let told = String::from_utf8(exported.stderr).unwrap();
    assert!(told.contains("by upright-nearest") && told.contains("exif_transpose"), "{told}");
    for network in ["run", "m.h5"] {
        let (warm, said) = asked(vgg_ft(here).args(["predict", network]));
        assert!(warm[0] == warm[2] && warm[0] != warm[1], "{network}: {warm:?}");
        assert!(!said.contains("EXIF"), "{said}");
    }
    let (warm, said) = asked(vgg_ft(here).args(["predict", "m.h5", "--resize", "nearest"]));
    assert!(warm[0] == warm[1] && said.contains(note), "{warm:?} {said}");
}

/// A child that reads its list from us; the run is there before the clock starts.
fn waiting(here: &Path) -> Child {
    let run = shared().join("run");
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"));
    crate::signals::hears(&mut command)
        .arg("predict")
        .arg(run)
        .args(["-", "--batch", "1"])
        .current_dir(here)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its end, while we still hold its stdin open.
fn ends(child: &mut Child) -> Option<i32> {
    ends_while(child, || {})
}

/// Its end, while something else is done again and again.
fn ends_while(child: &mut Child, mut again: impl FnMut()) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        again();
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it waits for more");
}

#[test]
fn a_list_is_answered_as_it_comes_and_ends_with_its_reader() {
    use std::io::{BufRead, BufReader, Write};
    let dir = tempfile::tempdir().unwrap();
    gallery(dir.path());
    let mut child = waiting(dir.path());
    let mut list = child.stdin.take().unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        list.write_all(b"new/top.png\n").unwrap();
        let mut line = String::new();
        rows.read_line(&mut line).unwrap();
        assert!(line.starts_with("new/top.png\t"), "{line}");
    }
    drop(rows);
    // More than once: a process that another test is just starting has a copy of the reader's end until it is another program.
    let code = ends_while(&mut child, || drop(list.write_all(b"new/top.png\n")));
    assert_eq!(code, Some(0), "a reader that goes away is no error");
}

/// Two images in one batch, each looked at a thousand times.
#[cfg(unix)]
#[test]
fn looking_often_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("one");
    for (k, class) in ["cold", "warm"].into_iter().enumerate() {
        fs::create_dir_all(data.join(class)).unwrap();
        image(k as u64, 2 * k).save(data.join(class).join("1.png")).unwrap();
    }
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"));
    command
        .args(["evaluate", "run", data.to_str().unwrap(), "--tta", "1000", "--cache"])
        .arg(dir.path().join("cache"));
    command.env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap()).current_dir(shared());
    crate::signals::hears(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    use std::io::{BufRead, BufReader};
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // The images are decoded, so that it looks at them now.
    while !line.starts_with("all ") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it has ended");
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(ends(&mut child), Some(130));
}

#[cfg(unix)]
#[test]
fn a_wait_for_stdin_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = waiting(dir.path());
    let list = child.stdin.take().unwrap();
    // Until it listens to signals: it then says on what it computes.
    use std::io::{BufRead, BufReader};
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("device"), "{line}");
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(ends(&mut child), Some(130));
    let rest: Vec<String> = said.lines().map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.contains("stopped by the user")), "{rest:?}");
    drop(list);
}

/// The mean of `views`, as it is defined: in f64.
fn mean(views: &[f32]) -> f32 {
    (views.iter().copied().map(f64::from).sum::<f64>() / views.len() as f64) as f32
}

#[test]
fn an_image_looked_at_more_than_once_gets_the_mean() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let own = image(3, 0);
    let save = |name: &str, image: &RgbImage| image.save(here.join(name)).unwrap();
    save("own.png", &own);
    save("mirror.png", &image::imageops::flip_horizontal(&own));
    save("upside.png", &image::imageops::flip_vertical(&own));
    let mut even = own.clone();
    for (x, y) in (0..16).flat_map(|x| (0..32).map(move |y| (x, y))) {
        even.put_pixel(31 - x, y, *own.get_pixel(x, y));
    }
    save("even.png", &even);
    let files = ["own.png", "mirror.png", "upside.png", "even.png"];
    let with = |more: &[&str]| warm(predict(here).args(files).args(more));
    let p = with(&[]);
    assert!(p[0] != p[1] && p[0] != p[2], "{p:?}: the views differ, or nothing is shown below");
    assert_eq!(with(&["--tta", "1"]), p, "bit for bit");
    assert_eq!(with(&["--tta", "1", "--augment", "book"]), p);

    let flip = with(&["--tta", "flip"]);
    assert_eq!(flip[..2], [mean(&p[..2]); 2], "the mean of both, in either order");
    assert_eq!(flip[3], p[3], "a symmetric image");

    // With upright and upside down to draw from, three looks are 0, 1 or 2 times upside down.
    let mut seen = Vec::new();
    for seed in ["1", "2", "3", "4", "5", "6"] {
        let three = with(&["--tta", "3", "--vertical-flip", "--seed", seed])[0];
        let could = [[0, 0, 0], [0, 0, 2], [0, 2, 2]].map(|views| mean(&views.map(|view| p[view])));
        seen.push(
            could.iter().position(|&could| could == three).unwrap_or_else(|| panic!("{three} of {could:?}")),
        );
    }
    assert!(seen.iter().any(|&n| n != seen[0]), "{seen:?}: the seed decides nothing");

    let book = with(&["--tta", "4"]);
    assert_ne!(book, p);
    assert_eq!(with(&["--tta", "4", "--augment", "book", "--threads", "1"]), book, "the run's own ranges");
    assert_ne!(with(&["--tta", "4", "--seed", "2"]), book);
    let alone = warm(predict(here).args(["even.png", "--tta", "4"]));
    assert_eq!(alone, book[3..], "what is said of an image does not depend on those beside it");
}

#[test]
fn evaluate_keeps_a_row_for_every_image() {
    let here = shared();
    let evaluate = |out: &str, more: &[&str]| {
        let mut command = vgg_ft(here);
        command.args(["evaluate", "run", "two", "--json", "--batch", "16", "-o", out]).args(more);
        let outcome: serde_json::Value = serde_json::from_str(&stdout(&mut command)).unwrap();
        (outcome, fs::read_to_string(here.join(out)).unwrap())
    };
    let figures =
        |outcome: &serde_json::Value| (outcome["confusion"].clone(), outcome["loss"].as_f64().unwrap());
    let (plain, text) = evaluate("plain.csv", &[]);
    let rows = csv(&text);
    assert_eq!(rows[0], ["path", "label", "predicted", "p_cold", "p_warm"]);
    assert_eq!(rows.len(), 1 + 18);
    // The same images through the same weights in batches of the same size.
    let p = warm(vgg_ft(here).args(["predict", "run", "two/validation"]));
    assert_eq!(rows[1..].iter().map(|row| row[4].parse().unwrap()).collect::<Vec<f32>>(), p);
    for (at, row) in rows[1..].iter().enumerate() {
        let class = if at < 9 { "cold" } else { "warm" };
        let path = PathBuf::from("two/validation").join(class).join(format!("{}.png", at % 9));
        assert_eq!((Path::new(&row[0]), row[1].as_str()), (path.as_path(), class));
    }
    let (once, same) = evaluate("once.csv", &["--tta", "1"]);
    assert_eq!((figures(&once), same), (figures(&plain), text.clone()), "bit for bit");

    let check = |outcome: &serde_json::Value, text: &str, threshold: f32| {
        let mut confusion = [[0; 2]; 2];
        let mut loss = 0.0;
        for row in &csv(text)[1..] {
            let [cold, warm] = [3, 4].map(|k| row[k].parse::<f32>().unwrap());
            let [label, predicted] = [1, 2].map(|k| usize::from(row[k] == "warm"));
            assert_eq!(predicted == 1, warm > threshold, "{row:?}");
            confusion[label][predicted] += 1;
            loss -= f64::from([cold, warm][label]).ln() / 18.0;
        }
        assert_eq!(outcome["confusion"], serde_json::json!(confusion));
        // The plain loss comes from logits, in f32: a few parts in 2^24 of each term.
        assert!((outcome["loss"].as_f64().unwrap() - loss).abs() < 1e-6 * loss.max(1.0), "{loss} {outcome}");
    };
    check(&plain, &text, 0.5);
    let (flip, flipped) = evaluate("flip.csv", &["--tta", "flip"]);
    assert_ne!(flipped, text);
    check(&flip, &flipped, 0.5);
    // Between the two in the middle: some fall to either side.
    let mut sorted = p.clone();
    sorted.sort_by(f32::total_cmp);
    let threshold = (sorted[8] + sorted[9]) / 2.0;
    let typed = threshold.to_string();
    let (parted, text) = evaluate("parted.csv", &["--threshold", &typed]);
    check(&parted, &text, threshold);
    assert_eq!(figures(&parted).1, figures(&plain).1, "the loss knows no threshold");
    let said = stdout(vgg_ft(here).args(["predict", "run", "two/validation", "--threshold", &typed]));
    let called = said.lines().filter(|line| line.split('\t').nth(1) == Some("warm")).count();
    assert_eq!(called, 9, "{said}");

    let (_, lines) = evaluate("rows.jsonl", &["--tta", "2"]);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["label"], first["probabilities"].as_object().unwrap().len()), (&"cold".into(), 2));
    let (_, tabs) = evaluate("rows", &["--format", "text"]);
    assert!(tabs.starts_with("two/validation/cold/0.png\tcold\t"), "{tabs}");
    let (_, error) = fails(vgg_ft(here).args(["evaluate", "run", "two", "--format", "csv"]), 2);
    assert!(error.contains("--output"), "{error}");
}
