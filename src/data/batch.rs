//! Batches, prepared one ahead on a thread of their own, so that decoding and copying overlap with
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

/// Image files, decoded every time they are asked for: for a few images, asked for once.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// One per path, or none at all.
    pub labels: Vec<u32>,
    /// Every image is brought to this size.
    pub size: Size,
    /// The way it is brought there.
    pub resize: Resize,
}

/// Whether all of `indices` are of one of `images`.
pub(super) fn require_images(indices: &[u32], images: usize) -> Result<()> {
    match indices.iter().find(|&&index| index as usize >= images) {
        None => Ok(()),
        Some(beyond) => Err(Error::new(Kind::Shape, format!("there is no image {beyond}"))
            .expected_got(format!("less than {images}"), beyond)),
    }
}

impl Source for Files {
    fn batch(&self, indices: &[u32]) -> Result<Batch> {
        let (images, labels) = (self.paths.len(), self.labels.len());
        if labels != 0 && labels != images {
            return Err(
                Error::new(Kind::Shape, "labels are one per image, or none").expected_got(images, labels)
            );
        }
        require_images(indices, images)?;
        let loaded: Vec<Result<super::DecodedImage>> = indices
            .par_iter()
            .map(|&i| super::load(&self.paths[i as usize], self.size, self.resize))
            .collect();
        let mut pixels = Vec::with_capacity(indices.len() * self.size.bytes());
        // In order, so that of several bad images the first is named, not the quickest.
        for image in loaded {
            pixels.extend(image?.pixels);
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
    let thread = std::thread::Builder::new()
        .name("batches".into())
        .spawn(work)
        .map_err(|e| Error::thread("that prepares batches", &e))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Sample i is one pixel of level i with label i / 10; sample 13 does not exist.
    struct Levels(AtomicUsize);

    impl Source for Levels {
        fn batch(&self, indices: &[u32]) -> Result<Batch> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if indices.contains(&13) {
                return Err(Error::new(Kind::Data, "no sample 13"));
            }
            let pixels = indices.iter().flat_map(|&i| [i as u8; 3]).collect();
            Ok(Batch { indices: indices.to_vec(), pixels, labels: indices.iter().map(|i| i / 10).collect() })
        }
    }

    fn levels() -> Arc<Levels> {
        Arc::new(Levels(AtomicUsize::new(0)))
    }

    #[test]
    fn an_index_beyond_the_last_image_is_refused() {
        let none =
            Files { paths: Vec::new(), labels: Vec::new(), size: Size::square(1), resize: Resize::NEAREST };
        for (indices, images, beyond) in [(&[0, 3, 2][..], 3, 3), (&[0], 0, 0)] {
            let error = require_images(indices, images).unwrap_err();
            assert_eq!(error.kind(), Kind::Shape);
            assert!(error.to_string().contains(&format!("there is no image {beyond}")), "{error}");
        }
        require_images(&[2, 0], 3).unwrap();
        assert_eq!(none.batch(&[0]).unwrap_err().kind(), Kind::Shape);
    }

    #[test]
    fn every_sample_comes_once_in_the_order_asked_for() {
        let order = vec![4, 2, 11, 0, 30, 7, 9];
        let all: Vec<Batch> = batches(levels(), order.clone(), 3).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(all.iter().map(Batch::n).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(all.iter().flat_map(|b| b.indices.clone()).collect::<Vec<_>>(), order);
        assert_eq!(all[0].pixels, [4, 4, 4, 2, 2, 2, 11, 11, 11]);
        assert_eq!(all[0].labels, [0, 0, 1]);
        assert!(batches(levels(), Vec::new(), 3).unwrap().next().is_none());
        assert_eq!(batches(levels(), order, 0).err().unwrap().kind(), Kind::Usage);
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_the_batches() {
        let mut all = batches(levels(), (10..20).collect(), 2).unwrap();
        assert!(all.next().unwrap().is_ok());
        assert_eq!(all.next().unwrap().unwrap_err().message(), "no sample 13");
        assert!(all.next().is_none());
        assert!(all.next().is_none());
    }

    #[test]
    fn a_panic_of_the_thread_is_an_error_with_its_words() {
        let mut items = prefetch((0..3).map(|i| {
            assert!(i < 1, "item {i} is cursed");
            Ok(i)
        }))
        .unwrap();
        assert_eq!(items.next().unwrap().unwrap(), 0);
        let error = items.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("item 1 is cursed"), "{error}");
        assert!(items.next().is_none());
    }

    #[test]
    fn dropping_early_ends_the_thread() {
        let source = levels();
        let mut endless = batches(source.clone(), vec![1; 1_000_000], 1).unwrap();
        assert!(endless.next().is_some());
        drop(endless);
        // Dropping waited for the thread, so the source is ours alone again, and little was made.
        assert_eq!(Arc::strong_count(&source), 1);
        assert!(source.0.load(Ordering::SeqCst) <= 4);
    }

    #[test]
    fn work_goes_on_ahead_but_not_far() {
        let source = levels();
        let mut all = batches(source.clone(), vec![1; 100], 1).unwrap();
        assert!(all.next().is_some());
        std::thread::sleep(std::time::Duration::from_millis(50));
        // Taken 1, waiting 1, made and not yet handed over 1.
        let made = source.0.load(Ordering::SeqCst);
        assert!((2..=3).contains(&made), "{made}");
    }
}
