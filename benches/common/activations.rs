//! Lines of what is done to activations between products: pools, sums, elementwise calls.

use super::line::{Content, Line, reals, words, zeros};
use super::support::cases::make;
use super::support::close::Near;
use super::support::naive;
use super::support::run::{Data, Make};
use criterion::Throughput;
use vgg_ft::device::Call;
use vgg_ft::device::call::MaskSource;
use vgg_ft::random::Stream;
use vgg_ft::shape::{GlobalPool2d, Pool2d};

/// There, with what it keeps, and back.
pub fn maxpool2d(layer: &str, geometry: Pool2d) -> [Line; 2] {
    let g = geometry;
    let shape = format!("{layer}/b{}", g.n);
    let (small, large) = (g.y().len(), g.x().len());
    // Two bits per winner, four bytes per number.
    let work = Throughput::Bytes((4 * (small + large) + g.winners()) as u64);
    [
        Line::new("maxpool2d_forward", shape.clone(), work.clone(), move || {
            let x = reals(1, large);
            let (y, winner) = naive::maxpool2d_forward(&g, &x);
            Content {
                inputs: vec![x.into()],
                outputs: vec![
                    (zeros(small), Box::new(move |at| y[at])),
                    (
                        Data::U8(vec![0; g.winners()]),
                        Box::new(move |at| Near::exactly(f64::from(winner[at]))),
                    ),
                ],
                make: make!([x] => [y, winner],
                    Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
            }
        }),
        Line::new("maxpool2d_backward", shape, work, move || {
            let (_, winner) = naive::maxpool2d_forward(&g, &reals(1, large));
            let dy = reals(2, small);
            let dx = naive::maxpool2d_backward(&g, &dy, &winner);
            Content {
                inputs: vec![dy.into(), winner.into()],
                outputs: vec![(zeros(large), Box::new(move |at| dx[at]))],
                make: make!([dy, winner] => [dx],
                    Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx }),
            }
        }),
    ]
}

/// The means of whole maps, and back.
pub fn global_avgpool2d(layer: &str, geometry: GlobalPool2d) -> [Line; 2] {
    let g = geometry;
    let shape = format!("{layer}/b{}", g.n);
    let (small, large) = (g.y().len(), g.x().len());
    [
        Line::new("global_avgpool2d_forward", shape.clone(), words(small + large), move || {
            let x = reals(1, large);
            let y = naive::global_avgpool2d_forward(&g, &x);
            Content {
                inputs: vec![x.into()],
                outputs: vec![(zeros(small), Box::new(move |at| y[at]))],
                make: make!([x] => [y], Call::GlobalAvgpool2dForward { geometry, x, y }),
            }
        }),
        Line::new("global_avgpool2d_backward", shape, words(small + large), move || {
            let dy = reals(2, small);
            let dx = naive::global_avgpool2d_backward(&g, &dy);
            Content {
                inputs: vec![dy.into()],
                outputs: vec![(zeros(large), Box::new(move |at| dx[at]))],
                make: make!([dy] => [dx], Call::GlobalAvgpool2dBackward { geometry, dy, dx }),
            }
        }),
    ]
}

/// The sums over pixels or rows.
pub fn bias_backward(layer: &str, rows: usize, channels: usize) -> Line {
    let shape = format!("{layer}/{rows}x{channels}");
    Line::new("bias_backward", shape, words(rows * channels), move || {
        let dy = reals(1, rows * channels);
        let want = naive::bias_backward(channels, &dy);
        Content {
            inputs: vec![dy.into()],
            outputs: vec![(zeros(channels), Box::new(move |at| want[at]))],
            make: make!([dy] => [dbias], Call::BiasBackward { rows, channels, dy, dbias }),
        }
    })
}

const SOURCE: MaskSource = MaskSource { seed: 7, stream: Stream::Dropout, counter: 0 };

/// Calls whose elements do not know each other, at the size of a block's activations.
pub fn elementwise(layer: &str, len: usize) -> Vec<Line> {
    let shape = format!("{layer}/{len}");
    // Of the first numbers and the second, what should come of them; what changes is the second, if `updates`, else a
    // new buffer.
    let line =
        |name, words_of: usize, updates: bool, want: fn(&[f32], &[f32]) -> Vec<Near>, make: fn() -> Make| {
            Line::new(name, shape.clone(), words(words_of * len), move || {
                let (x, other) = (reals(1, len), if updates { reals(2, len) } else { Vec::new() });
                let want = want(&x, &other);
                let before: Data = if updates { other.into() } else { zeros(len) };
                Content {
                    inputs: vec![x.into()],
                    outputs: vec![(before, Box::new(move |at| want[at]))],
                    make: make(),
                }
            })
        };
    vec![
        line(
            "relu_forward",
            2,
            false,
            |x, _| naive::relu_forward(x),
            || make!([x] => [y], Call::ReluForward { x, y }),
        ),
        line(
            "relu_backward",
            3,
            true,
            naive::relu_backward,
            || make!([y] => [gradient], Call::ReluBackward { y, gradient }),
        ),
        line("add", 3, true, naive::add, || make!([x] => [into], Call::Add { x, into })),
        line(
            "dropout",
            2,
            false,
            |x, _| naive::dropout(0.5, &SOURCE, x),
            || make!([x] => [y], Call::Dropout { rate: 0.5, source: SOURCE, x, y }),
        ),
        line("sigmoid", 2, false, |x, _| naive::sigmoid(x), || make!([x] => [y], Call::Sigmoid { x, y })),
    ]
}
