//! Who is learned from, who is asked in between, and who at the end.
//!
//! In: a folder with `train/`, `validation/` and `test/`, or one of classes and a fraction. Out:
//! [`Splits`] whose parts have the same classes. Images whose part is settled keep it ([`Stays`]).

mod name;

pub use name::Split;

use super::endings::Endings;
use super::folder::{self, Folder, Sample};
use crate::error::{Error, Kind, Result};
use crate::model::classes::{composed_otherwise, listed};
use crate::random::{self, Stream};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The parts of a data set. All have the same classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Learned from.
    pub train: Folder,
    /// Measured on after every epoch.
    pub validation: Option<Folder>,
    /// Measured on once, at the end.
    pub test: Option<Folder>,
    /// Folders beside the parts that are none, by name; hidden ones are not counted.
    pub passed_over: Vec<String>,
}

/// The part that an image stays in, whatever a seed would draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It was learned from.
    Train,
    /// It was held out.
    Validation,
}

/// Whether a folder of this name may be a part.
pub fn is_part(name: &OsStr) -> bool {
    Split::ALL.iter().flat_map(|split| split.folders()).any(|folder| name == *folder)
}

impl Splits {
    /// Finds the parts of `data`.
    ///
    /// With `train/` in it, that, and `validation/` (or `val/`, `valid/`) and `test/` where they are;
    /// otherwise `data` itself is a folder of classes. A `train/` that holds images but no folders
    /// is a class, unless nothing but parts stands beside it. `validation_split`, above 0 and below
    /// 1, takes that share of each class of the training part for validation; who goes depends on
    /// `seed` and on the paths inside the folder alone, so that another class or another image does
    /// not shuffle the rest (it moves at most the last one in or out).
    ///
    /// # Errors
    /// [`Kind::Usage`]: a fraction out of range, or one given beside a validation folder.
    /// [`Kind::Data`]: as [`Folder::scan`]; fewer than two classes; classes that look like parts
    /// (`training_set`, `test_set`); parts whose classes differ; a class too small to be split.
    pub fn open(data: &Path, validation_split: Option<f32>, seed: u64) -> Result<Self> {
        Self::read(data, validation_split, seed, require_two_classes)
    }

    /// The parts that lie in `data`, of images that a classifier is judged on: they may all be of one class.
    ///
    /// # Errors
    /// As [`Splits::open`], but for the number of classes.
    pub fn judged(data: &Path) -> Result<Self> {
        Self::read(data, None, 0, |_| Ok(()))
    }

