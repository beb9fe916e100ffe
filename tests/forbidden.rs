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

/// The model is the first large file of a job: what was trained is not lost with it.
#[cfg(target_os = "linux")]
#[test]
fn a_model_that_does_not_fit_is_written_by_resume() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2)]);
    let job = "finetune data -o run --size 32 --units 4 --head-epochs 1 --epochs 0";
    let mut limited = assert_cmd::Command::new("sh");
    // 4 or 8 MiB, as the shell counts; the checkpoint has only what learns.
    let command = format!("ulimit -f 8192; exec \"$0\" {job}");
    limited.args(["-c", &command]).arg(assert_cmd::cargo::cargo_bin("vgg-ft"));
    let weights = vgg_ft::weights::find_default().unwrap().canonicalize().unwrap();
    limited.env("VGG_FT_CACHE", here.join("cache")).env("VGG_FT_WEIGHTS", weights).current_dir(here);
    let error = fails(&mut limited, 1);
    assert!(
        error.contains("model.safetensors")
            && error.contains("kept")
            && error.contains("`vgg-ft resume run` writes it"),
        "{error}"
    );
    assert!(!here.join("run/model.safetensors").exists());
    let said = stdout(vgg_ft(here).args(["resume", "run"]));
    assert!(here.join("run/model.safetensors").exists(), "{said}");
}

/// A result that can go nowhere is no reason to judge images first.
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
        assert!(!error.contains("image") && !error.contains("device"), "{typed:?}: {error}");
    }
}

/// Files are read through maps of memory: what is no longer behind one would be the process' silent end.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_cut_while_it_is_read_is_said_in_words() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    // A tensor of zeros, of which the file says that it has many: sparse, so that reading takes a while and the disk
    // nothing.
    let len = 3u64 << 30;
    let header = format!(
        "{{\"block1_conv1_W\":{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[0,{len}]}}}}",
        len / 4
    );
    let path = dir.path().join("w.safetensors");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + len).unwrap();
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("vgg-ft"))
        .args(["weights", "inspect", "w.safetensors"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    file.set_len(4096).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    if output.status.success() || error.contains("w.safetensors") {
        skipped!("the file was read before, or opened after, it was cut: {error}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("is shorter than it was"), "{error}");
}

/// What a shell hands on as a file can be read once, and a device never ends.
#[cfg(target_os = "linux")]
#[test]
fn a_configuration_may_come_from_a_pipe_and_not_from_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    draw(&here.join("data"), &[("train", 2), ("validation", 1)]);
    let job = ["finetune", "data", "-o", "run", "--size", "32", "--units", "4", "--head-epochs", "1"];
    stdout(vgg_ft(here).args(job).args(["--epochs", "0"]));
    let config = std::fs::read(here.join("run/run.toml")).unwrap();
    stdout(vgg_ft(here).args(["finetune", "--config", "/dev/stdin", "-o", "again"]).write_stdin(config));
    let error = fails(vgg_ft(here).args(["finetune", "data", "--config", "/dev/zero", "-o", "third"]), 1);
    assert!(error.contains("/dev/zero") && error.contains("not a regular file"), "{error}");
}
