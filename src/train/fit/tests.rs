//! What a stage asks of its samples and tells its observer, on a network of a few weights.

use super::*;
use crate::device::call::{Rmsprop, Rule};
use crate::device::cpu::CpuDevice;
use crate::graph::{Mode, Tape, Tensor};
use crate::model::{Architecture, Head, Layer, Pooling, Source};
use crate::shape::Shape;
use crate::train::{Cut, FeatureSamples, LossOptions, Pace, Schedule};
use std::cell::RefCell;

/// Grey images that write down the draws they were asked for.
struct Asked {
    labels: Vec<u32>,
    draws: RefCell<Vec<u64>>,
    /// Of batches that were not augmented: validation.
    validated: RefCell<Vec<u32>>,
}

impl Samples for Asked {
    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn batch(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        self.validated.borrow_mut().extend(indices);
        self.grey(device, indices)
    }

    fn training_batch(&self, device: &dyn Device, indices: &[u32], draw: u64) -> Result<Tensor> {
        self.draws.borrow_mut().push(draw);
        self.grey(device, indices)
    }
}

impl Asked {
    fn of(labels: Vec<u32>) -> Self {
        Self { labels, draws: RefCell::default(), validated: RefCell::default() }
    }

    fn grey(&self, device: &dyn Device, indices: &[u32]) -> Result<Tensor> {
        let values = vec![0.5f32; indices.len() * 4 * 4 * 3];
        Tensor::constant(Shape::new(&[indices.len(), 4, 4, 3]), device.upload(&values)?)
    }
}

/// Remembers what was kept, in order, and what was measured.
#[derive(Default)]
struct Log {
    kept: Vec<String>,
    begun: Vec<[usize; 3]>,
    /// Loss of each step.
    losses: Vec<f64>,
    /// Of the epoch's steps so far.
    sum: f64,
    epochs: Vec<Epoch>,
    /// The rate that the rule had when an epoch was kept.
    rates: Vec<f32>,
    /// The epoch after which it has enough.
    enough: Option<usize>,
}

impl Observer for Log {
    fn begin(&mut self, epoch: usize, done: usize, of: usize) {
        self.begun.push([epoch, done, of]);
    }

    fn step(&mut self, _: usize, done: usize, _: usize, score: &Score) {
        // On this device a score is of all steps of the epoch that are done.
        let before = if done == 1 { 0.0 } else { self.sum };
        self.losses.push(score.loss_sum - before);
        self.sum = score.loss_sum;
    }

    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.epochs.push(epoch.clone());
        Ok(())
    }

    fn stop(&mut self, epoch: &Epoch) -> bool {
        Some(epoch.epoch) == self.enough
    }

    fn keep(&mut self, _: &Network, optimizer: &mut Optimizer, position: &Position) -> Result<()> {
        let Rule::Rmsprop(rule) = optimizer.rule else { panic!("{:?}", optimizer.rule) };
        self.rates.push(rule.rate);
        self.kept.push(format!("kept {}", position.epochs.len()));
        Ok(())
    }

    fn best(&mut self, _: &Network, best: &Best<'_>) -> Result<()> {
        self.kept.push(format!("best {}", best.epoch.epoch));
        Ok(())
    }

    fn restore(&mut self, _: &mut Network, best: &Best<'_>) -> Result<()> {
        self.kept.push(format!("back to {}", best.epoch.epoch));
        Ok(())
    }
}

fn run(course: &Course, samples: &Asked, position: &mut Position) -> Log {
    run_with(course, samples, None, position)
}

fn run_with(course: &Course, samples: &Asked, validation: Option<&Asked>, position: &mut Position) -> Log {
    let mut log = Log::default();
    told(course, samples, validation, (position, &mut log)).unwrap();
    log
}

