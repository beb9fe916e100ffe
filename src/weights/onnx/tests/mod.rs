//! What the tests share: files of the exporters, the weights they were given, and a look at what was read.

mod built;
mod damage;
mod golden;
mod net;
mod refused;
mod tensors;

use self::net::{Net, ROWS, flat, float, int, ints, one, pool, word};
use super::read;
use crate::error::Result;
use crate::weights::contents::{Contents, Found, Graph, GraphLayer, GraphOp, Order, Place};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Every ONNX file that is committed: of other tools, and ours.
fn all_files() -> Vec<PathBuf> {
    let folders = ["weights/onnx", "export"].map(|folder| fs::read_dir(golden(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

/// The tensors of a safetensors file.
fn truth(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(golden(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, view)| (name, floats(view.data()))).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
}

/// The numbers of the tensor `name` as the file has them, widened, and its shape.
fn values(path: &Path, bytes: &[u8], contents: &Contents, name: &str) -> (Vec<usize>, Vec<f32>) {
    let found = contents.tensors.iter().find(|found| found.name == name).unwrap();
    let beside;
    let data = match &found.place {
        Place::Here(place) => &bytes[place.clone()],
        Place::Decoded(data) => data,
        Place::Beside { file, bytes } => {
            beside = fs::read(path.with_file_name(file)).unwrap();
            &beside[bytes.start as usize..bytes.end as usize]
        }
        Place::Steps { .. } => panic!("ONNX has no strides"),
    };
    let values = match found.dtype {
        Dtype::F32 => floats(data),
        Dtype::F16 => data.as_chunks().0.iter().map(|&two| f16::from_le_bytes(two).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&two| bf16::from_le_bytes(two).to_f32()).collect(),
        other => panic!("{name} is of {other}"),
    };
    assert_eq!(values.len(), found.shape.iter().product::<usize>(), "{name}");
    (found.shape.clone(), values)
}

/// What must hold of anything that is read, however damaged the file was.
fn assert_sound(bytes: &[u8], contents: &Contents) {
    let mut names = HashSet::new();
    for Found { name, dtype, shape, place } in &contents.tensors {
        assert!(names.insert(name.as_str()), "{name} is there twice");
        let size = shape.iter().try_fold(dtype.bitsize() / 8, |size, &axis| size.checked_mul(axis)).unwrap();
        match place {
            Place::Here(place) => assert_eq!(bytes[place.clone()].len(), size, "{name}"),
            Place::Decoded(data) => assert_eq!(data.len(), size, "{name}"),
            Place::Beside { bytes, .. } => assert_eq!(bytes.end - bytes.start, size as u64, "{name}"),
            Place::Steps { .. } => panic!("ONNX has no strides"),
        }
    }
    let graph = contents.graph.as_ref().unwrap();
    assert!(!graph.layers.is_empty());
    for layer in &graph.layers {
        let norm = layer.norm.iter().flat_map(|norm| [&norm.scale, &norm.offset, &norm.mean, &norm.variance]);
        for name in [&layer.kernel].into_iter().chain(&layer.bias).chain(norm) {
            assert!(names.contains(name.as_str()), "{name}");
        }
    }
}

/// The first line of the error, the help and all else in one line.
fn refusal(bytes: &[u8]) -> String {
    match read(Path::new("x.onnx"), bytes) {
        Ok(contents) => panic!("read {:?}", contents.graph),
        Err(error) => error.to_string().replace('\n', " "),
    }
}

fn graph(bytes: &[u8]) -> Graph {
    let contents = read(Path::new("x.onnx"), bytes).unwrap();
    assert_sound(bytes, &contents);
    contents.graph.unwrap()
}

/// Reads a committed file.
fn read_file(path: &Path) -> (Vec<u8>, Result<Contents>) {
    let bytes = fs::read(path).unwrap();
    let contents = read(path, &bytes);
    (bytes, contents)
}

/// Random numbers (xorshift64*), the same every time.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

/// A kernel in Keras' layout, whatever its layer's is: HWIO, or in x out with the rows in the order H, W, C of
/// the image `[h, w, c]` that was flattened.
fn as_keras(
    layer: &GraphLayer,
    shape: &[usize],
    values: &[f32],
    flattened: Option<(Order, [usize; 3])>,
) -> Vec<f32> {
    match (layer.op, shape) {
        (GraphOp::Conv2d, &[o, i, h, w]) => {
            let mut out = vec![0.0; values.len()];
            for (n, &value) in values.iter().enumerate() {
                let (filter, channel, y, x) = (n / (i * h * w), n / (h * w) % i, n / w % h, n % w);
                out[((y * w + x) * i + channel) * o + filter] = value;
            }
            out
        }
        (GraphOp::Dense { outputs_first }, &[first, second]) => {
            let (inputs, outputs) = if outputs_first { (second, first) } else { (first, second) };
            let mut out = vec![0.0; values.len()];
            for input in 0..inputs {
                let row = match flattened {
                    Some((Order::ChannelsFirst, [h, w, c])) => {
                        let (channel, y, x) = (input / (h * w), input / w % h, input % w);
                        (y * w + x) * c + channel
                    }
                    _ => input,
                };
                for output in 0..outputs {
                    let n = if outputs_first { output * inputs + input } else { input * outputs + output };
                    out[row * outputs + output] = values[n];
                }
            }
            out
        }
        other => panic!("{other:?}"),
    }
}
