//! Which columns of a list hold the image, its class and its split.
//!
//! In: the header, or the first row, and what was asked for. Out: [`Places`], or an error that lists the columns.

use super::{Columns, Finder};
use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use csv::StringRecord;

/// Names under which lists keep the image, best first.
const IMAGE: [&str; 18] = [
    "path",
    "filepath",
    "file_path",
    "image_path",
    "filename",
    "file_name",
    "image_name",
    "file",
    "image_id",
    "image",
    "img",
    "img_name",
    "id_code",
    "id",
    "name",
    "fname",
    "filenames",
    "images",
];
/// Names under which lists keep the class.
const LABEL: [&str; 10] =
    ["label", "labels", "class", "class_name", "category", "target", "species", "breed", "diagnosis", "y"];
/// Names under which lists keep the split.
const SPLIT: [&str; 4] = ["split", "subset", "partition", "data set"];

/// Rows that are looked at to find the column of the images.
const LOOKED_AT: usize = 100;

/// Which fields of a row are taken, from 0.
pub struct Places {
    pub image: usize,
    pub class: Class,
    pub split: Option<usize>,
}

/// How a row says of which class an image is.
pub enum Class {
    /// By a field.
    Named(usize),
    /// By a 1 in the column of the class, among columns of 0.
    Marked(Vec<usize>),
}

impl Class {
    /// The last field of these.
    pub fn last(&self) -> usize {
        match self {
            Self::Named(at) => *at,
            Self::Marked(all) => all.last().copied().unwrap_or_default(),
        }
    }

    /// The columns in which `record` has a 1.
    pub fn marked(&self, record: &StringRecord) -> Vec<usize> {
        match self {
            Self::Named(_) => Vec::new(),
            Self::Marked(all) => {
                all.iter().copied().filter(|&at| mark(record.get(at)) == Some(true)).collect()
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
    /// Of a list with a header, whose columns are those that are asked for, or known by their names; that of the images else
    /// by the images in it.
    ///
    /// # Errors
    /// [`Kind::Usage`]: no such column; columns that have to be named.
    pub fn named(
        header: &StringRecord,
        records: &[(u64, StringRecord)],
        columns: &Columns,
        finder: &Finder,
    ) -> Result<Self> {
        let wanted = |column: &Option<String>, option| {
            column.as_ref().map(|name| place(header, true, name, option)).transpose()
        };
        let known = |names: &[&str]| -> Vec<usize> {
            let at = |name: &&str| header.iter().position(|field| field.eq_ignore_ascii_case(name));
            names.iter().filter_map(at).collect()
        };
        let [image, class, split] = [
            wanted(&columns.image, "--image-column")?,
            wanted(&columns.label, "--label-column")?,
            wanted(&columns.split, "--split-column")?,
        ];
        let split = split
            .or_else(|| known(&SPLIT).first().copied().filter(|&at| Some(at) != image && Some(at) != class));
        let free = |at: &usize| Some(*at) != split && Some(*at) != class;
        let holds_images = || {
            let rows = &records[..records.len().min(LOOKED_AT)];
            let images = |at: &usize| {
                rows.iter().filter(|(_, row)| row.get(*at).is_some_and(|name| finder.knows(name))).count()
            };
            let labels = known(&LABEL);
            let columns = (0..header.len()).filter(free).filter(|at| !labels.contains(at));
            let mut counts: Vec<(usize, usize)> = columns.map(|at| (images(&at), at)).collect();
            counts.sort_unstable();
            match counts[..] {
                [.., (next, _), (most, at)] if most > next => Some(at),
                [(most, at)] if most > 0 => Some(at),
                _ => None,
            }
        };
        let image = image
            .or_else(|| known(&IMAGE).into_iter().find(free))
            .or_else(holds_images)
            .ok_or_else(|| unclear(header, "the image", "--image-column"))?;
        if let Some(class) = class {
            return Ok(Self { image, class: Class::Named(class), split });
        }
        let rest: Vec<usize> = (0..header.len()).filter(free).filter(|at| *at != image).collect();
        let called: Vec<usize> = known(&LABEL).into_iter().filter(|at| rest.contains(at)).collect();
        let is_marked = || {
            records
                .iter()
                .all(|(_, row)| rest.iter().all(|&at| row.len() <= at || mark(row.get(at)).is_some()))
        };
        let class = match (&called[..], &rest[..]) {
            ([one], _) | ([], [one]) => Class::Named(*one),
            ([], [_, _, ..]) if is_marked() => Class::Marked(rest),
            _ => return Err(unclear(header, "the class", "--label-column")),
        };
        Ok(Self { image, class, split })
    }

    /// Of a list without a header, where the field `there` of the first row is an image.
    ///
    /// # Errors
    /// As [`Places::named`].
    pub fn numbered(first: &StringRecord, there: usize, columns: &Columns) -> Result<Self> {
        let wanted = |column: &Option<String>, option| {
            column.as_ref().map(|name| place(first, false, name, option)).transpose()
        };
        let image = wanted(&columns.image, "--image-column")?.unwrap_or(there);
        let split = wanted(&columns.split, "--split-column")?;
        let class = wanted(&columns.label, "--label-column")?.or_else(|| {
            let rest: Vec<usize> = (0..first.len()).filter(|&at| at != image && Some(at) != split).collect();
            if let [class] = rest[..] { Some(class) } else { None }
        });
        let class = class.ok_or_else(|| {
            let fields: Vec<&str> = first.iter().collect();
            Error::new(Kind::Usage, "the list has no header, so which column holds the class is not clear")
                .fact("first row", listed(&fields))
                .help("give the column's number, from 1, with --label-column")
        })?;
        Ok(Self { image, class: Class::Named(class), split })
    }
}

fn unclear(header: &StringRecord, what: &str, option: &str) -> Error {
    let fields: Vec<&str> = header.iter().collect();
    Error::new(Kind::Usage, format!("which column holds {what} is not clear"))
        .fact("columns", listed(&fields))
        .help(format!("name it with {option}"))
}

/// The column `name`, which may be a number if no column is called so.
fn place(first: &StringRecord, is_header: bool, name: &str, option: &str) -> Result<usize> {
    let called = || first.iter().position(|field| is_header && field.eq_ignore_ascii_case(name.trim()));
    let counted =
        || name.trim().parse().ok().filter(|at| (1..=first.len()).contains(at)).map(|at: usize| at - 1);
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
