//! The PTX that ships: what `build.rs` found or made, as tables.

/// One file of kernels, compiled for one target.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// The `.cu` file without its ending: "dense".
    pub name: &'static str,
    /// What the text asks of a device: "sm_75".
    pub target: &'static str,
    /// The PTX.
    pub text: &'static str,
    /// Whether the text is the committed one (made by the pinned compiler) or the user's own build.
    pub canonical: bool,
    /// Its entries.
    pub entries: &'static [Entry],
}

/// A kernel's name and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `dense_forward`.
    pub name: &'static str,
    /// In order.
    pub params: &'static [Param],
    /// `__launch_bounds__`' first number, if the kernel has any.
    pub max_threads: Option<u32>,
    /// Bytes of shared memory declared in the kernel.
    pub static_shared: u32,
}

/// One parameter of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Bytes.
    pub size: u32,
    /// Bytes; the parameter begins at a multiple of it.
    pub align: u32,
}

/// All modules.
pub const MODULES: &[Module] = super::stub::MODULES; // until `build.rs` generates them

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    MODULES.iter().flat_map(|module| module.entries).find(|entry| entry.name == name)
}
