//! One image file to RGB pixels, as PIL's `Image.open(path).convert("RGB")` makes them.
//!
//! In: a path or bytes in PNG, JPEG, BMP, GIF, WebP, PNM or TIFF, recognised by content, not by name. Out: [`Rgb8`], or
//! an error that names the file. Gamma and colour profiles are not applied, nor is EXIF orientation unless asked for,
//! because PIL and Keras do not, but for a TIFF's orientation, which they do; alpha is dropped, not blended. All is
//! PIL's bit for bit, except up to 4 grey levels in JPEG (20 at the edges of saturated drawings), where decoders are
//! free to round, 1 in 16-bit BMP, CMYK TIFF and PNM with an odd maximum, 16-bit grey TIFFs in which white is 0, and
//! what a GIF's first frame leaves free (black here). TIFFs of a palette, of floats, of signed integers or of 32 bits,
//! of Lab, of planar CMYK or of grey with alpha are refused, those with LZMA, fax or YCbCr JPEG inside, and BigTIFFs.

mod peek;

use super::resize::Size;
use crate::error::{Error, Kind, Result};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An image in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Rows and columns, none of them 0.
    pub size: Size,
    /// (h, w, 3), row-major; `size.bytes()` of them.
    pub pixels: Vec<u8>,
}

impl Rgb8 {
    /// The bytes of row `y`.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.size.w * 3..][..self.size.w * 3]
    }
}

/// What a file gives.
pub(super) struct Decoded {
    /// The image.
    pub image: Rgb8,
    /// Whether its EXIF orientation says that it is to be turned or mirrored, and it was not.
    pub sideways: bool,
    /// What the file is: "JPEG".
    pub format: &'static str,
    /// What its pixels have that RGB has not.
    pub lost: Option<Lost>,
}

/// What becomes of pixels that are more than RGB of 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// 16-bit grey with levels above 255, which all become 255, as in PIL.
    Clipped,
    /// Alpha below its largest value somewhere, which is dropped.
    Transparency,
}

impl Lost {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Clipped => "16-bit grey, clipped at 255",
            Self::Transparency => "its transparency is dropped",
        }
    }
}

/// More pixels than this are taken for a decompression bomb; the bound at which PIL refuses.
pub const MAX_PIXELS: u64 = 178_956_970;

// MAX_PIXELS in RGBA with 16 bits each is 1.4 GB; the rest is for what a decoder needs beside it.
const MAX_BYTES: u64 = 2 << 30;

/// An image that takes more bytes than this, in its file or decoded, is decoded when no other such is: as many as there
/// are threads would be more than a machine has.
const LARGE: u64 = 128 << 20;
static LARGE_ONE: Mutex<()> = Mutex::new(());

/// An image that takes more bytes than this is decoded only where there is room for it.
const PROBED: u64 = 1 << 20;

/// What tells formats apart stands in the first bytes.
const BEGIN: usize = 64;

const FORMATS: &str = "JPEG, PNG, BMP, GIF, WebP, PPM and TIFF";

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        _ => "another",
    }
}

/// Reads and decodes a file.
///
/// # Errors
/// [`Kind::Data`] naming the file: missing, empty, not an image, cut off, damaged, too large; [`Kind::Device`] where
/// there is no memory for it, and [`Kind::Io`] where too many files are open, which is no fault of the file. A file
/// that PIL calls truncated is refused here too, but for a WebP that lacks what comes after its first image. PNGs are
/// judged by their pixels: a wrong checksum or a missing end is refused, although PIL lets some of that pass; damage in
/// a text chunk is not.
pub fn decode(path: &Path) -> Result<Rgb8> {
    decode_then(path, false, |decoded| Ok(decoded.image))
}

