//! Which images a folder holds: one sub-folder per class, in the order of Keras'
//! `flow_from_directory`, so that labels and positions agree with a run there.
//!
//! In: a path. Out: [`Folder`], or an error that says what was found instead.

use super::endings::{Endings, is_of_macos};
use super::split::is_part;
use crate::error::{Error, Kind, Result, in_one_line};
use crate::model::classes::listed;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

/// Endings that make a file an image, without regard to case. Keras reads the first seven; the others
/// are ours. As in Keras the dot is not asked for: `photojpg` counts.
pub const ENDINGS: [&str; 14] =
    ["png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff", "gif", "webp", "jpe", "jfif", "pgm", "pbm", "pnm"];

/// One image of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Relative to [`Folder::root`]; begins with the class.
    pub path: PathBuf,
    /// Position of the class in [`Folder::classes`].
    pub label: u32,
}

/// The images of a folder with one sub-folder per class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub root: PathBuf,
    /// Names of the sub-folders, sorted; the label is the position.
    pub classes: Vec<String>,
    /// The images, class by class.
    pub files: Vec<Sample>,
    /// What lies among them and is not read.
    pub unread: Endings,
    /// Names of hidden folders without images, which are no classes.
    pub ignored: Vec<String>,
    /// Links to folders inside the classes, which are not followed; relative to [`Folder::root`].
    pub links: Vec<PathBuf>,
    /// Whether a seed drew these images from those that are there.
    pub parted: bool,
}

impl Folder {
    /// Lists the images below `root`, without opening them (but files whose names have no ending, to tell of images).
    ///
    /// As Keras' `flow_from_directory`: classes are the folders directly in `root` (hidden ones and links to
    /// folders too), sorted by name; a class is searched with all folders below it (links to folders are not
    /// followed there), folder by folder in the order of their paths as text, files sorted by name:
    /// `cat.1`, `cat.10`, `cat.2`. Unlike there, a class without images is an error, or no class if it is hidden, and
    /// so is a run of ours among them, whose curves would be learned from, an error.
    ///
    /// # Errors
    /// [`Kind::Data`]: no such folder, not a folder, no classes, a class without images, a run.
    pub fn scan(root: &Path) -> Result<Self> {
        let entries = list(root)?;
        if let Some(error) = no_data(root) {
            return Err(error);
        }
        let (mut folders, mut ignored) = (Vec::new(), Vec::new());
        for Entry { name, .. } in entries.iter().filter(|entry| entry.is_dir) {
            // Notebooks and systems leave them, some of which nobody may list.
            if is_hidden(name) && !holds_images(&root.join(name)).unwrap_or(false) {
                ignored.push(name.to_string_lossy().into_owned());
            } else {
                folders.push(name);
            }
        }
        if folders.is_empty() {
            return Err(no_classes(root, &entries));
        }
        let classes: Vec<String> = folders.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if let Some(twice) =
            classes.iter().enumerate().find_map(|(i, c)| classes[..i].contains(c).then_some(c))
        {
            let message = format!("two class folders of {} are both called \"{twice}\"", root.display());
            return Err(Error::new(Kind::Data, message).help("rename one of them, in plain UTF-8"));
        }

        let mut files = Vec::new();
        let mut unread = Vec::with_capacity(classes.len());
        let mut links = Vec::new();
        for (label, class) in (0..).zip(folders) {
            let Below { images, runs, unread: here, links: unfollowed } =
                walk(root, class, &mut |_, _| false)?;
            if let Some(run) = runs.first() {
                let message = format!("{} holds a run, {}", root.display(), run.display());
                return Err(Error::new(Kind::Data, message)
                    .fact("why", "its curves would be taken for images")
                    .help("move the run out of the data"));
            }
            files.extend(images.into_iter().map(|path| Sample { path, label }));
            unread.push(here);
            links.extend(unfollowed);
        }
        let folder = Self {
            root: root.to_path_buf(),
            classes,
            files,
            unread: unread.iter().sum(),
            ignored,
            links,
            parted: false,
        };
        let counts = folder.counts();
        let empty: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] == 0).collect();
        match empty.first() {
            Some(&first) => Err(folder.no_images(&empty, &unread[first])),
            None => Ok(folder),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no images at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Path of image `i` with the root before it.
    pub fn path(&self, i: usize) -> PathBuf {
        self.root.join(&self.files[i].path)
    }

    /// Images of each class, in the order of the classes.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for file in &self.files {
            counts[file.label as usize] += 1;
        }
        counts
    }

    /// "cats 1000\ndogs 1000", for a fact of an error or a line of a report.
    pub fn census(&self) -> String {
        census(&self.classes, &self.counts())
    }

    /// Classes without images, and what else is in the first of them.
    fn no_images(&self, empty: &[usize], unread: &Endings) -> Error {
        let class = &self.classes[empty[0]];
        let read = ENDINGS.join(", ");
        let help = if unread.unnamed() > 0 {
            format!("{UNNAMED}; formats that are read: {read}")
        } else if unread.images().is_some() {
            format!("convert them, to .jpg or .png for example; formats that are read: {read}")
        } else {
            format!("put images into {class}, or remove the folder; formats that are read: {read}")
        };
        let root = self.root.display();
        let message = format!("class \"{class}\" of {root} has no images in a format that is read");
        let mut error = Error::new(Kind::Data, message).fact("images", self.census());
        if empty.len() > 1 {
            let others: Vec<&String> = empty[1..].iter().map(|&class| &self.classes[class]).collect();
            error = error.fact("nor have", listed(&others));
        }
        unread.all().into_iter().fold(error, |error, others| error.fact("others", others)).help(help)
    }

    /// Images in hidden folders below the classes, which Keras reads, too: copies of others, more often than not.
    pub fn hidden(&self) -> usize {
        let below = |path: &Path| path.parent().into_iter().flat_map(Path::iter).skip(1).any(is_hidden);
        self.files.iter().filter(|file| below(&file.path)).count()
    }

    /// Images beside the class folders, which are of no class; none where the folder cannot be listed any more.
    pub fn stray(&self) -> usize {
        let entries = list(&self.root).unwrap_or_default();
        entries.iter().filter(|entry| !entry.is_dir && is_image_name(&entry.name)).count()
    }
}

