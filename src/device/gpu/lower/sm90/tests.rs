//! Hopper's tiles and grids: none changes a bit of a product of pixels, except where depth is shared (another order);
//! and layers get those that were fastest.

use super::super::Goal;
use super::tile::{LONG, MIDDLE, NARROW, SHORT, SPLIT, SQUARE, WIDE};
use super::*;
use crate::device::gpu::Gpu;
use crate::device::gpu::driver::Driver;
use crate::device::gpu::emulator::{Emulator, Options, Schedule};
use crate::device::gpu::ladder::RUNGS;
use crate::device::gpu::lower::ladder;
use crate::device::gpu::module;
use crate::device::{Call, Device, Kernels, Precision};

const G: Conv2d = Conv2d { n: 3, h: 9, w: 10, c_in: 256, c_out: 256 };

fn hopper() -> Gpu<Emulator> {
    working(Precision::Bf16)
}

fn working(precision: Precision) -> Gpu<Emulator> {
    let emulator = Emulator::new(Options { capability: 90, ..Options::default() }).unwrap();
    Gpu::new(emulator).unwrap().with_precision(precision).with_kernels(Kernels::Sm90a).unwrap()
}

/// Small numbers of both signs, all different in what they do to a rounded sum.
fn half(gpu: &Gpu<Emulator>, seed: usize, len: usize) -> Buffer {
    let one = |i: usize| (((i + seed) * 2_654_435_761) >> 7 & 0x807f) as u16 | 0x3f00;
    let mut buffer = gpu.alloc(Dtype::Bf16, len).unwrap();
    let bytes: Vec<u8> = (0..len).flat_map(|i| one(i).to_le_bytes()).collect();
    gpu.upload_bytes(&bytes, &mut buffer).unwrap();
    buffer
}

fn halves(gpu: &Gpu<Emulator>, len: usize) -> Buffer {
    let mut buffer = gpu.alloc(Dtype::F32, len).unwrap();
    gpu.upload_bytes(bytemuck::cast_slice(&vec![0.5f32; len]), &mut buffer).unwrap();
    buffer
}

/// Runs what `make` lowers, if said so by one block alone (or one cluster), and gives the bytes of what it wrote to a
/// buffer of `len` elements.
fn by(
    gpu: &Gpu<Emulator>,
    alone: bool,
    (dtype, len): (Dtype, usize),
    make: impl Fn(&mut Site, &Buffer) -> Result<()>,
) -> Vec<u8> {
    let (mut other, to) = (gpu.alloc(dtype, len).unwrap(), gpu.alloc(dtype, len).unwrap());
    let (x, fault) = (gpu.alloc(dtype, len).unwrap(), gpu.fault.at());
    let call = Call::Add { x: &x, into: &mut other };
    let mut site = Site::new(&call, &gpu.shared, fault, (Precision::Bf16, Kernels::Sm90a));
    make(&mut site, &to).unwrap();
    for launch in &mut site.launches {
        if alone && launch.entry.name.starts_with("conv2d") {
            let ends = |tile: &Tile| launch.entry.name.ends_with(&tile.entry(""));
            let cluster = match [LONG, MIDDLE, SHORT, SPLIT].iter().find(|tile| ends(tile)) {
                Some(tile) if tile.turned => 2,
                Some(tile) => tile.sharers as u32,
                None => 1,
            };
            launch.grid = [cluster, 1, 1];
        }
        launch.check(gpu.driver().limits()).unwrap();
        gpu.driver().launch(launch).unwrap();
    }
    let mut bytes = vec![0; len * dtype.size()];
    gpu.download_bytes(&to, &mut bytes).unwrap();
    bytes
}

/// NARROW's numbers are tested against naive loops (tests/kernels_sm90.rs): small maps get no other tile. The last tile
/// of pixels is never whole, of LONG's its second half is empty; a block (or pair) alone goes through two to twelve
/// tiles, one behind the other.
#[test]
fn no_tile_and_no_grid_changes_a_bit_of_products_of_pixels() {
    let gpu = hopper();
    let products = Products::new(&gpu);
    let want = products.by(NARROW, false);
    for tile in [NARROW, SQUARE, WIDE, LONG, MIDDLE, SHORT] {
        assert!(products.by(tile, true) == want, "{tile:?} by one block");
        assert!(products.by(tile, false) == want, "{tile:?}");
    }
}

/// Of the warps that multiply, bring, and store, any may be ahead.
#[test]
fn no_order_of_warps_changes_a_bit_of_products_that_are_turned() {
    let want = Products::new(&hopper()).by(NARROW, false);
    for schedule in [Schedule::Lowest, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        for late_copies in [false, true] {
            let options = Options { capability: 90, schedule, late_copies, ..Options::default() };
            let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
            let gpu = gpu.with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a).unwrap();
            let products = Products::new(&gpu);
            for tile in [LONG, SHORT] {
                assert!(products.by(tile, true) == want, "{tile:?}, {options:?}");
            }
        }
    }
}

