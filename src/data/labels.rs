//! Lists that say of which class images are: the `labels.csv` that comes with many data sets.
//!
//! In: the text of a list, which columns to take if its header does not tell, and [`Finder`], which knows the images.
//! Out: rows of image, class and split, as they are written; or an error that names the line.

mod columns;
pub mod finder;
mod records;

#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result};
use crate::model::classes::listed;
use columns::{Class, Places, is_known};
use finder::{Finder, has_ending};
use records::{Record, records, text_of};
use std::path::Path;

/// Columns by their names in the header, without regard to case, or by number from 1; those that are not given are known
/// by their names.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The image's file.
    pub image: Option<String>,
    /// Its class; several are columns of 0 and 1, one for each class.
    pub label: Vec<String>,
    /// Its split.
    pub split: Option<String>,
}

/// One row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What the list calls the image.
    pub image: String,
    /// The class; empty where the list has none.
    pub label: String,
    /// The split, if there is a column of splits.
    pub split: Option<String>,
}

/// A list that was read.
#[derive(Clone, Debug)]
pub struct List {
    /// In the order of the file.
    pub rows: Vec<Row>,
    /// What the column of the images is called, or its number.
    pub image: String,
    /// That of the classes, or those.
    pub label: String,
    /// That of the splits, if there is one.
    pub split: Option<String>,
    /// What may be wrong with it.
    pub notes: Vec<String>,
}

impl List {
    /// Reads a list. The first line is a header unless it names an image: with its ending, or, where no column is called as
    /// columns of lists are, one that is there.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`]: no rows, a row that is too short, that has several classes, or none where others are
    /// marked; [`Kind::Usage`]: no such column, columns that have to be named.
    pub fn read(path: &Path, columns: &Columns, finder: &Finder) -> Result<Self> {
        Self::parse(&text_of(path)?, columns, finder)
            .map_err(|error| error.context(format!("reading the labels in {}", path.display())))
    }

    fn parse(text: &str, columns: &Columns, finder: &Finder) -> Result<Self> {
        let records = records(text)?;
        let Some((_, first)) = records.first() else {
            return Err(
                Error::new(Kind::Data, "there are no rows").help("give a list of images and their classes")
            );
        };
        let there = first.iter().position(has_ending).or_else(|| {
            let free = !first.iter().any(is_known);
            first.iter().position(|field| free && finder.knows(field))
        });
        let header = there.is_none().then_some(first);
        let records = &records[usize::from(header.is_some())..];
        if records.is_empty() {
            return Err(Error::new(Kind::Data, "there is a header and no row")
                .help("give a list with one row for each image"));
        }
        let Places { image, class, mut split } = match header {
            Some(header) => Places::named(header, records, columns, finder)?,
            None => Places::numbered(first, there.unwrap_or_default(), columns)?,
        };
        if columns.split.is_none() {
            // A column that nobody filled in.
            split = split.filter(|&at| {
                records.iter().any(|(_, record)| record.get(at).is_some_and(|t| !t.is_empty()))
            });
        }
        let called = |at: usize| match header {
            Some(header) => header.get(at).unwrap_or_default().to_owned(),
            None => (at + 1).to_string(),
        };
        let mut rows = Vec::with_capacity(records.len());
        for (line, record) in records {
            let needed = image.max(class.last()) + 1;
            if record.len() < needed {
                return Err(Error::new(Kind::Data, format!("line {line} is too short"))
                    .expected_got(format!("{needed} fields or more"), record.len())
                    .help("mend the line, or quote fields that hold the separator"));
            }
            let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
            let label = match &class {
                Class::Named(at) => field(*at),
                Class::Marked { asked, .. } => match class.marks(record)[..] {
                    [one] => called(one),
                    [] if *asked => String::new(),
                    ref marks => {
                        return Err(torn(*line, &marks.iter().map(|&at| called(at)).collect::<Vec<_>>()));
                    }
                },
            };
            rows.push(Row { line: *line, image: field(image), label, split: split.map(field) });
        }
        let label = match &class {
            Class::Named(at) => called(*at),
            Class::Marked { columns, .. } => {
                listed(&columns.iter().map(|&at| called(at)).collect::<Vec<_>>())
            }
        };
        let notes = unclosed(records).into_iter().collect();
        Ok(Self { rows, image: called(image), label, split: split.map(called), notes })
    }
}

/// Of a row of 0 and 1 that has not one 1.
fn torn(line: u64, classes: &[String]) -> Error {
    let help = "an image has one class; --label-column takes one column of classes, or several columns of 0 and 1 (A,B,C)";
    let error = if classes.is_empty() {
        Error::new(Kind::Data, format!("line {line} has no class: there is no 1"))
    } else {
        Error::new(Kind::Data, format!("line {line} has several classes")).fact("classes", listed(classes))
    };
    error.help(help)
}

/// A quote that is not closed makes one field of the lines that follow.
fn unclosed(records: &[Record]) -> Option<String> {
    let several = || records.iter().filter(|(_, record)| record.iter().any(|field| field.contains('\n')));
    let (line, _) = several().next()?;
    let n = several().count();
    let rows = if n == 1 { "1 row takes".to_owned() } else { format!("{n} rows take") };
    Some(format!("{rows} several lines, from line {line} on: is a quote not closed there?"))
}
