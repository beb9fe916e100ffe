//! The structure of an HDF5 file: its bytes in; groups, attributes and arrays out.
//!
//! Nothing is read before it is asked for, and no numbers are copied that lie in the file as they are. Text is
//! text in all forms that h5py, PyTables and R write: of fixed or variable length, ASCII or UTF-8, ended by
//! NUL, padded with NUL or spaces, alone or in a list.

use super::array::{self, Array, Decodable};
use super::window::{Meter, lend};
use crate::error::{Error, Kind, Result};
use crate::weights::unzip::{AGAIN, shorten};
use hdf5_pure::{AttrValue, File, FormatError};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// For `hdf5-pure`, which recurses once per level of a datatype; a datatype can have 8,191 levels. Only what
/// is used of it becomes memory.
const STACK: usize = 256 << 20;

/// An HDF5 file that is open.
struct Hdf5<'a> {
    path: &'a Path,
    /// The whole file, in which the HDF5 file may be one of several things.
    bytes: &'a [u8],
    within: Range<usize>,
    meter: &'a Arc<Meter>,
    decodable: Decodable,
}

/// A group.
pub(in crate::weights) struct Folder<'a> {
    hdf5: &'a Hdf5<'a>,
    group: hdf5_pure::Group,
    /// Its path within the file, without a slash at the ends; empty for the root.
    place: String,
}

/// What is attached to a group.
pub(in crate::weights) struct Attributes {
    all: HashMap<String, AttrValue>,
    /// Names of those whose values cannot be read.
    lost: Vec<String>,
    file: String,
    place: String,
}

/// Calls `look` with the root of the HDF5 file at `within` the file `bytes`; `path` is for the errors.
///
/// # Errors
/// [`Kind::Weights`] when it is no HDF5 file, and those of `look`.
pub(in crate::weights) fn open<T: Send>(
    path: &Path,
    bytes: &[u8],
    within: Range<usize>,
    look: impl FnOnce(&Folder<'_>) -> Result<T> + Send,
) -> Result<T> {
    let damaged = |reason: &str| {
        Error::new(Kind::Weights, format!("{} cannot be read as HDF5", path.display()))
            .fact("reason", reason)
            .help(AGAIN)
    };
    let slice = bytes.get(within.clone()).ok_or_else(|| damaged("it ends beyond the file"))?;
    let read = || {
        lend(slice, |window, meter| {
            let decodable = Decodable::of(slice.len());
            let hdf5 = Hdf5 { path, bytes, within, meter, decodable };
            let file = File::from_source(window).map_err(|e| hdf5.error("", &e))?;
            look(&Folder { group: file.root(), hdf5: &hdf5, place: String::new() })
        })
    };
    // A thread of its own has the stack, and keeps a panic: hdf5-pure is young, and strangers' files are input
    // that its tests have not seen.
    thread::scope(|scope| {
        let started = thread::Builder::new().name("hdf5".into()).stack_size(STACK).spawn_scoped(scope, read);
        match started {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(damaged("the reader of HDF5 gave up"))),
            Err(e) => Err(Error::thread("that reads HDF5", &e)),
        }
    })
}

impl Hdf5<'_> {
    fn error(&self, place: &str, reason: &hdf5_pure::Error) -> Error {
        let name = self.path.display();
        let at = if place.is_empty() { String::new() } else { format!("`{}` in ", shorten(place)) };
        if self.meter.is_spent() {
            return Error::new(
                Kind::Weights,
                format!("{at}{name} leads in circles, or to far more than a model has"),
            )
            .help("this is no file of weights, or it is damaged");
        }
        let reason: String = reason.to_string().chars().take(200).flat_map(char::escape_debug).collect();
        Error::new(Kind::Weights, format!("{at}{name} cannot be read as HDF5"))
            .fact("reason", reason)
            .help(AGAIN)
    }
}

impl<'a> Folder<'a> {
    /// What is attached to it.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged.
    pub fn attributes(&self) -> Result<Attributes> {
        let all = self.group.attrs().map_err(|e| self.hdf5.error(&self.place, &e))?;
        // hdf5-pure leaves out what it cannot decode.
        let kinds = self.group.attr_datatypes().map_err(|e| self.hdf5.error(&self.place, &e))?;
        let lost = kinds.into_keys().filter(|name| !all.contains_key(name)).collect();
        let file = self.hdf5.path.display().to_string();
        Ok(Attributes { all, lost, file, place: self.place.clone() })
    }