    /// The parts that are there, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Split, &Folder)> {
        Split::ALL.into_iter().filter_map(|split| Some((split, self.get(split)?)))
    }

    /// A part, if it is there.
    pub fn get(&self, split: Split) -> Option<&Folder> {
        match split {
            Split::Train => Some(&self.train),
            Split::Validation => self.validation.as_ref(),
            Split::Test => self.test.as_ref(),
        }
    }

    /// The part `split`, of data that have no train: the test split or else the validation split if none is named.
    /// Each holds folders, and nothing lies beside them.
    pub fn without_train(data: &Path, split: Option<Split>) -> Option<(Split, PathBuf)> {
        let entries = folder::list(data).ok()?;
        let folders = entries.iter().filter(|e| e.is_dir && !folder::is_hidden(&e.name));
        let names: Vec<_> = folders.map(|e| e.name.to_str()).collect();
        let judges = |split: Split, name: &str| split != Split::Train && split.folders().contains(&name);
        let is_judge = |name: &Option<&str>| {
            name.is_some_and(|name| Split::ALL.iter().any(|&split| judges(split, name)))
        };
        if !names.iter().all(is_judge) || entries.iter().any(|e| !e.is_dir && folder::is_image_name(&e.name))
        {
            return None;
        }
        let called = |split: Split| {
            let name = names.iter().flatten().find(|name| judges(split, name))?;
            Some((split, data.join(name)))
        };
        let (split, part) = match split {
            Some(split) => called(split),
            None => called(Split::Test).or_else(|| called(Split::Validation)),
        }?;
        holds_folders(&part).map(|_| (split, part))
    }

    fn read(
        data: &Path,
        validation_split: Option<f32>,
        seed: u64,
        require: impl FnOnce(&Folder) -> Result<()>,
    ) -> Result<Self> {
        if let Some(share) = validation_split {
            require_share(share)?;
        }
        let parts = Parts::find(data)?;
        let train = Folder::scan(parts.train.as_deref().unwrap_or(data))?;
        require(&train)?;
        if parts.train.is_none() {
            require_classes(&train)?;
        }
        let passed_over = parts.passed_over;
        let open = |part: &Option<PathBuf>| part.as_deref().map(|p| same_classes(&train, p)).transpose();
        let validation = open(&parts.validation)?;
        let test = open(&parts.test)?;

        let splits = Self { train, validation, test, passed_over };
        match validation_split {
            Some(share) => splits.held_out(share, seed, &[]),
            None => Ok(splits),
        }
    }

    /// These, without a validation folder, with `share` of each class of the training part held out. `stays` says in which
    /// part an image of it stays, in their order; none of the rest if it is shorter. Of those that are free so many are
    /// drawn, by `seed` and their paths, that the share of all of the class is held out, or as nearly as they allow. So
    /// where no image stays, and where all do that were drawn by the same share and seed, the parts are those of
    /// [`Splits::open`].
    ///
    /// # Errors
    /// [`Kind::Usage`]: a fraction out of range, or a validation folder beside. [`Kind::Data`]: a class too small to be
    /// split, or of which nothing is left to learn from; nothing to hold out.
    pub fn held_out(&self, share: f32, seed: u64, stays: &[Option<Stays>]) -> Result<Self> {
        require_share(share)?;
        if let Some(there) = &self.validation {
            return Err(Error::new(
                Kind::Usage,
                "a validation split was asked for, but there is a validation folder",
            )
            .fact("folder", there.root.display())
            .fact("split", share)
            .help(
                "to use the folder, leave --validation-split out, or give `--validation-split 0` where a --config \
                 file has a split; to use the split, move the folder away",
            ));
        }
        let (train, validation) = split(&self.train, share, seed, stays)?;
        Ok(Self { train, validation: Some(validation), ..self.clone() })
    }
}

struct Parts {
    train: Option<PathBuf>,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
    passed_over: Vec<String>,
}

impl Parts {
    fn find(data: &Path) -> Result<Self> {
        let entries = folder::list(data)?;
        let folders = entries.iter().filter(|e| e.is_dir && !folder::is_hidden(&e.name));
        let names: Vec<_> = folders.map(|e| e.name.as_os_str()).collect();
        let only_parts = names.iter().all(|name| is_part(name));
        let train = data.join("train");
        let is_split = train.is_dir()
            && (only_parts || folder::list(&train)?.iter().any(|e| e.is_dir && !folder::is_hidden(&e.name)));
        if !is_split {
            return Ok(Self { train: None, validation: None, test: None, passed_over: Vec::new() });
        }
        let there = |name: &&str| names.iter().any(|n| n.to_str() == Some(name));
        let found: Vec<&str> =
            Split::Validation.folders().iter().filter(|name| there(name)).copied().collect();
        if found.len() > 1 {
            let message = format!("{} has more than one validation folder", data.display());
            return Err(Error::new(Kind::Data, message)
                .fact("found", found.join(", "))
                .help("keep one of them"));
        }
        Ok(Self {
            train: Some(train),
            validation: found.first().map(|name| data.join(name)),
            test: there(&"test").then(|| data.join("test")),
            passed_over: names
                .iter()
                .filter(|name| !is_part(name))
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
        })
    }
}

