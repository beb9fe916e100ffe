//! A file that is on its way: `NAME.vgg-ft.part` holds the bytes so far, `NAME.vgg-ft.part.json` says of what they are.
//!
//! In: bytes, in order. Out: the whole file under its name, or a part that the next try goes on from. The lock
//! on the second file keeps two processes from writing one part; it goes with the process, however that ends.

use super::Watch;
use crate::error::{Error, Kind, Result};
use crate::files::{is_at, real};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of what the bytes are: enough to ask for the rest of the same file and no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The address that was asked.
    pub url: String,
    /// The strong ETag of the answer.
    pub etag: Option<String>,
    /// Its Last-Modified.
    pub modified: Option<String>,
    /// Bytes of the whole file, if the server said.
    pub total: Option<u64>,
}

/// The part and its note, locked.
pub(super) struct Partial {
    /// Where the whole file goes.
    target: PathBuf,
    /// Where its bytes are until then.
    pub path: PathBuf,
    note_path: PathBuf,
    file: File,
    note_file: File,
    /// Bytes so far.
    pub have: u64,
    /// Of what they are; nothing is known where there are none.
    pub note: Note,
    /// Another process was fetching the same file, and is done or gone.
    pub waited: bool,
}

/// Behind the file's name: the bytes. Browsers leave `.part` of their own.
const PART: &str = ".vgg-ft.part";
/// What they are.
const NOTE: &str = ".vgg-ft.part.json";
/// The longest note that is read.
const MAX_NOTE: u64 = 1 << 16;
/// How often a lock is asked for.
const PATIENCE: Duration = Duration::from_millis(100);

impl Partial {
    /// Opens or begins the part of `target`, once no other process writes it.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder cannot be written, or has something else under the part's
    /// name; a stop while waiting.
    pub fn open(target: &Path, watch: &mut dyn Watch) -> Result<Self> {
        // A link stays one: what it leads to is replaced, or made.
        let target = real(target)?;
        let (path, note_path) = (beside(&target, PART), beside(&target, NOTE));
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            // Behind a link would be a file that is none of ours.
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
            if path.is_symlink() {
                return Err(foreign(path, "it is a link"));
            }
            options.open(path).map_err(|e| Error::io("write", path, &e))
        };
        let mut waited = false;
        let mut note_file = loop {
            watch.check()?;
            let file = open(&note_path)?;
            match file.try_lock() {
                // The one before us takes the note away when it is done; the lock on what is gone guards nothing.
                Ok(()) if is_at(&file, &note_path) => break file,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if !waited {
                        watch.say(&format!(
                            "another process is fetching {}: waiting for it",
                            target.display()
                        ));
                    }
                    waited = true;
                    std::thread::sleep(PATIENCE);
                }
                // Some file systems have no locks. Two writers would spoil the part, which the checksum shows.
                Err(TryLockError::Error(_)) => break file,
            }
        };
        let file = open(&path)?;
        let length = file.metadata().map_err(|e| Error::io("read", &path, &e))?.len();
        let note = read_note(&mut note_file);
        // A note is begun before the first byte.
        if length > 0 && note_file.metadata().is_ok_and(|note| note.len() == 0) {
            drop(note_file);
            let _ = fs::remove_file(&note_path);
            return Err(foreign(&path, "it has bytes, and there is no note of what they are"));
        }
        let mut partial =
            Self { target, path, note_path, file, note_file, have: length, note: Note::default(), waited };
        match note {
            Some(note) => partial.note = note,
            // Bytes of who knows what.
            None => partial.restart()?,
        }
        partial.seek()?;
        Ok(partial)
    }

    /// Drops the bytes so far.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn restart(&mut self) -> Result<()> {
        (self.have, self.note) = (0, Note::default());
        self.file.set_len(0).map_err(|e| Error::io("write", &self.path, &e))?;
        self.seek()
    }

    fn seek(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.have)).map_err(|e| Error::io("write", &self.path, &e))?;
        Ok(())
    }

    /// Says of what the bytes are that follow; before the first of them.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn annotate(&mut self, note: Note) -> Result<()> {
        let json = serde_json::to_vec(&note).unwrap_or_default();
        let mut write = || {
            // A note that was cut is no JSON, and its part is begun again.
            self.note_file.set_len(0)?;
            self.note_file.seek(SeekFrom::Start(0))?;
            self.note_file.write_all(&json)
        };
        write().map_err(|e| Error::io("write", &self.note_path, &e))?;
        self.note = note;
        Ok(())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`Kind::Io`]; what could not be written whole is not counted.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(e) = self.file.write_all(bytes) {
            // A disk that is full took some of them.
            let _ = self.file.set_len(self.have);
            return Err(Error::io("write", &self.path, &e));
        }
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// The bytes are whole and right: on the disk, under the file's name.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(self) -> Result<()> {
        if let Ok(former) = fs::metadata(&self.target) {
            // Who may read it is not for us to change. Some file systems know no permissions.
            let _ = self.file.set_permissions(former.permissions());
        }
        self.file.sync_all().map_err(|e| Error::io("write", &self.path, &e))?;
        drop(self.file);
        fs::rename(&self.path, &self.target).map_err(|e| Error::io("write", &self.target, &e))?;
        // Whoever waits for the lock finds it on a file that is gone, and looks again.
        let _ = fs::remove_file(&self.note_path);
        Ok(())
    }

    /// The bytes are of no use.
    pub fn discard(self) {
        drop(self.file);
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.note_path);
    }

    /// The next try goes on from here; nothing lies about where there is nothing.
    pub fn keep(self) {
        if self.have == 0 {
            self.discard();
        }
    }
}

