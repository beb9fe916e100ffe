//! The one error of the engine: what went wrong, expected and got, where, and what to do.
//!
//! In: facts from whoever found the fault. Out: text for a person (`Display`, several lines), a line of JSON for a
//! program, and an exit code for the shell. Rising through a room adds one line of context ([`Context`]).

use serde_json::{Map, Value, json};
use std::fmt;
use std::path::Path;

/// What family a failure belongs to. Tests match on it; people read the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The command is wrong: unknown or conflicting options, or a path that is missing or not what it should be; what a
    /// configuration file says counts as typed. Exit code 2.
    Usage,
    /// Images, folders, features: what the user gave us to learn from.
    Data,
    /// A weights file is missing, damaged or of another network.
    Weights,
    /// Axes or sizes that do not fit each other.
    Shape,
    /// The device refused: missing driver, out of memory, failed launch.
    Device,
    /// The operating system refused: permission, full disk, missing file.
    Io,
    /// Numbers left the finite world (a NaN loss).
    Numeric,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// A failure with everything that is needed to act on it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    facts: Vec<(String, String)>,
    context: Vec<String>,
    help: Option<String>,
}

/// `Result` with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error; `message` is one line that names the thing, without a full stop. Names in it may hold line ends, which
    /// are written as in a string.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.contains('\n') {
            message = message.replace('\n', "\\n");
        }
        Self(Box::new(Inner { kind, message, facts: Vec::new(), context: Vec::new(), help: None }))
    }

    /// A mistake of ours, that no input should lead to.
    pub fn bug(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(kind, message)
            .help("this is a bug in vgg-ft; please report it, with the command that led here")
    }

    /// What the operating system said about `path` while we tried to `verb` it ("read", "write" …).
    pub fn io(verb: &str, path: &Path, error: &std::io::Error) -> Self {
        let out = Self::new(Kind::Io, format!("cannot {verb} {}", path.display())).fact("reason", error);
        match error.kind() {
            std::io::ErrorKind::NotFound => out.help("check the path"),
            std::io::ErrorKind::PermissionDenied => {
                out.help("check the permissions, or choose another folder")
            }
            std::io::ErrorKind::ReadOnlyFilesystem => {
                out.help("nothing can be written there: choose a folder on another file system")
            }
            std::io::ErrorKind::InvalidFilename => out.help("choose a shorter name"),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                out.help("free some space, or choose a folder on another disk")
            }
            std::io::ErrorKind::OutOfMemory => {
                out.help("close other programs, or raise the limit of memory (ulimit -v)")
            }
            // Of the process and of the system; the same numbers on Linux and the BSDs.
            _ if cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)) => {
                out.help("close other programs, or raise the limit of open files (ulimit -n)")
            }
            std::io::ErrorKind::FileTooLarge => out.help(
                "raise the limit of a file's size (ulimit -f), or choose a folder on another file system",
            ),
            _ => out,
        }
    }

    /// The system gives no thread for `what` ("that reads stdin").
    pub fn thread(what: &str, error: &std::io::Error) -> Self {
        Self::new(Kind::Io, format!("cannot start the thread {what}"))
            .fact("reason", error)
            .help("close other programs, or raise the limits of processes and of memory (ulimit -u, -v)")
    }

    /// Adds a named fact, printed under the message ("expected", "got", a tensor's name …).
    #[must_use]
    pub fn fact(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.facts.push((name.into(), value.to_string()));
        self
    }

    /// The pair that most errors need.
    #[must_use]
    pub fn expected_got(self, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        self.fact("expected", expected).fact("got", got)
    }

    /// What the user can do about it; printed last.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Another cure beside the one that is there, if there is one.
    #[must_use]
    pub fn or_help(self, other: &str) -> Self {
        match self.0.help.clone() {
            Some(help) => self.help(format!("{help}; or {other}")),
            None => self.help(other),
        }
    }

    /// What was being done, in words that follow "while" ("reading cats/7.jpg").
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.0.context.push(doing.into());
        self
    }

    /// The same failure of another family.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The family of the failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The first line alone, for lists of many failures.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The first line and the reason, if it has one, for lists of many failures.
    pub fn line(&self) -> String {
        let reason = self.0.facts.iter().find(|(name, _)| name == "reason");
        let message = &self.0.message;
        in_one_line(&reason.map_or_else(|| message.clone(), |(_, reason)| format!("{message}: {reason}")))
    }

    /// For stderr: lines that begin with `error: `; with `json` one line, an object `error`. Values of facts with one name
    /// are lines of one there.
    pub fn told(&self, json: bool) -> String {
        if !json {
            return visible(&format!("error: {self}"));
        }
        let mut facts = Map::new();
        for (name, value) in &self.0.facts {
            let before = facts.get(name).and_then(Value::as_str).map(|before| format!("{before}\n{value}"));
            facts.insert(name.clone(), before.unwrap_or_else(|| value.clone()).into());
        }
        let Inner { kind, message, context, help, .. } = &*self.0;
        let kind = format!("{kind:?}").to_lowercase();
        json!({ "error": { "kind": kind, "message": message, "facts": facts, "while": context, "help": help } })
            .to_string()
    }

    /// 2 for what was typed, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        if self.0.kind == Kind::Usage { 2 } else { 1 }
    }
}

