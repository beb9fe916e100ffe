//! PTX text cut into tokens.
//!
//! In: the text of a module. Out: words (`fma.rn.f32`, `%tid.x`, `$L__BB0_3`, `.reg`), numbers, strings
//! and single characters, each with its line. Comments and white space are gone.

use super::refuse;
use crate::error::Result;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Begins with a letter or one of `_ $ % .`; may hold `::`.
    Word,
    /// Begins with a digit.
    Number,
    /// Without its quotation marks.
    Text,
    /// One character.
    Mark(u8),
}

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub struct Token<'t> {
    /// What it is.
    pub sort: Sort,
    /// As it stands in the text.
    pub text: &'t str,
    /// Counted from 1.
    pub line: u32,
}

fn begins_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

fn goes_on(c: u8) -> bool {
    begins_word(c) || c.is_ascii_digit()
}

/// The tokens of `text`.
///
/// # Errors
/// A character that PTX does not use, an unclosed string or comment.
pub fn tokens<'t>(file: &str, text: &'t str) -> Result<Vec<Token<'t>>> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::with_capacity(text.len() / 4);
    while let Some(&c) = bytes.get(at) {
        let begin = at;
        let sort = match c {
            b'\n' => {
                line += 1;
                at += 1;
                continue;
            }
            c if c.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|&c| c == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let Some(length) = text[at..].find("*/") else {
                    return Err(refuse(file, line, "a comment has no end"));
                };
                line += bytes[at..at + length].iter().filter(|&&c| c == b'\n').count() as u32;
                at += length + 2;
                continue;
            }
            b'"' => {
                let Some(length) = bytes[at + 1..].iter().position(|&c| c == b'"') else {
                    return Err(refuse(file, line, "a string has no end"));
                };
                let inner = &text[at + 1..at + 1 + length];
                found.push(Token { sort: Sort::Text, text: inner, line });
                line += inner.bytes().filter(|&c| c == b'\n').count() as u32;
                at += length + 2;
                continue;
            }
            c if begins_word(c) => {
                at += 1;
                while let Some(&c) = bytes.get(at) {
                    if goes_on(c) {
                        at += 1;
                    } else if c == b':' && bytes.get(at + 1) == Some(&b':') {
                        at += 2;
                    } else {
                        break;
                    }
                }
                Sort::Word
            }
            c if c.is_ascii_digit() => {
                while bytes.get(at).is_some_and(|&c| c.is_ascii_alphanumeric() || c == b'.') {
                    at += 1;
                }
                Sort::Number
            }
            b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'<' | b'>' | b',' | b';' | b':' | b'@' | b'!'
            | b'|' | b'+' | b'-' | b'=' => {
                at += 1;
                Sort::Mark(c)
            }
            _ => {
                let what: String = text[at..].chars().take(1).collect();
                return Err(refuse(file, line, format!("PTX has no character {what:?}")));
            }
        };
        found.push(Token { sort, text: &text[begin..at], line });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_dots_and_double_colons_but_no_labels_colon() {
        let text = "LAB: @!%p1 mbarrier.init.shared::cta.b64 [%r1+-4], 0f3F800000; // end\n/* a\nb */ x";
        let found: Vec<_> = tokens("t", text).unwrap().iter().map(|t| (t.text, t.line)).collect();
        let words = ["LAB", ":", "@", "!", "%p1", "mbarrier.init.shared::cta.b64", "[", "%r1", "+", "-", "4"];
        assert_eq!(found[..11].iter().map(|t| t.0).collect::<Vec<_>>(), words);
        assert_eq!(found.last(), Some(&("x", 3)));
    }
}
