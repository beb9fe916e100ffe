//! The format of before PyTorch 1.6: five pickles, then the storages one after the other.
//!
//! The pickles are a magic number, the protocol's version, the machine's sizes, what was saved, and the keys
//! of the storages in the order in which they follow: each a count of elements (64 bits) and the elements.

use super::tensor::StorageId;
use super::value::{Id, Pickle, Value};
use super::{Checkpoint, big_endian, pickle, refusal};
use crate::error::{Error, Kind, Result};
use crate::weights::unzip::shorten;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// 0x1950a86a20f9469cfc6c, as the pickles of protocols 2 and later have it: LONG1 of ten bytes.
const MAGIC: [u8; 13] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
const PROTOCOL: i64 = 1001;

/// Whether `bytes` begin with the magic number. A frame (protocols 4 and 5) may come before it.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let [0x80, _protocol, rest @ ..] = bytes else { return false };
    rest.starts_with(&MAGIC)
        || rest.first() == Some(&0x95) && rest.get(9..).is_some_and(|r| r.starts_with(&MAGIC))
}

/// Takes the file apart.
pub(super) fn open<'a>(path: &'a Path, bytes: &'a [u8]) -> Result<Checkpoint<'a>> {
    let mut rest = bytes;
    let mut next = |part: &str| -> Result<Pickle<'a>> {
        let (pickle, length) = pickle::read(rest).map_err(|fault| refusal(path, part, fault))?;
        rest = rest.get(length..).unwrap_or_default();
        Ok(pickle)
    };
    next("the magic number")?;
    let version = next("the version")?;
    if !matches!(version.top(), Value::Int(PROTOCOL)) {
        return Err(Error::new(Kind::Weights, format!("{} has an unknown version", path.display()))
            .expected_got(PROTOCOL, shorten(&format!("{:?}", version.top())))
            .help("load the file in PyTorch and save it again"));
    }
    let system = next("the description")?;
    let entries = system.entries(system.top).unwrap_or_default();
    let little = entries.iter().find(|&&(key, _)| system.name(key) == Some("little_endian"));
    if little.is_some_and(|&(_, value)| matches!(system.get(value), Value::Bool(false))) {
        return Err(big_endian(path));
    }
    let pickle = next("the pickle")?;
    let keys = next("the list of storages")?;
    let start = bytes.len() - rest.len();
    let storages = storages(path, bytes, start, &pickle, &keys)?;
    Ok(Checkpoint { path, pickle, storages })
}

/// The places of the storages, which begin at `start`. How large an element is, the pickle says.
fn storages(
    path: &Path,
    bytes: &[u8],
    start: usize,
    pickle: &Pickle<'_>,
    keys: &Pickle<'_>,
) -> Result<BTreeMap<String, Range<usize>>> {
    let mut sizes = BTreeMap::new();
    for id in 0..pickle.values.len() {
        if let Some(storage) = StorageId::read(pickle, id as Id) {
            // The first mention counts: PyTorch counts the elements by it.
            sizes.entry(storage.key).or_insert((storage.element_size(), storage.class));
        }
    }
    let mut storages = BTreeMap::new();
    let mut at = start;
    for &key in keys.sequence(keys.top).unwrap_or_default() {
        let key = keys.name(key).unwrap_or_default();
        let wrong = |what: &str| {
            Error::new(Kind::Weights, format!("the storage {} of {} {what}", shorten(key), path.display()))
                .help("the file is damaged or was not written completely; fetch or make it again")
        };
        let &(size, class) = sizes.get(key).ok_or_else(|| wrong("is not mentioned in the pickle"))?;
        let size = size.ok_or_else(|| wrong("has an unknown type").fact("type", shorten(class)))?;
        let (count, _) = bytes
            .get(at..)
            .and_then(|rest| rest.split_first_chunk::<8>())
            .ok_or_else(|| wrong("is cut off"))?;
        let count = i64::from_le_bytes(*count);
        let begin = at + 8;
        let end = usize::try_from(count).ok().and_then(|count| begin.checked_add(count.checked_mul(size)?));
        at = end.filter(|&end| end <= bytes.len()).ok_or_else(|| {
            wrong("is cut off")
                .expected_got(format!("{count} elements"), format!("{} bytes", bytes.len() - begin))
        })?;
        if storages.insert(key.to_owned(), begin..at).is_some() {
            return Err(wrong("is there twice"));
        }
    }
    Ok(storages)
}
