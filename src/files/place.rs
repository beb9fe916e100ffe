//! Where a path leads.
//!
//! In: a path as it was typed. Out: one from the root on, of what is there or will be.

use super::folder_of;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A path from the root on, as it was typed otherwise: `..` and links stay.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io) when there is no current folder.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find", path, &e))
}

/// Where a path leads, without `.`, `..` and links, whether or not there is something yet.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io) when there is no current folder.
pub fn real(path: &Path) -> Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    follow(path, LINKS)
}

fn follow(path: &Path, links: usize) -> Result<PathBuf> {
    let mut real = PathBuf::new();
    for part in absolute(path)?.components() {
        match part {
            Component::CurDir => {}
            // What stands before it has no links any more, so its parent is the folder above.
            Component::ParentDir => {
                real.pop();
            }
            _ => {
                real.push(part);
                if let Ok(found) = real.canonicalize() {
                    real = found;
                } else if let (Ok(next), true) = (fs::read_link(&real), links > 0) {
                    // Nothing is there yet, but the link says where it will be.
                    real = follow(&folder_of(&real).join(next), links - 1)?;
                }
            }
        }
    }
    Ok(real)
}
