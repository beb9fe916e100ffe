//! The weights among what a script has saved: a checkpoint in, named tensors out.
//!
//! `torch.save(model.state_dict())` has them at the top. Training scripts put them into an entry beside the
//! optimizer and the epoch. Wrappers (`DataParallel`, `torch.compile`, Lightning) put a prefix before all names.

use super::Checkpoint;
use super::tensor::{Rebuild, rebuild};
use super::value::{Id, Pickle, Value};
use crate::error::{Error, Kind, Result};
use crate::weights::unzip::shorten;
use std::collections::BTreeMap;

/// Entries that hold the weights by custom, the likeliest first.
const ENTRIES: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
    "teacher",
];
/// What wrappers put before the names.
const PREFIXES: &[&str] = &["module.", "_orig_mod.", "model.", "net.", "network."];
/// Entries within entries that are followed.
const MAX_DEPTH: usize = 4;
/// Entries that are searched when none has a customary name. All may be the same large dict.
const SEARCHED: usize = 64;
/// Names that are listed in an error or in the metadata.
const LISTED: usize = 8;

pub(super) struct Chosen<'p, 'a> {
    /// In the order of the file.
    pub tensors: Vec<(&'a str, Rebuild<'p, 'a>)>,
    pub metadata: BTreeMap<String, String>,
}

/// Finds the weights.
///
/// # Errors
/// [`Kind::Weights`] when there are none, or it cannot be known which are meant.
pub(super) fn weights<'f, 'a>(file: &'f Checkpoint<'a>) -> Result<Chosen<'f, 'a>> {
    let pickle = &file.pickle;
    let mut path: Vec<&str> = Vec::new();
    let mut id = pickle.top;
    for _ in 0..MAX_DEPTH {
        let Some(dict) = Dict::read(pickle, id) else { return Err(no_dict(file, id, &path)) };
        match dict.next(pickle) {
            Next::Here => return Ok(dict.chosen(&path)),
            Next::Entry(name, inner) => {
                path.push(name);
                id = inner;
            }
            Next::Object(name, inner) => {
                path.push(name);
                return Err(no_dict(file, inner, &path));
            }
            Next::Nothing => return Err(no_tensors(file, &dict)),
        }
    }
    Err(Error::new(Kind::Weights, format!("{} nests its weights too deeply", file.path.display()))
        .fact("entries", path.iter().map(|name| shorten(name)).collect::<Vec<_>>().join(" > "))
        .help("save `model.state_dict()` alone"))
}

/// A dict: its tensors, and its other entries, by name.
struct Dict<'p, 'a> {
    tensors: Vec<(&'a str, Rebuild<'p, 'a>)>,
    others: Vec<(&'a str, Id)>,
}

enum Next<'a> {
    /// The tensors of this dict are the weights.
    Here,
    /// They are in this entry.
    Entry(&'a str, Id),
    /// They are in this entry, which is no dict.
    Object(&'a str, Id),
    Nothing,
}

impl<'p, 'a> Dict<'p, 'a> {
    fn read(pickle: &'p Pickle<'a>, id: Id) -> Option<Self> {
        let mut dict = Self { tensors: Vec::new(), others: Vec::new() };
        for (key, value) in pickle.entries(id)? {
            match (pickle.name(key), rebuild(pickle, value)) {
                (Some(name), Some(rebuild)) => dict.tensors.push((name, rebuild)),
                (Some(name), None) => dict.others.push((name, value)),
                (None, Some(_)) => dict.others.push(("a tensor without a name", value)),
                // The optimizer numbers its entries.
                (None, None) => {}
            }
        }
        Some(dict)
    }

    fn next(&self, pickle: &Pickle<'a>) -> Next<'a> {
        if !self.tensors.is_empty() && self.others.is_empty() {
            return Next::Here;
        }
        let by_custom =
            || ENTRIES.iter().filter_map(|&entry| self.others.iter().find(|(name, _)| *name == entry));
        let has_tensors = |id| Dict::read(pickle, id).is_some_and(|dict| !dict.tensors.is_empty());
        if let Some(&(name, id)) = by_custom().find(|&&(_, id)| has_tensors(id)) {
            return Next::Entry(name, id);
        }
        if !self.tensors.is_empty() {
            return Next::Here;
        }
        if let Some(&(name, id)) = by_custom().find(|&&(_, id)| pickle.entries(id).is_some()) {
            return Next::Entry(name, id);
        }
        let mut with_tensors = self.others.iter().take(SEARCHED).filter(|&&(_, id)| has_tensors(id));
        if let (Some(&(name, id)), None) = (with_tensors.next(), with_tensors.next()) {
            return Next::Entry(name, id);
        }
        let mut objects = by_custom().filter(|&&(_, id)| class(pickle, id).is_some());
        objects.next().map_or(Next::Nothing, |&(name, id)| Next::Object(name, id))
    }

    fn chosen(self, path: &[&str]) -> Chosen<'p, 'a> {
        let mut metadata = BTreeMap::new();
        if !path.is_empty() {
            let path: Vec<String> = path.iter().map(|name| shorten(name)).collect();
            metadata.insert("read-from".to_owned(), path.join(" > "));
        }
        if !self.others.is_empty() {
            metadata.insert("skipped".to_owned(), list(&self.others));
        }
        let mut tensors = self.tensors;
        let mut removed = String::new();
        while let Some(&prefix) = PREFIXES.iter().find(|prefix| all_begin_with(&tensors, prefix)) {
            for (name, _) in &mut tensors {
                *name = name.strip_prefix(prefix).unwrap_or(name);
            }
            removed.push_str(prefix);
        }
        if !removed.is_empty() {
            metadata.insert("prefix-removed".to_owned(), removed);
        }
        Chosen { tensors, metadata }
    }
}

/// Whether all names go on after `prefix`.
fn all_begin_with(tensors: &[(&str, Rebuild<'_, '_>)], prefix: &str) -> bool {
    !tensors.is_empty()
        && tensors.iter().all(|(name, _)| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()))
}

/// The class of the object, or the function of the call, that `id` stands for.
fn class<'a>(pickle: &Pickle<'a>, id: Id) -> Option<(&'a str, &'a str)> {
    let callee = pickle.call(id)?.callee;
    match pickle.get(callee) {
        // The stream keeps a module's class with its source: ("module", class, file, source).
        &Value::Outside(parts) => pickle.tuple(parts)?.get(1).and_then(|&class| pickle.global(class)),
        _ => pickle.global(callee),
    }
}

fn no_dict(file: &Checkpoint<'_>, id: Id, path: &[&str]) -> Error {
    let (name, pickle) = (file.path.display(), &file.pickle);
    let inside = path.last().map_or_else(String::new, |entry| format!(" in `{}`", shorten(entry)));
    let help = "save the weights by name: `torch.save(model.state_dict(), FILE)`";
    if rebuild(pickle, id).is_none()
        && let Some((module, class)) = class(pickle, id)
    {
        let object = format!("a whole Python object ({}.{})", shorten(module), shorten(class));
        let message = format!("{name} holds {object}{inside}, not weights");
        return Error::new(Kind::Weights, message)
            .help("load it where its program is and save `model.state_dict()` instead");
    }
    let what = match pickle.get(id) {
        Value::List(_) | Value::Tuple(_) => "a list",
        Value::Call(_) => "a tensor without a name",
        _ => "a plain value",
    };
    Error::new(Kind::Weights, format!("{name} holds {what}{inside}, no weights by name"))
        .expected_got("a dict of tensors", what)
        .help(help)
}

fn no_tensors(file: &Checkpoint<'_>, dict: &Dict<'_, '_>) -> Error {
    Error::new(Kind::Weights, format!("{} has no tensors where weights are by custom", file.path.display()))
        .fact("expected", "a dict of tensors, alone or as the entry `state_dict` or `model`")
        .fact("entries", if dict.others.is_empty() { "none".to_owned() } else { list(&dict.others) })
        .help("save the weights alone: `torch.save(model.state_dict(), FILE)`")
}

/// The first names, and how many more there are.
fn list(entries: &[(&str, Id)]) -> String {
    let mut names: Vec<String> = entries.iter().take(LISTED).map(|(name, _)| shorten(name)).collect();
    if entries.len() > LISTED {
        names.push(format!("and {} more", entries.len() - LISTED));
    }
    names.join(", ")
}
