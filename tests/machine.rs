//! The emulator, the texts that it runs, and the pages that are made of numbers, in one program of tests.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "support/skip.rs"]
mod skip;

#[path = "emulate.rs"]
mod emulate;
#[path = "hopper.rs"]
mod hopper;
#[path = "house.rs"]
mod house;
#[path = "ladder.rs"]
mod ladder;
#[path = "pixels.rs"]
mod pixels;
#[path = "predictions.rs"]
mod predictions;
#[path = "ptx_forms.rs"]
mod ptx_forms;
#[path = "ptx_fuzz.rs"]
mod ptx_fuzz;
#[path = "ptx_small.rs"]
mod ptx_small;
#[path = "ptx_wrong.rs"]
mod ptx_wrong;

// What several of them use.
#[path = "ptx/form.rs"]
mod form;
#[path = "ptx/machine.rs"]
mod machine;
mod support;
