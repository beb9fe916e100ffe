//! A list and the images that are there, brought together.
//!
//! In: rows of a list, and [`Finder`]. Out: the images that have a class, each once, and what did not fit.

use super::source::{Sorted, Unmatched, images};
use super::{Arrange, Item};
use crate::data::labels::finder::{Finder, Found};
use crate::data::labels::{Columns, List, Row};
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use crate::report::counted;
use crate::task::{Host, SplitName};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The classes that the list at `path` gives the images.
///
/// # Errors
/// As [`super::arrange`].
pub fn by_list(host: &Host, job: &Arrange, path: &Path, columns: &Columns) -> Result<Sorted> {
    let finder = Finder::new(images(&job.images)?);
    let mut list = List::read(path, columns, &finder)?;
    let mut notes = Vec::new();
    if columns.split.is_none() {
        notes.extend(pass_over_splits(&mut list, !job.splits.is_empty()));
    }
    let split = list.split.as_ref().map_or(String::new(), |name| format!(", splits from {name}"));
    host.say(format_args!(
        "labels     {}: {}, images from column {}, classes from {}{split}",
        path.display(),
        counted(list.rows.len(), "row"),
        list.image,
        list.label,
    ));
    let Matched { rows, mut found, prefix } = matched(list.rows, &finder)?;
    require_some(&rows, &found, job)?;
    found.unlisted = finder.files().len() - rows.len();
    notes.extend(told(&rows, &found, &finder, job));
    notes.extend(prefix.map(|prefix| format!("paths of the list are taken without their leading {prefix}")));

    let names: BTreeSet<&str> = rows.iter().map(|(row, _)| row.label.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut items = Vec::with_capacity(rows.len());
    for (row, image) in &rows {
        let split = match row.split.as_deref() {
            None => None,
            Some("") => continue,
            Some(text) => Some(split_of(text).ok_or_else(|| no_split(path, row.line, text))?),
        };
        let from = finder.files()[*image].clone();
        let class = classes.partition_point(|class| *class < row.label);
        items.push(Item { to: from.clone(), from, class, split });
    }
    Ok(Sorted { classes, items, notes, found })
}

/// Takes the splits out of a list of whose columns nobody named one for them, if they are none, or `others` are asked for.
fn pass_over_splits(list: &mut List, others: bool) -> Option<String> {
    let column = list.split.clone()?;
    let odd = list.rows.iter().find_map(|row| {
        let text = row.split.as_deref().filter(|text| !text.is_empty())?;
        split_of(text).is_none().then(|| format!("line {} says \"{text}\"", row.line))
    });
    let why = if others { "--splits says otherwise".to_owned() } else { odd? };
    list.split = None;
    list.rows.iter_mut().for_each(|row| row.split = None);
    Some(format!("the column \"{column}\" is not taken for splits: {why}"))
}

/// What a list calls a split.
fn split_of(text: &str) -> Option<SplitName> {
    match text.to_lowercase().as_str() {
        "train" | "training" => Some(SplitName::Train),
        "validation" | "val" | "valid" | "dev" => Some(SplitName::Validation),
        "test" | "testing" => Some(SplitName::Test),
        _ => None,
    }
}

fn no_split(path: &Path, line: u64, text: &str) -> Error {
    Error::new(Kind::Data, format!("line {line} of {} names no split", path.display()))
        .expected_got("train, validation (val, valid, dev) or test", format!("\"{text}\""))
        .help("mend the list, or give another column with --split-column")
}

struct Matched {
    /// Rows with a class, and the numbers of their images, each of which is there once.
    rows: Vec<(Row, usize)>,
    found: Unmatched,
    /// What paths of the list begin with before the part that is theirs in the folder.
    prefix: Option<String>,
}

fn matched(list: Vec<Row>, finder: &Finder) -> Result<Matched> {
    let (mut found, mut prefix) = (Unmatched::default(), None);
    // Where an image stands among the rows.
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut rows: Vec<(Row, usize)> = Vec::with_capacity(list.len());
    for row in list {
        if row.image.is_empty() || row.label.is_empty() {
            found.unlabelled += 1;
            continue;
        }
        let image = match image_of(&row.image, finder, &mut prefix) {
            Found::One(image) => image,
            Found::None => {
                found.missing.push(row.image);
                continue;
            }
            Found::Several(which) => {
                let names: Vec<String> =
                    which.iter().map(|&i| finder.files()[i].display().to_string()).collect();
                let message = format!("line {}: \"{}\" may be several images", row.line, row.image);
                return Err(Error::new(Kind::Data, message)
                    .fact("images", listed(&names))
                    .help("give their paths in the list, with endings"));
            }
        };
        match seen.get(&image).map(|&at| &rows[at].0) {
            None => {
                seen.insert(image, rows.len());
                rows.push((row, image));
            }
            Some(before) if before.label == row.label && before.split == row.split => {}
            Some(before) => {
                let image = finder.files()[image].display();
                return Err(Error::new(Kind::Data, format!("the list contradicts itself about {image}"))
                    .fact("first", says(before))
                    .fact("then", says(&row))
                    .help("an image has one class and one split: take one of the lines out"));
            }
        }
    }
    Ok(Matched { rows, found, prefix })
}

/// The image called `name`, if need be behind `prefix`, which is the same for all rows: "b/1.jpg" is not the 1.jpg that
/// lies beside a folder a.
fn image_of(name: &str, finder: &Finder, prefix: &mut Option<String>) -> Found {
    let found = finder.find(name);
    if found != Found::None {
        return found;
    }
    if prefix.is_none() {
        *prefix = finder.prefix(name);
    }
    let behind = prefix.as_deref().and_then(|prefix| Finder::behind(name, prefix));
    behind.map_or(Found::None, |name| finder.find(&name))
}

fn says(row: &Row) -> String {
    let split = row.split.as_deref().map(|split| format!(" in {split}")).unwrap_or_default();
    format!("\"{}\"{split}, line {}", row.label, row.line)
}

fn require_some(rows: &[(Row, usize)], found: &Unmatched, job: &Arrange) -> Result<()> {
    if let Some(first) = found.missing.first()
        && (rows.is_empty() || job.strict)
    {
        let (n, root) = (found.missing.len(), job.images.display());
        let are = if n == 1 { "is" } else { "are" };
        let message = format!("{} of the list {are} not in {root}", counted(n, "image"));
        return Err(Error::new(Kind::Data, message).fact("first", first).help(if rows.is_empty() {
            "give the folder that the list's paths begin in; --image-column says which column they are in"
        } else {
            "put them there, or leave --strict out"
        }));
    }
    if rows.is_empty() {
        return Err(Error::new(Kind::Data, "no image of the list has a class")
            .help("--label-column says which column the classes are in"));
    }
    Ok(())
}

/// What there is to say of what was left out.
fn told(rows: &[(Row, usize)], found: &Unmatched, finder: &Finder, job: &Arrange) -> Vec<String> {
    let mut notes = Vec::new();
    let mut left_out = |n: usize, what: &str, why: String, first: Option<&str>| {
        let first = first.map(|first| format!("; the first is {first}")).unwrap_or_default();
        if n > 0 {
            notes.push(format!("{} {why}, left out{first}", counted(n, what)));
        }
    };
    let root = job.images.display();
    let missing = found.missing.first().map(String::as_str);
    left_out(found.missing.len(), "image", format!("of the list not in {root}"), missing);
    left_out(found.unlabelled, "row", "of the list without an image or a class".into(), None);
    let without = rows.iter().filter(|(row, _)| row.split.as_deref() == Some("")).count();
    left_out(without, "image", "of the list without a split".into(), None);
    let of_list: BTreeSet<usize> = rows.iter().map(|(_, image)| *image).collect();
    let first = (0..finder.files().len()).find(|i| !of_list.contains(i));
    let first = first.map(|i| finder.files()[i].display().to_string());
    left_out(found.unlisted, "image", "not in the list".into(), first.as_deref());
    notes
}
