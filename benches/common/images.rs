//! Lines of what happens before a network and to its weights: images become numbers, numbers change format and order.

use super::layers::BATCH;
use super::line::{Content, Line, reals, words, zeros};
use super::support;
use super::support::cases::make;
use super::support::close::Near;
use super::support::naive;
use super::support::run::Data;
use criterion::Throughput;
use vgg_ft::data::{Augment, Size};
use vgg_ft::device::Call;
use vgg_ft::device::augment::{Border, Gather, Transform};
use vgg_ft::device::call::Normalize;
use vgg_ft::random::{Draws, Stream};

/// Bytes of images to numbers.
pub fn normalize() -> Line {
    let rows = BATCH * 150 * 150;
    let rule = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let work = Throughput::Bytes((rows * 3 * 5) as u64);
    Line::new("normalize", format!("images/b{BATCH}"), work, move || {
        let pixels = bytes(rows * 3);
        let want = naive::normalize(&rule, &pixels);
        Content {
            inputs: vec![pixels.into()],
            outputs: vec![(zeros(rows * 3), Box::new(move |at| want[at]))],
            make: make!([pixels] => [y], Call::Normalize { rows, rule, pixels, y }),
        }
    })
}

fn bytes(len: usize) -> Vec<u8> {
    let mut draws = Draws::new(1, Stream::Demo, 0);
    (0..len).map(|_| draws.below(256) as u8).collect()
}

/// Gathered alone, as validation reads a resident set, and moved as the book's notebook does.
pub fn augment() -> [Line; 2] {
    let (count, n, h, w) = (4 * BATCH, BATCH, 150, 150);
    let rule = Normalize { order: [2, 1, 0], scale: [1.0; 3], offset: [-103.939, -116.779, -123.68] };
    let geometry = Gather { count, n, h, w, border: Border::Nearest, ranged: false, rule };
    let work = Throughput::Bytes((n * h * w * 3 * 5) as u64);
    let lines = [("gathered", Augment::default()), ("moved", Augment::book())];
    lines.map(|(what, augment)| {
        Line::new("augment", format!("{what}/b{n}"), work.clone(), move || {
            let pixels = bytes(count * h * w * 3);
            let indices: Vec<u32> = (0..n as u32).map(|k| k * 3).collect();
            let size = Size { h, w };
            let transforms: Vec<Transform> =
                (0..n as u32).map(|k| augment.draw(1, 0, k, size).transform(size)).collect();
            // The oracle takes matrices as they come; the last bit of a coordinate is a 1e-13th of a level here.
            let want: Vec<Near> = support::augment::augment(&geometry, &pixels, &indices, &transforms)
                .into_iter()
                .map(|near| Near { within: 1e-4, ..near })
                .collect();
            let words: Vec<u32> = bytemuck::cast_slice(&transforms).to_vec();
            Content {
                inputs: vec![pixels.into(), indices.into(), words.into()],
                outputs: vec![(zeros(n * h * w * 3), Box::new(move |at| want[at]))],
                make: make!([pixels, indices, transforms] => [y],
                Call::Augment { geometry, pixels, indices, transforms, y }),
            }
        })
    })
}

/// A kernel of block 5 from the file's half precision, and from HWIO to OHWI; features to NCHW.
pub fn layouts() -> Vec<Line> {
    let len = 4608 * 512;
    let work = Throughput::Bytes(6 * len as u64);
    let mut lines = vec![Line::new("cast", "block5_conv1/f16-f32".into(), work, move || {
        let half: Vec<half::f16> = reals(1, len).into_iter().map(half::f16::from_f32).collect();
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        Content {
            inputs: vec![Data::F16(half)],
            outputs: vec![(zeros(len), Box::new(move |at| Near::exactly(wide[at].into())))],
            make: make!([x] => [y], Call::Cast { x, y }),
        }
    })];
    for (name, batch, rows, columns) in
        [("block5_conv1", 1, 4608, 512), ("block1_conv2", BATCH, 150 * 150, 64)]
    {
        let len = batch * rows * columns;
        let shape = format!("{name}/{batch}x{rows}x{columns}");
        lines.push(Line::new("transpose", shape, words(2 * len), move || {
            let x = reals(1, len);
            let from = x.clone();
            Content {
                inputs: vec![x.into()],
                outputs: vec![(
                    zeros(len),
                    Box::new(move |i| {
                        let (n, c, r) = (i / (rows * columns), i / rows % columns, i % rows);
                        Near::exactly(from[(n * rows + r) * columns + c].into())
                    }),
                )],
                make: make!([x] => [y], Call::Transpose { batch, rows, columns, x, y }),
            }
        }));
    }
    lines
}
