//! Which columns of a list hold the image, its class and its split.
//!
//! In: the list's fields, the images that are there, and what was asked for. Out: [`Places`], or an error that lists the
//! columns.

use super::Columns;
use super::finder::{Finder, has_ending};
use super::records::Record;
use crate::data::Split;
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use csv::StringRecord;
use std::collections::BTreeSet;

/// Names under which lists keep the image, best first.
const IMAGE: [&str; 22] = [
    "path",
    "filepath",
    "filepaths",
    "file_path",
    "image_path",
    "img_path",
    "filename",
    "file_name",
    "image_name",
    "img_name",
    "image_filename",
    "file",
    "image_id",
    "image",
    "img",
    "id_code",
    "id",
    "name",
    "fname",
    "filenames",
    "images",
    "files",
];
/// Names under which lists keep the class.
const LABEL: [&str; 13] = [
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "target",
    "species",
    "breed",
    "diagnosis",
    "dx",
    "classid",
    "class_id",
    "y",
];
/// Names under which lists keep the split.
const SPLIT: [&str; 4] = ["split", "subset", "partition", "data set"];

/// Names under which lists keep what several images belong to.
const GROUP: [&str; 10] = [
    "patient",
    "patient_id",
    "patientid",
    "subject",
    "subject_id",
    "lesion_id",
    "case_id",
    "participant_id",
    "individual_id",
    "burst_id",
];

/// Whether a column of this name may say what several images belong to.
pub fn is_called_group(name: &str) -> bool {
    is_in(&GROUP, &name.replace([' ', '-'], "_"))
}

/// In the name of a column of 0 and 1 these say that it is of a split, and no class.
const OF_SPLITS: [&str; 5] = ["train", "test", "valid", "split", "fold"];

/// Rows that are looked at to find the column of the images.
const LOOKED_AT: usize = 5000;

fn is_in(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a column of this name would be known to hold images.
pub fn is_called_image(name: &str) -> bool {
    is_in(&IMAGE, name)
}

/// Whether a column of this name would be known.
pub fn is_known(name: &str) -> bool {
    is_in(&IMAGE, name) || is_in(&LABEL, name) || is_in(&SPLIT, name)
}

/// A list, line by line.
pub struct Table<'a> {
    /// The header, or the first row.
    pub first: &'a StringRecord,
    /// Which of these it is.
    pub has_header: bool,
    /// All rows.
    pub rows: &'a [Record],
    /// The images that are there.
    pub finder: &'a Finder,
}

/// Which fields of a row are taken, from 0.
pub struct Places {
    /// That of the image.
    pub image: usize,
    /// Those of the class.
    pub class: Class,
    /// That of the split, if there is one.
    pub split: Option<usize>,
    /// That of the group, if it is asked for.
    pub group: Option<usize>,
}

/// How a row says of which class an image is.
pub enum Class {
    /// By a field.
    Named(usize),
    /// By a 1 in the column of the class, among columns of 0.
    Marked {
        /// In the order of the list.
        columns: Vec<usize>,
        /// Whether they were asked for, or are all that is left.
        asked: bool,
    },
}

impl Class {
    /// The last field of these.
    pub fn last(&self) -> usize {
        match self {
            Self::Named(at) => *at,
            Self::Marked { columns, .. } => columns.iter().copied().max().unwrap_or_default(),
        }
    }
}

/// Those of `columns` in which `record` has a 1.
///
/// # Errors
/// The column that holds something else than 0 and 1, and is not empty.
pub fn marks(columns: &[usize], record: &StringRecord) -> Result<Vec<usize>, usize> {
    let mut marked = Vec::new();
    for &at in columns {
        let field = record.get(at).unwrap_or_default();
        match field.parse::<f32>() {
            Ok(0.0) => {}
            Ok(1.0) => marked.push(at),
            _ if field.is_empty() => {}
            _ => return Err(at),
        }
    }
    Ok(marked)
}

