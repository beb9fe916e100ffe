//! The functions of the NVIDIA driver's library, looked up by name.
//!
//! In: `libcuda` of this machine, if it has one. Out: a table of functions, or an error that says what is
//! missing. cudarc finds the library and lends its types, but not its functions: those panic where a
//! symbol is missing, and answer with a Rust enum, which is undefined behaviour for every code that a
//! driver newer than the binding has added. Here an answer is a number ([`Code`]).

use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// What a function of the driver answers; [`SUCCESS`] or the number of an error.
pub type Code = u32;

/// It went well.
pub const SUCCESS: Code = 0;

/// An answer other than success, with what was asked, for the one who knows about earlier launches.
pub type Refused = (Code, &'static str);

/// What a function of the driver answered to `what`.
pub fn answer(code: Code, what: &'static str) -> Result<(), Refused> {
    if code == SUCCESS { Ok(()) } else { Err((code, what)) }
}

/// Writes down the table and its look-up from one list.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($field:ident: $($symbol:literal)|+ ($($argument:ty),* $(,)?);)* }) => {
        $(#[$doc])*
        #[allow(missing_docs)] // each is described in NVIDIA's manual under its symbol
        pub struct $table { $(pub $field: unsafe extern "C" fn($($argument),*) -> Code,)* }

        impl $table {
            /// All functions, or the name of the first that is missing.
            fn find() -> Result<Self, &'static str> {
                $(
                    let symbols = [$($symbol),+];
                    // SAFETY: the library is there (`library` asked before), and the type is that of
                    // NVIDIA's cuda.h for these symbols; results are 32-bit enums in C, read as numbers.
                    let look = |symbol: &&str| unsafe {
                        sys::culib().get::<unsafe extern "C" fn($($argument),*) -> Code>(symbol.as_bytes()).ok()
                    };
                    let Some($field) = symbols.iter().find_map(look).map(|function| *function) else {
                        return Err(symbols[0]);
                    };
                )*
                Ok(Self { $($field),* })
            }
        }
    };
}

functions! {
    /// What every driver has that can run our kernels (since CUDA 11.0).
    Functions {
        init: "cuInit"(c_uint);
        version: "cuDriverGetVersion"(*mut c_int);
        error_name: "cuGetErrorName"(Code, *mut *const c_char);
        error_text: "cuGetErrorString"(Code, *mut *const c_char);
        device_count: "cuDeviceGetCount"(*mut c_int);
        device: "cuDeviceGet"(*mut sys::CUdevice, c_int);
        device_name: "cuDeviceGetName"(*mut c_char, c_int, sys::CUdevice);
        device_memory: "cuDeviceTotalMem_v2"(*mut usize, sys::CUdevice);
        device_attribute: "cuDeviceGetAttribute"(*mut c_int, sys::CUdevice_attribute, sys::CUdevice);
        context_retain: "cuDevicePrimaryCtxRetain"(*mut sys::CUcontext, sys::CUdevice);
        context_release: "cuDevicePrimaryCtxRelease_v2"(sys::CUdevice);
        context_set: "cuCtxSetCurrent"(sys::CUcontext);
        stream_create: "cuStreamCreate"(*mut sys::CUstream, c_uint);
        stream_destroy: "cuStreamDestroy_v2"(sys::CUstream);
        stream_wait: "cuStreamSynchronize"(sys::CUstream);
        event_create: "cuEventCreate"(*mut sys::CUevent, c_uint);
        event_destroy: "cuEventDestroy_v2"(sys::CUevent);
        event_record: "cuEventRecord"(sys::CUevent, sys::CUstream);
        event_wait: "cuEventSynchronize"(sys::CUevent);
        memory_info: "cuMemGetInfo_v2"(*mut usize, *mut usize);
        memory_take: "cuMemAlloc_v2"(*mut sys::CUdeviceptr, usize);
        memory_free: "cuMemFree_v2"(sys::CUdeviceptr);
        memory_fill: "cuMemsetD8Async"(sys::CUdeviceptr, u8, usize, sys::CUstream);
        host_take: "cuMemHostAlloc"(*mut *mut c_void, usize, c_uint);
        host_free: "cuMemFreeHost"(*mut c_void);
        copy_in: "cuMemcpyHtoDAsync_v2"(sys::CUdeviceptr, *const c_void, usize, sys::CUstream);
        copy_out: "cuMemcpyDtoHAsync_v2"(*mut c_void, sys::CUdeviceptr, usize, sys::CUstream);
        module_load: "cuModuleLoadDataEx"(
            *mut sys::CUmodule, *const c_void, c_uint, *mut sys::CUjit_option, *mut *mut c_void,
        );
        module_unload: "cuModuleUnload"(sys::CUmodule);
        module_function: "cuModuleGetFunction"(*mut sys::CUfunction, sys::CUmodule, *const c_char);
        function_set: "cuFuncSetAttribute"(sys::CUfunction, sys::CUfunction_attribute, c_int);
        launch: "cuLaunchKernel"(
            sys::CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, sys::CUstream,
            *mut *mut c_void, *mut *mut c_void,
        );
    }
}

