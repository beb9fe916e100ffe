//! The mean of a whole map, and its backward pass, which spreads a gradient evenly over the map.
//!
//! A job is an image: its map is read once, from front to back, and every channel's sum is in the order of the pixels,
//! as on a GPU.

use super::simd::widest;
use super::workshop::Workshop;
use crate::shape::GlobalPool2d;

/// `y[n,c] = Σ_{i,j} x[n,i,j,c] / (h·w)`.
pub fn global_avgpool2d_forward(shop: &Workshop, geometry: GlobalPool2d, x: &[f32], y: &mut [f32]) {
    if y.is_empty() {
        return;
    }
    let map = geometry.pixels() * geometry.c;
    let jobs = y.chunks_exact_mut(geometry.c).enumerate();
    shop.threads.each(jobs, |(n, y)| mean(&x[n * map..][..map], geometry.pixels() as f32, y));
}

/// `dx[n,i,j,c] = dy[n,c] / (h·w)`.
pub fn global_avgpool2d_backward(shop: &Workshop, geometry: GlobalPool2d, dy: &[f32], dx: &mut [f32]) {
    if dx.is_empty() {
        return;
    }
    let jobs = dx.chunks_exact_mut(geometry.pixels() * geometry.c).zip(dy.chunks_exact(geometry.c));
    shop.threads.each(jobs, |(map, dy)| spread(dy, geometry.pixels() as f32, map));
}

widest! {
    fn mean(map: &[f32], pixels: f32, y: &mut [f32]) {
        y.fill(0.0);
        for pixel in map.chunks_exact(y.len()) {
            for (sum, x) in y.iter_mut().zip(pixel) {
                *sum += x;
            }
        }
        for sum in y {
            *sum /= pixels;
        }
    }
}

widest! {
    fn spread(dy: &[f32], pixels: f32, map: &mut [f32]) {
        for pixel in map.chunks_exact_mut(dy.len()) {
            for (dx, dy) in pixel.iter_mut().zip(dy) {
                *dx = dy / pixels;
            }
        }
    }
}
