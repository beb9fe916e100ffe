//! Real bits for the emulator: every form of `tests/ptx/forms` through the cuda device, on its own input, on
//! which it has expected results, and the tables on random words too.
//!
//! A GPU's results are written to `VGG_FT_PTX_JSON`, one row a line, to be committed as
//! `tests/ptx/card/CARD-DATE.jsonl`; from then on the emulator is compared with them. Where there is no GPU
//! the forms go through the libcuda of `tests/libcuda`. Each file of forms runs in a process of its own:
//! after a fault nothing else would run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::form;
use crate::machine;
use crate::rows;

use form::all;
use rows::{Bits, Line};
use std::path::PathBuf;
use std::process::Command;
use vgg_ft::device::gpu::cuda;
use vgg_ft::device::gpu::emulator::Tensor;

/// A file of forms, for a child.
const FILE: &str = "VGG_FT_PTX_FILE";
/// Where the rows go.
const JSON: &str = "VGG_FT_PTX_JSON";

/// Whether to use the GPU; if not, where the stand-in lies.
fn stand_in() -> Option<PathBuf> {
    let asked = std::env::var("VGG_FT_TEST_DEVICES").unwrap_or_default();
    if asked != "emulator" && cuda::find().and_then(|found| found.first().map(|_| ())).is_ok() {
        return None;
    }
    assert!(!asked.split(',').any(|name| name == "cuda"), "VGG_FT_TEST_DEVICES asks for a GPU");
    let beside = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples");
    assert!(beside.join("libcuda.so").is_file(), "cargo build --release --example cuda");
    Some(beside)
}

#[test]
fn every_form_gives_on_the_card_what_the_isa_says() {
    let here = module_path!().split_once("::").map_or_else(String::new, |(_, module)| format!("{module}::"));
    let stand_in = stand_in();
    let scratch = tempfile::tempdir().unwrap();
    let (mut lines, mut wrong) = (String::new(), Vec::new());
    for (file, _) in all() {
        let rows = scratch.path().join(format!("{file}.jsonl"));
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &format!("{here}inner::one_file"), "--ignored", "--nocapture"]);
        child.env(FILE, &file).env(JSON, &rows);
        if let Some(folder) = &stand_in {
            child.env("LD_LIBRARY_PATH", folder).env_remove("VGG_FT_FAKE_CUDA");
        }
        let output = child.output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        said.lines().filter(|line| line.starts_with(&file)).for_each(|line| println!("{line}"));
        if !output.status.success() || !said.contains("1 passed") {
            wrong.push(format!("{file}:\n{said}"));
        }
        // What was measured before a fault counts too; the first line says of which GPU.
        let text = std::fs::read_to_string(&rows).unwrap_or_default();
        let rest = if lines.is_empty() { 0 } else { text.find('\n').map_or(text.len(), |at| at + 1) };
        lines.push_str(&text[rest..]);
    }
    if let Some(path) = std::env::var_os(JSON) {
        std::fs::write(path, &lines).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(lines.lines().count() > 700, "only {} rows", lines.lines().count());
    // The GPU's file is one that the comparison below can read.
    let (_, told) = compare(&lines);
    assert!(stand_in.is_none() || told.is_empty(), "the stand-in is the emulator: {told:?}");
    let damaged = ["bits", "sha256"].iter().fold(lines.clone(), |text, kind| {
        text.replacen(&format!("\"{kind}\":\""), &format!("\"{kind}\":\"00"), 1)
    });
    assert_eq!(compare(&damaged).1.len(), told.len() + 2, "what was damaged is found");
}

/// Where the emulator differs from the rows of a GPU.
fn compare(text: &str) -> (usize, Vec<String>) {
    let mut lines = text.lines();
    let card: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let tensor = match card["tensor"].as_str().unwrap() {
        "hopper" => Tensor::Hopper,
        "ampere" => Tensor::Ampere,
        _ => Tensor::Fast,
    };
    let mut known: Vec<Line> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut count, mut wrong) = (0, Vec::new());
    for (file, text) in all() {
        for mine in rows::emulated(&file, &text, tensor) {
            let at = known.iter().position(|line| line.key() == mine.line.key());
            // A form that was written later than the GPU was asked.
            let Some(at) = at else { continue };
            let line = known.remove(at);
            count += 1;
            if line.approximate() {
                continue;
            }
            let same = match &line.bits {
                Bits::Bits(bits) => mine.meets(bits),
                Bits::Sha256(hash) => *hash == mine.hash(),
            };
            if !same {
                wrong.push(format!("{file}: {} {} (seed {:?})", line.entry, line.row, line.seed));
            }
        }
    }
    (count, wrong)
}

#[test]
fn the_emulator_gives_the_bits_of_every_card() {
    let folder = machine::folder("card");
    let files = if folder.is_dir() { machine::files(&folder, "jsonl") } else { Vec::new() };
    if files.is_empty() {
        skipped!("tests/ptx/card holds no GPU's bits yet (.gpu/check writes ptx_forms.jsonl)");
    }
    for (name, text) in files {
        let (count, wrong) = compare(&text);
        // Names that no longer match would leave nothing to compare.
        assert!(
            count > 2000,
            "{name}: {count} of {} lines are those of forms that are here",
            text.lines().count()
        );
        assert!(wrong.is_empty(), "{name}: {} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// What runs in a child.
mod inner {
    use super::rows;
    use super::{FILE, JSON, all};
    use std::fmt::Write as _;

    #[test]
    #[ignore = "started by another test, for one file"]
    fn one_file() {
        let wanted = std::env::var(FILE).unwrap();
        let (file, text) = all().into_iter().find(|(file, _)| *file == wanted).unwrap();
        let found = rows::measured(&file, &text);
        let mut lines = format!("{}\n", found.card);
        for line in &found.lines {
            writeln!(lines, "{}", serde_json::to_string(line).unwrap()).unwrap();
        }
        std::fs::write(std::env::var_os(JSON).unwrap(), lines).unwrap();
        if let Some(skipped) = &found.skipped {
            println!("\n{file}: skipped: {skipped}");
        }
        println!(
            "\n{file}: {} rows, {} of .approx differ from the nearest number, by up to {} in the last place",
            found.lines.len(),
            found.approximate,
            found.places
        );
        assert!(found.wrong.is_empty(), "{} differ\n{}", found.wrong.len(), found.wrong.join("\n"));
    }
}
