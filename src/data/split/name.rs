//! The parts of a data set by name: one set of words for folders, files of features, lists and messages.

use serde::Serialize;
use std::fmt;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Learned from.
    Train,
    /// Measured on after every epoch.
    Validation,
    /// Measured on once, at the end.
    Test,
}

impl Split {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
    /// Those that every epoch goes through.
    pub const EPOCH: [Self; 2] = [Self::Train, Self::Validation];

    /// What it is called in messages and files, and how it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// That of this very name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }

    /// Which one a list or a person means by `text`: `val`, `Training`.
    pub fn of_word(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "validation" | "val" | "valid" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// Names under which people keep its folder.
    pub(super) fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Validation => &["validation", "val", "valid"],
            Self::Test => &["test"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
