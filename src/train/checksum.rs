//! The checksum of a checkpoint: a wrong byte on the disk would be another training.
//!
//! In: metadata, and tensors by name. Out: CRC-32 in hexadecimal, the same of what is written and of what is read.

use crate::error::Result;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// CRC-32 of what stands in `metadata`, and of the tensors by their names.
pub(super) fn checksum<'a, 'v>(
    metadata: &BTreeMap<String, String>,
    names: impl Iterator<Item = &'a str>,
    values: impl Fn(&str) -> Result<Option<Cow<'v, [f32]>>>,
) -> Result<String> {
    let mut crc = crc32fast::Hasher::new();
    // Nothing in them is 0, so that it parts them.
    metadata.iter().for_each(|(key, value)| crc.update(format!("{key}\0{value}\0").as_bytes()));
    for name in names.collect::<BTreeSet<_>>() {
        crc.update(format!("{name}\0").as_bytes());
        crc.update(bytemuck::cast_slice(&values(name)?.unwrap_or_default()));
    }
    Ok(format!("{:08x}", crc.finalize()))
}
