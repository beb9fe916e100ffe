//! Layouts of kernels: files keep the outputs last (Keras: HWIO, `[in, out]`); the engine keeps convolutions as OHWI and
//! dense kernels as `[in, out]`. Pure functions on slices.
//!
//! With h, w and i taken together as one axis, HWIO and OHWI are a matrix and its transpose.

use rayon::prelude::*;

/// A tile of 32 × 32 floats is 4 kB and moves in whole cache lines, two per row.
const TILE: usize = 32;

/// `[h, w, i, o]` → `[o, h, w, i]`: a convolution kernel of Keras as the engine wants it.
///
/// # Panics
/// When `kernel` has not the size that `[h, w, i, o]` says.
pub fn hwio_to_ohwi(kernel: &[f32], [h, w, i, o]: [usize; 4]) -> Vec<f32> {
    transpose(kernel, h * w * i, o)
}

/// `[o, h, w, i]` → `[h, w, i, o]`: a convolution kernel of the engine as Keras wants it. The sizes
/// are given in the order of the file, `[h, w, i, o]`, as for [`hwio_to_ohwi`].
///
/// # Panics
/// When `kernel` has not the size that `[h, w, i, o]` says.
pub fn ohwi_to_hwio(kernel: &[f32], [h, w, i, o]: [usize; 4]) -> Vec<f32> {
    transpose(kernel, o, h * w * i)
}

/// `[h, w, i, o]` → `[o, i, h, w]`: a convolution kernel of Keras as PyTorch and ONNX want it.
///
/// # Panics
/// When `kernel` has not the size that `[h, w, i, o]` says.
pub fn hwio_to_oihw(kernel: &[f32], [h, w, i, o]: [usize; 4]) -> Vec<f32> {
    let mut out = hwio_to_ohwi(kernel, [h, w, i, o]);
    for filter in out.chunks_exact_mut((h * w * i).max(1)) {
        let turned = transpose(filter, h * w, i);
        filter.copy_from_slice(&turned);
    }
    out
}

/// `[o, i, h, w]` → `[o, h, w, i]` into `out`: a convolution kernel of PyTorch as the engine wants it. The sizes are
/// given as `[h, w, i, o]`.
///
/// # Panics
/// When `kernel` or `out` has not the size that `[h, w, i, o]` says.
pub fn oihw_to_ohwi_into(kernel: &[f32], [h, w, i, o]: [usize; 4], out: &mut [f32]) {
    assert_eq!([kernel.len(), out.len()], [h * w * i * o; 2], "a kernel of {h} × {w} × {i} × {o}");
    let size = (h * w * i).max(1);
    out.par_chunks_exact_mut(size).zip(kernel.par_chunks_exact(size)).for_each(|(to, from)| {
        for (channel, plane) in from.chunks_exact(h * w).enumerate() {
            for (place, &value) in plane.iter().enumerate() {
                to[place * i + channel] = value;
            }
        }
    });
}

/// Some units of a dense kernel of PyTorch, each a run of `rows` inputs in `from`, into the columns of `to`,
/// `[rows, units]`, from column `first` on. With `flattened`, `[h, w, c]`, the inputs of `from` are in the
/// order C, H, W and those of `to` in the order H, W, C.
///
/// # Panics
/// When the sizes do not fit each other.
pub fn scatter_columns(
    from: &[f32],
    rows: usize,
    first: usize,
    to: &mut [f32],
    units: usize,
    flattened: Option<[usize; 3]>,
) {
    if from.is_empty() || units == 0 {
        return;
    }
    let columns = from.len() / rows;
    assert!(from.len() == rows * columns && first + columns <= units && to.len() == rows * units);
    if let Some([h, w, c]) = flattened {
        assert_eq!(h * w * c, rows, "an image of {h} × {w} × {c}");
    }
    // Each task owns TILE rows of the output. In a row the columns lie side by side, so a task walks down
    // TILE runs of the input at once and each of its cache lines is used while it is near.
    to.par_chunks_mut(TILE * units).enumerate().for_each(|(band, to)| {
        for (at, line) in to.chunks_exact_mut(units).enumerate() {
            let row = band * TILE + at;
            let source = match flattened {
                Some([h, w, c]) => row % c * (h * w) + row / c,
                None => row,
            };
            for (column, value) in line[first..first + columns].iter_mut().enumerate() {
                *value = from[column * rows + source];
            }
        }
    });
}

/// The rows of a dense kernel `[h·w·c, units]` in the order `[c, h, w]` instead of `[h, w, c]`: for those
/// who flatten with the channels first.
///
/// # Panics
/// When `kernel` is not a whole number of columns for `[h, w, c]`.
pub fn rows_channels_first(kernel: &[f32], [h, w, c]: [usize; 3]) -> Vec<f32> {
    let rows = h * w * c;
    assert_eq!(kernel.len() % rows.max(1), 0, "rows of {rows} inputs");
    let units = kernel.len() / rows.max(1);
    let mut out = Vec::with_capacity(kernel.len());
    for channel in 0..c {
        for place in 0..h * w {
            out.extend_from_slice(&kernel[(place * c + channel) * units..][..units]);
        }
    }
    out
}

/// `[rows, columns]` → `[columns, rows]`: a dense kernel between `[in, out]`, which Keras and we have, and PyTorch's
/// `[out, in]`.
///
/// # Panics
/// When `matrix` has not `rows · columns` values.
pub fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    transpose_into(matrix, rows, columns, &mut out);
    out
}

/// As [`transpose`], into `out`.
///
/// # Panics
/// When `matrix` or `out` has not `rows · columns` values.
pub fn transpose_into(matrix: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    assert!(matrix.len() == rows * columns && out.len() == matrix.len(), "a matrix of {rows} × {columns}");
    transpose_rows(matrix, 0, out, rows);
}

