//! What is refused, with which numbers; that maps survive their bytes; rounding and swizzles.

use super::*;

const BASE: Address = Address(0x7f00_0000_0100);

fn tile(base: u64, sizes: &[u64], strides: &[u64], window: &[u32], swizzle: Swizzle) -> Result<TensorMap> {
    TensorMap::tile(Dtype::Bf16, Address(base), sizes, strides, window, swizzle)
}

#[test]
fn what_the_driver_refuses_is_refused_with_numbers() {
    let wrong = |result: Result<TensorMap>, part: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(part), "{text} lacks {part}");
    };
    let good = |base| tile(base, &[64, 9], &[128], &[64, 8], Swizzle::B128);
    assert_eq!(good(BASE.0).unwrap().bytes(), 1024);
    wrong(good(BASE.0 + 8), "a multiple of 16");
    wrong(good(0), "a multiple of 16 above 0");
    wrong(tile(BASE.0, &[], &[], &[], Swizzle::None), "1 to 5");
    wrong(tile(BASE.0, &[64, 9], &[128], &[64], Swizzle::None), "another number of dimensions");
    wrong(tile(BASE.0, &[64, 9], &[], &[64, 8], Swizzle::None), "number of strides");
    wrong(tile(BASE.0, &[64, 9], &[120], &[64, 8], Swizzle::None), "120");
    wrong(tile(BASE.0, &[64, 9], &[1 << 40], &[64, 8], Swizzle::None), "below 2^40");
    wrong(tile(BASE.0, &[64, 0], &[128], &[64, 8], Swizzle::None), "dimension 1");
    wrong(tile(BASE.0, &[64, 9], &[128], &[64, 257], Swizzle::None), "257");
    wrong(tile(BASE.0, &[64, 9], &[128], &[0, 8], Swizzle::None), "1 to 256");
    wrong(tile(BASE.0, &[64, 9], &[128], &[4, 8], Swizzle::None), "a multiple of 16 bytes");
    wrong(tile(BASE.0, &[64, 9], &[128], &[64, 8], Swizzle::B64), "at most 64 bytes");
    wrong(tile(BASE.0, &[64, 9], &[128], &[32, 8], Swizzle::B32), "at most 32 bytes");

    let pixels = |lower: &[i32], upper: &[i32], box_: [u32; 2]| {
        let (sizes, strides) = ([64, 9, 9, 2], [128, 1152, 10368]);
        TensorMap::im2col(Dtype::Bf16, BASE, &sizes, &strides, lower, upper, box_, Swizzle::B128)
    };
    assert_eq!(pixels(&[-1, -1], &[-1, -1], [64, 128]).unwrap().bytes(), 16384);
    wrong(pixels(&[-129, -1], &[-1, -1], [64, 128]), "-128 to 127");
    wrong(pixels(&[-1], &[-1, -1], [64, 128]), "the lower corner");
    wrong(pixels(&[-1, -1], &[-1, 128], [64, 128]), "the upper corner's offset 1");
    wrong(pixels(&[0, 0], &[-9, -1], [64, 128]), "base pixels along spatial dimension 0");
    wrong(pixels(&[-1, -1], &[-1, -1], [64, 1025]), "1 to 1024");
    wrong(pixels(&[-1, -1], &[-1, -1], [257, 8]), "1 to 256");
    wrong(pixels(&[-1, -1], &[-1, -1], [128, 8]), "at most 128 bytes");
}

#[test]
fn what_is_encoded_is_decoded_again() {
    let tile = tile(BASE.0, &[64, 1 << 32, 7], &[128, 1 << 39], &[64, 256, 2], Swizzle::B128).unwrap();
    assert_eq!(TensorMap::decode(&tile.encode()), Some(tile));
    let (sizes, strides) = ([512, 9, 8, 7, 2], [1024, 9216, 73728, 516_096]);
    let corners: [&[i32]; 2] = [&[-1, -2, -16], &[15, -1, 0]];
    let [lower, upper] = corners;
    let pixels =
        TensorMap::im2col(Dtype::F32, BASE, &sizes, &strides, lower, upper, [16, 1024], Swizzle::B64)
            .unwrap();
    assert_eq!(TensorMap::decode(&pixels.encode()), Some(pixels));
    let rounding = pixels.rounding().unwrap();
    assert!(rounding != pixels && TensorMap::decode(&rounding.encode()) == Some(rounding));
    assert_eq!(TensorMap::decode(&[0; BYTES]), None);
}

#[test]
fn only_f32_is_rounded_and_to_the_nearest_even() {
    let half = tile(BASE.0, &[64, 9], &[128], &[64, 8], Swizzle::B128).unwrap();
    assert!(half.rounding().unwrap_err().to_string().contains("F32"));
    let one = 1f32.to_bits();
    for (bits, want) in [
        (one | 0xfff, one),                                 // below half a unit
        (one | 0x1000, one),                                // half: down to the even one
        (one | 0x3000, one + 0x4000),                       // half: up to the even one
        (one | 0x1001, one + 0x2000),                       // above half
        (one | 0x7f_ffff, 2f32.to_bits()),                  // carries into the exponent
        (f32::MAX.to_bits(), f32::INFINITY.to_bits()),      // and out of the last one
        (1 << 31 | one | 0x1fff, 1 << 31 | (one + 0x2000)), // the same below zero
        (f32::INFINITY.to_bits(), f32::INFINITY.to_bits()),
        (0x7f80_0001, 0x7f80_0001), // no number stays none
    ] {
        assert_eq!(to_tf32(bits), want, "{bits:#x}");
    }
}

#[test]
fn a_swizzle_permutes_chunks_within_its_span() {
    for (swizzle, span) in [(Swizzle::B32, 32), (Swizzle::B64, 64), (Swizzle::B128, 128)] {
        let mut seen = vec![false; 2048];
        for address in (0..2048).step_by(16) {
            let place = swizzle.place(address);
            assert_eq!(place / span, address / span);
            assert!(!std::mem::replace(&mut seen[place as usize], true));
        }
        assert_eq!(swizzle.place(5), 5);
    }
    // Row 3 of 128 bytes, chunk 0: the third chunk.
    assert_eq!(Swizzle::B128.place(3 * 128), 3 * 128 + 48);
    assert_eq!(Swizzle::B64.place(128), 128 + 16);
    assert_eq!(Swizzle::B32.place(128), 128 + 16);
}
