//! What a file says of itself that its decoder does not ask: markers of a JPEG, the alpha of a TIFF.
//!
//! In: the bytes of a file. Out: facts; of a file that is damaged as much as can be read.

/// A marker of a JPEG, and what follows its length.
struct Segment<'a> {
    marker: u8,
    /// Where the marker begins.
    at: usize,
    payload: &'a [u8],
}

const EOI: u8 = 0xD9;
const APP0: u8 = 0xE0;
const APP14: u8 = 0xEE;

/// Up to the first EOI, or to where a length leads out of the file.
fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    const SOI: u8 = 0xD8;
    const TEM: u8 = 0x01;
    let (mut next, mut over) = (0, false);
    std::iter::from_fn(move || {
        while !over {
            let rest = &bytes[next..];
            // Whatever stands before a marker is skipped: coded data, padding, rubbish. FF 00 is a data
            // byte, FF FF padding, RST0..7 stand inside the data.
            let found =
                rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF))?;
            let (at, marker) = (next + found, rest[found + 1]);
            next = at + 2;
            match marker {
                EOI => over = true,
                SOI | TEM | 0xD0..=0xD7 => continue,
                _ => {
                    // The length counts its own two bytes.
                    let length = usize::from(u16::from_be_bytes(*bytes[next..].first_chunk()?));
                    let payload = bytes[next..].get(..length)?.get(2..).unwrap_or_default();
                    next += length;
                    return Some(Segment { marker, at, payload });
                }
            }
            return Some(Segment { marker, at, payload: &[] });
        }
        None
    })
}

/// Whether a JPEG has an end. Our decoder fills what is missing with grey and says nothing; libjpeg under PIL reads on to
/// the end marker and fails without it.
pub fn jpeg_ends(bytes: &[u8]) -> bool {
    segments(bytes).any(|segment| segment.marker == EOI)
}

/// The place of an Adobe marker that libjpeg passes over: where there is a JFIF marker, too, three components are YCbCr,
/// also where Adobe's says that they are RGB.
pub fn adobe_in_jfif(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    /// What the last byte of Adobe's marker says of YCbCr.
    const YCBCR: u8 = 1;
    let (mut jfif, mut adobe) = (false, None);
    for Segment { marker, at, payload } in segments(bytes) {
        match marker {
            APP0 => jfif |= payload.starts_with(b"JFIF\0"),
            APP14 if payload.starts_with(b"Adobe") && payload.get(11) != Some(&YCBCR) => {
                adobe = Some(at..at + 4 + payload.len());
            }
            // The first frame header: precision, height, width, components. Of four libjpeg asks Adobe.
            0xC0..=0xC2 => return adobe.filter(|_| jfif && payload.get(5) == Some(&3)),
            _ => {}
        }
    }
    None
}

/// Whether the colours of a TIFF are multiplied by its alpha: ExtraSamples (338) is 1 in the first directory.
pub fn tiff_is_premultiplied(bytes: &[u8]) -> bool {
    let ask = || -> Option<bool> {
        let little = bytes.starts_with(b"II");
        let short = |at: usize| -> Option<u16> {
            let pair = *bytes.get(at..)?.first_chunk()?;
            Some(if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
        };
        let long = |at: usize| -> Option<u32> {
            let four = *bytes.get(at..)?.first_chunk()?;
            Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
        };
        let directory = long(4)? as usize;
        let entries = 0..usize::from(short(directory)?);
        // Tag, type, count, and the value where it has its place: one SHORT does.
        let mut places = entries.map(|i| directory + 2 + 12 * i);
        let extra = places.find(|&at| short(at) == Some(338))?;
        Some(long(extra + 4)? == 1 && short(extra + 8)? == 1)
    };
    ask().unwrap_or(false)
}
