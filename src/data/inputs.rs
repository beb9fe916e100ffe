//! Pictures that a person names: files, folders, patterns, a list on stdin.
//!
//! In: arguments as typed. Out: paths in a fixed order ([`Inputs`]), and from those batches of decoded pictures,
//! made one ahead, with what could not be read beside them ([`LoadedAhead`]). Of a list on stdin no more is held
//! than the batches at hand.

use super::batch::{Prefetch, prefetch};
use super::folder::{is_picture_name, pictures_below};
use super::resize::{Resize, Size};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rayon::prelude::*;
use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Path, PathBuf};
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
}

enum Part {
    Paths(Vec<PathBuf>),
    /// Paths from stdin, ended by this byte.
    Stdin(u8),
}

impl Inputs {
    /// Finds the pictures that `arguments` name. An argument is `-` (paths from stdin, one per line, or
    /// NUL-separated with `null`), a folder (all pictures below it, in the order of [`pictures_below`]), a file, or
    /// a pattern with `*`, `?`, `[…]` or `**` that no shell expanded. What exists under its name is never taken
    /// for a pattern; a file that does not exist is found out when it is read.
    ///
    /// # Errors
    /// [`Kind::Data`] for a folder without pictures, one that cannot be listed, or a pattern that nothing matches;
    /// [`Kind::Usage`] for a pattern that is none, and for `-` twice.
    pub fn find(arguments: &[PathBuf], null: bool) -> Result<Self> {
        let mut parts = Vec::new();
        for argument in arguments {
            let part = if argument.as_os_str() == "-" {
                if parts.iter().any(|part| matches!(part, Part::Stdin(_))) {
                    return Err(Error::new(Kind::Usage, "`-` is given twice, and stdin can be read once")
                        .help("give one `-`; a file of that name is ./-"));
                }
                Part::Stdin(if null { 0 } else { b'\n' })
            } else if argument.is_dir() {
                Part::Paths(folder(argument)?)
            } else {
                match argument.to_str() {
                    Some(text) if text.contains(['*', '?', '[']) && !argument.exists() => {
                        Part::Paths(pattern(text)?)
                    }
                    _ => Part::Paths(vec![argument.clone()]),
                }
            };
            parts.push(part);
        }
        Ok(Self { parts })
    }

    /// How many pictures, unless stdin is to say.
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
            return Err(
                Error::new(Kind::Usage, "a batch of 0 pictures").help("give a batch size of 1 or more")
            );
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut sources: Vec<Box<dyn Iterator<Item = Result<PathBuf>> + Send>> = Vec::new();
        for part in self.parts {
            sources.push(match part {
                Part::Paths(paths) => Box::new(paths.into_iter().map(Ok)),
                Part::Stdin(end) => Box::new(Listed { paths: listen(end)?, stop: stop.clone() }),
            });
        }
        let batches = Batches { paths: sources.into_iter().flatten(), how, over: false };
        Ok(LoadedAhead { stop, batches: prefetch(batches)? })
    }
}

/// All pictures of a folder.
fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let found = pictures_below(path)?;
    if found.is_empty() {
        return Err(Error::new(
            Kind::Data,
            format!("there are no pictures in the folder {}", path.display()),
        )
        .help(format!("pictures end in {}", super::folder::ENDINGS.join(", "))));
    }
    Ok(found)
}

