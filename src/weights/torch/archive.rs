//! The zip format, of PyTorch 1.6 and later: `NAME/data.pkl` and a stored entry per storage, `NAME/data/KEY`.

use super::{Checkpoint, big_endian, pickle, refusal};
use crate::error::{Error, Kind, Result};
use crate::weights::unzip::{self, Entry};
use std::collections::BTreeMap;
use std::path::Path;

/// The pickle, in the archive's one folder.
const PICKLE: &str = "data.pkl";

/// Whether the archive has a pickle where PyTorch puts it.
pub(super) fn has_pickle(path: &Path, bytes: &[u8]) -> bool {
    unzip::names(path, bytes).is_ok_and(|names| names.into_iter().any(|name| folder(name).is_some()))
}

/// `NAME` when the entry is `NAME/data.pkl`.
fn folder(entry: &str) -> Option<&str> {
    entry.split_once('/').filter(|&(_, file)| file == PICKLE).map(|(folder, _)| folder)
}

/// Takes the archive apart. The small entries are compared with their checksums, the numbers are not.
pub(super) fn open<'a>(path: &'a Path, bytes: &'a [u8]) -> Result<Checkpoint<'a>> {
    let name = path.display();
    let names = unzip::names(path, bytes)?;
    let mut folders = names.iter().filter_map(|name| folder(name));
    let (Some(top), None) = (folders.next(), folders.next()) else {
        return Err(Error::new(Kind::Weights, format!("{name} is a zip archive, but not one of PyTorch"))
            .fact("expected", format!("one entry FOLDER/{PICKLE}"))
            .help("save the weights with `torch.save(model.state_dict(), FILE)`"));
    };
    if names.iter().any(|entry| entry.strip_prefix(top) == Some("/constants.pkl")) {
        return Err(Error::new(Kind::Weights, format!("{name} holds a TorchScript program, not weights"))
            .help(
                "load it with `torch.jit.load` and save its weights: `torch.save(model.state_dict(), FILE)`",
            ));
    }
    let entries = unzip::entries(path, bytes)?;
    let mut storages = BTreeMap::new();
    let mut pickle = None;
    for entry in &entries {
        let Some(part) = entry.name.strip_prefix(top).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        match part {
            PICKLE => pickle = Some(checked(path, bytes, entry)?),
            "byteorder" => {
                if checked(path, bytes, entry)? != b"little" {
                    return Err(big_endian(path));
                }
            }
            _ => {
                if let Some(key) = part.strip_prefix("data/") {
                    storages.insert(key.to_owned(), entry.bytes.clone());
                }
            }
        }
    }
    let (pickle, _) =
        pickle::read(pickle.unwrap_or_default()).map_err(|fault| refusal(path, "the pickle", fault))?;
    Ok(Checkpoint { path, pickle, storages })
}

fn checked<'a>(path: &Path, bytes: &'a [u8], entry: &Entry) -> Result<&'a [u8]> {
    unzip::verify(path, bytes, entry)?;
    Ok(bytes.get(entry.bytes.clone()).unwrap_or_default())
}
