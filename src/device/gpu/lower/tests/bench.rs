//! Calls on a dry-run device, and the launches that they become.

use crate::device::call::Rmsprop;
use crate::device::gpu::Gpu;
use crate::device::gpu::driver::Address;
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::plan::{Card, Plan};
use crate::device::gpu::storage::Storage;
use crate::device::{Buffer, Call, Device, Dtype, Kernels, Precision};
use crate::error::Result;
use crate::shape::{Conv2d, Dense};

pub struct Bench(pub Gpu<Plan>);

impl Bench {
    pub fn new() -> Self {
        Self::on("t4", Precision::F32, Kernels::Portable)
    }

    pub fn on(card: &str, precision: Precision, kernels: Kernels) -> Self {
        Self::of(Card::named(card).unwrap(), precision, kernels)
    }

    pub fn of(card: &'static Card, precision: Precision, kernels: Kernels) -> Self {
        let gpu = Gpu::new(Plan::new(card)).unwrap().with_precision(precision);
        Self(gpu.with_kernels(kernels).unwrap())
    }

    pub fn f32(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::F32, len).unwrap()
    }

    pub fn u8(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::U8, len).unwrap()
    }

    pub fn bf16(&self, len: usize) -> Buffer {
        self.0.alloc(Dtype::Bf16, len).unwrap()
    }

    /// As activations are kept.
    pub fn activations(&self, len: usize) -> Buffer {
        self.0.alloc(self.0.precision().activations(), len).unwrap()
    }

    pub fn at(&self, buffer: &Buffer) -> Address {
        Storage::of(buffer, &self.0.shared).unwrap().at()
    }

    pub fn run(&self, call: Call<'_>) -> Vec<Launch> {
        self.try_run(call).unwrap()
    }

    pub fn try_run(&self, call: Call<'_>) -> Result<Vec<Launch>> {
        self.0.run(call)?;
        Ok(self.0.driver().take().launches().map(|(launch, _)| launch.clone()).collect())
    }

    /// All calls of f32.
    pub fn conv2d(&self, g: Conv2d) -> Vec<Launch> {
        let (x, y) = (&mut self.f32(g.x().len()), &mut self.f32(g.y().len()));
        let (w, bias) = (&mut self.f32(g.weight().len()), &self.f32(g.c_out));
        let mut all = self.run(Call::Conv2dForward { geometry: g, x, weight: w, bias, relu: true, y });
        let plain = self.run(Call::Conv2dBackwardInput { geometry: g, dy: y, weight: w, mask: None, dx: x });
        let mask = &self.f32(g.x().len());
        let mask = Some(mask);
        let masked = self.run(Call::Conv2dBackwardInput { geometry: g, dy: y, weight: w, mask, dx: x });
        assert_eq!(plain.len(), masked.len());
        all.extend(plain);
        masked.iter().for_each(super::check::check);
        all.extend(self.run(Call::Conv2dBackwardWeight { geometry: g, x, dy: y, dweight: w, dbias: None }));
        let (rule, v) = (Rmsprop::default(), &mut self.f32(g.weight().len()));
        let (velocity, weight, shadow) = (v, w, None);
        let step =
            Call::Conv2dRmspropStep { geometry: g, rule, x, dy: y, velocity, weight, shadow, dbias: None };
        all.extend(self.run(step));
        all
    }

    pub fn dense(&self, g: Dense) -> Vec<Launch> {
        let (x, y) = (&mut self.f32(g.x().len()), &mut self.f32(g.y().len()));
        let (w, v) = (&mut self.f32(g.weight().len()), &mut self.f32(g.weight().len()));
        let bias = &self.f32(g.c_out);
        let rule = Rmsprop::default();
        let mut all = self.run(Call::DenseForward { geometry: g, x, weight: w, bias, relu: false, y });
        all.extend(self.run(Call::DenseBackwardInput { geometry: g, dy: y, weight: w, dx: x }));
        all.extend(self.run(Call::DenseBackwardWeight { geometry: g, x, dy: y, dweight: w }));
        let (velocity, weight) = (v, w);
        all.extend(self.run(Call::DenseRmspropStep { geometry: g, rule, x, dy: y, velocity, weight }));
        all
    }
}

/// The argument of that name.
pub fn arg<'a>(launch: &'a Launch, name: &str) -> &'a Arg {
    let arg = launch.args.iter().find(|arg| arg.name() == name);
    arg.unwrap_or_else(|| panic!("{} takes no {name}", launch.entry.name))
}

/// The fields of a struct argument, all as u32.
pub fn words(launch: &Launch, name: &str) -> Vec<usize> {
    let Arg::Value { bytes, .. } = arg(launch, name) else {
        panic!("{} takes {name} by its address", launch.entry.name)
    };
    bytemuck::pod_collect_to_vec::<u8, u32>(bytes).iter().map(|&word| word as usize).collect()
}

/// Elements of the buffer of that name.
pub fn len(launch: &Launch, name: &str) -> usize {
    match arg(launch, name) {
        Arg::Pointer { len, .. } | Arg::Tensor { len, .. } => *len,
        Arg::Value { .. } | Arg::Table { .. } => panic!("{}: {name} is no buffer", launch.entry.name),
    }
}
