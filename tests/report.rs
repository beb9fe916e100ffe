//! What people look at after a run: the report has its parts, is written anew, follows the reader's theme in a
//! real browser, and never fails a run; TensorBoard's files and `compare` say what the history says.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::train::History;
use vgg_ft::weights::find_default;

fn vgg_ft(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
        .current_dir(dir);
    command
}

fn output(command: &mut Command) -> [String; 2] {
    let output = command.assert().success().get_output().clone();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Noise without a class in it, so that about half is called wrongly whatever is learned.
fn draw(data: &Path, splits: &[(&str, usize)]) {
    let mut draws = Draws::new(3, Stream::Demo, 0);
    for (split, n) in splits {
        for class in ["a&b", "plain"] {
            let dir = data.join(split).join(class);
            fs::create_dir_all(&dir).unwrap();
            for i in 0..*n {
                let mut image = image::RgbImage::new(40, 36);
                image.pixels_mut().for_each(|pixel| pixel.0 = [0; 3].map(|_: u8| draws.below(256) as u8));
                image.save(dir.join(format!("{i}.png"))).unwrap();
            }
        }
    }
}

const SMALL: [&str; 8] = ["--size", "32", "--units", "8", "--head-epochs", "2", "--epochs", "1"];

/// A finished run in `dir/run` on `dir/data`.
fn finetune(dir: &Path, splits: &[(&str, usize)]) -> [String; 2] {
    draw(&dir.join("data"), splits);
    output(vgg_ft(dir).args(["finetune", "data", "-o", "run"]).args(SMALL))
}

/// The text between the tags of the section called `id`.
fn section<'a>(html: &'a str, id: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("<section id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
    rest.split_once("</section>").unwrap().0
}

const SECTIONS: [&str; 7] =
    ["curves", "classes", "roc", "mistakes", "timings", "configuration", "environment"];

/// Fields of a protobuf message: number, and a varint or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, taken) = match key & 7 {
            0 => (varint(&mut bytes), 0),
            1 => (0, 8),
            2 => (0, varint(&mut bytes) as usize),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        let (part, rest) = bytes.split_at(taken);
        all.push((key >> 3, number, part));
        bytes = rest;
    }
    all
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let (number, rest) = bytes.split_at(end + 1);
    *bytes = rest;
    number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

/// Step, tag and value of every scalar of an event file: records of a length, four bytes of checksum, an `Event` (step 2,
/// summary 5: values 1 of tag 1 and simple_value 2; tensorflow/core/util/event.proto), four bytes.
fn scalars(mut file: &[u8]) -> Vec<(u64, String, f32)> {
    let mut all = Vec::new();
    while !file.is_empty() {
        let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let event = fields(&file[12..12 + len]);
        file = &file[16 + len..];
        let step = event.iter().find(|field| field.0 == 2).map_or(0, |field| field.1);
        for summary in event.iter().filter(|field| field.0 == 5) {
            for value in fields(summary.2) {
                let value = fields(value.2);
                let of = |number| value.iter().find(|field| field.0 == number).unwrap().2;
                let tag = String::from_utf8(of(1).to_vec()).unwrap();
                all.push((step, tag, f32::from_le_bytes(of(2).try_into().unwrap())));
            }
        }
    }
    all
}

