//! Where the launches of one call are put together.

use super::{Room, SMS};
use crate::device::arm::Arm;
use crate::device::gpu::driver::{Address, Driver};
use crate::device::gpu::launch::{Arg, Launch};
use crate::device::gpu::module;
use crate::device::gpu::params::Partials;
use crate::device::gpu::storage::Storage;
use crate::device::gpu::tensor_map::TensorMap;
use crate::device::{Buffer, Call, Cost, Dtype, Kernels, Precision, capability};
use crate::error::{Context, Result};
use std::sync::Arc;

/// Elements of a tensor, at most: kernels count offsets in an `int`.
const MOST: usize = i32::MAX as usize;

/// Threads of a block of kernels that walk a line: `LINEAR` of `kernels/common.cuh`.
pub const LINEAR: usize = 256;

/// One call being lowered: opens its buffers, takes scratch memory, collects launches.
pub struct Site<'a> {
    /// For errors that begin with the call's name.
    pub arm: Arm,
    /// Of the device.
    pub precision: Precision,
    /// Whether the device takes the kernels of sm_90a where there are any.
    pub sm90: bool,
    /// Whether it takes f32 convolutions by Winograd's minimal filtering.
    pub winograd: bool,
    /// What work on tensor cores is cut for: the largest GPU of the device's architecture, if nobody says another.
    pub room: Room,
    driver: &'a Arc<dyn Driver>,
    fault: Address,
    /// Of the call; its first launch takes it along.
    cost: Option<Share>,
    /// Of it, what the launch that ends the call takes along.
    last: Option<Cost>,
    /// Whether launches count for themselves.
    apart: bool,
    /// What was lowered so far.
    pub launches: Vec<Launch>,
    // Given back when the site is dropped: drivers keep the order of frees and launches.
    scratch: Vec<Storage>,
    maps: Vec<Arc<Buffer>>,
}

/// What of a call's cost a launch takes along.
#[derive(Clone, Copy)]
struct Share {
    moved: Cost,
    compulsory: u64,
}

impl Share {
    /// Of a launch that moves nothing for another one's sake.
    fn of(cost: Cost) -> Self {
        Self { moved: cost, compulsory: cost.bytes }
    }
}

