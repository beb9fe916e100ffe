//! A tree of groups, attributes and f32 arrays in, a whole file out.
//!
//! Files are of HDF5 1.8's format (superblock 2, contiguous data), which h5py, rhdf5 and hdf5r read alike.
//! Equal trees make equal bytes.

use crate::error::{Error, Kind, Result};
use hdf5_pure::{AttrValue, FileBuilder, FinishedGroup, GroupBuilder, LibVer};
use std::borrow::Cow;
use std::io::Write;

/// A group: attributes, arrays, and groups inside, each in the order of writing.
#[derive(Debug, Default)]
pub struct Group<'a> {
    attributes: Vec<(String, Attribute)>,
    arrays: Vec<Array<'a>>,
    groups: Vec<(String, Group<'a>)>,
}

/// What Keras attaches to groups. Text is ASCII or UTF-8 by what it holds, of variable length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// One text. Of any length: a model's configuration has 20 kB.
    Text(String),
    /// A list of texts; without any, an empty list of numbers, as h5py writes it.
    Names(Vec<String>),
}

#[derive(Debug)]
struct Array<'a> {
    name: String,
    shape: Vec<usize>,
    values: Cow<'a, [f32]>,
}

impl<'a> Group<'a> {
    /// Attaches a text.
    pub fn text(&mut self, name: &str, text: impl Into<String>) {
        self.attributes.push((name.into(), Attribute::Text(text.into())));
    }

    /// Attaches a list of texts.
    pub fn names(&mut self, name: &str, names: Vec<String>) {
        self.attributes.push((name.into(), Attribute::Names(names)));
    }

    /// The group at `path` below this one, made where it is missing.
    pub fn group(&mut self, path: &str) -> &mut Group<'a> {
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let place = self.groups.iter().position(|(name, _)| name == first).unwrap_or_else(|| {
            self.groups.push((first.to_owned(), Group::default()));
            self.groups.len() - 1
        });
        let group = &mut self.groups[place].1;
        match rest {
            Some(rest) => group.group(rest),
            None => group,
        }
    }

    /// Puts an f32 array at `path`, with the groups on the way; `shape` is slowest axis first.
    pub fn array(&mut self, path: &str, shape: &[usize], values: Cow<'a, [f32]>) {
        let (group, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (self.group(parent), name),
            None => (self, path),
        };
        group.arrays.push(Array { name: name.to_owned(), shape: shape.to_vec(), values });
    }

    /// Writes the file whose root this is.
    ///
    /// # Errors
    /// [`Kind::Weights`] when HDF5 cannot hold it (a list of names over 64 kB) or `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        let mut file = FileBuilder::new();
        file.with_libver_bounds(LibVer::Earliest, LibVer::V18);
        for (name, attribute) in &self.attributes {
            file.set_attr(name, attribute.value());
        }
        for array in &self.arrays {
            file.create_dataset(&array.name).with_f32_data(&array.values).with_shape(&array.axes());
        }
        for (name, group) in &self.groups {
            let builder = file.create_group(name);
            file.add_group(group.fill(builder));
        }
        file.finish_to(out).map_err(|e| {
            Error::new(Kind::Weights, "the HDF5 file cannot be written")
                .fact("reason", e)
                .help("is there room on the disk? nothing half-written is left")
        })
    }

    fn fill(&self, mut builder: GroupBuilder) -> FinishedGroup {
        for (name, attribute) in &self.attributes {
            builder.set_attr(name, attribute.value());
        }
        for array in &self.arrays {
            builder.create_dataset(&array.name).with_f32_data(&array.values).with_shape(&array.axes());
        }
        for (name, group) in &self.groups {
            let inner = builder.create_group(name);
            builder.add_group(group.fill(inner));
        }
        builder.finish()
    }
}

impl Attribute {
    fn value(&self) -> AttrValue {
        match self {
            Self::Text(text) if text.is_ascii() => AttrValue::VarLenAsciiString(text.clone()),
            Self::Text(text) => AttrValue::VarLenString(text.clone()),
            Self::Names(names) if names.is_empty() => AttrValue::F64Array(Vec::new()),
            Self::Names(names) if names.iter().all(|name| name.is_ascii()) => {
                AttrValue::VarLenAsciiStringArray(names.clone())
            }
            Self::Names(names) => AttrValue::VarLenStringArray(names.clone()),
        }
    }
}

impl Array<'_> {
    fn axes(&self) -> Vec<u64> {
        self.shape.iter().map(|&axis| axis as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdf5_pure::File;

    #[test]
    fn a_tree_comes_back_as_it_went_in() {
        let values: Vec<f32> = vec![0.1, -0.0, 1e-42, f32::MAX, 3.0, -7.25];
        let mut root = Group::default();
        root.text("json", "{\"a\":\"".to_owned() + &"x".repeat(100_000) + "\"}");
        root.text("classes", "Käfer\nMücken");
        let layer = root.group("model_weights/conv");
        layer.names("weight_names", vec!["conv/kernel:0".into()]);
        layer.array("conv/kernel:0", &[1, 2, 3], values.as_slice().into());
        root.group("model_weights/flatten").names("weight_names", Vec::new());
        let mut bytes = Vec::new();
        root.write(&mut bytes).unwrap();
        // Byte 8 is the version of the superblock: 2 is HDF5 1.8's.
        assert_eq!(bytes[8], 2);

        let mut again = Vec::new();
        root.write(&mut again).unwrap();
        assert_eq!(bytes, again, "equal trees make equal bytes");

        let file = File::from_bytes(bytes).unwrap();
        let attributes = file.root().attrs().unwrap();
        assert_eq!(attributes["json"].as_str().unwrap().len(), 100_008);
        assert_eq!(attributes["classes"].as_str(), Some("Käfer\nMücken"));
        let array = file.dataset("model_weights/conv/conv/kernel:0").unwrap();
        assert_eq!(array.shape().unwrap(), [1, 2, 3]);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&array.read_f32().unwrap()), bits(&values));
        let names = file.group("model_weights/conv").unwrap().attrs().unwrap();
        assert_eq!(names["weight_names"].as_strings(), Some(&["conv/kernel:0".to_owned()][..]));
        let none = file.group("model_weights/flatten").unwrap().attrs().unwrap();
        assert_eq!(none["weight_names"], AttrValue::F64Array(Vec::new()));
    }
}
