//! Whole steps as graphs, on the fake library: what is replayed, what splits, and that no number changes.

use vgg_ft::device::call::Rmsprop;
use vgg_ft::device::gpu::Gpu;
use vgg_ft::device::gpu::cuda::{Counts, Cuda, Options};
use vgg_ft::device::{Buffer, Call, Device, Dtype, Kernels, Launches, Precision};
use vgg_ft::error::Result;
use vgg_ft::graph::Tensor;
use vgg_ft::model::{Architecture, Head, Layer, Network, Pooling, Source, Trainable};
use vgg_ft::random::{Draws, Stream};
use vgg_ft::shape::Shape;
use vgg_ft::train::{
    Course, Epoch, Fit, Observer, Optimizer, Position, Samples, Score, forward, judge, predict,
};

/// A chain of so many calls: relu again and again, the last into `y`.
pub fn chain(device: &dyn Device, x: &Buffer, y: &mut Buffer, count: usize) -> Result<()> {
    let mut last = device.alloc(Dtype::F32, x.len())?;
    device.run(Call::ReluForward { x, y: &mut last })?;
    for _ in 2..count {
        let mut next = device.alloc(Dtype::F32, x.len())?;
        device.run(Call::Sigmoid { x: &last, y: &mut next })?;
        last = next;
    }
    device.run(Call::ReluForward { x: &last, y })
}

fn counts(built: u64, replayed: u64, changed: u64) -> Counts {
    Counts { built, replayed, changed, ..Counts::default() }
}

#[test]
#[ignore = "runs on the fake library"]
fn splits() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let (device, cuda): (&dyn Device, _) = (&gpu, gpu.driver());
    let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    let (mut y, mut z) = (device.zeros(3).unwrap(), device.zeros(3).unwrap());
    let mut alone = device.zeros(3).unwrap();
    chain(device, &x, &mut alone, 6).unwrap();
    let alone: Vec<f32> = device.download(&alone).unwrap();
    assert_eq!(cuda.counts(), counts(0, 0, 0), "nothing was together");
    device.together(&mut || chain(device, &x, &mut y, 6)).unwrap();
    assert_eq!(cuda.counts(), counts(1, 0, 0));
    assert_eq!(device.download::<f32>(&y).unwrap(), alone);
    device.together(&mut || chain(device, &x, &mut y, 6)).unwrap();
    assert_eq!(cuda.counts(), counts(1, 1, 0));
    // Another output: one node.
    device.together(&mut || chain(device, &x, &mut z, 6)).unwrap();
    assert_eq!(cuda.counts(), counts(1, 2, 1));
    assert_eq!(device.download::<f32>(&z).unwrap(), alone);
    // A copy in between: what came before runs before it, and both halves are graphs of their own.
    let mut between = Vec::new();
    for _ in 0..2 {
        let mut x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
        device
            .together(&mut || {
                chain(device, &x, &mut y, 5)?;
                device.upload_bytes(&7.0f32.to_le_bytes().repeat(3), &mut x)?;
                chain(device, &x, &mut z, 7)?;
                between = device.download::<f32>(&z)?;
                Ok(())
            })
            .unwrap();
        assert!(device.download::<f32>(&y).unwrap() != between);
        assert_eq!(between[0], between[1], "all sevens");
    }
    assert_eq!(cuda.counts(), counts(3, 4, 1));
    // A few launches are not worth a graph, and an error of the work is said.
    device.together(&mut || chain(device, &x, &mut y, 3)).unwrap();
    assert_eq!(cuda.counts(), counts(3, 4, 1));
    let error = device.together(&mut || {
        chain(device, &x, &mut y, 6)?;
        device.alloc(Dtype::F32, usize::MAX / 4).map(|_| ())
    });
    assert!(error.unwrap_err().to_string().contains("asked for"));
    assert_eq!(device.download::<f32>(&y).unwrap(), alone, "what was asked for before was done");
    // From another thread, in the middle: after what came before, before what comes after.
    let fresh = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    device
        .together(&mut || {
            chain(device, &fresh, &mut y, 4)?;
            let (y, z) = (&y, &mut z);
            std::thread::scope(|scope| scope.spawn(|| device.run(Call::ReluForward { x: y, y: z })).join())
                .unwrap()
        })
        .unwrap();
    assert_eq!(device.download::<f32>(&z).unwrap(), device.download::<f32>(&y).unwrap());
}

#[test]
#[ignore = "runs on the fake library"]
fn many_graphs() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    let mut y = device.zeros(3).unwrap();
    // Ten of different lengths, where eight are kept; nobody waits in between.
    for count in (4..14).chain(4..6).chain(10..14) {
        device.together(&mut || chain(device, &x, &mut y, count)).unwrap();
    }
    assert_eq!(gpu.driver().counts(), counts(12, 4, 0));
    device.synchronize().unwrap();
}

