//! Lists that say of which class images are: the `labels.csv` that comes with many data sets.
//!
//! In: the text of a list, which columns to take if its header does not tell, and [`Finder`], which knows the images.
//! Out: rows of image, class and split, as they are written; or an error that names the line.

pub mod finder;

use super::folder::is_image_name;
use crate::error::{Error, Kind, Result};
use crate::files::read_text;
use crate::model::classes::listed;
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
    /// That of the classes.
    pub label: String,
    /// That of the splits, if there is one.
    pub split: Option<String>,
}

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
        let Places { image, label, split } = match header {
            Some(header) => Places::named(header, columns)?,
            None => Places::numbered(first, there.unwrap_or_default(), columns)?,
        };
        let mut rows = Vec::with_capacity(records.len());
        for (line, record) in records.iter().skip(usize::from(header.is_some())) {
            let field = |at: usize| record.get(at).map(str::to_owned);
            let (Some(name), Some(class)) = (field(image), field(label)) else {
                let needed = image.max(label) + 1;
                return Err(Error::new(Kind::Data, format!("line {line} is too short"))
                    .expected_got(format!("{needed} fields or more"), record.len())
                    .help("mend the line, or quote fields that hold the separator"));
            };
            rows.push(Row {
                line: *line,
                image: name,
                label: class,
                split: split.map(|at| field(at).unwrap_or_default()),
            });
        }
        if rows.is_empty() {
            return Err(Error::new(Kind::Data, "there is a header and no row")
                .help("give a list with one row for each image"));
        }
        let called = |at: usize| match header {
            Some(header) => header.get(at).unwrap_or_default().to_owned(),
            None => (at + 1).to_string(),
        };
        Ok(Self { rows, image: called(image), label: called(label), split: split.map(called) })
    }
}

/// Which fields of a row are taken, from 0.
struct Places {
    image: usize,
    label: usize,
    split: Option<usize>,
}

impl Places {
    /// Of a list with a header.
    fn named(header: &StringRecord, columns: &Columns) -> Result<Self> {
        let wanted = |column: &Option<String>, option| {
            column.as_ref().map(|name| place(header, true, name, option)).transpose()
        };
        let known = |names: &[&str]| -> Vec<usize> {
            let at = |name: &&str| header.iter().position(|field| field.eq_ignore_ascii_case(name));
            names.iter().filter_map(at).collect()
        };
        let unknown = |what: &str, option: &str| {
            let fields: Vec<&str> = header.iter().collect();
            Error::new(Kind::Usage, format!("which column holds {what} is not clear"))
                .fact("columns", listed(&fields))
                .help(format!("name it with {option}"))
        };
        let [image, label] =
            [wanted(&columns.image, "--image-column")?, wanted(&columns.label, "--label-column")?];
        let split = match wanted(&columns.split, "--split-column")? {
            Some(split) => Some(split),
            None => known(&SPLIT).first().copied().filter(|&at| Some(at) != image && Some(at) != label),
        };
        let free = |at: &usize| Some(*at) != split;
        let image = match image {
            Some(image) => image,
            None => known(&IMAGE)
                .into_iter()
                .find(|at| free(at) && Some(*at) != label)
                .or_else(|| (0..header.len()).filter(free).find(|at| header.len() == 2 && Some(*at) != label))
                .ok_or_else(|| unknown("the image", "--image-column"))?,
        };
        let label = match label {
            Some(label) => label,
            None => match known(&LABEL).into_iter().filter(|at| free(at) && *at != image).collect::<Vec<_>>()
                [..]
            {
                [label] => label,
                [] if header.len() == 2 + usize::from(split.is_some()) => {
                    (0..header.len()).find(|at| free(at) && *at != image).unwrap_or_default()
                }
                _ => return Err(unknown("the class", "--label-column")),
            },
        };
        Ok(Self { image, label, split })
    }

