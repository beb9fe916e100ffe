//! The command `vgg-ft`.

fn main() {}
