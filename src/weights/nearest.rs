//! Slips of the pen: a name that is not there in, the error that says which are, and which was meant, out.

use super::file::Weights;
use super::unzip::shorten;
use crate::error::{Error, Kind};

impl Weights {
    /// The error for a tensor that is not there.
    pub(crate) fn unknown(&self, name: &str) -> Error {
        /// More names than this would hide the message.
        const LISTED: usize = 40;
        let mut list: Vec<String> = self.names().take(LISTED).map(shorten).collect();
        if self.names().len() > LISTED {
            list.push(format!("and {} more", self.names().len() - LISTED));
        }
        let error = Error::new(
            Kind::Weights,
            format!("there is no tensor `{}` in {}", shorten(name), self.path().display()),
        )
        .fact("there", if list.is_empty() { "nothing".into() } else { list.join("\n") });
        match nearest(name, self.names()) {
            Some(near) => error.help(format!("the nearest name is `{}`", shorten(near))),
            None => error.help("these weights are of another network, or named in another way"),
        }
    }
}

/// The name with the fewest edits, when it is near enough to be a slip of the pen.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    names.map(|other| (edits(name, other), other)).min().filter(|&(n, _)| n <= limit).map(|(_, near)| near)
}

/// Levenshtein's distance, row by row.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("fc1.kernel", "fc1.kernel"), 0);
        assert_eq!(nearest("fc1.kernal", ["fc1.bias", "fc1.kernel"].into_iter()), Some("fc1.kernel"));
        assert_eq!(nearest("x", ["fc1.bias"].into_iter()), None);
    }
}
