//! Lists that say of which class images are: the `labels.csv` that comes with many data sets.
//!
//! In: the text of a list, which columns to take if its header does not tell, and [`Finder`], which knows the images.
//! Out: rows of image, class and split, as they are written; or an error that names the line.

mod columns;
pub mod finder;

#[cfg(test)]
mod tests;

use super::folder::is_image_name;
use crate::error::{Error, Kind, Result};
use crate::files::read_text;
use crate::model::classes::listed;
use columns::{Class, Places};
use csv::{ReaderBuilder, StringRecord, Trim};
use finder::Finder;
use std::ffi::OsStr;
use std::path::Path;

/// Columns by their names in the header, without regard to case, or by number from 1; those that are not given are known
/// by their names.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The image's file.
    pub image: Option<String>,
    /// Its class.
    pub label: Option<String>,
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
}

impl List {
    /// Reads a list whose fields stand between commas, semicolons, tabs or, if there are none of these, blanks (then with
    /// remarks behind `#`). The first line is a header unless a field of it is the name of an image that is there.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Data`]: no rows, no such column, a row that is too short; [`Kind::Usage`]: columns that have
    /// to be named.
    pub fn read(path: &Path, columns: &Columns, finder: &Finder) -> Result<Self> {
        let text = read_text(path)?;
        Self::parse(&text, columns, finder)
            .map_err(|error| error.context(format!("reading the labels in {}", path.display())))
    }

    fn parse(text: &str, columns: &Columns, finder: &Finder) -> Result<Self> {
        // As spreadsheets begin what they save.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let records = records(text)?;
        let Some((_, first)) = records.first() else {
            return Err(
                Error::new(Kind::Data, "there are no rows").help("give a list of images and their classes")
            );
        };
        // A class may be called as an image is, but for the ending.
        let named = |field: &str| is_image_name(OsStr::new(field)) && finder.knows(field);
        let there =
            first.iter().position(named).or_else(|| first.iter().position(|field| finder.knows(field)));
        let header = there.is_none().then_some(first);
        let records = &records[usize::from(header.is_some())..];
        if records.is_empty() {
            return Err(Error::new(Kind::Data, "there is a header and no row")
                .help("give a list with one row for each image"));
        }
        let Places { image, class, split } = match header {
            Some(header) => Places::named(header, records, columns, finder)?,
            None => Places::numbered(first, there.unwrap_or_default(), columns)?,
        };
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
                Class::Marked(_) => match class.marked(record)[..] {
                    [] => String::new(),
                    [one] => called(one),
                    [one, other, ..] => {
                        return Err(Error::new(Kind::Data, format!("line {line} has several classes"))
                            .fact("classes", format!("{}, {}", called(one), called(other)))
                            .help("an image has one class here; --label-column takes one of the columns"));
                    }
                },
            };
            rows.push(Row { line: *line, image: field(image), label, split: split.map(field) });
        }
        let label = match &class {
            Class::Named(at) => called(*at),
            Class::Marked(all) => listed(&all.iter().map(|&at| called(at)).collect::<Vec<_>>()),
        };
        Ok(Self { rows, image: called(image), label, split: split.map(called) })
    }
}

/// All lines that are not empty, with their numbers.
fn records(text: &str) -> Result<Vec<(u64, StringRecord)>> {
    let separator = separator(text);
    let remarks = (separator == b' ').then_some(b'#');
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(separator)
        .comment(remarks)
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    // The reader's own number is that of the line before where lines end in \r\n, and where blank ones lie between.
    let (mut line, mut at) = (1, 0);
    for record in reader.records() {
        let record = record.map_err(|e| {
            Error::new(Kind::Data, "a line cannot be understood")
                .fact("reason", e)
                .help("save the list as CSV, in UTF-8")
        })?;
        let mut start = record.position().map_or(at, |position| position.byte() as usize);
        while let Some(&byte) = text.as_bytes().get(start) {
            match byte {
                b'\r' | b'\n' => start += 1,
                b'#' if remarks.is_some() => start += text[start..].find('\n').unwrap_or(text.len() - start),
                _ => break,
            }
        }
        line += text.as_bytes()[at..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
        at = start;
        if record.iter().any(|field| !field.is_empty()) {
            records.push((line, record));
        }
    }
    Ok(records)
}

/// What stands between the fields: that of `,`, `;` and tab which the first line has most of, or else a blank.
fn separator(text: &str) -> u8 {
    let first =
        text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let count = |separator: u8| first.bytes().filter(|&byte| byte == separator).count();
    // Of those that are equal, the last is taken.
    match [b';', b'\t', b','].into_iter().max_by_key(|&separator| count(separator)) {
        Some(separator) if count(separator) > 0 => separator,
        _ => b' ',
    }
}