pub(super) fn census(classes: &[String], counts: &[usize]) -> String {
    let mut lines: Vec<String> =
        classes.iter().zip(counts).take(20).map(|(class, n)| format!("{} {n}", in_one_line(class))).collect();
    if classes.len() > lines.len() {
        lines.push(format!("and {} more classes", classes.len() - lines.len()));
    }
    lines.join("\n")
}

pub(super) struct Entry {
    pub name: OsString,
    /// Also of a link to one.
    pub is_dir: bool,
    pub is_link: bool,
}

/// What is directly in `dir`, sorted by name, but for what macOS adds to archives and foreign disks.
pub(super) fn list(dir: &Path) -> Result<Vec<Entry>> {
    let fail = |e: &std::io::Error| unlisted(dir, e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| fail(&e))? {
        let entry = entry.map_err(|e| fail(&e))?;
        if is_of_macos(&entry.path(), &entry.file_name()) {
            continue;
        }
        let is_link = entry.file_type().is_ok_and(|t: FileType| t.is_symlink());
        // Through the link, as Python's isdir; a broken link is not a folder.
        let is_dir = match fs::metadata(entry.path()) {
            Ok(there) => there.is_dir(),
            Err(_) if is_link => false,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
            // A folder that can be listed and not entered: its images would be missing without a word.
            Err(e) => return Err(fail(&e)),
        };
        entries.push(Entry { name: entry.file_name(), is_dir, is_link });
    }
    // Bytes of UTF-8 sort like the code points by which Python sorts.
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// What to do about images whose names have no ending.
pub(super) const UNNAMED: &str = "there are images whose names have no ending: add .jpg or .png, as they are";

/// Whether a folder of this name is hidden, from `ls` and Keras' `image_dataset_from_directory`.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether Keras, or we, would take a file of this name for an image.
pub fn is_image_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    ENDINGS.iter().any(|ending| {
        name.len() >= ending.len()
            && name[name.len() - ending.len()..].eq_ignore_ascii_case(ending.as_bytes())
    })
}

/// What lies below a folder.
pub struct Below {
    /// The images.
    pub images: Vec<PathBuf>,
    /// Folders that are runs, into which nobody looked: their curves are no images.
    pub runs: Vec<PathBuf>,
    /// What else is there.
    pub unread: Endings,
    /// Links to folders that were not followed.
    pub links: Vec<PathBuf>,
}

/// The file that makes a folder a finished run.
pub const RUN: &str = "run.toml";
/// That of a run which is being made, or was stopped.
pub const JOB: &str = "job.toml";
/// Either makes a folder a run.
const OF_RUN: [&str; 2] = [RUN, JOB];

/// Whether `dir` is the folder of a run.
pub fn is_run(dir: &Path) -> bool {
    OF_RUN.iter().any(|name| dir.join(name).is_file())
}

/// Why no images to learn from are in `path`, whatever it holds: it is there and no folder, or a run's.
pub fn no_data(path: &Path) -> Option<Error> {
    let (is, help) = if path.exists() && !path.is_dir() {
        ("a file, not a folder", "give the folder that holds one sub-folder per class")
    } else if is_run(path) {
        ("a run, not a folder of images", "give the folder of the images")
    } else {
        return None;
    };
    Some(Error::new(Kind::Data, format!("{} is {is}", path.display())).help(help))
}

