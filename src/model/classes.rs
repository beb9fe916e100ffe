//! Names of classes in a file's metadata, a line for each, and in messages, of which a thousand make no page.
//!
//! In: names, in which there may be anything. Out: one text, and the names again.

use crate::error;
use std::collections::{BTreeMap, HashSet};
use unicode_normalization::UnicodeNormalization;

/// A name as a line of a stored list: what would end it is written as in a string, and so is the sign that says so.
pub fn as_stored_line(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\r', "\\r").replace('\n', "\\n")
}

/// All of them.
pub fn in_lines(names: &[String]) -> String {
    names.iter().map(|name| as_stored_line(name)).collect::<Vec<_>>().join("\n")
}

/// The names that [`in_lines`] wrote. A file from before it has a backslash as it is: before any other letter it stays one.
pub fn of_lines(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split('\n').map(of_line).collect() }
}

fn of_line(line: &str) -> String {
    let mut name = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        let meant = match (c, rest.as_str().chars().next()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('r')) => '\r',
            ('\\', Some('n')) => '\n',
            _ => {
                name.push(c);
                continue;
            }
        };
        name.push(meant);
        rest.next();
    }
    name
}

/// So many names are listed in a message; a file may have thousands.
const MOST: usize = 20;

/// Names for a message: "cats, dogs"; of many the first, and how many more there are.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<String> = names.iter().take(MOST).map(|name| error::in_one_line(name.as_ref())).collect();
    match names.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// `names` for a message that tells them from `others`: all, or where they are many, those that are here alone.
pub fn told_from(names: &[String], others: &[String]) -> String {
    if names.len().max(others.len()) <= MOST {
        return listed(names);
    }
    let there: HashSet<&String> = others.iter().collect();
    let alone: Vec<&String> = names.iter().filter(|name| !there.contains(name)).collect();
    let count = match names.len() {
        1 => "1 class".to_owned(),
        n => format!("{n} classes"),
    };
    if !alone.is_empty() {
        return format!("{count}, here alone {}", listed(&alone));
    }
    // Of the same classes in another order, the first place that differs.
    match names.iter().zip(others).position(|(name, other)| name != other) {
        Some(at) => format!("{count}, number {} is {}", at + 1, listed(&names[at..=at])),
        None => count,
    }
}

/// Why names that look the same do not match, where two of `names` and `others` differ only in how their accents are
/// written: as a Mac writes them, and as others do.
pub fn composed_otherwise(names: &[String], others: &[String]) -> Option<String> {
    let there: HashSet<&String> = others.iter().collect();
    let alone: HashSet<&String> = names.iter().filter(|name| !there.contains(name)).collect();
    // Most names have no accents, and then there is nothing to compare.
    let mut accented = others.iter().filter(|other| !other.is_ascii());
    let (here, there) = accented.find_map(|other| {
        let is_so = |name: &&&String| ***name != *other && name.nfc().eq(other.nfc());
        alone.iter().filter(|name| !name.is_ascii()).find(is_so).map(|name| (*name, other))
    })?;
    let form = |name: &str| if name.nfc().eq(name.chars()) { "NFC" } else { "NFD" };
    let [shown, other] = [here, there].map(|name| error::in_one_line(name));
    Some(format!(
        "{shown} ({}) and {other} ({}) may be one name: an accent is a character of its own in one of them (Unicode NFD) \
         and not in the other (NFC)",
        form(here),
        form(there)
    ))
}

/// Remarks on classes that may be one: their names differ only in case, or in how accents are written.
pub fn nearly_one(names: &[String]) -> Vec<String> {
    let folded = |name: &String| name.nfc().collect::<String>().to_lowercase().nfc().collect::<String>();
    let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    names.iter().for_each(|name| alike.entry(folded(name)).or_default().push(name));
    let remark = |names: Vec<&String>| {
        let composed = names.iter().any(|one| names.iter().any(|two| one != two && one.nfc().eq(two.nfc())));
        let how =
            if composed { "how accents are written (Unicode NFC and NFD)" } else { "upper and lower case" };
        format!("the names of the classes {} differ only in {how}: are they one?", listed(&names))
    };
    alike.into_values().filter(|names| names.len() > 1).map(remark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_whatever_is_in_them() {
        let names =
            ["cat", "two\nlines", "re\rturn", "back\\slash", "\\n", "\\", "ends\\\n"].map(str::to_owned);
        let text = in_lines(&names);
        assert_eq!(text.lines().count(), names.len(), "{text}");
        assert_eq!(of_lines(&text), names);
        assert_eq!(of_lines(""), Vec::<String>::new());
        // Of an older file.
        assert_eq!(of_lines("a\\b\nKäfer"), ["a\\b", "Käfer"]);
    }

    #[test]
    fn a_message_lists_a_few() {
        let all = |n: usize| (0..n).map(|k| format!("c{k}")).collect::<Vec<_>>();
        assert_eq!(listed(&all(3)), "c0, c1, c2");
        assert_eq!(listed(&all(1000)).matches(", ").count(), MOST - 1);
        assert!(listed(&all(1000)).ends_with("c19 and 980 more"), "{}", listed(&all(1000)));
        let two = ["c0", "x"].map(str::to_owned);
        assert_eq!(told_from(&two, &all(3)), "c0, x");
        // Of many, what is alike says nothing.
        assert_eq!(told_from(&two, &all(1000)), "2 classes, here alone x");
        assert_eq!(told_from(&all(1000), &all(998)), "1000 classes, here alone c998, c999");
        assert_eq!(told_from(&all(998), &all(1000)), "998 classes");
        let mut turned = all(1000);
        turned.swap(7, 9);
        assert_eq!(told_from(&all(1000), &turned), "1000 classes, number 8 is c7");
        assert_eq!(told_from(&turned, &all(1000)), "1000 classes, number 8 is c9");
    }

    #[test]
    fn names_that_look_the_same_are_told_apart() {
        let names = |names: [&str; 2]| names.map(str::to_owned);
        let [nfc, nfd] = [names(["caf\u{e9}", "tea"]), names(["cafe\u{301}", "tea"])];
        let why = composed_otherwise(&nfc, &nfd).unwrap();
        assert!(why.starts_with("caf\u{e9} (NFC) and cafe\u{301} (NFD) may be one name"), "{why}");
        assert_eq!(composed_otherwise(&nfc, &nfc), None);
        assert_eq!(composed_otherwise(&nfc, &names(["cafe", "tea"])), None, "no accent at all");
        let both = [&nfc[..], &nfd[..1]].concat();
        let remarks = nearly_one(&both);
        assert!(remarks.len() == 1 && remarks[0].contains("NFD"), "{remarks:?}");
        let remarks = nearly_one(&names(["Cats", "cats"]));
        assert!(remarks.len() == 1 && remarks[0].contains("Cats, cats differ only in upper and lower case"));
        assert!(nearly_one(&nfc).is_empty());
    }
}
