//! Images that a person names: files, folders, patterns, a list on stdin.
//!
//! In: arguments as typed. Out: paths in a fixed order ([`Inputs`]), and from those batches of decoded images,
//! made one ahead, with what could not be read beside them ([`LoadedAhead`]). Of a list on stdin no more is held
//! than the batches at hand.

mod ahead;
mod pattern;

pub use ahead::{Loaded, LoadedAhead, Loading, Unreadable};

use super::batch::prefetch;
use super::endings::Endings;
use super::folder::{UNNAMED, images_below, is_image_name, is_run};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use ahead::Batches;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use pattern::{Parts, literal};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a wait for stdin may keep a stop waiting.
const PATIENCE: Duration = Duration::from_millis(50);
/// Paths that are read from stdin ahead of their decoding.
const AHEAD: usize = 64;

/// What was named, in its order.
pub struct Inputs {
    parts: Vec<Part>,
    /// Folders that were passed over, since they are runs.
    pub runs: Vec<PathBuf>,
    /// What else is in the folders that were named.
    pub unread: Endings,
    /// Links to folders that were not followed.
    pub links: Vec<PathBuf>,
}

enum Part {
    Paths(Vec<PathBuf>),
    /// Paths from stdin, ended by this byte.
    Stdin(u8),
}

impl Inputs {
    /// Finds the images that `arguments` name. An argument is `-` (paths from stdin, one per line, or NUL-separated
    /// with `null`), a folder (all images below it, in the order of [`images_below`]), a file, or a pattern with `*`,
    /// `?`, `[…]` or `**` that no shell expanded. What exists under its name is never taken for a pattern, of which
    /// `**` follows no links; a file that does not exist is found out when it is read. Folders of runs are passed over
    /// where they are found, not where they are named in a file's path.
    ///
    /// # Errors
    /// [`Kind::Data`] for a folder without images, one that cannot be listed, or a pattern that nothing matches;
    /// [`Kind::Usage`] for a pattern that is none, and for `-` twice.
    pub fn find(arguments: &[PathBuf], null: bool) -> Result<Self> {
        let mut found =
            Self { parts: Vec::new(), runs: Vec::new(), unread: Endings::default(), links: Vec::new() };
        for argument in arguments {
            let part = if argument.as_os_str() == "-" {
                if found.parts.iter().any(|part| matches!(part, Part::Stdin(_))) {
                    return Err(Error::new(Kind::Usage, "`-` is given twice, and stdin can be read once")
                        .help("give one `-`; a file of that name is ./-"));
                }
                Part::Stdin(if null { 0 } else { b'\n' })
            } else if argument.is_dir() {
                Part::Paths(folder(argument, &mut found)?)
            } else {
                match argument.to_str() {
                    Some(text) if text.contains(['*', '?', '[']) && !argument.exists() => {
                        Part::Paths(pattern(text, &mut found)?)
                    }
                    _ => Part::Paths(vec![argument.clone()]),
                }
            };
            found.parts.push(part);
        }
        for paths in [&mut found.runs, &mut found.links] {
            paths.sort_unstable();
            paths.dedup();
        }
        Ok(found)
    }

    /// Those that are known before stdin says more.
    pub fn named(&self) -> impl Iterator<Item = &Path> {
        let paths = self.parts.iter().filter_map(|part| match part {
            Part::Paths(paths) => Some(paths),
            Part::Stdin(_) => None,
        });
        paths.flatten().map(PathBuf::as_path)
    }

    /// How many images, unless stdin is to say.
    pub fn count(&self) -> Option<usize> {
        self.parts.iter().try_fold(0, |sum, part| match part {
            Part::Paths(paths) => Some(sum + paths.len()),
            Part::Stdin(_) => None,
        })
    }

