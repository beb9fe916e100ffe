//! The kernel files, what they include, and whether the manifest still describes them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where `scripts/ptx` writes down the hashes: lines as of `sha256sum`, paths from the root.
pub const MANIFEST: &str = "kernels/ptx/MANIFEST";

/// A `.cu` file.
pub struct Kernel {
    /// From the root: "kernels/dense.cu".
    pub path: String,
    /// From `kernels/`, without the ending: "dense".
    pub name: String,
    /// What to compile for: its line `// targets: sm_75 sm_80`, or sm_75.
    pub targets: Vec<String>,
    /// Itself and all files of ours that it includes, from the root.
    pub sources: Vec<String>,
}

impl Kernel {
    fn read(root: &Path, path: &Path) -> Result<Self, String> {
        let path = slashes(path);
        let content = text(root, &path)?;
        let mut targets: Vec<String> = content
            .lines()
            .filter_map(|line| line.strip_prefix("//")?.trim_start().strip_prefix("targets:"))
            .flat_map(|words| words.split_whitespace().map(str::to_owned))
            .collect();
        if targets.is_empty() {
            targets.push("sm_75".into());
        }
        let mut sources = Vec::new();
        include(root, &path, &mut sources)?;
        sources.sort();
        let name = path.trim_start_matches("kernels/").trim_end_matches(".cu").to_owned();
        Ok(Self { path, name, targets, sources })
    }

    /// Where the committed PTX is.
    pub fn ptx(&self, target: &str) -> String {
        format!("kernels/ptx/{}.{target}.ptx", self.name)
    }

    /// What is not as the manifest says, in words; nothing if the committed PTX is good.
    pub fn changes(&self, root: &Path, manifest: &Manifest) -> Result<Vec<String>, String> {
        let mut changes = Vec::new();
        for path in &self.sources {
            match manifest.hash(path) {
                None => changes.push(format!("{path} is new")),
                Some(hash) if hash != sha256(&bytes(root, path)?) => changes.push(format!("{path} changed")),
                Some(_) => {}
            }
        }
        for path in self.targets.iter().map(|target| self.ptx(target)) {
            match manifest.hash(&path) {
                None if changes.is_empty() => changes.push(format!("{path} was never made")),
                Some(_) if !root.join(&path).is_file() => changes.push(format!("{path} is missing")),
                Some(hash) if hash != sha256(&bytes(root, &path)?) => {
                    changes.push(format!("{path} is not what {MANIFEST} says"));
                }
                _ => {}
            }
        }
        Ok(changes)
    }
}

/// All kernel files in the order of their paths.
pub fn kernels(root: &Path) -> Result<Vec<Kernel>, String> {
    let mut paths = Vec::new();
    for folder in ["kernels", "kernels/ladder"] {
        // A folder that is not there holds no kernels.
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let entry = entry.map_err(|error| format!("cannot list {folder}: {error}"))?;
            let path = Path::new(folder).join(entry.file_name());
            if path.extension().is_some_and(|extension| extension == "cu") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Kernel::read(root, path)).collect()
}

/// Adds `path` and what it includes to `seen`. Text only: a header behind an `#if` counts.
fn include(root: &Path, path: &str, seen: &mut Vec<String>) -> Result<(), String> {
    if seen.iter().any(|known| known == path) {
        return Ok(());
    }
    seen.push(path.to_owned());
    let content = text(root, path)?;
    let names = content.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?;
        rest.trim_start().strip_prefix('"')?.split('"').next()
    });
    for name in names {
        let beside = Path::new(path).parent().unwrap_or(Path::new("")).join(name);
        let found = [beside, Path::new("kernels").join(name)].into_iter().map(|at| slashes(&at));
        // What is nowhere is not ours; nvcc knows it or says so.
        if let Some(found) = found.into_iter().find(|at| root.join(at).is_file()) {
            include(root, &found, seen)?;
        }
    }
    Ok(())
}

/// The path with slashes and without `a/..`, as the manifest has it.
fn slashes(path: &Path) -> String {
    let mut out: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    out.join("/")
}

/// Paths and their hashes.
pub struct Manifest(Vec<(String, String)>);

impl Manifest {
    /// A manifest that is not there says nothing of any file.
    pub fn read(root: &Path) -> Result<Self, String> {
        if !root.join(MANIFEST).is_file() {
            return Ok(Self(Vec::new()));
        }
        let content = text(root, MANIFEST)?;
        let mut lines = Vec::new();
        for (at, line) in content.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            match line.split_once("  ") {
                Some((hash, path)) if hash.len() == 64 => lines.push((path.to_owned(), hash.to_owned())),
                _ => {
                    let at = at + 1;
                    return Err(format!(
                        "{MANIFEST}:{at}: expected a hash and a path\n  got   {line}\n  help: \
                         `git checkout {MANIFEST}`, or make it again with scripts/ptx"
                    ));
                }
            }
        }
        Ok(Self(lines))
    }

    fn hash(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, hash)| hash.as_str())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The file at `path`, which is from the root.
pub fn text(root: &Path, path: &str) -> Result<String, String> {
    String::from_utf8(bytes(root, path)?).map_err(|_| format!("{path} is not UTF-8 text"))
}

fn bytes(root: &Path, path: &str) -> Result<Vec<u8>, String> {
    let full: PathBuf = root.join(path);
    fs::read(&full).map_err(|error| format!("cannot read {path}: {error}"))
}
