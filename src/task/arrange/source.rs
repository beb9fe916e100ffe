//! Which images there are, and of which class each is: by its folder, its name, or a list.
//!
//! In: the folder of the images and a [`Source`]. Out: the classes, and the images in the order in which the first of them
//! are the first: of a list as they stand there, else with the numbers in their names as numbers.

use super::group::tell_groups;
use super::list::by_list;
use super::order::natural;
use super::{Arrange, Item, Source, some_of};
use crate::data::Splits;
use crate::data::folder::{Folder, images_below};
use crate::data::split::is_part;
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use crate::report::counted;
use crate::task::Host;
use crate::task::images::{passed_over, tell_passed_over};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// Images by classes.
pub struct Sorted {
    /// In order of their names.
    pub classes: Vec<String>,
    /// In their order.
    pub items: Vec<Item>,
    /// What did not fit together.
    pub found: Unmatched,
    /// The columns of image, class, split and group that a list was read by.
    pub columns: [Option<String>; 4],
}

impl Sorted {
    /// Of no list.
    pub fn new(classes: Vec<String>, items: Vec<Item>) -> Self {
        Self { classes, items, found: Unmatched::default(), columns: [const { None }; 4] }
    }
}

/// What of a list and the images that are there did not fit together.
#[derive(Debug, Default)]
pub struct Unmatched {
    /// Images of the list that are not there.
    pub missing: Vec<String>,
    /// Rows of the list without an image or a class.
    pub unlabelled: usize,
    /// Images of the list that have no split, where it has splits.
    pub unsplit: usize,
    /// Images that are there and not in the list.
    pub unlisted: usize,
}

impl Unmatched {
    /// What was left out, each with its number: with the first of the missing, and the `first` that is not in the list.
    pub fn told(&self, root: &Path, first: Option<&str>) -> Vec<String> {
        let mut notes = Vec::new();
        let mut left_out = |n: usize, what: &str, why: String, first: Option<&str>| {
            let first = first.map(|first| format!("; the first is {first}")).unwrap_or_default();
            if n > 0 {
                notes.push(format!("{} {why}, left out{first}", counted(n, what)));
            }
        };
        let missing = self.missing.first().map(String::as_str);
        left_out(self.missing.len(), "image", format!("of the list not in {}", root.display()), missing);
        left_out(self.unlabelled, "row", "of the list without an image or a class".into(), None);
        left_out(self.unsplit, "image", "of the list without a split".into(), None);
        left_out(self.unlisted, "image", "not in the list".into(), first);
        notes
    }
}

/// Finds images and classes.
///
/// # Errors
/// As [`super::arrange`].
pub fn sorted(host: &Host, job: &Arrange) -> Result<Sorted> {
    let mut sorted = match &job.source {
        Source::Folders => by_folder(host, job)?,
        Source::Names => by_name(host, &job.images)?,
        Source::List { path, columns } => by_list(host, job, path, columns)?,
    };
    if let [only] = &sorted.classes[..] {
        let message = format!("all images of {} are of one class", job.images.display());
        return Err(Error::new(Kind::Data, message)
            .fact("class", only)
            .help("a classifier needs two classes or more"));
    }
    if !matches!(job.source, Source::Folders) {
        require_unsplit(&sorted, job)?;
        require_classes(host, &sorted, job)?;
    }
    if let Some(pattern) = &job.groups {
        tell_groups(&mut sorted.items, pattern).map_err(|path| {
            Error::new(Kind::Data, format!("--groups {} does not fit {}", pattern.text(), path.display()))
                .help("{} stands for the group and * for anything: {}_* is p12 of p12_003.jpg, {}/* a folder")
        })?;
    }
    Ok(sorted)
}

