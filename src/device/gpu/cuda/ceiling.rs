//! What the GPU can do at most, measured: for benches, to say how near a kernel comes.
//!
//! In: nothing. Out: gigabytes and gigaflops a second. Copies are the driver's own, from one place of the GPU's
//! memory to another; multiply-adds are those of a kernel that does nothing else.

use super::Cuda;
use crate::device::gpu::driver::{Address, Driver};
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::module::{Entry, Module, Param};
use crate::device::{Cost, Dtype};
use crate::error::{Error, Kind, Result};
use std::time::Instant;

/// Copies, or grids of multiply-adds, in one measurement.
const REPEATS: u32 = 16;
/// Measurements, of which the best counts.
const TRIES: u32 = 5;

/// Multiply-adds that do not wait for each other, in each thread.
const CHAINS: u32 = 16;
/// Turns of the kernel's loop.
const TURNS: u32 = 4096;
const THREADS: u32 = 256;

static ENTRY: Entry = Entry {
    name: "multiply_add_ceiling",
    params: &[Param { size: 8, align: 8 }],
    max_threads: Some(THREADS),
    static_shared: 0,
    awaits: false,
};

impl Cuda {
    /// GB/s of a copy of so many bytes within the GPU's memory, each counted twice: read and written. The
    /// piece should be far larger than the GPU's second-level cache; there may be room for less.
    ///
    /// # Errors
    /// [`Kind::Device`] when there is no room for two pieces, or no such function.
    pub fn copy_ceiling(&self, bytes: usize) -> Result<f64> {
        let Some(measure) = &self.library.measure else {
            return Err(Error::new(Kind::Device, "cuda: this driver cannot copy within the GPU")
                .help("update the NVIDIA driver"));
        };
        let free = self.memory()?.map_or(0, |memory| memory.free as usize);
        let bytes = bytes.min(free / 4).next_multiple_of(4);
        let from = Taken::new(self, bytes)?;
        let to = Taken::new(self, bytes)?;
        let seconds = self.best(&|| {
            // SAFETY: two buffers of so many bytes, alive until the wait that follows.
            let code = unsafe { (measure.copy)(to.at.0, from.at.0, bytes, self.stream.raw()) };
            self.answer(code, "copy within the GPU")
        })?;
        Ok(2.0 * bytes as f64 / seconds / 1e9)
    }

    /// GFLOP/s of multiply-adds in f32, two operations each, by so many blocks: some times as many as the GPU
    /// holds at once, so that none idles for long at the end.
    ///
    /// # Errors
    /// The driver's.
    pub fn multiply_add_ceiling(&self, blocks: u32) -> Result<f64> {
        let module = Module {
            name: "multiply_add_ceiling",
            target: "sm_75",
            // Once or twice in a process.
            text: text().leak(),
            canonical: true,
            entries: std::slice::from_ref(&ENTRY),
        };
        self.load(&module)?;
        let out = Taken::new(self, 4)?;
        let args = vec![Arg::Pointer { name: "out", at: out.at, dtype: Dtype::F32, len: 1 }];
        let cost = Cost::default();
        let (grid, block) = ([blocks, 1, 1], [THREADS, 1, 1]);
        let launch = Launch { entry: &ENTRY, grid, block, shared: 0, args, cost, compulsory: 0 };
        launch.check(self.limits())?;
        let seconds = self.best(&|| self.launch(&launch))?;
        let flops = 2.0 * f64::from(CHAINS) * f64::from(TURNS) * f64::from(THREADS) * f64::from(blocks);
        Ok(flops / seconds / 1e9)
    }

    /// Seconds of one `work`, of many in a row.
    fn best(&self, work: &dyn Fn() -> Result<()>) -> Result<f64> {
        work()?;
        self.synchronize()?;
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            let begin = Instant::now();
            (0..REPEATS).try_for_each(|_| work())?;
            self.synchronize()?;
            best = best.min(begin.elapsed().as_secs_f64() / f64::from(REPEATS));
        }
        Ok(best)
    }
}

/// A buffer that goes back whatever happens.
struct Taken<'a> {
    cuda: &'a Cuda,
    at: Address,
}

impl<'a> Taken<'a> {
    fn new(cuda: &'a Cuda, bytes: usize) -> Result<Self> {
        Ok(Self { cuda, at: cuda.alloc(Dtype::U8, bytes)? })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.cuda.free(self.at);
    }
}

/// The kernel: [`CHAINS`] numbers, each `x = x * a + a` in turn, and a store that never happens but that the
/// compiler cannot leave out.
fn text() -> String {
    let numbers = |line: &dyn Fn(u32) -> String| (0..CHAINS).map(line).collect::<String>();
    let begin = numbers(&|k| format!("\tadd.f32 %x{k}, %a, 0f{:08X};\n", (k as f32).to_bits()));
    let turn = numbers(&|k| format!("\tfma.rn.f32 %x{k}, %x{k}, %a, %a;\n"));
    let sum = numbers(&|k| format!("\tadd.f32 %sum, %sum, %x{k};\n"));
    format!(
        ".version 6.3\n.target sm_75\n.address_size 64\n\
         .visible .entry {name}(.param .u64 out)\n.maxntid {THREADS}, 1, 1\n{{\n\
         \t.reg .f32 %x<{CHAINS}>;\n\t.reg .f32 %a, %sum;\n\t.reg .u32 %turn, %thread;\n\
         \t.reg .u64 %out;\n\t.reg .pred %more, %never;\n\
         \tld.param.u64 %out, [out];\n\tcvta.to.global.u64 %out, %out;\n\
         \tmov.u32 %thread, %tid.x;\n\tcvt.rn.f32.u32 %a, %thread;\n\tmul.f32 %a, %a, 0f38D1B717;\n{begin}\
         \tmov.u32 %turn, 0;\nTURN:\n{turn}\tadd.u32 %turn, %turn, 1;\n\
         \tsetp.lt.u32 %more, %turn, {TURNS};\n\t@%more bra TURN;\n\tmov.f32 %sum, 0f00000000;\n{sum}\
         \tsetp.eq.f32 %never, %sum, 0fC2F6E979;\n\t@%never st.global.f32 [%out], %sum;\n\tret;\n}}\n",
        name = ENTRY.name,
    )
}
