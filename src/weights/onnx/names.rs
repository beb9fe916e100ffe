//! Who makes a value, who takes it, and which stored tensor stands behind an operand.
//!
//! Built once from the parts of a graph; every later question is one look into a map. Between a stored tensor
//! and its node exporters put `Identity`, `Cast`, `Transpose` and `Reshape`: these are looked through.

use super::message::{Node, Parts};
use super::tensor::shorten;
use super::wire::File;
use crate::error::{Error, Kind, Result};
use crate::weights::contents::{Found, Place};
use safetensors::Dtype;
use std::collections::HashMap;
use std::fmt;

/// Exporters put one or two nodes between a tensor and its use.
const MAX_HOPS: usize = 16;

/// The names of a graph.
pub(super) struct Names<'a> {
    pub file: File<'a>,
    pub nodes: &'a [Node<'a>],
    tensors: HashMap<&'a str, &'a Found>,
    makers: HashMap<&'a str, usize>,
    takers: HashMap<&'a str, Takers>,
}

/// The nodes that take a value for what it holds, and not for its shape.
#[derive(Clone, Copy)]
pub(super) struct Takers {
    pub first: usize,
    pub second: Option<usize>,
    last: usize,
    pub count: usize,
}

/// A stored tensor as a node sees it.
pub(super) struct Operand<'a> {
    pub found: &'a Found,
    /// Axis `i` is axis `axes[i]` of the file's.
    pub axes: Vec<usize>,
}

impl Operand<'_> {
    /// Whether the axes are those of the file.
    pub fn is_in_order(&self) -> bool {
        self.axes.iter().enumerate().all(|(at, &axis)| at == axis)
    }
}

/// What stands behind an operand of a node.
pub(super) enum Source<'a> {
    /// The node has no such operand.
    Absent,
    Stored(Operand<'a>),
    /// Something that depends on the input, or on nothing that we know.
    Computed,
}