impl Places {
    /// Columns that are asked for; else
    ///
    /// - for the image that whose fields lead to most images ([`of_images`]),
    /// - for the split one that is called so, or the only one that holds names of splits, train among them,
    /// - for the class one that is called so, or the only one that is left, or all that are left if they hold 0 and 1.
    ///
    /// # Errors
    /// [`Kind::Usage`]: no such column; columns that have to be named.
    pub fn find(table: &Table<'_>, columns: &Columns) -> Result<Self> {
        let asked = Asked::of(table, columns)?;
        let known = |names: &[&'static str]| -> Vec<usize> {
            let of_name =
                |name: &'static str| (0..table.width()).filter(move |&at| table.is_called(at, name));
            names.iter().flat_map(|name| of_name(name)).collect()
        };
        let taken = |at: &usize| [asked.image, asked.group].contains(&Some(*at)) || asked.class.contains(at);
        let split = asked.split.or_else(|| {
            let named = known(&SPLIT).into_iter().find(|at| !taken(at) && table.is_filled(*at));
            let labels: BTreeSet<usize> = known(&LABEL).into_iter().collect();
            let may_be = |at: &usize| !taken(at) && !labels.contains(at) && table.holds_splits(*at);
            let mut holding = (0..table.width()).filter(may_be);
            named.or_else(|| holding.next().filter(|_| holding.next().is_none()))
        });
        let free = |at: &usize| ![split, asked.group].contains(&Some(*at)) && !asked.class.contains(at);
        let labels = if asked.class.is_empty() { known(&LABEL) } else { Vec::new() };
        let candidates = || (0..table.width()).filter(free).filter(|at| !labels.contains(at)).collect();
        let image = asked
            .image
            .or_else(|| of_images(candidates(), &known(&IMAGE), table))
            .ok_or_else(|| table.unclear("the image", "--image-column"))?;
        // A column that is called as those of splits are, and is empty, is no class either.
        let splits: BTreeSet<usize> = known(&SPLIT).into_iter().collect();
        let empty = |at: &usize| splits.contains(at) && !table.is_filled(*at);
        let rest: Vec<usize> =
            (0..table.width()).filter(free).filter(|at| *at != image && !empty(at)).collect();
        let labels: Vec<usize> = labels.into_iter().filter(|at| rest.contains(at)).collect();
        let class = match (&asked.class[..], &labels[..], &rest[..]) {
            ([one], ..) | ([], [one], _) | ([], [], [one]) => Class::Named(*one),
            ([_, _, ..], ..) => Class::Marked { columns: asked.class, asked: true },
            ([], [], [_, _, ..]) if table.is_marked(&rest) => Class::Marked { columns: rest, asked: false },
            _ => return Err(table.unclear("the class", "--label-column")),
        };
        Ok(Self { image, class, split, group: asked.group })
    }
}

impl Table<'_> {
    fn width(&self) -> usize {
        self.first.len()
    }

    fn is_called(&self, at: usize, name: &str) -> bool {
        self.has_header && self.first.get(at).is_some_and(|field| field.eq_ignore_ascii_case(name))
    }

    /// What rows have in a column, but for empty fields.
    fn fields(&self, at: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |(_, row)| row.get(at)).filter(|field| !field.is_empty())
    }

    fn is_filled(&self, at: usize) -> bool {
        self.fields(at).next().is_some()
    }

    /// Whether a column holds names of splits and nothing else: train, and another.
    fn holds_splits(&self, at: usize) -> bool {
        let splits: Option<BTreeSet<Split>> = self.fields(at).map(Split::of_word).collect();
        splits.is_some_and(|splits| splits.contains(&Split::Train) && splits.len() > 1)
    }

    /// Whether columns hold 0 and 1, one for each class.
    fn is_marked(&self, columns: &[usize]) -> bool {
        let of_split = |at: &usize| {
            let name = self.first[*at].to_lowercase();
            OF_SPLITS.iter().any(|word| name.contains(word))
        };
        let is_full =
            |row: &StringRecord| columns.iter().all(|&at| row.get(at).is_none_or(|field| !field.is_empty()));
        let is_plain = |row: &StringRecord| marks(columns, row).is_ok() && is_full(row);
        self.has_header && !columns.iter().any(of_split) && self.rows.iter().all(|(_, row)| is_plain(row))
    }

    fn unclear(&self, what: &str, option: &str) -> Error {
        let fields: Vec<&str> = self.first.iter().collect();
        let (so, fact, by) = if self.has_header {
            ("which", "columns", "name it")
        } else {
            ("the list has no header, and which", "first row", "give its number, from 1,")
        };
        Error::new(Kind::Usage, format!("{so} column holds {what} is not clear"))
            .fact(fact, listed(&fields))
            .help(format!("{by} with {option}"))
    }
}

/// The places of the columns that are asked for.
struct Asked {
    image: Option<usize>,
    class: Vec<usize>,
    split: Option<usize>,
    group: Option<usize>,
}

