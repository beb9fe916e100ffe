//! Names of classes in a file's metadata, a line for each, and in messages, of which a thousand make no page.
//!
//! In: names, in which there may be anything. Out: one text, and the names again.

use std::collections::HashSet;

/// A name in one line: what would end it is written as in a string, and so is the sign that says so.
pub fn in_one_line(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\r', "\\r").replace('\n', "\\n")
}

/// All of them.
pub fn in_lines(names: &[String]) -> String {
    names.iter().map(|name| in_one_line(name)).collect::<Vec<_>>().join("\n")
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
    let first: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
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
        Some(at) => format!("{count}, number {} is {}", at + 1, names[at]),
        None => count,
    }
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
}
