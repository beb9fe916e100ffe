//! From a folder to decoded images, with everything that was skipped said aloud.

use super::Host;
use super::output::outside;
use crate::data::endings::Endings;
use crate::data::{Folder, Images, Resize, Size, Want};
use crate::device::{Capacity, cpu};
use crate::error::{Error, Kind, Result, in_one_line};
use crate::files::{self, shown};
use crate::interrupt;
use crate::model::Preprocess;
use crate::report::plan::gib;
use crate::report::{Progress, counted, counted_are};
use serde::Serialize;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// How folders are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// End at the first unreadable image.
    pub strict: bool,
    /// Where decoded images are kept; `None` keeps them in memory.
    pub cache: Option<PathBuf>,
    /// Whether somebody named that folder: then it must do.
    pub chosen: bool,
}

/// How images become input.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// Pixel scaling.
    pub preprocess: Preprocess,
    /// Way to size.
    pub resize: Resize,
    /// Weights of the base.
    pub weights: Option<PathBuf>,
    /// Reading of folders.
    pub reading: Reading,
}

/// Decodes `folder`; lists on stderr what could not be read.
///
/// # Errors
/// As [`Images::load`]; [`Kind::Usage`] for a cache inside the folder, where it would be a
/// class.
pub fn decode(
    host: &Host,
    name: &str,
    folder: &Folder,
    size: [usize; 2],
    resize: Resize,
    reading: &Reading,
) -> Result<Images> {
    require_formats(name, folder, reading)?;
    let cache = usable_cache(host, name, folder, reading)?;
    let want = Want { size: Size { h: size[0], w: size[1] }, resize, cache, strict: reading.strict };
    if cache.is_none() {
        require_memory(name, folder, &want)?;
    }
    let mut loaded = load(host, name, folder, &want);
    // A disk that is full, or a quota that is used up, is that of the cache: what cannot be read of the data is skipped.
    if let Err(error) = &loaded
        && error.kind() == Kind::Io
        && cache.is_some()
        && !reading.chosen
    {
        uncached(host, name, error);
        require_memory(name, folder, &want)?;
        loaded = load(host, name, folder, &Want { cache: None, ..want });
    }
    let (images, progress) = loaded.map_err(|error| stopped(error, name, cache.is_some()))?;
    let line = told(name, folder, &images);
    match progress {
        Some(progress) => progress.finish(&line),
        None => host.say(line),
    }
    remark(host, name, folder, &images);
    tell_skipped(host, name, &images);
    Ok(images)
}

/// Whether all images of `folder` are in formats that are read, if they are to be.
fn require_formats(name: &str, folder: &Folder, reading: &Reading) -> Result<()> {
    match folder.unread.images().filter(|_| reading.strict) {
        None => Ok(()),
        Some(unread) => {
            Err(Error::new(Kind::Data, format!("{name}: there are images in formats that are not read"))
                .fact("there", unread)
                .help("convert them, to .jpg or .png for example, or leave --strict out to pass over them"))
        }
    }
}

/// The cache that was asked for, if it can be written, or if it must be.
fn usable_cache<'r>(
    host: &Host,
    name: &str,
    folder: &Folder,
    reading: &'r Reading,
) -> Result<Option<&'r Path>> {
    let Some(cache) = reading.cache.as_deref() else { return Ok(None) };
    outside(&folder.root, cache)
        .map_err(|error| error.help("choose another folder with --cache, or --no-cache"))?;
    if reading.chosen {
        return Ok(Some(cache));
    }
    // In containers there is often a home that cannot be written.
    match files::require_room(cache) {
        Ok(()) => Ok(Some(cache)),
        Err(error) => {
            uncached(host, name, &error);
            Ok(None)
        }
    }
}

/// Whether the images of `folder` fit into this machine's memory, where that can be asked.
fn require_memory(name: &str, folder: &Folder, want: &Want<'_>) -> Result<()> {
    match cpu::room() {
        Some(room) => in_memory(name, folder.len() as u64 * want.size.bytes() as u64, room),
        None => Ok(()),
    }
}

/// The images, and the progress of decoding those that the cache does not have, if there are any: they take the time.
fn load(host: &Host, name: &str, folder: &Folder, want: &Want<'_>) -> Result<(Images, Option<Progress>)> {
    let progress = OnceCell::new();
    let watch = |done: usize, all: usize| {
        let begin = || host.progress(&format!("decoding {name}"), all, "images");
        progress.get_or_init(begin).set(done as u64);
    };
    let images = Images::load(folder, want, &watch, interrupt::flag())?;
    Ok((images, progress.into_inner()))
}

