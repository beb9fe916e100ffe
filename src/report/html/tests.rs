use super::*;
use crate::train::Epoch;

fn history() -> History {
    let epoch = |i: usize| Epoch {
        loss: 0.5,
        accuracy: 0.8,
        val_loss: Some(0.4),
        val_accuracy: Some(0.7 + i as f64 / 100.0),
        seconds: 2.0,
        skipped: 0,
        ..Epoch::blank(if i < 3 { "head" } else { "finetune" }, i % 3 + 1)
    };
    History { epochs: (0..6).map(epoch).collect() }
}

/// Every tag that opens is closed in order, but for those that HTML leaves open.
fn assert_well_formed(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        if ["!doctype", "meta", "br", "img"].contains(&name) || tag.ends_with('/') {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "at </{name}>");
        } else {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for bad in ["NaN", "inf\"", "http://", "https://"] {
        let rest = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!rest.contains(bad), "{bad} in the page");
    }
}

fn show(classes: &[&str], labels: &[u32], probabilities: &[Vec<f32>]) -> String {
    let names: Vec<String> = classes.iter().map(|c| (*c).to_owned()).collect();
    let pairs = labels.iter().zip(probabilities).map(|(l, row)| (*l as usize, highest(row)));
    let outcome = Outcome::new(names, pairs, 0.25).unwrap();
    let rows = worst(labels, probabilities);
    let mistakes = rows.iter().map(|&row| Mistake {
        file: format!("test/<{row}>.png"),
        truth: classes[labels[row] as usize].into(),
        called: classes[highest(&probabilities[row])].into(),
        confidence: f64::from(probabilities[row][highest(&probabilities[row])]),
        image: Some(Thumbnail {
            size: [2, 3],
            plain: "data:image/jpeg;base64,AA==".into(),
            overlay: (row == 1).then(|| "data:image/jpeg;base64,AQ==".into()),
        }),
    });
    let verdict = Verdict {
        split: Some(Split::Test),
        judged: "the test images".into(),
        outcome: &outcome,
        labels,
        probabilities,
        mistakes: mistakes.collect(),
        wrong: rows.len(),
        maps: "maps".into(),
    };
    page(&Page {
        title: "runs/<pets>".into(),
        subtitle: "VGG16".into(),
        history: &history(),
        kept: None,
        passes: &[("head".into(), [100.0, 50.0])],
        verdict: Some(verdict),
        remark: "reused".into(),
        settings: vec![("network".into(), "vgg16".into())],
        config: "a = \"<1>\"\nb = 2".into(),
        environment: vec![("device".into(), "cpu & more".into())],
        seconds: 100.0,
    })
}

/// Early stopping puts back an epoch that need not have the best accuracy: its figure is the model's.
#[test]
fn the_figure_in_front_is_that_of_the_weights_that_were_kept() {
    let history = history();
    let of = |kept| {
        page(&Page {
            title: "run".into(),
            subtitle: String::new(),
            history: &history,
            kept,
            passes: &[],
            verdict: None,
            remark: String::new(),
            settings: Vec::new(),
            config: String::new(),
            environment: Vec::new(),
            seconds: 0.0,
        })
    };
    let tile = "<b>0.7100</b><span>validation accuracy of the weights that were kept, epoch 2; 0.7500 in epoch 6</span>";
    assert!(of(Some(2)).contains(tile));
    for kept in [Some(6), None] {
        assert!(of(kept).contains("<b>0.7500</b><span>best validation accuracy, epoch 6</span>"), "{kept:?}");
    }
}

#[test]
fn two_classes() {
    let labels = [0, 0, 1, 1];
    let probabilities = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]].map(|row| row.to_vec());
    let html = show(&["cats", "dogs"], &labels, &probabilities);
    assert_well_formed(&html);
    assert!(
        html.contains("<td>100 + 50</td><td>75.0</td>"),
        "what an epoch of `head` goes through, and how fast"
    );
    for id in ["curves", "classes", "confusion", "scores", "roc", "calibration", "mistakes", "timings"] {
        assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(html.contains("runs/&lt;pets&gt;") && html.contains("test/&lt;1&gt;.png"));
    // Dogs at 0.7, 0.4 against cats at 0.1, 0.8: two of the four pairs are in order.
    assert!(html.contains("dogs: AUC <b>0.5000</b>"), "one curve for two classes");
    assert_eq!(html.matches("class=\"curve ").count(), 1);
    // The confident mistake comes first.
    assert!(html.find("with 80.0 %").unwrap() < html.find("with 60.0 %").unwrap());
    assert_eq!((html.matches("<figure>").count(), html.matches("class=\"cam\"").count()), (2, 1));
    assert!(html.contains("a = &quot;&lt;1&gt;&quot;\nb = 2"));
}

#[test]
fn many_classes_have_a_curve_each() {
    let labels = [0, 1, 2, 2];
    let probabilities =
        [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]].map(|row| row.to_vec());
    let html = show(&["a", "b", "c"], &labels, &probabilities);
    assert_well_formed(&html);
    assert_eq!(html.matches("class=\"curve ").count(), 3);
    assert_eq!(html.matches(" against the rest: AUC").count(), 3);
    // One is one.
    assert!(html.contains("Of 4 images, 1 is called wrongly; this one most confidently."), "{html}");
    assert!(html.contains("1 image called with") && !html.contains("1 images"), "{html}");
    // A class without images has no curve, and says so.
    let html = show(&["a", "b", "c"], &[0, 1], &probabilities[..2]);
    assert_well_formed(&html);
    assert!(html.contains("c against the rest: no curve"));
    assert!(html.contains("There are none."));
}

#[test]
fn a_page_without_predictions_says_why() {
    let html = page(&Page {
        title: "run".into(),
        subtitle: String::new(),
        history: &History::default(),
        kept: None,
        passes: &[],
        verdict: None,
        remark: "the images are gone".into(),
        settings: Vec::new(),
        config: String::new(),
        environment: Vec::new(),
        seconds: 0.0,
    });
    assert_well_formed(&html);
    assert!(html.contains("the images are gone") && html.contains("no epochs yet"));
}

#[test]
fn the_worst_are_confident_and_wrong() {
    let rows = [[0.9, 0.1], [0.2, 0.8], [0.05, 0.95], [0.5, 0.5]].map(|row: [f32; 2]| row.to_vec());
    assert_eq!(worst(&[0, 0, 0, 1], &rows), [2, 1, 3]);
}

#[test]
fn durations_have_the_unit_that_fits() {
    let shown = [0.04, 9.2, 59.6, 250.0, 7500.0].map(duration);
    assert_eq!(shown, ["0.0 s", "9.2 s", "60 s", "4 min 10 s", "2 h 5 min"]);
}