    /// The groups in it, by name.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged.
    pub fn groups(&self) -> Result<Vec<(String, Folder<'a>)>> {
        let groups = self.group.iter_groups().map_err(|e| self.hdf5.error(&self.place, &e))?;
        Ok(groups
            .map(|(name, group)| {
                let place = self.below(&name);
                (name, Folder { hdf5: self.hdf5, group, place })
            })
            .collect())
    }

    /// The names of the arrays in it.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged.
    pub fn arrays(&self) -> Result<Vec<String>> {
        self.group.datasets().map_err(|e| self.hdf5.error(&self.place, &e))
    }

    /// The group at `path` below this one; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged.
    pub fn group(&self, path: &str) -> Result<Option<Folder<'a>>> {
        match self.group.group(path) {
            Ok(group) => Ok(Some(Folder { hdf5: self.hdf5, group, place: self.below(path) })),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(self.hdf5.error(&self.below(path), &e)),
        }
    }

    /// The array at `path` below this group; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Weights`] when the file is damaged, or the array is not of numbers that were all written.
    pub fn array(&self, path: &str) -> Result<Option<Array>> {
        let place = self.below(path);
        let dataset = match self.group.dataset(path) {
            Ok(dataset) => dataset,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(self.hdf5.error(&place, &e)),
        };
        let Hdf5 { path: file, bytes, within, meter, decodable } = self.hdf5;
        let whole = array::Whole { bytes, within, meter, decodable };
        array::find(&dataset, &whole).map(Some).map_err(|wrong| match wrong {
            array::Wrong::Library(e) => self.hdf5.error(&place, &e),
            array::Wrong::Said { what, expected, got, help } => Error::new(
                Kind::Weights,
                format!("the array `{}` in {} {what}", shorten(&place), file.display()),
            )
            .expected_got(expected, got)
            .help(if help.is_empty() { AGAIN } else { help }),
        })
    }

    fn below(&self, path: &str) -> String {
        if self.place.is_empty() { path.to_owned() } else { format!("{}/{path}", self.place) }
    }
}

fn is_absent(error: &hdf5_pure::Error) -> bool {
    matches!(
        error,
        hdf5_pure::Error::Format(FormatError::PathNotFound(_))
            | hdf5_pure::Error::NotAGroup(_)
            | hdf5_pure::Error::NotADataset(_)
    )
}

impl Attributes {
    /// Whether there is one of this name, or the first piece of one.
    pub fn has(&self, name: &str) -> bool {
        let first = format!("{name}0");
        self.names().any(|other| other == name || *other == first)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.all.keys().chain(&self.lost)
    }

    /// One text; `None` when it is absent or something else.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name)?.as_str()
    }

    /// A list of texts; `None` when it is absent. Keras keeps a list over 64,512 bytes in pieces, `name0`,
    /// `name1` and so on.
    ///
    /// # Errors
    /// [`Kind::Weights`] when it is there and cannot be read, or is something else.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        if let Some(list) = self.list(name)? {
            return Ok(Some(list.to_vec()));
        }
        let mut all = Vec::new();
        for piece in 0.. {
            let Some(list) = self.list(&format!("{name}{piece}"))? else {
                return Ok((piece > 0).then_some(all));
            };
            all.extend_from_slice(list);
        }
        Ok(None)
    }

    fn list(&self, name: &str) -> Result<Option<&[String]>> {
        let got = match self.all.get(name) {
            None if !self.lost.iter().any(|lost| lost == name) => return Ok(None),
            None => "something that cannot be decoded",
            // h5py makes an empty list of numbers of an empty list.
            Some(AttrValue::F64Array(numbers)) if numbers.is_empty() => return Ok(Some(&[])),
            Some(value) => match value.as_strings() {
                Some(texts) => return Ok(Some(texts)),
                None => "numbers",
            },
        };
        let at = if self.place.is_empty() { "the root" } else { &shorten(&self.place) };
        Err(Error::new(
            Kind::Weights,
            format!("the attribute `{name}` of {at} in {} cannot be read", self.file),
        )
        .expected_got("a list of texts", got)
        .help(AGAIN))
    }
}
