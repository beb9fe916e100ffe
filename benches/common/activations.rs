//! Lines of what is done to activations between products: pools, sums, elementwise calls.

use super::line::{Line, reals, words, zeros};
use super::support::cases::make;
use super::support::close::Near;
use super::support::naive;
use super::support::run::{Data, Make};
use criterion::Throughput;
use vgg_ft::device::Call;
use vgg_ft::device::call::MaskSource;
use vgg_ft::random::Stream;
use vgg_ft::shape::Pool2d;

/// There, with what it keeps, and back.
pub fn maxpool2d(layer: &str, geometry: Pool2d) -> [Line; 2] {
    let g = geometry;
    let shape = format!("{layer}/b{}", g.n);
    let (small, large) = (g.y().len(), g.x().len());
    let (x, dy) = (reals(1, large), reals(2, small));
    let (y, winner) = naive::maxpool2d_forward(&g, &x);
    let dx = naive::maxpool2d_backward(&g, &dy, &winner);
    let names = winner.clone();
    // Two bits per winner, four bytes per number.
    let work = Throughput::Bytes((4 * (small + large) + g.winners()) as u64);
    [
        Line {
            shape: shape.clone(),
            work: work.clone(),
            inputs: vec![x.into()],
            outputs: vec![
                (zeros(small), Box::new(move |at| y[at])),
                (Data::U8(vec![0; g.winners()]), Box::new(move |at| Near::exactly(f64::from(names[at])))),
            ],
            make: make!([x] => [y, winner],
                Call::Maxpool2dForward { geometry, x, y, winner: Some(winner) }),
        },
        Line {
            shape,
            work,
            inputs: vec![dy.into(), winner.into()],
            outputs: vec![(zeros(large), Box::new(move |at| dx[at]))],
            make: make!([dy, winner] => [dx],
                Call::Maxpool2dBackward { geometry, dy, winner, mask: None, dx }),
        },
    ]
}

/// The sums over pixels or rows.
pub fn bias_backward(layer: &str, rows: usize, channels: usize) -> Line {
    let dy = reals(1, rows * channels);
    let want = naive::bias_backward(channels, &dy);
    Line {
        shape: format!("{layer}/{rows}x{channels}"),
        work: words(dy.len()),
        inputs: vec![dy.into()],
        outputs: vec![(zeros(channels), Box::new(move |at| want[at]))],
        make: make!([dy] => [dbias], Call::BiasBackward { rows, channels, dy, dbias }),
    }
}

/// Calls whose elements do not know each other, at the size of a block's activations.
pub fn elementwise(layer: &str, len: usize) -> Vec<Line> {
    let shape = format!("{layer}/{len}");
    let (x, other) = (reals(1, len), reals(2, len));
    let source = MaskSource { seed: 7, stream: Stream::Dropout, counter: 0 };
    let line = |words_of: usize, before: Data, want: Vec<Near>, make: Make| Line {
        shape: shape.clone(),
        work: words(words_of * len),
        inputs: vec![x.clone().into()],
        outputs: vec![(before, Box::new(move |at| want[at]))],
        make,
    };
    vec![
        line(2, zeros(len), naive::relu_forward(&x), make!([x] => [y], Call::ReluForward { x, y })),
        line(
            3,
            other.clone().into(),
            naive::relu_backward(&x, &other),
            make!([y] => [gradient], Call::ReluBackward { y, gradient }),
        ),
        line(3, other.clone().into(), naive::add(&x, &other), make!([x] => [into], Call::Add { x, into })),
        line(
            2,
            zeros(len),
            naive::dropout(0.5, &source, &x),
            make!([x] => [y], Call::Dropout { rate: 0.5, source, x, y }),
        ),
        line(2, zeros(len), naive::sigmoid(&x), make!([x] => [y], Call::Sigmoid { x, y })),
    ]
}
