//! The wire format of protocol buffers, read: bytes in, fields with their places out.
//!
//! A message is a list of fields; a field is a tag (number · 8 + type), then a varint, four or eight bytes,
//! or a length and that many bytes. Nothing is copied. Messages inside are entered by those who know them
//! and by nobody else, so the depth is that of ONNX's schema, whatever the file nests.

use crate::error::{Error, Kind, Result};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The file that is read: its name for the errors, and its bytes.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub path: &'a Path,
    pub bytes: &'a [u8],
}

/// The fields of one message, one after the other.
pub(super) struct Fields<'a> {
    file: File<'a>,
    /// The message's name in `onnx.proto`, for the errors.
    message: &'static str,
    at: usize,
    end: usize,
}

/// A field: its number, and what it holds.
pub(super) struct Field<'a> {
    pub number: u32,
    file: File<'a>,
    message: &'static str,
    at: usize,
    value: Value,
}

enum Value {
    Varint(u64),
    /// Places in the file.
    Four(Range<usize>),
    Eight(Range<usize>),
    Bytes(Range<usize>),
}

/// The types of the wire format.
const VARINT: u64 = 0;
const EIGHT: u64 = 1;
const LENGTH: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FOUR: u64 = 5;
/// Field numbers have 29 bits.
const MAX_NUMBER: u64 = (1 << 29) - 1;

impl<'a> File<'a> {
    /// The fields of the message that lies at `place`.
    pub fn fields(self, place: Range<usize>, message: &'static str) -> Fields<'a> {
        Fields { file: self, message, at: place.start, end: place.end.min(self.bytes.len()) }
    }

    /// The bytes at `place`; none when it is not within the file.
    pub fn slice(self, place: &Range<usize>) -> &'a [u8] {
        self.bytes.get(place.clone()).unwrap_or_default()
    }

    /// An error about the byte `at`.
    pub fn damaged(self, at: usize, why: impl fmt::Display) -> Error {
        Error::new(Kind::Weights, format!("{} is no ONNX file, or is damaged", self.path.display()))
            .fact("reason", why)
            .fact("at byte", at)
            .help("fetch or make the file again")
    }

    /// The varint at `at`, which must end before `end`, and the place after it.
    fn varint(self, at: usize, end: usize) -> Result<(u64, usize)> {
        let mut value = 0;
        for (n, &byte) in self.slice(&(at..end)).iter().take(10).enumerate() {
            // Nine times seven bits leave one for the tenth byte.
            if n == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte < 0x80 {
                return Ok((value, at + n + 1));
            }
        }
        let why =
            if end.saturating_sub(at) < 10 { "ends beyond its message" } else { "is longer than 64 bits" };
        Err(self.damaged(at, format!("a number {why}")))
    }
}

impl<'a> Fields<'a> {
    /// The next field; `None` at the end of the message.
    ///
    /// # Errors
    /// [`Kind::Weights`] when what follows is no field that ends within the message.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (file, begin) = (self.file, self.at);
        let (tag, at) = file.varint(begin, self.end)?;
        let (value, after) = match tag & 7 {
            VARINT => {
                let (value, after) = file.varint(at, self.end)?;
                (Value::Varint(value), after)
            }
            EIGHT => (Value::Eight(self.take(at, 8)?), at + 8),
            FOUR => (Value::Four(self.take(at, 4)?), at + 4),
            LENGTH => {
                let (length, at) = file.varint(at, self.end)?;
                let place = self.take(at, length)?;
                let after = place.end;
                (Value::Bytes(place), after)
            }
            GROUP | GROUP_END => return Err(file.damaged(begin, "a group, which ONNX has none of")),
            _ => return Err(file.damaged(begin, format!("a field of the unknown type {}", tag & 7))),
        };
        let number = tag >> 3;
        if number == 0 || number > MAX_NUMBER {
            return Err(file.damaged(begin, format!("a field with the number {number}")));
        }
        self.at = after;
        Ok(Some(Field { number: number as u32, file, message: self.message, at: begin, value }))
    }

    /// The place of `length` bytes from `at` on.
    fn take(&self, at: usize, length: u64) -> Result<Range<usize>> {
        let left = self.end.saturating_sub(at);
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(at..at + length),
            _ => {
                let why = format!("a field of {length} bytes in a {} with {left} bytes left", self.message);
                Err(self.file.damaged(at, why))
            }
        }
    }
}

impl<'a> Field<'a> {
    /// An `int32`, `int64` or enum.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the field is of another type; so for the functions below.
    pub fn int(&self) -> Result<i64> {
        match self.value {
            // Two's complement is what the format asks for.
            Value::Varint(value) => Ok(value as i64),
            _ => Err(self.mistyped("a number")),
        }
    }

    /// The place of a message, of text or of bytes.
    pub fn bytes(&self) -> Result<Range<usize>> {
        match &self.value {
            Value::Bytes(place) => Ok(place.clone()),
            _ => Err(self.mistyped("bytes")),
        }
    }

