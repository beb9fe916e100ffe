//! What a pattern matches.
//!
//! In: text with `*`, `?`, `[…]`, `**`. Out: paths, in no order. The names are looked at one by one with
//! [`glob::Pattern`]; folders are listed here, since the crate's own walk cannot bear names that are no UTF-8 and follows
//! links round and round.

use crate::data::folder::list;
use crate::error::Result;
use crate::interrupt;
use glob::{MatchOptions, Pattern, PatternError};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// Files and folders, each once.
    pub paths: Vec<PathBuf>,
    /// Links to folders that were not followed.
    pub links: Vec<PathBuf>,
}

/// A part of a pattern between two separators.
enum Part<'a> {
    Name(&'a str),
    Like(Pattern),
    /// `**`
    Folders,
}

/// Wildcards match no name that begins with a dot, unless they have it, too.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A pattern that can be followed.
pub(super) struct Parts<'a> {
    root: &'a Path,
    parts: Vec<Part<'a>>,
    /// Whether it ends in a separator.
    folders: bool,
}

impl<'a> Parts<'a> {
    /// Reads a pattern.
    pub fn new(text: &'a str) -> Result<Self, PatternError> {
        let root = literal(text);
        // What stands there is text: a path's bytes are those that were typed.
        let rest = &text[root.as_os_str().len()..];
        let mut parts: Vec<Part<'a>> = Vec::new();
        for part in rest.split(std::path::is_separator).filter(|part| !part.is_empty()) {
            parts.push(match part {
                "**" if matches!(parts.last(), Some(Part::Folders)) => continue,
                "**" => Part::Folders,
                _ if part.contains(['*', '?', '[']) => Part::Like(Pattern::new(part)?),
                _ => Part::Name(part),
            });
        }
        Ok(Self { root, parts, folders: text.ends_with(std::path::is_separator) })
    }

    /// Looks for what it matches. `**` stands for folders, not for links to them: those may lead round and round, or to
    /// images that are found in their own place. A link that a wildcard matches counts as a folder where there is no `**`.
    ///
    /// # Errors
    /// Of a folder that cannot be listed; [`Interrupted`](crate::error::Kind::Interrupted).
    pub fn find(&self) -> Result<Matches> {
        let follows = !self.parts.iter().any(|part| matches!(part, Part::Folders));
        let mut found = Matches::default();
        // A path may be come by in several ways where `**` stands twice.
        let mut seen = HashSet::new();
        let mut links = HashSet::new();
        let mut open = vec![(self.root.to_owned(), 0)];
        while let Some((path, at)) = open.pop() {
            interrupt::check()?;
            if !seen.insert((path.clone(), at)) {
                continue;
            }
            let is_last = at + 1 >= self.parts.len();
            match &self.parts.get(at) {
                None if self.folders && !path.is_dir() => {}
                None => found.paths.push(path),
                Some(Part::Name(name)) => {
                    let next = path.join(name);
                    if next.exists() || (is_last && next.is_symlink()) {
                        open.push((next, at + 1));
                    }
                }
                // At the end it stands for all that is below.
                Some(Part::Folders) if is_last => open.push((path, at + 1)),
                Some(Part::Folders) => {
                    for entry in entries(&path)?.into_iter().filter(|entry| entry.is_dir) {
                        let below = path.join(&entry.name);
                        match entry.name.as_encoded_bytes().first() {
                            Some(b'.') => {}
                            _ if entry.is_link => _ = links.insert(below),
                            _ => open.push((below, at)),
                        }
                    }
                    open.push((path, at + 1));
                }
                Some(Part::Like(pattern)) => {
                    for entry in entries(&path)? {
                        let name = entry.name.to_string_lossy();
                        if !pattern.matches_with(&name, OPTIONS) || (!is_last && !entry.is_dir) {
                            continue;
                        }
                        let next = path.join(&entry.name);
                        if entry.is_dir && entry.is_link && !follows {
                            links.insert(next);
                        } else {
                            open.push((next, at + 1));
                        }
                    }
                }
            }
        }
        found.links = links.into_iter().collect();
        Ok(found)
    }
}

/// What is in a folder; nothing where there is none.
fn entries(path: &Path) -> Result<Vec<crate::data::folder::Entry>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if path.is_dir() { list(path) } else { Ok(Vec::new()) }
}

/// The folder that a pattern names before its first sign: what is below was not named one by one.
pub(super) fn literal(pattern: &str) -> &Path {
    let end = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let end = pattern[..end].rfind(std::path::is_separator).map_or(0, |at| at + 1);
    Path::new(&pattern[..end])
}
