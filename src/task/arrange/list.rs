//! A list and the images that are there, brought together.
//!
//! In: rows of a list, and [`Finder`]. Out: the images that have a class, each once, and what did not fit.

use super::source::{Sorted, Unmatched, images};
use super::{Arrange, Item};
use crate::data::Split;
use crate::data::labels::finder::{Finder, Found};
use crate::data::labels::{Columns, List, Row};
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use crate::report::counted;
use crate::task::Host;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The classes that the list at `path` gives the images.
///
/// # Errors
/// As [`super::arrange`].
pub fn by_list(host: &Host, job: &Arrange, path: &Path, columns: &Columns) -> Result<Sorted> {
    let finder = Finder::new(images(host, &job.images)?);
    let mut list = List::read(path, columns, &finder)?;
    list.notes.iter().for_each(|note| host.note(note));
    if columns.split.is_none()
        && let Some(note) = pass_over_splits(&mut list, !job.splits.is_empty())
    {
        host.note(note);
    }
    let split = list.split.as_ref().map_or(String::new(), |name| format!(", splits from {name}"));
    host.say(format_args!(
        "labels     {}: {}, images from column {}, classes from {}{split}",
        path.display(),
        counted(list.rows.len(), "row"),
        list.image,
        list.label,
    ));
    if let Some(column) = list.may_group.as_ref().filter(|_| !job.splits.is_empty() && job.groups.is_none()) {
        host.note(format_args!(
            "images of one {column} may go to several splits, so that a model is judged by what it learned; --group-column \
             {column} keeps them together"
        ));
    }
    let columns = [Some(list.image), Some(list.label), list.split, list.group];
    let sorted = brought_together(host, list.rows, &finder, job);
    let sorted =
        sorted.map_err(|error| error.context(format!("reading the labels in {}", path.display())))?;
    Ok(Sorted { columns, ..sorted })
}

