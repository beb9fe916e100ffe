//! `emulate`: one kernel on our PTX machine, looked at from all sides.
//!
//! In: a kernel's name, sizes, what to check and what to show. Out: how it was launched, how far its
//! result is from the cpu's, and on request what every source line cost and what one thread did.

mod classifier;
mod convolutions;
mod elementwise;
mod form;
mod kernels;
mod layouts;
mod loss_scale;
mod optimizers;
mod winners;

use super::Host;
use crate::data::{Augment, Size};
use crate::device::augment::Transform;
use crate::device::cpu::CpuDevice;
use crate::device::gpu::emulator::{Emulator, Options, Schedule, Started, Step, Watched, profile};
use crate::device::gpu::ladder::{RUNGS, Rung};
use crate::device::{Buffer, Device, Dtype, Kernels, LossScale, Precision};
use crate::error::{Error, Kind, Result};
use crate::random::{Draws, Stream};
use crate::report::emulation::{LaunchReport, OutputReport, Report, TraceLine, kernel_list};
use form::{Form, widened};
use kernels::{Array, Fill, KERNELS, Kernel, Sizes};
use serde_json::json;

/// What to run and what to show.
#[derive(Clone, Debug)]
pub struct Emulate {
    /// [`Call::name`](crate::device::Call::name), or a rung of the ladder of convolutions; the list of kernels
    /// is printed if not given.
    pub kernel: Option<String>,
    /// Axes that differ from the kernel's defaults.
    pub shape: Vec<(String, usize)>,
    /// Decides the inputs.
    pub seed: u64,
    /// The machine.
    pub options: Options,
    /// In which numbers; f32, or those of a rung, if not given.
    pub precision: Option<Precision>,
    /// By which convolutions.
    pub kernels: Kernels,
    /// Counts for every line.
    pub stats: bool,
    /// A block along x, y, z and a thread's number in it.
    pub trace: Option<([u32; 3], u32)>,
}

/// Numbers of all arrays together: 1 GiB of f32.
const MOST: usize = 1 << 28;

/// Runs a kernel and prints what there is to see.
///
/// # Errors
/// [`Kind::Usage`] for a kernel, an axis or a thread that is not there; [`Kind::Device`] with the
/// emulator's report when the kernel does something wrong; [`Kind::Numeric`] when its result is not the
/// cpu's.
pub fn emulate(host: &Host, job: &Emulate) -> Result<()> {
    let Some(name) = &job.kernel else { return list(host) };
    let (kernel, rung) = find(name)?;
    let form = Form::new(kernel, rung, (job.precision, job.kernels))?;
    let sizes = sizes(kernel.name, form.axes(kernel), &job.shape)?;
    let (inputs, outputs) = (kernel.arrays)(&sizes);
    let elements: usize = inputs.iter().chain(&outputs).map(|array| array.len).sum();
    if elements > MOST {
        return Err(Error::new(Kind::Usage, format!("{name}: these sizes are too large to emulate"))
            .expected_got(format!("at most {MOST} numbers in all arrays"), elements)
            .help("choose smaller sizes with --shape"));
    }
    let mut draws = Draws::new(job.seed, Stream::Demo, 0);
    let mut filled = |array: &Array| form.kept(array.name, fill(array, &mut draws));
    let inputs: Vec<_> = inputs.iter().map(&mut filled).collect();
    let before: Vec<_> = outputs.iter().map(filled).collect();

    let gpu = form.gpu(Watched::new(Emulator::new(form.options(job.options))?, job.trace))?;
    let described = gpu.describe();
    host.say(format_args!("device     {} ({})", described.name, described.hardware));
    let mut got = run(&gpu, kernel, &sizes, &inputs, &before)?;
    let started = gpu.driver().started();
    form.ran(&started)?;
    if let Some((block, thread)) = job.trace {
        followed(&started, block, thread)?;
    }
    let inputs: Vec<_> = inputs.iter().map(widened).collect();
    // What the cpu writes is f32 where the kernel's is rounded.
    let before: Vec<_> = before.iter().zip(&outputs).map(|(numbers, array)| as_f32(numbers, array)).collect();
    let cpu = CpuDevice::new(job.options.threads)?;
    let want = run(&cpu, kernel, &sizes, &inputs, &before)?;
    if let Some(first) = outputs.first() {
        let within = form.tolerance(kernel, first);
        winners::settle(&cpu, (kernel, &sizes), &inputs, (&mut got, &want), within)?;
    }

    let report = Report {
        kernel: rung.map_or(kernel.name, |rung| rung.name),
        formula: kernel.formula,
        shape: sizes.0,
        seed: job.seed,
        machine: machine(&job.options) + &form.words(),
        precision: form.precision,
        launches: started
            .iter()
            .map(|one| launched(gpu.driver().machine(), one, job))
            .collect::<Result<_>>()?,
        outputs: outputs
            .iter()
            .zip(got.iter().zip(&want))
            .map(|(array, (got, want))| compare(array, got, want, form.tolerance(kernel, array)))
            .collect(),
    };
    host.result(&report.text(), &report)?;
    match report.outputs.iter().find(|output| output.relative.is_nan() || output.relative > output.tolerance)
    {
        None => Ok(()),
        Some(wrong) => Err(Error::new(
            Kind::Numeric,
            format!("{name}: `{}` on the emulator is not what the cpu gives", wrong.name),
        )
        .expected_got(
            format!("a difference of at most {:.2e} of the largest number", wrong.tolerance),
            format!("{:.2e}, at element {}", wrong.relative, wrong.worst),
        )
        .help("--trace shows what a thread did; src/device/cpu has the same operation in Rust")),
    }
}

