//! Which images there are, and of which class each is: by its folder, its name, or a list.
//!
//! In: the folder of the images and a [`Source`]. Out: the classes, and the images in the order in which the first of them
//! are the first: of a list as they stand there, else with the numbers in their names as numbers.

use super::list::by_list;
use super::order::natural;
use super::{Arrange, Item, Source};
use crate::data::Splits;
use crate::data::folder::{Folder, images_below};
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use crate::report::counted;
use crate::task::Host;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// Images by classes.
pub struct Sorted {
    /// In order of their names.
    pub classes: Vec<String>,
    /// In their order.
    pub items: Vec<Item>,
    /// What there is to say.
    pub notes: Vec<String>,
    /// What did not fit together.
    pub found: Unmatched,
}

/// What of a list and the images that are there did not fit together.
#[derive(Debug, Default)]
pub struct Unmatched {
    /// Images of the list that are not there.
    pub missing: Vec<String>,
    /// Images of the list that have no class.
    pub unlabelled: usize,
    /// Images that are there and not in the list.
    pub unlisted: usize,
}

/// Finds images and classes.
///
/// # Errors
/// As [`super::arrange`].
pub fn sorted(host: &Host, job: &Arrange) -> Result<Sorted> {
    let sorted = match &job.source {
        Source::Folders => by_folder(job)?,
        Source::Names => by_name(&job.images)?,
        Source::List { path, columns } => by_list(host, job, path, columns)?,
    };
    if let [only] = &sorted.classes[..] {
        let message = format!("all images of {} are of one class", job.images.display());
        return Err(Error::new(Kind::Data, message)
            .fact("class", only)
            .help("a classifier needs two classes or more"));
    }
    sorted.classes.iter().try_for_each(|class| require_folder_name(class))?;
    let part = sorted
        .classes
        .iter()
        .find(|class| ["train", "validation", "val", "valid", "test"].contains(&class.as_str()));
    if let Some(class) = part {
        return Err(Error::new(Kind::Data, format!("a class is called \"{class}\", as a split is"))
            .fact("classes", listed(&sorted.classes))
            .help("if these are the splits, name the column of the classes; else call the class otherwise"));
    }
    Ok(sorted)
}

/// A class becomes a folder.
fn require_folder_name(class: &str) -> Result<()> {
    let mut parts = Path::new(class).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(one)), None) if one == class);
    if plain
        && !class.starts_with('.')
        && !class.contains(['/', '\\', ':'])
        && !class.contains(char::is_control)
    {
        return Ok(());
    }
    Err(Error::new(
        Kind::Data,
        format!("a class cannot be called \"{class}\", for its name becomes a folder's"),
    )
    .help("call it otherwise in the list: without / \\ : and control characters, and no dot first"))
}

/// A class for each folder, from which splits are drawn.
fn by_folder(job: &Arrange) -> Result<Sorted> {
    let splits = Splits::judged(&job.images)?;
    if splits.train.root != job.images {
        return Err(Error::new(Kind::Usage, format!("{} has splits already", job.images.display()))
            .fact("found", splits.train.root.display())
            .help("to divide its training images anew, give that folder"));
    }
    if job.splits.is_empty() {
        return Err(Error::new(Kind::Usage, format!("{} has one folder per class already", job.images.display()))
            .help(
                "say how to split it (`--splits train=0.8,validation=0.1,test=0.1`), or what else tells the classes \
                 (--labels FILE, --by-name)",
            ));
    }
    let Folder { classes, files, .. } = splits.train;
    let mut items: Vec<Item> = files
        .into_iter()
        .map(|sample| Item {
            to: sample.path.components().skip(1).collect(),
            from: sample.path,
            class: sample.label as usize,
            split: None,
        })
        .collect();
    items.sort_by(|a, b| natural(&a.from, &b.from));
    Ok(Sorted { classes, items, notes: Vec::new(), found: Unmatched::default() })
}

/// The images of `root` and below, relative to it, with the numbers in their names as numbers.
pub fn images(root: &Path) -> Result<Vec<PathBuf>> {
    let below = images_below(root, true)?;
    let relative = |path: PathBuf| path.strip_prefix(root).map_or_else(|_| path.clone(), Path::to_owned);
    let mut images: Vec<PathBuf> = below.images.into_iter().map(relative).collect();
    if images.is_empty() {
        let error =
            Error::new(Kind::Data, format!("{} has no images in a format that is read", root.display()));
        let error = below.unread.all().into_iter().fold(error, |error, others| error.fact("others", others));
        return Err(error.help("give the folder of the images"));
    }
    images.sort_by(|a, b| natural(a, b));
    Ok(images)
}

/// A class for what the names begin with.
fn by_name(root: &Path) -> Result<Sorted> {
    let images = images(root)?;
    let mut of_class: HashMap<&str, usize> = HashMap::new();
    let mut named = Vec::with_capacity(images.len());
    for image in &images {
        let class =
            image.file_stem().and_then(|stem| stem.to_str()).map(class_of).filter(|class| !class.is_empty());
        let Some(class) = class else {
            return Err(Error::new(
                Kind::Data,
                format!("the name of {} does not begin with a class", image.display()),
            )
            .expected_got("a name such as cat.17.jpg or cat_17.jpg", image.display())
            .help("give a list of the classes with --labels, or take the image out of the folder"));
        };
        *of_class.entry(class).or_default() += 1;
        named.push(class);
    }
    let single = of_class.values().filter(|&&n| n == 1).count();
    if 2 * single > of_class.len() {
        let names: BTreeSet<&str> = of_class.keys().copied().collect();
        return Err(Error::new(
            Kind::Data,
            format!("the names of the images in {} do not tell classes", root.display()),
        )
        .fact(
            "would be",
            format!("{} of {}", counted(of_class.len(), "class"), counted(images.len(), "image")),
        )
        .fact("such as", listed(&names.into_iter().collect::<Vec<_>>()))
        .help("give a list of the classes with --labels"));
    }
    let classes: Vec<String> =
        of_class.keys().copied().collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect();
    let items = named.iter().zip(&images).map(|(name, image)| Item {
        from: image.clone(),
        to: image.clone(),
        class: classes.partition_point(|class| class.as_str() < *name),
        split: None,
    });
    let items = items.collect();
    Ok(Sorted { classes, items, notes: Vec::new(), found: Unmatched::default() })
}

/// What stands before the number at the end of a name: "cat" of "cat.17", "cat_17", "cat (17)"; all if there is none.
fn class_of(stem: &str) -> &str {
    let bare = stem.strip_suffix(')').unwrap_or(stem);
    let before = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    if before.len() == bare.len() {
        return stem;
    }
    before.trim_end_matches(['.', '_', '-', ' ', '('])
}