/// How many there are of each class, and where they came from, in a line.
fn told(name: &str, folder: &Folder, images: &Images) -> String {
    let mut counts = vec![0; folder.classes.len()];
    images.labels.iter().for_each(|&label| counts[label as usize] += 1);
    format!(
        "{name:10} {} images ({}), {} decoded, {} from the cache",
        images.len(),
        by_class(&folder.classes, &counts),
        images.decoded,
        images.len() - images.decoded.min(images.len()),
    )
}

/// Remarks on what was passed over, and on images that are not seen as a person sees them.
fn remark(host: &Host, name: &str, folder: &Folder, images: &Images) {
    for note in passed_over(name, folder) {
        host.note(format_args!("{note}"));
    }
    if let Some(note) = clipped(images.clipped.len()) {
        let first = images.clipped.first().map(|&at| format!(" (the first: {})", images.files[at].display()));
        host.note(format_args!("{name}: {note}{}", first.unwrap_or_default()));
    }
    if let Some(note) = as_stored(images.sideways) {
        host.note(format_args!("{name}: {note}"));
    }
    for note in &images.notes {
        host.note(format_args!("{note}"));
    }
}

/// Lists the images that could not be read, or the first of many.
fn tell_skipped(host: &Host, name: &str, images: &Images) {
    const MOST: usize = 20;
    let skipped = &images.skipped;
    if skipped.is_empty() {
        return;
    }
    host.say(format_args!("{name}: images that cannot be read and are skipped: {}", skipped.len()));
    for (_, error) in skipped.iter().take(MOST) {
        host.say(format_args!("  {}", error.line()));
    }
    if skipped.len() > MOST {
        host.say(format_args!("  … and {} more", skipped.len() - MOST));
    }
}

/// Says that there is no cache for the split `name`, which nobody asked for by name.
fn uncached(host: &Host, name: &str, error: &Error) {
    host.note(format_args!(
        "{name}: decoded images stay in memory, since the cache cannot be written: {}",
        error.line()
    ));
}

/// Says that so many images have no ending.
pub(super) fn unnamed(count: usize) -> String {
    format!("{} without an ending passed over: add .jpg or .png to the names", counted(count, "image"))
}

/// What lies in the folder of the split `name` and is not read, or should perhaps not be.
pub(super) fn passed_over(name: &str, folder: &Folder) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(unread) = folder.unread.images() {
        notes.push(format!("{name}: {unread} left out: these formats are not read"));
    }
    if folder.unread.unnamed() > 0 {
        notes.push(format!("{name}: {}", unnamed(folder.unread.unnamed())));
    }
    for ignored in &folder.ignored {
        notes.push(format!(
            "{name}: the hidden folder {ignored} is no class: it has no images that can be found"
        ));
    }
    if let Some(links) = unfollowed(&folder.links) {
        notes.push(format!("{name}: {links}"));
    }
    let hidden = folder.hidden();
    if hidden > 0 {
        notes.push(format!(
            "{name}: {} in hidden folders, such as .ipynb_checkpoints, and {}, as in Keras",
            counted_are(hidden, "image"),
            if hidden == 1 { "counts" } else { "count" }
        ));
    }
    let stray = folder.stray();
    if stray > 0 {
        notes.push(format!(
            "{name}: passed over, being of no class: {} beside the class folders of {}",
            counted(stray, "image"),
            folder.root.display(),
        ));
    }
    notes
}

/// Tells what lies among images and is passed over: runs, formats that are not read, names without endings, links.
pub(super) fn tell_passed_over(host: &Host, runs: &[PathBuf], unread: &Endings, links: &[PathBuf]) {
    for folder in runs {
        host.note(format_args!("{} is a run, so its images are passed over", folder.display()));
    }
    if let Some(unread) = unread.images() {
        host.note(format_args!("{unread} among the images: these formats are not read"));
    }
    if unread.unnamed() > 0 {
        host.note(unnamed(unread.unnamed()));
    }
    if let Some(links) = unfollowed(links) {
        host.note(links);
    }
}

/// What the user should hear of links to folders that were passed over, if there are any.
pub(super) fn unfollowed(links: &[PathBuf]) -> Option<String> {
    let first = links.first()?.display();
    Some(match links.len() {
        1 => format!("1 link to a folder is not followed: {first}"),
        n => format!("{n} links to folders are not followed, the first: {first}"),
    })
}

