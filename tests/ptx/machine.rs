//! The emulator as tests of PTX texts want it: load a text, bytes in, launch, bytes out.
#![allow(dead_code)] // each test binary uses a part

use std::path::{Path, PathBuf};
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::launch::{Arg, Launch};
use vgg_ft::device::gpu::module::Entry;
use vgg_ft::device::{Cost, Dtype};
use vgg_ft::error::Result;

/// `tests/ptx/NAME` of this checkout, or of the folder in `VGG_FT_TEST_ROOT`: a bundle has no checkout.
pub fn folder(name: &str) -> PathBuf {
    let root =
        std::env::var_os("VGG_FT_TEST_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    root.join("tests/ptx").join(name)
}

/// The files of a folder with this ending, in order, with their text.
pub fn files(folder: &Path, ending: &str) -> Vec<(String, String)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Every committed kernel, the teaching ones too.
pub fn kernels() -> Vec<(String, String)> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx");
    let mut all = files(&kernels, "ptx");
    all.extend(files(&kernels.join("ladder"), "ptx"));
    assert!(all.len() >= 12, "only {} files in kernels/ptx", all.len());
    all
}

/// A machine with one text loaded.
pub struct Machine {
    pub emulator: Emulator,
}

impl Machine {
    pub fn new(options: Options, name: &str, text: &str) -> Result<Self> {
        let emulator = Emulator::new(options)?;
        emulator.load_text(name, text)?;
        Ok(Self { emulator })
    }

    pub fn upload(&self, bytes: &[u8]) -> Address {
        let at = self.emulator.alloc(Dtype::U8, bytes.len().max(1)).unwrap();
        self.emulator.write(at, bytes).unwrap();
        at
    }

    pub fn download(&self, at: Address, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.emulator.read(at, &mut bytes).unwrap();
        bytes
    }

    pub fn launch(&self, entry: &str, grid: u32, block: [u32; 3], shared: u32, args: Vec<Arg>) -> Result<()> {
        // A launch's entry is a static of the program; that of a test lives as long as the test.
        let name: &'static str = entry.to_owned().leak();
        let entry = Box::leak(Box::new(Entry {
            name,
            params: &[],
            max_threads: None,
            static_shared: 0,
            awaits: false,
        }));
        self.emulator.launch(&Launch {
            entry,
            grid: [grid, 1, 1],
            block,
            shared,
            args,
            cost: Cost::default(),
            compulsory: 0,
        })
    }
}

/// An argument that points to a buffer of 32-bit words.
pub fn pointer(name: &'static str, at: Address, len: usize) -> Arg {
    Arg::Pointer { name, at, dtype: Dtype::U32, len }
}
