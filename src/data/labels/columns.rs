//! Which columns of a list hold the image, its class and its split.
//!
//! In: the header, or the first row, some rows, and what was asked for. Out: [`Places`], or an error that lists the columns.

use super::Columns;
use super::finder::{Finder, has_ending};
use super::records::Record;
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use csv::StringRecord;
use std::cmp::Reverse;

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

/// Rows that are looked at to find the column of the images.
const LOOKED_AT: usize = 1000;

/// Whether a column of this name would be known.
pub fn is_known(name: &str) -> bool {
    [&IMAGE[..], &LABEL, &SPLIT].concat().iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Which fields of a row are taken, from 0.
pub struct Places {
    /// That of the image.
    pub image: usize,
    /// Those of the class.
    pub class: Class,
    /// That of the split, if there is one.
    pub split: Option<usize>,
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

    /// The columns in which `record` has a 1.
    pub fn marks(&self, record: &StringRecord) -> Vec<usize> {
        match self {
            Self::Named(_) => Vec::new(),
            Self::Marked { columns, .. } => {
                columns.iter().copied().filter(|&at| mark(record.get(at)) == Some(true)).collect()
            }
        }
    }
}

/// What 0 and 1 say.
fn mark(field: Option<&str>) -> Option<bool> {
    match field?.parse::<f32>() {
        Ok(0.0) => Some(false),
        Ok(1.0) => Some(true),
        _ => None,
    }
}

impl Places {
    /// Of a list with a header: columns that are asked for; for the image else that whose fields lead to most images, and of
    /// these one that is called as such columns are; for class and split one that is called so; for the class else the only
    /// one that is left, or all that are left if they hold 0 and 1.
    ///
    /// # Errors
    /// [`Kind::Usage`]: no such column; columns that have to be named.
    pub fn named(
        header: &StringRecord,
        records: &[Record],
        columns: &Columns,
        finder: &Finder,
    ) -> Result<Self> {
        let asked = Asked::of(header, true, columns)?;
        let known = |names: &[&str]| -> Vec<usize> {
            let at = |name: &&str| header.iter().position(|field| field.eq_ignore_ascii_case(name));
            names.iter().filter_map(at).collect()
        };
        let taken = |at: &usize| Some(*at) == asked.image || asked.class.contains(at);
        let split = asked.split.or_else(|| known(&SPLIT).into_iter().find(|at| !taken(at)));
        let free = |at: &usize| Some(*at) != split && !asked.class.contains(at);
        let labels = if asked.class.is_empty() { known(&LABEL) } else { Vec::new() };
        let candidates = || (0..header.len()).filter(free).filter(|at| !labels.contains(at));
        let image = asked
            .image
            .or_else(|| of_images(candidates(), &known(&IMAGE), records, finder))
            .ok_or_else(|| unclear(header, "the image", "--image-column"))?;
        let rest: Vec<usize> = (0..header.len()).filter(free).filter(|at| *at != image).collect();
        let labels: Vec<usize> = labels.into_iter().filter(|at| rest.contains(at)).collect();
        let is_marked = || {
            let mut fields = records.iter().flat_map(|(_, row)| rest.iter().filter_map(|&at| row.get(at)));
            fields.all(|field| mark(Some(field)).is_some())
        };
        let class = match (&asked.class[..], &labels[..], &rest[..]) {
            ([one], ..) | ([], [one], _) | ([], [], [one]) => Class::Named(*one),
            ([_, _, ..], ..) => Class::Marked { columns: asked.class, asked: true },
            ([], [], [_, _, ..]) if is_marked() => Class::Marked { columns: rest, asked: false },
            _ => return Err(unclear(header, "the class", "--label-column")),
        };
        Ok(Self { image, class, split })
    }

    /// Of a list without a header, where the field `there` of the first row is an image.
    ///
    /// # Errors
    /// As [`Places::named`].
    pub fn numbered(first: &StringRecord, there: usize, columns: &Columns) -> Result<Self> {
        let Asked { image, class, split } = Asked::of(first, false, columns)?;
        let image = image.unwrap_or(there);
        let rest: Vec<usize> = (0..first.len()).filter(|&at| at != image && Some(at) != split).collect();
        let class = match (&class[..], &rest[..]) {
            ([one], _) | ([], [one]) => Class::Named(*one),
            ([_, _, ..], _) => Class::Marked { columns: class, asked: true },
            _ => {
                let fields: Vec<&str> = first.iter().collect();
                let message = "the list has no header, so which column holds the class is not clear";
                return Err(Error::new(Kind::Usage, message)
                    .fact("first row", listed(&fields))
                    .help("give the column's number, from 1, with --label-column"));
            }
        };
        Ok(Self { image, class, split })
    }
}

/// The places of the columns that are asked for.
struct Asked {
    image: Option<usize>,
    class: Vec<usize>,
    split: Option<usize>,
}

impl Asked {
    fn of(first: &StringRecord, is_header: bool, columns: &Columns) -> Result<Self> {
        let at = |name: &String, option| place(first, is_header, name, option);
        let asked = Self {
            image: columns.image.as_ref().map(|name| at(name, "--image-column")).transpose()?,
            class: columns.label.iter().map(|name| at(name, "--label-column")).collect::<Result<_>>()?,
            split: columns.split.as_ref().map(|name| at(name, "--split-column")).transpose()?,
        };
        let mut all: Vec<usize> =
            asked.image.into_iter().chain(asked.split).chain(asked.class.iter().copied()).collect();
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => {
                let name = first.get(twice[0]).unwrap_or_default();
                let message = format!("column {} (\"{name}\") is asked for twice", twice[0] + 1);
                Err(Error::new(Kind::Usage, message)
                    .help("image, class and split stand in columns of their own"))
            }
            None => Ok(asked),
        }
    }
}