/// Whatever of a graph the GPU has no room for: every list runs once, and after a rest a graph is tried again.
#[test]
#[ignore = "runs on the fake library"]
fn no_room() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    let (mut y, mut z) = (device.zeros(3).unwrap(), device.zeros(3).unwrap());
    let mut sum = device.zeros(3).unwrap();
    chain(device, &x, &mut y, 6).unwrap();
    let alone: Vec<f32> = device.download(&y).unwrap();
    for round in 1..=150 {
        // Turn by turn another output, so that a kept graph is changed.
        let out = if round % 2 == 0 { &mut y } else { &mut z };
        device
            .together(&mut || {
                chain(device, &x, out, 6)?;
                device.run(Call::Add { x: out, into: &mut sum })
            })
            .unwrap();
        assert_eq!(device.download::<f32>(out).unwrap(), alone, "round {round}");
    }
    let total: Vec<f32> = device.download(&sum).unwrap();
    for (total, one) in total.iter().zip(&alone) {
        assert!((total - 150.0 * one).abs() <= 1e-3 * one.abs(), "{total}: not 150 times {one}");
    }
    let counts = gpu.driver().counts();
    println!("{counts:?}");
    assert!((2..=3).contains(&counts.refused), "a few times in 150 rounds: {counts:?}");
}

/// A graph that was refused a change is dropped and made anew; nothing goes one by one.
#[test]
#[ignore = "runs on the fake library"]
fn changes_refused() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[-1.0f32, 0.0, 1.0]).unwrap();
    let mut outs = [(); 3].map(|()| device.zeros(3).unwrap());
    for out in &mut outs {
        // Of two lengths, so that one more graph is kept.
        device.together(&mut || chain(device, &x, out, 6)).unwrap();
        device.together(&mut || chain(device, &x, out, 9)).unwrap();
        device.together(&mut || chain(device, &x, out, 6)).unwrap();
    }
    let [first, rest @ ..] = outs.map(|out| device.download::<f32>(&out).unwrap());
    assert!(rest.iter().all(|other| *other == first), "{first:?} {rest:?}");
    let counts = gpu.driver().counts();
    assert_eq!((counts.changed, counts.refused), (0, 0), "{counts:?}");
    assert!(counts.built >= 6 && counts.replayed >= 1, "{counts:?}");
}

/// Room for one graph where a step needs four: the one that is kept makes room for the one that is started.
#[test]
#[ignore = "runs on the fake library"]
fn room_for_one() {
    let (losses, weights, after) = learn(Options::default());
    let last = after.last().unwrap();
    assert!(last.refused == 0 && last.built > 4 && last.replayed > 0, "{last:?}");
    let (losses1, weights1, _) = learn(Options { single: true, ..Options::default() });
    assert!(losses == losses1 && weights == weights1, "dropped graphs change the numbers");
}

#[test]
#[ignore = "runs on the fake library"]
fn fault_in_graph() {
    let gpu = Gpu::new(Cuda::open(Options::default()).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let x = device.upload(&[1.0f32; 8]).unwrap();
    let mut y = device.zeros(8).unwrap();
    device.together(&mut || chain(device, &x, &mut y, 7)).unwrap();
    device.synchronize().unwrap();
    device.together(&mut || chain(device, &x, &mut y, 7)).unwrap();
    assert_eq!(gpu.driver().counts(), counts(1, 1, 0));
    let error = device.synchronize().unwrap_err().to_string();
    for part in [
        "a kernel went wrong",
        "CUDA_ERROR_ILLEGAL_ADDRESS (700)",
        "a graph of 7 launches (relu_forward x2, sigmoid x5)",
        "--sync",
    ] {
        assert!(error.contains(part), "`{part}` is not in\n{error}");
    }
    let error = device.together(&mut || chain(device, &x, &mut y, 7)).unwrap_err().to_string();
    assert!(error.contains("cannot use the GPU any more"), "{error}");
}

/// Images of noise.
struct Noise {
    values: Vec<f32>,
    labels: Vec<u32>,
}

const SHAPE: [usize; 4] = [1, 16, 16, 3];

impl Noise {
    fn new(count: usize) -> Self {
        let mut draws = Draws::new(count as u64, Stream::Demo, 0);
        let values = (0..count * 16 * 16 * 3).map(|_| draws.range(-1.0, 1.0)).collect();
        Self { values, labels: (0..count as u32).map(|i| i % 2).collect() }
    }
}

impl Samples for Noise {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        let row = SHAPE.iter().product::<usize>();
        let rows: Vec<f32> =
            indices.iter().flat_map(|&i| &self.values[i as usize * row..][..row]).copied().collect();
        Tensor::constant(Shape::new(&[indices.len(), 16, 16, 3]), device.upload(&rows)?)
    }
}