/// Folders that are called as splits are, and that nobody asked about: their images would be mixed.
fn require_unsplit(sorted: &Sorted, job: &Arrange) -> Result<()> {
    let of_list = sorted.items.iter().any(|item| item.split.is_some());
    let tops = sorted.items.iter().filter_map(|item| {
        let mut parts = item.from.components();
        let top = parts.next().filter(|_| parts.next().is_some())?;
        is_part(top.as_os_str()).then(|| top.as_os_str().to_string_lossy().into_owned())
    });
    let tops: Vec<String> = tops.collect::<BTreeSet<_>>().into_iter().collect();
    if of_list || !job.splits.is_empty() || tops.len() < 2 {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{} has splits, which would be mixed", job.images.display()))
        .fact("found", listed(&tops))
        .help("give one of these folders; or draw others from all of them with --splits"))
}

/// Classes that nobody made folders of: whether they are some, and can become folders.
fn require_classes(host: &Host, sorted: &Sorted, job: &Arrange) -> Result<()> {
    let classes = &sorted.classes;
    let help = match job.source {
        Source::List { .. } => "--label-column says which column the classes are in",
        _ => "give a list of the classes with --labels",
    };
    let mut counts = vec![0; classes.len()];
    sorted.items.iter().for_each(|item| counts[item.class] += 1);
    let single: Vec<usize> = (0..classes.len()).filter(|&class| counts[class] == 1).collect();
    if classes.len() > 2 && 2 * single.len() > classes.len() {
        return Err(Error::new(
            Kind::Data,
            "most classes would have a single image, so these are no classes",
        )
        .fact("would be", format!("{} classes of {} images", classes.len(), sorted.items.len()))
        .fact("such as", some_of(classes, &single))
        .help(help));
    }
    if !single.is_empty() {
        host.note(format_args!("classes with a single image: {}", some_of(classes, &single)));
    }
    let is_split = |class: &&String| is_part(OsStr::new(class));
    if let Some(class) = classes.iter().find(is_split) {
        return Err(Error::new(Kind::Data, format!("a class is called \"{class}\", as a split is"))
            .fact("classes", listed(classes))
            .help(format!("call it otherwise; if these are the splits, {help}")));
    }
    let unfit = |class: &&String| !is_folder_name(class);
    let Some(class) = classes.iter().find(unfit) else { return Ok(()) };
    let image = sorted
        .items
        .iter()
        .find(|item| classes[item.class] == **class)
        .map(|item| item.from.display().to_string());
    Err(Error::new(
        Kind::Data,
        format!("a class cannot be called \"{class}\", for its name becomes a folder's"),
    )
    .fact("image", image.unwrap_or_default())
    .help("call it otherwise: with no dot first, no /, no control characters, and 255 bytes at most"))
}

/// Whether a folder can have this name here, and counts as a class.
fn is_folder_name(class: &str) -> bool {
    let mut parts = Path::new(class).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(one)), None) if one == class);
    let for_windows =
        !class.contains(['\\', ':', '*', '?', '<', '>', '|', '"']) && !class.ends_with(['.', ' ']);
    let fits = class.len() <= 255 && !class.starts_with('.') && !class.contains(char::is_control);
    plain && fits && (for_windows || !cfg!(windows))
}

/// A class for each folder, from which splits are drawn.
fn by_folder(host: &Host, job: &Arrange) -> Result<Sorted> {
    let splits = Splits::judged(&job.images)?;
    if splits.train.root != job.images {
        return Err(Error::new(Kind::Usage, format!("{} has splits already", job.images.display()))
            .fact("found", splits.train.root.display())
            .help("to divide its training images anew, give that folder"));
    }
    if job.splits.is_empty() {
        return Err(Error::new(Kind::Usage, format!("{} has one folder per class already", job.images.display()))
            .help(
                "say how to split it (--splits train=0.8,validation=0.1,test=0.1), or what else tells the classes \
                 (--labels FILE, --by-name)",
            ));
    }
    passed_over("images", &splits.train).iter().for_each(|note| host.note(note));
    let Folder { classes, files, .. } = splits.train;
    let mut items: Vec<Item> = files
        .into_iter()
        .map(|sample| Item {
            to: sample.path.components().skip(1).collect(),
            from: sample.path,
            class: sample.label as usize,
            split: None,
            group: None,
        })
        .collect();
    items.sort_by(|a, b| natural(&a.from, &b.from));
    Ok(Sorted::new(classes, items))
}

