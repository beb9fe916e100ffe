//! Names of classes in a file's metadata, a line for each.
//!
//! In: names, in which there may be anything. Out: one text, and the names again.

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
}
