//! The cpu device: Rust, SIMD by run-time detection, threads by rayon.