/// Of `candidates` the column whose fields lead to most images, those with their ending before others; of several the one
/// that comes first in `known`, and none where that does not decide.
fn of_images(
    candidates: impl Iterator<Item = usize>,
    known: &[usize],
    records: &[Record],
    finder: &Finder,
) -> Option<usize> {
    let every = (records.len() / LOOKED_AT).max(1);
    let score = |at: usize| {
        let fields = records.iter().step_by(every).filter_map(|(_, row)| row.get(at));
        let (whole, bare): (Vec<&str>, Vec<&str>) =
            fields.filter(|field| finder.knows(field)).partition(|field| has_ending(field));
        let rank = known.iter().position(|&one| one == at);
        ((whole.len(), bare.len()), Reverse(rank.unwrap_or(known.len())), at)
    };
    let mut scores: Vec<_> = candidates.map(score).collect();
    scores.sort_unstable();
    let (best, rank, at) = *scores.last()?;
    let is_known = rank.0 < known.len();
    let is_best = best > (0, 0) && scores.iter().filter(|(score, ..)| *score == best).count() == 1;
    (is_known || is_best).then_some(at)
}

fn unclear(header: &StringRecord, what: &str, option: &str) -> Error {
    let fields: Vec<&str> = header.iter().collect();
    Error::new(Kind::Usage, format!("which column holds {what} is not clear"))
        .fact("columns", listed(&fields))
        .help(format!("name it with {option}"))
}

/// The column `name`, which may be a number if no column is called so.
fn place(first: &StringRecord, is_header: bool, name: &str, option: &str) -> Result<usize> {
    let name = name.trim();
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
            format!("there is no column \"{name}\": the list has no header, for its first row names an image that is there")
        };
        Error::new(Kind::Usage, message)
            .fact(if is_header { "columns" } else { "first row" }, listed(&fields))
            .help(format!("give {option} a name of these, or a number from 1 to {}", first.len()))
    })
}
