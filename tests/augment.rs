//! Images as training sees them: against Keras, device against device, and where nothing is changed.
//! `tests/golden/make_augment.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on should say where

use crate::support;

use safetensors::SafeTensors;
use std::sync::atomic::AtomicBool;
use support::devices;
use vgg_ft::data::augment::Drawn;
use vgg_ft::data::{Augment, FillMode, Folder, Images, Resize, Size, Source, Want};
use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::Normalize;
use vgg_ft::device::{Call, Device, Dtype};
use vgg_ft::graph::Tensor;
use vgg_ft::random::{Draws, Stream};
use vgg_ft::train::{ImageSamples, Samples};

/// Levels as they are.
const LEVELS: Normalize = Normalize { order: [0, 1, 2], scale: [1.0; 3], offset: [0.0; 3] };

fn run(
    device: &dyn Device,
    geometry: Gather,
    pixels: &[u8],
    indices: &[u32],
    transforms: &[Transform],
) -> Vec<f32> {
    let pixels = &device.upload(pixels).unwrap();
    let indices = &device.upload(indices).unwrap();
    let transforms = &device.upload::<u32>(bytemuck::cast_slice(transforms)).unwrap();
    let mut y = device.alloc(Dtype::F32, geometry.n * geometry.h * geometry.w * 3).unwrap();
    device.run(Call::Augment { geometry, pixels, indices, transforms, y: &mut y }).unwrap();
    device.download(&y).unwrap()
}

/// The parameters in the file's order.
fn drawn(p: &[f64]) -> Drawn {
    Drawn {
        theta: p[0].to_radians(),
        tx: p[1],
        ty: p[2],
        shear: p[3].to_radians(),
        zx: p[4],
        zy: p[5],
        flip_horizontal: p[6] != 0.0,
        flip_vertical: p[7] != 0.0,
        channel_shift: Some(p[8]).filter(|shift| !shift.is_nan()),
        brightness: Some(p[9]).filter(|factor| !factor.is_nan()),
    }
}

/// All four modes, sizes odd and not square, given and drawn parameters. Coordinates and weights are those of
/// scipy in f64, so only a border or a truncation on which the last bit decides may differ at all.
#[test]
fn images_are_moved_as_keras_moves_them() {
    let bytes = std::fs::read(support::golden().join("augment.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let f64s = |name: &str| -> Vec<f64> { bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data()) };
    let mut names: Vec<&str> = file.names().into_iter().filter_map(|n| n.strip_suffix("/params")).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 4 * 3 * 7);
    for device in devices::all() {
        let (mut largest, mut differ, mut all) = (0.0f32, 0, 0);
        for name in &names {
            let (mode, rest) = name.split_once('/').unwrap();
            let (text, _) = rest.split_once('/').unwrap();
            let (h, w) = text.split_once('x').unwrap();
            let size = Size { h: h.parse().unwrap(), w: w.parse().unwrap() };
            let params = f64s(&format!("{name}/params"));
            let drawn = drawn(&params);

            let keras = f64s(&format!("{name}/matrix"));
            let ours = drawn.matrix(size);
            assert_eq!(ours.is_none(), keras[0].is_nan(), "{name}");
            for (ours, keras) in ours.iter().flatten().zip(&keras) {
                // Sums of three products of numbers up to 60.
                assert!((ours - keras).abs() < 1e-13, "{name}: {ours} for {keras}");
            }

            let fill = mode.parse::<FillMode>().unwrap();
            let border = Augment { fill, fill_value: params[10], ..Augment::default() }.border();
            let (h, w) = (size.h, size.w);
            let geometry = Gather { count: 1, n: 1, h, w, border, ranged: true, rule: LEVELS };
            let x = file.tensor(&format!("x/{text}")).unwrap();
            let got = run(&*device, geometry, x.data(), &[0], &[drawn.transform(size)]);
            let want: Vec<f32> =
                bytemuck::pod_collect_to_vec(file.tensor(&format!("{name}/y")).unwrap().data());
            assert_eq!(got.len(), want.len());
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                let apart = (got - want).abs();
                assert!(apart <= 1.0, "{name} on {}: {at} is {got}, not {want}", devices::name(&*device));
                largest = largest.max(apart);
                differ += usize::from(apart > 0.0);
            }
            all += want.len();
        }
        println!(
            "{}: {differ} of {all} levels differ from Keras, by {largest:.1e} at most",
            devices::name(&*device)
        );
    }
}

/// Numbers as training draws them: the same bits on every device.
#[test]
fn every_device_gives_the_same_bits() {
    let (count, n, h, w) = (5, 12, 33, 21);
    let mut draws = Draws::new(21, Stream::Demo, 0);
    let pixels: Vec<u8> = (0..count * h * w * 3).map(|_| draws.below(256) as u8).collect();
    let indices: Vec<u32> = (0..n as u32).map(|k| k * 2 % count as u32).collect();
    for fill in [FillMode::Nearest, FillMode::Reflect, FillMode::Wrap, FillMode::Constant] {
        let augment = Augment {
            channel_shift: 50.0,
            brightness: Some([0.4, 1.7]),
            shear: 30.0,
            zoom: [0.3, 2.5],
            width_shift: 0.9,
            vertical_flip: true,
            fill,
            fill_value: 33.3,
            ..Augment::book()
        };
        let size = Size { h, w };
        let transforms: Vec<Transform> =
            (0..n as u32).map(|k| augment.draw(9, 4, k, size).transform(size)).collect();
        let rule = Normalize { order: [2, 1, 0], scale: [0.017, 0.018, 0.019], offset: [-1.5, 0.3, 2.0] };
        let border = augment.border();
        let geometry = Gather { count, n, h, w, border, ranged: true, rule };
        let results: Vec<Vec<u32>> = devices::all()
            .iter()
            .map(|device| run(&**device, geometry, &pixels, &indices, &transforms))
            .map(|y| y.iter().map(|v| v.to_bits()).collect())
            .collect();
        for other in &results[1..] {
            assert_eq!(results[0].iter().zip(other).position(|(a, b)| a != b), None, "{fill:?}");
        }
    }
}

