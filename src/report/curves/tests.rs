use super::super::chart::{LEFT, PANELS, RIGHT};
use super::{comparison, curves};
use crate::train::{Epoch, History};

fn epoch(stage: &str, epoch: usize, loss: f64, val_loss: Option<f64>) -> Epoch {
    Epoch {
        stage: stage.into(),
        epoch,
        seconds: 1.0,
        skipped: 0,
        loss,
        accuracy: 1.0 / (1.0 + loss),
        val_loss,
        val_accuracy: val_loss.map(|v| 1.0 / (1.0 + v)),
        rate: 2e-5,
    }
}

fn svg(epochs: Vec<Epoch>) -> String {
    curves(&History { epochs }).svg()
}

fn two_stages(each: usize) -> Vec<Epoch> {
    ["head", "fine-tune"]
        .into_iter()
        .flat_map(|stage| (1..=each).map(move |i| epoch(stage, i, 1.0 / i as f64, Some(1.2 / i as f64))))
        .collect()
}

/// Every tag is closed in order: a reader for exactly the XML that this module writes.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, after) = tag.split_once('>').expect("a tag ends");
        assert!(!after.contains('>') || after.contains('{'), "stray > after <{tag}>");
        let name = tag.split([' ', '/']).find(|s| !s.is_empty()).unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for bad in ["NaN", "inf"] {
        assert!(!svg.contains(bad), "{bad} in {svg}");
    }
}

#[test]
fn every_measurement_is_a_point_and_every_stage_a_line() {
    let out = svg(two_stages(30));
    assert_well_formed(&out);
    // Four series of 60, and one point for each of the two entries of the legend.
    assert_eq!(out.matches("<circle").count(), 4 * 60 + 2);
    assert_eq!(out.matches("<path class=\"line\"").count(), 4 * 2 + 2);
    assert_eq!(out.matches("<line class=\"stage\"").count(), 1);
    assert_eq!(out.matches(">fine-tune</text>").count(), 1);
    assert!(out.contains("60 epochs, best validation accuracy 0.962 in epoch 30"), "{out}");
}

#[test]
fn one_stage_has_no_rule_and_no_validation_no_legend_entry() {
    let out = svg((1..=5).map(|i| epoch("head", i, 0.5, None)).collect());
    assert_well_formed(&out);
    assert_eq!(out.matches("<line class=\"stage\"").count(), 0);
    assert!(!out.contains(">validation</text>"));
    assert_eq!(out.matches("<circle").count(), 2 * 5 + 1);
}

#[test]
fn odd_histories_are_drawn() {
    for epochs in [
        vec![],
        vec![epoch("head", 1, 0.5, Some(0.6))],
        vec![epoch("head", 1, f64::NAN, Some(f64::INFINITY))],
        (1..=4).map(|i| epoch("head", i, 0.0, Some(0.0))).collect(),
        two_stages(150),
        two_stages(1),
        vec![epoch("head", 1, f64::MAX, Some(f64::MIN_POSITIVE)); 9],
    ] {
        assert_well_formed(&svg(epochs));
    }
    assert!(svg(vec![]).contains("no epochs yet"));
}

#[test]
fn what_is_not_finite_is_counted_not_drawn() {
    let mut epochs = two_stages(10);
    epochs[3].loss = f64::NAN;
    epochs[4].val_accuracy = Some(f64::INFINITY);
    let out = svg(epochs);
    assert_well_formed(&out);
    assert_eq!(out.matches("<circle").count(), 4 * 20 + 2 - 2);
    assert_eq!(out.matches("1 value cannot be drawn").count(), 2);
}

#[test]
fn names_cannot_break_the_file() {
    let mut epochs = two_stages(3);
    for e in &mut epochs[3..] {
        e.stage = "<&\">\u{1}".into();
    }
    let out = svg(epochs);
    assert_well_formed(&out);
    assert!(out.contains("&lt;&amp;&quot;&gt;"));
    assert!(!out.contains('\u{1}'));
}

#[test]
fn all_points_lie_in_their_panels() {
    let out = svg(two_stages(150));
    for tag in out.split("<circle ").skip(1) {
        let at = |name: &str| -> f64 {
            let (_, rest) = tag.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        let (x, y) = (at("cx"), at("cy"));
        let legend = y == 32.0;
        assert!(
            legend || (LEFT..=RIGHT).contains(&x) && PANELS.iter().any(|p| (p.0..=p.1).contains(&y)),
            "{x} {y}"
        );
    }
}

#[test]
fn runs_stand_in_one_diagram() {
    let (long, short) = (History { epochs: two_stages(8) }, History { epochs: two_stages(3) });
    let runs = [("runs/a".to_owned(), &long), ("runs/<b>".to_owned(), &short), ("c".to_owned(), &short)];
    let out = comparison(&runs).svg();
    assert_well_formed(&out);
    assert!(out.contains("3 runs, best validation accuracy 0.870: runs/a, epoch 8"), "{out}");
    // Two panels, and a key for each.
    assert_eq!(out.matches("<circle").count(), 2 * (16 + 6 + 6) + 3);
    assert!(out.contains(">runs/&lt;b&gt;</text>"));
    assert!(out.contains("viewBox=\"0 0 800 660\""), "a row for each key");
    // Of what was not validated there is training alone.
    let mut alone = long.clone();
    alone.epochs.iter_mut().for_each(|epoch| (epoch.val_loss, epoch.val_accuracy) = (None, None));
    let mixed = [("a".to_owned(), &long), ("b".to_owned(), &alone)];
    let out = comparison(&mixed).svg();
    assert!(out.contains(">a</text>") && out.contains(">b (training)</text>"), "{out}");
    // Two names that would run into each other beside the title.
    let two = [("runs/a/long/path".to_owned(), &long), ("b".to_owned(), &short)];
    assert!(comparison(&two).svg().contains("viewBox=\"0 0 800 640\""));
}
