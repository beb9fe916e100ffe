//! Finding an `nvcc` and compiling one file with it, for builds with an edited kernel.
//!
//! `scripts/ptx` does the same with the pinned compiler, assembles, and writes what is committed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Place;
use super::sources::Kernel;

/// What decides which compiler is taken and what it does.
pub const VARIABLES: [&str; 7] =
    ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"];

/// As in `scripts/ptx`.
const FLAGS: [&str; 6] = ["-ptx", "-O3", "-std=c++17", "-lineinfo", "-I", "kernels"];

/// The PTX version written into the text: a driver refuses what is newer than itself. As in `scripts/ptx`.
fn oldest_version(target: &str) -> &'static str {
    match target {
        "sm_90a" => "8.1",
        "sm_90" => "7.8",
        _ => "7.0",
    }
}

/// The compiler. What the user names comes first, then what `scripts/cuda-toolchain` installed.
///
/// # Errors
/// If there is none: `changes`, where it was looked for, and the cure.
pub fn find(place: &Place, changes: &str) -> Result<PathBuf, String> {
    let set = |name: &str| (place.var)(name).filter(|value| !value.is_empty());
    let program = format!("nvcc{}", env::consts::EXE_SUFFIX);
    if let Some(named) = set("NVCC") {
        let named = PathBuf::from(named);
        if named.components().count() == 1 || named.is_file() {
            return Ok(named);
        }
        return Err(format!(
            "NVCC is set, but there is no {}\n  help: correct it or unset it",
            named.display()
        ));
    }
    let mut tried = vec!["NVCC (not set)".to_owned()];
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        match set(name).map(|home| PathBuf::from(home).join("bin").join(&program)) {
            Some(at) if at.is_file() => return Ok(at),
            Some(at) => tried.push(format!("{name} ({})", at.display())),
            None => tried.push(format!("{name} (not set)")),
        }
    }
    let own = place.root.join(".toolchain/cuda-13.0/nvidia/cu13/bin").join(&program);
    if own.is_file() {
        return Ok(own);
    }
    let path = set("PATH").unwrap_or_default();
    if let Some(at) = env::split_paths(&path).map(|folder| folder.join(&program)).find(|at| at.is_file()) {
        return Ok(at);
    }
    tried.extend([".toolchain/".to_owned(), "PATH".to_owned()]);
    Err(format!(
        "{changes}, and there is no nvcc to compile it\n  looked at  {}\n  help: run scripts/cuda-toolchain \
         (130 MB, no GPU needed), or set NVCC to an nvcc of CUDA 12 or newer",
        tried.join(", ")
    ))
}

/// Compiles `kernel` for `target` to the file `to`.
///
/// # Errors
/// What the compiler said.
pub fn compile(
    place: &Place,
    nvcc: &Path,
    kernel: &Kernel,
    target: &str,
    to: &Path,
) -> Result<String, String> {
    let mut command = Command::new(nvcc);
    // A relative source in the root, as scripts/ptx does it.
    command.current_dir(&place.root).args(FLAGS);
    command.arg(format!("-arch={}", target.replace("sm_", "compute_")));
    if let Some(host) = (place.var)("NVCC_CCBIN").filter(|host| !host.is_empty()) {
        command.arg("-ccbin").arg(host);
    }
    let doing = format!("compiling {} for {target} with {}", kernel.path, nvcc.display());
    let done = command
        .arg(&kernel.path)
        .arg("-o")
        .arg(to)
        .output()
        .map_err(|error| format!("{doing}: it does not start: {error}"))?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].concat();
        return Err(refusal(&doing, String::from_utf8_lossy(&said).trim()));
    }
    let text = fs::read_to_string(to).map_err(|error| format!("{doing}: no text came out: {error}"))?;
    let text = portable(&text, oldest_version(target), &place.root);
    fs::write(to, &text).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    Ok(text)
}

/// The compiler's complaint, with the cure where we know it.
fn refusal(doing: &str, said: &str) -> String {
    let mut out = format!("{doing} failed");
    for line in said.lines() {
        out.push_str("\n  ");
        out.push_str(line);
    }
    let host = ["host compiler", "host_config.h", "gcc", "cl.exe", "clang"];
    if host.iter().any(|word| said.contains(word)) {
        out.push_str("\n  help: nvcc needs a C++ compiler that it knows: name one with NVCC_CCBIN");
    } else if said.contains("Unsupported gpu architecture") {
        out.push_str("\n  help: this nvcc is too old or too new: run scripts/cuda-toolchain and unset NVCC");
    }
    out
}

/// `text` for drivers as old as possible, and with paths from the root in its `.file` lines.
pub fn portable(text: &str, version: &str, root: &Path) -> String {
    let number = |version: &str| {
        let (major, minor) = version.trim().split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let prefix = format!("\"{}/", root.display());
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line.strip_prefix(".version ").is_some_and(|made| number(made) > number(version)) {
            out.push_str(".version ");
            out.push_str(version);
        } else if line.trim_start().starts_with(".file") {
            out.push_str(&line.replacen(&prefix, "\"", 1));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
