//! The heart of convolutions: a product of some rows and 16 columns, kept in registers.
//!
//! In: rows of `a`, each cut into runs; packed panels of 16 columns. Out: a part of a row-major matrix. With
//! AVX2, six rows by two vectors of accumulators, two vectors of the panel and one broadcast nearly fill the
//! sixteen registers; twelve multiply-adds hide the eight loads. While a tile is computed, a part of the panel that
//! comes next is fetched: weights stream from L3 or memory, and the processor's own
//! prefetcher starts too late.

use super::simd::by_level;
use super::vector::Vector;
use std::ops::Range;

/// Rows of a tile in [`multiply`].
pub const ROWS: usize = 6;
/// Columns of a tile, and of a packed panel.
pub const COLUMNS: usize = 16;
/// Lines of the panel that pass for each line that is fetched ahead.
const PER_FETCH: usize = 4;

/// How the summed index lies in memory: `count` runs of `len`.
#[derive(Clone, Copy)]
pub struct Runs {
    pub count: usize,
    pub len: usize,
    /// Numbers from one run of a row of `a` to the next.
    pub stride: usize,
    /// Numbers from one run of the panel to the next; within a run, lines of 16 follow each other.
    pub panel_stride: usize,
}

impl Runs {
    /// One run.
    pub fn one(len: usize) -> Self {
        Self { count: 1, len, stride: 0, panel_stride: 0 }
    }

    /// How far the last run reaches when runs are `stride` apart and `len` long.
    fn reach(self, stride: usize, len: usize) -> usize {
        if self.count == 0 { 0 } else { (self.count - 1) * stride + len }
    }
}

/// What the sums begin with.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// These numbers, in every row.
    Columns(&'a [f32; COLUMNS]),
    /// What the output holds.
    Output,
}

/// The part of a row-major matrix that a tile writes.
pub struct Corner<'a> {
    /// Begins at the tile's first element.
    pub matrix: &'a mut [f32],
    pub stride: usize,
    pub rows: usize,
    pub columns: usize,
}

/// `corner[r][j] = max(floor, start + Σ_k a[rows[r] + k] · panel[k][j])`; NaN passes through the maximum.
///
/// `rows` holds the place in `a` of each row; those past the corner's rows are not looked at.
pub fn multiply(
    a: &[f32],
    rows: &[usize; ROWS],
    runs: Runs,
    panel: &[f32],
    start: Start<'_>,
    floor: f32,
    corner: Corner<'_>,
) {
    let Corner { matrix, stride, rows: live, columns } = corner;
    assert!((1..=ROWS).contains(&live) && (1..=COLUMNS).contains(&columns) && columns <= stride);
    assert!(rows[..live].iter().all(|row| row + runs.reach(runs.stride, runs.len) <= a.len()));
    assert!(runs.reach(runs.panel_stride, runs.len * COLUMNS) <= panel.len());
    assert!((live - 1) * stride + columns <= matrix.len());
    // Rows that do not count repeat the first; they are computed and dropped.
    let rows = std::array::from_fn(|r| if r < live { &a[rows[r]..] } else { &a[rows[0]..] });
    if live == ROWS && columns == COLUMNS {
        // SAFETY: asserted above.
        return unsafe { whole(rows, runs, panel, start, floor, matrix, stride) };
    }
    let mut local = [0.0; ROWS * COLUMNS];
    let row = |r: usize| -> Range<usize> { r * stride..r * stride + columns };
    if let Start::Output = start {
        for (r, local) in local.chunks_exact_mut(COLUMNS).take(live).enumerate() {
            local[..columns].copy_from_slice(&matrix[row(r)]);
        }
    }
    // SAFETY: asserted above, and `local` holds six rows of sixteen.
    unsafe { whole(rows, runs, panel, start, floor, &mut local, COLUMNS) };
    for (r, local) in local.chunks_exact(COLUMNS).take(live).enumerate() {
        matrix[row(r)].copy_from_slice(&local[..columns]);
    }
}

