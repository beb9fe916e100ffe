//! The tensor that a value stands for: a call of one of PyTorch's `_rebuild_…` functions in, type, shape and
//! place out.
//!
//! Types are those of the storages. A tensor has no more elements than its storage, so that a small file
//! cannot claim a giant; its farthest element is within the storage.

use super::Checkpoint;
use super::value::{Id, Pickle, Value};
use crate::error::{Error, Kind, Result};
use crate::weights::contents::{Found, Place};
use crate::weights::header::MAX_RANK;
use crate::weights::unzip::shorten;
use safetensors::Dtype;
use std::ops::Range;

/// A parameter around a subclass around a tensor has three.
const MAX_WRAPPERS: usize = 8;
const RESAVE: &str = "load the file in PyTorch and save the tensor again as `tensor.detach().clone()`";

/// A call that makes a tensor: the last part of the function's name, and what it is given.
pub(super) struct Rebuild<'p, 'a> {
    function: &'a str,
    args: &'p [Id],
}

/// The call that makes the tensor `id`, with parameters and subclasses unwrapped; `None` if it is no tensor.
pub(super) fn rebuild<'p, 'a>(pickle: &'p Pickle<'a>, mut id: Id) -> Option<Rebuild<'p, 'a>> {
    for _ in 0..MAX_WRAPPERS {
        let call = pickle.call(id)?;
        let args = pickle.tuple(call.args)?;
        match pickle.global(call.callee)? {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter" | "Buffer") => id = *args.first()?,
            ("torch._tensor" | "torch.tensor", "_rebuild_from_type_v2") => {
                let &[function, _class, args, ..] = args else { return None };
                let ("torch._utils", function) = pickle.global(function)? else { return None };
                let args = pickle.tuple(args)?;
                if !matches!(function, "_rebuild_parameter" | "_rebuild_parameter_with_state") {
                    return Some(Rebuild { function, args });
                }
                id = *args.first()?;
            }
            ("torch._utils", function) if function.starts_with("_rebuild_") => {
                return Some(Rebuild { function, args });
            }
            // PyTorch 0.1 made an empty tensor and set its state.
            ("torch", class) if class.ends_with("Tensor") && args.is_empty() => {
                return Some(Rebuild { function: "_rebuild_tensor", args: pickle.tuple(call.state?)? });
            }
            _ => return None,
        }
    }
    None
}

/// Type, shape and place of the tensor that `rebuild` makes.
///
/// # Errors
/// [`Kind::Weights`] when it is of a kind that has no dense numbers, or lies outside of its storage.
pub(super) fn found(file: &Checkpoint<'_>, name: &str, rebuild: &Rebuild<'_, '_>) -> Result<Found> {
    let tensor = Tensor { file, name };
    let Rebuild { function, args } = rebuild;
    let pickle = &file.pickle;
    let (dtype, metadata) = match *function {
        "_rebuild_tensor" => (None, None),
        "_rebuild_tensor_v2" => (None, args.get(6)),
        "_rebuild_tensor_v3" => (args.get(6), args.get(7)),
        _ => return Err(tensor.no_dense_numbers(function)),
    };
    let &[storage, first, shape, strides, ..] = *args else {
        return Err(tensor.damaged("it is made of too little"));
    };
    // The metadata are the bits that say "conjugated" and "negated": the numbers are not the stored ones.
    let is_set = |&id: &Id| match pickle.get(id) {
        Value::Other => false,
        Value::Dict(bits) => !bits.is_empty(),
        _ => true,
    };
    if metadata.is_some_and(is_set) {
        return Err(tensor.wrong("is kept conjugated or negated").help(RESAVE));
    }
    let storage = tensor.storage(storage)?;
    let dtype = match dtype {
        Some(&id) => tensor.dtype(id)?,
        None => storage.dtype,
    };
    let shape = tensor.sizes(shape).ok_or_else(|| tensor.damaged("its shape is no list of sizes"))?;
    let strides = tensor.sizes(strides).filter(|strides| strides.len() == shape.len());
    let strides = strides.ok_or_else(|| tensor.damaged("its strides do not fit its shape"))?;
    let first = pickle.size(first).ok_or_else(|| tensor.damaged("its offset is no number"))?;
    let place = tensor.place(storage.bytes, dtype, &shape, first, strides)?;
    Ok(Found { name: name.to_owned(), dtype, shape, place })
}

struct Storage {
    dtype: Dtype,
    bytes: Range<usize>,
}

/// The tensor that is being looked at, for the errors.
struct Tensor<'f> {
    file: &'f Checkpoint<'f>,
    name: &'f str,
}

