//! From `kernels/` to the table that the library includes.
//!
//! A kernel file whose sources and PTX are what the manifest says goes in as committed; that needs no
//! CUDA. Any other is compiled if there is an `nvcc`, and the build stops with the cure if there is none:
//! never an empty PTX, never a stale one.

mod nvcc;
mod ptx;
mod sources;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sources::{Kernel, Manifest};

/// What a build may look at.
pub struct Place<'a> {
    /// The repository.
    pub root: PathBuf,
    /// Where generated files go.
    pub out: PathBuf,
    /// An environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
}

/// What a build has to say besides the files that it wrote.
#[derive(Debug, Default)]
pub struct Made {
    /// Files that it read, from the root.
    pub watch: Vec<String>,
    /// Variables that it read. None while all PTX is the committed: then they change nothing.
    pub watch_env: Vec<&'static str>,
    /// One line for each kernel file that was compiled here.
    pub warnings: Vec<String>,
}

/// A module of the table.
struct Module {
    name: String,
    target: String,
    /// A Rust expression for the text.
    include: String,
    canonical: bool,
    entries: Vec<ptx::Entry>,
}

/// Writes `kernels.rs`.
///
/// # Errors
/// What changed and the one command that helps, or what a file or the compiler said.
pub fn run(place: &Place) -> Result<Made, String> {
    let kernels = sources::kernels(&place.root)?;
    let manifest = Manifest::read(&place.root)?;
    let mut made = Made { watch: vec!["build.rs".into(), sources::MANIFEST.into()], ..Made::default() };
    made.watch.extend(["mod", "nvcc", "ptx", "sources"].map(|file| format!("build/{file}.rs")));
    let mut modules = Vec::new();
    let mut compiler = None;
    for kernel in &kernels {
        made.watch.extend(kernel.sources.iter().cloned());
        // Also where they are not taken now: put right, they are.
        let committed_texts = kernel.targets.iter().map(|target| kernel.ptx(target));
        made.watch.extend(committed_texts.filter(|path| place.root.join(path).is_file()));
        let changes = kernel.changes(&place.root, &manifest)?;
        if changes.is_empty() {
            for target in &kernel.targets {
                let path = kernel.ptx(target);
                modules.push(committed(&place.root, kernel, target, &path)?);
            }
            continue;
        }
        let changes = changes.join(", ");
        if compiler.is_none() {
            compiler = Some(nvcc::find(place, &changes)?);
            made.watch_env.extend(nvcc::VARIABLES);
        }
        if let Some(nvcc) = &compiler {
            for target in &kernel.targets {
                modules.push(compiled(place, nvcc, kernel, target)?);
            }
            made.warnings.push(format!(
                "{changes}: {} was compiled by {} for this build; scripts/ptx makes it the committed PTX",
                kernel.path,
                nvcc.display()
            ));
        }
    }
    // A header that several files include is named once.
    made.watch.sort();
    made.watch.dedup();
    let path = place.out.join("kernels.rs");
    fs::write(&path, table(&modules) + &listing(&kernels))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(made)
}

fn committed(root: &Path, kernel: &Kernel, target: &str, path: &str) -> Result<Module, String> {
    let text = sources::text(root, path)?;
    Ok(Module {
        name: kernel.name.clone(),
        target: target.to_owned(),
        include: format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/{path}")),
        canonical: true,
        entries: ptx::read(&text).map_err(|error| format!("{path}:{error}"))?,
    })
}

fn compiled(place: &Place, nvcc: &Path, kernel: &Kernel, target: &str) -> Result<Module, String> {
    let path = place.out.join(format!("{}.{target}.ptx", kernel.name.replace('/', ".")));
    let text = nvcc::compile(place, nvcc, kernel, target, &path)?;
    Ok(Module {
        name: kernel.name.clone(),
        target: target.to_owned(),
        include: format!("{:?}", path.display().to_string()),
        canonical: false,
        entries: ptx::read(&text).map_err(|error| format!("{}:{error}", path.display()))?,
    })
}

/// The kernels' sources as a second `static`, so that the program can show a line of its kernels wherever
/// it runs.
fn listing(kernels: &[Kernel]) -> String {
    let mut paths: Vec<_> = kernels.iter().flat_map(|kernel| &kernel.sources).collect();
    paths.sort();
    paths.dedup();
    let mut out = String::from(
        "/// Every kernel file and header: its path as the PTX names it, and its text.\n\
         pub static SOURCES: &[(&str, &str)] = &[\n",
    );
    for path in paths {
        let file = format!("/{path}");
        let _ =
            writeln!(out, "    ({path:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))),");
    }
    out.push_str("];\n");
    out
}

/// The table as Rust: a `static` of the types in `src/device/gpu/module.rs`.
fn table(modules: &[Module]) -> String {
    let mut out =
        String::from("/// Every kernel file for each of its targets.\npub static MODULES: &[Module] = &[\n");
    for module in modules {
        let Module { name, target, include, canonical, entries } = module;
        let _ = writeln!(
            out,
            "    Module {{\n        name: {name:?},\n        target: {target:?},\n        \
             text: include_str!({include}),\n        canonical: {canonical},\n        entries: &["
        );
        for entry in entries {
            let params: Vec<String> = entry
                .params
                .iter()
                .map(|&(size, align)| format!("Param {{ size: {size}, align: {align} }}"))
                .collect();
            let _ = writeln!(
                out,
                "            Entry {{ name: {:?}, params: &[{}], max_threads: {:?}, static_shared: {}, awaits: {} }},",
                entry.name,
                params.join(", "),
                entry.max_threads,
                entry.static_shared,
                entry.awaits
            );
        }
        out.push_str("        ],\n    },\n");
    }
    out.push_str("];\n");
    out
}
