//! The line that a test owes for what it skips. The harness shows what tests print only when they fail; it does not see this.

/// `skipped: ` and the reason, as [`format!`] takes it.
macro_rules! skipped {
    ($($reason:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: {}", format_args!($($reason)*));
    }};
}
