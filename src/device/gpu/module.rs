//! The PTX that ships: what `build.rs` found or made, as tables.
//!
//! In: nothing at run time; `build.rs` writes the table from `kernels/` (`scripts/ptx` makes the text).
//! Out: for an entry's name and a GPU, the module to load and what the entry takes.

use super::tried;
use crate::device::Precision;

// MODULES: a static slice of `Module`, in the order of file names, with the texts inside the program.
// SOURCES: path and text of every kernel file and header.
include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

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
    /// Whether it waits for the kernel before it (`griddepcontrol.wait`), and so may be launched before that has ended.
    pub awaits: bool,
}

/// One parameter of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Bytes.
    pub size: u32,
    /// Bytes; the parameter begins at a multiple of it.
    pub align: u32,
}

impl Module {
    /// Whether a GPU of this compute capability (90 for 9.0) can run it: PTX is good for its target and
    /// all later ones, but `sm_90a` for exactly 9.0.
    pub fn runs_on(&self, capability: u32) -> bool {
        match self.capability() {
            Some((target, false)) => target <= capability,
            Some((target, true)) => target == capability,
            None => false,
        }
    }

    /// Whether it is for one capability alone: faster there, and never the only one.
    pub fn is_special(&self) -> bool {
        self.capability().is_some_and(|(_, alone)| alone)
    }

    /// The numbers of its tensor cores, by its name (`conv2d_tf32x3`); of most none.
    pub fn precision(&self) -> Option<Precision> {
        self.name.split('_').find_map(|part| part.parse().ok().filter(|&it| it != Precision::F32))
    }

    /// 90 and whether it is for that one alone.
    fn capability(&self) -> Option<(u32, bool)> {
        let number = self.target.strip_prefix("sm_")?;
        let plain = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
        Some((plain.parse().ok()?, plain.len() < number.len()))
    }
}

/// The entry `name` in the newest module that a GPU of this compute capability (90 for 9.0) can run.
pub fn find(name: &str, capability: u32) -> Option<(&'static Module, &'static Entry)> {
    MODULES
        .iter()
        .filter(|module| module.runs_on(capability))
        .filter_map(|module| Some((module, module.entries.iter().find(|entry| entry.name == name)?)))
        .max_by_key(|(module, _)| module.capability())
}

/// The module that `entry` is of, if it is one of those that ship.
pub fn of(entry: &Entry) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.entries.as_ptr_range().contains(&std::ptr::from_ref(entry)))
}

/// The oldest GPU that any of our kernels runs on: 75 for 7.5.
pub fn least_capability() -> u32 {
    MODULES.iter().filter_map(Module::capability).map(|(target, _)| target).min().unwrap_or(u32::MAX)
}

