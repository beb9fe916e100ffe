//! `ModelProto`, `GraphProto`, `NodeProto` and attributes: messages in, lists of nodes and tensors out.
//!
//! Text is borrowed from the file. What no network of ours needs (types of values between nodes, functions,
//! training, quantisation) is skipped. Attributes are read when somebody asks for those of a node, and graphs
//! in attributes are never entered.

use super::tensor::{self, shorten};
use super::wire::{Fields, File};
use crate::error::Result;
use crate::weights::contents::{Found, Place};
use crate::weights::header::MAX_RANK;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;

/// A VGG has some hundred nodes with all that exporters add; this many would only fill memory.
const MAX_NODES: usize = 1 << 20;

/// What the file says of itself, and where the graph lies.
pub(super) struct Model {
    pub metadata: BTreeMap<String, String>,
    pub graph: Range<usize>,
}

/// The parts of a graph, each in the order of the file.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub nodes: Vec<Node<'a>>,
    /// Initializers; those of a type that is passed over are missing.
    pub tensors: Vec<Found>,
    pub inputs: Vec<Input<'a>>,
    pub outputs: Vec<&'a str>,
}

/// An input of the graph.
pub(super) struct Input<'a> {
    pub name: &'a str,
    /// The axes; `None` where the file does not say how many there are, or how long one is.
    pub shape: Option<Vec<Option<usize>>>,
}

/// An operation.
pub(super) struct Node<'a> {
    pub name: &'a str,
    /// As the standard calls it, `Conv`.
    pub op: &'a str,
    /// Empty for those of the standard.
    pub domain: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    attributes: Vec<Range<usize>>,
}

/// The attributes of a node by name.
pub(super) struct Attributes<'a>(BTreeMap<&'a str, Attribute<'a>>);

/// An attribute holds one of these; a list of numbers as they come, of floats as their bytes.
#[derive(Default)]
struct Attribute<'a> {
    int: i64,
    ints: Vec<i64>,
    float: Option<Range<usize>>,
    floats: Vec<u8>,
    text: &'a str,
    tensor: Option<Range<usize>>,
}

/// Reads the file but for its graph.
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when the file is no `ModelProto` with one graph.
pub(super) fn model(file: File<'_>) -> Result<Model> {
    let mut metadata = BTreeMap::new();
    let mut about = BTreeMap::new();
    let mut opsets = Vec::new();
    let mut graph = None;
    let mut fields = file.fields(0..file.bytes.len(), "ModelProto");
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => drop(about.insert("ir_version", field.int()?.to_string())),
            2 => drop(about.insert("producer_name", lossy(file, &field.bytes()?))),
            3 => drop(about.insert("producer_version", lossy(file, &field.bytes()?))),
            7 if graph.is_some() => return Err(file.damaged(field.bytes()?.start, "a second graph")),
            7 => graph = Some(field.bytes()?),
            8 => opsets.push(opset(file, field.message("OperatorSetIdProto")?)?),
            14 => {
                let (key, value) = pair(file, field.message("StringStringEntryProto")?)?;
                metadata.insert(key, value);
            }
            _ => {}
        }
    }
    let Some(graph) = graph else {
        return Err(file.damaged(file.bytes.len(), "a model without a graph"));
    };
    if !opsets.is_empty() {
        about.insert("opset", opsets.join(", "));
    }
    // What the format itself says wins over a key of the same name.
    metadata.extend(about.into_iter().filter(|(_, text)| !text.is_empty()).map(|(k, v)| (k.to_owned(), v)));
    Ok(Model { metadata, graph })
}

/// `13` for the standard's own operations, `ai.onnx.ml 2` for others.
fn opset(file: File<'_>, mut fields: Fields<'_>) -> Result<String> {
    let (mut domain, mut version) = (String::new(), 0);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => domain = lossy(file, &field.bytes()?),
            2 => version = field.int()?,
            _ => {}
        }
    }
    Ok(if domain.is_empty() { version.to_string() } else { format!("{domain} {version}") })
}

