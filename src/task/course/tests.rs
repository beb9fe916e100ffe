//! A stage as it is written down, and that all of it reaches the engine.

use super::*;
use crate::device::cpu::CpuDevice;
use crate::model::{Head, Layer, Pooling, Source};

#[test]
fn a_stage_is_written_down_and_read_back() {
    let mut stage = StageConfig::new("finetune", Some("block5_conv1"), 4, 1e-5);
    let plain = toml::to_string(&stage).unwrap();
    assert!(!plain.contains("class_weights") && !plain.contains("accumulate"), "{plain}");
    assert_eq!(toml::from_str::<StageConfig>(&plain).unwrap(), stage);
    stage.schedule = Schedule::Cosine { floor: 0.1 };
    stage.class_weights = Some("auto".parse().unwrap());
    stage.rates.insert("block5".into(), 0.5);
    stage.optimizer = OptimizerConfig { rule: RuleName::Adamw, beta_1: Some(0.8), ..Default::default() };
    stage.augment = Some(Augment::book());
    let text = toml::to_string(&stage).unwrap();
    assert!(text.contains("schedule = \"cosine:0.1\"") && text.contains("\"auto\""), "{text}");
    assert_eq!(toml::from_str::<StageConfig>(&text).unwrap(), stage);
    let error = toml::from_str::<StageConfig>(&text.replace("cosine", "cousin")).unwrap_err();
    assert!(error.message().contains("no schedule"), "{error}");
    let error = toml::from_str::<StageConfig>(&text.replace("epochs", "epoch")).unwrap_err();
    assert!(error.message().contains("unknown field `epoch`"), "{error}");
}

#[test]
fn numbers_that_cannot_be_are_named() {
    let mut stage = StageConfig::new("head", None, 1, f32::NAN);
    assert!(stage.validate().unwrap_err().to_string().contains("`rate` cannot have this value"));
    stage.rate = 1e-3;
    stage.validate().unwrap();
    stage.label_smoothing = 1.5;
    assert!(stage.validate().unwrap_err().to_string().contains("label_smoothing"));
}

#[test]
fn all_that_is_written_down_reaches_the_engine() {
    let classes = ["a", "b", "c"].map(str::to_owned);
    let plain = StageConfig::new("head", None, 6, 0.5).course(4, 9, &classes, &[]).unwrap();
    assert_eq!(plain, Course::new(6, 4, 9, 0.5));
    let stage = StageConfig {
        steps_per_epoch: Some(7),
        validation_steps: Some(8),
        accumulate: 3,
        warmup: 5,
        schedule: Schedule::Cosine { floor: 0.25 },
        rate_cuts: vec![Cut { step: 2, factor: 0.5 }],
        label_smoothing: 0.125,
        class_weights: Some(ClassWeights::Given(vec![1.0, 2.0, 4.0])),
        monitor: Monitor::ValAccuracy,
        early_stopping: Some(2),
        restore_best: true,
        ..StageConfig::new("head", None, 6, 0.5)
    };
    let want = Course {
        epochs: 6,
        batch: 4,
        accumulate: 3,
        steps_per_epoch: Some(7),
        validation_steps: Some(8),
        seed: 9,
        pace: Pace { rate: 0.5, schedule: Schedule::Cosine { floor: 0.25 }, warmup: 5 },
        cuts: vec![Cut { step: 2, factor: 0.5 }],
        loss: LossOptions { smoothing: 0.125, class_weights: Some(vec![1.0, 2.0, 4.0]) },
        stopping: Stopping { monitor: Monitor::ValAccuracy, patience: Some(2), restore_best: true },
    };
    assert_eq!(stage.course(4, 9, &classes, &[]).unwrap(), want);
}

#[test]
fn a_blocks_rate_is_that_of_its_kernels_and_biases_and_of_no_others() {
    let device = CpuDevice::new(Some(1)).unwrap();
    let conv = |name: &str| (name.to_owned(), Layer::Conv2d { filters: 2 });
    let layers = ["block1_conv1", "block1_conv2", "block2_conv1"].map(conv).to_vec();
    let base = Architecture::base_of("tiny", [4, 4], layers).unwrap();
    let architecture =
        base.with_head(Head { pooling: Pooling::Flatten, units: 3, dropout: 0.5, classes: 2 }).unwrap();
    let network = Network::new(&device, architecture, |_| Source::Glorot { seed: 1 }).unwrap();
    let mut stage = StageConfig::new("head", None, 1, 1e-3);
    assert_eq!(stage.optimizer(&network).factors, [1.0; 10]);
    stage.rates = [("block1".into(), 0.5), (CLASSIFIER.into(), 2.0)].into();
    // Three convolutions and two dense layers, of each the kernel and the bias.
    let want = [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0];
    assert_eq!(stage.optimizer(&network).factors, want);

    let classes = ["a", "b"].map(str::to_owned);
    stage.suits(network.architecture(), &classes).unwrap();
    stage.rates.insert("block3".into(), 0.5);
    let error = stage.suits(network.architecture(), &classes).unwrap_err().to_string();
    assert!(error.contains("no block `block3`") && error.contains("block1 block2 classifier"), "{error}");
}
