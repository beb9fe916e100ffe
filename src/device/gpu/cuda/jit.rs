//! PTX to machine code, by the driver's compiler, and what it says where it cannot.
//!
//! In: a [`Module`]. Out: the driver's handle, or an error with the compiler's own log.

use super::card::Version;
use super::library::{Code, Library, Refused, SUCCESS, is_sticky};
use super::memory::OUT_OF_MEMORY;
use crate::device::gpu::module::Module;
use crate::device::gpu::tried;
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys::{self, CUjit_option as Asked};
use std::ffi::{CString, c_void};

/// Bytes of each of the compiler's two logs; a fault is a line or two.
const LOG: usize = 16 << 10;

/// Compiles and loads `module` into the current context; that memory is full, and what speaks of earlier work, is
/// passed on.
///
/// # Errors
/// [`Kind::Device`] with file, target, both versions, and the log.
pub fn load(library: &Library, module: &Module, driver: Version) -> Result<Result<sys::CUmodule, Refused>> {
    let (file, ptx) = (tried::path(module), tried::text(module)?);
    let text = CString::new(&*ptx).map_err(|error| {
        Error::new(Kind::Device, format!("{file} holds a zero byte")).fact("at", error.nul_position())
    })?;
    let (mut faults, mut remarks) = (vec![0u8; LOG], vec![0u8; LOG]);
    // The driver reads the sizes as numbers in the place of pointers, and writes into both logs.
    let mut asked = [
        Asked::CU_JIT_ERROR_LOG_BUFFER,
        Asked::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        Asked::CU_JIT_INFO_LOG_BUFFER,
        Asked::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
        Asked::CU_JIT_GENERATE_LINE_INFO,
    ];
    let size = std::ptr::without_provenance_mut::<c_void>(LOG);
    // For profilers, which show lines of the source by it; ptxas makes the same instructions with and without.
    let lines = std::ptr::without_provenance_mut::<c_void>(1);
    let mut values = [faults.as_mut_ptr().cast(), size, remarks.as_mut_ptr().cast(), size, lines];
    let mut handle = std::ptr::null_mut();
    // SAFETY: the text ends with a NUL; options and values are as many as the count says; the logs have
    // the sizes that they are said to have and outlive the call.
    let answer = unsafe {
        (library.call.module_load)(
            &mut handle,
            text.as_ptr().cast(),
            asked.len() as u32,
            asked.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    if answer == SUCCESS {
        return Ok(Ok(handle));
    }
    // What whoever called can do something about, or must.
    if answer == OUT_OF_MEMORY || is_sticky(answer) {
        return Ok(Err((answer, "compile kernels")));
    }
    let log =
        [text_of(&faults), text_of(&remarks)].into_iter().filter(|log| !log.is_empty()).collect::<Vec<_>>();
    Err(refused(library, answer, (&file, &ptx), module, driver, &log.join("\n")))
}

/// Whether a driver of this version knows the PTX of `module`.
pub fn reads(module: &Module, driver: Version) -> bool {
    ptx_version(module.text).and_then(needs_cuda).is_some_and(|needs| needs <= driver)
}

fn refused(
    library: &Library,
    answer: Code,
    (file, ptx): (&str, &str),
    module: &Module,
    driver: Version,
    log: &str,
) -> Error {
    let error = library.error(answer, &format!("compile {file}"));
    let version = ptx_version(ptx);
    let shown = version.map_or("unknown".into(), |version| version.to_string());
    let error = error
        .fact("PTX", format!("version {shown} for {}", module.target))
        .fact("driver", format!("CUDA {driver}"));
    let error = if log.is_empty() { error } else { error.fact("log", log) };
    let needs = version.and_then(needs_cuda);
    match needs {
        Some(needs) if answer == sys::cudaError_enum::CUDA_ERROR_UNSUPPORTED_PTX_VERSION as Code => {
            let built = if module.canonical {
                ""
            } else {
                "; this PTX is from your own nvcc: the pinned compiler (scripts/cuda-toolchain) writes an older version"
            };
            error.fact("PTX needs", format!("CUDA {needs}")).help(format!(
                "update the NVIDIA driver to one for CUDA {needs} or later (nvidia-smi shows it){built}"
            ))
        }
        _ => error,
    }
}

/// What stands before the NUL of a log.
fn text_of(log: &[u8]) -> String {
    let end = log.iter().position(|&c| c == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_owned()
}

/// The number behind `.version`.
fn ptx_version(text: &str) -> Option<Version> {
    let number = text.lines().find_map(|line| line.strip_prefix(".version"))?.trim();
    let (major, minor) = number.split_once('.')?;
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// The CUDA that brought a version of PTX (PTX ISA manual, "Release Notes").
fn needs_cuda(ptx: Version) -> Option<Version> {
    let (major, minor) = match (ptx.major, ptx.minor) {
        (7, minor) => (11, minor),
        (8, minor @ 0..=5) => (12, minor),
        (8, minor @ 6..=8) => (12, minor + 1),
        (9, minor) => (13, minor),
        _ => return None,
    };
    Some(Version { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::module::MODULES;

    #[test]
    fn versions_are_read_and_known() {
        for module in MODULES {
            let version = ptx_version(module.text).unwrap();
            assert!(needs_cuda(version).is_some(), "{}: PTX {version}", module.name);
        }
        let cuda = |major, minor| needs_cuda(Version { major, minor }).map(|version| version.to_string());
        assert_eq!(cuda(7, 0).as_deref(), Some("11.0"));
        assert_eq!(cuda(8, 5).as_deref(), Some("12.5"));
        assert_eq!(cuda(8, 7).as_deref(), Some("12.8"));
        assert_eq!(cuda(9, 0).as_deref(), Some("13.0"));
        assert_eq!(cuda(6, 5), None);
        assert_eq!(text_of(b"ptxas: bad\n\0rest"), "ptxas: bad");
    }
}