/// Some rows of a matrix, of which there are `rows` in all, from row `first` on, into its transpose `out`.
///
/// # Panics
/// When `out` is no whole number of `rows`, or `matrix` no whole rows of as many columns, or too many.
pub fn transpose_rows(matrix: &[f32], first: usize, out: &mut [f32], rows: usize) {
    if matrix.is_empty() || out.is_empty() {
        return;
    }
    let columns = out.len() / rows;
    let count = matrix.len() / columns;
    assert!(out.len() == rows * columns && matrix.len() == count * columns && first + count <= rows);
    // Each task owns TILE whole rows of the output, which are TILE columns of the input. The way
    // through a small tile is for the sake of power-of-two sizes: walking down a column of the input
    // would put all lines into the same few sets of the cache.
    out.par_chunks_mut(TILE * rows).enumerate().for_each(|(band, out)| {
        let left = band * TILE;
        let width = out.len() / rows;
        let mut tile = [[0.0; TILE]; TILE];
        for top in (0..count).step_by(TILE) {
            let height = TILE.min(count - top);
            for (r, line) in tile[..height].iter_mut().enumerate() {
                line[..width].copy_from_slice(&matrix[(top + r) * columns + left..][..width]);
            }
            for (c, out) in out.chunks_exact_mut(rows).enumerate() {
                for (to, line) in out[first + top..][..height].iter_mut().zip(&tile) {
                    *to = line[c];
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Vec<f32> {
        (0..n).map(|x| x as f32).collect()
    }

    #[test]
    fn a_matrix_is_transposed_as_by_two_loops() {
        // Empty, single, thin, one below, at and past a tile.
        for (rows, columns) in [(0, 3), (3, 0), (1, 1), (1, 70), (70, 1), (31, 33), (32, 32), (65, 97)] {
            let a = numbered(rows * columns);
            let b = transpose(&a, rows, columns);
            for r in 0..rows {
                for c in 0..columns {
                    assert_eq!(b[c * rows + r], a[r * columns + c], "[{r}, {c}] of {rows} × {columns}");
                }
            }
            // In two parts, as a large file is read.
            let (mut parts, cut) = (vec![f32::NAN; a.len()], rows / 3);
            transpose_rows(&a[..cut * columns], 0, &mut parts, rows);
            transpose_rows(&a[cut * columns..], cut, &mut parts, rows);
            assert_eq!(parts, b, "{rows} × {columns} in two parts");
        }
    }

    #[test]
    fn rows_of_a_flattened_image_change_places() {
        let [h, w, c, units] = [2, 3, 5, 7];
        let kernel = numbered(h * w * c * units);
        let turned = rows_channels_first(&kernel, [h, w, c]);
        for (n, &value) in kernel.iter().enumerate() {
            let (y, x, k, unit) = (n / (w * c * units), n / (c * units) % w, n / units % c, n % units);
            assert_eq!(turned[((k * h + y) * w + x) * units + unit], value, "h {y} w {x} c {k} unit {unit}");
        }
    }

    #[test]
    fn columns_are_scattered_and_rows_reordered() {
        let ([h, w, c], units) = ([2, 3, 35], 5);
        let rows = h * w * c;
        let torch = numbered(units * rows);
        for flattened in [None, Some([h, w, c])] {
            let mut out = vec![f32::NAN; rows * units];
            // Two units, then three, as a large file is read.
            scatter_columns(&torch[..2 * rows], rows, 0, &mut out, units, flattened);
            scatter_columns(&torch[2 * rows..], rows, 2, &mut out, units, flattened);
            for (unit, y, x, k) in
                (0..units * rows).map(|n| (n / rows, n % rows / (w * c), n % (w * c) / c, n % c))
            {
                let source = if flattened.is_some() { (k * h + y) * w + x } else { (y * w + x) * c + k };
                let got = out[((y * w + x) * c + k) * units + unit];
                assert_eq!(got, torch[unit * rows + source], "unit {unit} h {y} w {x} c {k} {flattened:?}");
            }
        }
    }

    #[test]
    fn a_kernel_is_permuted_as_by_four_loops_and_back() {
        for [h, w, i, o] in [[3, 3, 3, 64], [1, 1, 5, 7], [3, 2, 33, 35], [2, 3, 1, 1]] {
            let hwio = numbered(h * w * i * o);
            let ohwi = hwio_to_ohwi(&hwio, [h, w, i, o]);
            for (y, x, c, k) in
                (0..h * w * i * o).map(|n| (n / (w * i * o), n / (i * o) % w, n / o % i, n % o))
            {
                let (from, to) = (((y * w + x) * i + c) * o + k, ((k * h + y) * w + x) * i + c);
                assert_eq!(ohwi[to], hwio[from], "h {y} w {x} i {c} o {k}");
            }
            assert_eq!(ohwi_to_hwio(&ohwi, [h, w, i, o]), hwio);
            let oihw = hwio_to_oihw(&hwio, [h, w, i, o]);
            let mut again = vec![f32::NAN; ohwi.len()];
            oihw_to_ohwi_into(&oihw, [h, w, i, o], &mut again);
            assert_eq!(again, ohwi);
            for (y, x, c, k) in
                (0..h * w * i * o).map(|n| (n / (w * i * o), n / (i * o) % w, n / o % i, n % o))
            {
                let (from, to) = (((y * w + x) * i + c) * o + k, ((k * i + c) * h + y) * w + x);
                assert_eq!(oihw[to], hwio[from], "h {y} w {x} i {c} o {k}");
            }
        }
    }
}
