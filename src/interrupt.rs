//! Ctrl-C and SIGTERM as a flag that long work looks at between two pieces, so that it can leave
//! nothing half-written behind. A second signal ends the process at once.

use crate::error::{Error, Kind, Result};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler; called once by `main`. Libraries that embed the engine need not.
///
/// # Errors
/// [`Kind::Device`] when the operating system refuses the handler.
pub fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        // A closed stderr must not end the thread that waits for the second signal.
        let _ = writeln!(
            std::io::stderr(),
            "\nstopping after the piece of work in hand; press Ctrl-C again to stop at once"
        );
    })
    .map_err(|e| Error::new(Kind::Device, "cannot listen for Ctrl-C").fact("reason", e))
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
