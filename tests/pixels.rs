//! Pixels against Pillow: decoding, conversion to RGB and resizing, from the files that
//! `tests/golden/make_pixels.py` made. Also damaged files, those of the index and random ones.

// Clippy allows these inside tests only; the helpers of a test are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use vgg_ft::data::{Resize, Rgb8, Size, image, load, load_both};
use vgg_ft::error::Kind;

#[derive(Deserialize)]
struct Index {
    convert: Vec<Convert>,
    resize: Vec<Resized>,
    broken: Vec<Broken>,
}

#[derive(Deserialize)]
struct Convert {
    file: String,
    exact: bool,
    expected: String,
}

#[derive(Deserialize)]
struct Resized {
    source: String,
    /// Width, height.
    to: [usize; 2],
    accumulated: bool,
    nearest: String,
    bilinear: String,
    /// Of images that are cut to the shape of the target, where that makes a difference.
    crop_nearest: Option<String>,
    crop_bilinear: Option<String>,
}

#[derive(Deserialize)]
struct Broken {
    file: String,
    exact: Option<bool>,
    /// Absent if Pillow refuses the file.
    expected: Option<String>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pixels").join(name)
}

fn index() -> Index {
    serde_json::from_str(&fs::read_to_string(golden("index.json")).unwrap()).unwrap()
}

fn decode(name: &str) -> Rgb8 {
    image::decode(&golden(name)).unwrap()
}

fn largest_difference(a: &Rgb8, b: &Rgb8) -> u8 {
    assert_eq!(a.size, b.size);
    a.pixels.iter().zip(&b.pixels).map(|(x, y)| x.abs_diff(*y)).max().unwrap()
}

/// JPEG leaves the rounding of the inverse cosine transform and of the chroma upsampling to the
/// decoder; zune-jpeg and libjpeg-turbo come out at most this far apart (one step more on 3 of 135
/// million values of real photographs).
const JPEG_LEVELS: u8 = 4;

