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
use columns::{Class, Places, Table, is_called_group, is_called_image, is_known, marks};
use csv::StringRecord;
use finder::{Finder, has_ending};
use records::{Record, records, text_of};
use std::collections::HashSet;
use std::path::Path;

/// Columns by their names in the header, or by number from 1. Those that are not given are found by their
/// names and by what they hold (`columns.rs`).
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The image's file.
    pub image: Option<String>,
    /// Its class; several, with commas between them, are columns of 0 and 1, one for each class.
    pub label: Option<String>,
    /// Its split.
    pub split: Option<String>,
    /// What it belongs to, such as a patient; never found by itself.
    pub group: Option<String>,
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
    /// The group, if there is a column of groups and something in it.
    pub group: Option<String>,
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
    /// That of the groups, if it was asked for.
    pub group: Option<String>,
    /// A column that nobody asked for and that is called as one of groups would be.
    pub may_group: Option<String>,
    /// What may be wrong with it.
    pub notes: Vec<String>,
}

impl List {
    /// Reads a list. The first line is a header unless it names an image: with its ending, or, where no column is called as
    /// columns of images are, one that is there.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`]: no rows, a row that is too short or too long, that has several classes, or none where
    /// others are marked; [`Kind::Usage`]: no such column, columns that have to be named.
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
        let is_bare =
            || !first.iter().any(is_called_image) && first.iter().any(|field| finder.guess(field).is_some());
        let has_header = !first.iter().any(has_ending) && !is_bare();
        let rows = &records[usize::from(has_header)..];
        if rows.is_empty() {
            return Err(Error::new(Kind::Data, "there is a header and no row")
                .help("give a list with one row for each image"));
        }
        require_width(rows, first)?;
        let table = Table { first, has_header, rows, finder };
        let Places { image, class, split, group } = Places::find(&table, columns)?;
        let called = |at: usize| if has_header { first[at].to_owned() } else { (at + 1).to_string() };
        let names = |columns: &[usize]| columns.iter().map(|&at| called(at)).collect::<Vec<_>>();
        let mut read = Vec::with_capacity(rows.len());
        for (line, record) in rows {
            let needed = image.max(class.last()) + 1;
            if record.len() < needed {
                return Err(Error::new(Kind::Data, format!("line {line} is too short"))
                    .expected_got(format!("{needed} fields or more"), record.len())
                    .help("mend the line, or quote fields that hold the separator"));
            }
            let field = |at: usize| record.get(at).unwrap_or_default().to_owned();
            let label = match &class {
                Class::Named(at) => field(*at),
                Class::Marked { columns, asked } => match marks(columns, record) {
                    Ok(marks) if marks.len() == 1 => called(marks[0]),
                    Ok(marks) if marks.is_empty() && *asked => String::new(),
                    Ok(marks) => return Err(torn(*line, &names(&marks))),
                    Err(at) => {
                        let message = format!("line {line} has another thing than 0 and 1 in {}", called(at));
                        return Err(Error::new(Kind::Data, message)
                            .expected_got("0 or 1", format!("\"{}\"", field(at)))
                            .help("several columns of classes hold 0 and 1; of one that names them give that alone"));
                    }
                },
            };
            let group = group.map(field).filter(|group| !group.is_empty());
            read.push(Row { line: *line, image: field(image), label, split: split.map(field), group });
        }
        let label = match &class {
            Class::Named(at) => called(*at),
            Class::Marked { columns, .. } => listed(&names(columns)),
        };
        let mut notes: Vec<String> = unclosed(rows).into_iter().collect();
        if has_header && !first.iter().any(is_known) {
            let fields: Vec<&str> = first.iter().collect();
            notes.push(format!("the first line of the list is taken for a header: {}", listed(&fields)));
        }
        let [split, group] = [split, group].map(|at| at.map(called));
        let may_group = (0..first.len()).find(|&at| {
            let is_other = at != image && !matches!(&class, Class::Named(class) if *class == at);
            has_header && group.is_none() && is_other && is_called_group(&first[at]) && repeats(rows, at)
        });
        let may_group = may_group.map(called);
        Ok(Self { rows: read, image: called(image), label, split, group, may_group, notes })
    }
}

/// Whether several rows have the same in column `at`.
fn repeats(rows: &[Record], at: usize) -> bool {
    let mut seen = HashSet::new();
    let mut fields = rows.iter().filter_map(|(_, row)| row.get(at)).filter(|field| !field.is_empty());
    fields.any(|field| !seen.insert(field))
}

/// A field too many is a separator inside another, or a header that lacks one: the fields behind it are others.
fn require_width(rows: &[Record], first: &StringRecord) -> Result<()> {
    let is_longer = |record: &StringRecord| record.iter().skip(first.len()).any(|field| !field.is_empty());
    match rows.iter().find(|(_, record)| is_longer(record)) {
        None => Ok(()),
        Some((line, record)) => Err(Error::new(
            Kind::Data,
            format!("line {line} has more fields than the first line"),
        )
        .expected_got(first.len(), record.len())
        .help("mend the line, quote fields that hold the separator, or name all columns in the first line")),
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