functions! {
    /// Many launches as one (since CUDA 11.0). Of the two names the newer takes a longer struct that begins
    /// with the older one's fields, so that the longer is good for both.
    Graphs {
        create: "cuGraphCreate"(*mut sys::CUgraph, c_uint);
        destroy: "cuGraphDestroy"(sys::CUgraph);
        add: "cuGraphAddKernelNode_v2" | "cuGraphAddKernelNode"(
            *mut sys::CUgraphNode, sys::CUgraph, *const sys::CUgraphNode, usize,
            *const sys::CUDA_KERNEL_NODE_PARAMS_v2,
        );
        set: "cuGraphExecKernelNodeSetParams_v2" | "cuGraphExecKernelNodeSetParams"(
            sys::CUgraphExec, sys::CUgraphNode, *const sys::CUDA_KERNEL_NODE_PARAMS_v2,
        );
        exec_destroy: "cuGraphExecDestroy"(sys::CUgraphExec);
        launch: "cuGraphLaunch"(sys::CUgraphExec, sys::CUstream);
    }
}

/// NVIDIA's `CUgraphEdgeData`: when an edge of a graph lets the node behind it begin.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Edge {
    from_port: u8,
    to_port: u8,
    kind: u8,
    reserved: [u8; 5],
}

impl Edge {
    /// When all blocks of the kernel before have said so (`griddepcontrol.launch_dependents`) or ended: port and type of
    /// cuda.h, `CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC` and `CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC`.
    pub const PROGRAMMATIC: Self = Self { from_port: 1, to_port: 0, kind: 1, reserved: [0; 5] };
}

functions! {
    /// Edges of graphs that say when, since CUDA 12.3.
    Edges {
        add: "cuGraphAddDependencies_v2"(
            sys::CUgraph, *const sys::CUgraphNode, *const sys::CUgraphNode, *const Edge, usize,
        );
    }
}

functions! {
    /// A graph made ready, since CUDA 11.4.
    Instantiate {
        with_flags: "cuGraphInstantiateWithFlags"(*mut sys::CUgraphExec, sys::CUgraph, c_ulonglong);
    }
}

functions! {
    /// The same before.
    InstantiateV2 {
        with_log: "cuGraphInstantiate_v2"(
            *mut sys::CUgraphExec, sys::CUgraph, *mut sys::CUgraphNode, *mut c_char, usize,
        );
    }
}

functions! {
    /// Tensor maps of sm_90, since CUDA 12.0.
    Tensors {
        tiled: "cuTensorMapEncodeTiled"(
            *mut sys::CUtensorMap, sys::CUtensorMapDataType, c_uint, *mut c_void, *const u64, *const u64,
            *const c_uint, *const c_uint, sys::CUtensorMapInterleave, sys::CUtensorMapSwizzle,
            sys::CUtensorMapL2promotion, sys::CUtensorMapFloatOOBfill,
        );
        im2col: "cuTensorMapEncodeIm2col"(
            *mut sys::CUtensorMap, sys::CUtensorMapDataType, c_uint, *mut c_void, *const u64, *const u64,
            *const c_int, *const c_int, c_uint, c_uint, *const c_uint, sys::CUtensorMapInterleave,
            sys::CUtensorMapSwizzle, sys::CUtensorMapL2promotion, sys::CUtensorMapFloatOOBfill,
        );
    }
}