/// Decodes a file, turned as its EXIF orientation says if it is to be `upright`, and makes something smaller of it, one
/// large image at a time.
///
/// # Errors
/// As [`decode`], and those of `then`.
pub(super) fn decode_then<T>(
    path: &Path,
    upright: bool,
    then: impl FnOnce(Decoded) -> Result<T>,
) -> Result<T> {
    // A named pipe would wait for a writer for ever.
    let kind = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if !kind.is_file() {
        return Err(Error::new(Kind::Data, format!("{} is not a file", path.display()))
            .help("give the file of an image; pipes and devices are not read"));
    }
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut bytes = Vec::with_capacity(BEGIN);
    file.by_ref().take(BEGIN as u64).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if ::image::guess_format(&bytes).is_err() {
        return Err(not_an_image(&bytes, path));
    }
    if kind.len() > MAX_BYTES {
        return Err(too_large(path, &format!("{MAX_BYTES} bytes at most, got {}", kind.len())));
    }
    let mut turn = (kind.len() > LARGE).then(take_turn);
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    let decoded = guarded(&bytes, path, upright, &mut turn)?;
    drop(bytes);
    then(decoded)
}

type Turn = MutexGuard<'static, ()>;

fn take_turn() -> Turn {
    LARGE_ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [`decode`] for bytes at hand; `path` only names them in errors.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(bytes: &[u8], path: &Path) -> Result<Rgb8> {
    Ok(guarded(bytes, path, false, &mut None)?.image)
}

fn guarded(bytes: &[u8], path: &Path, upright: bool, turn: &mut Option<Turn>) -> Result<Decoded> {
    // Decoders of files from anywhere have bugs; one bad image must not end a night's run.
    let outcome = catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, path, upright, turn)));
    outcome.unwrap_or_else(|_| Err(damaged(path, "the decoder gave up on it")))
}

fn decode_inner(bytes: &[u8], path: &Path, upright: bool, turn: &mut Option<Turn>) -> Result<Decoded> {
    let Ok(format) = ::image::guess_format(bytes) else { return Err(not_an_image(bytes, path)) };
    let mut read = Cow::Borrowed(bytes);
    if format == ImageFormat::Jpeg {
        if !peek::jpeg_ends(bytes) {
            return Err(truncated(path, "the end of the JPEG"));
        }
        if let Some(adobe) = peek::adobe_in_jfif(bytes) {
            read.to_mut().drain(adobe);
        }
    }

    let mut reader = ImageReader::with_format(Cursor::new(&read[..]), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(room(bytes, format));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| refused(path, bytes, e))?;
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(too_many(path, (w, h)));
    }
    // As it is decoded, and as RGB.
    let most = decoder.total_bytes() + 3 * u64::from(w) * u64::from(h);
    if most > LARGE {
        turn.get_or_insert_with(take_turn);
    }
    // Without this room the program would be stopped without a word.
    if most > PROBED && Vec::<u8>::new().try_reserve_exact(most as usize).is_err() {
        return Err(no_memory(path).fact("needed", format!("{most} bytes for its pixels")));
    }
    let orientation = match format {
        ImageFormat::Tiff => decoder.orientation().map_err(|e| refused(path, bytes, e))?,
        // Damage in what only describes an image is no damage of the image.
        _ => exif_orientation(decoder.exif_metadata().ok().flatten()).unwrap_or(Orientation::NoTransforms),
    };
    let turns = upright || format == ImageFormat::Tiff;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| refused(path, bytes, e))?;
    if turns {
        image.apply_orientation(orientation);
    }
    let lost = lost(&image, format, bytes);
    let size = Size { h: image.height() as usize, w: image.width() as usize };
    let premultiplied = format == ImageFormat::Tiff && peek::tiff_is_premultiplied(bytes);
    let pixels = to_rgb(image, format, bytes, premultiplied)
        .ok_or_else(|| unsupported(path, "samples of more than 16 bits"))?;
    if size.bytes() == 0 || pixels.len() != size.bytes() {
        return Err(damaged(path, "it has no pixels"));
    }
    let sideways = !turns && orientation != Orientation::NoTransforms;
    Ok(Decoded { image: Rgb8 { size, pixels }, sideways, format: name(format), lost })
}

