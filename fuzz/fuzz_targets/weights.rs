//! Any bytes as a file of weights: safetensors, HDF5, `.keras`, `.pth`, ONNX.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vgg_ft::weights::read_and_forget(bytes);
});