functions! {
    /// For measurements alone.
    Measure {
        copy: "cuMemcpyDtoDAsync_v2"(sys::CUdeviceptr, sys::CUdeviceptr, usize, sys::CUstream);
    }
}

/// The library, looked up once and never unloaded.
pub struct Library {
    /// What is always there.
    pub call: Functions,
    /// Graphs, if this driver has them.
    pub graphs: Option<Graphs>,
    /// Their edges that say when, if this driver has them.
    pub edges: Option<Edges>,
    /// How graphs are made ready today.
    pub instantiate: Option<Instantiate>,
    /// How older drivers do it.
    pub instantiate_v2: Option<InstantiateV2>,
    /// Tensor maps, if this driver has them.
    pub tensors: Option<Tensors>,
    /// What no run needs.
    pub measure: Option<Measure>,
}

/// The driver's library of this machine.
///
/// # Errors
/// [`Kind::Device`] when there is none, or one without functions that we need.
pub fn library() -> Result<&'static Library> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    // SAFETY: this loads the driver's library, runs its initialisers and lets it go again; NVIDIA's has
    // none that do harm. Everything below relies on it: without a library cudarc panics.
    if !unsafe { sys::is_culib_present() } {
        let names = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so, libcuda.so.1" };
        return Err(Error::new(Kind::Device, "no CUDA driver on this machine")
            .fact("looked for", names)
            .help("install the NVIDIA driver (in a container: run with GPU access), or use --device cpu"));
    }
    let call = Functions::find().map_err(|symbol| {
        Error::new(Kind::Device, "the CUDA driver's library lacks a function").fact("function", symbol).help(
            "a stub library, or a driver older than CUDA 11: install the NVIDIA driver, or use --device cpu",
        )
    })?;
    Ok(LIBRARY.get_or_init(|| Library {
        call,
        graphs: Graphs::find().ok(),
        edges: Edges::find().ok(),
        instantiate: Instantiate::find().ok(),
        instantiate_v2: InstantiateV2::find().ok(),
        tensors: Tensors::find().ok(),
        measure: Measure::find().ok(),
    }))
}