#[test]
fn images_become_the_rgb_that_pillow_makes() {
    let mut failed = Vec::new();
    let entries = index().convert;
    assert!(entries.len() >= 30, "the index has only {} files", entries.len());
    for entry in entries {
        let bound = if entry.exact { 0 } else { JPEG_LEVELS };
        let off = match image::decode(&golden(&entry.file)) {
            Ok(image) => largest_difference(&image, &decode(&entry.expected)).to_string(),
            Err(error) => error.to_string(),
        };
        if off.parse::<u8>().is_ok_and(|off| off <= bound) {
            continue;
        }
        failed.push(format!("{}: {off}", entry.file));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn resizing_is_pillows_bit_for_bit() {
    let entries = index().resize;
    // Else the closed form of NEAREST would pass as well.
    assert!(entries.iter().any(|entry| entry.accumulated));
    let mut cropped = 0;
    for entry in entries {
        let source = decode(&entry.source);
        let to = Size { h: entry.to[1], w: entry.to[0] };
        for (how, expected) in [(Resize::NEAREST, &entry.nearest), (Resize::BILINEAR, &entry.bilinear)] {
            for how in [how, how.upright()] {
                let ours = source.clone().resize(to, how);
                assert_eq!(largest_difference(&ours, &decode(expected)), 0, "{expected}");
            }
        }
        // Keras' keep_aspect_ratio=True.
        let cut = [(Resize::NEAREST, &entry.crop_nearest), (Resize::BILINEAR, &entry.crop_bilinear)];
        for (how, expected) in cut {
            let Some(expected) = expected else { continue };
            let ours = source.clone().resize(to, how.cropped());
            assert_eq!(largest_difference(&ours, &decode(expected)), 0, "{expected}");
            cropped += 1;
        }
    }
    assert!(cropped >= 20, "only {cropped} images are cut");
}

/// Here the decoder reads on where Pillow does not: a text chunk is damaged, the pixels are whole.
const ONLY_PILLOW_REFUSES: &str = "broken/crc_text.png";

#[test]
fn damaged_files_are_refused_where_pillow_refuses() {
    for entry in index().broken {
        let name = Path::new(&entry.file).file_name().unwrap().to_str().unwrap();
        match (image::decode(&golden(&entry.file)), entry.expected) {
            (Ok(image), Some(expected)) => {
                let bound = if entry.exact == Some(true) { 0 } else { JPEG_LEVELS };
                let off = largest_difference(&image, &decode(&expected));
                assert!(off <= bound, "{name}: {off}");
            }
            (Ok(_), None) => assert_eq!(entry.file, ONLY_PILLOW_REFUSES),
            // We may be stricter; then too the error names the file.
            (Err(error), _) => {
                assert_eq!(error.kind(), Kind::Data, "{error}");
                assert!(error.message().contains(name), "{error}");
                assert!(!error.message().contains("gave up"), "{error}");
            }
        }
    }
}

#[test]
fn the_error_says_what_is_wrong_with_the_file() {
    for (file, words) in [
        ("truncated.jpg", "is cut off"),
        ("no_eoi.jpg", "is cut off"),
        ("truncated.png", "is cut off"),
        ("empty.jpg", "is empty"),
        ("text.png", "is not an image"),
        ("idat.png", "is damaged"),
        ("bomb.png", "is too large"),
    ] {
        let error = image::decode(&golden("broken").join(file)).unwrap_err();
        assert!(error.message().ends_with(words) || error.message().contains(words), "{error}");
        assert!(error.to_string().contains("help: "), "{error}");
    }
    let said = image::decode(&golden("broken/text.png")).unwrap_err().to_string();
    assert!(said.contains("\"This is not a pi\""), "{said}");
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    for file in ["sources/s420.jpg", "sources/progressive.jpg"] {
        let whole = fs::read(golden(file)).unwrap();
        assert!(image::decode_bytes(&whole, Path::new(file)).is_ok());
        for length in 0..whole.len() {
            assert!(image::decode_bytes(&whole[..length], Path::new(file)).is_err(), "{file} {length}");
        }
        // What follows the end is not ours, nor Pillow's.
        let longer = [&whole[..], b"\xff\xda rubbish"].concat();
        assert!(image::decode_bytes(&longer, Path::new(file)).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes of an image, there is an image or an error that names it.
    #[test]
    fn mutated_files_never_panic(
        which in 0usize..100,
        cut in 0.3f64..1.0,
        changes in prop::collection::vec((0.0f64..1.0, any::<u8>()), 0..8),
    ) {
        let sources = index().convert;
        let file = &sources[which % sources.len()].file;
        let mut bytes = fs::read(golden(file)).unwrap();
        for (at, value) in changes {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        bytes.truncate((cut.powf(0.25) * bytes.len() as f64) as usize);
        match image::decode_bytes(&bytes, Path::new(file)) {
            Ok(image) => prop_assert_eq!(image.pixels.len(), image.size.bytes()),
            Err(error) => {
                prop_assert_eq!(error.kind(), Kind::Data);
                prop_assert!(error.message().contains(file), "{}", error);
            }
        }
    }
}

/// The smallest TIFF of `width` pixels in each of `rows`, grey or, with what `alpha` says of it, of four samples; turned as
/// tag 274 says.
fn tiff(width: usize, rows: &[&[u8]], alpha: Option<u32>, orientation: u16) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        let numbers = [count.to_le_bytes(), value.to_le_bytes()].concat();
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &numbers].concat()
    };
    let (short, long, pixels) = (3, 4, rows.concat());
    // The sizes of four samples have no place in their entry.
    let bits = 8u16.to_le_bytes().repeat(4);
    let begin = 8 + bits.len();
    let (samples, colour, at_bits) = if alpha.is_some() { (4, 2, 8) } else { (1, 1, 8) };
    let mut entries = vec![
        entry(256, long, 1, width as u32),
        entry(257, long, 1, rows.len() as u32),
        entry(258, short, samples, at_bits),
        entry(259, short, 1, 1),
        entry(262, short, 1, colour),
        entry(273, long, 1, begin as u32),
        entry(274, short, 1, orientation.into()),
        entry(277, short, 1, samples),
        entry(278, long, 1, rows.len() as u32),
        entry(279, long, 1, pixels.len() as u32),
    ];
    entries.extend(alpha.map(|alpha| entry(338, short, 1, alpha)));
    let padded = (begin + pixels.len()).next_multiple_of(2);
    let mut bytes =
        [&b"II"[..], &42u16.to_le_bytes(), &(padded as u32).to_le_bytes(), &bits, &pixels].concat();
    bytes.resize(padded, 0);
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend(entries.concat());
    bytes.extend([0; 4]);
    bytes
}

/// Of all formats PIL turns a TIFF alone (`TiffImageFile.load_end`), as `ImageOps.exif_transpose` does.
#[test]
fn a_tiff_is_turned_as_it_says() {
    let rows = [&[1, 2, 3][..], &[4, 5, 6]];
    let upright: [(u16, &[&[u8]]); 8] = [
        (1, &[&[1, 2, 3], &[4, 5, 6]]),
        (2, &[&[3, 2, 1], &[6, 5, 4]]),
        (3, &[&[6, 5, 4], &[3, 2, 1]]),
        (4, &[&[4, 5, 6], &[1, 2, 3]]),
        (5, &[&[1, 4], &[2, 5], &[3, 6]]),
        (6, &[&[4, 1], &[5, 2], &[6, 3]]),
        (7, &[&[6, 3], &[5, 2], &[4, 1]]),
        (8, &[&[3, 6], &[2, 5], &[1, 4]]),
    ];
    for (orientation, expected) in upright {
        let image = image::decode_bytes(&tiff(3, &rows, None, orientation), Path::new("x.tif")).unwrap();
        assert_eq!((image.size.h, image.size.w), (expected.len(), expected[0].len()), "{orientation}");
        let grey: Vec<u8> = expected.concat().into_iter().flat_map(|level| [level; 3]).collect();
        assert_eq!(image.pixels, grey, "{orientation}");
    }
}

/// What `ImageOps.exif_transpose` makes of an image with this orientation; the table of TIFFs above has it from Pillow.
fn turned(image: &Rgb8, orientation: u8) -> Rgb8 {
    let Size { h, w } = image.size;
    let size = if orientation > 4 { Size { h: w, w: h } } else { Size { h, w } };
    let mut pixels = Vec::new();
    for y in 0..size.h {
        for x in 0..size.w {
            let (from_y, from_x) = match orientation {
                1 => (y, x),
                2 => (y, w - 1 - x),
                3 => (h - 1 - y, w - 1 - x),
                4 => (h - 1 - y, x),
                5 => (x, y),
                6 => (h - 1 - x, y),
                7 => (h - 1 - x, w - 1 - y),
                _ => (x, w - 1 - y),
            };
            pixels.extend(&image.pixels[(from_y * w + from_x) * 3..][..3]);
        }
    }
    Rgb8 { size, pixels }
}

#[test]
fn a_jpeg_is_turned_as_it_says_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(golden("sources/s444.jpg")).unwrap();
    let plain = image::decode_bytes(&whole, Path::new("x.jpg")).unwrap();
    assert!(plain.size.h != plain.size.w);
    for orientation in 0..=9 {
        // After SOI: APP1 with a directory of one entry, Orientation (0x112), a SHORT.
        let exif = [0xFF, 0xE1, 0, 34, b'E', b'x', b'i', b'f', 0, 0, b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1];
        let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
        let path = dir.path().join(format!("{orientation}.jpg"));
        fs::write(&path, [&whole[..2], &exif, &entry, &whole[2..]].concat()).unwrap();
        // 0 and 9 mean nothing.
        let says = matches!(orientation, 2..=8);
        let upright = if says { turned(&plain, orientation) } else { plain.clone() };
        let stored = load(&path, plain.size, Resize::NEAREST).unwrap();
        assert_eq!((&stored.pixels, stored.caveats.sideways), (&plain.pixels, says), "{orientation}");
        let followed = load(&path, upright.size, Resize::NEAREST.upright()).unwrap();
        assert_eq!(
            (followed.pixels, followed.caveats.sideways),
            (upright.pixels.clone(), false),
            "{orientation}"
        );
        // The thumbnail of a report stands as the network sees the image.
        let small = Size { h: 9, w: 7 };
        let both = [(upright.size, Resize::BILINEAR.upright()), (small, Resize::BILINEAR)];
        let expected = [upright.clone(), upright.resize(small, Resize::BILINEAR)];
        assert_eq!(load_both(&path, both).unwrap(), expected, "{orientation}");
    }
}

/// By Pillow 11.3: a colour that was multiplied by its alpha is divided by it; any other alpha is dropped.
#[test]
fn premultiplied_colours_of_a_tiff_are_divided() {
    let stored = [10, 20, 30, 0, 10, 100, 127, 128, 200, 255, 64, 64, 7, 8, 9, 255];
    let divided = [0, 0, 0, 19, 199, 253, 255, 255, 255, 7, 8, 9];
    let dropped = [10, 20, 30, 10, 100, 127, 200, 255, 64, 7, 8, 9];
    for (alpha, expected) in [(0, dropped), (1, divided), (2, dropped)] {
        let bytes = tiff(4, &[&stored], Some(alpha), 1);
        let image = image::decode_bytes(&bytes, Path::new("x.tif")).unwrap();
        assert_eq!(image.pixels, expected, "{alpha}");
    }
}

/// libjpeg asks an Adobe marker for the colours only where there is no JFIF marker.
#[test]
fn jfif_wins_over_adobe() {
    let whole = fs::read(golden("sources/s444.jpg")).unwrap();
    assert!(whole[2..].starts_with(b"\xff\xe0\x00\x10JFIF\0"));
    let plain = image::decode_bytes(&whole, Path::new("x.jpg")).unwrap();
    // Version, two words of flags, and the transform: 0, as if it were RGB.
    let adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00";
    let both = [&whole[..20], adobe, &whole[20..]].concat();
    assert_eq!(image::decode_bytes(&both, Path::new("x.jpg")).unwrap(), plain);
    let turned = [&whole[..2], adobe, &whole[2..]].concat();
    assert_eq!(image::decode_bytes(&turned, Path::new("x.jpg")).unwrap(), plain);
    let alone = [&whole[..2], adobe, &whole[20..]].concat();
    assert_ne!(image::decode_bytes(&alone, Path::new("x.jpg")).unwrap(), plain);
}

#[test]
fn what_is_too_large_to_be_made_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tall = dir.path().join("tall.png");
    ::image::GrayImage::new(1, 3_300_000).save(&tall).unwrap();
    let small = |side, how| (Size { h: side, w: side }, how);
    // The way to the second is 3,300,000 rows of 224 pixels.
    let wanted = [small(32, Resize::NEAREST), small(224, Resize::BILINEAR)];
    let error = load_both(&tall, wanted).unwrap_err();
    assert!(error.message().contains("is too large") && error.to_string().contains("on its way"), "{error}");
    let [first, second] = load_both(&tall, [wanted[0], small(64, Resize::BILINEAR)]).unwrap();
    assert_eq!((first.size, second.size), (wanted[0].0, Size { h: 64, w: 64 }));

    // Nobody reads 3 GB to know that they are no image, or an image that is too large.
    let (nothing, huge) = (dir.path().join("nothing.jpg"), dir.path().join("huge.jpg"));
    fs::File::create(&nothing).unwrap().set_len(3 << 30).unwrap();
    assert!(image::decode(&nothing).unwrap_err().message().contains("is not an image"));
    fs::write(&huge, fs::read(golden("sources/s444.jpg")).unwrap()).unwrap();
    fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(3 << 30).unwrap();
    assert!(image::decode(&huge).unwrap_err().message().contains("is too large"));

    let error = image::decode_bytes(b"II+\0\x08\0\0\0", Path::new("big.tif")).unwrap_err();
    assert!(error.to_string().contains("BigTIFF"), "{error}");
}
