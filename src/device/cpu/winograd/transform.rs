//! The transforms of a form, for tiles and windows with their channels side by side.
//!
//! In: addresses of a tile's pixels; of a window's nine taps. Out: A x A points, `points` apart; outputs, with
//! bias and ReLU, with a mask, or as the maxima of 2x2. Points of one channel lie far apart in memory: their
//! distance ([`spread`]) is an odd number of cache lines, or they would share a few sets of L1.

use super::form::Form;
use crate::device::cpu::simd::by_level;
use crate::device::cpu::vector::Vector;

/// Numbers of a cache line.
const LINE: usize = 16;

/// The distance between points that have `len` numbers each: an odd number of cache lines.
pub fn spread(len: usize) -> usize {
    (len.div_ceil(LINE) | 1) * LINE
}

/// What outputs become on their way to memory.
#[derive(Clone, Copy)]
pub struct Finish {
    /// One number per channel, or null.
    pub bias: *const f32,
    /// Outputs below it become it: 0 for a ReLU, else minus infinity.
    pub floor: f32,
}

/// The vectors at some addresses, `c` numbers further on. Loops and no closures, here and below: what is not
/// inlined calls each instruction.
///
/// # Safety
/// They can be read; the processor has `V`'s instructions.
#[inline(always)]
unsafe fn load_each<V: Vector, const N: usize>(from: &[*const f32; N], c: usize) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut all = [V::splat(0.0); N];
        for (x, from) in all.iter_mut().zip(from) {
            *x = V::load(from.add(c));
        }
        all
    }
}

/// The vectors that lie `apart`.
///
/// # Safety
/// As [`load_each`].
#[inline(always)]
unsafe fn load_apart<V: Vector, const N: usize>(from: *const f32, apart: usize) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut all = [V::splat(0.0); N];
        for (at, x) in all.iter_mut().enumerate() {
            *x = V::load(from.add(at * apart));
        }
        all
    }
}

/// Writes vectors `apart`.
///
/// # Safety
/// There can be written.
#[inline(always)]
unsafe fn store_each<V: Vector, const N: usize>(all: [V; N], to: *mut f32, apart: usize) {
    for (at, x) in all.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { x.store(to.add(at * apart)) };
    }
}

/// Column `b` of a matrix.
#[inline(always)]
fn column<V: Vector, const N: usize, const M: usize>(matrix: &[[V; M]; N], b: usize) -> [V; N] {
    let mut all = [matrix[0][0]; N];
    for (x, row) in all.iter_mut().zip(matrix) {
        *x = row[b];
    }
    all
}

by_level! {
    /// `points[p · spread + c]` = Bᵀ d B of `A` rows of `A` pixels; with `by_line`, channels are cut into lines of
    /// sixteen, `by_line` apart: `points[p · spread + c / 16 · by_line + c % 16]`.
    ///
    /// # Safety
    /// From each address `channels` numbers can be read, a multiple of sixteen; the points can be written.
    pub unsafe fn pixels_to_points[F: Form<M, A>, const M: usize, const A: usize][F, M, A](
        pixels: &[[*const f32; A]; A],
        channels: usize,
        points: *mut f32,
        spread: usize,
        by_line: usize,
    ) = pixels_to_points_with
}

#[inline(always)]
unsafe fn pixels_to_points_with<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    pixels: &[[*const f32; A]; A],
    channels: usize,
    points: *mut f32,
    spread: usize,
    by_line: usize,
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let mut half = [[V::splat(0.0); A]; A];
            for (half, row) in half.iter_mut().zip(pixels) {
                *half = F::bt(load_each(row, c));
            }
            let to = points.add(c / LINE * by_line + c % LINE);
            for b in 0..A {
                store_each(F::bt(column(&half, b)), to.add(b * spread), A * spread);
            }
        }
    }
}

by_level! {
    /// `outputs[i][j][c]` = Aᵀ m A of `points[p · spread + c]`, finished; where an address is null there is no
    /// output.
    ///
    /// # Safety
    /// `channels`, a multiple of sixteen, can be read at every point (and at the bias) and written at every
    /// address.
    pub unsafe fn points_to_outputs[F: Form<M, A>, const M: usize, const A: usize][F, M, A](
        points: *const f32,
        spread: usize,
        channels: usize,
        finish: Finish,
        outputs: &[[*mut f32; M]; M],
    ) = points_to_outputs_with
}

