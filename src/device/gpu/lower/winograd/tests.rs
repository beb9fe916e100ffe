//! The choice of forms and chunks, and chunks against the whole.

use super::*;
use crate::device::gpu::Gpu;
use crate::device::gpu::driver::Driver;
use crate::device::gpu::emulator::{Emulator, Options};
use crate::device::gpu::plan::{Card, Event, Plan};
use crate::device::{Call, Cost, Device, Kernels, Precision};

fn geometry([n, h, w, c_in, c_out]: [usize; 5]) -> Conv2d {
    Conv2d { n, h, w, c_in, c_out }
}

#[test]
fn many_channels_in_sixteens_are_taken_by_the_form_with_fewer_products() {
    let of = |sizes| Form::of(geometry(sizes));
    // VGG16's at 150x150.
    assert_eq!(of([20, 150, 150, 3, 64]), None);
    assert_eq!(of([20, 150, 150, 64, 64]), None);
    assert_eq!(of([20, 75, 75, 64, 128]), Some(Form::Four));
    assert_eq!(of([20, 37, 37, 256, 256]), Some(Form::Four));
    assert_eq!(of([20, 18, 18, 512, 512]), Some(Form::Four));
    assert_eq!(of([20, 9, 9, 512, 512]), Some(Form::Three));
    // An image's numbers do not depend on those beside it.
    assert_eq!(of([1, 9, 9, 512, 512]), Some(Form::Three));
    assert_eq!(of([20, 9, 9, 72, 512]), None);
    assert_eq!(of([0, 9, 9, 512, 512]), None);
}

#[test]
fn chunks_are_of_one_size_and_cover_all_tiles() {
    let g = geometry([20, 75, 75, 128, 128]);
    let tiles = Tiles::new(Form::Four, g, CHUNK);
    let chunks: Vec<_> = tiles.chunks().collect();
    assert_eq!(chunks.iter().map(Range::len).collect::<Vec<_>>(), [2432, 2432, 2356]);
    assert_eq!((chunks[0].start, chunks[2].end), (0, 20 * 19 * 19));
    // Never fewer than a block's rows, nor more than there are.
    let least = Tiles::new(Form::Four, geometry([1, 9, 9, 512, 512]), 1);
    assert_eq!((least.chunk, least.chunks().count()), (9, 1));
    assert_eq!(Tiles::new(Form::Four, g, 1).chunk, 128);
}

/// Points of a part of the tiles in memory at a time: the same bits forward and back to the input. The weights'
/// gradient is a sum over the chunks.
#[test]
fn chunks_change_no_bit_of_a_map() {
    let gpu = Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap();
    let gpu = gpu.with_kernels(Kernels::Winograd).unwrap();
    let device: &dyn Device = &gpu;
    let numbers = |seed: usize, len: usize| -> Vec<f32> {
        (0..len).map(|i| ((i + seed) * 7 % 13) as f32 * 0.3 - 1.7).collect()
    };
    let g = geometry([3, 34, 30, 80, 64]);
    assert_eq!(Form::of(g), Some(Form::Four));
    let x = device.upload(&numbers(1, g.x().len())).unwrap();
    let dy = device.upload(&numbers(2, g.y().len())).unwrap();
    let weight = device.upload(&numbers(3, g.weight().len())).unwrap();
    let bias = device.upload(&numbers(4, g.c_out)).unwrap();
    let of = |chunk: usize| {
        let mut results =
            [g.y().len(), g.x().len(), g.weight().len()].map(|len| device.alloc(Dtype::F32, len).unwrap());
        let [y, dx, dweight] = &mut results;
        let call = Call::Conv2dForward { geometry: g, x: &x, weight: &weight, bias: &bias, relu: true, y };
        let mut site = Site::new(&call, &gpu.shared, gpu.fault.at(), (Precision::F32, Kernels::Winograd));
        let open = |site: &Site, name, buffer: &Buffer| site.f32(name, buffer, buffer.len()).unwrap();
        let Call::Conv2dForward { y, .. } = call else { unreachable!() };
        let [x, dy, weight] =
            [("x", &x), ("dy", &dy), ("weight", &weight)].map(|(name, buffer)| open(&site, name, buffer));
        let [bias, y, dx, to] = [("bias", &bias), ("y", &*y), ("dx", dx), ("dweight", dweight)]
            .map(|(name, buffer)| open(&site, name, buffer));
        let tiles = Tiles::new(Form::Four, g, chunk);
        let site = &mut site;
        forward(site, tiles, true, [x.clone(), weight.clone(), bias], &y).unwrap();
        let back = Tiles::new(Form::Four, Conv2d { c_in: g.c_out, c_out: g.c_in, ..g }, chunk);
        let mask = Arg::nothing("mask", Dtype::F32);
        backward_input(site, back, [dy.clone(), weight, mask, dx]).unwrap();
        backward_weight(site, tiles, [x, dy], &to).unwrap();
        let launches = site.launches.len();
        for launch in &site.launches {
            launch.check(gpu.driver().limits()).unwrap();
            gpu.driver().launch(launch).unwrap();
        }
        let cost: Cost = site.launches.iter().map(|launch| launch.cost).sum();
        let results = results.map(|buffer| device.download::<f32>(&buffer).unwrap());
        (results, launches, cost)
    };
    // 216 tiles: in one, and in two.
    let ([y, dx, dweight], launches, cost) = of(CHUNK);
    let ([y_2, dx_2, dweight_2], more, cost_2) = of(128 * 36 * 144);
    assert_eq!((launches, more), (4 + 4 + 4, 7 + 7 + 7));
    assert!(y.iter().all(|y| y.is_finite()) && y == y_2 && dx == dx_2);
    let most = dweight.iter().fold(0.0f32, |most, w| most.max(w.abs()));
    let apart = dweight.iter().zip(&dweight_2).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    // 216 terms of rounding noise in another order.
    assert!(apart <= 3e-6 * most, "{apart:e} of {most}");
    // 36 of what a product of 216 x 80 x 64 takes, three times; in chunks the same maps, weights once more.
    assert_eq!(cost.flops, 3 * 2 * 36 * 216 * 80 * 64);
    assert_eq!(cost.flops, cost_2.flops);
    assert!(cost_2.bytes > cost.bytes && cost_2.bytes < cost.bytes * 5 / 4);
}

