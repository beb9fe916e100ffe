//! Where a box's bytes lie in shared memory.

/// How rows of a box are permuted in shared memory, 16 bytes at a time, so that columns lie in other banks.
/// What is permuted are the bits of the address in shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Swizzle {
    /// As they are.
    #[default]
    None,
    /// Within 32 bytes; repeats after 256.
    B32,
    /// Within 64 bytes; repeats after 512.
    B64,
    /// Within 128 bytes; repeats after 1024.
    B128,
}

impl Swizzle {
    /// Most bytes of a box's innermost dimension.
    pub fn span(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }

    /// Where byte `address` of the plain order lies.
    #[inline(always)]
    pub fn place(self, address: u32) -> u32 {
        match self {
            Self::None => address,
            Self::B32 => address ^ (address >> 3 & 0x10),
            Self::B64 => address ^ (address >> 3 & 0x30),
            Self::B128 => address ^ (address >> 3 & 0x70),
        }
    }
}
