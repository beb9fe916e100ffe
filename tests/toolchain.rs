//! What `build.rs` does with kernels: embed what is committed, compile what was edited, or say the cure.
//!
//! Runs the build script's own code on a small tree of its own; the compiler itself only where
//! `scripts/cuda-toolchain` has installed it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "support/skip.rs"]
mod skip;

#[path = "../build/mod.rs"]
mod build;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vgg_ft::device::gpu::module::MODULES;

const PTX: &str = "\
.version 7.0
.target sm_75
.address_size 64
.visible .entry relu_forward(
	.param .u32 relu_forward_param_0,
	.param .u64 relu_forward_param_1
)
.maxntid 256
{
	ret;
}
";

const SOURCE: &str = r#"#include "common.cuh"
#include <cuda_fp16.h>
extern "C" __global__ void __launch_bounds__(256) relu_forward(unsigned n, float* x) { x[n] = WORTH; }
"#;

/// A repository with one kernel whose PTX is up to date.
fn repository() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("kernels/ptx")).unwrap();
    fs::create_dir(root.path().join("out")).unwrap();
    let mut manifest = "# compiler: nvcc\n".to_owned();
    for (path, text) in [
        ("kernels/common.cuh", "#define WORTH 1.0f\n"),
        ("kernels/relu.cu", SOURCE),
        ("kernels/ptx/relu.sm_75.ptx", PTX),
    ] {
        fs::write(root.path().join(path), text).unwrap();
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        manifest += &format!("{hash}  {path}\n");
    }
    fs::write(root.path().join("kernels/ptx/MANIFEST"), manifest).unwrap();
    root
}

fn run(root: &Path, vars: &[(&str, &Path)]) -> Result<(build::Made, String), String> {
    let var = |name: &str| {
        vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value.as_os_str()))
    };
    let made = build::run(&build::Place { root: root.to_owned(), out: root.join("out"), var: &var })?;
    Ok((made, fs::read_to_string(root.join("out/kernels.rs")).unwrap()))
}

fn edit(root: &Path, path: &str, text: &str) {
    fs::write(root.join(path), text).unwrap();
}

#[test]
fn the_committed_text_goes_in_without_a_compiler() {
    let root = repository();
    let (made, table) = run(root.path(), &[]).unwrap();
    for part in [
        r#"name: "relu""#,
        r#"target: "sm_75""#,
        r#"include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/ptx/relu.sm_75.ptx"))"#,
        "canonical: true",
        r#"Entry { name: "relu_forward", params: &[Param { size: 4, align: 4 }, Param { size: 8, align: 8 }]"#,
        "max_threads: Some(256), static_shared: 0, awaits: false",
    ] {
        assert!(table.contains(part), "no `{part}` in\n{table}");
    }
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    // A PATH that changes must not rebuild what does not depend on it; an edited header must.
    assert!(made.watch_env.is_empty(), "{:?}", made.watch_env);
    for path in
        ["kernels/relu.cu", "kernels/common.cuh", "kernels/ptx/relu.sm_75.ptx", "kernels/ptx/MANIFEST"]
    {
        assert!(made.watch.iter().any(|watched| watched == path), "{path} is not watched");
    }
}

#[test]
fn an_edited_kernel_without_a_compiler_stops_with_the_cure() {
    let cases: [(&str, Option<&str>, &str); 5] = [
        ("kernels/relu.cu", Some("// edited\n"), "kernels/relu.cu changed"),
        ("kernels/common.cuh", Some("#define WORTH 2.0f\n"), "kernels/common.cuh changed"),
        ("kernels/gelu.cu", Some("// new\n"), "kernels/gelu.cu is new"),
        ("kernels/ptx/relu.sm_75.ptx", Some("// by hand\n"), "kernels/ptx/relu.sm_75.ptx is not what"),
        ("kernels/ptx/relu.sm_75.ptx", None, "kernels/ptx/relu.sm_75.ptx is missing"),
    ];
    for (path, text, said) in cases {
        let root = repository();
        match text {
            Some(text) => edit(root.path(), path, text),
            None => fs::remove_file(root.path().join(path)).unwrap(),
        }
        let error = run(root.path(), &[]).unwrap_err();
        assert!(error.starts_with(said), "expected `{said}`, got `{error}`");
        assert!(error.contains("\n  help: run scripts/cuda-toolchain"), "{error}");
        assert_eq!(error.lines().count(), 3, "{error}");
    }
}

#[test]
fn a_new_target_and_a_wrong_nvcc_are_told_apart() {
    let root = repository();
    edit(root.path(), "kernels/relu.cu", &format!("// targets: sm_75 sm_80\n{SOURCE}"));
    let error = run(root.path(), &[("CUDA_HOME", Path::new("/nowhere"))]).unwrap_err();
    assert!(error.contains("CUDA_HOME (/nowhere/bin/nvcc"), "{error}");
    let error = run(root.path(), &[("NVCC", Path::new("/nowhere/nvcc"))]).unwrap_err();
    assert!(error.contains("NVCC is set, but there is no /nowhere/nvcc"), "{error}");
}

#[test]
fn no_kernels_make_an_empty_table() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("out")).unwrap();
    let (_, table) = run(root.path(), &[]).unwrap();
    assert!(table.contains("MODULES: &[Module] = &[\n];"), "{table}");
}

#[test]
fn a_damaged_manifest_is_named_with_its_line() {
    let root = repository();
    edit(root.path(), "kernels/ptx/MANIFEST", "# compiler: nvcc\n<<<<<<< HEAD\n");
    let error = run(root.path(), &[]).unwrap_err();
    assert!(error.starts_with("kernels/ptx/MANIFEST:2:"), "{error}");
}

#[test]
fn an_edited_kernel_with_a_compiler_is_built_and_marked() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join(".toolchain/cuda-13.0/nvidia/cu13");
    if !home.join("bin/nvcc").is_file() {
        skipped!("scripts/cuda-toolchain has not been run");
        return;
    }
    let root = repository();
    edit(root.path(), "kernels/common.cuh", "#define WORTH 2.0f\n");
    let (made, table) = run(root.path(), &[("CUDA_HOME", &home)]).unwrap();
    assert!(table.contains("canonical: false"), "{table}");
    assert_eq!(made.warnings.len(), 1);
    assert!(made.warnings[0].starts_with("kernels/common.cuh changed: kernels/relu.cu was compiled by"));
    assert!(made.watch_env.contains(&"NVCC"));
    let text = fs::read_to_string(root.path().join("out/relu.sm_75.ptx")).unwrap();
    assert!(text.contains(".version 7.0\n"), "the version was not lowered:\n{text}");
    assert!(text.contains("\"kernels/relu.cu\""), "the path was not shortened:\n{text}");

    edit(root.path(), "kernels/relu.cu", "this is not a kernel\n");
    let error = run(root.path(), &[("CUDA_HOME", &home)]).unwrap_err();
    assert!(error.contains("kernels/relu.cu(1): error"), "{error}");
}

/// Cargo watches files, not the folder: a kernel file of which this build knows nothing must not pass.
#[test]
fn every_kernel_file_is_in_this_build() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut count = 0;
    for (folder, before) in [(kernels.clone(), ""), (kernels.join("ladder"), "ladder/")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "cu") {
                let name = format!("{before}{}", path.file_stem().unwrap().to_str().unwrap());
                assert!(
                    MODULES.iter().any(|module| module.name == name),
                    "{name}.cu is new: run scripts/ptx"
                );
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}