/// Bytes that a decoder may take. What a PNG says of itself besides its pixels may unpack to gigabytes (a colour
/// profile), in every thread at once: that gets 32 MiB, and pixels what they are in their largest form.
fn room(bytes: &[u8], format: ImageFormat) -> u64 {
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes).map(u64::from);
    // Signature (8), length and name of IHDR (8), width and height.
    match (format, number(16), number(20)) {
        (ImageFormat::Png, Some(w), Some(h)) => {
            w.saturating_mul(h).saturating_mul(8).saturating_add(32 << 20).min(MAX_BYTES)
        }
        _ => MAX_BYTES,
    }
}

/// Some WebP files have before it what a JPEG has, which Pillow passes over, too.
fn exif_orientation(exif: Option<Vec<u8>>) -> Option<Orientation> {
    let exif = exif?;
    Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif))
}

// The modes of PIL: L and LA repeat grey, alpha goes, 16-bit colour keeps its high byte, but 16-bit
// grey (PIL's I;16) is clipped at 255 and so is nearly always white. A trap of PIL that we keep,
// because a model trained with Keras saw those pixels.
fn to_rgb(image: DynamicImage, format: ImageFormat, bytes: &[u8], premultiplied: bool) -> Option<Vec<u8>> {
    let grey = |level: u8| [level; 3];
    let clip = |level: u16| [level.min(255) as u8; 3];
    let high = |level: u16| (level >> 8) as u8;
    // As PIL's unpackRGBa, which looks at high bytes alone, too.
    let divided = |[r, g, b, a]: [u8; 4]| match a {
        0 => [0; 3],
        a => [r, g, b].map(|level| (255 * u32::from(level) / u32::from(a)).min(255) as u8),
    };
    Some(match image {
        DynamicImage::ImageRgba8(b) if premultiplied => b.pixels().flat_map(|p| divided(p.0)).collect(),
        DynamicImage::ImageRgba16(b) if premultiplied => {
            b.pixels().flat_map(|p| divided(p.0.map(high))).collect()
        }
        DynamicImage::ImageRgb8(b) => b.into_raw(),
        DynamicImage::ImageRgba8(b) => b.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(b) => b.pixels().flat_map(|p| grey(p[0])).collect(),
        DynamicImage::ImageLumaA8(b) => b.pixels().flat_map(|p| grey(p[0])).collect(),
        DynamicImage::ImageLuma16(b) => b.pixels().flat_map(|p| clip(p[0])).collect(),
        // The PNG decoder turns a grey image with a clear level into grey and alpha; PIL does not.
        DynamicImage::ImageLumaA16(b) if format == ImageFormat::Png && png_color_type(bytes) == Some(0) => {
            b.pixels().flat_map(|p| clip(p[0])).collect()
        }
        DynamicImage::ImageLumaA16(b) => b.pixels().flat_map(|p| grey(high(p[0]))).collect(),
        // PIL scales a PPM of 16 bits, and truncates everything else.
        DynamicImage::ImageRgb16(b) if format == ImageFormat::Pnm => {
            b.into_raw().into_iter().map(|level| ((u32::from(level) * 255 + 32_767) / 65_535) as u8).collect()
        }
        DynamicImage::ImageRgb16(b) => b.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(b) => {
            b.pixels().flat_map(|p| [high(p[0]), high(p[1]), high(p[2])]).collect()
        }
        _ => return None,
    })
}

/// What [`to_rgb`] drops.
fn lost(image: &DynamicImage, format: ImageFormat, bytes: &[u8]) -> Option<Lost> {
    let beyond = |level: u16| level > u16::from(u8::MAX);
    let is_clear = match image {
        DynamicImage::ImageLuma16(b) => return b.pixels().any(|p| beyond(p[0])).then_some(Lost::Clipped),
        DynamicImage::ImageLumaA16(b) if format == ImageFormat::Png && png_color_type(bytes) == Some(0) => {
            return b.pixels().any(|p| beyond(p[0])).then_some(Lost::Clipped);
        }
        DynamicImage::ImageLumaA8(b) => b.pixels().any(|p| p[1] < u8::MAX),
        DynamicImage::ImageLumaA16(b) => b.pixels().any(|p| p[1] < u16::MAX),
        DynamicImage::ImageRgba8(b) => b.pixels().any(|p| p[3] < u8::MAX),
        DynamicImage::ImageRgba16(b) => b.pixels().any(|p| p[3] < u16::MAX),
        _ => false,
    };
    is_clear.then_some(Lost::Transparency)
}

