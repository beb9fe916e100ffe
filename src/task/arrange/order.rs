//! The order in which people count: numbers in names as numbers.

use std::cmp::Ordering;
use std::path::Path;

/// As text, but with runs of digits as the numbers that they are: `cat.9` before `cat.10`.
pub fn natural(a: &Path, b: &Path) -> Ordering {
    let (a_text, b_text) = (a.to_string_lossy(), b.to_string_lossy());
    let (mut a_rest, mut b_rest) = (&*a_text, &*b_text);
    loop {
        let (a_word, a_number) = head(&mut a_rest);
        let (b_word, b_number) = head(&mut b_rest);
        // Without zeros before them, the longer number is the larger.
        let number = |digits: &str| {
            let digits = digits.trim_start_matches('0');
            (digits.len(), digits.to_owned())
        };
        let order = a_word.cmp(b_word).then_with(|| number(a_number).cmp(&number(b_number)));
        if order != Ordering::Equal {
            return order;
        }
        if a_rest.is_empty() || b_rest.is_empty() {
            return a_rest.len().cmp(&b_rest.len()).then_with(|| a.cmp(b));
        }
    }
}

/// Takes what stands before the first digit, and the digits, from the front of `text`.
fn head<'a>(text: &mut &'a str) -> (&'a str, &'a str) {
    let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (word, rest) = text.split_at(digits);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    *text = rest;
    (word, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let sorted = [
            "a",
            "a0",
            "a00",
            "a01",
            "a1",
            "a2",
            "a2b",
            "a9.jpg",
            "a10",
            "a010.jpg",
            "a10.jpg",
            "aa",
            "b/9.jpg",
            "b/10.jpg",
            "c12345678901234567890123",
            "c12345678901234567890124",
            "é",
            "é1",
        ];
        for (i, one) in sorted.iter().enumerate() {
            for (j, other) in sorted.iter().enumerate() {
                assert_eq!(natural(Path::new(one), Path::new(other)), i.cmp(&j), "{one} and {other}");
            }
        }
    }
}