/// All images below `root`, whatever their folders are called: folder by folder in the order of their paths as text,
/// files sorted by name, as within a class of [`Folder::scan`]. Paths begin with `root`. Links to folders are followed
/// where a data folder has its classes, in `root` and in parts such as `train` in it, if `root` is one (`of_classes`);
/// but not those that lead to where images are found anyway.
///
/// # Errors
/// [`Kind::Data`] when a folder cannot be listed.
pub fn images_below(root: &Path, of_classes: bool) -> Result<Below> {
    let mut led = vec![fs::canonicalize(root).unwrap_or_else(|_| root.to_owned())];
    let mut below = walk(root, OsStr::new(""), &mut |dir, link| {
        let of_classes = of_classes && (dir.as_os_str().is_empty() || is_part(dir.as_os_str()));
        let Some(leads) = fs::canonicalize(root.join(link)).ok().filter(|_| of_classes) else { return false };
        // Around, or to what is found anyway.
        let is_new = !led[0].starts_with(&leads) && !led.iter().any(|known| leads.starts_with(known));
        if is_new {
            led.push(leads);
        }
        is_new
    })?;
    // A later link may lead to a folder around what an earlier one led to.
    if led.iter().enumerate().any(|(at, one)| led[..at].iter().any(|other| other.starts_with(one))) {
        let mut known = HashSet::new();
        below
            .images
            .retain(|path| known.insert(fs::canonicalize(root.join(path)).unwrap_or_else(|_| path.clone())));
    }
    for path in below.images.iter_mut().chain(&mut below.runs).chain(&mut below.links) {
        // Joined, an empty path would add a slash.
        *path = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&*path) };
    }
    Ok(below)
}

/// What is in `root/start` and below, relative to `root`. `follow` hears of every link to a folder, and of the folder
/// that it is in.
fn walk(root: &Path, start: &OsStr, follow: &mut dyn FnMut(&Path, &Path) -> bool) -> Result<Below> {
    let mut found: Vec<(PathBuf, Vec<OsString>)> = Vec::new();
    let (mut runs, mut links) = (Vec::new(), Vec::new());
    let mut unread = Endings::default();
    let mut open = vec![PathBuf::from(start)];
    while let Some(dir) = open.pop() {
        let entries = list(&root.join(&dir))?;
        if entries.iter().any(|entry| !entry.is_dir && OF_RUN.iter().any(|name| entry.name == *name)) {
            runs.push(dir);
            continue;
        }
        let mut names = Vec::new();
        for entry in entries {
            if entry.is_dir {
                let below = dir.join(&entry.name);
                let is_followed = !entry.is_link || follow(&dir, &below);
                if is_followed { open.push(below) } else { links.push(below) }
            } else if is_image_name(&entry.name) {
                names.push(entry.name);
            } else {
                unread.count(&root.join(&dir), &entry.name);
            }
        }
        found.push((dir, names));
    }
    runs.sort_unstable();
    links.sort_unstable();
    // As text, not part by part: "a-b" stands before "a/c", because '-' stands before '/'.
    found.sort_unstable_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
    let images = found.into_iter().flat_map(|(dir, names)| names.into_iter().map(move |name| dir.join(name)));
    Ok(Below { images: images.collect(), runs, unread, links })
}

/// Whether there are images in `dir` or below, or a run: looks no further than the first.
fn holds_images(dir: &Path) -> Result<bool> {
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for Entry { name, is_dir, is_link } in list(&dir)? {
            if !is_dir && (is_image_name(&name) || OF_RUN.iter().any(|run| name == *run)) {
                return Ok(true);
            }
            if is_dir && !is_link {
                open.push(dir.join(name));
            }
        }
    }
    Ok(false)
}

fn unlisted(dir: &Path, error: &std::io::Error) -> Error {
    let name = dir.display();
    if let Some(error) = no_data(dir) {
        return error;
    }
    if error.kind() != std::io::ErrorKind::NotFound {
        return Error::new(Kind::Data, format!("cannot list the folder {name}"))
            .fact("reason", error)
            .help("check the permissions");
    }
    let out = Error::new(Kind::Data, format!("there is no folder {name}"));
    match dir.ancestors().skip(1).find(|above| above.is_dir()) {
        Some(above) => out.fact("exists", above.display()).help("check the path"),
        None => out.help("check the path"),
    }
}

fn no_classes(root: &Path, entries: &[Entry]) -> Error {
    let files = || entries.iter().filter(|e| !e.is_dir);
    let images = files().filter(|e| is_image_name(&e.name)).count();
    let found = match (images, files().count()) {
        (_, 0) if entries.is_empty() => "nothing, the folder is empty".to_string(),
        (_, 0) => "hidden folders without images".to_string(),
        (0, n) => format!("{n} files that are not images"),
        (1, _) => "1 image directly in it".to_string(),
        (n, _) => format!("{n} images directly in it"),
    };
    Error::new(Kind::Data, format!("{} holds no class folders", root.display()))
        .expected_got("one folder per class, with images in each", found)
        .help(
            "put the images of each class into a folder of its own, named like the class; `vgg-ft arrange` does it by a \
             list of labels (--labels FILE) or by names such as cat.17.jpg (--by-name)",
        )
}