/// Every name with its kernel: the calls, then the rungs that stand in for `conv2d_forward`.
fn all() -> impl Iterator<Item = (&'static str, &'static Kernel, Option<Rung>)> {
    let rungs = KERNELS
        .iter()
        .filter(|kernel| kernel.name == "conv2d_forward")
        .flat_map(|kernel| RUNGS.iter().map(move |rung| (rung.name, kernel, Some(*rung))));
    KERNELS.iter().map(|kernel| (kernel.name, kernel, None)).chain(rungs)
}

fn list(host: &Host) -> Result<()> {
    let rows: Vec<_> = all()
        .map(|(name, k, rung)| Ok((name, k.formula, shape_text(&usual(k, rung)?))))
        .collect::<Result<_>>()?;
    let value = |(name, kernel, rung): (&str, &Kernel, Option<Rung>)| -> Result<serde_json::Value> {
        let shape: serde_json::Map<_, _> =
            usual(kernel, rung)?.iter().map(|&(axis, size)| (axis.to_owned(), json!(size))).collect();
        Ok(json!({ "kernel": name, "formula": kernel.formula, "shape": shape, "ladder": rung.is_some() }))
    };
    host.result(&kernel_list(&rows), &all().map(value).collect::<Result<Vec<_>>>()?)
}

/// The sizes of a kernel where nobody names any.
fn usual(kernel: &Kernel, rung: Option<Rung>) -> Result<Vec<(&'static str, usize)>> {
    Ok(Form::new(kernel, rung, (None, Kernels::Auto))?.axes(kernel))
}

fn shape_text(axes: &[(&str, usize)]) -> String {
    axes.iter().map(|(axis, size)| format!("{axis}={size}")).collect::<Vec<_>>().join(",")
}

fn find(name: &str) -> Result<(&'static Kernel, Option<Rung>)> {
    let found = all().find(|(known, ..)| *known == name);
    found.map(|(_, kernel, rung)| (kernel, rung)).ok_or_else(|| {
        let names: Vec<_> = all().map(|(name, ..)| name).collect();
        let lines: Vec<_> = names.chunks(4).map(|line| line.join(", ")).collect();
        Error::new(Kind::Usage, format!("no kernel is called `{name}`"))
            .fact("kernels", lines.join(",\n"))
            .help("`vgg-ft emulate` shows what each computes")
    })
}