fn told(
    course: &Course,
    samples: &Asked,
    validation: Option<&Asked>,
    (position, log): (&mut Position, &mut dyn Observer),
) -> Result<()> {
    let device = CpuDevice::new(Some(1)).unwrap();
    let layers = vec![("conv".to_owned(), Layer::Conv2d { filters: 4 })];
    let base = Architecture::base_of("tiny", [4, 4], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 8, dropout: 0.5, classes: 2 }).unwrap();
    let mut network = Network::new(&device, architecture, |_| Source::Glorot { seed: 1 }).unwrap();
    let mut optimizer = Optimizer::new(Rmsprop::default(), network.parameters().len());
    let validation = validation.map(|samples| (0, samples as &dyn Samples));
    let fit = Fit { device: &device, from: 0, train: samples, validation, stage: "a", course };
    fit.run(&mut network, &mut optimizer, position, log)
}

fn asked() -> Asked {
    Asked::of((0..7).map(|i| i % 2).collect())
}

#[test]
fn no_two_batches_of_a_run_share_a_draw_whatever_makes_a_step() {
    let samples = asked();
    let mut position = Position::default();
    // 7 samples in batches of 2: steps of 3 batches and 1, then of 1, then of 2.
    for accumulate in [3, 1, 2] {
        let course = Course { accumulate, ..Course::new(2, 2, 1, 1e-3) };
        run(&course, &samples, &mut position);
        position = position.following();
    }
    assert_eq!(*samples.draws.borrow(), (0..24).collect::<Vec<u64>>());
    assert_eq!((position.step, position.batches), (4 + 8 + 4, 24));
    // An epoch that is taken up in its midst is begun there.
    let mut midst = Position { step: 3, within: 3, ..Position::default() };
    assert_eq!(run(&Course::new(2, 2, 1, 1e-3), &samples, &mut midst).begun, [[1, 3, 4], [2, 0, 4]]);
    // The last epoch's moment is the stage's end, and kept once.
    let log = run(&Course::new(2, 2, 1, 1e-3), &samples, &mut Position::default()).kept;
    assert_eq!(log, ["kept 1", "kept 2"]);
}

#[test]
fn the_best_weights_are_kept_after_their_moment_and_again_when_a_kill_came_between() {
    let mut course = Course::new(2, 2, 1, 1e-3);
    course.stopping.restore_best = true;
    let mut position = Position::default();
    let log = run(&course, &asked(), &mut position).kept;
    assert_eq!(log[..2], ["kept 1", "best 1"], "{log:?}");
    // As after a kill between the two.
    let mut position = Position { epochs: vec![Epoch::blank("a", 1)], ..Position::default() };
    let log = run(&course, &asked(), &mut position).kept;
    assert_eq!(log[0], "best 1", "{log:?}");
}

/// An observer's end is as any other: the moment is kept, the best weights go back, and nothing follows unless the stage is
/// opened again.
#[test]
fn an_observer_ends_the_stage() {
    let mut course = Course::new(5, 2, 1, 1e-3);
    course.stopping.restore_best = true;
    let samples = asked();
    // Nothing that follows is as good.
    let best = Epoch { loss: 0.0, ..Epoch::blank("a", 1) };
    let mut position = Position { epochs: vec![best.clone()], ..Position::default() };
    let until = |position: &mut Position, epoch| {
        let mut log = Log { enough: Some(epoch), ..Log::default() };
        told(&course, &samples, None, (position, &mut log)).unwrap();
        log.kept
    };
    assert_eq!(until(&mut position, 2), ["best 1", "kept 2", "back to 1", "kept 2"]);
    assert!(position.over && position.epochs.len() == 2);
    assert!(run(&course, &samples, &mut position).epochs.is_empty(), "it is over");
    // As after a kill between the epoch's moment and the end.
    position.over = false;
    assert_eq!(until(&mut position, 2), ["back to 1", "kept 2"]);
    assert_eq!(position.epochs.len(), 2);
    position.over = false;
    assert_eq!(run(&course, &samples, &mut position).epochs.len(), 3);
}