impl<'a> Names<'a> {
    /// Sorts the names of `parts`; `tensors` are all that are stored.
    ///
    /// # Errors
    /// [`Kind::Weights`] when two things have one name.
    pub fn new(file: File<'a>, parts: &'a Parts<'a>, tensors: &'a [Found]) -> Result<Self> {
        let mut names = Self {
            file,
            nodes: &parts.nodes,
            tensors: tensors.iter().map(|found| (found.name.as_str(), found)).collect(),
            makers: HashMap::with_capacity(parts.nodes.len()),
            takers: HashMap::with_capacity(parts.nodes.len()),
        };
        for (at, node) in parts.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|name| !name.is_empty()) {
                let stored = node.standard() != Some("Constant") && names.tensors.contains_key(output);
                if names.makers.insert(output, at).is_some() || stored {
                    return Err(twice(file, output));
                }
            }
            if matches!(node.standard(), Some("Shape" | "Size")) {
                continue;
            }
            for input in node.inputs.iter().filter(|name| !name.is_empty()) {
                let one = Takers { first: at, second: None, last: at, count: 1 };
                let takers = names.takers.entry(input).or_insert(one);
                // A node that takes a value twice takes it once.
                if takers.last != at {
                    takers.second.get_or_insert(at);
                    takers.last = at;
                    takers.count += 1;
                }
            }
        }
        Ok(names)
    }

    /// Whether `name` is a stored tensor. In old files these are inputs of the graph too.
    pub fn is_stored(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The nodes that take the value `name`, if there are any.
    pub fn takers(&self, name: &str) -> Option<Takers> {
        self.takers.get(name).copied()
    }

    /// The node that takes the value `name`, if there is but one.
    pub fn only_taker(&self, name: &str) -> Option<usize> {
        self.takers(name).filter(|takers| takers.count == 1).map(|takers| takers.first)
    }

    /// The node that makes the value `name`.
    pub fn maker(&self, name: &str) -> Option<usize> {
        self.makers.get(name).copied()
    }

    /// What stands behind the operand number `n` of `node`.
    ///
    /// # Errors
    /// [`Kind::Weights`] when a stored tensor is changed on its way in a manner that is more than another
    /// order of its axes.
    pub fn source(&self, node: &Node<'a>, n: usize) -> Result<Source<'a>> {
        let Some(mut name) = node.input(n) else { return Ok(Source::Absent) };
        let mut hops = Vec::new();
        let found = loop {
            if let Some(&found) = self.tensors.get(name) {
                break found;
            }
            let Some(maker) = self.makers.get(name).and_then(|&at| self.nodes.get(at)) else {
                return Ok(Source::Computed);
            };
            // A node may be on the way to many others, and is read each time: so it must be a small one.
            let known = matches!(maker.standard(), Some("Identity" | "Cast" | "Transpose" | "Reshape"));
            let short = hops.len() < MAX_HOPS && maker.is_small();
            let (true, true, Some(before)) = (known, short, maker.input(0)) else {
                return Ok(Source::Computed);
            };
            hops.push(maker);
            name = before;
        };
        let mut axes: Vec<usize> = (0..found.shape.len()).collect();
        for hop in hops.into_iter().rev() {
            axes = self.hop(node, hop, found, axes)?;
        }
        Ok(Source::Stored(Operand { found, axes }))
    }

    /// The axes of `found` after `hop`, which is on the way to `node`.
    fn hop(&self, node: &Node<'a>, hop: &Node<'a>, found: &Found, axes: Vec<usize>) -> Result<Vec<usize>> {
        let refuse = |why: String| {
            let name = shorten(&found.name);
            not_vgg(self.file, node, format!("takes `{name}` through {}, {why}", hop.label()))
        };
        match hop.standard() {
            Some("Transpose") => match permuted(hop, self.file, &axes)? {
                Some(axes) => Ok(axes),
                None => Err(refuse("whose order of axes is impossible".into())),
            },
            Some("Cast") => {
                // What is stored is a float of more bits, or of as many as are needed for its values.
                let real = |dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64);
                let to_real = is_float(hop.attributes(self.file)?.int("to", 0));
                if real(found.dtype) && to_real { Ok(axes) } else { Err(refuse("which is no float".into())) }
            }
            Some("Reshape") => {
                let before: Vec<usize> =
                    axes.iter().filter_map(|&axis| found.shape.get(axis).copied()).collect();
                let target = hop.input(1).and_then(|name| self.integers(self.tensors.get(name)?));
                let same = target.is_some_and(|target| {
                    let known = |(&to, &from): (&i64, &usize)| to == 0 || i64::try_from(from) == Ok(to);
                    let open = target.iter().filter(|&&to| to == -1).count();
                    target.len() == before.len()
                        && open <= 1
                        && target.iter().zip(&before).all(|pair| *pair.0 == -1 || known(pair))
                });
                if same { Ok(axes) } else { Err(refuse("which gives it another shape".into())) }
            }
            _ => Ok(axes),
        }
    }

    /// The numbers of a list of `int64`, if it is a short one that is in the file.
    pub fn integers(&self, found: &Found) -> Option<Vec<i64>> {
        let bytes = self.bytes(found).filter(|bytes| found.dtype == Dtype::I64 && bytes.len() <= 64)?;
        Some(bytes.as_chunks().0.iter().map(|&eight| i64::from_le_bytes(eight)).collect())
    }

    /// The value of a single float.
    pub fn number(&self, found: &Found) -> Option<f64> {
        let bytes = self.bytes(found)?;
        match found.dtype {
            Dtype::F32 => bytes.try_into().ok().map(|bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F16 => bytes.try_into().ok().map(|bytes| half::f16::from_le_bytes(bytes).to_f64()),
            Dtype::BF16 => bytes.try_into().ok().map(|bytes| half::bf16::from_le_bytes(bytes).to_f64()),
            Dtype::F64 => bytes.try_into().ok().map(f64::from_le_bytes),
            _ => None,
        }
    }

    fn bytes(&self, found: &'a Found) -> Option<&'a [u8]> {
        match &found.place {
            Place::Here(place) => self.file.bytes.get(place.clone()),
            Place::Decoded(bytes) => Some(bytes),
            Place::Steps { .. } | Place::Beside { .. } => None,
        }
    }
}

/// `axes` as `node`, a `Transpose`, leaves them; `None` when its permutation is none.
pub(super) fn permuted<T: Copy>(node: &Node<'_>, file: File<'_>, axes: &[T]) -> Result<Option<Vec<T>>> {
    let attributes = node.attributes(file)?;
    let Some(order) = attributes.ints("perm") else {
        return Ok(Some(axes.iter().rev().copied().collect()));
    };
    let mut left: Vec<Option<T>> = axes.iter().copied().map(Some).collect();
    if order.len() != left.len() {
        return Ok(None);
    }
    let take = |&from: &i64| usize::try_from(from).ok().and_then(|from| left.get_mut(from)?.take());
    Ok(order.iter().map(take).collect())
}

/// Whether `TensorProto.DataType` number `kind` holds the values of a network.
pub(super) fn is_float(kind: i64) -> bool {
    matches!(kind, 1 | 10 | 11 | 16)
}

/// The error that two things have the name `name`.
pub(super) fn twice(file: File<'_>, name: &str) -> Error {
    Error::new(Kind::Weights, format!("{} names `{}` twice", file.path.display(), shorten(name)))
        .help("which of the two is meant cannot be known; make the file again")
}

/// The error that `node` is not of a VGG; `why` follows the node's name.
pub(super) fn not_vgg(file: File<'_>, node: &Node<'_>, why: impl fmt::Display) -> Error {
    no_vgg(file, format!("the node {} {why}", node.label()))
}

/// The error that the graph is no VGG, for `why`.
pub(super) fn no_vgg(file: File<'_>, why: impl fmt::Display) -> Error {
    Error::new(Kind::Weights, format!("{} is not a VGG: {why}", file.path.display())).help(
        "vgg-ft reads networks of 3x3 convolutions (with ReLU, and batch normalisation between), \
         2x2 max pooling and dense layers",
    )
}