/// Whether a terminal or a page would obey a character instead of showing it: control characters, ends of lines, and what
/// turns the direction of the text behind it.
pub fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Text of several lines for a terminal: what it would obey, which may stand in names of files and classes, is written as
/// in a string.
pub fn visible(text: &str) -> String {
    escaped(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// A name, or text with names in it, that is to stay in its line or its cell, whatever is in it.
pub fn in_one_line(text: &str) -> String {
    escaped(text, is_obeyed)
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    let shown = |c: char| if which(c) { c.escape_debug().to_string() } else { c.to_string() };
    if text.contains(&which) { text.chars().map(shown).collect() } else { text.to_owned() }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message)?;
        let width = self.0.facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.0.facts {
            // A value of several lines keeps its margin.
            let value = value.replace('\n', &format!("\n  {:width$}  ", ""));
            write!(f, "\n  {name:width$}  {value}")?;
        }
        for doing in &self.0.context {
            write!(f, "\n  while {doing}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}] {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Adds a line of context to a failure on its way up.
pub trait Context<T> {
    /// `doing` follows the word "while".
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_names() {
        let error = Error::new(Kind::Data, "a\u{1b}[2Jb.png is empty").fact("in", "x\ry\nz");
        assert_eq!(error.told(false), "error: a\\u{1b}[2Jb.png is empty\n  in  x\\ry\n      z");
        let error = Error::new(Kind::Data, "a\nerror: b\u{202e}gnp.exe").fact("reason", "c\n d");
        assert_eq!(error.told(false).lines().next(), Some("error: a\\nerror: b\\u{202e}gnp.exe"));
        assert_eq!(error.line(), "a\\nerror: b\\u{202e}gnp.exe: c\\n d", "of a list");
        assert_eq!(in_one_line("a\tb\u{2028}ü\u{85}"), "a\\tb\\u{2028}ü\\u{85}");
        assert_eq!(visible("a\tb\nc"), "a\tb\nc");
    }

    #[test]
    fn an_error_reads_from_what_to_why_to_cure() {
        let error = Error::new(Kind::Shape, "conv2d: the input has 4 channels, the weight expects 3")
            .fact("x", "[8, 224, 224, 4]")
            .fact("weight", "[64, 3, 3, 3]")
            .help("VGG16 reads RGB")
            .context("classifying photos/cat.png");
        assert_eq!(
            error.to_string(),
            "conv2d: the input has 4 channels, the weight expects 3\n\
             \x20 x       [8, 224, 224, 4]\n\
             \x20 weight  [64, 3, 3, 3]\n\
             \x20 while classifying photos/cat.png\n\
             \x20 help: VGG16 reads RGB"
        );
        assert_eq!(
            error.told(true),
            "{\"error\":{\"facts\":{\"weight\":\"[64, 3, 3, 3]\",\"x\":\"[8, 224, 224, 4]\"},\"help\":\"VGG16 reads RGB\",\
             \"kind\":\"shape\",\"message\":\"conv2d: the input has 4 channels, the weight expects 3\",\
             \"while\":[\"classifying photos/cat.png\"]}}"
        );
        let twice = Error::new(Kind::Data, "x").fact("there", "a").fact("there", "b");
        assert!(twice.told(true).contains("{\"there\":\"a\\nb\"}"), "{}", twice.told(true));
        assert_eq!(error.exit_code(), 1);
        assert_eq!(Error::new(Kind::Usage, "x").exit_code(), 2);
    }
}