fn pair(file: File<'_>, mut fields: Fields<'_>) -> Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => key = lossy(file, &field.bytes()?),
            2 => value = lossy(file, &field.bytes()?),
            _ => {}
        }
    }
    Ok((key, value))
}

/// Text for people, whatever bytes it has.
fn lossy(file: File<'_>, place: &Range<usize>) -> String {
    String::from_utf8_lossy(file.slice(place)).into_owned()
}

/// Reads the graph at `place`.
///
/// # Errors
/// [`Kind::Weights`](crate::error::Kind::Weights) when it is damaged, or has more nodes or tensors than a
/// network can have.
pub(super) fn graph(file: File<'_>, place: Range<usize>) -> Result<Parts<'_>> {
    let mut parts = Parts::default();
    let mut fields = file.fields(place.clone(), "GraphProto");
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => parts.nodes.push(node(field.message("NodeProto")?)?),
            5 => parts.tensors.extend(tensor::read(file, field.bytes()?, None)?),
            11 => parts.inputs.push(input(field.message("ValueInfoProto")?)?),
            12 => parts.outputs.push(input(field.message("ValueInfoProto")?)?.name),
            _ => {}
        }
        let counts = [parts.nodes.len(), parts.tensors.len(), parts.inputs.len(), parts.outputs.len()];
        if counts.iter().any(|&count| count > MAX_NODES) {
            let why = format!("a graph of more than {MAX_NODES} nodes, tensors, inputs or outputs");
            return Err(file.damaged(place.start, why));
        }
    }
    Ok(parts)
}

fn node(mut fields: Fields<'_>) -> Result<Node<'_>> {
    let mut node = Node { name: "", op: "", domain: "", inputs: vec![], outputs: vec![], attributes: vec![] };
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => node.inputs.push(field.text()?),
            2 => node.outputs.push(field.text()?),
            3 => node.name = field.text()?,
            4 => node.op = field.text()?,
            5 => node.attributes.push(field.bytes()?),
            7 => node.domain = field.text()?,
            _ => {}
        }
    }
    Ok(node)
}

