//! Slips of the pen: a name that is not there and those that are in, the one that was meant out.

/// The name with the fewest edits, when it is near enough to be a slip of the pen.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