impl Tensor<'_> {
    fn wrong(&self, what: &str) -> Error {
        let (name, path) = (shorten(self.name), self.file.path.display());
        Error::new(Kind::Weights, format!("the tensor `{name}` in {path} {what}"))
    }

    fn damaged(&self, reason: &str) -> Error {
        self.wrong("makes no sense")
            .fact("reason", reason)
            .help("the file is damaged; fetch or make it again")
    }

    fn no_dense_numbers(&self, function: &str) -> Error {
        match function {
            "_rebuild_qtensor" => self.wrong("is quantized").help("dequantize the model before you save it"),
            "_rebuild_sparse_tensor" => self.wrong("is sparse").help("save it as `tensor.to_dense()`"),
            "_rebuild_meta_tensor_no_storage" => self
                .wrong("has no numbers: it is on the device `meta`")
                .help("load the weights before you save"),
            other => self.wrong("is of an unknown kind").fact("made by", shorten(other)).help(RESAVE),
        }
    }

    /// The storage that `id` stands for: `("storage", class, key, device, elements, view)`.
    fn storage(&self, id: Id) -> Result<Storage> {
        let pickle = &self.file.pickle;
        let damaged = || self.damaged("its storage is not described as torch.save does");
        let parts = StorageId::read(pickle, id).ok_or_else(damaged)?;
        if parts.is_view {
            return Err(self.wrong("lies in a part of another storage").help(RESAVE));
        }
        let class = parts.class;
        let dtype = storage_dtype(class).ok_or_else(|| {
            self.wrong("has a type that cannot be read")
                .fact("storage", shorten(class))
                .help("save it as a float tensor (`tensor.float()`)")
        })?;
        let bytes = self.file.storages.get(parts.key).cloned().ok_or_else(|| {
            self.wrong("has no numbers in the file")
                .fact("storage", shorten(parts.key))
                .help("the file was not written completely; fetch or make it again")
        })?;
        let size = parts.elements.checked_mul(dtype.bitsize() / 8);
        if size != Some(bytes.len()) {
            return Err(self
                .wrong("has a storage of another size")
                .expected_got(
                    format!("{} elements of {dtype}", parts.elements),
                    format!("{} bytes", bytes.len()),
                )
                .help("the file is damaged; fetch or make it again"));
        }
        Ok(Storage { dtype, bytes })
    }

    /// The type that is given by its name, `torch.float8_e4m3fn`.
    fn dtype(&self, id: Id) -> Result<Dtype> {
        let (module, name) = self.file.pickle.global(id).unwrap_or_default();
        let dtype = if module == "torch" { named_dtype(name) } else { None };
        dtype.ok_or_else(|| {
            self.wrong("has a type that cannot be read")
                .fact("type", shorten(name))
                .help("save it as a float tensor (`tensor.float()`)")
        })
    }

    /// A tuple, list or `torch.Size` of at most [`MAX_RANK`] numbers.
    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let pickle = &self.file.pickle;
        let id = match pickle.call(id) {
            Some(call) if pickle.global(call.callee) == Some(("torch", "Size")) => {
                *pickle.tuple(call.args)?.first()?
            }
            Some(_) => return None,
            None => id,
        };
        let ids = pickle.sequence(id).filter(|ids| ids.len() <= MAX_RANK)?;
        ids.iter().map(|&id| pickle.size(id)).collect()
    }

    /// Where the elements lie in the storage, which has them all.
    fn place(
        &self,
        storage: Range<usize>,
        dtype: Dtype,
        shape: &[usize],
        first: usize,
        strides: Vec<usize>,
    ) -> Result<Place> {
        let size = dtype.bitsize() / 8;
        let has = storage.len() / size.max(1);
        if shape.contains(&0) {
            return Ok(Place::Here(storage.start..storage.start));
        }
        let elements = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        let Some(elements) = elements.filter(|&elements| elements <= has) else {
            return Err(self
                .wrong("has more elements than its storage")
                .expected_got(format!("at most {has}"), format!("{shape:?}"))
                .help(RESAVE));
        };
        let farthest = shape.iter().zip(&strides).try_fold(first, |at, (&axis, &stride)| {
            // No axis is empty here.
            at.checked_add((axis - 1).checked_mul(stride)?)
        });
        if farthest.is_none_or(|farthest| farthest >= has) {
            return Err(self
                .wrong("reaches beyond its storage")
                .expected_got(
                    format!("elements within {has}"),
                    format!("{shape:?} in steps of {strides:?} from {first}"),
                )
                .help("the file is damaged; fetch or make it again"));
        }
        if dense(shape, &strides) {
            // Within the storage: its farthest element is.
            let start = storage.start + first * size;
            return Ok(Place::Here(start..start + elements * size));
        }
        Ok(Place::Steps { storage, first, strides })
    }
}

/// Whether the elements lie side by side, slowest axis first. An axis of one may have any stride.
fn dense(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&axis, &stride)| {
        let fits = axis == 1 || stride == expected;
        expected *= axis;
        fits
    })
}

/// What a pickle says about a storage.
pub(super) struct StorageId<'a> {
    /// `FloatStorage`, `UntypedStorage`.
    pub class: &'a str,
    pub key: &'a str,
    pub elements: usize,
    is_view: bool,
}

impl<'a> StorageId<'a> {
    /// `None` when `id` is no storage.
    pub fn read(pickle: &Pickle<'a>, id: Id) -> Option<Self> {
        let &Value::Outside(parts) = pickle.get(id) else { return None };
        // The device comes fourth and does not matter. The zip format has no views.
        let &[tag, class, key, _device, elements, ref view @ ..] = pickle.tuple(parts)? else { return None };
        let ("torch" | "torch.storage", class) = pickle.global(class)? else { return None };
        let is_view = view.first().is_some_and(|&id| pickle.tuple(id).is_some());
        let (key, elements) = (pickle.name(key)?, pickle.size(elements)?);
        (pickle.name(tag)? == "storage").then_some(Self { class, key, elements, is_view })
    }

    /// Bytes per element; `None` for a class that is not known.
    pub fn element_size(&self) -> Option<usize> {
        match self.class {
            "ComplexDoubleStorage" => Some(16),
            "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => Some(1),
            "QInt32Storage" => Some(4),
            class => storage_dtype(class).map(|dtype| dtype.bitsize() / 8),
        }
    }
}

fn storage_dtype(class: &str) -> Option<Dtype> {
    Some(match class {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" | "UntypedStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        "ComplexFloatStorage" => Dtype::C64,
        _ => return None,
    })
}

/// The types that came after the typed storages.
fn named_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "float8_e5m2" => Dtype::F8_E5M2,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2fnuz" => Dtype::F8_E5M2FNUZ,
        "float8_e4m3fnuz" => Dtype::F8_E4M3FNUZ,
        "float8_e8m0fnu" => Dtype::F8_E8M0,
        _ => return None,
    })
}