impl<'a> Site<'a> {
    /// For `call` on buffers of `driver`; at `fault` kernels leave what only they can see.
    pub fn new(
        call: &Call<'_>,
        driver: &'a Arc<dyn Driver>,
        fault: Address,
        (precision, kernels): (Precision, Kernels),
    ) -> Self {
        let (arm, cost) = (Arm::new(call.name()), Some(Share::of(call.cost())));
        let (sm90, winograd) = (kernels == Kernels::Sm90a, kernels == Kernels::Winograd);
        let (launches, scratch, maps) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            arm,
            precision,
            sm90,
            winograd,
            room: Room::of(driver.limits().capability),
            driver,
            fault,
            cost,
            last: None,
            apart: false,
            launches,
            scratch,
            maps,
        }
    }

    /// Of the device: 80 for 8.0.
    fn capability(&self) -> u32 {
        self.driver.limits().capability
    }

    /// Multiprocessors for blocks that stay until all tiles are done, where bits do not depend on how many those are: the
    /// GPU's, a small one's or a part's too, but no more than [`SMS`].
    pub fn sms(&self) -> usize {
        SMS.min(self.driver.limits().sms as usize)
    }

    /// Whether the device can work in `precision`, with the reason.
    pub fn works_in(&self, precision: Precision) -> Result<()> {
        precision.check(&self.driver.describe(), self.capability()).context(|| self.arm.running())
    }

    /// A buffer of `len` f32.
    pub fn f32(&self, name: &'static str, buffer: &Buffer, len: usize) -> Result<Arg> {
        self.buffer(name, buffer, Dtype::F32, len)
    }

    /// A buffer of `len` elements of `dtype`.
    pub fn buffer(&self, name: &'static str, buffer: &Buffer, dtype: Dtype, len: usize) -> Result<Arg> {
        let at = self.place(name, buffer, dtype, len)?;
        Ok(Arg::Pointer { name, at, dtype, len })
    }

    /// Where a buffer of `len` elements of `dtype` begins.
    pub fn place(&self, name: &str, buffer: &Buffer, dtype: Dtype, len: usize) -> Result<Address> {
        self.small(name, len)?;
        self.large(name, buffer, dtype, len)
    }

    /// A buffer that may have more elements than an `int` counts.
    pub fn set(&self, name: &'static str, buffer: &Buffer, dtype: Dtype, len: usize) -> Result<Arg> {
        let at = self.large(name, buffer, dtype, len)?;
        Ok(Arg::Pointer { name, at, dtype, len })
    }

    fn large(&self, name: &str, buffer: &Buffer, dtype: Dtype, len: usize) -> Result<Address> {
        self.arm.fits(name, buffer, dtype, len)?;
        Ok(Storage::of(buffer, self.driver).context(|| self.arm.doing(name))?.at())
    }

    /// A buffer that may be left out.
    pub fn optional(
        &self,
        name: &'static str,
        buffer: Option<&Buffer>,
        dtype: Dtype,
        len: usize,
    ) -> Result<Arg> {
        buffer.map_or_else(|| Ok(Arg::nothing(name, dtype)), |buffer| self.buffer(name, buffer, dtype, len))
    }

    /// A tensor of `len` elements as TMA sees it.
    pub fn tensor(&self, name: &'static str, map: &TensorMap, len: usize) -> Result<Arg> {
        let bytes = self.driver.tensor_map(map).context(|| self.arm.doing(name))?.to_vec();
        Ok(Arg::Tensor { name, bytes, at: map.base(), dtype: map.dtype(), len })
    }

    /// Where kernels leave the first row whose label is no class, and the first image whose index is none.
    pub fn fault(&self) -> Arg {
        Arg::Pointer { name: "fault", at: self.fault, dtype: Dtype::U32, len: 2 }
    }

    /// Memory for the `count` parts of a sum of `len` results, until the site is dropped.
    pub fn parts(&mut self, count: usize, len: usize) -> Result<Arg> {
        self.scratch("parts", count.saturating_mul(len))
    }

    /// Memory for `len` numbers, until the site is dropped.
    pub fn scratch(&mut self, name: &'static str, len: usize) -> Result<Arg> {
        let [arg] = self.taken([name], Dtype::F32, len)?;
        Ok(arg)
    }

    /// Memory for `len` elements between two launches, under the name that each has for it.
    pub fn between(&mut self, names: [&'static str; 2], dtype: Dtype, len: usize) -> Result<[Arg; 2]> {
        self.taken(names, dtype, len)
    }

    /// The same for two calls that are one, which open it like any buffer.
    pub fn between_calls(&mut self, name: &'static str, dtype: Dtype, len: usize) -> Result<Arc<Buffer>> {
        self.small(name, len)?;
        let storage = Storage::take(self.driver, dtype, len).context(|| self.arm.doing(name))?;
        let map = Arc::new(Buffer::new(dtype, len, storage));
        self.maps.push(Arc::clone(&map));
        Ok(map)
    }

    fn taken<const N: usize>(
        &mut self,
        names: [&'static str; N],
        dtype: Dtype,
        len: usize,
    ) -> Result<[Arg; N]> {
        self.small(names[0], len)?;
        let storage = Storage::take(self.driver, dtype, len).context(|| self.arm.doing(names[0]))?;
        let at = storage.at();
        self.scratch.push(storage);
        Ok(names.map(|name| Arg::Pointer { name, at, dtype, len }))
    }

    /// `count` parts of `len` results, as kernels take it.
    pub fn partials(&self, count: usize, len: usize) -> Result<Arg> {
        Ok(Arg::value("p", &Partials { count: self.size(count)?, len: self.size(len)? }))
    }

    /// A size as kernels take it.
    pub fn size(&self, size: usize) -> Result<u32> {
        self.small("geometry", size)?;
        Ok(size as u32)
    }

    /// Leaves this of the call's cost to the launch that ends the call.
    pub fn leave_to_the_last(&mut self, cost: Cost) {
        self.cost = self.cost.map(|Share { moved, compulsory }| Share {
            moved: moved.less(cost),
            compulsory: compulsory - cost.bytes,
        });
        self.last = Some(cost);
    }

    /// The call's next launch does a part of it, and moves `between` bytes that one launch for both would not.
    pub fn part(&mut self, moved: Cost, between: u64) {
        self.cost = Some(Share { moved, compulsory: moved.bytes - between });
    }

    /// The call's first launch leaves `between` bytes where another kernel would leave `outputs`, as the call must; the
    /// launches of `behind` take them there, which that kernel would save.
    pub fn in_two(
        &mut self,
        [between, outputs]: [u64; 2],
        first: impl FnOnce(&mut Self) -> Result<()>,
        behind: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if let Some(Share { moved, .. }) = &mut self.cost {
            moved.bytes = moved.bytes - outputs + between;
        }
        first(self)?;
        let at = self.launches.len();
        behind(self)?;
        self.launches[at..].iter_mut().for_each(|launch| launch.compulsory = 0);
        Ok(())
    }

    /// Adds a launch; none if the grid is empty.
    pub fn launch(
        &mut self,
        entry: &str,
        grid: [usize; 3],
        threads: usize,
        args: impl Into<Vec<Arg>>,
    ) -> Result<()> {
        self.launch_with(entry, grid, (threads, 0), args)
    }

    /// A launch of blocks with so many threads and bytes of dynamic shared memory.
    pub fn launch_with(
        &mut self,
        entry: &str,
        grid: [usize; 3],
        (threads, shared): (usize, u32),
        args: impl Into<Vec<Arg>>,
    ) -> Result<()> {
        self.launch_as(entry, grid, ([threads, 1, 1], shared), args)
    }

    /// The same of blocks that have more than one axis.
    pub fn launch_as(
        &mut self,
        entry: &str,
        grid: [usize; 3],
        (block, shared): ([usize; 3], u32),
        args: impl Into<Vec<Arg>>,
    ) -> Result<()> {
        if grid.contains(&0) {
            return Ok(());
        }
        let sizes = |[x, y, z]: [usize; 3]| Ok([self.size(x)?, self.size(y)?, self.size(z)?]);
        let (grid, block) = (sizes(grid)?, sizes(block)?);
        let Some((_, entry)) = module::find(entry, self.capability()) else {
            return Err(self
                .arm
                .refuse(format!("no kernel of the name {entry} runs on this device"))
                .fact("compute capability", capability::in_words(self.capability()))
                .help(
                    "use --device cpu; that the GPU was taken at all is a bug in vgg-ft (of one's own new .cu file: run \
                     scripts/ptx, which lists it for the build)",
                ));
        };
        let args = args.into();
        let Share { moved: cost, compulsory } = match (self.cost.take(), self.last) {
            _ if self.apart => Share::of(own_bytes(&args)),
            (Some(share), _) => share,
            (None, Some(last)) => {
                self.last = None;
                let parts = args.iter().filter(|arg| matches!(arg.name(), "parts" | "biases"));
                Share::of(Cost { bytes: last.bytes + parts.map(Arg::buffer_bytes).sum::<u64>(), ..last })
            }
            (None, None) => Share::of(own_bytes(&args)),
        };
        self.launches.push(Launch { entry, grid, block, shared, args, cost, compulsory });
        Ok(())
    }

    /// Launches that make ready what the call's own launch reads: its cost is left for that one, and what was left for the
    /// last one stays so.
    pub fn before(&mut self, launches: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let (cost, last) = (self.cost.take(), self.last.take());
        let done = launches(self);
        (self.cost, self.last) = (cost, last);
        done
    }

    /// Launches that count their own bytes and operations instead of the call's; what the call left to its last launch
    /// ([`Site::leave_to_the_last`]) stays for what comes after them.
    pub fn apart(&mut self, launches: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        (self.cost, self.apart) = (None, true);
        let done = launches(self);
        self.apart = false;
        done
    }

    /// What the last launch does in truth, where its buffers do not say so.
    pub fn count(&mut self, change: impl FnOnce(&mut Cost)) {
        if let Some(launch) = self.launches.last_mut() {
            change(&mut launch.cost);
        }
    }

    /// A launch of one thread per unit of a line of `units`.
    pub fn line(&mut self, entry: &str, units: usize, args: impl Into<Vec<Arg>>) -> Result<()> {
        self.launch(entry, [units.div_ceil(LINEAR), 1, 1], LINEAR, args)
    }

    fn small(&self, name: &str, size: usize) -> Result<()> {
        if size <= MOST {
            return Ok(());
        }
        Err(self
            .arm
            .refuse(format!("`{name}` is too large for one call"))
            .expected_got(format!("at most {MOST} elements"), size)
            .help("use a smaller batch or smaller images"))
    }
}

/// Of a launch that ends a sum, or counts for itself: every buffer once, read or written.
fn own_bytes(args: &[Arg]) -> Cost {
    Cost { flops: 0, bytes: args.iter().map(Arg::buffer_bytes).sum() }
}