fn foreign(path: &Path, why: &str) -> Error {
    Error::new(Kind::Io, format!("{} may not be vgg-ft's", path.display()))
        .fact("why", why)
        .help("move or remove it; that is where bytes of the file lie until it is whole")
}

fn read_note(file: &mut File) -> Option<Note> {
    let mut json = Vec::new();
    file.take(MAX_NOTE).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

/// `target` with more behind its name.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = target.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;
    impl Watch for Silent {}

    fn open(target: &Path) -> Partial {
        Partial::open(target, &mut Silent).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_part_is_taken_up_where_it_was_left_if_its_note_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.h5");
        let note = Note { url: "http://a/x".into(), etag: Some("\"1\"".into()), ..Note::default() };
        let mut first = open(&target);
        first.annotate(Note { url: "a longer address than the other".into(), ..Note::default() }).unwrap();
        first.annotate(note.clone()).unwrap();
        first.add(b"abc").unwrap();
        first.keep();
        let mut second = open(&target);
        assert_eq!((second.have, &second.note), (3, &note));
        second.add(b"def").unwrap();
        second.keep();
        assert_eq!(fs::read(dir.path().join("x.h5.vgg-ft.part")).unwrap(), b"abcdef");
        // A note that was cut.
        let json = dir.path().join("x.h5.vgg-ft.part.json");
        let whole = fs::read(&json).unwrap();
        fs::write(&json, &whole[..whole.len() - 2]).unwrap();
        let mut third = open(&target);
        assert_eq!((third.have, &third.note), (0, &Note::default()));
        third.add(b"ghi").unwrap();
        third.finish().unwrap();
        assert_eq!(names(dir.path()), ["x.h5"]);
        assert_eq!(fs::read(&target).unwrap(), b"ghi");
    }

    #[test]
    fn nothing_is_left_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        open(&target).keep();
        assert!(names(dir.path()).is_empty());
        let mut partial = open(&target);
        partial.add(b"abc").unwrap();
        partial.discard();
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_and_who_may_read_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (link, file) = (dir.path().join("link"), dir.path().join("there/x"));
        fs::create_dir(dir.path().join("there")).unwrap();
        symlink("there/x", &link).unwrap();
        for bytes in [b"first", b"other"] {
            let mut partial = open(&link);
            partial.add(bytes).unwrap();
            partial.finish().unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
            assert!(link.is_symlink());
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut partial = open(&link);
        partial.add(b"x").unwrap();
        partial.finish().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_put_there_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (target, victim) = (dir.path().join("x"), dir.path().join("victim"));
        fs::write(&victim, b"precious").unwrap();
        for ending in [PART, NOTE] {
            std::os::unix::fs::symlink("victim", beside(&target, ending)).unwrap();
            let error = Partial::open(&target, &mut Silent).err().unwrap().to_string();
            assert!(error.contains("may not be vgg-ft's") && error.contains("it is a link"), "{error}");
            fs::remove_file(beside(&target, ending)).unwrap();
            let _ = fs::remove_file(beside(&target, NOTE));
        }
        fs::write(beside(&target, PART), b"precious").unwrap();
        let error = Partial::open(&target, &mut Silent).err().unwrap().to_string();
        assert!(error.contains("no note of what they are"), "{error}");
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(names(dir.path()), ["victim", "x.vgg-ft.part"]);
        assert_eq!(fs::read(beside(&target, PART)).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_what_is_gone_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        // The next process has made its own by now.
        let _other = File::create(&path).unwrap();
        assert!(!is_at(&file, &path));
    }

    #[test]
    fn the_second_waits_until_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x");
        let mut first = open(&target);
        first.annotate(Note::default()).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        struct Telling(std::sync::mpsc::Sender<String>);
        impl Watch for Telling {
            fn say(&mut self, remark: &str) {
                self.0.send(remark.to_owned()).unwrap();
            }
        }
        let waiting = {
            let target = target.clone();
            std::thread::spawn(move || Partial::open(&target, &mut Telling(said)).unwrap())
        };
        assert!(heard.recv().unwrap().starts_with("another process is fetching"));
        first.add(b"whole").unwrap();
        first.finish().unwrap();
        let second = waiting.join().unwrap();
        // The part of the first is gone under its new name: the second must not write into it.
        assert_eq!((second.waited, second.have), (true, 0));
        assert!(heard.recv().is_err(), "it is said once");
        second.keep();
        assert_eq!(names(dir.path()), ["x"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }
}
