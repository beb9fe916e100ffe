//! Tiles of tensor cores: none changes a bit, and the host knows them as the kernel files do.

use super::format::Tile;
use super::*;
use crate::device::gpu::emulator::{Emulator, Options, Tensor};
use crate::device::gpu::{Gpu, driver::Driver, module};
use crate::device::{Call, Device, Dtype, Kernels, Precision};

const G: Conv2d = Conv2d { n: 2, h: 9, w: 10, c_in: 72, c_out: 136 };

/// Any bits that are no NaN, about 1 and of both signs.
fn bytes(len: usize, format: Format) -> Vec<u8> {
    let one = |i: usize| ((i * 2_654_435_761) as u32 >> 7 & 0x807f) as u16 | 0x3f00;
    let one = |i| match format {
        Format::Bf16 | Format::F16 => one(i).to_le_bytes().to_vec(),
        Format::Tf32 | Format::Tf32x3 => (u32::from(one(i)) << 16 | 0x1234).to_le_bytes().to_vec(),
    };
    (0..len).flat_map(one).collect()
}

/// `y` of the convolution, pooled if asked, by `tile`, as bytes.
fn by(format: Format, tensor: Tensor, tile: Tile, pool: bool) -> Vec<u8> {
    let gpu = Gpu::new(Emulator::new(Options { tensor, ..Options::default() }).unwrap()).unwrap();
    let make = |len: usize| {
        let mut buffer = gpu.alloc(format.dtype(), len).unwrap();
        gpu.upload_bytes(&bytes(len, format), &mut buffer).unwrap();
        buffer
    };
    let (x, weight) = (make(G.x().len()), make(G.weight().len()));
    let device: &dyn Device = &gpu;
    let bias = device.zeros(G.c_out).unwrap();
    let len = if pool { G.pool().y().len() } else { G.y().len() };
    let mut y = gpu.alloc(format.dtype(), len).unwrap();
    let call =
        Call::Conv2dForward { geometry: G, x: &x, weight: &weight, bias: &bias, relu: true, y: &mut y };
    let mut site = Site::new(&call, &gpu.shared, gpu.fault.at(), (Precision::Tf32, Kernels::Portable));
    let rows = if pool { G.n * (G.h / 2) * (G.w / 2) * 4 } else { pixels(G) };
    let call = if pool { "conv2d_maxpool2d_forward" } else { "conv2d_forward" };
    let product = Product { format, call, rows, depth: G.c_in, columns: G.c_out };
    let p = geometry(&site, G).unwrap();
    let inputs = [("x", &x, G.x().len()), ("weight", &weight, G.weight().len())];
    let inputs = inputs.map(|(name, buffer, len)| site.buffer(name, buffer, format.dtype(), len).unwrap());
    let bias = site.f32("bias", &bias, G.c_out).unwrap();
    let to = site.buffer("y", &y, format.dtype(), len).unwrap();
    let (relu, winner) = (Arg::value("relu", &1u32), Arg::nothing("winner", Dtype::U8));
    let args = if pool {
        [vec![p], inputs.into(), vec![bias, to, winner]].concat()
    } else {
        [vec![p, relu], inputs.into(), vec![bias, to]].concat()
    };
    product.launch_as(&mut site, (format.entry(call, tile), tile), args).unwrap();
    for launch in &site.launches {
        launch.check(gpu.driver().limits()).unwrap();
        gpu.driver().launch(launch).unwrap();
    }
    let mut out = vec![0; len * format.dtype().size()];
    gpu.download_bytes(&y, &mut out).unwrap();
    out
}

#[test]
fn no_tile_changes_a_bit() {
    for format in [Format::Bf16, Format::F16, Format::Tf32] {
        let tiles = format.tiles();
        for (tensor, pool) in [(Tensor::Fast, false), (Tensor::Hopper, false), (Tensor::Fast, true)] {
            let narrow = by(format, tensor, tiles.narrow, pool);
            assert!(narrow.iter().any(|&byte| byte != 0));
            for tile in [tiles.wide, tiles.shallow, tiles.deep] {
                assert!(by(format, tensor, tile, pool) == narrow, "{format:?} {tensor:?} {tile:?} {pool}");
            }
        }
    }
}

/// What the kernel files say that the host adds.
#[test]
fn tiles_are_those_of_the_kernel_files() {
    for format in [Format::Bf16, Format::F16, Format::Tf32, Format::Tf32x3] {
        let path = format!("kernels/conv2d_{}.cu", format.name());
        let (_, text) = module::SOURCES.iter().find(|(name, _)| *name == path).unwrap();
        let said = |entry: &str| text.contains(&format!("// dynamic-shared: {entry}"));
        let tiles = format.tiles();
        let sized = |entry: &str, tile: Tile| said(&format!("{entry} {}\n", tile.shared));
        for call in ["conv2d_forward", "conv2d_maxpool2d_forward"] {
            for tile in [tiles.deep, tiles.wide, tiles.shallow, tiles.narrow] {
                assert!(sized(&format.entry(call, tile), tile), "{call} {tile:?}");
            }
        }
        for tile in [tiles.wide, tiles.shallow, tiles.narrow] {
            for call in ["conv2d_backward_input", "conv2d_forward_parts", "conv2d_maxpool2d_forward_parts"] {
                assert!(sized(&format.entry(call, tile), tile), "{call} {tile:?}");
            }
        }
        for tile in [tiles.wide, tiles.shallow, tiles.narrow, tiles.small] {
            assert!(sized(&format.entry("conv2d_backward_weight", tile), tile), "{tile:?}");
        }
        assert!(sized(&format!("conv2d_forward_{}_rgb", format.name()), tiles.any));
    }
}