/// Aᵀ m A of the vectors at `points`.
///
/// # Safety
/// They can be read, `spread` apart; the processor has `V`'s instructions.
#[inline(always)]
unsafe fn outputs_of<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    points: *const f32,
    spread: usize,
) -> [[V; M]; M] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut half = [[V::splat(0.0); M]; A];
        for (a, half) in half.iter_mut().enumerate() {
            *half = F::at(load_apart(points.add(a * A * spread), spread));
        }
        let mut y = [[V::splat(0.0); M]; M];
        for b in 0..M {
            let column = F::at(column(&half, b));
            for (y, x) in y.iter_mut().zip(column) {
                y[b] = x;
            }
        }
        y
    }
}

impl Finish {
    /// Bias and floor of the channels from `c` on.
    ///
    /// # Safety
    /// There is a bias for them, or none at all; the processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn at<V: Vector>(self, c: usize) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let bias = if self.bias.is_null() { V::splat(0.0) } else { V::load(self.bias.add(c)) };
            [bias, V::splat(self.floor)]
        }
    }
}

#[inline(always)]
unsafe fn points_to_outputs_with<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    points: *const f32,
    spread: usize,
    channels: usize,
    finish: Finish,
    outputs: &[[*mut f32; M]; M],
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let y = outputs_of::<V, F, M, A>(points.add(c), spread);
            let [bias, floor] = finish.at::<V>(c);
            for (y, to) in y.iter().zip(outputs) {
                for (y, to) in y.iter().zip(to) {
                    if !to.is_null() {
                        floor.floor_of(y.add(bias)).store(to.add(c));
                    }
                }
            }
        }
    }
}

by_level! {
    /// [`points_to_outputs`] where `masks[i][j][c]` is above 0, else 0.
    ///
    /// # Safety
    /// As there; the masks can be read wherever there is an output.
    pub unsafe fn points_to_masked[F: Form<M, A>, const M: usize, const A: usize][F, M, A](
        points: *const f32,
        spread: usize,
        channels: usize,
        masks: &[[*const f32; M]; M],
        outputs: &[[*mut f32; M]; M],
    ) = points_to_masked_with
}

#[inline(always)]
unsafe fn points_to_masked_with<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    points: *const f32,
    spread: usize,
    channels: usize,
    masks: &[[*const f32; M]; M],
    outputs: &[[*mut f32; M]; M],
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let y = outputs_of::<V, F, M, A>(points.add(c), spread);
            for (y, (to, mask)) in y.iter().zip(outputs.iter().zip(masks)) {
                for (y, (to, mask)) in y.iter().zip(to.iter().zip(mask)) {
                    if !to.is_null() {
                        y.where_positive(V::load(mask.add(c))).store(to.add(c));
                    }
                }
            }
        }
    }
}

by_level! {
    /// The maxima of 2x2 finished outputs: `maxima[i · M / 2 + j][c]`; where an address is null there is none.
    ///
    /// # Safety
    /// As [`points_to_outputs`]. `M` is even and at most 4.
    pub unsafe fn points_to_maxima[F: Form<M, A>, const M: usize, const A: usize][F, M, A](
        points: *const f32,
        spread: usize,
        channels: usize,
        finish: Finish,
        maxima: &[*mut f32; 4],
    ) = points_to_maxima_with
}

#[inline(always)]
unsafe fn points_to_maxima_with<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    points: *const f32,
    spread: usize,
    channels: usize,
    finish: Finish,
    maxima: &[*mut f32; 4],
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let y = outputs_of::<V, F, M, A>(points.add(c), spread);
            let [bias, floor] = finish.at::<V>(c);
            for i in 0..M / 2 {
                for j in 0..M / 2 {
                    let to = maxima[i * (M / 2) + j];
                    if !to.is_null() {
                        let top = y[2 * i][2 * j].greatest(y[2 * i][2 * j + 1]);
                        let bottom = y[2 * i + 1][2 * j].greatest(y[2 * i + 1][2 * j + 1]);
                        floor.floor_of(top.greatest(bottom).add(bias)).store(to.add(c));
                    }
                }
            }
        }
    }
}

by_level! {
    /// `points[p · spread + c]` = A y Aᵀ of a tile of `M` x `M` gradients.
    ///
    /// # Safety
    /// From each address `channels` numbers can be read, a multiple of sixteen; the points can be written.
    pub unsafe fn gradients_to_points[F: Form<M, A>, const M: usize, const A: usize][F, M, A](
        gradients: &[[*const f32; M]; M],
        channels: usize,
        points: *mut f32,
        spread: usize,
    ) = gradients_to_points_with
}

