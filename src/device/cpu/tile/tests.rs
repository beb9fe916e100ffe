use super::*;
use crate::device::cpu::vector::{Lanes, Portable};

/// Small integers, so that sums are exact in any order.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * i + i / 7) % 9) as f32 - 4.0).collect()
}

#[test]
fn the_portable_tile_is_that_of_the_chosen_instructions() {
    let data = numbers(600);
    let rows = std::array::from_fn(|r| data[r * 11..].as_ptr());
    let runs = Runs { count: 3, len: 5, stride: 13, panel_stride: 7 * COLUMNS };
    let bias: [f32; COLUMNS] = std::array::from_fn(|j| j as f32);
    for begins_with_output in [false, true] {
        for floor in [0.0, f32::NEG_INFINITY] {
            let run = |chosen: bool| {
                let mut y = [3.0; 6 * 20];
                let to = (y.as_mut_ptr(), 20);
                let from = if begins_with_output { (to.0.cast_const(), 20) } else { (bias.as_ptr(), 0) };
                let panel = (data[100..].as_ptr(), data.as_ptr_range().end);
                // SAFETY: the data reach far enough: 2 · 13 + 5 of a row, (2 · 7 + 5) · 16 of the panel.
                unsafe {
                    match chosen {
                        true => six_rows(rows, runs, panel, from, floor, to),
                        false => with_sixteen::<Portable>(rows, runs, panel, from, floor, to),
                    }
                }
                y
            };
            assert_eq!(run(true), run(false));
        }
    }
}

#[test]
fn products_of_all_heights_are_sums() {
    let (depth, count, stride) = (7, 2, 9);
    let (a, panels) = (numbers(40 * stride), numbers(count * 8 * COLUMNS));
    for rows in 0..40 {
        for fresh in [true, false] {
            let product = Product {
                a: &a,
                stride,
                rows,
                depth,
                panels: &panels,
                panel_stride: 8 * COLUMNS,
                count,
                fresh,
            };
            let mut y = vec![1.0; rows.max(1) * 33];
            product.run(&mut y, 33);
            // The paths of the other levels, whatever this processor has.
            let operands = (a.as_ptr(), panels.as_ptr());
            for by in [by_tiles::<Lanes<4>>, by_tiles::<Lanes<8>>, by_tiles::<Lanes<16>>] {
                let mut other = vec![1.0; rows.max(1) * 33];
                // SAFETY: `run` asserted that the operands reach far enough.
                unsafe { by(operands, product, (other.as_mut_ptr(), 33)) };
                assert_eq!(other, y);
            }
            for (at, &y) in y.iter().enumerate() {
                let (r, j) = (at / 33, at % 33);
                let panel = |k: usize| panels[j / COLUMNS * 8 * COLUMNS + k * COLUMNS + j % COLUMNS];
                let sum = || (0..depth).map(|k| a[r * stride + k] * panel(k)).sum::<f32>();
                let begin = if fresh { 0.0 } else { 1.0 };
                let want = if r < rows && j < 32 { begin + sum() } else { 1.0 };
                assert_eq!(y, want, "row {r} of {rows}, column {j}");
            }
        }
    }
}

#[test]
fn nan_passes_through_the_floor() {
    let (a, panel) = ([f32::NAN], [1.0; COLUMNS]);
    let mut y = [0.0; ROWS * COLUMNS];
    let start = Start::Columns(&[0.0; COLUMNS]);
    // SAFETY: a run of one, rows of one, a line, and six rows of sixteen.
    unsafe { whole([&a[..]; ROWS], Runs::one(1), &panel, start, 0.0, &mut y, COLUMNS) };
    assert!(y.iter().all(|y| y.is_nan()));
}