/// A step of so many images takes no more than of few: points and their sums come in chunks, and chunks in groups.
#[test]
fn scratch_of_a_weights_gradient_is_bounded() {
    let scratch = |n| {
        let gpu = Gpu::new(Plan::new(Card::named("h200").unwrap())).unwrap();
        let gpu = gpu.with_kernels(Kernels::Winograd).unwrap();
        let geometry = geometry([n, 112, 112, 128, 128]);
        let of = |len| gpu.alloc(Dtype::F32, len).unwrap();
        let (x, dy) = (of(geometry.x().len()), of(geometry.y().len()));
        let mut dweight = of(geometry.weight().len());
        gpu.driver().take();
        gpu.run(Call::Conv2dBackwardWeight { geometry, x: &x, dy: &dy, dweight: &mut dweight, dbias: None })
            .unwrap();
        let taken = gpu.driver().take().events.into_iter();
        taken.map(|event| if let Event::Alloc { bytes, .. } = event { bytes } else { 0 }).sum::<u64>()
    };
    let (few, many) = (scratch(128), scratch(1024));
    assert!(few < 416 << 20 && many < few + (16 << 20), "{few} and {many} bytes");
}

/// Chunks of more than one group: each leaves a part of the gradient, and the parts add up to what one chunk gives.
#[test]
fn groups_of_chunks_are_parts_of_the_gradient() {
    let gpu = Gpu::new(Emulator::new(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let g = geometry([2, 132, 130, 16, 16]);
    let numbers = |seed: usize, len: usize| -> Vec<f32> {
        (0..len).map(|i| ((i + seed) * 7 % 13) as f32 * 0.3 - 1.7).collect()
    };
    let x = device.upload(&numbers(1, g.x().len())).unwrap();
    let dy = device.upload(&numbers(2, g.y().len())).unwrap();
    let of = |chunk: usize| {
        let tiles = Tiles::new(Form::Four, g, chunk);
        let (groups, len) = (tiles.groups(), g.weight().len());
        let mut dweight = device.alloc(Dtype::F32, groups * len).unwrap();
        let call =
            Call::Conv2dBackwardWeight { geometry: g, x: &x, dy: &dy, dweight: &mut dweight, dbias: None };
        let mut site = Site::new(&call, &gpu.shared, gpu.fault.at(), (Precision::F32, Kernels::Winograd));
        let Call::Conv2dBackwardWeight { dweight: to, .. } = call else { unreachable!() };
        let [x, dy, to] = [("x", &x), ("dy", &dy), ("dweight", &*to)]
            .map(|(name, buffer)| site.f32(name, buffer, buffer.len()).unwrap());
        backward_weight(&mut site, tiles, [x, dy], &to).unwrap();
        for launch in &site.launches {
            launch.check(gpu.driver().limits()).unwrap();
            gpu.driver().launch(launch).unwrap();
        }
        let parts = device.download::<f32>(&dweight).unwrap();
        let sum = |at| (0..groups).map(|group| f64::from(parts[group * len + at])).sum::<f64>();
        (groups, (0..len).map(sum).collect::<Vec<_>>())
    };
    let (one, whole) = of(CHUNK);
    // 2178 tiles by 128.
    let (two, parted) = of(1);
    assert_eq!((one, two), (1, 2));
    let most = whole.iter().fold(0.0f64, |most, w| most.max(w.abs()));
    let apart = whole.iter().zip(&parted).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart <= 1e-5 * most, "{apart:e} of {most}");
}
