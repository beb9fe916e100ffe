//! The wire format of protocol buffers, as much of it as ONNX and TensorBoard need to be written.
//!
//! A message is a list of fields; a field is a tag (number · 8 + type), then a varint, or a length
//! and that many bytes. Tensor data is borrowed until the file is written: a message is a rope of
//! pieces, and one inside another hands its pieces over. By hand because it is this short; a generator
//! would bring `protoc` or 20,000 generated lines.

use bytemuck::cast_slice;
use std::borrow::Cow;
use std::io::{self, Write};

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pieces: Vec<Cow<'a, [u8]>>,
    length: u64,
}

/// Varints, eight bytes, lengths, four bytes.
const VARINT: u32 = 0;
const EIGHT: u32 = 1;
const LENGTH: u32 = 2;
const FOUR: u32 = 5;

impl<'a> Message<'a> {
    /// An `int32`, `int64` or enum. Negative numbers take ten bytes, as the format has it.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.tag(field, VARINT);
        // Two's complement is what the format asks for.
        self.varint(value as u64);
        self
    }

    /// A `double`.
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, EIGHT);
        self.push(&value.to_le_bytes());
        self
    }

    /// A `float`.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, FOUR);
        self.push(&value.to_le_bytes());
        self
    }

    /// A `string`.
    pub fn text(mut self, field: u32, text: &str) -> Self {
        self.tag(field, LENGTH);
        self.varint(text.len() as u64);
        self.push(text.as_bytes());
        self
    }

    /// `bytes` that hold f32 numbers, little-endian as they lie in memory. Owned or borrowed, not copied
    /// where they are borrowed.
    pub fn numbers(mut self, field: u32, values: Cow<'a, [f32]>) -> Self {
        self.tag(field, LENGTH);
        self.varint(4 * values.len() as u64);
        self.length += 4 * values.len() as u64;
        self.pieces.push(match values {
            Cow::Borrowed(values) => Cow::Borrowed(cast_slice(values)),
            Cow::Owned(values) => Cow::Owned(cast_slice(&values).to_vec()),
        });
        self
    }

    /// A message.
    pub fn message(mut self, field: u32, inner: Message<'a>) -> Self {
        self.tag(field, LENGTH);
        self.varint(inner.length);
        self.length += inner.length;
        self.pieces.extend(inner.pieces);
        self
    }

    /// Several messages of the same field, in order.
    pub fn messages(self, field: u32, all: impl IntoIterator<Item = Message<'a>>) -> Self {
        all.into_iter().fold(self, |message, inner| message.message(field, inner))
    }

    /// Bytes of the message.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the message.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| out.write_all(piece))
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        let mut bytes = [0; 10];
        let mut n = 0;
        // Seven bits at a time, lowest first; the top bit says that more follow.
        while value >= 0x80 {
            bytes[n] = value as u8 | 0x80;
            value >>= 7;
            n += 1;
        }
        bytes[n] = value as u8;
        self.push(&bytes[..=n]);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Cow::Owned(last)) => last.extend_from_slice(bytes),
            _ => self.pieces.push(Cow::Owned(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.write(&mut out).unwrap();
        assert_eq!(out.len() as u64, message.length());
        out
    }

    /// The examples of protobuf.dev, "Encoding".
    #[test]
    fn the_documented_examples() {
        assert_eq!(bytes(&Message::default().int(1, 150)), [0x08, 0x96, 0x01]);
        let testing = [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        assert_eq!(bytes(&Message::default().text(2, "testing")), testing);
        let inner = Message::default().int(1, 150);
        assert_eq!(bytes(&Message::default().message(3, inner)), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(bytes(&Message::default().int(1, -2)), minus_two);
    }

    /// Field 1 as `double`: 1 << 3 | 1; field 2 as `float`: 2 << 3 | 5.
    #[test]
    fn fixed_numbers_lie_as_they_are() {
        assert_eq!(bytes(&Message::default().double(1, 1.0)), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(bytes(&Message::default().float(2, -2.0)), [0x15, 0, 0, 0, 0xc0]);
    }

    #[test]
    fn borrowed_numbers_and_large_fields_keep_their_lengths() {
        let values = vec![1.5f32; 100];
        let tensor = Message::default().numbers(9, values.as_slice().into()).int(2, 1);
        let all = bytes(&Message::default().message(5, tensor));
        // 405 bytes inside; 9 << 3 | 2 = 74; 400 = 0b11_0010000 → 0x90 0x03.
        assert_eq!(all[..6], [0x2a, 0x95, 0x03, 74, 0x90, 0x03]);
        assert_eq!(all[6..10], 1.5f32.to_le_bytes());
        // Field 20 needs a tag of two bytes: 20 << 3 = 160.
        assert_eq!(bytes(&Message::default().int(20, 7)), [0xa0, 0x01, 0x07]);
    }
}
