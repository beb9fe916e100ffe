//! Kernels to try without a build: PTX of one's own in the place of the text that ships.
//!
//! In: the folder that `VGG_FT_PTX` names, with files called as in `kernels/ptx/` (`scripts/ptx NAME --into FOLDER` makes
//! them, and copies the sources). Out: for a module its text, for a place its source line. What is tried is part of the
//! device's description, so that no result passes for that of the kernels that ship.

use super::module::{MODULES, Module};
use crate::error::{Error, Kind, Result};
use crate::ptx::parse;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The folder's variable.
const FOLDER: &str = "VGG_FT_PTX";

fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Where the text of `module` is tried, if it is.
fn file(module: &Module) -> Option<PathBuf> {
    let path = folder()?.join(format!("{}.{}.ptx", module.name, module.target));
    path.is_file().then_some(path)
}

/// What stands for `kernels/ptx/…` in messages: the file that a module's text is from.
pub fn path(module: &Module) -> String {
    let shipped = || format!("kernels/ptx/{}.{}.ptx", module.name, module.target);
    file(module).map_or_else(shipped, |path| path.display().to_string())
}

/// The PTX of `module`.
///
/// # Errors
/// [`Kind::Usage`] when a file that is tried cannot be read, or has not the entries and parameters that the program was
/// built for.
pub fn text(module: &Module) -> Result<Cow<'static, str>> {
    let Some(path) = file(module) else { return Ok(Cow::Borrowed(module.text)) };
    let wrong = |message: String| {
        Error::new(Kind::Usage, message).context(format!("{FOLDER} in the place of {}", module.name))
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| wrong(Error::io("read", &path, &error).to_string()))?;
    let parsed = parse(&path.display().to_string(), &text)?;
    for entry in module.entries {
        let found = parsed.entries.iter().find(|found| found.name == entry.name);
        let Some(found) = found else {
            return Err(wrong(format!("{} has no entry `{}`", path.display(), entry.name))
                .help("keep the names of entries: build the program where they change"));
        };
        let took: Vec<[u32; 2]> = entry.params.iter().map(|param| [param.size, param.align]).collect();
        let takes: Vec<[u32; 2]> = found.params.iter().map(|param| [param.size, param.align]).collect();
        if took != takes {
            return Err(wrong(format!("`{}` of {} takes other parameters", entry.name, path.display()))
                .expected_got(format!("size and alignment {took:?}"), format!("{takes:?}"))
                .help("change parameters in the source, with the host's side, and build the program"));
        }
        // What the host starts a kernel by.
        let [awaits, threads] = started(&text, entry.name);
        let shipped = [entry.awaits.to_string(), entry.max_threads.unwrap_or_default().to_string()];
        for (what, expected, got) in [("wait", &shipped[0], awaits), ("largest block", &shipped[1], threads)]
        {
            if *expected != got {
                return Err(wrong(format!("`{}` of {} has another {what}", entry.name, path.display()))
                    .expected_got(expected, got)
                    .help("build the program where griddepcontrol.wait or __launch_bounds__ change"));
            }
        }
    }
    Ok(Cow::Owned(text))
}

/// Whether the entry `name` of a text waits for the kernel before it, and how many threads a block of it has at most, 0
/// if it does not say.
fn started(text: &str, name: &str) -> [String; 2] {
    let from = text.find(&format!(".entry {name}(")).unwrap_or_default();
    let body = text[from..].split("\n}").next().unwrap_or_default();
    let threads = body.split(".maxntid ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("0");
    [body.contains("griddepcontrol.wait").to_string(), threads.trim().to_owned()]
}

/// Whether there is anything to try where a folder is named.
///
/// # Errors
/// [`Kind::Usage`] when no file in it is called as one that ships.
pub fn check() -> Result<()> {
    match folder() {
        Some(folder) if described().is_none() => {
            Err(Error::new(Kind::Usage, format!("{FOLDER} names a folder without kernels to try"))
                .expected_got("files such as dense.sm_75.ptx", folder.display())
                .help("`scripts/ptx NAME --into FOLDER` makes them; or unset the variable"))
        }
        _ => Ok(()),
    }
}

/// ", of VGG_FT_PTX conv2d_bf16.sm_80": all that are tried, if any are; for the device's description.
pub fn described() -> Option<String> {
    let tried: Vec<String> = MODULES
        .iter()
        .filter(|module| file(module).is_some())
        .map(|module| format!("{}.{}", module.name, module.target))
        .collect();
    (!tried.is_empty()).then(|| format!(", of {FOLDER} {}", tried.join(" ")))
}

/// The source `path` as it lies beside what is tried, for whatever kernel.
pub fn source(path: &str) -> Option<&'static str> {
    static READ: OnceLock<Mutex<HashMap<String, Option<&'static str>>>> = OnceLock::new();
    let folder = folder()?;
    let mut read = READ.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    // Read once, and kept for good like those inside the program.
    *read.entry(path.to_owned()).or_insert_with(|| {
        std::fs::read_to_string(folder.join(path)).ok().map(|text| &*Box::leak(text.into_boxed_str()))
    })
}
