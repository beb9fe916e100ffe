//! The text of a list, and its lines as fields.
//!
//! In: a file as programs and spreadsheets write it. Out: fields with the number of their line.

use crate::error::{Error, Kind, Result};
use crate::files::{read_regular, read_text};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::path::Path;

/// A line's number, from 1, and its fields.
pub type Record = (u64, StringRecord);

/// The text of the file at `path`, with lines that end in \n: UTF-8, or UTF-16 with its mark, as spreadsheets write what they
/// call Unicode.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Data`] for another encoding.
pub fn text_of(path: &Path) -> Result<String> {
    let bytes = if path.is_file() {
        read_regular(path).map_err(|e| Error::io("read", path, &e))?
    } else {
        // What a shell hands on.
        read_text(path)?.into_bytes()
    };
    let wide = |bytes: &[u8], of: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let text = match &bytes[..] {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    };
    // Old Macs ended lines by \r alone.
    text.map(|text| text.replace("\r\n", "\n").replace('\r', "\n")).ok_or_else(|| {
        Error::new(Kind::Data, format!("{} is not UTF-8", path.display()))
            .help("unpack it if it is packed; of a spreadsheet, save it as \"CSV UTF-8\"")
    })
}

/// The lines that are not empty. Fields stand between tabs, semicolons or commas and may be quoted; where there are none of
/// these, between blanks, and `#` begins a remark.
///
/// # Errors
/// [`Kind::Data`].
pub fn records(text: &str) -> Result<Vec<Record>> {
    // As Excel is told of the separator.
    let (said, text, first) = match text.split_once('\n') {
        Some((first, rest)) if first.len() == 5 && first.starts_with("sep=") => {
            (first.bytes().last(), rest, 2)
        }
        _ => (None, text, 1),
    };
    match said.or_else(|| separator(text)) {
        Some(separator) => separated(text, separator, first),
        None => Ok(aligned(text, first)),
    }
}

fn separated(text: &str, separator: u8, first: u64) -> Result<Vec<Record>> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(separator)
        .from_reader(text.as_bytes());
    let mut records = Vec::new();
    // The reader's own number is that of the line before where blank ones lie between.
    let (mut line, mut at) = (first, 0);
    for record in reader.records() {
        let record = record.map_err(|e| {
            Error::new(Kind::Data, "a line cannot be understood")
                .fact("reason", e)
                .help("save the list as CSV, in UTF-8")
        })?;
        let bytes = text.as_bytes();
        let before = record.position().map_or(at, |position| position.byte() as usize);
        let start = before + bytes[before..].iter().take_while(|&&byte| byte == b'\n').count();
        line += bytes[at..start].iter().filter(|&&byte| byte == b'\n').count() as u64;
        at = start;
        if record.iter().any(|field| !field.is_empty()) {
            records.push((line, record));
        }
    }
    Ok(records)
}

/// Of columns that are set one below the other several blanks are one separator.
fn aligned(text: &str, first: u64) -> Vec<Record> {
    let lines = (first..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
    let records = lines.map(|(number, line)| (number, line.split_whitespace().collect::<StringRecord>()));
    records.filter(|(_, record)| !record.is_empty()).collect()
}

/// Lines that are looked at to find the separator.
const LOOKED_AT: usize = 20;

/// The first of tab, semicolon and comma that all lines have, or else that the first line has: texts and numbers have commas,
/// too.
fn separator(text: &str) -> Option<u8> {
    let lines =
        || text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).take(LOOKED_AT);
    // What stands between quotes is every other part.
    let has = |line: &str, separator: u8| {
        line.split('"').step_by(2).any(|part| part.as_bytes().contains(&separator))
    };
    let known = [b'\t', b';', b','];
    let in_all = known
        .into_iter()
        .find(|&separator| lines().next().is_some() && lines().all(|line| has(line, separator)));
    in_all.or_else(|| {
        known.into_iter().find(|&separator| lines().next().is_some_and(|first| has(first, separator)))
    })
}