/// Name and axes of a value: `type.tensor_type.shape.dim[…].dim_value`.
fn input(mut fields: Fields<'_>) -> Result<Input<'_>> {
    let mut input = Input { name: "", shape: None };
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => input.name = field.text()?,
            2 => {
                let mut kind = field.message("TypeProto")?;
                while let Some(field) = kind.next_field()? {
                    if field.number == 1 {
                        input.shape = shape(field.message("TypeProto.Tensor")?)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

fn shape(mut tensor: Fields<'_>) -> Result<Option<Vec<Option<usize>>>> {
    let mut shape = None;
    while let Some(field) = tensor.next_field()? {
        if field.number != 2 {
            continue;
        }
        let mut axes = Vec::new();
        let mut fields = field.message("TensorShapeProto")?;
        while let Some(field) = fields.next_field()? {
            // One axis too many is enough to see that there are too many.
            if field.number == 1 && axes.len() <= MAX_RANK {
                axes.push(dimension(field.message("TensorShapeProto.Dimension")?)?);
            }
        }
        shape = Some(axes);
    }
    Ok(shape)
}

/// A length that is known: neither a name nor 0, which some write for "any".
fn dimension(mut fields: Fields<'_>) -> Result<Option<usize>> {
    let mut length = None;
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            length = usize::try_from(field.int()?).ok().filter(|&length| length > 0);
        }
    }
    Ok(length)
}

impl<'a> Node<'a> {
    /// The operation, for those of the standard; another domain's may be anything under the same name.
    pub fn standard(&self) -> Option<&'a str> {
        matches!(self.domain, "" | "ai.onnx").then_some(self.op)
    }

    /// The input number `n`; `None` when it is left out.
    pub fn input(&self, n: usize) -> Option<&'a str> {
        self.inputs.get(n).copied().filter(|name| !name.is_empty())
    }

    /// What to call the node in an error: its name, or that of what it makes.
    pub fn label(&self) -> String {
        let name = match (self.name, self.outputs.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        };
        let dot = if self.domain.is_empty() { "" } else { "." };
        format!("`{}` ({}{dot}{})", shorten(name), shorten(self.domain), shorten(self.op))
    }

    /// Whether there is little to read in the attributes, as there is in those of a `Transpose`.
    pub fn is_small(&self) -> bool {
        self.attributes.len() <= 16 && self.attributes.iter().all(|place| place.len() <= 256)
    }

    /// Reads the attributes.
    ///
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) when one is damaged.
    pub fn attributes(&self, file: File<'a>) -> Result<Attributes<'a>> {
        let mut all = BTreeMap::new();
        for place in &self.attributes {
            let mut name = "";
            let mut attribute = Attribute::default();
            let mut fields = file.fields(place.clone(), "AttributeProto");
            while let Some(field) = fields.next_field()? {
                match field.number {
                    1 => name = field.text()?,
                    2 => attribute.float = Some(field.reals(4)?).filter(|place| place.len() == 4),
                    3 => attribute.int = field.int()?,
                    // Text here is a word, `SAME_UPPER`; other bytes are none that we look for.
                    4 => {
                        attribute.text = std::str::from_utf8(file.slice(&field.bytes()?)).unwrap_or_default()
                    }
                    5 => attribute.tensor = Some(field.bytes()?),
                    7 => attribute.floats.extend_from_slice(file.slice(&field.reals(4)?)),
                    8 => field.ints(|value| {
                        attribute.ints.push(value);
                        Ok(())
                    })?,
                    _ => {}
                }
            }
            all.insert(name, attribute);
        }
        Ok(Attributes(all))
    }

    /// The tensor that a `Constant` makes; `None` for text, and for what is passed over.
    ///
    /// # Errors
    /// [`Kind::Weights`](crate::error::Kind::Weights) when the tensor is damaged.
    pub fn constant(&self, file: File<'a>) -> Result<Option<Found>> {
        let attributes = self.attributes(file)?;
        let name = self.outputs.first().copied().unwrap_or_default();
        let (dtype, shape, place) = match attributes.0.iter().next() {
            Some((&"value", Attribute { tensor: Some(place), .. })) => {
                return tensor::read(file, place.clone(), Some(name));
            }
            Some((&"value_float", Attribute { float: Some(place), .. })) => {
                (Dtype::F32, vec![], Place::Here(place.clone()))
            }
            Some((&"value_floats", Attribute { floats, .. })) => {
                (Dtype::F32, vec![floats.len() / 4], Place::Decoded(floats.clone()))
            }
            Some((&"value_int", Attribute { int, .. })) => {
                (Dtype::I64, vec![], Place::Decoded(int.to_le_bytes().to_vec()))
            }
            Some((&"value_ints", Attribute { ints, .. })) => {
                let bytes = ints.iter().flat_map(|int| int.to_le_bytes()).collect();
                (Dtype::I64, vec![ints.len()], Place::Decoded(bytes))
            }
            _ => return Ok(None),
        };
        tensor::check_name(file, self.attributes.first().map_or(0, |place| place.start), name)?;
        Ok(Some(Found { name: name.to_owned(), dtype, shape, place }))
    }
}

impl Attributes<'_> {
    /// A number; a value of 0 need not be written.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.0.get(name).map_or(default, |attribute| attribute.int)
    }

    /// A list of numbers; `None` when there is no such attribute.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.0.get(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A float, as [`int`](Self::int).
    pub fn float(&self, file: File<'_>, name: &str, default: f32) -> f32 {
        self.0.get(name).map_or(default, |attribute| {
            let bytes = attribute.float.as_ref().and_then(|place| file.slice(place).try_into().ok());
            bytes.map_or(0.0, f32::from_le_bytes)
        })
    }

    /// A word; empty when there is no such attribute.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |attribute| attribute.text)
    }
}