/// A shared depth is another order of the sum, but one order: that of its parts. Blocks of a cluster, and warps of a
/// block, may come in any; one cluster alone goes through three tiles. That the sums are right: tests/kernels_split.rs.
#[test]
fn no_order_changes_a_bit_of_products_whose_depth_is_shared() {
    let want = Products::new(&hopper()).by(SPLIT, false);
    for schedule in [Schedule::Lowest, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        for late_copies in [false, true] {
            // Parts go from block to block through global memory.
            let global_races = schedule == Schedule::Reverse;
            let options =
                Options { capability: 90, schedule, late_copies, global_races, ..Options::default() };
            let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
            let gpu = gpu.with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a).unwrap();
            assert!(Products::new(&gpu).by(SPLIT, true) == want, "{options:?}");
        }
    }
}

/// What a cluster's threads leave in global memory is shown to its others (seen by the machine, above, that looks for races
/// between blocks); and no arrival fences the GPU's memory in every step, as those of a cluster's scope do.
#[test]
fn clusters_order_what_they_share_and_nothing_else() {
    let text = |name: &str| module::MODULES.iter().find(|module| module.name == name).unwrap().text;
    let lines = |name, part: &'static str| text(name).lines().filter(move |line| line.contains(part));
    assert_eq!(
        lines("conv2d_sm90_split", "barrier.cluster.arrive").count(),
        4,
        "consumers and producers of two entries"
    );
    assert!(lines("conv2d_sm90_split", "barrier.cluster.arrive").all(|line| line.contains(".release.")));
    assert!(lines("conv2d_sm90_split", "barrier.cluster.wait").all(|line| line.contains(".acquire.")));
    assert!(lines("conv2d_sm90_turned", "mapa").count() > 0, "arrivals in the other block");
    for order in ["release.cluster", "acquire.cluster", "cluster.arrive.release"] {
        let ordered: Vec<_> =
            lines("conv2d_sm90_turned", order).filter(|line| !line.contains("mbarrier_init")).collect();
        assert!(ordered.is_empty(), "{ordered:?}");
    }
}

/// What products of pixels read, and how they are called.
struct Products<'a> {
    gpu: &'a Gpu<Emulator>,
    x: Buffer,
    weight: Buffer,
    dy: Buffer,
    mask: Buffer,
    bias: Buffer,
}

impl<'a> Products<'a> {
    fn new(gpu: &'a Gpu<Emulator>) -> Self {
        let [x, weight, dy, mask] = [(1, G.x()), (2, G.weight()), (3, G.y()), (4, G.x())]
            .map(|(seed, shape)| half(gpu, seed, shape.len()));
        Self { gpu, x, weight, dy, mask, bias: halves(gpu, G.c_out) }
    }

    /// Bytes of y with ReLU and without, of dx with a mask and without.
    fn by(&self, tile: Tile, alone: bool) -> [Vec<u8>; 4] {
        let y = |relu| {
            by(self.gpu, alone, (Dtype::Bf16, G.y().len()), |site, y| {
                let at = site.place("y", y, Dtype::Bf16, G.y().len())?;
                forward(site, tile, G, &self.x, (&self.weight, &self.bias, relu), at)
            })
        };
        let dx = |mask| {
            by(self.gpu, alone, (Dtype::Bf16, G.x().len()), |site, dx| {
                backward_input(site, tile, G, (&self.dy, &self.weight), mask, dx)
            })
        };
        [y(true), y(false), dx(Some(&self.mask)), dx(None)]
    }
}

/// As above, of tf32.
#[test]
fn no_tile_and_no_grid_changes_a_bit_of_tf32() {
    let gpu = working(Precision::Tf32);
    let some = |seed: usize, len: usize| {
        let one = |i: usize| f32::from_bits(((i + seed) * 2_654_435_761) as u32 >> 9 | 0x3f00_0000) - 0.75;
        let mut buffer = gpu.alloc(Dtype::F32, len).unwrap();
        let numbers: Vec<f32> = (0..len).map(one).collect();
        gpu.upload_bytes(bytemuck::cast_slice(&numbers), &mut buffer).unwrap();
        buffer
    };
    let (x, weight) = (some(1, G.x().len()), some(2, G.weight().len()));
    let (dy, mask, bias) = (some(3, G.y().len()), some(4, G.x().len()), some(5, G.c_out));
    let run = |tile, alone| {
        let tile = tf32::stored_from_registers(tile);
        let y = by(&gpu, alone, (Dtype::F32, G.y().len()), |site, y| {
            let y = site.f32("y", y, G.y().len())?;
            tf32::forward(site, tile, G, &x, (&weight, &bias, true), y)
        });
        let dx = by(&gpu, alone, (Dtype::F32, G.x().len()), |site, dx| {
            tf32::backward_input(site, tile, G, (&dy, &weight), Some(&mask), dx)
        });
        [y, dx]
    };
    let want = run(NARROW, false);
    for (tile, alone) in [(NARROW, true), (SQUARE, true), (SQUARE, false), (WIDE, true), (WIDE, false)] {
        assert!(run(tile, alone) == want, "{tile:?}, by one block: {alone}");
    }
}

