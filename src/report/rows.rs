//! One row per image: what `predict` prints and what `evaluate --output` keeps.
//!
//! In: paths, labels, probabilities. Out: lines of text, CSV or JSON.

use crate::error::{Error, Kind, Result, is_obeyed};
use crate::files;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::path::Path;

/// How rows look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tabs between path, class and probability.
    Text,
    /// A header; fields quoted as RFC 4180 says, lines ended by LF. Every class has a column.
    Csv,
    /// One JSON object per line.
    Jsonl,
}

impl Format {
    /// Endings of files by which a format is known. `.json` is none: one object a line is not what it says.
    pub const ENDINGS: [(&'static str, Self); 5] = [
        ("csv", Self::Csv),
        ("jsonl", Self::Jsonl),
        ("ndjson", Self::Jsonl),
        ("txt", Self::Text),
        ("tsv", Self::Text),
    ];

    /// As it is typed after `--format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// An image and what was said of it.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it is, if that is known.
    pub label: Option<usize>,
    /// What it was taken for.
    pub class: usize,
    /// One per class.
    pub probabilities: &'a [f32],
}

/// Writes rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// How they look.
    pub format: Format,
    /// Names of the classes.
    pub classes: &'a [String],
    /// How many classes to name, the one it was taken for first, then the most probable.
    pub top: usize,
    /// Whether every class gets its probability, in every format.
    pub all: bool,
    /// Whether rows have labels.
    pub labelled: bool,
}

impl Rows<'_> {
    fn top(&self) -> usize {
        // Text has no other place for them.
        if self.all && self.format == Format::Text { self.classes.len() } else { self.top }
    }

    /// What stands before the first row.
    pub fn header(&self) -> Vec<u8> {
        if self.format != Format::Csv {
            return Vec::new();
        }
        let mut fields = vec!["path".to_owned()];
        if self.labelled {
            fields.extend(["label", "predicted"].map(str::to_owned));
        } else {
            for place in 1..=self.top.min(self.classes.len()) {
                let nth = if place == 1 { String::new() } else { format!("_{place}") };
                fields.extend(["class", "probability"].map(|name| format!("{name}{nth}")));
            }
        }
        fields.extend(self.classes.iter().map(|class| format!("p_{class}")));
        csv_line(&fields)
    }

    /// A row with its line end.
    ///
    /// # Errors
    /// [`Kind::Data`] for a class without a name.
    pub fn row(&self, said: &Said<'_>) -> Result<Vec<u8>> {
        let name = |class: usize| {
            self.classes.get(class).map(String::as_str).ok_or_else(|| {
                Error::new(Kind::Data, "a class has no name")
                    .expected_got(format!("a class below {}", self.classes.len()), class)
            })
        };
        let p = said.probabilities;
        let mut order: Vec<usize> = (0..p.len()).collect();
        // Stable, so equals stay in class order.
        order.sort_by(|&a, &b| (b == said.class).cmp(&(a == said.class)).then_with(|| p[b].total_cmp(&p[a])));
        order.truncate(self.top());
        let label = said.label.map(&name).transpose()?;
        let path = said.path.as_os_str().as_encoded_bytes();
        match self.format {
            Format::Text => {
                let mut line = as_tab_field(path);
                if let Some(label) = label {
                    line.push(b'\t');
                    line.extend(as_tab_field(label.as_bytes()));
                }
                for k in order {
                    line.push(b'\t');
                    line.extend(as_tab_field(name(k)?.as_bytes()));
                    let _ = write!(line, "\t{:.4}", p[k]);
                }
                line.push(b'\n');
                Ok(line)
            }
            Format::Csv => {
                let mut fields = vec![files::shown(said.path)];
                match label {
                    Some(label) => fields.extend([label.into(), name(said.class)?.into()]),
                    None => {
                        for k in order {
                            fields.extend([name(k)?.into(), p[k].to_string()]);
                        }
                    }
                }
                fields.extend(p.iter().map(f32::to_string));
                Ok(csv_line(&fields))
            }
            Format::Jsonl => {
                let mut object = named(said.path);
                object.insert("predicted".into(), name(said.class)?.into());
                match label {
                    Some(label) => {
                        object.insert("label".into(), label.into());
                    }
                    None => {
                        let one =
                            |&k: &usize| Ok(json!({ "class": name(k)?, "probability": files::short(p[k]) }));
                        object.insert("top".into(), order.iter().map(one).collect::<Result<Value>>()?);
                    }
                }
                if self.all {
                    let all =
                        self.classes.iter().zip(p).map(|(class, p)| (class.clone(), json!(files::short(*p))));
                    object.insert("probabilities".into(), Value::Object(all.collect()));
                }
                Ok(json_line(object))
            }
        }
    }

    /// The row of an image that cannot be read: of JSON alone, other formats have no place for it.
    pub fn unread(&self, path: &Path, error: &Error) -> Vec<u8> {
        if self.format != Format::Jsonl {
            return Vec::new();
        }
        let mut object = named(path);
        object.insert("error".into(), error.line().into());
        json_line(object)
    }
}

