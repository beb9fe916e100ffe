//! Random numbers that are a function of where they are used: Philox4x32-10.
//!
//! In: `(seed, stream, counter)`. Out: four words. No state is kept, so a mask can be drawn again in
//! backward, a run can resume anywhere, and threads draw in any order.
//! Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

/// What a sequence of random numbers is for. Different purposes never share words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial weights; the low half of the counter is the draw of four elements, the high half the layer.
    Weights = 1,
    /// Dropout masks; the counter is the draw of four elements plus the offset of batch and layer.
    Dropout = 2,
    /// The order of samples in an epoch.
    Shuffle = 3,
    /// Which files of a class belong to the validation split.
    Split = 4,
    /// Images that the demo draws.
    Demo = 5,
    /// What happens to an image before it is learned from; batch and sample in the counter (data::augment).
    Augment = 6,
    /// Which few of a set it is judged by.
    Some = 7,
}

const MULTIPLY: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: ten rounds over `counter` under `key`.
#[inline]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLY[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLY[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Four words for `counter` of one purpose under `seed`.
#[inline]
pub fn draw(seed: u64, stream: Stream, counter: u64) -> [u32; 4] {
    philox([counter as u32, (counter >> 32) as u32, stream as u32, 0], [seed as u32, (seed >> 32) as u32])
}

/// The word of element `index` when every block of four neighbours shares one draw: the layout that
/// the kernels use, one draw for a `float4`.
#[inline]
pub fn word(seed: u64, stream: Stream, index: u64) -> u32 {
    draw(seed, stream, index / 4)[(index % 4) as usize]
}

/// A uniform number in [0, 1) from the top 24 bits, exact in f32.
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A sequence of draws from one purpose, for host code that wants "the next number".
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    stream: Stream,
    next: u64,
}

impl Draws {
    /// Starts at word `4 * counter` of the stream.
    pub fn new(seed: u64, stream: Stream, counter: u64) -> Self {
        Self { seed, stream, next: counter.wrapping_mul(4) }
    }

    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.next += 1;
        word(self.seed, self.stream, self.next - 1)
    }

    /// The next number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        unit(self.word())
    }

    /// The next number in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// The next integer below `bound` (> 0), without modulo bias (Lemire's method).
    pub fn below(&mut self, bound: u32) -> u32 {
        let reject = bound.wrapping_neg() % bound;
        loop {
            let wide = u64::from(self.word()) * u64::from(bound);
            if wide as u32 >= reject {
                return (wide >> 32) as u32;
            }
        }
    }

    /// 0..n in random order (Fisher-Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last as u32 + 1) as usize);
        }
        order
    }
}

/// `count` of the numbers below `n`, in random order and the same ones for the same seed: a few of a set to judge it by.
pub fn some(seed: u64, n: usize, count: usize) -> Vec<u32> {
    let mut chosen = Draws::new(seed, Stream::Some, 0).permutation(n);
    chosen.truncate(count);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_permutation_holds_everything_once_and_depends_on_the_seed() {
        let order = Draws::new(7, Stream::Shuffle, 0).permutation(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
        assert_ne!(order, sorted);
        assert_ne!(order, Draws::new(8, Stream::Shuffle, 0).permutation(1000));
        assert_eq!(order, Draws::new(7, Stream::Shuffle, 0).permutation(1000));
    }

    #[test]
    fn unit_never_reaches_one() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u32::MAX) < 1.0);
    }
}