/// Small maps have fewer tiles than it has blocks: here one goes around its ring through all of them.
#[test]
fn no_grid_changes_a_bit_of_the_rung_whose_blocks_stay() {
    let gpu = hopper();
    let rung = RUNGS.into_iter().find(|rung| rung.stays).unwrap();
    gpu.driver().load(module::find(rung.name, 90).unwrap().0).unwrap();
    let g = Conv2d { n: 3, h: 11, w: 17, c_in: 64, c_out: 192 };
    let (x, weight, bias) =
        (half(&gpu, 1, g.x().len()), half(&gpu, 2, g.weight().len()), halves(&gpu, g.c_out));
    let run = |alone| {
        by(&gpu, alone, (Dtype::Bf16, g.y().len()), |site, y| {
            ladder::conv2d_forward(site, rung, g, &x, (&weight, &bias, true), y)
        })
    };
    assert!(run(true) == run(false));
}

/// Both rings of a block, and its two boxes of results, go round.
#[test]
fn no_grid_changes_a_bit_of_a_pool() {
    let gpu = hopper();
    for g in [
        Conv2d { n: 2, h: 35, w: 18, c_in: 64, c_out: 64 },
        Conv2d { n: 1, h: 18, w: 19, c_in: 128, c_out: 256 },
    ] {
        assert!(Halo::of(g).is_some());
        let (x, weight, bias) =
            (half(&gpu, 1, g.x().len()), half(&gpu, 2, g.weight().len()), halves(&gpu, g.c_out));
        let pool = |alone, of_winners| {
            let of =
                if of_winners { (Dtype::U8, g.pool().winners()) } else { (Dtype::Bf16, g.pool().y().len()) };
            let other = gpu.alloc(Dtype::Bf16, g.pool().y().len()).unwrap();
            by(&gpu, alone, of, |site, to| {
                let (y, winner) = if of_winners { (&other, Some(to)) } else { (to, None) };
                conv2d_maxpool2d_forward(site, BF16, g, &x, (&weight, &bias), y, winner)
            })
        };
        for of_winners in [false, true] {
            assert!(pool(true, of_winners) == pool(false, of_winners), "{g:?}, winners {of_winners}");
        }
    }
}

/// A block alone makes twelve boxes one behind the other, in a ring of three, from one patch of pixels; and no order in
/// which its warps go on, checks on, changes anything.
#[test]
fn no_grid_changes_a_bit_of_the_first_block() {
    let geometries @ [first, second] = [3, 64].map(|c_in| Conv2d { n: 2, h: 35, w: 18, c_in, c_out: 64 });
    let base = Options { capability: 90, ..Options::default() };
    let run = |alone, options| {
        let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
        let gpu = gpu.with_precision(Precision::Bf16).with_kernels(Kernels::Sm90a).unwrap();
        let x = half(&gpu, 1, first.x().len());
        let [one, other] = [first, second].map(|g| half(&gpu, g.c_in, g.weight().len()));
        let bias = halves(&gpu, 64);
        by(&gpu, alone, (Dtype::Bf16, second.pool().y().len()), |site, y| {
            conv2d_conv2d_maxpool2d_forward(site, geometries, &x, ([&one, &other], [&bias; 2]), y)
        })
    };
    let want = run(false, base);
    for schedule in [Schedule::Lowest, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        for late_copies in [false, true] {
            let options = Options { schedule, late_copies, ..base };
            assert!(run(true, options) == want, "{options:?}");
        }
    }
}

