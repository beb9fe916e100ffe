//! Into how many parts to split a sum so that no multiprocessor is idle, by arithmetic.
//!
//! In: multiprocessors, blocks of the whole product and steps of its depth. Out: parts. For formats and GPUs whose splits
//! were not tuned; those of bf16, and of tf32 on Hopper, are what was fastest on an H200.

/// Steps of a product that the sums of a block cost when they go through memory: 32 KiB written and read take a
/// multiprocessor's share of an H200's bandwidth 2 µs, a step 0.3.
const STORED: usize = 6;
/// Tenths of a step of which one takes while two share a multiprocessor, and alone: then a third of the time goes
/// by until a product that the next one needs is there.
const SHARED: usize = 10;
const ALONE: usize = 13;

/// The number of parts, at most `most`, with which the busiest multiprocessor is done first; 1 unless another saves
/// a tenth.
pub fn parts(sms: usize, blocks: usize, steps: usize, most: usize) -> usize {
    let time = |parts: usize| {
        let mine = (blocks * parts).div_ceil(sms);
        let stored = if parts > 1 { STORED } else { 0 };
        (mine / 2 * 2 * SHARED + mine % 2 * ALONE) * (steps.div_ceil(parts) + stored)
    };
    let best = (1..=most.max(1)).min_by_key(|&parts| time(parts)).unwrap_or(1);
    if time(best) * 10 < time(1) * 9 { best } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMS: usize = 132;

    #[test]
    fn what_fills_a_card_is_left_whole_and_what_does_not_is_cut_to_fill_it() {
        // block5 of 20 images: 13 x 8 tiles would leave every fifth multiprocessor idle and the others half busy.
        let cut = parts(SMS, 104, 288, 8);
        assert!(cut > 1 && (104 * cut).div_ceil(SMS).is_multiple_of(2), "{cut}");
        // block1_conv2: thousands of tiles.
        assert_eq!(parts(SMS, 3516, 36, 8), 1);
        // Nothing to share out.
        assert_eq!([parts(SMS, 0, 100, 8), parts(SMS, 1, 1, 8), parts(SMS, 1, 100, 0)], [1; 3]);
        // Whoever is busiest has, of 200 steps, no more than without a cut.
        let busiest = |blocks: usize, cut: usize| (blocks * cut).div_ceil(SMS) * 200usize.div_ceil(cut);
        for blocks in 1..600 {
            let cut = parts(SMS, blocks, 200, 8);
            assert!((1..=8).contains(&cut) && busiest(blocks, cut) <= busiest(blocks, 1), "{blocks} {cut}");
        }
    }
}