fn require_share(share: f32) -> Result<()> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "the validation split is not a share of the images")
        .expected_got("above 0 and below 1", share)
        .help("0.2 keeps a fifth of each class for validation"))
}

fn require_two_classes(folder: &Folder) -> Result<()> {
    if folder.classes.len() > 1 {
        return Ok(());
    }
    let message = format!("{} has only one class", folder.root.display());
    let below = folder.root.join(&folder.classes[0]);
    let help = if holds_folders(&below).is_some_and(|names| names.len() > 1) {
        format!(
            "a classifier needs two classes or more: are they those in {}? Then give that folder",
            below.display()
        )
    } else {
        "a classifier needs two classes or more: give the folder above, or add a class".into()
    };
    Err(Error::new(Kind::Data, message).fact("images", folder.census()).help(help))
}

/// The folders in `dir`, if it holds some and no images beside them; none where it cannot be listed.
fn holds_folders(dir: &Path) -> Option<Vec<OsString>> {
    let entries = folder::list(dir).ok()?;
    let images = entries.iter().any(|entry| !entry.is_dir && folder::is_image_name(&entry.name));
    let names: Vec<OsString> =
        entries.into_iter().filter(|e| e.is_dir && !folder::is_hidden(&e.name)).map(|e| e.name).collect();
    (!images && !names.is_empty()).then_some(names)
}

/// Whether classes are classes, and not parts under names that we do not know (`training_set`, `seg_train`, `Test`): each
/// holds the same folders, two or more, and no images of its own.
fn require_classes(folder: &Folder) -> Result<()> {
    // By the words of its name which part of a set a class may be: 0 to learn from, 1 to validate with, 2 to test with.
    let kind = |class: &String| {
        let class = class.to_lowercase();
        let mut words = class.split(|c: char| !c.is_alphanumeric());
        let kinds = [&["train"][..], &["val", "dev", "eval"], &["test"]];
        words.find_map(|word| kinds.iter().position(|part| part.iter().any(|part| word.starts_with(part))))
    };
    let Some(kinds) = folder.classes.iter().map(kind).collect::<Option<BTreeSet<usize>>>() else {
        return Ok(());
    };
    // Freight trains and steam trains are classes.
    if kinds.len() < 2 && !folder.classes.iter().all(|class| is_part(OsStr::new(class))) {
        return Ok(());
    }
    let Some(names) = in_each(folder) else { return Ok(()) };
    let message = format!("the classes of {} look like the parts of a data set", folder.root.display());
    let is_judge = |class: &String| class != "train" && is_part(OsStr::new(class));
    let help = match folder.classes.iter().find(|class| is_judge(class)) {
        Some(part) if folder.classes.iter().all(is_judge) => {
            format!("there is no train beside them: give {} itself", folder.root.join(part).display())
        }
        _ => "call them train, validation and test, as they are written here; or give the folder of one of them".into(),
    };
    Err(Error::new(Kind::Data, message)
        .fact("classes", listed(&folder.classes))
        .fact("in each", listed(&names))
        .help(help))
}

