//! How a file of features begins: a safetensors header that says what they were made from.
//!
//! In: a recipe and its key. Out: the header's bytes; whether a file begins so.

use crate::data::Recipe;
use crate::data::recipe::broken_recipe;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// How the JSON of a header begins.
const BEGIN: &[u8] = b"{\"__metadata__\":{\"classes\":";
/// The longest header that safetensors reads.
pub(super) const LONGEST: usize = 100_000_000;

/// The safetensors header: length, JSON, spaces up to a multiple of eight. Labels come first, so that
/// the long tensor ends the file.
pub(super) fn header(recipe: &Recipe, key: &str) -> Result<Vec<u8>> {
    let rows = recipe.labels.len();
    let mut shape = vec![rows];
    shape.extend(&recipe.row[1..]);
    let labels_end = rows * 4;
    let end = labels_end + rows * recipe.row.iter().product::<usize>() * 4;
    let text = |value: serde_json::Result<String>| value.map_err(|e| broken_recipe(&e));
    let metadata = BTreeMap::from([
        ("format", "vgg-ft features".to_owned()),
        ("key", key.to_owned()),
        ("classes", text(serde_json::to_string(&recipe.classes))?),
        ("recipe", text(serde_json::to_string(recipe))?),
    ]);
    let json = serde_json::json!({
        "__metadata__": metadata,
        "labels": { "dtype": "U32", "shape": [rows], "data_offsets": [0, labels_end] },
        "features": { "dtype": "F32", "shape": shape, "data_offsets": [labels_end, end] },
    });
    let mut json = text(serde_json::to_string(&json))?.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() > LONGEST {
        return Err(Error::new(Kind::Usage, "so many names do not fit into a file of features")
            .fact("images", rows)
            .fact("bytes of their names", format!("{}, at most {LONGEST}", json.len()))
            .help("shorten the names of files and folders, or use fewer images"));
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    Ok(header)
}

/// Whether a file that is not complete is empty or begins as [`header`] does. Its place afterwards is the beginning.
pub(super) fn is_ours(file: &mut File) -> bool {
    let mut begin = [0; 8 + BEGIN.len()];
    let mut read = || {
        file.seek(SeekFrom::Start(0))?;
        let empty = file.metadata()?.len() == 0;
        let same = empty || file.read_exact(&mut begin).is_ok() && begin.ends_with(BEGIN);
        file.seek(SeekFrom::Start(0)).map(|_| same)
    };
    read().unwrap_or(false)
}
