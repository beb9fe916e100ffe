//! Ctrl-C, SIGTERM, SIGHUP, and what batch systems send before their limits (SIGUSR1, SIGXCPU), as a flag that long
//! work looks at between two pieces, so that it can leave nothing half-written behind. A second signal ends the process
//! at once, unless it is SIGXCPU, which Linux repeats, or comes with the first: who ends a process and then its whole
//! group, as `timeout` does, means one end. Either way the exit code is the shell's for a process that a signal ended:
//! 128 and the signal's number. One that was ignored when the process began stays ignored.

use crate::error::{Error, Kind, Result};
#[cfg(any(target_os = "solaris", target_os = "illumos"))]
use libc::___errno as errno_location;
#[cfg(any(target_os = "openbsd", target_os = "netbsd", target_os = "android"))]
use libc::__errno as errno_location;
#[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "redox", target_os = "hurd"))]
use libc::__errno_location as errno_location;
#[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd", target_os = "dragonfly"))]
use libc::__error as errno_location;
use std::fmt::Display;
#[cfg(unix)]
use std::sync::atomic::AtomicI64;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
/// The number of the first signal.
static SIGNAL: AtomicI32 = AtomicI32::new(SIGINT);

/// When it came, in milliseconds.
#[cfg(unix)]
static SINCE: AtomicI64 = AtomicI64::new(0);
/// Signals that come within so many milliseconds mean one end.
#[cfg(unix)]
const ONE_END: i64 = 300;

/// Ctrl-C, on every system.
const SIGINT: i32 = 2;
const MESSAGE: &str = "\nstopping after the piece of work in hand; press Ctrl-C again to stop at once\n";

/// Installs the handler; called once by `main`. Libraries that embed the engine need not.
///
/// # Errors
/// [`Kind::Device`] when the operating system refuses the handler.
#[cfg(unix)]
pub fn install() -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGXCPU] {
        listen(signal).map_err(|e| deaf(&e))?;
    }
    // A file that outgrows `ulimit -f` is to be an error of its write, as a full disk is, and not the process' silent end.
    // SAFETY: SIGXFSZ is a signal that may be ignored, and no function of ours is to be called for it.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // Files are read through maps of memory; what is no longer behind one can only be said from here.
    // SAFETY: `lost` does nothing that a handler may not do, and does not come back.
    unsafe { libc::signal(libc::SIGBUS, lost as extern "C" fn(i32) as libc::sighandler_t) };
    Ok(())
}

#[cfg(unix)]
const LOST: &str = "\nerror: a file that was being read is shorter than it was (weights, features or cached images), or its disk failed\n  help: do not write over a file while vgg-ft uses it; look at the disk, and run the command again\n";

/// Runs in place of a read: write and _exit are all that is allowed here.
#[cfg(unix)]
extern "C" fn lost(_: i32) {
    // SAFETY: the pointer and the length are those of a constant; _exit does not come back.
    unsafe {
        libc::write(libc::STDERR_FILENO, LOST.as_ptr().cast(), LOST.len());
        libc::_exit(1)
    }
}

#[cfg(unix)]
fn listen(signal: i32) -> std::io::Result<()> {
    let done = |code: i32| if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    // SAFETY: sigaction is a struct of numbers and an optional function, for which zeros are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are null or to `action`, which outlives the call.
    done(unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) })?;
    if action.sa_sigaction == libc::SIG_IGN {
        // Under nohup the work goes on when the terminal goes; behind `&` in a script, at the Ctrl-C that ends the script.
        return Ok(());
    }
    action.sa_sigaction = heard as extern "C" fn(i32) as libc::sighandler_t;
    // Reads and writes that were under way go on by themselves.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the mask is a part of `action`; `heard` does nothing that a handler may not do.
    done(unsafe { libc::sigemptyset(&mut action.sa_mask) })?;
    // SAFETY: as above.
    done(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) })
}

/// On a clock that nobody sets.
#[cfg(unix)]
#[allow(clippy::unnecessary_cast)] // on some systems they are 32 bits
fn milliseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes a struct of numbers, and may be called by a handler.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as i64 * 1000 + now.tv_nsec as i64 / 1_000_000
}

/// Runs in the middle of anything: atomics, clock_gettime, write and _exit are all that is allowed here.
#[cfg(unix)]
extern "C" fn heard(signal: i32) {
    let now = milliseconds();
    if REQUESTED.load(Ordering::SeqCst) {
        // Linux repeats this one every second; it was heard the first time, and the hard limit kills.
        if signal == libc::SIGXCPU {
            return;
        }
        if now - SINCE.load(Ordering::SeqCst) < ONE_END {
            return;
        }
        // SAFETY: _exit takes any number and does not come back.
        unsafe { libc::_exit(128 + signal) }
    }
    SINCE.store(now, Ordering::SeqCst);
    SIGNAL.store(signal, Ordering::SeqCst);
    REQUESTED.store(true, Ordering::SeqCst);
    // What was interrupted may be about to read errno.
    // SAFETY: the thread's own errno.
    let errno = unsafe { *errno_location() };
    // SAFETY: the pointer and the length are those of a constant. A closed stderr is no reason not to stop.
    unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    // SAFETY: as above.
    unsafe {
        *errno_location() = errno;
    }
}

/// Installs the handler; called once by `main`. Libraries that embed the engine need not.
///
/// # Errors
/// [`Kind::Device`] when the operating system refuses the handler.
#[cfg(not(unix))]
pub fn install() -> Result<()> {
    use std::io::Write;
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit_code()));
        }
        // A closed stderr must not end the thread that waits for the second signal.
        let _ = std::io::stderr().write_all(MESSAGE.as_bytes());
    })
    .map_err(|e| deaf(&e))
}

fn deaf(reason: &dyn Display) -> Error {
    Error::new(Kind::Device, "cannot listen for Ctrl-C").fact("reason", reason).help(
        "a sandbox that forbids signal handlers must allow them: without, a stopped job would lose its work",
    )
}

/// What the process ends with after a stop: 128 and the signal's number, so 130 for Ctrl-C and 143 for SIGTERM.
pub fn exit_code() -> u8 {
    (128 + SIGNAL.load(Ordering::SeqCst)) as u8
}

/// The flag itself, for rooms that take one.
pub fn flag() -> &'static AtomicBool {
    &REQUESTED
}

/// An error of kind [`Kind::Interrupted`] once a stop was asked for.
///
/// # Errors
/// See above.
pub fn check() -> Result<()> {
    if REQUESTED.load(Ordering::Relaxed) {
        Err(Error::new(Kind::Interrupted, "stopped by the user"))
    } else {
        Ok(())
    }
}
