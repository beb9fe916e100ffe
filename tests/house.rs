//! The order of the house: a module uses only modules that stand below it in `lib.rs`.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Modules in the order of `lib.rs`, top of the house first.
fn order() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect()
}

/// The modules that a line names: `use crate::{a::X, b}` and paths inside code alike.
fn modules_named(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let order = order();
    assert_eq!(order.first().map(String::as_str), Some("cli"), "lib.rs lists the modules from the top");
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let mut checked = 0;
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(source()).unwrap();
        let own = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let Some(own_place) = place(own) else { continue };
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            for name in modules_named(line) {
                if let Some(used) = place(&name) {
                    checked += 1;
                    if used < own_place {
                        wrong.push(format!("{}:{}: {}", relative.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} uses were found: has the search rotted?");
    assert!(wrong.is_empty(), "these look up the stairs:\n{}", wrong.join("\n"));
}

/// Cargo looks for none by itself: a file that nobody names would pass by not being there.
#[test]
fn every_file_of_tests_is_in_a_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut named: Vec<String> = Vec::new();
    let mut programs = 0;
    for line in manifest.lines() {
        let Some(path) = line.strip_prefix("path = \"tests/").and_then(|rest| rest.strip_suffix('"')) else {
            continue;
        };
        programs += 1;
        let text = fs::read_to_string(root.join("tests").join(path)).unwrap();
        let modules = text.lines().filter_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        named.extend(modules.map(str::to_owned));
        named.push(path.to_owned());
    }
    assert!(programs >= 7, "{programs} programs of tests");
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = if path.join("main.rs").is_file() { format!("{name}/main.rs") } else { name.to_owned() };
        if file.ends_with(".rs") {
            assert!(
                named.contains(&file),
                "tests/{file} is in no program: name it in tests/program.rs or beside"
            );
        }
    }
}

#[test]
fn the_search_sees_groups_and_paths() {
    assert_eq!(modules_named("use crate::{error::Result, shape};"), ["error", "shape"]);
    assert_eq!(modules_named("    crate::files::create_dir(x)"), ["files"]);
    assert!(modules_named("// use crate::cli;").is_empty());
}

/// How many variants an enum has whose variants with fields stand at four spaces.
fn variants(file: &str, begins: &str) -> usize {
    let text = fs::read_to_string(source().join(file)).unwrap();
    let body = text.split_once(begins).unwrap().1.split_once("\n}").unwrap().0;
    body.lines().filter(|line| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase)).count()
}

/// One name from top to bottom: what `Call::name` says is a function of the cpu device. That it has rows of the table of
/// cases: kernels::every_call_has_cases; that it has an entry: device::gpu::tests.
#[test]
fn every_call_has_its_name_on_the_cpu() {
    let calls = fs::read_to_string(source().join("device/call/name.rs")).unwrap();
    let names: Vec<&str> = calls
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""))
        .map(|(_, name)| name.trim_end_matches("\","))
        .collect();
    assert_eq!(names.len(), variants("device/call.rs", "pub enum Call<'a> {"), "{names:?}");
    let mut files = Vec::new();
    rust_files(&source().join("device/cpu"), &mut files);
    let cpu: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for name in names {
        let is_there = ["(", "<"].iter().any(|end| cpu.contains(&format!("fn {name}{end}")));
        assert!(is_there, "the cpu device has no function `{name}`");
    }
}