// Signature (8), length and name of IHDR (8), width and height (8), bit depth (1), colour type.
fn png_color_type(bytes: &[u8]) -> Option<u8> {
    bytes.get(25).copied()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return no_memory(path).fact("reason", error);
    }
    // Of open files the process or the system has too many: no fault of this one.
    if cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)) {
        return Error::io("read", path, error);
    }
    let out = Error::new(Kind::Data, format!("cannot read {}", path.display())).fact("reason", error);
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidFilename => out.help("check the path"),
        std::io::ErrorKind::PermissionDenied => out.help("check the permissions"),
        _ => out.help("check the disk, or copy the image again"),
    }
}

fn not_an_image(bytes: &[u8], path: &Path) -> Error {
    if bytes.is_empty() {
        let error = Error::new(Kind::Data, format!("{} is empty", path.display()));
        return error.help("copy the image again");
    }
    let start = &bytes[..bytes.len().min(16)];
    let out = Error::new(Kind::Data, format!("{} is not an image that can be read", path.display()))
        .fact("begins with", format!("\"{}\"", start.escape_ascii()));
    if bytes.starts_with(b"version https://git-lfs") {
        return out.help("this is a pointer of Git LFS; fetch the image with `git lfs pull`");
    }
    if matches!(bytes.get(4..12), Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypavif")) {
        return out.help("this is HEIC or AVIF; save it as JPEG or PNG");
    }
    if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
        return out.help("this is a BigTIFF; save it as TIFF, JPEG or PNG");
    }
    out.help(format!("images are {FORMATS}, told by their first bytes"))
}

fn truncated(path: &Path, missing: &str) -> Error {
    Error::new(Kind::Data, format!("{} is cut off", path.display()))
        .fact("missing", missing)
        .help("copy or download the image again")
}

fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(Kind::Data, format!("{} is damaged", path.display()))
        .fact("reason", reason)
        .help("copy or download the image again")
}

fn unsupported(path: &Path, what: &str) -> Error {
    Error::new(Kind::Data, format!("{} is a kind of image that is not supported", path.display()))
        .fact("found", what)
        .help("save it as an ordinary JPEG or PNG")
}

fn too_large(path: &Path, limit: &str) -> Error {
    Error::new(Kind::Data, format!("{} is too large to be decoded safely", path.display()))
        .fact("reason", limit)
        .help("save the image in a smaller size")
}

fn too_many(path: &Path, (w, h): (u32, u32)) -> Error {
    too_large(path, &format!("{MAX_PIXELS} pixels at most, got {h}x{w} (height x width)"))
}

/// Not the image's fault: with more memory it would be learned from.
fn no_memory(path: &Path) -> Error {
    Error::new(Kind::Device, format!("there is no memory to decode {}", path.display())).help(
        "close other programs, raise the limit of memory (ulimit -v), or save the image in a smaller size",
    )
}

/// Whether an image of a file may be made in this size: a narrow one that is very high becomes large on its way.
///
/// # Errors
/// [`Kind::Data`].
pub(super) fn fits(path: &Path, size: Size) -> Result<()> {
    if size.bytes() as u64 <= MAX_BYTES {
        return Ok(());
    }
    Err(too_large(path, &format!("{} pixels at most on its way to size, got {size}", MAX_BYTES / 3)))
}

fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.into_dimensions().ok()
}

fn refused(path: &Path, bytes: &[u8], error: ImageError) -> Error {
    match error {
        // Some decoders refuse before they say how large it is.
        ImageError::Limits(e) => match dimensions(bytes) {
            Some((w, h)) if u64::from(w) * u64::from(h) > MAX_PIXELS => too_many(path, (w, h)),
            _ => too_large(path, &e.to_string()),
        },
        ImageError::Unsupported(e) => unsupported(path, &e.to_string()),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(path, &format!("data after {} bytes", bytes.len()))
        }
        other => damaged(path, &other.to_string()),
    }
}
