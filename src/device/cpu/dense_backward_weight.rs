//! The dense layer's gradient with respect to its weight: for each input, the rows of `dy` that saw
//! it, added up.

use super::memory::no_memory;
use super::sparse::{Term, add_rows};
use super::workshop::Workshop;
use crate::error::Result;
use crate::shape::Dense;

/// Inputs of a job.
pub const INPUTS: usize = 256;

/// `dweight[i,o] = Σ_n x[n,i] · dy[n,o]`.
pub fn dense_backward_weight(
    shop: &Workshop,
    geometry: Dense,
    x: &[f32],
    dy: &[f32],
    dweight: &mut [f32],
) -> Result<()> {
    let Dense { n, c_out, .. } = geometry;
    dweight.fill(0.0);
    if n == 0 || dweight.is_empty() {
        return Ok(());
    }
    let jobs = dweight.chunks_mut(INPUTS * c_out).enumerate();
    shop.threads.each_at(&mut desks(shop, jobs.len(), n)?, jobs, |columns, (job, dweight)| {
        columns.read(x, geometry, job * INPUTS);
        for (i, sums) in dweight.chunks_exact_mut(c_out).enumerate() {
            add_rows(columns.of(i), dy, sums);
        }
    });
    Ok(())
}

/// For each input of a job the samples in which it is not zero.
pub struct Columns {
    terms: Vec<Term>,
    counts: [usize; INPUTS],
    n: usize,
}

/// One for each thread that gets one of `jobs`.
pub fn desks(shop: &Workshop, jobs: usize, n: usize) -> Result<Vec<Columns>> {
    let new = || {
        let (mut terms, len) = (Vec::new(), INPUTS * n);
        terms.try_reserve_exact(len).map_err(|_| no_memory(format!("{len} terms of a dense layer")))?;
        terms.resize(len, Term::default());
        Ok(Columns { terms, counts: [0; INPUTS], n })
    };
    (0..shop.sharers(jobs)).map(|_| new()).collect()
}

impl Columns {
    /// Reads the columns of `x` from `first` on.
    pub fn read(&mut self, x: &[f32], geometry: Dense, first: usize) {
        self.counts.fill(0);
        for (k, row) in x.chunks_exact(geometry.c_in).enumerate() {
            let columns = self.terms.chunks_exact_mut(self.n).zip(&mut self.counts);
            for ((column, count), &x) in columns.zip(&row[first..]) {
                // Without a branch, as in `sparse::terms`.
                column[*count] = (k as u32, x);
                *count += usize::from(x != 0.0);
            }
        }
    }

    /// The samples of the `i`-th column read.
    pub fn of(&self, i: usize) -> &[Term] {
        &self.terms[i * self.n..][..self.counts[i]]
    }
}