    /// Of a list without one, where the field `there` of the first row is an image.
    fn numbered(first: &StringRecord, there: usize, columns: &Columns) -> Result<Self> {
        let wanted = |column: &Option<String>, option| {
            column.as_ref().map(|name| place(first, false, name, option)).transpose()
        };
        let image = wanted(&columns.image, "--image-column")?.unwrap_or(there);
        let split = wanted(&columns.split, "--split-column")?;
        let label = match wanted(&columns.label, "--label-column")? {
            Some(label) => label,
            None => {
                let rest: Vec<usize> =
                    (0..first.len()).filter(|&at| at != image && Some(at) != split).collect();
                let [label] = rest[..] else {
                    let fields: Vec<&str> = first.iter().collect();
                    return Err(Error::new(
                        Kind::Usage,
                        "the list has no header, so which column holds the class is not clear",
                    )
                    .fact("first row", listed(&fields))
                    .help("give the column's number, from 1, with --label-column"));
                };
                label
            }
        };
        Ok(Self { image, label, split })
    }
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
        let start = record.position().map_or(at, |position| position.byte() as usize);
        let ends = text.as_bytes()[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += text.as_bytes()[at..start + ends].iter().filter(|&&byte| byte == b'\n').count() as u64;
        at = start + ends;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn finder() -> Finder {
        Finder::new(["cat.jpg", "a1.jpg", "a2.jpg", "train/b.png"].map(PathBuf::from).to_vec())
    }

    fn columns(image: &str, label: &str, split: &str) -> Columns {
        let given = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Columns { image: given(image), label: given(label), split: given(split) }
    }

    /// Image, class and split of each row, with its line.
    fn rows(list: &List) -> Vec<(u64, &str, &str, Option<&str>)> {
        list.rows.iter().map(|row| (row.line, &*row.image, &*row.label, row.split.as_deref())).collect()
    }

    #[test]
    fn lists_are_read_as_people_and_programs_write_them() {
        let two = vec![(2, "a1", "cat", None), (3, "a2", "dog", None)];
        let bare = vec![(1, "a1.jpg", "cat", None), (2, "a2.jpg", "dog", None)];
        for (text, want) in [
            ("id,breed\na1,cat\na2,dog\n", two.clone()),
            // As spreadsheets of other countries save it, and with the class first.
            ("\u{feff}Klasse;Filename\r\ncat;a1\r\ndog;a2\r\n", two.clone()),
            ("image\tlabel\na1\tcat\na2\tdog", two),
            ("id,breed\n\na1,cat\n,\na2,dog\n", vec![(3, "a1", "cat", None), (5, "a2", "dog", None)]),
            ("a1.jpg,cat\na2.jpg,dog\n", bare.clone()),
            ("cat,a1.jpg\ndog,a2.jpg\n", bare.clone()),
            ("a1.jpg cat\na2.jpg dog\n", bare),
            ("# what and which\na1 1\n", vec![(2, "a1", "1", None)]),
            (
                "id,label\na1,\"big, black\nand \"\"old\"\"\"\na2,x\n",
                vec![(2, "a1", "big, black\nand \"old\"", None), (4, "a2", "x", None)],
            ),
            // Of more columns those that are known; classes that are left empty stay so.
            (
                "n,image_id,age,label,split\n1,a1,7,cat,train\n2,a2,8,,test\n",
                vec![(2, "a1", "cat", Some("train")), (3, "a2", "", Some("test"))],
            ),
        ] {
            let list =
                List::parse(text, &Columns::default(), &finder()).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(rows(&list), want, "{text:?}");
        }
        let text = "id,label,class,part\na1,1,cat,x\n";
        let list = List::parse(text, &columns("ID", "class", "4"), &finder()).unwrap();
        assert_eq!(rows(&list), [(2, "a1", "cat", Some("x"))]);
        assert_eq!([&list.image, &list.label], ["id", "class"]);
        let list = List::parse("x,a1.jpg,cat\n", &columns("", "3", ""), &finder()).unwrap();
        assert_eq!((rows(&list), list.label.as_str()), (vec![(1, "a1.jpg", "cat", None)], "3"));
    }

    #[test]
    fn lists_that_are_not_clear_are_refused() {
        for (text, columns, words) in [
            ("", Columns::default(), "there are no rows"),
            ("\n,\n", Columns::default(), "there are no rows"),
            ("id,label\n", Columns::default(), "a header and no row"),
            ("id,label\na1,cat\na2\n", Columns::default(), "line 3 is too short"),
            ("id,label,class\na1,1,cat\n", Columns::default(), "which column holds the class is not clear"),
            ("x,y,z\na1,1,cat\n", Columns::default(), "which column holds the image is not clear"),
            ("a1.jpg,1,cat\n", Columns::default(), "the list has no header"),
            ("id,label\na1,cat\n", columns("", "breed", ""), "no column \"breed\""),
            ("id,label\na1,cat\n", columns("0", "", ""), "no column \"0\""),
            ("a1.jpg,cat\n", columns("", "label", ""), "the list has no header, for its first row"),
        ] {
            let error = List::parse(text, &columns, &finder()).expect_err(text);
            assert!(
                error.to_string().contains(words) && error.to_string().contains("help:"),
                "{text:?}: {error}"
            );
        }
    }
}
