//! PTX text, read and made ready to run.