/// What a pattern matches: files and, as if they had been named, folders.
fn pattern(text: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions {
        case_sensitive: !cfg!(windows),
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let matches = glob::glob_with(text, options).map_err(|e| {
        Error::new(Kind::Usage, format!("there is no file {text}, and it is no pattern"))
            .fact("reason", e)
            .help("in a pattern, a bracket that is meant stands as [[]")
    })?;
    // `*` takes what lies beside the pictures, too; `*.data` means what it says.
    let open_end = text.ends_with('*');
    let mut found = Vec::new();
    for path in matches {
        let path = path.map_err(|e| {
            Error::new(Kind::Data, format!("cannot list the folder {}", e.path().display()))
                .fact("reason", e.error())
                .help("check the permissions")
        })?;
        if path.is_dir() {
            found.extend(pictures_below(&path)?);
        } else if !open_end || path.file_name().is_some_and(is_picture_name) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(Error::new(Kind::Data, format!("no picture matches {text}"))
            .help("check the pattern; `**` stands for any number of folders"));
    }
    // As folders are read. `**` finds a picture by itself and in its folder.
    let key = |path: &PathBuf| {
        let parent = path.parent().map(|parent| parent.as_os_str().to_owned());
        (parent, path.file_name().map(OsString::from))
    };
    found.sort_by_cached_key(key);
    found.dedup();
    Ok(found)
}

/// Reads paths from stdin on a thread that nobody waits for: a read cannot be interrupted, and what is not wanted
/// any more need not be read.
fn listen(end: u8) -> Result<Receiver<Result<PathBuf>>> {
    let (send, receive) = crossbeam_channel::bounded(AHEAD);
    let work = move || {
        for item in std::io::stdin().lock().split(end) {
            let item = match item {
                Ok(mut bytes) => {
                    // Lists made on Windows.
                    if end == b'\n' && bytes.last() == Some(&b'\r') {
                        bytes.pop();
                    }
                    if bytes.is_empty() {
                        continue;
                    }
                    path(bytes)
                }
                Err(e) => Err(Error::io("read", Path::new("stdin"), &e)),
            };
            let is_last = item.is_err();
            if send.send(item).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(work).map_err(|e| {
        Error::new(Kind::Io, "cannot start the thread that reads stdin")
            .fact("reason", e)
            .help("close other programs, or raise the limit of processes (ulimit -u)")
    })?;
    Ok(receive)
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

/// How named pictures are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// Every picture is brought to this size.
    pub size: Size,
    /// The way it is brought there.
    pub resize: Resize,
    /// Pictures at a time; a list on stdin is answered when so many have come.
    pub batch: usize,
    /// Whether the first unreadable picture is the last.
    pub strict: bool,
}

/// Pictures that go through the network together.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// (n, h, w, 3), row-major RGB, 0 to 255.
    pub pixels: Vec<u8>,
    /// Why the others of the batch could not be read, in their order; with [`Loading::strict`] at most one, and
    /// `paths` are those before it.
    pub unreadable: Vec<Error>,
}

/// The batches; dropping them ends the thread that makes them.
pub struct LoadedAhead {
    // Before `batches`, whose end waits for the thread.
    stop: Arc<AtomicBool>,
    batches: Prefetch<Loaded>,
}

impl Iterator for LoadedAhead {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl Drop for LoadedAhead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Batches<I> {
    paths: I,
    how: Loading,
    over: bool,
}

impl<I: Iterator<Item = Result<PathBuf>>> Iterator for Batches<I> {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let named: Result<Vec<PathBuf>> = self.paths.by_ref().take(self.how.batch).collect();
        let named = match named {
            Ok(named) if named.is_empty() => return None,
            Ok(named) => named,
            Err(error) => return Some(Err(error)),
        };
        let Loading { size, resize, strict, .. } = self.how;
        let pictures: Vec<_> = named.par_iter().map(|path| super::load(path, size, resize)).collect();
        let mut loaded = Loaded::default();
        for (path, picture) in named.into_iter().zip(pictures) {
            match picture {
                Ok(pixels) => {
                    loaded.paths.push(path);
                    loaded.pixels.extend(pixels);
                }
                Err(error) => {
                    loaded.unreadable.push(error);
                    if strict {
                        self.over = true;
                        break;
                    }
                }
            }
        }
        Some(Ok(loaded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(inputs: Inputs) -> Vec<String> {
        let mut names = Vec::new();
        for part in inputs.parts {
            let Part::Paths(paths) = part else { panic!("stdin") };
            names.extend(paths.iter().map(|path| path.to_str().unwrap().replace('\\', "/")));
        }
        names
    }

    /// Files are empty: nothing here is opened.
    fn find(files: &[&str], argument: &str) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let found = names(Inputs::find(&[dir.path().join(argument)], false)?);
        let root = format!("{}/", dir.path().to_str().unwrap().replace('\\', "/"));
        Ok(found.iter().map(|name| name.strip_prefix(&root).unwrap().to_owned()).collect())
    }

    #[test]
    fn folders_and_patterns_give_pictures_in_the_order_of_the_data_readers() {
        let files = ["d/b/2.png", "d/b/10.png", "d/b-c/1.JPG", "d/z.png", "d/b/notes.txt", "d/b/odd.dat"];
        let all = ["d/z.png", "d/b/10.png", "d/b/2.png", "d/b-c/1.JPG"];
        assert_eq!(find(&files, "d").unwrap(), all);
        assert_eq!(find(&files, "d/**/*").unwrap(), all, "each once");
        assert_eq!(find(&files, "d/b*").unwrap(), all[1..]);
        assert_eq!(find(&files, "d/b/*").unwrap(), all[1..3]);
        assert_eq!(find(&files, "d/?/[12].png").unwrap(), ["d/b/2.png"]);
        assert_eq!(find(&files, "d/b/*.dat").unwrap(), ["d/b/odd.dat"], "an ending that is named counts");
    }

    #[test]
    fn what_exists_is_no_pattern_and_what_matches_nothing_is_said() {
        assert_eq!(find(&["a[1].png", "a1.png"], "a[1].png").unwrap(), ["a[1].png"]);
        assert_eq!(find(&["a1.png"], "a[1].png").unwrap(), ["a1.png"]);
        assert_eq!(find(&[], "missing.png").unwrap(), ["missing.png"], "reading will say so");
        for (argument, kind) in [("*.png", Kind::Data), ("none", Kind::Data), ("a[", Kind::Usage)] {
            let error = find(&["none/x.txt"], argument).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(argument) && error.to_string().contains("help:"), "{error}");
        }
        let dash = PathBuf::from("-");
        let twice = Inputs::find(&[dash.clone(), dash], false).err().unwrap();
        assert_eq!(twice.kind(), Kind::Usage);
    }

    #[test]
    fn batches_hold_what_can_be_read_and_say_what_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let good = |name: &str, level: u8| {
            image::RgbImage::from_pixel(2, 3, image::Rgb([level; 3])).save(dir.path().join(name)).unwrap();
        };
        good("1.png", 10);
        fs::write(dir.path().join("2.png"), b"no").unwrap();
        good("3.png", 30);
        good("4.png", 40);
        let load = |batch, strict| -> Vec<Loaded> {
            let how = Loading { size: Size { h: 1, w: 1 }, resize: Resize::Nearest, batch, strict };
            let inputs = Inputs::find(&[dir.path().to_owned()], false).unwrap();
            assert_eq!(inputs.count(), Some(4));
            inputs.load(how).unwrap().collect::<Result<_>>().unwrap()
        };
        let all = load(3, false);
        assert_eq!(
            all.iter().map(|b| b.pixels.clone()).collect::<Vec<_>>(),
            [vec![10, 10, 10, 30, 30, 30], vec![40; 3]]
        );
        assert_eq!((all[0].paths.len(), all[0].unreadable.len(), all[1].unreadable.len()), (2, 1, 0));
        assert!(all[0].unreadable[0].message().contains("2.png"));
        let strict = load(4, true);
        assert_eq!((strict.len(), strict[0].pixels.len(), strict[0].unreadable.len()), (1, 3, 1));
    }
}