/// "10 cats, 12 dogs"; of many classes how many there are, and of how many images.
fn by_class(classes: &[String], counts: &[usize]) -> String {
    const MOST: usize = 20;
    match (counts.iter().min(), counts.iter().max()) {
        (Some(least), Some(most)) if classes.len() > MOST => {
            let of = if least == most { most.to_string() } else { format!("{least} to {most}") };
            format!("{} classes of {of}", classes.len())
        }
        _ => {
            let each =
                counts.iter().zip(classes).map(|(count, class)| format!("{count} {}", in_one_line(class)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// An error of decoding the split `name`; of a stop, what goes on from there.
fn stopped(error: Error, name: &str, cached: bool) -> Error {
    if error.kind() != Kind::Interrupted {
        return error;
    }
    error.context(format!("decoding {name}")).help(if cached {
        "what is decoded is kept in the cache; the same command goes on from there"
    } else {
        "the same command begins again"
    })
}

/// What the user should hear of 16-bit grey images, if levels of some were clipped.
pub(super) fn clipped(count: usize) -> Option<String> {
    (count > 0).then(|| {
        format!(
            "{} 16-bit grey with levels above 255, which all become white, as in PIL; scaled to 8 bits before, {} would \
             keep {} shades",
            counted_are(count, "image"),
            if count == 1 { "it" } else { "they" },
            if count == 1 { "its" } else { "their" },
        )
    })
}

/// What the user should hear of images whose EXIF orientation was not followed, if there are any.
pub(super) fn as_stored(sideways: usize) -> Option<String> {
    let (noun, have, are) = if sideways == 1 { ("image", "has", "is") } else { ("images", "have", "are") };
    (sideways > 0).then(|| {
        format!(
            "{sideways} {noun} {have} an EXIF orientation, of a phone for example, and {are} taken as stored, as by Keras; \
             trained with --resize upright-nearest (or upright-bilinear) a network sees such images upright"
        )
    })
}

/// Whether decoded images of so many bytes can be kept without a file behind them.
fn in_memory(name: &str, bytes: u64, room: Capacity) -> Result<()> {
    if bytes <= room.free {
        return Ok(());
    }
    Err(Error::new(Kind::Device, format!("{name}: the decoded images do not fit into this machine's memory"))
        .fact("needed", gib(bytes))
        .fact("free", format!("{} of {}", gib(room.free), gib(room.total)))
        .help("let them be kept in a file: leave --no-cache out, or name a folder with room with --cache"))
}

/// An error of a batch whose first image is `first`: where its numbers are none, that is of interest.
pub fn in_batch(error: Error, first: &Path) -> Error {
    if error.kind() == Kind::Numeric { error.fact("the batch begins with", first.display()) } else { error }
}

/// What was skipped of the folder `root`.
pub fn skipped(root: &Path, images: &Images) -> Vec<Skipped> {
    images.skipped.iter().map(|(path, error)| Skipped::new(&root.join(path), error)).collect()
}

/// An image that cannot be read, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// Its file.
    pub path: String,
    /// The bytes of its name in hexadecimal, where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// The error, in a line.
    pub reason: String,
}

impl Skipped {
    /// That of a file.
    pub fn new(path: &Path, error: &Error) -> Self {
        Self { path: shown(path), path_bytes: files::replaced(path), reason: error.line() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_are_counted_in_few_words() {
        let all = |n: usize| (0..n).map(|k| format!("c{k}")).collect::<Vec<_>>();
        assert_eq!(by_class(&all(2), &[3, 0]), "3 c0, 0 c1");
        assert_eq!(by_class(&all(400), &[7; 400]), "400 classes of 7");
        assert_eq!(by_class(&all(21), &(0..21).collect::<Vec<_>>()), "21 classes of 0 to 20");
    }

    #[test]
    fn a_stop_says_of_what_and_what_goes_on() {
        let error = || Error::new(Kind::Interrupted, "stopped by the user").fact("ready", "3 of 5");
        let told = stopped(error(), "train", true).to_string();
        for part in ["ready  3 of 5", "while decoding train", "help: what is decoded is kept"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(stopped(error(), "test", false).to_string().contains("help: the same command begins again"));
        let other = stopped(error().of_kind(Kind::Io), "test", false).to_string();
        assert!(!other.contains("decoding") && !other.contains("help"), "{other}");
    }

    #[test]
    fn images_that_no_memory_holds_want_a_file() {
        let room = Capacity { free: 1 << 30, total: 2 << 30 };
        in_memory("train", 1 << 30, room).unwrap();
        let error = in_memory("train", 3 << 30, room).unwrap_err().to_string();
        for part in ["train: ", "3.0 GiB", "1.0 GiB of 2.0 GiB", "leave --no-cache out"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
