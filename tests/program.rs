//! What a user does with the program and its files, in one program of tests: to link twenty takes minutes.
//! `cargo test --release --test program predict::` runs one of these files.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "support/skip.rs"]
mod skip;

#[path = "arrange.rs"]
mod arrange;
#[path = "awkward.rs"]
mod awkward;
#[path = "check.rs"]
mod check;
#[path = "cli.rs"]
mod cli;
#[path = "data.rs"]
mod data;
#[path = "export.rs"]
mod export;
#[path = "fed.rs"]
mod fed;
#[path = "fetch.rs"]
mod fetch;
#[path = "forbidden.rs"]
mod forbidden;
#[path = "json.rs"]
mod json;
#[path = "judged.rs"]
mod judged;
#[path = "lean.rs"]
mod lean;
#[path = "named.rs"]
mod named;
#[path = "options.rs"]
mod options;
#[path = "places.rs"]
mod places;
#[path = "pooling.rs"]
mod pooling;
#[path = "predict.rs"]
mod predict;
#[path = "report.rs"]
mod report;
#[path = "signals.rs"]
mod signals;
#[path = "weights_cli.rs"]
mod weights_cli;
