//! Files that are whole or absent: written under a temporary name beside their place, then renamed.
//!
//! In: a path and a closure that writes. Out: the complete file, or the old one untouched and the
//! temporary one gone.

mod place;
#[cfg(test)]
mod tests;

pub use place::{absolute, real};

use crate::error::{Error, Kind, Result, in_one_line};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Writes `path` through `fill`. The file appears under its name only when `fill` succeeded and the
/// bytes are on the disk; on any failure the previous file stays and nothing else is left behind.
///
/// # Errors
/// What `fill` returns, or [`Kind::Io`] with the path.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    // A link stays one: what it leads to is replaced, or made.
    let target = real(path).unwrap_or_else(|_| path.to_owned());
    // Or the new file would take a device's place.
    if fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(Error::new(Kind::Io, format!("cannot write {}", path.display()))
            .fact("reason", irregular())
            .help("choose another name"));
    }
    // The temporary name is nobody's business: the file that was asked for is named, and its folder.
    let (file, temporary) =
        create_beside(&target).map_err(|e| no_room(path).unwrap_or_else(|| unwritable(path, &e)))?;
    let outcome = write_and_rename(file, &temporary, (path, &target), fill);
    if outcome.is_err() {
        // The failure that matters is the first one; that the rest could not be removed is not news.
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

fn write_and_rename(
    file: File,
    temporary: &Path,
    (path, target): (&Path, &Path),
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    if let Ok(former) = fs::metadata(target) {
        // Who may read it is not for us to change. Some file systems know no permissions.
        let _ = file.set_permissions(former.permissions());
    }
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    writer.flush().map_err(|e| Error::io("write", path, &e))?;
    writer.get_ref().sync_all().map_err(|e| Error::io("write", path, &e))?;
    drop(writer);
    fs::rename(temporary, target).map_err(|e| Error::io("write", path, &e))?;
    keep_name(target);
    Ok(())
}

/// Puts the name of a file that was renamed to `target` on the disk, too, before something else is removed because it is
/// there. Not all systems can, and those that cannot keep the order of changes of a folder themselves.
fn keep_name(target: &Path) {
    if cfg!(unix)
        && let Some(folder) = target.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Bytes of a file that is read as a whole, at most: a history of a million epochs has a fifth of it.
const MOST: u64 = 256 << 20;

/// Opens a file for reading that is one: a pipe would be waited for, and a device may never end.
///
/// # Errors
/// The system's, or that it is none.
pub fn open_regular(path: &Path) -> std::io::Result<File> {
    if fs::metadata(path)?.is_file() { File::open(path) } else { Err(irregular()) }
}

fn irregular() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// All of a file that is one, and no larger than our own ever are.
///
/// # Errors
/// As [`open_regular`], or that it is larger.
pub fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    read_all(open_regular(path)?)
}

fn read_all(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("it has more than {MOST} bytes"),
        ));
    }
    Ok(bytes)
}

/// The text of a file, or of what a shell hands on as one (`<(…)`, `/dev/stdin`): that can be read once, and is kept for
/// whoever asks again.
///
/// # Errors
/// [`Kind::Io`] with the path.
pub fn read_text(path: &Path) -> Result<String> {
    static HANDED: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    let fail = |e: &std::io::Error| Error::io("read", path, e);
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| {
            fail(&std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))
                .help("is it a text?")
        })
    };
    let handed =
        path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd") || path == Path::new("/dev/stdin");
    if !handed {
        return text(read_regular(path).map_err(|e| fail(&e))?);
    }
    let mut known = HANDED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.get(path) {
        return Ok(text.clone());
    }
    let text = text(File::open(path).and_then(read_all).map_err(|e| fail(&e))?)?;
    known.insert(path.to_owned(), text.clone());
    Ok(text)
}

/// Whether there is something at `path`, be it a link that leads nowhere: what cannot be asked is not taken for nothing.
///
/// # Errors
/// [`Kind::Io`].
pub fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("read", path, &e)),
    }
}

/// A file that was not there, for what is to become `target`, as [`made_beside`].
fn create_beside(target: &Path) -> std::io::Result<(File, PathBuf)> {
    made_beside(target, |path| File::create_new(path))
}

/// A folder that was not there, for what is to become `target`: its name is a temporary file's.
///
/// # Errors
/// [`Kind::Io`].
pub fn create_dir_beside(target: &Path) -> Result<PathBuf> {
    let made = made_beside(target, |path| fs::create_dir(path));
    made.map(|((), path)| path).map_err(|e| Error::io("create the folder", target, &e))
}

/// What `make` makes beside `target`. Its name is `target`'s, the process, `.partial`; where that is taken, by a process of
/// the same number in another container or by one that was killed, one more number.
fn made_beside<T>(
    target: &Path,
    make: impl Fn(&Path) -> std::io::Result<T>,
) -> std::io::Result<(T, PathBuf)> {
    let process = std::process::id();
    let mut taken = 0;
    loop {
        let number = if taken == 0 { String::new() } else { format!("-{taken}") };
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{process}{number}.partial"));
        let temporary = target.with_file_name(name);
        match make(&temporary) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && taken < 1000 => taken += 1,
            made => return made.map(|made| (made, temporary)),
        }
    }
}