impl Library {
    /// "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory".
    pub fn describe(&self, code: Code) -> String {
        let text = |of: unsafe extern "C" fn(Code, *mut *const c_char) -> Code| {
            let mut text = std::ptr::null();
            // SAFETY: the driver writes the address of a string of its own there, or leaves null.
            let answer = unsafe { of(code, &mut text) };
            if answer != SUCCESS || text.is_null() {
                return None;
            }
            // SAFETY: such a string is constant, ends with a NUL and lives as long as the library.
            Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match (text(self.call.error_name), text(self.call.error_text)) {
            (Some(name), Some(text)) => format!("{name} ({code}): {text}"),
            _ => format!("error {code}, which this driver does not describe"),
        }
    }

    /// Nothing when `code` is [`SUCCESS`].
    ///
    /// # Errors
    /// [`Kind::Device`]: `what` failed, with the driver's words and what can be done.
    pub fn check(&self, code: Code, what: &str) -> Result<()> {
        if code == SUCCESS { Ok(()) } else { Err(self.error(code, what)) }
    }

    /// The error for `code`: "cannot" and `what`.
    pub fn error(&self, code: Code, what: &str) -> Error {
        let error =
            Error::new(Kind::Device, format!("cuda: cannot {what}")).fact("reason", self.describe(code));
        match cure(code) {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

/// `CUDA_ERROR_CONTAINED`, an error of the hardware that later drivers know.
const CONTAINED: Code = 226;

/// What a person can do about an error of the driver.
fn cure(code: Code) -> Option<&'static str> {
    use sys::cudaError_enum as Is;
    let is = |known: Is| code == known as Code;
    Some(if is(Is::CUDA_ERROR_NO_DEVICE) {
        "there is a driver but no GPU: see CUDA_VISIBLE_DEVICES (in a container: run with GPU access), or use --device cpu"
    } else if is(Is::CUDA_ERROR_OUT_OF_MEMORY) {
        "somebody else fills the GPU (nvidia-smi shows who): wait, or choose another GPU with --device cuda:N"
    } else if is(Is::CUDA_ERROR_STUB_LIBRARY) {
        "this libcuda is the toolkit's stub: take its folder out of LD_LIBRARY_PATH, or install the NVIDIA driver"
    } else if is(Is::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) {
        "the driver was updated while the old one is loaded: restart the machine"
    } else if is(Is::CUDA_ERROR_SYSTEM_NOT_READY) {
        "the GPU's services are not up (nvidia-fabricmanager on machines with NVSwitch): start them"
    } else if is(Is::CUDA_ERROR_JIT_COMPILER_NOT_FOUND) {
        "the driver's compiler is missing (libnvidia-ptxjitcompiler.so): in a container, allow the `compute` capability"
    } else if is(Is::CUDA_ERROR_DEVICE_UNAVAILABLE) {
        "another process holds the GPU for itself (compute mode `exclusive`)"
    } else if is(Is::CUDA_ERROR_LAUNCH_TIMEOUT) {
        "a kernel took longer than a GPU with a display on it may: use a smaller batch, or a GPU without a display"
    } else if is(Is::CUDA_ERROR_CONTEXT_IS_DESTROYED) {
        "something else in this process reset the GPU (cudaDeviceReset, cuDevicePrimaryCtxReset): start again without it"
    } else if is(Is::CUDA_ERROR_JIT_COMPILATION_DISABLED) {
        "kernels are compiled by the driver: unset CUDA_DISABLE_PTX_JIT"
    } else if is(Is::CUDA_ERROR_OPERATING_SYSTEM) {
        "in a container: give it the GPU's device files (docker run --gpus all)"
    } else if is(Is::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE) {
        "this libcuda is one of a compatibility package, which the GPU does not take: use the driver's own"
    } else if is(Is::CUDA_ERROR_ECC_UNCORRECTABLE)
        || is(Is::CUDA_ERROR_NVLINK_UNCORRECTABLE)
        || code == CONTAINED
    {
        "the hardware failed: look at nvidia-smi -q; try another GPU"
    } else if is(Is::CUDA_ERROR_UNKNOWN) {
        "try nvidia-smi: if it fails too, the driver has to be loaded anew"
    } else {
        return None;
    })
}

/// Whether nothing works any more in this process once the driver has answered so: a kernel went wrong on
/// the GPU, or the GPU itself did.
pub fn is_sticky(code: Code) -> bool {
    // 214 ECC, 220 NVLink, 226 contained, 702 timeout, 709 context destroyed, 721 tensor memory, 999 unknown: as where the
    // GPU is gone.
    is_a_kernels(code) || matches!(code, 214 | 220 | 226 | 702 | 709 | 721 | 999)
}

/// Whether a kernel that went wrong is what the driver answers so to.
pub fn is_a_kernels(code: Code) -> bool {
    // 700 illegal address, 710 assert; 714 to 719 stack, instruction, alignment, address space, program counter, launch
    // failed.
    matches!(code, 700 | 710 | 714..=719)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sticky_codes_are_those_of_the_manual() {
        use sys::cudaError_enum as Is;
        for sticky in
            [Is::CUDA_ERROR_ILLEGAL_ADDRESS, Is::CUDA_ERROR_LAUNCH_FAILED, Is::CUDA_ERROR_MISALIGNED_ADDRESS]
        {
            assert!(is_sticky(sticky as Code), "{sticky:?}");
        }
        for hardware in [
            Is::CUDA_ERROR_ECC_UNCORRECTABLE,
            Is::CUDA_ERROR_LAUNCH_TIMEOUT,
            Is::CUDA_ERROR_CONTEXT_IS_DESTROYED,
            Is::CUDA_ERROR_UNKNOWN,
        ] {
            let code = hardware as Code;
            assert!(is_sticky(code) && !is_a_kernels(code) && cure(code).is_some(), "{hardware:?}");
        }
        for passing in [Is::CUDA_ERROR_OUT_OF_MEMORY, Is::CUDA_ERROR_INVALID_VALUE, Is::CUDA_ERROR_NOT_FOUND]
        {
            assert!(!is_sticky(passing as Code), "{passing:?}");
        }
    }
}
