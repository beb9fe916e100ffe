//! What the operands of a product on tensor cores are, and the tiles of each format.

use crate::device::gpu::lower::{Room, Site};
use crate::device::{Buffer, Dtype, Precision};
use crate::error::Result;

/// What the factors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Activations and weights in memory.
    Bf16,
    /// The same, for GPUs from 7.5 on.
    F16,
    /// Of f32 in memory, rounded on the way.
    Tf32,
    /// Of f32 in memory, split into two on the way.
    Tf32x3,
}

/// What a block computes, and what the launch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    /// Of a step.
    pub depth: usize,
    pub threads: usize,
    /// Bytes, dynamic: the tiles of all stages, and the result after them.
    pub shared: u32,
}

/// The tiles of a format. Which layer gets which was measured on an H200 (VGG16 at batch 20, 150x150) of bf16 and tf32;
/// of f16 nothing was measured, and it follows bf16. None of them changes the order of a sum.
pub struct Tiles {
    /// 128x128 with steps of 128 bytes: best where a GPU is full several times over.
    pub deep: Tile,
    /// The same with steps of 64 bytes, where it is full once or twice. Of tf32 the deep one is as good; of f16 there is
    /// no deep one, since two blocks are to share 64 KiB.
    pub wide: Tile,
    /// 128x128 of which an A100 takes two on a multiprocessor where of `wide` it takes one ([`Tiles::widest`]).
    pub shallow: Tile,
    /// 128x64: where there are only 64 columns; and of bf16 where `wide` leaves the last turn nearly empty.
    pub narrow: Tile,
    /// 64x64, of weights of which there are few.
    pub small: Tile,
    /// Any channels.
    pub any: Tile,
}

impl Tiles {
    /// `wide`, unless a multiprocessor has shared memory for one block of it and for two of `shallow`.
    pub fn widest(&self, room: Room) -> Tile {
        if !room.takes_two(self.wide) && room.takes_two(self.shallow) { self.shallow } else { self.wide }
    }
}

const fn tile([rows, columns, depth]: [usize; 3], kib: u32) -> Tile {
    Tile { rows, columns, depth, threads: 128, shared: kib << 10 }
}

const BF16: Tiles = Tiles {
    deep: tile([128, 128, 64], 96),
    wide: tile([128, 128, 32], 48),
    shallow: tile([128, 128, 32], 48),
    narrow: tile([128, 64, 64], 72),
    small: tile([64, 64, 64], 48),
    any: tile([128, 64, 32], 24),
};
const F16: Tiles = Tiles {
    deep: tile([128, 128, 32], 32),
    wide: tile([128, 128, 32], 32),
    shallow: tile([128, 128, 32], 32),
    narrow: tile([128, 64, 32], 24),
    small: tile([64, 64, 32], 16),
    any: tile([128, 64, 32], 24),
};
const TF32: Tiles = Tiles {
    deep: tile([128, 128, 32], 96),
    wide: tile([128, 128, 32], 96),
    shallow: tile([128, 128, 16], 80),
    narrow: tile([128, 64, 32], 72),
    small: tile([64, 64, 16], 32),
    any: tile([128, 64, 32], 48),
};
/// Registers for a split factor and its products allow one size.
const TF32X3: Tiles = Tiles {
    deep: tile([128, 64, 16], 48),
    wide: tile([128, 64, 16], 48),
    shallow: tile([128, 64, 16], 48),
    narrow: tile([128, 64, 16], 48),
    small: tile([64, 64, 16], 32),
    any: tile([128, 64, 32], 48),
};

impl Format {
    /// Of a call whose activations are in `buffer`; none if it goes by fused multiply-adds.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::error::Kind::Device) on a GPU without such tensor cores.
    pub fn of(site: &Site, buffer: &Buffer) -> Result<Option<Self>> {
        let format = match (buffer.dtype(), site.precision) {
            (Dtype::Bf16, _) => Self::Bf16,
            (Dtype::F16, _) => Self::F16,
            (Dtype::F32, Precision::Tf32) => Self::Tf32,
            (Dtype::F32, Precision::Tf32x3) => Self::Tf32x3,
            _ => return Ok(None),
        };
        site.works_in(format.precision())?;
        Ok(Some(format))
    }

    pub fn precision(self) -> Precision {
        match self {
            Self::Bf16 => Precision::Bf16,
            Self::F16 => Precision::F16,
            Self::Tf32 => Precision::Tf32,
            Self::Tf32x3 => Precision::Tf32x3,
        }
    }

    /// As entries name it.
    pub fn name(self) -> &'static str {
        self.precision().name()
    }

    /// Of activations and weights.
    pub fn dtype(self) -> Dtype {
        self.precision().activations()
    }

    /// Whether all rows of numbers are whole chunks of 16 bytes.
    pub fn whole(self, channels: [usize; 2]) -> bool {
        channels.iter().all(|channels| channels.is_multiple_of(16 / self.dtype().size()))
    }

    /// Whether an element has 16 bits.
    pub fn is_half(self) -> bool {
        self.dtype().size() == 2
    }

    pub fn tiles(self) -> &'static Tiles {
        match self {
            Self::Bf16 => &BF16,
            Self::F16 => &F16,
            Self::Tf32 => &TF32,
            Self::Tf32x3 => &TF32X3,
        }
    }

    pub fn entry(self, call: &str, Tile { rows, columns, depth, .. }: Tile) -> String {
        format!("{call}_{}_{rows}x{columns}x{depth}", self.name())
    }
}
