//! Where the weights that come with vgg-ft are.

use crate::error::{Error, Kind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file's name: the VGG16 convolutions, trained on ImageNet, in half precision.
pub const DEFAULT_NAME: &str = "vgg16_imagenet_notop.f16.safetensors";
const VARIABLE: &str = "VGG_FT_WEIGHTS";
const FOLDER: &str = "weights";

/// The file of `VGG_FT_WEIGHTS`; else [`DEFAULT_NAME`] in `weights/` of the working folder, of the
/// executable's folder and those above it, and of the source folder of this build.
///
/// # Errors
/// [`Kind::Usage`] when `VGG_FT_WEIGHTS` names no file; [`Kind::Weights`] when none of the places has one, with every
/// place that was tried.
pub fn find_default() -> Result<PathBuf> {
    let executable = std::env::current_exe().ok();
    let above = executable.as_deref().and_then(Path::parent).into_iter().flat_map(Path::ancestors);
    let mut folders = vec![PathBuf::from(FOLDER)];
    folders.extend(above.map(|folder| folder.join(FOLDER)));
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER));
    find_in(std::env::var_os(VARIABLE), &folders)
}

fn find_in(variable: Option<OsString>, folders: &[PathBuf]) -> Result<PathBuf> {
    // Someone who sets the variable wants that file and no other. Set to nothing, it is not set.
    if let Some(path) = variable.filter(|value| !value.is_empty()).map(PathBuf::from) {
        if path.is_file() {
            return Ok(path);
        }
        return Err(Error::new(Kind::Usage, format!("{VARIABLE} names no file"))
            .fact("value", path.display())
            .help("set it to a weights file, or unset it to use the weights that come with vgg-ft"));
    }
    let mut tried: Vec<PathBuf> = Vec::new();
    for path in folders.iter().map(|folder| folder.join(DEFAULT_NAME)) {
        if path.is_file() {
            return Ok(path);
        }
        if !tried.contains(&path) {
            tried.push(path);
        }
    }
    let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
    Err(Error::new(Kind::Weights, "cannot find the VGG16 weights")
        .fact("looked for", tried.join("\n"))
        .help(format!(
            "give a weights file with --weights, or set {VARIABLE} to one; `vgg-ft weights fetch vgg16-notop` gets one"
        )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_variable_wins_then_the_first_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folders = ["a", "b", "c"].map(|name| dir.path().join(name));
        for folder in &folders[1..] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(DEFAULT_NAME), b"x").unwrap();
        }
        assert_eq!(find_in(None, &folders).unwrap(), folders[1].join(DEFAULT_NAME));
        assert_eq!(find_in(Some("".into()), &folders).unwrap(), folders[1].join(DEFAULT_NAME));
        let mine = folders[2].join(DEFAULT_NAME);
        assert_eq!(find_in(Some(mine.clone().into()), &folders).unwrap(), mine);
        let error = find_in(Some(folders[2].clone().into()), &folders).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Usage, "VGG_FT_WEIGHTS names no file"));
    }

    #[test]
    fn every_place_tried_is_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().join("a"), dir.path().join("b"), dir.path().join("a")];
        let error = find_in(None, &folders).unwrap_err();
        assert_eq!(error.kind(), Kind::Weights);
        for folder in &folders {
            let place = folder.join(DEFAULT_NAME).display().to_string();
            assert_eq!(error.to_string().matches(&place).count(), 1, "{error}");
        }
    }
}