    /// Decodes them on a thread of its own, one batch ahead.
    ///
    /// # Errors
    /// [`Kind::Usage`] for batches of 0; [`Kind::Io`] if the system gives no thread.
    pub fn load(self, how: Loading) -> Result<LoadedAhead> {
        if how.batch == 0 {
            return Err(Error::new(Kind::Usage, "a batch of 0 images").help("give a batch size of 1 or more"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut sources: Vec<Box<dyn Iterator<Item = Result<PathBuf>> + Send>> = Vec::new();
        for part in self.parts {
            sources.push(match part {
                Part::Paths(paths) => Box::new(paths.into_iter().map(Ok)),
                Part::Stdin(end) => Box::new(Listed { paths: listen(end)?, stop: stop.clone() }),
            });
        }
        let batches = Batches { paths: sources.into_iter().flatten(), how, over: false, failed: None };
        Ok(LoadedAhead { stop, batches: prefetch(batches)? })
    }
}

/// All images of a folder.
fn folder(path: &Path, found: &mut Inputs) -> Result<Vec<PathBuf>> {
    let below = images_below(path, true)?;
    if below.images.is_empty() {
        let message = format!("the folder {} holds no images in a format that is read", path.display());
        let mut help = format!("formats that are read: {}", super::folder::ENDINGS.join(", "));
        if below.unread.unnamed() > 0 {
            help = format!("{UNNAMED}; {help}");
        }
        let error = nothing(message, &below.runs, help);
        return Err(below.unread.all().into_iter().fold(error, |error, there| error.fact("there", there)));
    }
    found.runs.extend(below.runs);
    found.unread.add(&below.unread);
    found.links.extend(below.links);
    Ok(below.images)
}

/// An error with the runs that were passed over, if any, or else `help`.
fn nothing(message: String, runs: &[PathBuf], help: String) -> Error {
    let error = Error::new(Kind::Data, message);
    let passed = match runs {
        [] => return error.help(help),
        [run] => format!("{}, which is a run", run.display()),
        [run, ..] => format!("{} and {} more, which are runs", run.display(), runs.len() - 1),
    };
    error.fact("passed over", passed).help("name the images themselves if a run's are meant")
}

/// What a pattern matches: files and, as if they had been named, folders.
fn pattern(text: &str, inputs: &mut Inputs) -> Result<Vec<PathBuf>> {
    let parts = Parts::new(text).map_err(|e| {
        Error::new(Kind::Usage, format!("there is no file {text}, and it is no pattern"))
            .fact("reason", e)
            .help("check the path; in a pattern, a literal [ is written [[]")
    })?;
    let matches = parts.find()?;
    inputs.links.extend(matches.links);
    // `*` takes what lies beside the images, too; `*.data` means what it says.
    let open_end = text.ends_with('*');
    let named = depth(literal(text));
    let mut passed = Vec::new();
    let mut known = BTreeMap::new();
    let mut found = Vec::new();
    for path in matches.paths {
        interrupt::check()?;
        let mut between = path.ancestors().skip(1).take_while(|above| depth(above) > named);
        if let Some(run) =
            between.find(|above| *known.entry((*above).to_owned()).or_insert_with(|| is_run(above)))
        {
            passed.push(run.to_owned());
        } else if path.is_dir() {
            let below = images_below(&path, false)?;
            found.extend(below.images);
            passed.extend(below.runs);
            inputs.unread.add(&below.unread);
            inputs.links.extend(below.links);
        } else if !open_end || path.file_name().is_some_and(is_image_name) {
            found.push(path);
        }
    }
    if found.is_empty() {
        passed.sort_unstable();
        passed.dedup();
        let help = "check the pattern; `**` stands for any number of folders".into();
        return Err(nothing(format!("no image matches {text}"), &passed, help));
    }
    // As folders are read. `**` finds an image by itself and in its folder.
    let key = |path: &PathBuf| {
        let parent = path.parent().map(|parent| parent.as_os_str().to_owned());
        (parent, path.file_name().map(OsString::from))
    };
    found.sort_by_cached_key(key);
    found.dedup();
    inputs.runs.extend(passed);
    Ok(found)
}

/// How many folders deep; patterns and what they match need not agree about a leading `./`.
fn depth(path: &Path) -> usize {
    path.components().filter(|part| *part != Component::CurDir).count()
}

/// Reads paths from stdin on a thread that nobody waits for: a read cannot be interrupted, and what is not wanted
/// any more need not be read.
fn listen(end: u8) -> Result<Receiver<Result<PathBuf>>> {
    let (send, receive) = crossbeam_channel::bounded(AHEAD);
    let work = move || {
        for item in listed(std::io::stdin().lock(), end) {
            let is_last = item.is_err();
            if send.send(item).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(work)
        .map_err(|e| Error::thread("that reads stdin", &e))?;
    Ok(receive)
}

/// The paths of a list, each of which ends in `end`; an error is the last.
fn listed(mut from: impl BufRead, end: u8) -> impl Iterator<Item = Result<PathBuf>> {
    /// More bytes than any system takes for a path.
    const LONGEST: u64 = 1 << 16;
    let mut is_first = true;
    let mut next = move || -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut one = from.by_ref().take(LONGEST);
        one.read_until(end, &mut bytes).map_err(|e| Error::io("read", Path::new("stdin"), &e))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if std::mem::take(&mut is_first) {
            if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
                return Err(Error::new(Kind::Usage, "the list on stdin is in UTF-16")
                    .help("write it in UTF-8; in PowerShell: … | Out-File -Encoding utf8"));
            }
            if bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
        }
        let ended = bytes.last() == Some(&end);
        if ended {
            bytes.pop();
        }
        // Lists made on Windows.
        if end == b'\n' && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.contains(&0) {
            return Err(Error::new(
                Kind::Usage,
                "the paths on stdin end in NUL, as `find -print0` writes them",
            )
            .help("give --null"));
        }
        if !ended && bytes.len() as u64 >= LONGEST {
            let start = bytes[..32].escape_ascii().to_string();
            return Err(Error::new(Kind::Usage, format!("no path on stdin is longer than {LONGEST} bytes"))
                .fact("begins with", start)
                .help("give a list of paths, one a line"));
        }
        Ok(Some(bytes))
    };
    std::iter::from_fn(move || {
        loop {
            match next() {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => return Some(path(bytes)),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

#[cfg(unix)]
fn path(bytes: Vec<u8>) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn path(bytes: Vec<u8>) -> Result<PathBuf> {
    String::from_utf8(bytes).map(PathBuf::from).map_err(|e| {
        Error::new(Kind::Data, "a path on stdin is not UTF-8")
            .fact("path", e.as_bytes().escape_ascii())
            .help("write the list in UTF-8")
    })
}

/// Paths as they come from stdin, until they end or nobody wants more.
struct Listed {
    paths: Receiver<Result<PathBuf>>,
    stop: Arc<AtomicBool>,
}

impl Iterator for Listed {
    type Item = Result<PathBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.stop.load(Ordering::Relaxed) {
            match self.paths.recv_timeout(PATIENCE) {
                Ok(item) => return Some(item),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(stopped) = interrupt::check() {
                        return Some(Err(stopped));
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
