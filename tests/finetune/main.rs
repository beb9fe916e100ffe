//! Training as a person lives through it: stopped, killed and taken up again, repeated, diverging, on a full
//! disk; and the whole chapter in one command.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "../support/skip.rs"]
mod skip;

mod from;
#[cfg(unix)]
mod moved;
mod notebook;
mod numbers;
#[path = "../signals.rs"]
mod signals;
mod stopped;

use assert_cmd::Command;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::train::{Epoch, History};
use vgg_ft::weights::{Weights, find_default};

/// `vgg-ft` in `dir`, with a cache of its own.
fn vgg_ft(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("vgg-ft").unwrap();
    command
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir);
    command
}

/// The same, running beside the test.
fn spawn(dir: &Path, args: &[&str]) -> Child {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"));
    signals::hears(&mut command)
        .args(args)
        .env("VGG_FT_CACHE", dir.join("cache"))
        .env("VGG_FT_WEIGHTS", find_default().unwrap().canonicalize().unwrap())
        .env("RUST_BACKTRACE", "0")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Stdout and stderr of a command that must succeed.
fn succeeds(dir: &Path, args: &[&str]) -> (String, String) {
    let output = vgg_ft(dir).args(args).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The error of a command that must fail with `code`: one, and no panic.
fn fails(dir: &Path, args: &[&str], code: i32) -> String {
    let output = vgg_ft(dir).args(args).assert().code(code).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.stdout.is_empty(),
        "on failure stdout is empty: {:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(!text.contains("panicked"), "{text}");
    let errors = ["error:", "\"error\":"].map(|word| text.matches(word).count());
    assert_eq!(errors.iter().sum::<usize>(), 1, "{text}");
    text
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "kill {name}");
}

/// Looks every few milliseconds until `ready`, as long as `child` runs.
fn wait_until(child: &mut Child, mut ready: impl FnMut() -> bool) {
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "the process ended too early");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Noisy 40x36 images, reddish `warm/` and bluish `cold/`, so many of both in every split.
fn draw(data: &Path, splits: &[(&str, [usize; 2])]) {
    let mut draws = Draws::new(1, Stream::Demo, 0);
    for (split, counts) in splits {
        for ((class, lift), n) in [("cold", 2), ("warm", 0)].into_iter().zip(counts) {
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

/// All numbers of a safetensors file, bit by bit.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let weights = Weights::open(path).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    let bits = |name: &String| {
        let shape = weights.shape(name).unwrap().to_vec();
        weights.tensor(name, &shape).unwrap().iter().map(|value| value.to_bits()).collect()
    };
    names.iter().map(|name| (name.clone(), bits(name))).collect()
}

/// The epochs of a run; seconds, which no two runs share, are taken out.
fn history(run: &Path) -> Vec<Epoch> {
    let epochs = History::load(&run.join("history.csv")).unwrap().epochs;
    epochs.into_iter().map(|epoch| Epoch { seconds: 0.0, ..epoch }).collect()
}

/// Two runs are the same, to the last bit.
fn assert_same(run: &Path, other: &Path) {
    assert_eq!(history(run), history(other), "{} and {}", run.display(), other.display());
    let [mine, others] = [run, other].map(|run| tensors(&run.join("model.safetensors")));
    for (name, bits) in &mine {
        assert!(bits == &others[name], "{name} of {} and {}", run.display(), other.display());
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What lies in a finished run.
const WHOLE: [&str; 5] = ["curves.svg", "history.csv", "history.jsonl", "model.safetensors", "run.toml"];

fn assert_whole(run: &Path) {
    let there = names(run);
    for name in WHOLE {
        assert!(there.iter().any(|other| other == name), "{name} is missing: {there:?}");
    }
    let remains: Vec<_> = there
        .iter()
        .filter(|name| {
            name.contains("partial") || ["job.toml", "checkpoint.safetensors"].contains(&name.as_str())
        })
        .collect();
    assert!(remains.is_empty(), "{remains:?}");
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn here(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().to_owned()
}