#[test]
fn a_run_ends_with_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let [stdout, _] = finetune(here, &[("train", 8), ("validation", 6), ("test", 5)]);
    assert!(stdout.contains("report     run/report.html"), "{stdout}");
    let html = fs::read_to_string(here.join("run/report.html")).unwrap();
    SECTIONS.iter().for_each(|id| assert!(!section(&html, id).is_empty()));
    assert!(section(&html, "classes").contains("On the test images"));
    assert!(section(&html, "classes").contains("the run's own evaluation"), "predictions are reused");
    assert!(section(&html, "classes").contains("<th>a&amp;b</th>"));
    assert!(section(&html, "roc").contains("AUC <b>") && section(&html, "roc").contains("calibration error"));
    let mistakes = section(&html, "mistakes");
    let shown = mistakes.matches("<figure>").count();
    assert!(shown > 0 && mistakes.contains("Grad-CAM at block5_conv3"), "{mistakes}");
    assert_eq!(mistakes.matches("src=\"data:image/jpeg;base64,").count(), 2 * shown, "each with its map");
    assert!(section(&html, "configuration").contains("[network]"));
    let config = fs::read_to_string(here.join("run/run.toml")).unwrap();
    let base = config.lines().find_map(|line| line.strip_prefix("base_weights = ")).unwrap();
    assert!(section(&html, "environment").contains(base.trim_matches('"')));
    let without = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!without.contains("http") && !html.contains("<script"), "the page needs nothing from elsewhere");

    let curves = image::open(here.join("run/curves.png")).unwrap();
    assert_eq!((curves.width(), curves.height()), (1600, 1200));
    let history = History::load(&here.join("run/history.csv")).unwrap();
    assert!(!history.epochs.is_empty());
    for part in ["train", "validation"] {
        let events: Vec<_> = fs::read_dir(here.join("run/tensorboard").join(part)).unwrap().collect();
        assert_eq!(events.len(), 1, "{part}");
        let mut want = Vec::new();
        for (step, epoch) in history.epochs.iter().enumerate() {
            let figures = if part == "train" {
                vec![("loss", epoch.loss), ("accuracy", epoch.accuracy), ("learning_rate", epoch.rate)]
            } else {
                vec![("loss", epoch.val_loss.unwrap()), ("accuracy", epoch.val_accuracy.unwrap())]
            };
            want.extend(figures.into_iter().map(|(tag, v)| (step as u64, format!("epoch_{tag}"), v as f32)));
        }
        assert_eq!(scalars(&fs::read(events[0].as_ref().unwrap().path()).unwrap()), want, "{part}");
    }

    // Anew on another split, from the images; when they are gone, without, but not in the place of one with.
    let [stdout, _] =
        output(vgg_ft(here).args(["report", "run", "--split", "validation", "--force", "--json"]));
    let said: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&said["split"], &said["images"]), (&"validation".into(), &12.into()));
    assert_eq!((&said["path"], &said["skipped"]), (&"run/report.html".into(), &serde_json::json!([])));
    let again = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(section(&again, "classes").contains("made anew"));
    fs::rename(here.join("data"), here.join("moved")).unwrap();
    let refused = vgg_ft(here).args(["report", "run"]).assert().code(2);
    let stderr = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(
        stderr.contains("would lose the predictions") && stderr.contains("vgg-ft report run DATA --force"),
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(here.join("run/report.html")).unwrap(), again);
    let [_, stderr] = output(vgg_ft(here).args(["report", "run", "-o", "bare.html"]));
    assert!(stderr.contains("is gone"), "{stderr}");
    let bare = fs::read_to_string(here.join("bare.html")).unwrap();
    assert!(section(&bare, "verdict").contains("There are no predictions"));
    // The run's own page is not lost to other images.
    let refused = vgg_ft(here).args(["report", "run", "moved"]).assert().code(2);
    let stderr = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(stderr.contains("report.html would be lost") && stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(here.join("run/report.html")).unwrap(), again);
    let [_, _] = output(vgg_ft(here).args(["report", "run", "moved", "--force"]));
    let moved = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(section(&moved, "classes").contains("On the test images"));

    // Side by side.
    let [stdout, _] = output(vgg_ft(here).args(["compare", "run", "run", "-o", "both.svg"]));
    assert!(stdout.contains("classifier 2@2e-5, block5_conv1 1@1e-5"), "{stdout}");
    let [stdout, _] = output(vgg_ft(here).args(["compare", "run", "-o", "one.png", "--json"]));
    let said: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let history = History::load(&here.join("run/history.csv")).unwrap();
    assert_eq!(said["runs"][0]["val_loss"].as_f64(), history.epochs[2].val_loss);
    assert!(fs::read_to_string(here.join("both.svg")).unwrap().starts_with("<svg"));
    assert!(image::open(here.join("one.png")).is_ok());
    vgg_ft(here).args(["compare", "run", "-o", "curves.pdf"]).assert().code(2);
    vgg_ft(here).args(["compare", "data"]).assert().code(2);
    browse(here);
}

#[test]
fn features_give_a_report_and_what_stands_in_its_way_is_a_remark() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 6), ("validation", 5)]);
    output(vgg_ft(here).args(["extract", "data", "-o", "features", "--size", "32"]));
    let fit = ["fit", "features", "--epochs", "2", "--units", "8"];
    output(vgg_ft(here).args(fit).args(["-o", "a"]));
    let html = fs::read_to_string(here.join("a/report.html")).unwrap();
    assert!(section(&html, "classes").contains("On the validation images"));
    assert!(section(&html, "classes").contains("kept activations"));
    assert!(section(&html, "mistakes").contains("class=\"cam\""), "images are found beside the features");
    output(vgg_ft(here).args(["report", "a"]));
    assert_eq!(
        fs::read_to_string(here.join("a/report.html")).unwrap(),
        html,
        "the same from the saved network"
    );

    // Its data are features, and so called.
    fs::rename(here.join("features"), here.join("away")).unwrap();
    let refused = vgg_ft(here).args(["report", "a"]).assert().code(2).get_output().stderr.clone();
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("features, the features of the run"), "{refused}");
    fs::rename(here.join("away"), here.join("features")).unwrap();

    // A folder of that name: the run is whole all the same.
    fs::create_dir_all(here.join("b/report.html/x")).unwrap();
    let [_, stderr] = output(vgg_ft(here).args(fit).args(["-o", "b"]));
    assert!(stderr.contains("the run is whole, but its report could not be written"), "{stderr}");
    assert!(here.join("b/run.toml").exists());
}

/// The page in a browser, in both themes: its ground is the theme's, and there is something on it.
fn browse(here: &Path) {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|p| p.is_file());
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find) else {
        skipped!("the report in a browser, since there is no chromium");
        return;
    };
    let page = here.join("run/report.html").canonicalize().unwrap();
    for (scheme, ground) in [("1", [255, 255, 255]), ("0", [0x15, 0x18, 0x1d])] {
        let image: PathBuf = here.join(format!("page-{scheme}.png"));
        let status = std::process::Command::new(&browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--window-size=1100,2000",
            ])
            .arg(format!("--user-data-dir={}", here.join("browser").display()))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--screenshot={}", image.display()))
            .arg(format!("file://{}", page.display()))
            .stderr(std::process::Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) || !image.exists() {
            skipped!("the report in a browser, since {} does not run here", browser.display());
            return;
        }
        let shot = image::open(&image).unwrap().into_rgb8();
        assert_eq!(shot.get_pixel(3, 3).0, ground, "the ground of scheme {scheme}");
        let inked = shot.pixels().filter(|pixel| pixel.0 != ground).count();
        assert!(inked > 100_000, "{inked} pixels of the page are not empty");
    }
}