    /// Text, borrowed from the file.
    pub fn text(&self) -> Result<&'a str> {
        let place = self.bytes()?;
        std::str::from_utf8(self.file.slice(&place)).map_err(|_| {
            self.file.damaged(place.start, format!("text in a {} that is not UTF-8", self.message))
        })
    }

    /// The fields of a message inside.
    pub fn message(&self, message: &'static str) -> Result<Fields<'a>> {
        Ok(self.file.fields(self.bytes()?, message))
    }

    /// Hands the numbers of a `repeated int64` to `each`: one, or many that are packed.
    pub fn ints(&self, mut each: impl FnMut(i64) -> Result<()>) -> Result<()> {
        let Value::Bytes(place) = &self.value else { return each(self.int()?) };
        let mut at = place.start;
        while at < place.end {
            let (value, after) = self.file.varint(at, place.end)?;
            each(value as i64)?;
            at = after;
        }
        Ok(())
    }

    /// The place of the numbers of a `repeated float` (`size` 4) or `repeated double` (8), little-endian and
    /// dense: one, or many that are packed.
    pub fn reals(&self, size: usize) -> Result<Range<usize>> {
        match &self.value {
            Value::Four(place) if size == 4 => Ok(place.clone()),
            Value::Eight(place) if size == 8 => Ok(place.clone()),
            Value::Bytes(place) if place.len().is_multiple_of(size) => Ok(place.clone()),
            _ => Err(self.mistyped(&format!("floats of {size} bytes"))),
        }
    }

    fn mistyped(&self, expected: &str) -> Error {
        let why = format!("field {} of a {} does not hold {expected}", self.number, self.message);
        self.file.damaged(self.at, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Message;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, String)>> {
        let file = File { path: Path::new("x"), bytes };
        let mut fields = file.fields(0..bytes.len(), "Test");
        let mut out = Vec::new();
        while let Some(field) = fields.next_field()? {
            let value = match &field.value {
                Value::Varint(n) => format!("{}", *n as i64),
                Value::Four(place) => format!("four {place:?}"),
                Value::Eight(place) => format!("eight {place:?}"),
                Value::Bytes(place) => format!("bytes {place:?}"),
            };
            out.push((field.number, value));
        }
        Ok(out)
    }

    fn refused(bytes: &[u8]) -> String {
        all(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_our_writer_writes_is_read() {
        let inner = Message::default().int(1, 150);
        let message = Message::default()
            .int(1, i64::MIN)
            .int(2, i64::MAX)
            .double(3, 1.0)
            .float(4, -2.0)
            .text(5, "été")
            .message(600_000, inner);
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        let places = [(1, format!("{}", i64::MIN)), (2, format!("{}", i64::MAX))];
        let fields = all(&bytes).unwrap();
        assert_eq!(fields[..2], places);
        assert_eq!(fields.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 600_000]);
        assert_eq!(fields[2].1, "eight 22..30");
        assert_eq!(fields[3].1, "four 31..35");
        assert_eq!(fields[4].1, "bytes 37..42");
        assert_eq!(fields[5].1, "bytes 47..50");
    }

    #[test]
    fn packed_numbers_are_as_single_ones() {
        let bytes = [0x08, 0x01, 0x0a, 0x03, 0x96, 0x01, 0x02];
        let file = File { path: Path::new("x"), bytes: &bytes };
        let mut fields = file.fields(0..bytes.len(), "Test");
        let mut numbers = Vec::new();
        while let Some(field) = fields.next_field().unwrap() {
            field
                .ints(|n| {
                    numbers.push(n);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(numbers, [1, 150, 2]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        // Eleven bytes, and a tenth byte with more than one bit.
        let long = [&[0x08][..], &[0x80; 10], &[0x01]].concat();
        assert!(refused(&long).contains("longer than 64 bits"), "{}", refused(&long));
        let wide = [&[0x08][..], &[0xff; 9], &[0x02]].concat();
        assert!(refused(&wide).contains("longer than 64 bits"));
        assert!(refused(&[0x08, 0x80]).contains("ends beyond its message"));
        assert!(refused(&[0x08]).contains("ends beyond its message"));
        assert!(refused(&[0x0a, 0x05, 1, 2]).contains("a field of 5 bytes in a Test with 2 bytes left"));
        let giant = [&[0x0a][..], &[0xff; 9], &[0x01]].concat();
        assert!(refused(&giant).contains("18446744073709551615 bytes"));
        assert!(refused(&[0x09, 1, 2, 3]).contains("with 3 bytes left"));
        assert!(refused(&[0x0d, 1, 2, 3]).contains("with 3 bytes left"));
        assert!(refused(&[0x0b]).contains("group"));
        assert!(refused(&[0x0c]).contains("group"));
        assert!(refused(&[0x0e]).contains("unknown type 6"));
        assert!(refused(&[0x00, 0x00]).contains("number 0"));
        assert!(refused(&[0x80, 0x80, 0x80, 0x80, 0x10, 0x00]).contains("number 536870912"));
    }

    #[test]
    fn a_varint_ends_within_its_own_message() {
        // A message of two bytes whose number would go on in the message around it.
        let bytes = [0x0a, 0x02, 0x08, 0x80, 0x01];
        let file = File { path: Path::new("x"), bytes: &bytes };
        let field = file.fields(0..bytes.len(), "Outer").next_field().unwrap().unwrap();
        let error = field.message("Inner").unwrap().next_field().err().unwrap();
        assert!(error.to_string().contains("ends beyond its message"), "{error}");
    }

    #[test]
    fn a_field_of_another_type_is_refused() {
        let bytes = [0x08, 0x01];
        let file = File { path: Path::new("x"), bytes: &bytes };
        let field = file.fields(0..2, "TensorProto").next_field().unwrap().unwrap();
        for error in [field.text().err(), field.bytes().err(), field.reals(4).err()] {
            let error = error.unwrap().to_string();
            assert!(error.contains("field 1 of a TensorProto does not hold"), "{error}");
        }
    }
}