/// The beginning of a row of JSON.
fn named(path: &Path) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("path".into(), files::shown(path).into());
    if let Some(bytes) = files::replaced(path) {
        // JSON is UTF-8: the name above is readable, this is the name.
        object.insert("path_bytes".into(), bytes.into());
    }
    object
}

fn json_line(object: Map<String, Value>) -> Vec<u8> {
    let mut line = Value::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Fields as RFC 4180 has them: quoted where a comma, a quote or a line end is in them, quotes doubled. Always UTF-8,
/// or who reads them could read none: of a file's name what is no UTF-8 is replaced, which [`replaced`] says.
pub fn csv_line<T: AsRef<str>>(fields: &[T]) -> Vec<u8> {
    let mut line = String::new();
    for (at, field) in fields.iter().map(AsRef::as_ref).enumerate() {
        if at > 0 {
            line.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            line.push('"');
            line += &field.replace('"', "\"\"");
            line.push('"');
        } else {
            line += field;
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// The rows of what [`csv_line`] wrote, with the head.
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Doubled inside quotes it is one.
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    rows
}

/// What the user should hear of a CSV file, or of rows on stdout, in which so many paths could not be written as they are;
/// `json` is what gives them whole.
pub fn replaced(paths: usize, json: &str) -> Option<String> {
    let (noun, are, it) = if paths == 1 { ("path", "is", "its") } else { ("paths", "are", "their") };
    (paths > 0).then(|| {
        format!(
            "{paths} {noun} {are} no UTF-8 and cannot be opened as the CSV has {}: what is not stands there as U+FFFD; {json} \
             gives {it} bytes, in path_bytes",
            if paths == 1 { "it" } else { "them" }
        )
    })
}

/// A name as a field of a line, between tabs: what would end a field or the line, and what a terminal would obey, as it is
/// written in a string. CSV and JSON keep every character.
fn as_tab_field(name: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if is_obeyed(c) => line.extend(c.escape_debug().to_string().bytes()),
                c => line.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        for &byte in chunk.invalid() {
            // Control characters of a terminal that reads bytes.
            if (0x80..0xa0).contains(&byte) {
                line.extend(format!("\\x{byte:02x}").bytes());
            } else {
                line.push(byte);
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: &Rows<'_>, path: &str, label: Option<usize>, class: usize) -> String {
        let said = Said { path: Path::new(path), label, class, probabilities: &[0.25, 0.5, 0.25] };
        let mut all = rows.header();
        all.extend(rows.row(&said).unwrap());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let rows = [["path", "reason"], ["a/\"b\",c.png", "x\ny"], ["", "\"\""], ["bob/1.png", "é,"]];
        let text = String::from_utf8(rows.iter().flat_map(|row| csv_line(row)).collect()).unwrap();
        assert_eq!(csv_rows(&text), rows.map(|row| row.map(str::to_owned).to_vec()));
        assert!(csv_rows("").is_empty());
    }

    #[test]
    fn every_format_says_the_same() {
        let classes = ["a", "b, c", "d"].map(str::to_owned);
        let rows = |format, top, all, labelled| Rows { format, classes: &classes, top, all, labelled };
        let [txt, csv, jsonl] = [Format::Text, Format::Csv, Format::Jsonl];
        assert_eq!(
            text(&rows(txt, 2, false, false), "x\".png", None, 1),
            "x\".png\tb, c\t0.5000\ta\t0.2500\n"
        );
        assert_eq!(
            text(&rows(txt, 1, true, false), "x", None, 2),
            "x\td\t0.2500\tb, c\t0.5000\ta\t0.2500\n",
            "what it was taken for stands first"
        );
        assert_eq!(
            text(&rows(csv, 1, false, false), "x\".png", None, 1),
            "path,class,probability,p_a,\"p_b, c\",p_d\n\"x\"\".png\",\"b, c\",0.5,0.25,0.5,0.25\n"
        );
        assert_eq!(text(&rows(txt, 1, false, false), "a\tb\nc", None, 1), "a\\tb\\nc\tb, c\t0.5000\n");
        let twice = text(&rows(csv, 9, false, false), "a\nb,c", None, 1);
        assert!(twice.starts_with("path,class,probability,class_2,probability_2,class_3,probability_3,p_a,"));
        assert!(twice.contains("\n\"a\nb,c\",\"b, c\",0.5,a,0.25,d,0.25,0.25,0.5,0.25\n"), "{twice}");
        assert_eq!(
            text(&rows(jsonl, 1, false, false), "x", None, 1),
            "{\"path\":\"x\",\"predicted\":\"b, c\",\"top\":[{\"class\":\"b, c\",\"probability\":0.5}]}\n"
        );
        assert!(text(&rows(jsonl, 1, true, false), "x", None, 1).starts_with(
            "{\"path\":\"x\",\"predicted\":\"b, c\",\"probabilities\":{\"a\":0.25,\"b, c\":0.5,\"d\":0.25},"
        ));
        assert_eq!(
            text(&rows(csv, 1, true, true), "x", Some(2), 1),
            "path,label,predicted,p_a,\"p_b, c\",p_d\nx,d,\"b, c\",0.25,0.5,0.25\n"
        );
        assert_eq!(
            text(&rows(jsonl, 1, false, true), "x", Some(0), 1),
            "{\"label\":\"a\",\"path\":\"x\",\"predicted\":\"b, c\"}\n"
        );
        assert_eq!(text(&rows(txt, 1, false, true), "x", Some(0), 1), "x\ta\tb, c\t0.5000\n");

        let error = Error::new(Kind::Data, "cannot decode x").fact("reason", "it is empty");
        let unread =
            |format| String::from_utf8(rows(format, 1, true, false).unread(Path::new("x"), &error)).unwrap();
        assert_eq!(unread(jsonl), "{\"error\":\"cannot decode x: it is empty\",\"path\":\"x\"}\n");
        assert_eq!([unread(csv), unread(txt)], ["", ""]);

        // The digits of the f32, in every format.
        let one =
            Said { path: Path::new("x"), label: None, class: 0, probabilities: &[0.805_032_1, 0.1, 0.1] };
        for (format, all) in [(csv, false), (jsonl, true)] {
            let row = String::from_utf8(rows(format, 1, all, false).row(&one).unwrap()).unwrap();
            assert_eq!((row.matches("0.8050321").count(), row.contains("0.80503207")), (2, false), "{row}");
        }
    }

    #[test]
    fn a_row_of_text_is_one_line_whatever_classes_are_called() {
        let classes = ["a\tb", "c\nd"].map(str::to_owned);
        let rows = Rows { format: Format::Text, classes: &classes, top: 2, all: false, labelled: true };
        let said = Said { path: Path::new("x"), label: Some(0), class: 1, probabilities: &[0.25, 0.75] };
        let line = String::from_utf8(rows.row(&said).unwrap()).unwrap();
        assert_eq!(line, "x\ta\\tb\tc\\nd\t0.7500\ta\\tb\t0.2500\n");
        assert_eq!(as_tab_field("\r\u{1b}[2J\u{9b}ü".as_bytes()), "\\r\\u{1b}[2J\\u{9b}ü".as_bytes());
        assert_eq!(as_tab_field(b"\x9b2J\xff"), b"\\x9b2J\xff");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_stay_what_they_are_where_they_can() {
        use std::os::unix::ffi::OsStrExt;
        let classes = ["a".to_owned()];
        let path = Path::new(std::ffi::OsStr::from_bytes(b"\xff,.png"));
        let said = Said { path, label: None, class: 0, probabilities: &[1.0] };
        let row = |format| {
            Rows { format, classes: &classes, top: 1, all: false, labelled: false }.row(&said).unwrap()
        };
        // A reader of CSV takes UTF-8, or nothing of the file.
        assert_eq!(row(Format::Csv), "\"\u{fffd},.png\",a,1,1\n".as_bytes());
        let said = replaced(2, "--json").unwrap();
        assert!(said.contains("2 paths are no UTF-8") && said.contains("path_bytes"), "{said}");
        assert_eq!(replaced(0, "--json"), None);
        assert_eq!(row(Format::Text), b"\xff,.png\ta\t1.0000\n");
        let json = String::from_utf8(row(Format::Jsonl)).unwrap();
        assert!(json.contains("\"path_bytes\":\"ff2c2e706e67\""), "{json}");
    }
}
