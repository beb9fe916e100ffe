//! The history as TensorBoard's event files: `train/` and `validation/`, tags as Keras' callback writes them.
//!
//! In: a [`History`] and when it began. Out: files of TFRecords, each an `Event` message. A file is a function of
//! both, so a longer history's file begins with the bytes of a shorter one's: while training goes on the new
//! records are appended, and a TensorBoard that has the file open sees them. What a killed process left is
//! completed in the same way, and anything else that lies there is written anew.
//! Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto, RFC 3720 (CRC-32C).

use crate::data::Split;
use crate::error::{Error, Result};
use crate::files;
use crate::proto::Message;
use crate::train::{Epoch, History};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Tags and values of an epoch, of training (with the learning rate) or of validation.
fn scalars(split: Split, epoch: &Epoch) -> Vec<(&'static str, f64)> {
    match split {
        Split::Train => vec![
            ("epoch_loss", epoch.loss),
            ("epoch_accuracy", epoch.accuracy),
            ("epoch_learning_rate", epoch.rate),
        ],
        Split::Validation => {
            let both = [("epoch_loss", epoch.val_loss), ("epoch_accuracy", epoch.val_accuracy)];
            both.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect()
        }
        // It is no matter of epochs.
        Split::Test => Vec::new(),
    }
}

/// The file of one split, whose sub-folder is the run's name in TensorBoard; empty if there is nothing to say. `began` is
/// in seconds since 1970.
pub fn events(history: &History, split: Split, began: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut clock = began as f64;
    // Epochs are counted from 0, as Keras does, and on through all stages.
    for (step, epoch) in history.epochs.iter().enumerate() {
        clock += epoch.seconds;
        let scalars = scalars(split, epoch);
        if scalars.is_empty() {
            continue;
        }
        if out.is_empty() {
            record(&mut out, &Message::default().double(1, began as f64).text(3, "brain.Event:2"));
        }
        let values =
            scalars.into_iter().map(|(tag, value)| Message::default().text(1, tag).float(2, value as f32));
        let summary = Message::default().messages(1, values);
        record(&mut out, &Message::default().double(1, clock).int(2, step as i64).message(5, summary));
    }
    out
}

/// Brings the files below `dir` up to `history`; `now` (seconds since 1970) is when the last epoch ended.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io) with the path.
pub fn update(dir: &Path, history: &History, now: u64) -> Result<()> {
    for split in Split::EPOCH {
        update_split(&dir.join(split.name()), history, split, now)?;
    }
    Ok(())
}

const BEFORE: &str = "events.out.tfevents.";
const AFTER: &str = ".vgg-ft.v2";

fn update_split(dir: &Path, history: &History, split: Split, now: u64) -> Result<()> {
    for (path, began) in there(dir) {
        let held = files::read_regular(&path).map_err(|e| Error::io("read", &path, &e))?;
        let wanted = events(history, split, began);
        if let Some(rest) = wanted.strip_prefix(held.as_slice()) {
            let append = || OpenOptions::new().append(true).open(&path)?.write_all(rest);
            return append().map_err(|e| Error::io("write", &path, &e));
        }
        // Of another run, or of epochs that a crash has undone.
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
    }
    let spent: f64 = history.epochs.iter().map(|epoch| epoch.seconds).sum();
    let began = now.saturating_sub(spent as u64);
    let bytes = events(history, split, began);
    if bytes.is_empty() {
        return Ok(());
    }
    files::create_dir(dir)?;
    files::write_bytes(&dir.join(format!("{BEFORE}{began}{AFTER}")), &bytes)
}

/// When the events of the file of this name began, if it is ours.
fn began(name: &str) -> Option<u64> {
    name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.parse().ok()
}

/// Whether a file of this name is ours.
pub fn is_events(name: &str) -> bool {
    began(name).is_some()
}

/// Our event files in `dir`, and when each began, which its name says.
fn there(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some((entry.path(), began(entry.file_name().to_str()?)?))).collect();
    found.sort();
    found
}

/// A TFRecord: length, its checksum, the bytes, their checksum; all little-endian.
fn record(out: &mut Vec<u8>, message: &Message<'_>) {
    let length = message.length().to_le_bytes();
    out.extend(length);
    out.extend(masked(crc32c(&length)).to_le_bytes());
    let from = out.len();
    // A vector takes all that is written to it.
    let _ = message.write(out);
    let checksum = masked(crc32c(&out[from..]));
    out.extend(checksum.to_le_bytes());
}

/// A checksum of data that holds checksums is no good; so they are turned and shifted.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, reflected polynomial 82f63b78), bit by bit: some hundred bytes per epoch.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: usize) -> History {
        let epoch = |i: usize| Epoch {
            loss: 1.0 / (i + 1) as f64,
            accuracy: 0.5,
            val_loss: Some(0.25),
            val_accuracy: Some(0.75),
            rate: 2e-5,
            seconds: 1.5,
            skipped: 0,
            ..Epoch::blank("head", i + 1)
        };
        History { epochs: (0..epochs).map(epoch).collect() }
    }

    /// RFC 3720, B.4.
    #[test]
    fn the_checksums_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The first record as TensorFlow writes it, but for the time.
    #[test]
    fn a_file_begins_with_its_version() {
        let out = events(&history(1), Split::Train, 0);
        assert_eq!(out[..8], 24u64.to_le_bytes());
        assert_eq!(out[12..21], [0x09, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&out[21..36], b"\x1a\x0dbrain.Event:2");
        assert_eq!(out[8..12], masked(crc32c(&out[..8])).to_le_bytes());
        assert_eq!(out[36..40], masked(crc32c(&out[12..36])).to_le_bytes());
        assert!(events(&history(0), Split::Train, 0).is_empty());
    }

    #[test]
    fn new_epochs_are_appended_and_a_torn_end_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let files = || -> Vec<_> { there(&dir.path().join("train")) };
        update(dir.path(), &history(2), 1000).unwrap();
        let (path, began) = files().remove(0);
        assert_eq!(began, 997, "two epochs of 1.5 s before 1000");
        update(dir.path(), &history(3), 2000).unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!((files().len(), &whole), (1, &events(&history(3), Split::Train, 997)));
        // Killed within a record.
        fs::write(&path, &whole[..whole.len() - 30]).unwrap();
        update(dir.path(), &history(4), 3000).unwrap();
        assert_eq!(fs::read(&path).unwrap(), events(&history(4), Split::Train, 997));
        // An epoch that was undone: the file is another one.
        update(dir.path(), &history(1), 4000).unwrap();
        assert_eq!(files().len(), 1);
        assert_eq!(fs::read(&files()[0].0).unwrap(), events(&history(1), Split::Train, 3999));
    }

    #[test]
    fn what_was_not_measured_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = history(2);
        history.epochs.iter_mut().for_each(|e| (e.val_loss, e.val_accuracy) = (None, None));
        update(dir.path(), &history, 1000).unwrap();
        assert!(!dir.path().join("validation").exists());
    }
}
