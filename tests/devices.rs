//! All tests that ask a device, in one program, which `scripts/gpu-bundle` takes to a machine with a GPU.
//! `cargo test --release --test devices kernels::` runs one of these files.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

#[macro_use]
#[path = "support/skip.rs"]
mod skip;

#[path = "augment.rs"]
mod augment;
#[path = "cuda.rs"]
mod cuda;
#[path = "golden_ops.rs"]
mod golden_ops;
#[path = "golden_training.rs"]
mod golden_training;
#[path = "golden_vgg.rs"]
mod golden_vgg;
#[path = "gradcam.rs"]
mod gradcam;
#[path = "gradients.rs"]
mod gradients;
#[path = "kernels.rs"]
mod kernels;
#[path = "kernels_dense.rs"]
mod kernels_dense;
#[path = "kernels_first.rs"]
mod kernels_first;
#[path = "kernels_half.rs"]
mod kernels_half;
#[path = "kernels_mma.rs"]
mod kernels_mma;
#[path = "kernels_sm90.rs"]
mod kernels_sm90;
#[path = "kernels_split.rs"]
mod kernels_split;
#[path = "kernels_tf32x3.rs"]
mod kernels_tf32x3;
#[path = "kernels_turned.rs"]
mod kernels_turned;
#[path = "kernels_winograd.rs"]
mod kernels_winograd;
#[path = "loss_scale.rs"]
mod loss_scale;
#[path = "precision.rs"]
mod precision;
#[path = "ptx_card.rs"]
mod ptx_card;
#[path = "whole_vgg.rs"]
mod whole_vgg;

// What several of them use.
#[path = "ptx/form.rs"]
mod form;
#[path = "ptx/machine.rs"]
mod machine;
#[path = "ptx/rows.rs"]
mod rows;
mod support;
