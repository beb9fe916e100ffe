//! What PyTorch has saved (`tests/golden/make_torch.py`), and files made by hand: read, damaged, refused.

mod golden;
mod hostile;

use super::*;
use crate::weights::contents::Place;
use safetensors::Dtype;

fn refusal(bytes: &[u8]) -> String {
    match read(Path::new("x.pth"), bytes) {
        Err(error) => error.to_string(),
        Ok(contents) => panic!("it was read: {contents:?}"),
    }
}

/// The bytes of a tensor, dense. Checks on the way what the reader promises.
fn dense(bytes: &[u8], tensor: &Found) -> Vec<u8> {
    let size = tensor.dtype.bitsize() / 8;
    let elements: usize = tensor.shape.iter().product();
    match &tensor.place {
        Place::Here(place) => {
            assert_eq!(place.len(), elements * size, "{}", tensor.name);
            bytes[place.clone()].to_vec()
        }
        Place::Steps { storage, first, strides } => {
            let storage = &bytes[storage.clone()];
            let mut out = Vec::new();
            for mut at in 0..elements {
                let mut element = *first;
                for (axis, stride) in tensor.shape.iter().zip(strides).rev() {
                    element += at % axis * stride;
                    at /= axis;
                }
                out.extend(&storage[element * size..][..size]);
            }
            out
        }
        other => panic!("{} is at {other:?}", tensor.name),
    }
}