#[inline(always)]
unsafe fn gradients_to_points_with<V: Vector, F: Form<M, A>, const M: usize, const A: usize>(
    gradients: &[[*const f32; M]; M],
    channels: usize,
    points: *mut f32,
    spread: usize,
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let mut half = [[V::splat(0.0); A]; M];
            for (half, row) in half.iter_mut().zip(gradients) {
                *half = F::a(load_each(row, c));
            }
            for b in 0..A {
                store_each(F::a(column(&half, b)), points.add(b * spread + c), A * spread);
            }
        }
    }
}

by_level! {
    /// `points[p · spread + j]` = G g Gᵀ of sixteen windows side by side.
    ///
    /// # Safety
    /// The points can be written, sixteen numbers each.
    pub unsafe fn windows_to_points[const A: usize][A](
        g: &[[f32; 3]; A],
        taps: &[[f32; LINE]; 9],
        points: *mut f32,
        spread: usize,
    ) = windows_to_points_with
}

/// `Σ_k row[k] · x[k]`, of three.
///
/// # Safety
/// The processor has `V`'s instructions.
#[inline(always)]
unsafe fn three<V: Vector>(row: &[f32; 3], x: [V; 3]) -> V {
    // SAFETY: the caller's promise.
    let [a, b, c] = unsafe { [V::splat(row[0]), V::splat(row[1]), V::splat(row[2])] };
    x[0].multiply_add(a, x[1].multiply_add(b, x[2].multiply(c)))
}

/// `Σ_a g[a][i] · x[a]` for `i` = 0, 1, 2.
///
/// # Safety
/// The processor has `V`'s instructions.
#[inline(always)]
unsafe fn down<V: Vector, const A: usize>(g: &[[f32; 3]; A], x: [V; A]) -> [V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [V::splat(0.0); 3];
        for (x, row) in x.iter().zip(g) {
            for (sum, factor) in sums.iter_mut().zip(row) {
                *sum = x.multiply_add(V::splat(*factor), *sum);
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn windows_to_points_with<V: Vector, const A: usize>(
    g: &[[f32; 3]; A],
    taps: &[[f32; LINE]; 9],
    points: *mut f32,
    spread: usize,
) {
    for j in (0..LINE).step_by(V::LANES) {
        // SAFETY: a line is a multiple of the lanes; the points are the caller's promise.
        unsafe {
            let mut window = [[V::splat(0.0); 3]; 3];
            for (i, row) in window.iter_mut().enumerate() {
                for (b, tap) in row.iter_mut().enumerate() {
                    *tap = V::load(taps[i * 3 + b].as_ptr().add(j));
                }
            }
            for (a, row) in g.iter().enumerate() {
                let mut half = [V::splat(0.0); 3];
                for (b, half) in half.iter_mut().enumerate() {
                    *half = three(row, column(&window, b));
                }
                for (b, row) in g.iter().enumerate() {
                    three(row, half).store(points.add((a * A + b) * spread + j));
                }
            }
        }
    }
}

by_level! {
    /// `taps[t · distance + c]` = Gᵀ u G of the points: what a window's gradient is.
    ///
    /// # Safety
    /// `channels`, a multiple of sixteen, can be read at every point and written at every tap.
    pub unsafe fn points_to_windows[const A: usize][A](
        g: &[[f32; 3]; A],
        points: *const f32,
        spread: usize,
        channels: usize,
        taps: *mut f32,
        distance: usize,
    ) = points_to_windows_with
}

#[inline(always)]
unsafe fn points_to_windows_with<V: Vector, const A: usize>(
    g: &[[f32; 3]; A],
    points: *const f32,
    spread: usize,
    channels: usize,
    taps: *mut f32,
    distance: usize,
) {
    for c in (0..channels).step_by(V::LANES) {
        // SAFETY: channels are a multiple of the lanes; what is read and written is the caller's promise.
        unsafe {
            let mut half = [[V::splat(0.0); A]; 3];
            for b in 0..A {
                let column = down(g, load_apart(points.add(b * spread + c), A * spread));
                for (half, x) in half.iter_mut().zip(column) {
                    half[b] = x;
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                store_each(down(g, row), taps.add(i * 3 * distance + c), distance);
            }
        }
    }
}
