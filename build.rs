//! Gives the library its PTX: a table of modules in `OUT_DIR/kernels.rs`.
//!
//! Looks at files and at the CUDA toolchain, never at the machine's GPU. The logic is in `build/`, where
//! `tests/toolchain.rs` includes it too; here is only what Cargo hears.

use std::path::PathBuf;

#[path = "build/mod.rs"]
mod build;

fn main() {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let made = build::run(&build::Place {
        root: folder("CARGO_MANIFEST_DIR"),
        out: folder("OUT_DIR"),
        var: &|name| std::env::var_os(name),
    });
    match made {
        Ok(made) => {
            // File by file: a folder would also change for an editor's swap file. A new .cu file comes
            // with a new manifest.
            for path in made.watch {
                println!("cargo::rerun-if-changed={path}");
            }
            for name in made.watch_env {
                println!("cargo::rerun-if-env-changed={name}");
            }
            for text in made.warnings {
                println!("cargo::warning={text}");
            }
        }
        Err(text) => {
            // These lines fail the build; an exit code would only add the script's whole output to them.
            for line in text.lines() {
                println!("cargo::error={line}");
            }
        }
    }
}