impl Asked {
    fn of(table: &Table<'_>, columns: &Columns) -> Result<Self> {
        let at = |name: &str, option| place(table, name, option);
        // A name may have a comma in it.
        let classes = |names: &String| match at(names, "--label-column") {
            Err(_) if names.contains(',') => {
                names.split(',').map(|name| at(name, "--label-column")).collect()
            }
            one => one.map(|one| vec![one]),
        };
        let asked = Self {
            image: columns.image.as_ref().map(|name| at(name, "--image-column")).transpose()?,
            class: columns.label.as_ref().map(classes).transpose()?.unwrap_or_default(),
            split: columns.split.as_ref().map(|name| at(name, "--split-column")).transpose()?,
            group: columns.group.as_ref().map(|name| at(name, "--group-column")).transpose()?,
        };
        let named = [asked.image, asked.split, asked.group];
        let mut all: Vec<usize> = named.into_iter().flatten().chain(asked.class.iter().copied()).collect();
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => {
                let name = &table.first[twice[0]];
                let message = format!("column {} (\"{name}\") is asked for twice", twice[0] + 1);
                Err(Error::new(Kind::Usage, message)
                    .help("image, class, split and group stand in columns of their own"))
            }
            None => Ok(asked),
        }
    }
}

/// Of `candidates` the column whose fields lead to most images; of several that lead to the same images the first of `known`,
/// which are called as columns of images are; of others one that has names with endings. None where that does not decide, or
/// where one of `known` leads to images, but to fewer than another. Where none leads to any, the first of `known`.
fn of_images(candidates: Vec<usize>, known: &[usize], table: &Table<'_>) -> Option<usize> {
    struct Column {
        at: usize,
        rank: Option<usize>,
        images: Vec<Option<usize>>,
        hits: usize,
        endings: usize,
    }
    let (n, looked_at) = (table.rows.len(), table.rows.len().min(LOOKED_AT));
    // Spread out, so that no period of the list is one of the rows.
    let row = |i: usize| if n > looked_at { i.wrapping_mul(2_654_435_761) % n } else { i };
    let column = |at: usize| {
        let fields = || (0..looked_at).map(|i| table.rows[row(i)].1.get(at).unwrap_or_default());
        let images: Vec<Option<usize>> = fields().map(|field| table.finder.guess(field)).collect();
        let hits = images.iter().flatten().collect::<BTreeSet<_>>().len();
        let rank = known.iter().position(|&one| one == at);
        Column { at, rank, hits, endings: fields().filter(|field| has_ending(field)).count(), images }
    };
    let columns: Vec<Column> =
        candidates.iter().map(|&at| column(at)).filter(|column| column.hits > 0).collect();
    let Some(most) = columns.iter().map(|column| column.hits).max() else {
        return known.iter().find(|at| candidates.contains(at)).copied();
    };
    let mut best: Vec<&Column> = columns.iter().filter(|column| column.hits == most).collect();
    if best.iter().all(|column| column.rank.is_none()) && columns.iter().any(|column| column.rank.is_some()) {
        return None;
    }
    if best.iter().any(|column| column.images != best[0].images) {
        let endings = best.iter().map(|column| column.endings).max()?;
        best.retain(|column| column.endings == endings);
    }
    let same = best.iter().all(|column| column.images == best[0].images);
    let first = best.iter().min_by_key(|column| column.rank.unwrap_or(known.len()))?;
    same.then_some(first.at)
}

/// The column `name`, which may be a number if no column is called so.
fn place(table: &Table<'_>, name: &str, option: &str) -> Result<usize> {
    let (first, is_header, name) = (table.first, table.has_header, name.trim());
    let is = |same: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..first.len()).filter(|&at| is_header && first.get(at).is_some_and(same)).collect()
    };
    let exact = is(&|field| field == name);
    let alike = if exact.is_empty() { is(&|field| field.eq_ignore_ascii_case(name)) } else { exact };
    if let [_, _, ..] = alike[..] {
        return Err(Error::new(Kind::Usage, format!("several columns are called \"{name}\""))
            .help(format!("give {option} the number of one, from 1")));
    }
    let called = || alike.first().copied();
    let counted = || name.parse().ok().filter(|at| (1..=first.len()).contains(at)).map(|at: usize| at - 1);
    called().or_else(counted).ok_or_else(|| {
        let fields: Vec<&str> = first.iter().collect();
        let message = if is_header {
            format!("there is no column \"{name}\"")
        } else {
            format!(
                "there is no column \"{name}\": the list has no header, for its first line names an image"
            )
        };
        Error::new(Kind::Usage, message)
            .fact(if is_header { "columns" } else { "first row" }, listed(&fields))
            .help(format!("give {option} a name of these, or a number from 1 to {}", first.len()))
    })
}