/// The folders that each class of `folder` holds, if all hold the same, two or more, and no images of their own. Then these
/// may be the classes, and the classes something else.
pub fn in_each(folder: &Folder) -> Option<Vec<String>> {
    let mut inner = folder.classes.iter().map(|class| holds_folders(&folder.root.join(class)));
    let first = inner.next()?.filter(|names| names.len() > 1)?;
    let all = inner.all(|names| names.as_ref() == Some(&first));
    all.then(|| first.iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

fn same_classes(train: &Folder, part: &Path) -> Result<Folder> {
    let folder = Folder::scan(part)?;
    let lacks = |a: &Folder, b: &Folder| {
        let lack: Vec<&str> =
            b.classes.iter().filter(|c| !a.classes.contains(c)).map(String::as_str).collect();
        listed(&lack)
    };
    let (missing, extra) = (lacks(&folder, train), lacks(train, &folder));
    if missing.is_empty() && extra.is_empty() {
        return Ok(folder);
    }
    let message = format!("the classes of {} are not those of {}", part.display(), train.root.display());
    let mut error = Error::new(Kind::Data, message);
    for (what, classes) in [("missing", missing), ("not in train", extra)] {
        if !classes.is_empty() {
            error = error.fact(what, classes);
        }
    }
    if let Some(alike) = composed_otherwise(&folder.classes, &train.classes) {
        error = error.fact("reason", alike);
    }
    Err(error.help("give every part the same class folders; names must match letter for letter"))
}

fn split(all: &Folder, share: f32, seed: u64, stays: &[Option<Stays>]) -> Result<(Folder, Folder)> {
    let stays = |i: usize| stays.get(i).copied().flatten();
    let mut by_class = vec![Vec::new(); all.classes.len()];
    for (i, file) in all.files.iter().enumerate() {
        by_class[file.label as usize].push(i);
    }
    let few: Vec<&String> = all
        .classes
        .iter()
        .zip(&by_class)
        .filter(|(_, members)| members.len() < 2 && members.iter().all(|&i| stays(i).is_none()))
        .map(|(class, _)| class)
        .collect();
    if let Some(class) = few.first() {
        let message = format!("class \"{class}\" has too few images for a validation split");
        let mut error = Error::new(Kind::Data, message).expected_got("2 or more", 1);
        if few.len() > 1 {
            error = error.fact("so have", listed(&few[1..]));
        }
        return Err(error.help("add images, remove the class, or give a validation folder"));
    }
    let mut is_held: Vec<bool> = (0..all.len()).map(|i| stays(i) == Some(Stays::Validation)).collect();
    for (class, members) in all.classes.iter().zip(by_class) {
        // Both sides get someone, however small the class: also where nobody was learned from before.
        let wanted = (members.len() as f64 * f64::from(share)).round() as usize;
        let wanted = wanted.clamp(1, (members.len() - 1).max(1));
        let held = members.iter().filter(|&&i| is_held[i]).count();
        let mut free: Vec<usize> = members.iter().copied().filter(|&i| stays(i).is_none()).collect();
        if held == members.len() {
            let message = format!("class \"{class}\" has nothing to learn from");
            return Err(Error::new(Kind::Data, message)
                .fact("held out", format!("all {held} images that are there, and before"))
                .help("add images of the class that are new, or put back those that were learned from"));
        }
        free.sort_by_cached_key(|&i| (rank(&all.files[i].path, seed), i));
        for &i in &free[..wanted.saturating_sub(held).min(free.len())] {
            is_held[i] = true;
        }
    }
    if !is_held.contains(&true) {
        return Err(Error::new(
            Kind::Data,
            format!("all images of {} have been learned from, so none can be held out", all.root.display()),
        )
        .fact("images", all.len())
        .help("add images that are new, or leave the validation split out (`--validation-split 0`)"));
    }
    let take = |want: bool| Folder {
        files: keep(&all.files, |i| is_held[i] == want),
        root: all.root.clone(),
        classes: all.classes.clone(),
        // Once is enough.
        unread: if want { Endings::default() } else { all.unread.clone() },
        ignored: if want { Vec::new() } else { all.ignored.clone() },
        links: if want { Vec::new() } else { all.links.clone() },
        parted: true,
    };
    Ok((take(false), take(true)))
}

fn keep(files: &[Sample], wanted: impl Fn(usize) -> bool) -> Vec<Sample> {
    files.iter().enumerate().filter(|&(i, _)| wanted(i)).map(|(_, file)| file.clone()).collect()
}

/// A random place in a queue that belongs to the image, not to its position.
pub fn rank(path: &Path, seed: u64) -> u64 {
    let mut hash = Sha256::new();
    for part in path.components() {
        hash.update(part.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let counter = digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let [a, b, ..] = random::draw(seed, Stream::Split, counter);
    u64::from(a) << 32 | u64::from(b)
}