/// `kernels/window.cuh` of `kernels/ladder/../window.cuh`, as the PTX names what is included from above.
pub fn plain_path(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        if part == ".." && !parts.is_empty() {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// A line (from 1) of a kernel's source, without its margin.
pub fn source_line(path: &str, line: u32) -> Option<&'static str> {
    let path = plain_path(path);
    let shipped = || SOURCES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text);
    let text = tried::source(&path).or_else(shipped)?;
    text.lines().nth((line as usize).checked_sub(1)?).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_good_for_later_cards_and_a_letter_for_one() {
        let module = |target| Module { name: "", target, text: "", canonical: true, entries: &[] };
        let on = |target| [75, 80, 90, 100].map(|card| module(target).runs_on(card));
        assert_eq!(on("sm_75"), [true, true, true, true]);
        assert_eq!(on("sm_80"), [false, true, true, true]);
        assert_eq!(on("sm_90a"), [false, false, true, false]);
        assert!(module("sm_90a").capability() > module("sm_90").capability());
    }

    #[test]
    fn modules_of_tensor_cores_say_their_numbers_and_entries_their_module() {
        let named = |name: &str| MODULES.iter().find(|module| module.name == name).unwrap();
        assert_eq!(named("conv2d_tf32x3").precision(), Some(Precision::Tf32x3));
        assert_eq!(named("dense_bf16").precision(), Some(Precision::Bf16));
        assert_eq!(named("conv2d_winograd_product").precision(), None);
        for module in MODULES {
            assert!(
                module.entries.iter().all(|entry| std::ptr::eq(of(entry).unwrap(), module)),
                "{}",
                module.name
            );
        }
        let foreign = Entry { ..named("dense").entries[0] };
        assert!(of(&foreign).is_none());
    }

    #[test]
    fn every_kernel_of_hopper_waits_for_the_one_before_it() {
        let mut count = 0;
        for module in MODULES.iter().filter(|module| !module.name.starts_with("ladder/")) {
            let hopper = module.target.starts_with("sm_90");
            for entry in module.entries {
                assert_eq!(entry.awaits, hopper, "{} of {}.{}", entry.name, module.name, module.target);
                count += usize::from(entry.awaits);
            }
        }
        assert!(count > 60, "only {count}");
        // And is the one that a GPU of 9.0 gets.
        assert!(find("rmsprop_step", 90).is_some_and(|(_, entry)| entry.awaits));
        assert!(find("rmsprop_step", 89).is_some_and(|(_, entry)| !entry.awaits));
    }

    #[test]
    fn sources_are_shown_by_the_names_that_the_ptx_has() {
        for module in MODULES {
            let path = format!("kernels/{}.cu", module.name);
            assert!(SOURCES.iter().any(|(name, _)| *name == path), "{path}");
            let files =
                module.text.lines().filter_map(|line| line.trim().strip_prefix(".file")?.split('"').nth(1));
            // The compiler's own stand in angle brackets.
            let ours: Vec<_> = files.filter(|file| !file.starts_with('<')).collect();
            assert!(ours.iter().any(|file| plain_path(file) == path), "{path}: {ours:?}");
            for file in ours {
                assert!(source_line(file, 1).is_some(), "{file}, which the PTX of {path} names");
            }
        }
        let plain = source_line("kernels/window.cuh", 1);
        assert!(plain.is_some() && plain == source_line("kernels/ladder/../window.cuh", 1));
        assert_eq!(source_line("kernels/params.cuh", 0), None);
        assert_eq!(source_line("kernels/params.cuh", 100_000), None);
    }

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '#')
    }

    /// Whether a file has `entry`, plainly or put together by a macro of a file that it includes:
    /// `conv2d_forward_##NAME` of a `NAME` that it says.
    fn says(text: &str, entry: &str) -> bool {
        let included = SOURCES.iter().filter(|(name, _)| {
            name.strip_prefix("kernels/").is_some_and(|name| text.contains(&format!("\"{name}\"")))
        });
        let pasted = |word: &str| {
            let mut parts = word.split("##");
            let (before, after) = (parts.next().unwrap(), parts.nth(1).unwrap_or_default());
            let name = entry.strip_prefix(before).and_then(|name| name.strip_suffix(after));
            word.contains("##") && name.is_some_and(|name| words(text).any(|word| word == name))
        };
        words(text).any(|word| word == entry) || included.flat_map(|(_, text)| words(text)).any(pasted)
    }

    #[test]
    fn every_entry_is_in_the_source_of_its_module() {
        for module in MODULES {
            let path = format!("kernels/{}.cu", module.name);
            let (_, text) = SOURCES.iter().find(|(name, _)| *name == path).unwrap();
            for entry in module.entries {
                assert!(says(text, entry.name), "{} in {path}", entry.name);
            }
        }
        let text = "#include \"conv2d_entries.cuh\"\nMADE(bf16_64x64x64)";
        assert!(says(text, "conv2d_forward_bf16_64x64x64") && says(text, "MADE"));
        assert!(!says(text, "conv2d_forward_bf16_64x64x32") && !says(text, "conv2d_forward"));
    }

    #[test]
    fn every_entry_is_found_in_its_file() {
        for module in MODULES {
            assert!(module.text.contains(".version"), "{} has no text", module.name);
            for entry in module.entries {
                // Whatever the target, a GPU of that very capability finds it, in a file of that name.
                let card = module.capability().map_or(0, |(card, _)| card);
                let found = find(entry.name, card).map(|(module, entry)| (module.name, entry.name));
                assert_eq!(found, Some((module.name, entry.name)));
            }
        }
    }
}
