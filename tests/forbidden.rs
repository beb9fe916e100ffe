//! What a machine forbids: said in words and before the long work, and never a silent end.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::cli::{draw, fails, stdout, vgg_ft};

/// A file that outgrows `ulimit -f` would end a process by a signal.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_grow_is_an_error_with_words() {
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("data"), &[("train", 2)]);
    let bin = assert_cmd::cargo::cargo_bin("vgg-ft");
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 8 && exec \"$0\" \"$@\""])
        .arg(bin)
        .args(["augment", "preview", "data", "-o", "sheet.png", "--size", "96", "--augment", "book"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write sheet.png") && error.contains("ulimit -f"), "{error}");
    assert!(!dir.path().join("sheet.png").exists());
}

/// A result that can go nowhere is no reason to judge pictures first.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_refused_before_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"];
    stdout(vgg_ft(here).args(job).args(["--epochs", "0"]));
    // Where not even root makes a file.
    for typed in [
        &["report", "run", "-o", "/proc/page.html"][..],
        &["evaluate", "run", "data", "-o", "/proc/rows.csv"],
        &["predict", "run", "data/train", "-o", "/proc/rows.csv"],
        &["augment", "preview", "data", "-o", "/proc/sheet.png"],
        &["compare", "run", "-o", "/proc/curves.svg"],
        &["export", "run", "-o", "/proc/run.h5"],
    ] {
        let error = fails(vgg_ft(here).args(typed), 1);
        assert!(error.contains("cannot write in /proc") && error.contains("reason"), "{error}");
        // What a job says first of what it works on.
        assert!(!error.contains("picture") && !error.contains("device"), "{typed:?}: {error}");
    }
}