/// The sizes `axes` of the kernel `name`, with those that were asked for.
fn sizes(name: &str, axes: Vec<(&'static str, usize)>, asked: &[(String, usize)]) -> Result<Sizes> {
    let known = shape_text(&axes);
    let mut sizes = Sizes(axes);
    for (axis, size) in asked {
        match sizes.0.iter_mut().find(|(known, _)| known == axis) {
            Some((_, place)) => *place = *size,
            None => {
                return Err(Error::new(Kind::Usage, format!("{name} has no axis `{axis}`"))
                    .expected_got(known, format!("{axis}={size}"))
                    .help("name the axes that should differ from these, as in --shape rows=20"));
            }
        }
    }
    // So that no length below overflows: the largest array is smaller than nine times this product.
    let product = sizes.0.iter().try_fold(1usize, |product, &(_, size)| product.checked_mul(size));
    if product.is_none_or(|product| product > 1 << 36) {
        return Err(Error::new(Kind::Usage, format!("{name}: these sizes are too large to emulate"))
            .expected_got("a product of at most 2^36", shape_text(&sizes.0))
            .help("the emulator does about 10^9 multiplications a second; choose smaller sizes"));
    }
    Ok(sizes)
}

/// Numbers on the host.
#[derive(Clone, Debug)]
enum Numbers {
    F32(Vec<f32>),
    U32(Vec<u32>),
    U8(Vec<u8>),
    Bf16(Vec<half::bf16>),
    F16(Vec<half::f16>),
    Unwritten(Dtype, usize),
}

fn fill(array: &Array, draws: &mut Draws) -> Numbers {
    let all = 0..array.len;
    match array.fill {
        Fill::Signed => Numbers::F32(all.map(|_| draws.range(-1.0, 1.0)).collect()),
        Fill::Positive => Numbers::F32(all.map(|_| draws.unit()).collect()),
        Fill::Bits => Numbers::F32(all.map(|_| (draws.word() & 1) as f32).collect()),
        Fill::Below(bound) => Numbers::U32(all.map(|_| draws.below(bound as u32)).collect()),
        Fill::Bytes(bound) => Numbers::U8(all.map(|_| draws.below(bound) as u8).collect()),
        Fill::Transforms => Numbers::U32(transforms(array.len)),
        Fill::LossScale => Numbers::U32(bytemuck::cast_slice(&[LossScale::START]).to_vec()),
        Fill::Unwritten(dtype) => Numbers::Unwritten(dtype, array.len),
    }
}

/// The words of as many transforms as fit, with all that can be drawn.
fn transforms(len: usize) -> Vec<u32> {
    let augment = Augment { channel_shift: 30.0, brightness: Some([0.5, 1.5]), ..Augment::book() };
    let size = Size { h: 24, w: 32 };
    let all = 0..(len / Transform::WORDS) as u32;
    let all: Vec<Transform> = all.map(|k| augment.draw(1, 0, k, size).transform(size)).collect();
    bytemuck::cast_slice(&all).to_vec()
}

fn upload(device: &dyn Device, numbers: &Numbers) -> Result<Buffer> {
    match numbers {
        Numbers::F32(data) => device.upload(data),
        Numbers::U32(data) => device.upload(data),
        Numbers::U8(data) => device.upload(data),
        Numbers::Bf16(data) => device.upload(data),
        Numbers::F16(data) => device.upload(data),
        Numbers::Unwritten(dtype, len) => device.alloc(*dtype, *len),
    }
}

/// The outputs of one call on one device.
fn run(
    device: &dyn Device,
    kernel: &Kernel,
    sizes: &Sizes,
    inputs: &[Numbers],
    before: &[Numbers],
) -> Result<Vec<Vec<f64>>> {
    let inputs = inputs.iter().map(|numbers| upload(device, numbers)).collect::<Result<Vec<_>>>()?;
    let mut outputs = before.iter().map(|numbers| upload(device, numbers)).collect::<Result<Vec<_>>>()?;
    let Some(call) = (kernel.make)(sizes, &inputs, &mut outputs) else {
        return Err(Error::new(Kind::Device, format!("{}: another number of arrays", kernel.name))
            .help("this is a bug in vgg-ft (src/task/emulate/kernels.rs)"));
    };
    device.run(call)?;
    device.synchronize()?;
    let wide = |buffer: &Buffer| match buffer.dtype() {
        Dtype::F32 => Ok(device.download::<f32>(buffer)?.into_iter().map(f64::from).collect()),
        Dtype::U32 => Ok(device.download::<u32>(buffer)?.into_iter().map(f64::from).collect()),
        Dtype::F16 => Ok(device.download::<half::f16>(buffer)?.into_iter().map(f64::from).collect()),
        Dtype::Bf16 => Ok(device.download::<half::bf16>(buffer)?.into_iter().map(f64::from).collect()),
        Dtype::U8 => Ok(device.download::<u8>(buffer)?.into_iter().map(f64::from).collect()),
    };
    outputs.iter().map(wide).collect()
}

/// An output before the call, for the cpu: of the format that its row names.
fn as_f32(numbers: &Numbers, array: &Array) -> Numbers {
    match (numbers, array.fill) {
        (Numbers::Unwritten(..), Fill::Unwritten(dtype)) => Numbers::Unwritten(dtype, array.len),
        (other, _) => widened(other),
    }
}

fn compare(array: &Array, got: &[f64], want: &[f64], tolerance: f64) -> OutputReport {
    let apart = |(got, want): (&f64, &f64)| {
        if got.to_bits() == want.to_bits() { 0.0 } else { (got - want).abs() }
    };
    // NaN counts as the worst there is.
    let key = |difference: f64| if difference.is_nan() { f64::INFINITY } else { difference };
    let all = got.iter().zip(want).map(apart).enumerate();
    let (worst, difference) = all.max_by(|a, b| key(a.1).total_cmp(&key(b.1))).unwrap_or((0, 0.0));
    let largest = want.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    OutputReport {
        name: array.name,
        len: array.len,
        worst,
        got: got.get(worst).copied().unwrap_or(0.0),
        want: want.get(worst).copied().unwrap_or(0.0),
        difference,
        relative: if difference == 0.0 { 0.0 } else { difference / largest },
        tolerance,
    }
}

/// The machine's rules in words.
fn machine(options: &Options) -> String {
    let schedule = match options.schedule {
        Schedule::Lowest => "lowest first".into(),
        Schedule::Reverse => "highest first".into(),
        Schedule::Random(seed) => format!("by chance, seed {seed}"),
    };
    let checks = match options {
        Options { checked: false, .. } => "bounds and alignment",
        Options { global_races: true, .. } => {
            "bounds, alignment, unwritten memory, races in shared and global memory"
        }
        _ => "bounds, alignment, unwritten memory, races in shared memory",
    };
    let copies = if options.late_copies { "late" } else { "early" };
    format!("checks {checks}; warps {schedule}; cp.async {copies}")
}

/// Whether any launch had the thread that was to be followed.
fn followed(started: &[Started], block: [u32; 3], thread: u32) -> Result<()> {
    let has = |one: &Started| {
        (0..3).all(|axis| block[axis] < one.grid[axis]) && thread < one.block.iter().product::<u32>()
    };
    if started.iter().any(has) {
        return Ok(());
    }
    let shapes: Vec<_> = started
        .iter()
        .map(|one| {
            let ([x, y, z], threads) = (one.grid, one.block.iter().product::<u32>());
            format!("{x}x{y}x{z} blocks of {threads} threads ({})", one.entry)
        })
        .collect();
    let [x, y, z] = block;
    Err(Error::new(Kind::Usage, "no launch has the thread that --trace names")
        .expected_got(shapes.join("\n"), format!("thread {thread} of block {x},{y},{z}"))
        .help("blocks and threads are counted from 0"))
}

fn launched(emulator: &Emulator, one: &Started, job: &Emulate) -> Result<LaunchReport> {
    let statistics = emulator.take_statistics(one.entry).filter(|_| job.stats);
    emulator.look(one.entry, |program, module| LaunchReport {
        entry: one.entry,
        grid: one.grid,
        block: one.block,
        shared: one.shared,
        lines: statistics.map(|statistics| profile(program, module, &statistics)),
        trace: job.trace.map(|_| {
            let line = |step: &Step| TraceLine::new(step, module);
            one.steps.iter().map(line).collect()
        }),
    })
}