/// The file that a temporary name of [`write_atomic`] is for.
pub fn of_temporary(name: &str) -> Option<&str> {
    let (name, process) = name.strip_suffix(".partial")?.rsplit_once('.')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ours = match process.split_once('-') {
        Some((process, taken)) => number(process) && number(taken),
        None => number(process),
    };
    ours.then_some(name)
}

/// Whether the open `file` is still the one of that name, and not one that was removed or renamed since.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().and_then(|open| Ok(id(open) == id(fs::metadata(path)?))).unwrap_or(false)
}

/// There is no stable way to ask; that the name is there is most of it.
#[cfg(not(unix))]
pub fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Whether the folder that `path` is to lie in is there.
///
/// # Errors
/// [`Kind::Io`] with the file and the folder.
pub fn require_folder(path: &Path) -> Result<()> {
    no_room(path).map_or(Ok(()), Err)
}

/// Why nothing can lie at `path`, if its folder is the reason.
fn no_room(path: &Path) -> Option<Error> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return None;
    }
    let error = Error::new(Kind::Io, format!("cannot write {}", path.display()));
    Some(match in_the_way(folder) {
        Some(what) => error.fact("in the way", what).help("choose another folder"),
        None => error
            .fact("missing", format!("the folder {}", folder.display()))
            .help(format!("make it (`mkdir -p {}`), or choose another", quoted(folder))),
    })
}

/// What keeps `path` from being a folder, in words: a file there or above it.
pub fn in_the_way(path: &Path) -> Option<String> {
    let file = path.ancestors().find(|above| above.exists()).filter(|above| !above.is_dir())?;
    Some(format!("{}, which is a file", file.display()))
}

/// A path in JSON and CSV, which are Unicode: what is not, in a path, is replaced.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A path in a line for people, whatever is in it.
pub fn line(path: &Path) -> String {
    in_one_line(&shown(path))
}

/// The bytes of a path of which [`shown`] replaces some, in hexadecimal.
pub fn replaced(path: &Path) -> Option<String> {
    path.to_str().is_none().then(|| hex(path.as_os_str().as_encoded_bytes()))
}

/// A number in JSON with the decimal digits of the f32: 2e-5, not the 1.9999999494757503e-5 that it is.
pub fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Text of a stranger's file in one line of a table or an error: at most `most` characters of it, "…" where there are more,
/// and what a terminal would obey written as in a string.
pub fn shorten(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

/// A path as it can be typed into a shell.
pub fn quoted(path: &Path) -> String {
    let mut text = path.display().to_string();
    if text.starts_with('-') {
        // It would be an option.
        text.insert_str(0, "./");
    }
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%~".contains(c);
    if !text.is_empty() && !text.starts_with('~') && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn unwritable(path: &Path, e: &std::io::Error) -> Error {
    Error::io("write", path, e).fact("folder", folder_of(path).display())
}

/// `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// [`write_atomic`] for bytes at hand.
///
/// # Errors
/// [`Kind::Io`] with the path.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |out| out.write_all(bytes).map_err(|e| Error::io("write", path, &e)))
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes and SHA-256 of a file as it lies on the disk.
///
/// # Errors
/// [`Kind::Io`] with the path.
pub fn sha256_file(path: &Path) -> Result<(u64, String)> {
    use sha2::{Digest, Sha256};
    let mut file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
    let (mut digest, mut length, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut piece).map_err(|e| Error::io("read", path, &e))?;
        if n == 0 {
            break;
        }
        digest.update(&piece[..n]);
        length += n as u64;
    }
    Ok((length, hex(&digest.finalize())))
}

/// Makes `path` and its parents.
///
/// # Errors
/// [`Kind::Io`] with the path, also when a file stands in the way.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| {
        let error = Error::io("create the folder", path, &e);
        if let Some(what) = in_the_way(path) {
            return error.fact("in the way", what).help("choose another folder");
        }
        match path.ancestors().find(|above| above.is_symlink() && !above.exists()) {
            Some(link) => {
                let leads = fs::read_link(link).unwrap_or_default();
                error
                    .fact(
                        "in the way",
                        format!("{}, a link to {}, which is not there", link.display(), leads.display()),
                    )
                    .help("make what it leads to, or choose another folder")
            }
            None => error,
        }
    })
}

/// A folder in which something can be written, made if it is not there.
///
/// # Errors
/// [`Kind::Io`].
pub fn require_room(path: &Path) -> Result<()> {
    create_dir(path)?;
    let (_, probe) = create_beside(&path.join(".probe")).map_err(|e| Error::io("write in", path, &e))?;
    fs::remove_file(&probe).map_err(|e| Error::io("write in", path, &e))
}

/// Removes a file; that it is not there is no error.
///
/// # Errors
/// [`Kind::Io`] with the path.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}