/// Remembers the losses and what became of the steps.
struct Log<'a> {
    cuda: &'a Cuda,
    losses: Vec<u64>,
    counts: Vec<Counts>,
}

impl Observer for Log<'_> {
    // The running score comes a step late where the GPU works on, and at once where it is waited for.
    fn step(&mut self, _: usize, done: usize, of: usize, score: &Score) {
        if done == of {
            self.losses.push(score.loss_sum.to_bits());
        }
        self.counts.push(self.cuda.counts());
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.losses.push(epoch.val_loss.unwrap().to_bits());
        self.counts.push(self.cuda.counts());
        Ok(())
    }
}

/// Two convolutions and a classifier.
fn tiny(device: &dyn Device) -> Network {
    let layers = [
        ("conv1", Layer::Conv2d { filters: 8 }),
        ("pool", Layer::Maxpool2d),
        ("conv2", Layer::Conv2d { filters: 8 }),
    ];
    let layers = layers.map(|(name, layer)| (name.to_owned(), layer)).to_vec();
    let base = Architecture::base_of("tiny", [16, 16], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 12, dropout: 0.5, classes: 2 }).unwrap();
    Network::new(device, architecture, |_| Source::Glorot { seed: 5 }).unwrap()
}

/// The same of so many filters that all layers but the first are Hopper's own, in every direction.
fn wide(device: &dyn Device) -> Network {
    let conv = |name: &str, filters| (name.to_owned(), Layer::Conv2d { filters });
    let pool = |name: &str| (name.to_owned(), Layer::Maxpool2d);
    let layers =
        vec![conv("conv1", 64), pool("pool1"), conv("conv2", 128), pool("pool2"), conv("conv3", 256)];
    let base = Architecture::base_of("wide", [16, 16], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 12, dropout: 0.5, classes: 2 }).unwrap();
    Network::new(device, architecture, |_| Source::Glorot { seed: 5 }).unwrap()
}

/// Batches of four and of two as `predict`, `evaluate` and `extract` pass them: what each answers, in bits, and what
/// became of the launches.
fn pass(options: Options) -> (Vec<u64>, Vec<Counts>) {
    let gpu = Gpu::new(Cuda::open(options).unwrap()).unwrap();
    let device: &dyn Device = &gpu;
    let (network, noise) = (tiny(device), Noise::new(4));
    let end = network.architecture().layers().len();
    let (mut answers, mut counts) = (Vec::new(), Vec::new());
    for count in [4, 4, 4, 2, 4, 2] {
        let indices: Vec<u32> = (0..count).collect();
        let batch = || noise.batch(device, &indices).unwrap();
        let rows = predict(device, &network, 0, batch()).unwrap();
        answers.extend(rows.into_iter().flatten().map(|p| u64::from(p.to_bits())));
        counts.push(gpu.driver().counts());
        let judged = judge(device, &network, 0, batch(), &noise.labels[..count as usize]).unwrap();
        answers.push(judged.loss_sum().to_bits());
        counts.push(gpu.driver().counts());
        let y = forward(device, &network, 0..end, batch()).unwrap();
        answers
            .extend(device.download_floats(y.buffer()).unwrap().into_iter().map(|v| u64::from(v.to_bits())));
        counts.push(gpu.driver().counts());
    }
    (answers, counts)
}

#[test]
#[ignore = "runs on the fake library"]
fn passes() {
    let (answers, after) = pass(Options::default());
    // Three kinds of passes and two sizes: six graphs, each made once.
    let built: Vec<u64> = after.iter().map(|counts| counts.built).collect();
    assert_eq!(built, [1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 6, 6, 6], "{after:?}");
    assert_eq!(after.last(), Some(&counts(6, 12, 0)), "a pass like the last of its kind changes nothing");
    let (answers1, after) = pass(Options { single: true, ..Options::default() });
    assert_eq!(after.last(), Some(&counts(0, 0, 0)));
    assert!(answers == answers1, "graphs change the numbers");
}

/// Three epochs of three batches of four and one of two, each followed by two and one of evaluation.
fn learn(options: Options) -> (Vec<u64>, Vec<Vec<u32>>, Vec<Counts>) {
    learn_on(&Gpu::new(Cuda::open(options).unwrap()).unwrap(), tiny, 3)
}

