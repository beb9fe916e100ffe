//! Batches, prepared one ahead on a thread of their own, so that decoding and copying hide behind
//! computing.
//!
//! In: a [`Source`] and the order in which its samples are wanted. Out: an iterator of [`Batch`]es.
//! Failures and panics of the thread arrive as errors; dropping the iterator ends the thread.

use super::resize::{Resize, Size};
use crate::error::{Error, Kind, Result};
use crossbeam_channel::Receiver;
use rayon::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Samples that go through the network together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which samples of the source they are.
    pub indices: Vec<u32>,
    /// (n, h, w, 3), row-major RGB, 0 to 255.
    pub pixels: Vec<u8>,
    /// (n,); empty if the source has no labels.
    pub labels: Vec<u32>,
}

impl Batch {
    /// Number of samples.
    pub fn n(&self) -> usize {
        self.indices.len()
    }
}

/// Where batches come from.
pub trait Source: Send + Sync {
    /// The samples `indices`, in that order.
    ///
    /// # Errors
    /// What the source runs into; it names the sample.
    fn batch(&self, indices: &[u32]) -> Result<Batch>;
}

/// Picture files, decoded every time they are asked for: for a few pictures, asked for once.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// One per path, or none at all.
    pub labels: Vec<u32>,
    /// Every picture is brought to this size.
    pub size: Size,
    /// The way it is brought there.
    pub resize: Resize,
}

impl Source for Files {
    fn batch(&self, indices: &[u32]) -> Result<Batch> {
        let loaded: Vec<Result<Vec<u8>>> = indices
            .par_iter()
            .map(|&i| super::load(&self.paths[i as usize], self.size, self.resize))
            .collect();
        let mut pixels = Vec::with_capacity(indices.len() * self.size.bytes());
        // In order, so that of several bad pictures the first is named, not the quickest.
        for picture in loaded {
            pixels.extend(picture?);
        }
        let labels = if self.labels.is_empty() {
            Vec::new()
        } else {
            indices.iter().map(|&i| self.labels[i as usize]).collect()
        };
        Ok(Batch { indices: indices.to_vec(), pixels, labels })
    }
}

/// The batches of one epoch: see [`batches`].
pub type Batches = Prefetch<Batch>;

/// Batches of `size` samples in the given order, the last one shorter if it does not come out even.
///
/// # Errors
/// [`Kind::Usage`] for batches of 0; [`Kind::Io`] if the system gives no thread.
pub fn batches(source: Arc<dyn Source>, order: Vec<u32>, size: usize) -> Result<Batches> {
    if size == 0 {
        return Err(Error::new(Kind::Usage, "a batch of 0 samples").help("give a batch size of 1 or more"));
    }
    let count = order.len().div_ceil(size);
    prefetch((0..count).map(move |b| {
        let indices = &order[b * size..order.len().min((b + 1) * size)];
        source.batch(indices)
    }))
}

/// Items that a thread makes ahead of time; ends after the first error.
pub struct Prefetch<T> {
    // Both are Some until the end; taken in the order in which they must go.
    items: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

/// Runs `items` on a thread of its own: one item waits while the next is being made.
///
/// # Errors
/// [`Kind::Io`] if the system gives no thread.
pub fn prefetch<T, I>(items: I) -> Result<Prefetch<T>>
where
    T: Send + 'static,
    I: IntoIterator<Item = Result<T>>,
    I::IntoIter: Send + 'static,
{
    let mut items = items.into_iter();
    let (send, receive) = crossbeam_channel::bounded(1);
    let work = move || {
        loop {
            let item = match catch_unwind(AssertUnwindSafe(|| items.next())) {
                Ok(Some(item)) => item,
                Ok(None) => return,
                Err(panic) => Err(loader_bug(panic.as_ref())),
            };
            let is_last = item.is_err();
            // Nobody listens any more: the iterator was dropped.
            if send.send(item).is_err() || is_last {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("batches".into()).spawn(work).map_err(|e| {
        Error::new(Kind::Io, "cannot start the thread that prepares batches")
            .fact("reason", e)
            .help("close other programs, or raise the limit of processes (ulimit -u)")
    })?;
    Ok(Prefetch { items: Some(receive), thread: Some(thread) })
}

fn loader_bug(panic: &(dyn Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it left no message");
    Error::new(Kind::Data, "the thread that prepares batches broke down")
        .fact("message", words)
        .help("this is a bug of vgg-ft; please report it")
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.as_ref()?.recv().ok();
        if !matches!(item, Some(Ok(_))) {
            self.items = None;
        }
        item
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // First the receiver, which wakes a thread that waits to send; then there is an end to wait for.
        self.items = None;
        if let Some(thread) = self.thread.take() {
            // Its panics were caught and sent; there is nothing left to learn from it.
            let _ = thread.join();
        }
    }
}
