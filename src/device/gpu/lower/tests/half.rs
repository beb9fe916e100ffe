//! Calls on 16 bits, bf16 and f16, all but the convolutions.

use super::bench::Bench;
use super::check::check_all;
use crate::device::augment::{Border, Gather, Transform};
use crate::device::call::Normalize;
use crate::device::{Call, Device, Dtype, Kernels, Precision};
use crate::shape::Pool2d;

#[test]
fn calls_on_16_bits_cover_their_outputs() {
    for (card, precision) in [("a100", Precision::Bf16), ("t4", Precision::F16)] {
        let bench = Bench::on(card, precision, Kernels::Portable);
        let half = |len| bench.activations(len);
        let check = |launches: &[_], names: &[&str]| {
            let names: Vec<String> = names
                .iter()
                .map(|name| match name.strip_suffix("_reduce") {
                    Some(name) => format!("{name}_{precision}_reduce"),
                    None => format!("{name}_{precision}"),
                })
                .collect();
            check_all(launches, &names.iter().map(String::as_str).collect::<Vec<_>>());
        };
        for (n, h, w, c) in [(1, 2, 2, 1), (1, 5, 7, 3), (2, 9, 9, 64), (128, 224, 224, 64)] {
            let geometry = Pool2d { n, h, w, c };
            let (x, y) = (&mut half(geometry.x().len()), &mut half(geometry.y().len()));
            let winner = &mut bench.u8(geometry.winners());
            let launches = bench.run(Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) });
            check(&launches, &["maxpool2d_forward"]);
            let launches = bench.run(Call::Maxpool2dBackward { geometry, dy: y, winner, mask: None, dx: x });
            check(&launches, &["maxpool2d_backward"]);
        }
        for (rows, channels, cut) in [(1, 1, false), (128, 256, false), (513, 65, true), (450_000, 64, true)]
        {
            let (dy, dbias) = (&half(rows * channels), &mut bench.f32(channels));
            let both = ["bias_backward", "bias_backward_reduce"];
            let launches = bench.run(Call::BiasBackward { rows, channels, dy, dbias });
            check(&launches, if cut { &both } else { &both[..1] });
        }
        let rule = Normalize { order: [0, 1, 2], scale: [1.0; 3], offset: [0.0; 3] };
        for len in [1, 7, 8, 9, 2047, 2048, 2049, i32::MAX as usize / 3] {
            let (x, y) = (&half(len), &mut half(len));
            check(&bench.run(Call::ReluForward { x, y }), &["relu_forward"]);
            check(&bench.run(Call::ReluBackward { y: x, gradient: y }), &["relu_backward"]);
            check(&bench.run(Call::Add { x, into: y }), &["add"]);
            let (pixels, y) = (&bench.u8(len * 3), &mut half(len * 3));
            check(&bench.run(Call::Normalize { rows: len, rule, pixels, y }), &["normalize"]);
        }
        let geometry = Gather { count: 3, n: 2, h: 257, w: 1, border: Border::Nearest, ranged: false, rule };
        let (pixels, y) = (&bench.u8(3 * 257 * 3), &mut half(2 * 257 * 3));
        let [indices, transforms] =
            &[2, 2 * Transform::WORDS].map(|len| bench.0.alloc(Dtype::U32, len).unwrap());
        check(&bench.run(Call::Augment { geometry, pixels, indices, transforms, y }), &["augment"]);
    }
}
