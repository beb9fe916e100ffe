//! What stands behind the functions: the emulator, and a queue of works that wait for a wait.

use crate::graph::Graphs;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_uint, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use vgg_ft::device::Cost;
use vgg_ft::device::Dtype;
use vgg_ft::device::gpu::driver::{Address, Driver};
use vgg_ft::device::gpu::emulator::{Emulator, Options};
use vgg_ft::device::gpu::launch::{Arg, Launch};
use vgg_ft::device::gpu::module::{Entry, Param};
use vgg_ft::ptx::{Space, parse};

pub const OK: c_uint = 0;
pub const INVALID_VALUE: c_uint = 1;
pub const OUT_OF_MEMORY: c_uint = 2;
pub const NO_DEVICE: c_uint = 100;
pub const INVALID_CONTEXT: c_uint = 201;
pub const UNSUPPORTED_PTX_VERSION: c_uint = 222;
pub const INVALID_PTX: c_uint = 218;
pub const INVALID_HANDLE: c_uint = 400;
pub const NOT_FOUND: c_uint = 500;
pub const ILLEGAL_ADDRESS: c_uint = 700;
pub const LAUNCH_TIMEOUT: c_uint = 702;
pub const NOT_SUPPORTED: c_uint = 801;

/// The handle of context and stream: there is one GPU with one stream.
pub const THE_ONE: usize = 0x10;

/// What is to be done when somebody waits.
pub enum Work {
    In { to: u64, from: usize, len: usize },
    Out { to: usize, from: u64, len: usize },
    Copy { to: u64, from: u64, len: usize },
    Fill { to: u64, byte: u8, len: usize },
    Launch(Launch),
    Free(u64),
}

pub struct Machine {
    pub emulator: Emulator,
    queue: VecDeque<Work>,
    /// Works queued and done since the start.
    pub queued: u64,
    done: u64,
    /// The number of works that must be done before the event has happened.
    pub events: HashMap<usize, u64>,
    /// By handle, and in each by name: two modules may have an entry of one name.
    pub modules: HashMap<usize, HashMap<String, &'static Entry>>,
    pub functions: HashMap<usize, (&'static Entry, u32)>,
    pub graphs: Graphs,
    /// Launches of each kernel.
    launched: HashMap<&'static str, usize>,
    live: HashMap<u64, usize>,
    pub bytes: usize,
    pub pinned: HashMap<usize, usize>,
    /// The fault after which nothing works.
    lost: Option<c_uint>,
    /// Calls of each function that can be told to refuse one.
    asked: HashMap<&'static str, usize>,
}

thread_local! {
    pub static CURRENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the word is in the variable; what follows its `=`.
pub fn word(name: &str) -> Option<String> {
    let words = std::env::var("VGG_FT_FAKE_CUDA").unwrap_or_default();
    words.split(',').find_map(|word| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key == name).then(|| value.to_owned())
    })
}

pub fn memory() -> usize {
    word("memory").map_or(8 << 30, |bytes| bytes.parse().unwrap())
}

/// The emulator as the GPU that it is to be.
fn options() -> Options {
    let usual = Options::default();
    Options { capability: if word("hopper").is_some() { 90 } else { usual.capability }, ..usual }
}

pub fn machine() -> MutexGuard<'static, Machine> {
    static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();
    let new = || {
        Mutex::new(Machine {
            emulator: Emulator::new(options()).unwrap(),
            queue: VecDeque::new(),
            queued: 0,
            done: 0,
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            graphs: Graphs::default(),
            launched: HashMap::new(),
            live: HashMap::new(),
            bytes: 0,
            pinned: HashMap::new(),
            lost: None,
            asked: HashMap::new(),
        })
    };
    MACHINE.get_or_init(new).lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine for a call that needs a context.
pub fn inside(work: impl FnOnce(&mut Machine) -> c_uint) -> c_uint {
    if !CURRENT.get() {
        return INVALID_CONTEXT;
    }
    let mut machine = machine();
    match machine.lost {
        Some(code) => code,
        None => work(&mut machine),
    }
}

/// The same for a function that can be told to refuse ([`Machine::told`]).
pub fn asked(function: &'static str, work: impl FnOnce(&mut Machine) -> c_uint) -> c_uint {
    inside(|machine| match machine.told(function) {
        OK => work(machine),
        code => code,
    })
}

impl Machine {
    pub fn push(&mut self, work: Work) -> c_uint {
        self.queue.push_back(work);
        self.queued += 1;
        OK
    }

    /// Whether the first `until` works are done.
    pub fn is_done(&self, until: u64) -> bool {
        self.done >= until
    }

    /// Nothing works any more.
    pub fn lose(&mut self, reason: &str) -> c_uint {
        eprintln!("fake libcuda: {reason}");
        let code = word("code").map_or(ILLEGAL_ADDRESS, |code| code.parse().unwrap());
        self.lost = Some(code);
        code
    }