/// # Safety
/// Every row reaches to the end of the last run, the panel holds a line for each summed index, and the matrix six rows
/// of sixteen, `stride` apart.
unsafe fn whole(
    rows: [&[f32]; ROWS],
    runs: Runs,
    panel: &[f32],
    start: Start<'_>,
    floor: f32,
    matrix: &mut [f32],
    stride: usize,
) {
    let to = matrix.as_mut_ptr();
    let (from, from_stride) = match start {
        Start::Columns(columns) => (columns.as_ptr(), 0),
        Start::Output => (to.cast_const(), stride),
    };
    let panel = panel.as_ptr_range();
    // SAFETY: the caller's promise.
    unsafe {
        six_rows(
            rows.map(<[f32]>::as_ptr),
            runs,
            (panel.start, panel.end),
            (from, from_stride),
            floor,
            (to, stride),
        );
    }
}

by_level! {
    unsafe fn six_rows[][](
        rows: [*const f32; ROWS],
        runs: Runs,
        panel: (*const f32, *const f32),
        from: (*const f32, usize),
        floor: f32,
        to: (*mut f32, usize),
    ) = with_sixteen
}

/// [`tile`] with as many vectors as sixteen columns take.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn with_sixteen<V: Vector>(
    rows: [*const f32; ROWS],
    runs: Runs,
    panel: (*const f32, *const f32),
    from: (*const f32, usize),
    floor: f32,
    to: (*mut f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        match V::LANES {
            16 => tile::<V, ROWS, 1>(rows, runs, panel, from, floor, to),
            8 => tile::<V, ROWS, 2>(rows, runs, panel, from, floor, to),
            _ => tile::<V, ROWS, 4>(rows, runs, panel, from, floor, to),
        }
    }
}

/// `to[r][j] = max(floor, from[r][j] + Σ_k rows[r][k] · panel[k][j])`, fetching ahead from `panel.1`.
///
/// # Safety
/// Rows and panel reach to the end of the last run; `from` and `to` hold `R` rows of sixteen numbers, their
/// strides apart; the processor has `V`'s instructions.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const W: usize>(
    rows: [*const f32; R],
    runs: Runs,
    (panel, mut ahead): (*const f32, *const f32),
    (from, from_stride): (*const f32, usize),
    floor: f32,
    (to, stride): (*mut f32, usize),
) {
    // SAFETY: the caller's promise covers every address below.
    unsafe {
        let mut sums = [[V::splat(0.0); W]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            for (w, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(from.add(r * from_stride + w * V::LANES));
            }
        }
        for run in 0..runs.count {
            let mut k = run * runs.stride;
            let mut line = panel.add(run * runs.panel_stride);
            for _ in 0..runs.len / PER_FETCH {
                V::prefetch(ahead);
                ahead = ahead.wrapping_add(COLUMNS);
                for _ in 0..PER_FETCH {
                    add_line(&mut sums, &rows, k, line);
                    (k, line) = (k + 1, line.add(COLUMNS));
                }
            }
            for _ in 0..runs.len % PER_FETCH {
                add_line(&mut sums, &rows, k, line);
                (k, line) = (k + 1, line.add(COLUMNS));
            }
        }
        let floor = V::splat(floor);
        for (r, sums) in sums.iter().enumerate() {
            for (w, sum) in sums.iter().enumerate() {
                floor.floor_of(*sum).store(to.add(r * stride + w * V::LANES));
            }
        }
    }
}

/// `sums[r] += rows[r][k] · line`. A function and no closure, here and below: what is not inlined calls each
/// instruction.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn add_line<V: Vector, const R: usize, const W: usize>(
    sums: &mut [[V; W]; R],
    rows: &[*const f32; R],
    k: usize,
    line: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut columns = [V::splat(0.0); W];
        for (w, column) in columns.iter_mut().enumerate() {
            *column = V::load(line.add(w * V::LANES));
        }
        for (sums, row) in sums.iter_mut().zip(rows) {
            let a = V::splat(*row.add(k));
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = a.multiply_add(column, *sum);
            }
        }
    }
}

/// A product of matrices whose sizes the tile divides as it can.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// `[rows][depth]`, rows `stride` apart.
    pub a: &'a [f32],
    pub stride: usize,
    pub rows: usize,
    pub depth: usize,
    /// Panels `[depth][16]`, beginning `panel_stride` apart.
    pub panels: &'a [f32],
    pub panel_stride: usize,
    pub count: usize,
    /// Whether the sums begin with zero, or with what the output holds.
    pub fresh: bool,
}

