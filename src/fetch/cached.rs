//! Files that are there already: where other programs keep what they fetched, and whether it is what is wanted.
//!
//! In: an entry, the environment, a path. Out: places to look, and a verdict on what lies in one.

use super::catalogue::{Entry, Publisher};
use super::digest::read_through;
use super::{Watch, amount};
use crate::error::{Kind, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file that another program may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose it is: "Keras' cache".
    pub owner: &'static str,
    /// Where.
    pub path: PathBuf,
}

/// Where the program that fetches `entry` elsewhere keeps it, by this process' environment.
pub fn places(entry: &Entry<'_>) -> Vec<Place> {
    // Set to nothing, a variable is not set.
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    places_in(entry, &variable, std::env::home_dir())
}

/// Snapshots looked at: each is a version of the repository, and each may hold the same file.
const MAX_SNAPSHOTS: usize = 64;

fn places_in(
    entry: &Entry<'_>,
    variable: &dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Vec<Place> {
    // Python's programs take `~` in these variables for the home folder.
    let expand = |value: OsString| {
        let path = PathBuf::from(value);
        match (path.strip_prefix("~"), &home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        }
    };
    let folder = |name: &str| variable(name).map(expand);
    let at_home = |below: &str| home.as_ref().map(|home| home.join(below));
    let caches = || folder("XDG_CACHE_HOME").or_else(|| at_home(".cache"));
    match entry.publisher {
        Publisher::Keras => {
            let root = folder("KERAS_HOME").or_else(|| at_home(".keras"));
            let path = root.map(|root| root.join("models").join(entry.file));
            path.map(|path| Place { owner: "Keras' cache", path }).into_iter().collect()
        }
        Publisher::Torchvision => {
            let root = folder("TORCH_HOME").or_else(|| Some(caches()?.join("torch")));
            let path = root.map(|root| root.join("hub").join("checkpoints").join(entry.file));
            path.map(|path| Place { owner: "torch.hub's cache", path }).into_iter().collect()
        }
        Publisher::HuggingFace { repository, file } => {
            let hub = folder("HF_HUB_CACHE").or_else(|| {
                let root = folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")));
                Some(root?.join("hub"))
            });
            let name = format!("models--{}", repository.replace('/', "--"));
            let snapshots = hub.map(|hub| hub.join(name).join("snapshots"));
            let listed = snapshots.and_then(|folder| std::fs::read_dir(folder).ok());
            let mut found: Vec<PathBuf> =
                listed.into_iter().flatten().flatten().map(|version| version.path().join(file)).collect();
            found.sort();
            found.truncate(MAX_SNAPSHOTS);
            found.into_iter().map(|path| Place { owner: "Hugging Face's cache", path }).collect()
        }
    }
}

/// What lies at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No file.
    Nothing,
    /// The file that is wanted: its bytes and its digest.
    Right(u64, String),
    /// Another, or one that cannot be read; why.
    Wrong(String),
}

/// Judges the file at `path` by its size, then by all of its bytes.
///
/// # Errors
/// A stop. What cannot be read is [`Verdict::Wrong`].
pub(super) fn look(path: &Path, entry: &Entry<'_>, watch: &mut dyn Watch) -> Result<Verdict> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(Verdict::Nothing) };
    if !found.is_file() {
        return Ok(Verdict::Nothing);
    }
    let bytes = found.len();
    if !entry.size.fits(bytes) {
        return Ok(Verdict::Wrong(format!("it has {bytes} bytes instead of {}", entry.size.bytes())));
    }
    watch.begin(&format!("checking {}", entry.name), Some(bytes));
    let mut hasher = entry.digest.hasher();
    let length = match read_through(path, watch, |piece| {
        hasher.update(piece);
        Ok(())
    }) {
        Ok(length) => length,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => return Ok(Verdict::Wrong(error.to_string().replace('\n', ","))),
    };
    let hex = hasher.hex();
    if entry.digest.fits(&hex) {
        return Ok(Verdict::Right(length, hex));
    }
    Ok(Verdict::Wrong(format!("{} with {} {hex}", amount(length), entry.digest.algorithm())))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::find;
    use super::*;

    fn paths(name: &str, variables: &[(&str, &str)], home: Option<&str>) -> Vec<PathBuf> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        let places = places_in(&find(name).unwrap(), &variable, home.map(PathBuf::from));
        places.into_iter().map(|place| place.path).collect()
    }

    #[test]
    fn each_program_is_looked_up_where_it_keeps_its_files() {
        let (h5, pth) = ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16-397923af.pth");
        let keras = |variables| paths("vgg16-notop", variables, Some("/home/me"));
        assert_eq!(keras(&[]), [Path::new("/home/me/.keras/models").join(h5)]);
        assert_eq!(keras(&[("KERAS_HOME", "/k")]), [Path::new("/k/models").join(h5)]);
        assert_eq!(keras(&[("KERAS_HOME", "~/k")]), [Path::new("/home/me/k/models").join(h5)]);
        let torch = |variables| paths("torchvision-vgg16", variables, Some("/home/me"));
        assert_eq!(torch(&[]), [Path::new("/home/me/.cache/torch/hub/checkpoints").join(pth)]);
        assert_eq!(torch(&[("XDG_CACHE_HOME", "/x")]), [Path::new("/x/torch/hub/checkpoints").join(pth)]);
        let both = [("XDG_CACHE_HOME", "/x"), ("TORCH_HOME", "/t")];
        assert_eq!(torch(&both), [Path::new("/t/hub/checkpoints").join(pth)]);
        assert!(paths("vgg16", &[], None).is_empty(), "no home, no place");
    }

    #[test]
    fn every_snapshot_of_the_hub_is_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let snapshots = dir.path().join("hub/models--timm--vgg16.tv_in1k/snapshots");
        for version in ["b", "a"] {
            std::fs::create_dir_all(snapshots.join(version)).unwrap();
        }
        let expected = ["a", "b"].map(|version| snapshots.join(version).join("model.safetensors"));
        assert_eq!(paths("timm-vgg16", &[("HF_HOME", root)], None), expected);
        let hub = dir.path().join("hub");
        assert_eq!(paths("timm-vgg16", &[("HF_HUB_CACHE", hub.to_str().unwrap())], None), expected);
        assert!(paths("timm-vgg16", &[("HF_HOME", "/none")], None).is_empty());
    }
}
