//! Programs that a test stops: they hear Ctrl-C also where the tests run in the background of a script, whose shell
//! has everything it starts ignore it.

use std::process::Command;

/// `command`, with SIGINT as it is in the foreground.
#[cfg(unix)]
pub fn hears(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    let default = || {
        // SAFETY: SIGINT is a signal, and nothing is to be called for it.
        let former = unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        if former == libc::SIG_ERR { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec it calls `signal` alone, which may be called there.
    unsafe { command.pre_exec(default) }
}

/// There is no such thing.
#[cfg(not(unix))]
pub fn hears(command: &mut Command) -> &mut Command {
    command
}
