//! The command `vgg-ft`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    vgg_ft::cli::main()
}
