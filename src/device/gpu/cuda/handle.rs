//! Handles that must be given back to the driver, and the one place that says why they may move between threads.

use super::library::{Library, Refused, SUCCESS, answer};
use crate::error::Result;
use cudarc::driver::sys::{self, CUdevice};

/// A handle of the driver: an opaque pointer that only the driver follows. Memory that we read or write is none.
pub struct Handle<T>(pub *mut T);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}

// SAFETY: the driver's functions may be called from all threads at once (CUDA driver API, "Context
// management"), and a handle is good in every thread where its context is current; `Cuda` sees to that.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above; nothing is read or written through the pointer by us.
unsafe impl<T> Sync for Handle<T> {}

/// A GPU's primary context, which other users of the driver in this process share.
pub struct Context {
    library: &'static Library,
    device: CUdevice,
    handle: Handle<sys::CUctx_st>,
}

impl Context {
    /// That of the GPU, made if need be.
    pub fn retain(library: &'static Library, device: CUdevice) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        library.check(unsafe { (library.call.context_retain)(&mut handle, device) }, "open the GPU")?;
        Ok(Self { library, device, handle: Handle(handle) })
    }

    /// Makes it the calling thread's. Threads come and go (rayon's, the user's), so everyone who calls the
    /// driver does this first; it costs some tens of nanoseconds. The answer is the driver's, for earlier work too.
    pub fn enter(&self) -> Result<(), Refused> {
        // SAFETY: the context is retained as long as `self` lives.
        let code = unsafe { (self.library.call.context_set)(self.handle.0) };
        answer(code, "use the GPU in this thread")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once by `retain`; `Cuda` lets go of everything else first.
        unsafe { (self.library.call.context_release)(self.device) };
    }
}

/// A queue of work on the GPU, in order, independent of the default one.
pub struct Stream {
    library: &'static Library,
    handle: Handle<sys::CUstream_st>,
}

impl Stream {
    /// In the current context.
    pub fn new(library: &'static Library) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: writes one pointer.
        library.check(unsafe { (library.call.stream_create)(&mut handle, flags) }, "make a stream")?;
        Ok(Self { library, handle: Handle(handle) })
    }

    /// As the driver takes it; good as long as `self` lives.
    pub fn raw(&self) -> sys::CUstream {
        self.handle.0
    }

    /// Waits for all work in it; the answer is the driver's, for earlier work too.
    pub fn wait(&self) -> super::library::Code {
        // SAFETY: the stream is alive.
        unsafe { (self.library.call.stream_wait)(self.handle.0) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by `new`, given back once; the driver finishes the work in it first.
        unsafe { (self.library.call.stream_destroy)(self.handle.0) };
    }
}

/// Compiled kernels on the GPU.
pub struct Code {
    /// The library it came through.
    pub library: &'static Library,
    /// The module.
    pub handle: Handle<sys::CUmod_st>,
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: loaded once, and no launch follows: the driver of the kernels is being dropped.
        let answer = unsafe { (self.library.call.module_unload)(self.handle.0) };
        debug_assert!(answer == SUCCESS || super::library::is_sticky(answer), "cuModuleUnload: {answer}");
    }
}