    /// What a call of `function` answers before it does anything: of earlier work if errors are to come up there, or a
    /// refusal if this is the call that was told to.
    pub fn told(&mut self, function: &'static str) -> c_uint {
        let asked = self.asked.entry(function).or_default();
        *asked += 1;
        let refuse = word("refuse").unwrap_or_default();
        let mut parts = refuse.split(':');
        let (name, at, code) = (parts.next(), parts.next(), parts.next());
        if name == Some(function) && *asked == at.map_or(1, |at| at.parse().unwrap()) {
            return code.map_or(INVALID_VALUE, |code| code.parse().unwrap());
        }
        if word("surfaces").as_deref() == Some(function) { self.drain(u64::MAX) } else { OK }
    }

    /// Does the works before the `until`th.
    pub fn drain(&mut self, until: u64) -> c_uint {
        while self.done < until {
            let Some(work) = self.queue.pop_front() else { break };
            self.done += 1;
            if let Err(reason) = self.work(work) {
                return self.lose(&reason);
            }
        }
        OK
    }

    fn work(&mut self, work: Work) -> Result<(), String> {
        match work {
            Work::In { to, from, len } => {
                // SAFETY: pinned memory, which lives until it is freed; `copy` looked it up.
                let bytes = unsafe { std::slice::from_raw_parts(from as *const u8, len) };
                self.emulator.write(Address(to), bytes).map_err(|e| e.to_string())
            }
            Work::Out { to, from, len } => {
                // SAFETY: as above; the caller does not look before the event.
                let bytes = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, len) };
                self.emulator.read(Address(from), bytes).map_err(|e| e.to_string())
            }
            Work::Copy { to, from, len } => {
                let mut bytes = vec![0; len];
                self.emulator.read(Address(from), &mut bytes).map_err(|e| e.to_string())?;
                self.emulator.write(Address(to), &bytes).map_err(|e| e.to_string())
            }
            Work::Fill { to, byte, len } => {
                self.emulator.write(Address(to), &vec![byte; len]).map_err(|e| e.to_string())
            }
            Work::Launch(launch) => {
                let count = self.launched.entry(launch.entry.name).or_default();
                *count += 1;
                let told = word("fault").unwrap_or_default();
                let (name, from) = told.split_once(':').unwrap_or((&told, "1"));
                if name == launch.entry.name && *count >= from.parse().unwrap() {
                    return Err(format!("{name} was told to fail"));
                }
                self.emulator.launch(&launch).map_err(|e| e.to_string())
            }
            Work::Free(at) => {
                self.bytes -= self.live.remove(&at).ok_or("memory was given back twice")?;
                self.emulator.free(Address(at));
                Ok(())
            }
        }
    }

    /// A module's entries as launches know them, from its text alone.
    pub fn load(&mut self, text: &str) -> vgg_ft::error::Result<usize> {
        let module = parse("given to libcuda", text)?;
        let entries = module.entries.iter().map(|entry| {
            let params =
                entry.params.iter().map(|p| Param { size: p.size, align: p.align }).collect::<Vec<_>>();
            let shared = entry.variables.iter().filter(|v| v.space == Space::Shared).map(|v| v.size);
            let known = Entry {
                name: entry.name.clone().leak(),
                params: params.leak(),
                max_threads: None,
                static_shared: shared.sum(),
                awaits: entry.body.iter().any(|done| done.opcode == "griddepcontrol.wait"),
            };
            (entry.name.clone(), &*Box::leak(Box::new(known)))
        });
        let handle = 0x1_0000 + self.modules.len();
        let entries = entries.collect();
        self.emulator.load_parsed(module)?;
        self.modules.insert(handle, entries);
        Ok(handle)
    }

    /// What a caller asks to be launched, copied now: its bytes are gone when it runs.
    pub fn launch_of(
        &self,
        function: usize,
        grid: [c_uint; 3],
        block: [c_uint; 3],
        shared: c_uint,
        params: *const *const c_void,
        extra: *const c_void,
    ) -> Result<Launch, c_uint> {
        let &(entry, opted_in) = self.functions.get(&function).ok_or(INVALID_HANDLE)?;
        let usual = self.emulator.limits().shared;
        if !extra.is_null() || (entry.static_shared + shared > usual && shared > opted_in) {
            return Err(INVALID_VALUE);
        }
        let arg = |(at, param): (usize, &Param)| {
            // SAFETY: the caller's promise: a pointer for each parameter, to as many bytes as it has.
            let bytes =
                unsafe { std::slice::from_raw_parts((*params.add(at)).cast::<u8>(), param.size as usize) };
            Arg::Value { name: "argument", bytes: bytes.to_vec() }
        };
        let args = entry.params.iter().enumerate().map(arg).collect();
        Ok(Launch { entry, grid, block, shared, args, cost: Cost::default(), compulsory: 0 })
    }

    pub fn take(&mut self, bytes: usize, at: *mut u64) -> c_uint {
        if self.bytes + bytes > memory() {
            return OUT_OF_MEMORY;
        }
        let address = self.emulator.alloc(Dtype::U8, bytes).unwrap().0;
        self.live.insert(address, bytes);
        self.bytes += bytes;
        // SAFETY: the caller's place for an address.
        unsafe { *at = address };
        OK
    }

    /// Whether a copy stays within one piece of pinned memory; others this library does not take.
    pub fn is_pinned(&self, at: usize, len: usize) -> bool {
        self.pinned.iter().any(|(&first, &whole)| first <= at && at + len <= first + whole)
    }
}
