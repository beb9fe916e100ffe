//! A device's threads: jobs from an iterator, taken one by one by whoever is free.
//!
//! In: an iterator of jobs that own what they write (`chunks_mut`, usually). Out: all of them done.
//! Which thread does a job is chance; what a job computes must not depend on it.

use crate::error::{Error, Kind, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Mutex, PoisonError};

/// Elements of one job of an elementwise op: long enough that handing it over costs nothing, short
/// enough that some threads of a big machine get one.
pub const CHUNK: usize = 1 << 15;

/// The calling thread and its helpers.
pub struct Threads {
    count: usize,
    /// The helpers; none when the caller is alone.
    helpers: Option<ThreadPool>,
}

impl Threads {
    pub fn new(count: Option<usize>) -> Result<Self> {
        let count = match count {
            Some(0) => {
                return Err(Error::new(Kind::Usage, "the cpu device needs at least one thread")
                    .help("leave the number out to use all"));
            }
            Some(count) => count,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let helpers = match count {
            1 => None,
            _ => Some(
                ThreadPoolBuilder::new()
                    .num_threads(count - 1)
                    .thread_name(|i| format!("cpu-{}", i + 1))
                    .build()
                    .map_err(|reason| {
                        Error::new(Kind::Device, format!("the system gives no {count} threads"))
                            .fact("reason", reason)
                            .help("ask for fewer")
                    })?,
            ),
        };
        Ok(Self { count, helpers })
    }

    /// How many threads work, the caller included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Does `work` on every job; returns when all are done.
    pub fn each<I>(&self, jobs: I, work: impl Fn(I::Item) + Sync)
    where
        I: ExactSizeIterator + Send,
        I::Item: Send,
    {
        self.each_at(&mut vec![(); self.count], jobs, |(), job| work(job));
    }

    /// [`Threads::each`], where every thread sits at a desk of its own: scratch memory that it keeps
    /// from job to job. There must be a desk for every thread that has a job.
    pub fn each_at<D, I>(&self, desks: &mut [D], jobs: I, work: impl Fn(&mut D, I::Item) + Sync)
    where
        D: Send,
        I: ExactSizeIterator + Send,
        I::Item: Send,
    {
        let count = jobs.len();
        assert!(desks.len() >= self.count.min(count).max(1), "a desk for every thread that works");
        let jobs = Mutex::new(jobs);
        let take_turns = |desk: &mut D| {
            loop {
                // Not `while let`: the lock would be held during the work.
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                match job {
                    Some(job) => work(desk, job),
                    None => break,
                }
            }
        };
        let (own, others) = desks.split_at_mut(1);
        match &self.helpers {
            Some(helpers) if count > 1 => helpers.in_place_scope(|scope| {
                for desk in others.iter_mut().take(self.count.min(count) - 1) {
                    scope.spawn(|_| take_turns(desk));
                }
                take_turns(&mut own[0]);
            }),
            _ => take_turns(&mut own[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        for count in [1, 2, 5] {
            let threads = Threads::new(Some(count)).unwrap();
            for len in [0, 1, 2, 1000] {
                let mut data = vec![0; len];
                threads.each(data.chunks_mut(3).enumerate(), |(i, chunk)| {
                    for x in chunk {
                        *x += i + 1;
                    }
                });
                assert!(data.iter().enumerate().all(|(i, &x)| x == i / 3 + 1), "{count} threads, {len}");
            }
        }
    }

    #[test]
    fn zero_threads_are_refused() {
        assert_eq!(Threads::new(Some(0)).err().unwrap().kind(), Kind::Usage);
    }
}