fn brought_together(host: &Host, list: Vec<Row>, finder: &Finder, job: &Arrange) -> Result<Sorted> {
    let Matched { rows, found } = matched(host, list, finder, job)?;
    let placed = rows.iter().filter(|(row, _)| row.split.as_deref() != Some(""));
    let names: BTreeSet<&str> = placed.clone().map(|(row, _)| row.label.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut items = Vec::with_capacity(rows.len());
    for (row, image) in placed {
        let split =
            row.split.as_deref().map(|text| Split::of_word(text).ok_or_else(|| no_split(row.line, text)));
        let from = finder.files()[*image].clone();
        let class = classes.partition_point(|class| *class < row.label);
        items.push(Item {
            to: from.clone(),
            from,
            class,
            split: split.transpose()?,
            group: row.group.clone(),
        });
    }
    if items.is_empty() {
        return Err(Error::new(Kind::Data, "no image of the list has a class and a split")
            .help("--label-column and --split-column say which columns they are in"));
    }
    Ok(Sorted { found, ..Sorted::new(classes, items) })
}

/// Takes the splits out of a list of whose columns nobody named one for them, if none is one, or `others` are asked for.
fn pass_over_splits(list: &mut List, others: bool) -> Option<String> {
    let column = list.split.clone()?;
    let mut values = list.rows.iter().filter_map(|row| row.split.as_deref().filter(|text| !text.is_empty()));
    let why = if others {
        "--splits says otherwise".to_owned()
    } else if values.clone().any(|text| Split::of_word(text).is_some()) {
        return None;
    } else {
        format!("it says \"{}\"", values.next()?)
    };
    list.split = None;
    list.rows.iter_mut().for_each(|row| row.split = None);
    Some(format!("the column \"{column}\" is not taken for splits: {why}"))
}

fn no_split(line: u64, text: &str) -> Error {
    Error::new(Kind::Data, format!("line {line} names no split"))
        .expected_got("train, validation (val, valid, dev) or test", format!("\"{text}\""))
        .help("mend the list, give another column with --split-column, or draw splits with --splits")
}

struct Matched {
    /// Rows with a class, and the numbers of their images, each of which is there once.
    rows: Vec<(Row, usize)>,
    found: Unmatched,
}

fn matched(host: &Host, list: Vec<Row>, finder: &Finder, job: &Arrange) -> Result<Matched> {
    let prefix = prefix(&list, finder, &job.images)?;
    let (mut found, mut unlabelled) = (Unmatched::default(), BTreeSet::new());
    // Images that are found by less than their paths.
    let mut loose: Vec<(String, usize)> = Vec::new();
    // Where an image stands among the rows.
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut rows: Vec<(Row, usize)> = Vec::with_capacity(list.len());
    for row in list {
        if row.image.is_empty() {
            found.unlabelled += 1;
            continue;
        }
        let behind = |prefix: &String| finder.behind(&row.image, prefix);
        let image = match finder.find(&row.image) {
            Found::None => prefix.as_ref().map_or(Found::None, behind),
            Found::One(image) => {
                if !finder.is_path(&row.image, image) {
                    loose.push((row.image.clone(), image));
                }
                Found::One(image)
            }
            found => found,
        };
        let image = match image {
            Found::One(image) => image,
            Found::None => {
                found.missing.push(row.image);
                continue;
            }
            Found::Several(which) => return Err(several(&row, &which, finder)),
        };
        if row.label.is_empty() {
            found.unlabelled += 1;
            unlabelled.insert(image);
            continue;
        }
        match seen.get(&image).map(|&at| &rows[at].0) {
            None => {
                seen.insert(image, rows.len());
                rows.push((row, image));
            }
            Some(before)
                if before.label == row.label && before.group == row.group && same_split(before, &row) => {}
            Some(before) => {
                let image = finder.files()[image].display();
                return Err(Error::new(Kind::Data, format!("the list contradicts itself about {image}"))
                    .fact("first", says(before))
                    .fact("then", says(&row))
                    .help("an image has one class, one split and one group: take one of the lines out"));
            }
        }
    }
    found.unsplit = rows.iter().filter(|(row, _)| row.split.as_deref() == Some("")).count();
    let is_listed = |image: &usize| seen.contains_key(image) || unlabelled.contains(image);
    let unlisted: Vec<usize> = (0..finder.files().len()).filter(|image| !is_listed(image)).collect();
    found.unlisted = unlisted.len();
    let first = unlisted.first().map(|&image| finder.files()[image].display().to_string());
    let require = require_some(&rows, &found, job);
    if require.is_ok() || !rows.is_empty() {
        found.told(&job.images, first.as_deref()).iter().for_each(|note| host.note(note));
    }
    require?;
    if let Some(prefix) = prefix {
        host.note(format_args!("paths of the list are taken without their leading {prefix}"));
    }
    if let Some((name, image)) = loose.first() {
        host.note(format_args!(
            "{} of the list found in another folder by name alone, or in other case; the first: {name} is {}",
            counted(loose.len(), "image"),
            finder.files()[*image].display()
        ));
    }
    Ok(Matched { rows, found })
}

fn same_split(one: &Row, other: &Row) -> bool {
    fn word(row: &Row) -> Option<&str> {
        row.split.as_deref().map(|text| Split::of_word(text).map_or(text, |split| split.name()))
    }
    word(one) == word(other)
}

/// What paths of the list begin with before the part that leads to an image: the same for all, for "test/1.jpg" is not the
/// 1.jpg that "train/1.jpg" is. Nothing, where some are paths as they stand; and where some begin with the name of the folder
/// of the images, that.
fn prefix(list: &[Row], finder: &Finder, root: &Path) -> Result<Option<String>> {
    let mut first: BTreeMap<String, &Row> = BTreeMap::new();
    for row in list.iter().filter(|row| Finder::has_folder(&row.image)) {
        if finder.find(&row.image) != Found::None {
            return Ok(None);
        }
        if let Some(prefix) = finder.prefix(&row.image) {
            first.entry(prefix).or_insert(row);
        }
    }
    let root_name = std::fs::canonicalize(root).ok().and_then(|root| Some(root.file_name()?.to_owned()));
    let own: Vec<&String> =
        first.keys().filter(|prefix| Path::new(prefix).file_name() == root_name.as_deref()).collect();
    let all: Vec<&String> = first.keys().collect();
    match (&own[..], &all[..]) {
        (_, []) => Ok(None),
        ([one], _) | ([], [one]) => Ok(Some((*one).clone())),
        ([one, other, ..], _) | ([], [one, other, ..]) => {
            let says = |prefix: &String| format!("{}, line {}", first[prefix].image, first[prefix].line);
            let message = format!("paths of the list lead to images in {} in several ways", root.display());
            Err(Error::new(Kind::Data, message)
                .fact("one", says(one))
                .fact("other", says(other))
                .help("give the folder that the list's paths begin in, or a list of its images alone"))
        }
    }
}

fn several(row: &Row, which: &[usize], finder: &Finder) -> Error {
    let names: Vec<String> = which.iter().map(|&i| finder.files()[i].display().to_string()).collect();
    Error::new(Kind::Data, format!("line {}: \"{}\" may be several images", row.line, row.image))
        .fact("images", listed(&names))
        .help("give their paths in the list, with endings")
}

fn says(row: &Row) -> String {
    let split = row.split.as_deref().map(|split| format!(" in {split}")).unwrap_or_default();
    let group = row.group.as_deref().map(|group| format!(" of {group}")).unwrap_or_default();
    format!("\"{}\"{group}{split}, line {}", row.label, row.line)
}

fn require_some(rows: &[(Row, usize)], found: &Unmatched, job: &Arrange) -> Result<()> {
    if let Some(first) = found.missing.first()
        && (rows.is_empty() || job.strict)
    {
        let n = found.missing.len();
        let are = if n == 1 { "is" } else { "are" };
        let message = format!("{} of the list {are} not in {}", counted(n, "image"), job.images.display());
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