/// The images of `root` and below, relative to it, with the numbers in their names as numbers; tells what is passed over.
///
/// # Errors
/// [`Kind::Data`]: there are none; a folder that cannot be listed.
pub fn images(host: &Host, root: &Path) -> Result<Vec<PathBuf>> {
    let below = images_below(root, true)?;
    let relative = |path: PathBuf| path.strip_prefix(root).map_or_else(|_| path.clone(), Path::to_owned);
    let mut files: Vec<PathBuf> = below.images.into_iter().map(relative).collect();
    if files.is_empty() {
        let error =
            Error::new(Kind::Data, format!("{} has no images in a format that is read", root.display()));
        let error = below.unread.all().into_iter().fold(error, |error, others| error.fact("others", others));
        return Err(error.help("give the folder of the images"));
    }
    files.sort_by(|a, b| natural(a, b));
    tell_passed_over(host, &below.runs, &below.unread, &below.links);
    Ok(files)
}

/// A class for what the names begin with.
fn by_name(host: &Host, root: &Path) -> Result<Sorted> {
    let files = images(host, root)?;
    let mut named = Vec::with_capacity(files.len());
    for image in &files {
        let help = "give a list of the classes with --labels, or take the image out of the folder";
        let Some(stem) = image.file_stem().and_then(OsStr::to_str) else {
            let message = format!("the name of {} is not UTF-8", image.display());
            return Err(Error::new(Kind::Data, message).help(help));
        };
        let class = class_of(stem);
        if class.is_empty() {
            let message = format!("the name of {} does not begin with a class", image.display());
            return Err(Error::new(Kind::Data, message)
                .expected_got("a name such as cat.17.jpg or cat_17.jpg", image.display())
                .help(help));
        }
        named.push(class);
    }
    let names: BTreeSet<&str> = named.iter().copied().collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let item = |(name, image): (&&str, &PathBuf)| Item {
        from: image.clone(),
        to: image.clone(),
        class: classes.partition_point(|class| class.as_str() < *name),
        split: None,
        group: None,
    };
    let items: Vec<Item> = named.iter().zip(&files).map(item).collect();
    Ok(Sorted::new(classes, items))
}

/// What systems add to the name of a copy.
const COPIES: [&str; 2] = [" - Copy", " copy"];

/// What stands before the number at the end of a name: "cat" of "cat.17", "cat_17", "cat (17)"; all if there is none. What
/// systems add to a copy is none of it: "cat.17 (2)", "cat.17 - Copy".
fn class_of(stem: &str) -> &str {
    let stem = COPIES.iter().fold(stem, |stem, copy| stem.strip_suffix(copy).unwrap_or(stem));
    let before = |text: &'_ str| text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let ends_with_number = |text: &str| before(text) < text.len();
    if let Some((name, number)) = stem.strip_suffix(')').and_then(|stem| stem.rsplit_once(" ("))
        && before(number) == 0
    {
        let is_copy =
            ends_with_number(name) || name.ends_with(')') || COPIES.iter().any(|copy| name.ends_with(copy));
        return if is_copy { class_of(name) } else { name };
    }
    if !ends_with_number(stem) {
        return stem;
    }
    stem[..before(stem)].trim_end_matches(['.', '_', '-', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_its_class() {
        for (name, class) in [
            ("cat.17", "cat"),
            ("Abyssinian_100", "Abyssinian"),
            ("boeing747-12", "boeing747"),
            ("red fox (3)", "red fox"),
            ("cat.17 (2)", "cat"),
            ("cat.17 - Copy", "cat"),
            ("cat.17 - Copy (2)", "cat"),
            ("cat (17) (2)", "cat"),
            ("dog.2 copy", "dog"),
            ("owl", "owl"),
            ("owl)", "owl)"),
            ("b (x)", "b (x)"),
            ("\u{fc}7", "\u{fc}"),
            ("17", ""),
            ("_17", ""),
            ("", ""),
        ] {
            assert_eq!(class_of(name), class, "{name}");
        }
    }
}