/// Who cannot put weights back says so where that is asked for.
#[test]
fn an_observer_without_best_weights_refuses_to_restore_them() {
    struct Deaf;
    impl Observer for Deaf {
        fn step(&mut self, _: usize, _: usize, _: usize, _: &Score) {}
        fn epoch(&mut self, _: &Epoch) -> Result<()> {
            Ok(())
        }
    }
    let mut course = Course::new(2, 2, 1, 1e-3);
    let run = |course: &Course, epochs| {
        let mut position = Position { epochs, ..Position::default() };
        told(course, &asked(), None, (&mut position, &mut Deaf))
    };
    // Nothing that follows is as good.
    let best = Epoch { loss: 0.0, ..Epoch::blank("a", 1) };
    run(&course, vec![best.clone()]).unwrap();
    course.stopping.restore_best = true;
    let error = run(&course, vec![best]).unwrap_err();
    assert!(error.message().contains("keeps no weights of the best epoch"), "{error}");
}

#[test]
fn what_cannot_be_trained_is_refused_before_the_first_step() {
    let good = Course::new(1, 2, 1, 1e-3);
    let nobody = Asked::of(Vec::new());
    let refused = |course: &Course, train: &Asked, validation: Option<&Asked>| {
        told(course, train, validation, (&mut Position::default(), &mut Log::default()))
            .unwrap_err()
            .to_string()
    };
    for (course, train, validation, what) in [
        (Course { batch: 0, ..good.clone() }, &asked(), None, "0 samples to a batch"),
        (good.clone(), &nobody, None, "0 samples to learn from"),
        (Course { steps_per_epoch: Some(0), ..good.clone() }, &asked(), None, "0 steps in an epoch"),
        (good.clone(), &asked(), Some(&nobody), "0 samples to validate with"),
        (
            Course { validation_steps: Some(0), ..good.clone() },
            &asked(),
            Some(&asked()),
            "0 batches of validation",
        ),
        (
            Course { loss: LossOptions { smoothing: 5.0, class_weights: None }, ..good.clone() },
            &asked(),
            None,
            "smoothing must be a share",
        ),
        (good.clone(), &Asked::of(vec![0, 1, 2]), None, "is no class"),
    ] {
        let error = refused(&course, train, validation);
        assert!(error.contains(what), "{what}: {error}");
    }
}

/// What the types of the library allow, and what would go wrong late or not at all.
#[test]
fn the_optimizer_of_another_network_and_samples_that_are_not_there_are_refused() {
    let device = CpuDevice::new(Some(1)).unwrap();
    let layers = vec![("conv".to_owned(), Layer::Conv2d { filters: 4 })];
    let base = Architecture::base_of("tiny", [4, 4], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 8, dropout: 0.5, classes: 2 }).unwrap();
    let mut network = Network::new(&device, architecture, |_| Source::Glorot { seed: 1 }).unwrap();
    let (samples, course) = (asked(), Course::new(1, 2, 1, 1e-3));
    let mut fit = |parameters: usize| {
        let fit =
            Fit { device: &device, from: 0, train: &samples, validation: None, stage: "a", course: &course };
        let mut optimizer = Optimizer::new(Rmsprop::default(), parameters);
        fit.run(&mut network, &mut optimizer, &mut Position::default(), &mut Log::default())
    };
    for others in [0, 5, 7] {
        let error = fit(others).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("made for another network"), "{error}");
    }
    fit(6).unwrap();
    let mut optimizer = Optimizer::new(Rmsprop::default(), 6);
    let error = optimizer.step(&device, &mut network.parameters_mut()[..5]).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);

    let values = [0.5; 3 * 4];
    let rows = FeatureSamples { shape: Shape::new(&[1, 4]), values: &values, labels: &[0, 1, 0, 1] };
    let error = rows.batch(&device, &[2, 3]).unwrap_err();
    assert_eq!(error.kind(), Kind::Shape);
    assert!(error.to_string().contains("the features have no row 3"), "{error}");
    rows.batch(&device, &[2, 0]).unwrap();

    let tape = Tape::new(&device, Mode::Inference);
    let x = samples.batch(&device, &[0]).unwrap();
    let layers = network.architecture().layers().len();
    let error = network.forward(&tape, x, 0..layers + 1, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains(&format!("has no layer {layers}")), "{error}");
}