/// Also where the matrix is one and counts.
#[test]
fn images_that_do_not_change_are_only_normalized() {
    let (count, h, w) = (6, 19, 23);
    let mut draws = Draws::new(22, Stream::Demo, 0);
    let pixels: Vec<u8> = (0..count * h * w * 3).map(|_| draws.below(256) as u8).collect();
    let indices = [4u32, 0, 5, 5, 2];
    let gathered: Vec<u8> =
        indices.iter().flat_map(|&i| pixels[i as usize * h * w * 3..][..h * w * 3].to_vec()).collect();
    let rule = Normalize { order: [2, 1, 0], scale: [1.0 / 57.375; 3], offset: [-2.1, -2.0, -1.8] };
    for device in devices::all() {
        let mut y = device.alloc(Dtype::F32, gathered.len()).unwrap();
        let uploaded = &device.upload(&gathered).unwrap();
        let rows = gathered.len() / 3;
        device.run(Call::Normalize { rows, rule, pixels: uploaded, y: &mut y }).unwrap();
        let want: Vec<f32> = device.download(&y).unwrap();
        for border in [Border::Nearest, Border::Reflect, Border::Wrap, Border::Constant(1.0)] {
            for flags in [0, Transform::MOVES, Transform::MOVES | Transform::SHIFTS] {
                let transforms = [Transform { flags, ..Transform::IDENTITY }; 5];
                let geometry = Gather { count, n: 5, h, w, border, ranged: true, rule };
                let got = run(&*device, geometry, &pixels, &indices, &transforms);
                let differs = got.iter().zip(&want).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(differs, None, "{border:?}, flags {flags} on {}", devices::name(&*device));
            }
        }
    }
}

/// The cpu knows at once; a device that runs its calls later says so when it is waited for.
#[test]
fn an_index_that_is_none_of_the_set_is_refused() {
    for device in devices::all() {
        let geometry =
            Gather { count: 2, n: 3, h: 2, w: 2, border: Border::Nearest, ranged: true, rule: LEVELS };
        let pixels = &device.upload(&[7u8; 24]).unwrap();
        let indices = &device.upload(&[1u32, 0, 2]).unwrap();
        let transforms = [Transform { flags: Transform::SHIFTS, ..Transform::IDENTITY }; 3];
        let transforms = &device.upload::<u32>(bytemuck::cast_slice(&transforms)).unwrap();
        let mut y = device.zeros(36).unwrap();
        let call = Call::Augment { geometry, pixels, indices, transforms, y: &mut y };
        let error = device.run(call).and_then(|()| device.synchronize()).unwrap_err();
        assert_eq!(error.message(), "augment: the index of image 2 is none of the set's");
        device.synchronize().unwrap();
    }
}

/// A set that stays on the device, and one that is handed over: the same input for every step, and another in
/// the next. Validation sees the images as they are.
#[test]
fn resident_images_are_those_that_are_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut draws = Draws::new(23, Stream::Demo, 0);
    for class in ["a", "b"] {
        std::fs::create_dir_all(dir.path().join(class)).unwrap();
        for i in 0..4 {
            let noise =
                image::RgbImage::from_fn(21, 18, |_, _| image::Rgb([0; 3].map(|_| draws.below(256) as u8)));
            noise.save(dir.path().join(class).join(format!("{i}.png"))).unwrap();
        }
    }
    let size = Size { h: 18, w: 21 };
    let want = Want { size, resize: Resize::NEAREST, cache: None, strict: true };
    let folder = Folder::scan(dir.path()).unwrap();
    let images = Images::load(&folder, &want, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    let augment = Augment { channel_shift: 20.0, brightness: Some([0.5, 1.5]), ..Augment::book() };
    let rule = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let indices = [6u32, 1, 0, 7, 3];
    let mut seen: Vec<[Vec<f32>; 4]> = Vec::new();
    for device in devices::all() {
        let device = &*device;
        let mut samples = ImageSamples::new(device, &images, rule, 0).unwrap();
        samples.augment(Some((augment.clone(), 5)));
        let resident = device.describe().name != "cpu";
        assert_eq!(samples.to_string().ends_with("resident on the device"), resident, "{samples}");
        let get = |x: Tensor| device.download::<f32>(x.buffer()).unwrap();
        let step = |step: u64| get(samples.training_batch(device, &indices, step).unwrap());
        let backwards: Vec<u32> = indices.iter().rev().copied().collect();
        let backwards = get(samples.training_batch(device, &backwards, 3).unwrap());
        seen.push([get(samples.batch(device, &indices).unwrap()), step(3), step(4), backwards]);
    }
    let [still, third, fourth, backwards] = &seen[0];
    let plain = images.batch(&indices).unwrap().pixels;
    let lifted = still.chunks(3).flat_map(|c| [c[2] + 123.68, c[1] + 116.779, c[0] + 103.939]);
    assert!(lifted.zip(&plain).all(|(got, &want)| (got - f32::from(want)).abs() < 1e-4));
    assert!(still != third && third != fourth);
    let turned: Vec<f32> = backwards.chunks(size.bytes()).rev().flatten().copied().collect();
    assert_eq!(&turned, third, "an image's draw does not depend on its place in the batch");
    for other in &seen[1..] {
        assert_eq!(other, &seen[0]);
    }
}
