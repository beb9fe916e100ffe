//! Cases of a scaled loss: what is scaled, what is found, and what becomes of the scale.

use super::cases::{Reals, Source, case, make};
use super::close::Near;
use super::run::{Case, Data, Output, Want};
use vgg_ft::device::{Call, LossScale};

/// Its words in a buffer.
pub fn words(state: LossScale) -> Vec<u32> {
    bytemuck::cast_slice(&[state]).to_vec()
}

fn changed(before: LossScale, after: LossScale) -> Output {
    Output { before: Some(words(before).into()), want: Want::U32(words(after)) }
}

/// A gradient that is not finite at one place, and where that is.
pub fn spoiled(len: usize, at: usize, value: f32) -> Vec<f32> {
    let mut gradient = Source::new(3).f32(Reals, len);
    gradient[at] = value;
    gradient
}

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in [1, 3, 4, 5, 1000, 1027] {
        let before = Source::new(2).f32(Reals, len);
        let state = LossScale::START;
        let want = before.iter().map(|g| Near::exactly(f64::from(g * state.scale))).collect();
        cases.push(case(
            len,
            vec![words(state).into()],
            vec![Output::in_place(before, want)],
            make!([scaling] => [gradient], Call::ScaleGradient { scaling, gradient }),
        ));
    }
    checks(&mut cases);
    let found = |state: LossScale, found| LossScale { found, ..state };
    let at = LossScale::at;
    for (before, after) in [
        (at(32768.0, 0, 2), at(32768.0, 1, 2)),
        (at(32768.0, 6, 0), at(32768.0, 7, 0)),
        (at(32768.0, 7, 0), at(65536.0, 0, 0)),
        // An interval that was longer before.
        (at(8.0, 40, 1), at(16.0, 0, 1)),
        // The end of f32 is not to be passed.
        (at(LossScale::MOST / 2.0, 7, 0), at(LossScale::MOST, 0, 0)),
        (at(LossScale::MOST, 7, 0), at(LossScale::MOST, 0, 0)),
        (found(at(32768.0, 7, 0), 0), at(16384.0, 0, 1)),
        (found(at(2.0, 3, 4), 21), at(1.0, 0, 5)),
        (found(at(1.0, 3, 4), 3), at(1.0, 0, 5)),
    ] {
        cases.push(case(
            before,
            Vec::new(),
            vec![changed(before, after)],
            make!([] => [scaling], Call::UpdateLossScale { interval: 8, scaling }),
        ));
    }
    cases
}

/// The first of many tensors is found, wherever in it the number stands; the largest numbers are finite.
fn checks(cases: &mut Vec<Case>) {
    let lens: Vec<usize> = (0..70).map(|k| [1, 5, 1023, 1024, 1025, 2, 4, 3][k % 8] + k / 8).collect();
    let tensors = |spoil: &[(usize, f32)]| -> Vec<Data> {
        let one = |(k, &len): (usize, &usize)| {
            let place = spoil.iter().find(|(at, _)| *at == k);
            match place {
                Some(&(_, value)) => spoiled(len, (k * 37) % len, value),
                None => spoiled(len, len / 2, if k % 2 == 0 { f32::MAX } else { f32::MIN }),
            }
        };
        lens.iter().enumerate().map(|(k, len)| one((k, len)).into()).collect()
    };
    let (nan, infinite) = (f32::NAN, f32::INFINITY);
    let start = LossScale::START;
    for (spoil, found) in [
        (&[][..], LossScale::NOTHING),
        (&[(0, nan)], 0),
        (&[(3, -infinite)], 3),
        (&[(69, infinite), (66, nan)], 66),
        (&[(63, nan), (64, nan), (2, infinite)], 2),
        (&[(64, infinite)], 64),
    ] {
        cases.push(case(
            format!("{spoil:?}"),
            tensors(spoil),
            vec![changed(start, LossScale { found, ..start })],
            Box::new(|gradients, outputs| {
                let [scaling] = outputs else { panic!("number of buffers") };
                Call::CheckGradients { gradients: gradients.iter().collect(), scaling }
            }),
        ));
    }
}
