//! Where the weights that come with vgg-ft are.

use crate::error::{Error, Kind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file's name: the VGG16 convolutions, trained on ImageNet, in half precision.
pub const DEFAULT_NAME: &str = "vgg16_imagenet_notop.f16.safetensors";
/// Its SHA-256, as in weights/README.md: a file is the one that comes with vgg-ft by its bytes, not by its name.
pub const DEFAULT_SHA256: &str = "3dffdd0e00a86a6c7a7c05a59c595eea43eb23587f830cf214883bde11a70c39";
const VARIABLE: &str = "VGG_FT_WEIGHTS";
const FOLDER: &str = "weights";
/// Where the weights were installed, for who builds a package.
const INSTALLED: Option<&str> = option_env!("VGG_FT_DATA_DIR");

/// The file of `VGG_FT_WEIGHTS`; else [`DEFAULT_NAME`] in the first of these folders that has it: the one that
/// `VGG_FT_DATA_DIR` named when vgg-ft was built, or `weights/` of the source folder if it named none; `weights/` beside
/// the executable, in `share/vgg-ft` beside its folder `bin`, and beside the `target` folder that it lies in;
/// `weights/` of the working folder.
///
/// # Errors
/// [`Kind::Usage`] when `VGG_FT_WEIGHTS` names no file; [`Kind::Weights`] when none of the places has one, with every
/// place that was tried.
pub fn find_default() -> Result<PathBuf> {
    let mut folders = vec![match INSTALLED.filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER),
    }];
    folders.extend(std::env::current_exe().iter().flat_map(|executable| around(executable)));
    folders.push(PathBuf::from(FOLDER));
    find_in(std::env::var_os(VARIABLE), &folders)
}

/// Where an executable that was moved, unpacked or installed has its weights. Above its folder only if that is called
/// `bin`: what stands above a folder of somebody's own, in `/tmp` for example, may be everybody's.
fn around(executable: &Path) -> Vec<PathBuf> {
    let Some(beside) = executable.parent() else { return Vec::new() };
    let mut folders = vec![beside.join(FOLDER)];
    let prefix = beside.parent().filter(|_| beside.ends_with("bin"));
    folders.extend(prefix.map(|prefix| prefix.join("share/vgg-ft").join(FOLDER)));
    let clone = beside.ancestors().find(|folder| folder.ends_with("target")).and_then(Path::parent);
    folders.extend(clone.map(|folder| folder.join(FOLDER)));
    folders
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
    fn an_executable_has_its_weights_beside_it_in_share_or_in_its_clone() {
        let places = |path: &str| -> Vec<String> {
            let places = around(Path::new(path));
            places.iter().map(|place| place.display().to_string().replace('\\', "/")).collect()
        };
        let installed = ["/usr/bin/weights", "/usr/share/vgg-ft/weights"];
        assert_eq!(places("/usr/bin/vgg-ft"), installed);
        assert!(
            places("/home/me/clone/target/release/vgg-ft").contains(&"/home/me/clone/weights".to_owned())
        );
        let deep = places("/clone/target/x86_64-unknown-linux-gnu/release/deps/x");
        assert_eq!(deep.last().unwrap(), "/clone/weights");
        // Nobody's folder but the executable's.
        assert!(!places("/tmp/mine/vgg-ft").iter().any(|place| !place.starts_with("/tmp/mine/")));
        assert_eq!(places("vgg-ft"), ["weights"]);
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