/// So many epochs of a network on a device.
fn learn_on(
    gpu: &Gpu<Cuda>,
    network: fn(&dyn Device) -> Network,
    epochs: usize,
) -> (Vec<u64>, Vec<Vec<u32>>, Vec<Counts>) {
    let device: &dyn Device = gpu;
    let mut network = network(device);
    network.set_trainable(Trainable::from(network.architecture(), "conv1").unwrap());
    let rule = Rmsprop { rate: 1e-3, ..Rmsprop::default() };
    let mut optimizer = Optimizer::new(rule, network.parameters().len());
    let (train, validation) = (Noise::new(14), Noise::new(10));
    let mut log = Log { cuda: gpu.driver(), losses: Vec::new(), counts: Vec::new() };
    let course = Course::new(epochs, 4, 3, rule.rate);
    let validation = Some((0, &validation as &dyn Samples));
    let fit = Fit { device, from: 0, train: &train, validation, stage: "all", course: &course };
    fit.run(&mut network, &mut optimizer, &mut Position::default(), &mut log).unwrap();
    let weights = network.parameters().iter().map(|parameter| {
        let values: Vec<f32> = device.download(parameter.value()).unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    });
    (log.losses, weights.collect(), log.counts)
}

#[test]
#[ignore = "runs on the fake library"]
fn steps() {
    let (losses, weights, after) = learn(Options::default());
    let built: Vec<u64> = after.iter().map(|counts| counts.built).collect();
    // Each epoch: three whole batches, the last one, and evaluation. Two graphs for each, from the first
    // epoch; all else is a replay.
    assert_eq!(built, [1, 1, 1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4], "{after:?}");
    let steps = after.windows(2).filter(|pair| pair[1].built == pair[0].built);
    for pair in steps {
        let replayed = pair[1].replayed - pair[0].replayed;
        let changed = pair[1].changed - pair[0].changed;
        // The dropout of the way there and of the way back.
        assert!(replayed >= 1 && changed <= 2 * replayed, "{pair:?}");
    }
    let (losses1, weights1, after) = learn(Options { single: true, ..Options::default() });
    assert_eq!(after.last(), Some(&counts(0, 0, 0)));
    assert!(losses == losses1 && weights == weights1, "graphs change the numbers");
    let (losses2, weights2, after) = learn(Options { sync: true, ..Options::default() });
    assert_eq!(after.last(), Some(&counts(0, 0, 0)));
    assert!(losses == losses2 && weights == weights2, "--sync changes the numbers");
    println!("{losses:?}");
}

#[test]
#[ignore = "runs on the fake library"]
fn programmatic() {
    let early = Options { launches: Launches::Programmatic, ..Options::default() };
    let (losses, weights, after) = learn(early);
    let (losses1, weights1, serial) = learn(Options::default());
    assert!(losses == losses1 && weights == weights1, "programmatic launches change the numbers");
    // The same graphs; most nodes begin early: all but the first of each and the convolutions, which do not wait.
    let last = |all: &[Counts]| *all.last().unwrap();
    assert_eq!(last(&serial).overlapping, 0);
    assert_eq!(Counts { overlapping: 0, ..last(&after) }, last(&serial));
    assert!(last(&after).overlapping > 20, "{after:?}");
    let sync = Cuda::open(Options { sync: true, ..early }).err().map(|error| error.to_string());
    assert!(sync.unwrap().contains("--sync waits for each kernel"));
}

/// TMA, `wgmma` and tensor maps in graphs, early and not.
#[test]
#[ignore = "runs on the fake library"]
fn programmatic_hopper() {
    for precision in [Precision::Bf16, Precision::Tf32] {
        let [early, serial] = [Launches::Programmatic, Launches::Serial].map(|launches| {
            let gpu = Gpu::new(Cuda::open(Options { launches, ..Options::default() }).unwrap()).unwrap();
            let gpu = gpu.with_precision(precision).with_kernels(Kernels::Sm90a).unwrap();
            learn_on(&gpu, wide, 1)
        });
        let same = early.0 == serial.0 && early.1 == serial.1;
        assert!(same, "{precision}: programmatic launches change the numbers");
        let overlapping = |all: &[Counts]| all.last().unwrap().overlapping;
        assert!(overlapping(&early.2) > 20 && overlapping(&serial.2) == 0, "{precision}: {:?}", early.2);
    }
}

#[test]
#[ignore = "runs on the fake library"]
fn not_programmatic() {
    let early = Options { launches: Launches::Programmatic, ..Options::default() };
    let refused = Cuda::open(early).err().map(|error| error.to_string()).unwrap();
    assert!(refused.contains("--launches programmatic is for Hopper"), "{refused}");
}

#[test]
#[ignore = "runs on the fake library"]
fn steps_without_graphs() {
    let (losses, weights, after) = learn(Options::default());
    assert_eq!(after.last(), Some(&counts(0, 0, 0)));
    let (losses1, weights1, _) = learn(Options { guarded: true, ..Options::default() });
    assert!(losses == losses1 && weights == weights1, "guards change the numbers");
}
