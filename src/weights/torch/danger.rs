//! The names by which a pickle makes Python run commands: known, so that the refusal can say what was tried.
//!
//! Safety does not rest on this list: no name is ever called, listed or not.

/// Modules that run what they are given, or from which that is one step. They have no place beside weights.
const MODULES: &[&str] = &[
    "_posixsubprocess",
    "asyncio",
    "bdb",
    "cProfile",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "imp",
    "importlib",
    "multiprocessing",
    "nt",
    "os",
    "pdb",
    "pip",
    "popen2",
    "posix",
    "profile",
    "pty",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "timeit",
    "webbrowser",
];
/// The same among Python's built-in functions.
const BUILTINS: &[&str] =
    &["__import__", "breakpoint", "compile", "eval", "exec", "execfile", "globals", "input", "open"];

/// Whether Python would run what the file wants by calling `module.name`.
pub(super) fn runs_code(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or_default();
    MODULES.contains(&root) || matches!(module, "builtins" | "__builtin__") && BUILTINS.contains(&name)
}