/// The two tiles cut the sums elsewhere, and so does every number of blocks: one block goes through all tiles, five and
/// seven end within tiles and take several steps of each, of more none takes more than one. Of numbers whose sums are
/// exact all give the same.
#[test]
fn any_cut_of_the_weights_gradient_gives_the_same() {
    let gpu = hopper();
    let whole = |seed: usize, len: usize| {
        let mut buffer = gpu.alloc(Dtype::Bf16, len).unwrap();
        // 1, 2, -1, -2.
        let one = |i: usize| [0x3f80u16, 0x4000, 0xbf80, 0xc000][((i + seed) * 2_654_435_761) >> 9 & 3];
        let bytes: Vec<u8> = (0..len).flat_map(|i| one(i).to_le_bytes()).collect();
        gpu.upload_bytes(&bytes, &mut buffer).unwrap();
        buffer
    };
    let (x, dy) = (whole(1, G.x().len()), whole(2, G.y().len()));
    let weights = |cut| {
        by(&gpu, false, (Dtype::F32, G.weight().len()), |site, dweight| {
            let weight = Weight::open(site, G, Goal::Store(dweight), None)?;
            backward_weight(site, cut, G, (&x, &dy), weight)
        })
    };
    let other = gpu.alloc(Dtype::F32, G.weight().len()).unwrap();
    let biases = |cut| {
        by(&gpu, false, (Dtype::F32, G.c_out), |site, dbias| {
            let weight = Weight::open(site, G, Goal::Store(&other), Some(dbias))?;
            backward_weight(site, cut, G, (&x, &dy), weight)
        })
    };
    let want = (weights((THIRDS, SMS)), biases((THIRDS, SMS)));
    for tile in [THIRDS, WIDE_WEIGHT] {
        for most in [SMS, 7, 5, 1] {
            assert!(weights((tile, most)) == want.0, "{tile:?} by {most} blocks");
            assert!(biases((tile, most)) == want.1, "the bias, {tile:?} by {most} blocks");
        }
    }
}

/// The same of tf32, and for what warps may be ahead: fragments are loaded for the next step while this one is multiplied.
#[test]
fn any_cut_of_the_weights_gradient_in_tf32_gives_the_same() {
    let numbers = |gpu: &Gpu<Emulator>, seed: usize, len: usize| {
        let one = |i: usize| [1.0f32, 2.0, -1.0, -2.0][((i + seed) * 2_654_435_761) >> 9 & 3];
        let mut buffer = gpu.alloc(Dtype::F32, len).unwrap();
        let all: Vec<f32> = (0..len).map(one).collect();
        gpu.upload_bytes(bytemuck::cast_slice(&all), &mut buffer).unwrap();
        buffer
    };
    let run = |gpu: &Gpu<Emulator>, cut| {
        let (x, dy) = (numbers(gpu, 1, G.x().len()), numbers(gpu, 2, G.y().len()));
        let other = gpu.alloc(Dtype::F32, G.weight().len()).unwrap();
        let dweight = by(gpu, false, (Dtype::F32, G.weight().len()), |site, dweight| {
            let weight = Weight::open(site, G, Goal::Store(dweight), None)?;
            tf32::backward_weight(site, cut, G, (&x, &dy), weight)
        });
        let dbias = by(gpu, false, (Dtype::F32, G.c_out), |site, dbias| {
            let weight = Weight::open(site, G, Goal::Store(&other), Some(dbias))?;
            tf32::backward_weight(site, cut, G, (&x, &dy), weight)
        });
        (dweight, dbias)
    };
    let gpu = working(Precision::Tf32);
    let want = run(&gpu, (tf32::LARGE, SMS));
    for tile in [tf32::LARGE, tf32::SMALL] {
        for most in [SMS, 7, 5, 1] {
            assert!(run(&gpu, (tile, most)) == want, "{tile:?} by {most} blocks");
        }
    }
    for schedule in [Schedule::Lowest, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        for late_copies in [false, true] {
            let options = Options { capability: 90, schedule, late_copies, ..Options::default() };
            let gpu = Gpu::new(Emulator::new(options).unwrap()).unwrap();
            let gpu = gpu.with_precision(Precision::Tf32).with_kernels(Kernels::Sm90a).unwrap();
            assert!(run(&gpu, (tf32::LARGE, 2)) == want, "{options:?}");
        }
    }
}

/// The tiles of VGG16's layers, as they were fastest on an H200 but for 5 %, and how many of them.
#[test]
fn layers_get_the_tiles_that_were_fastest() {
    for (n, side, channels, columns, want, tiles) in [
        (20, 150, 64, 64, NARROW, 3516),
        (20, 75, 64, 128, SQUARE, 879),
        (20, 75, 128, 128, SQUARE, 879),
        (20, 37, 128, 256, LONG, 2 * SMS),
        (20, 37, 256, 256, LONG, 2 * SMS),
        (20, 18, 256, 512, LONG, 128),
        (20, 18, 512, 512, LONG, 128),
        (20, 18, 512, 256, SHORT, 116),
        (32, 18, 512, 512, MIDDLE, 2 * SMS - 4),
        (20, 9, 512, 512, SPLIT, 26),
        (64, 28, 512, 512, WIDE, 784),
    ] {
        let rows = n * side * side;
        let tile = Tile::of_bf16([rows, columns], channels);
        assert_eq!(tile, want, "{n} {side} {channels} {columns}");
        assert_eq!(rows.div_ceil(tile.rows) * (columns / tile.columns), tiles, "{n} {side} {columns}");
    }
}
