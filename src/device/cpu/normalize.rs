//! Bytes of images become the network's input.

use super::simd::widest;
use super::threads::CHUNK;
use super::workshop::Workshop;
use crate::device::call::Normalize;

/// `y[row,c] = pixels[row,order[c]] * scale[c] + offset[c]`.
pub fn normalize(shop: &Workshop, rule: Normalize, pixels: &[u8], y: &mut [f32]) {
    shop.threads
        .each(y.chunks_mut(CHUNK * 3).zip(pixels.chunks(CHUNK * 3)), |(y, pixels)| chunk(rule, pixels, y));
}

widest! {
    fn chunk(rule: Normalize, pixels: &[u8], y: &mut [f32]) {
        let order = rule.order.map(|c| usize::from(c.min(2)));
        for (y, pixel) in y.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            for c in 0..3 {
                y[c] = f32::from(pixel[order[c]]) * rule.scale[c] + rule.offset[c];
            }
        }
    }
}
