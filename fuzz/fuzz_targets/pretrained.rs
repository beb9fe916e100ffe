//! Any bytes as a network: what was read is understood, and all its numbers are asked for.
#![no_main]

use std::io::Write;
use vgg_ft::model::Pretrained;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let Ok(found) = Pretrained::open(file.path()) else { return };
    for (name, shape) in found.parameters() {
        let _ = found.tensor(&name, &shape);
    }
});