impl Product<'_> {
    /// `y[r][16 p + j] (+)= Σ_k a[r][k] · panels[p][k][j]`, rows of `y` `stride` apart. Each sum is taken in
    /// the order of `k`.
    pub fn run(self, y: &mut [f32], stride: usize) {
        let Self { rows, depth, count, .. } = self;
        if rows == 0 || count == 0 {
            return;
        }
        assert!((rows - 1) * self.stride + depth <= self.a.len());
        assert!((count - 1) * self.panel_stride + depth * COLUMNS <= self.panels.len());
        assert!(count * COLUMNS <= stride && (rows - 1) * stride + count * COLUMNS <= y.len());
        // SAFETY: the assertions are what the function asks for.
        unsafe { product((self.a.as_ptr(), self.panels.as_ptr()), self, (y.as_mut_ptr(), stride)) }
    }
}

by_level! {
    unsafe fn product[][](operands: (*const f32, *const f32), sizes: Product<'_>, to: (*mut f32, usize)) = by_tiles
}

/// [`Product::run`].
///
/// # Safety
/// `a` and the panels reach as far as the sizes say, the output holds `rows` rows of `16 count`; the
/// processor has `V`'s instructions.
#[inline(always)]
unsafe fn by_tiles<V: Vector>(
    (a, panels): (*const f32, *const f32),
    sizes: Product<'_>,
    (to, stride): (*mut f32, usize),
) {
    let Product { rows, depth, panel_stride, count, fresh, .. } = sizes;
    // A tile fetches so many lines of the next panel; the tiles of a panel share it.
    let fetched = depth / PER_FETCH * COLUMNS;
    let zeros = [0.0f32; COLUMNS];
    for p in 0..count {
        // SAFETY: a panel and its columns of the output lie within what the caller promised.
        unsafe {
            let panel = panels.add(p * panel_stride);
            // Behind the last panel lies the next product's first, or nothing: a hint needs no good address.
            let next = panels.wrapping_add((p + 1) * panel_stride);
            let to = to.add(p * COLUMNS);
            let mut row = 0;
            let mut at = 0;
            while row < rows {
                // The last two tiles share what is left, since a tile of one row costs nearly that of three.
                let left = rows - row;
                let live = match left.div_ceil(V::ROWS) {
                    1 => left,
                    2 => left.div_ceil(2),
                    _ => V::ROWS,
                };
                let to = to.add(row * stride);
                let from = if fresh { (zeros.as_ptr(), 0) } else { (to.cast_const(), stride) };
                let panel = (panel, next.wrapping_add(at % PER_FETCH * fetched));
                let a = a.add(row * sizes.stride);
                rows_of::<V>(live, (a, sizes.stride), depth, panel, from, (to, stride));
                row += live;
                at += 1;
            }
        }
    }
}

/// A tile of `live` rows.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn rows_of<V: Vector>(
    live: usize,
    (a, a_stride): (*const f32, usize),
    depth: usize,
    panel: (*const f32, *const f32),
    from: (*const f32, usize),
    to: (*mut f32, usize),
) {
    macro_rules! tiles {
        ($($rows:literal)*) => {
            match (live, V::LANES) {
                $(
                    ($rows, 16) => tiles!($rows, 1),
                    ($rows, 8) if $rows <= V::ROWS => tiles!($rows, 2),
                    ($rows, 4) if $rows <= V::ROWS => tiles!($rows, 4),
                )*
                _ => unreachable!("a tile has 1 to {} rows, not {live}", V::ROWS),
            }
        };
        ($rows:literal, $vectors:literal) => {{
            // SAFETY: the caller's promise.
            unsafe {
                let mut rows = [a; $rows];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = a.add(r * a_stride);
                }
                tile::<V, $rows, $vectors>(rows, Runs::one(depth), panel, from, f32::NEG_INFINITY, to)
            }
        }};
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12)
}

#[cfg(test)]
mod tests;
