//! Which samples a split holds, in a few bytes: a run that goes on learns from what it began with, or says that
//! it cannot.
//!
//! In: files with labels and sizes, in the order of the samples. Out: their number and a fingerprint.

use crate::data::{Pictures, Recipe};
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A split's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// How many.
    pub samples: usize,
    /// SHA-256 over path, label and size in bytes of each.
    digest: String,
}

impl Contents {
    /// Of the pictures of the folder `root`.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io) when one is gone.
    pub fn of_pictures(root: &Path, pictures: &Pictures) -> Result<Self> {
        let mut files = Vec::with_capacity(pictures.files.len());
        for (file, &label) in pictures.files.iter().zip(&pictures.labels) {
            let path = root.join(file);
            let found = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, &e))?;
            files.push((file.as_os_str().as_encoded_bytes(), label, found.len()));
        }
        Ok(Self::of(&files))
    }

    /// Of what was extracted.
    pub fn of_features(recipe: &Recipe) -> Self {
        let files = recipe.files.iter().zip(&recipe.labels);
        Self::of(
            &files.map(|((name, bytes, _), &label)| (name.as_bytes(), label, *bytes)).collect::<Vec<_>>(),
        )
    }

    fn of(files: &[(&[u8], u32, u64)]) -> Self {
        let mut all = Vec::new();
        for (path, label, bytes) in files {
            // The length first: no other files give the same bytes.
            all.extend((path.len() as u64).to_le_bytes());
            all.extend_from_slice(path);
            all.extend(label.to_le_bytes());
            all.extend(bytes.to_le_bytes());
        }
        Self { samples: files.len(), digest: files::sha256_hex(&all) }
    }
}

impl fmt::Display for Contents {
    /// "10, sha256 of their names, labels and sizes 5f2c9a01b3d4…"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.samples {
            0 => f.write_str("none"),
            n => write!(f, "{n}, sha256 of their names, labels and sizes {}…", &self.digest[..12]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_label_size_and_order_count() {
        let of = |files: &[(&str, u32, u64)]| {
            Contents::of(
                &files.iter().map(|(name, label, size)| (name.as_bytes(), *label, *size)).collect::<Vec<_>>(),
            )
        };
        let files = [("a/1.png", 0, 10), ("b/2.png", 1, 20)];
        assert_eq!(of(&files), of(&files));
        for other in [
            [("a/1.png", 0, 10), ("b/3.png", 1, 20)],
            [("a/1.png", 1, 10), ("b/2.png", 1, 20)],
            [("a/1.png", 0, 11), ("b/2.png", 1, 20)],
            [("b/2.png", 1, 20), ("a/1.png", 0, 10)],
        ] {
            assert_ne!(of(&files), of(&other), "{other:?}");
        }
    }
}