/// A schedule runs over all steps of its own stage, and each stage has one.
#[test]
fn the_rate_follows_the_schedule_from_each_stages_first_step_to_its_last() {
    let schedule = Schedule::Cosine { floor: 0.1 };
    let course = Course {
        pace: Pace { rate: 1e-3, schedule, warmup: 2 },
        cuts: vec![Cut { step: 8, factor: 0.5 }],
        ..Course::new(3, 2, 1, 1e-3)
    };
    // Four steps an epoch, twelve in all, the first two of them warm-up. Of each epoch the last step counts.
    let share = |step: f64| 0.1 + 0.9 * (1.0 + (std::f64::consts::PI * (step - 2.0) / 10.0).cos()) / 2.0;
    let want = [3.0, 7.0, 11.0].map(|step| 1e-3 * share(step) * if step < 8.0 { 1.0 } else { 0.5 });
    let mut position = Position::default();
    for stage in 0..3 {
        let log = run(&course, &asked(), &mut position);
        let told: Vec<f64> = log.epochs.iter().map(|epoch| epoch.rate).collect();
        for rates in [told, log.rates.iter().map(|&rate| f64::from(rate)).collect()] {
            assert_eq!(rates.len(), 3, "stage {stage}");
            for (got, want) in rates.iter().zip(want) {
                // Of f32's 24 bits.
                assert!((got / want - 1.0).abs() < 1e-6, "stage {stage}: {rates:?}, {want}");
            }
        }
        position = position.following();
    }
    // Two steps of a warm-up are a half and the whole.
    let course = Course { steps_per_epoch: Some(1), cuts: Vec::new(), ..course };
    let rates = run(&course, &asked(), &mut Position { step: 9, first_step: 9, ..Position::default() }).rates;
    assert_eq!(rates[..2], [5e-4, 1e-3]);
}

/// The weights stand still, the images are one, so that losses differ by the masks alone.
#[test]
fn every_batch_has_a_dropout_mask_of_its_own() {
    let course = Course::new(4, 1, 1, 1e-30);
    let one_class = Asked::of(vec![1; 8]);
    let losses = run(&course, &one_class, &mut Position::default()).losses;
    // Eight units give masks enough for more than two losses in eight steps.
    let several = |losses: &[f64]| {
        let mut rounded: Vec<i64> = losses.iter().map(|loss| (loss * 1e6).round() as i64).collect();
        rounded.sort_unstable();
        rounded.dedup();
        rounded.len()
    };
    assert!(several(&losses[..8]) > 2, "{losses:?}");
    // Another epoch is no repetition.
    assert_ne!(losses[..8], losses[8..16]);
}

/// p from the loss without smoothing, and from it the loss with.
#[test]
fn the_loss_of_validation_is_smoothed_as_training_is() {
    let [train, one_class] = [asked(), Asked::of(vec![1; 5])];
    let loss = |smoothing: f32| {
        let mut course = Course::new(1, 2, 1, 1e-30);
        course.loss.smoothing = smoothing;
        let log = run_with(&course, &train, Some(&one_class), &mut Position::default());
        log.epochs[0].val_loss.unwrap()
    };
    let p = (-loss(0.0)).exp();
    // The target 1 of two classes becomes 0.75.
    let want = -(0.75 * p.ln() + 0.25 * (1.0 - p).ln());
    assert!((loss(0.5) - want).abs() < 1e-5, "{} {want}", loss(0.5));
    assert!((want - loss(0.0)).abs() > 1e-2, "the two losses are to be told apart");
}

#[test]
fn some_batches_of_validation_are_of_all_classes_and_the_same_in_every_epoch() {
    // As a folder has them: one class behind the other.
    let sorted = Asked::of((0..40).map(|i| i / 20).collect());
    let course = Course { validation_steps: Some(4), ..Course::new(2, 2, 1, 1e-3) };
    run_with(&course, &asked(), Some(&sorted), &mut Position::default());
    let seen = sorted.validated.borrow();
    let (first, second) = seen.split_at(seen.len() / 2);
    assert_eq!((first.len(), first), (8, second));
    let of_first_class = first.iter().filter(|&&i| i < 20).count();
    assert!((1..8).contains(&of_first_class), "{first:?}");
    let mut apart = first.to_vec();
    apart.sort_unstable();
    apart.dedup();
    assert_eq!(apart.len(), 8, "{first:?}");
}
