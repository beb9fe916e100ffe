//! What stands between weights and their layers: looked through where it changes nothing but the order.

use super::*;
use crate::proto::Message;

fn dense_of(net: Net) -> (bool, String) {
    let graph = graph(&net.bytes());
    let layer = graph.layers.last().unwrap();
    let GraphOp::Dense { outputs_first } = layer.op else { panic!("{graph:?}") };
    (outputs_first, layer.kernel.clone())
}

#[test]
fn a_dense_kernel_s_way_to_its_node_is_counted() {
    let turn = || [ints("perm", &[1, 0])];
    let named = |outputs_first| (outputs_first, "w".to_owned());
    let out_first = || flat().tensor("w", &[5, ROWS]);
    let in_first = || flat().tensor("w", &[ROWS, 5]);
    // As it is, and as `Gemm` turns it.
    assert_eq!(dense_of(in_first().node("MatMul", "* w", &[])), named(false));
    assert_eq!(dense_of(in_first().node("Gemm", "* w", &[])), named(false));
    assert_eq!(dense_of(out_first().node("Gemm", "* w", &[int("transB", 1)])), named(true));
    // Turned before it gets there; without `perm` all axes are reversed.
    let aside = |net: Net, attributes: &[Message<'static>], op: &str, last: &[Message<'static>]| {
        let value = net.value.clone();
        let mut net = net.node("Transpose", "w", attributes);
        let kernel = std::mem::replace(&mut net.value, value);
        dense_of(net.node(op, &format!("* {kernel}"), last))
    };
    assert_eq!(aside(out_first(), &turn(), "MatMul", &[]), named(true));
    assert_eq!(aside(out_first(), &[], "MatMul", &[]), named(true));
    assert_eq!(aside(in_first(), &[ints("perm", &[0, 1])], "MatMul", &[]), named(false));
    assert_eq!(aside(in_first(), &turn(), "Gemm", &[int("transB", 1)]), named(false));
    // Through several nodes, of which two turn.
    let mut net = in_first();
    let value = net.value.clone();
    net = net.node("Identity", "w", &[]).node("Transpose", "*", &[]).node("Cast", "*", &[int("to", 1)]);
    net = net.node("Transpose", "*", &turn()).node("Identity", "*", &[]);
    let kernel = std::mem::replace(&mut net.value, value);
    assert_eq!(dense_of(net.node("MatMul", &format!("* {kernel}"), &[])), named(false));
}

/// The end of a net in which the tensor `k2` goes through `op` to a second convolution.
fn kernel_through(
    op: &str,
    inputs: &str,
    attributes: &[Message<'static>],
    more: impl FnOnce(Net) -> Net,
) -> Vec<u8> {
    let net = more(one().tensor("k2", &[4, 4, 3, 3]));
    let value = net.value.clone();
    let mut net = net.node(op, inputs, attributes);
    let kernel = std::mem::replace(&mut net.value, value);
    net.node("Conv", &format!("* {kernel}"), &[ints("pads", &[1; 4])]).bytes()
}

#[test]
fn a_convolution_s_kernel_must_come_as_it_is() {
    let same = |net: Net| net;
    let target = |shape: [i64; 4]| {
        move |mut net: Net| {
            let shape = shape.iter().fold(Message::default().int(1, 4).int(2, 7), |m, &n| m.int(7, n));
            net.tensors.push(shape.text(8, "s"));
            net
        }
    };
    let read = |bytes: Vec<u8>| assert_eq!(graph(&bytes).layers[1].kernel, "k2");
    read(kernel_through("Identity", "k2", &[], same));
    read(kernel_through("Transpose", "k2", &[ints("perm", &[0, 1, 2, 3])], same));
    read(kernel_through("Reshape", "k2 s", &[], target([4, 4, 3, 3])));
    read(kernel_through("Reshape", "k2 s", &[], target([0, -1, 3, 3])));
    for (bytes, why) in [
        (kernel_through("Transpose", "k2", &[ints("perm", &[1, 0, 2, 3])], same), "axes in another order"),
        (kernel_through("Transpose", "k2", &[], same), "axes in another order"),
        (
            kernel_through("Transpose", "k2", &[ints("perm", &[0, 0, 2, 3])], same),
            "order of axes is impossible",
        ),
        (kernel_through("Reshape", "k2 s", &[], target([4, 4, 9, 1])), "another shape"),
        (kernel_through("Reshape", "k2 s", &[], target([-1, -1, 3, 3])), "another shape"),
        (kernel_through("Cast", "k2", &[int("to", 7)], same), "is no float"),
        (kernel_through("Mul", "k2 k2", &[], same), "not stored"),
    ] {
        let text = refusal(&bytes);
        assert!(
            text.contains("is not a VGG") && text.contains("(Conv)") && text.contains(why),
            "{why}: {text}"
        );
    }
}

#[test]
fn a_bias_is_along_the_channels() {
    let bare = |shape: &[i64]| {
        let net = Net::new(&[1, 3, 8, 12]).tensor("k", &[12, 3, 3, 3]).tensor("b", shape);
        net.node("Conv", "* k", &[ints("pads", &[1; 4])])
    };
    for shape in [&[1, 12, 1, 1][..], &[12, 1, 1]] {
        for inputs in ["* b", "b *"] {
            let graph = graph(&bare(shape).node("Add", inputs, &[]).bytes());
            assert_eq!(graph.layers[0].bias.as_deref(), Some("b"));
        }
    }
    // Twelve wide, twelve filters: this one is along the width.
    for shape in [&[12][..], &[1, 12], &[1, 1, 1, 12], &[12, 1, 1, 1], &[1, 1, 12, 1], &[1, 12, 8, 12], &[1]]
    {
        let text = refusal(&bare(shape).node("Add", "* b", &[]).bytes());
        assert!(text.contains("`add2` (Add) takes `b`, which is no bias"), "{shape:?}: {text}");
    }
    let turned = bare(&[12]).node("Transpose", "*", &[ints("perm", &[0, 2, 3, 1])]).node("Add", "* b", &[]);
    assert_eq!(graph(&turned.bytes()).layers[0].bias.as_deref(), Some("b"));
    for net in [
        bare(&[12, 1, 1]).node("Add", "* b", &[]).node("Add", "* b", &[]),
        bare(&[12, 1, 1]).node("Relu", "*", &[]).node("Add", "* b", &[]),
        bare(&[12, 1, 1]).node("MaxPool", "*", &pool()).node("Add", "* b", &[]),
    ] {
        assert!(refusal(&net.bytes()).contains("which is no bias"));
    }
    let dense = |shape: &[i64]| flat().tensor("w", &[ROWS, 5]).tensor("b", shape).node("MatMul", "* w", &[]);
    for shape in [&[5][..], &[1, 5]] {
        let graph = graph(&dense(shape).node("Add", "* b", &[]).bytes());
        assert_eq!(graph.layers[1].bias.as_deref(), Some("b"));
    }
    for shape in [&[5, 1][..], &[1], &[5, 5]] {
        assert!(refusal(&dense(shape).node("Add", "* b", &[]).bytes()).contains("which is no bias"));
    }
}

#[test]
fn arithmetic_behind_a_convolution_is_a_normalisation() {
    let bare = || {
        let net = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]).tensor("a", &[4, 1, 1]);
        let net = net.tensor("m", &[4, 1, 1]).tensor("o", &[1, 4, 1, 1]);
        net.node("Conv", "* k", &[ints("pads", &[1; 4])])
    };
    let norm = |net: Net| {
        let bytes = net.bytes();
        let contents = read(Path::new("x.onnx"), &bytes).unwrap();
        assert_sound(&bytes, &contents);
        let layer = &contents.graph.as_ref().unwrap().layers[0];
        let norm = layer.norm.as_ref().unwrap();
        assert_eq!(norm.epsilon, 0.0);
        assert_eq!(values(Path::new("x.onnx"), &bytes, &contents, &norm.variance).1, [1.0; 4]);
        if norm.mean != "a" {
            assert_eq!(values(Path::new("x.onnx"), &bytes, &contents, &norm.mean).1, [0.0; 4]);
        }
        [layer.bias.as_deref().unwrap_or("-"), &norm.mean, &norm.scale, &norm.offset].join(" ")
    };
    let (sub, mul, add) = (("Sub", "* a"), ("Mul", "m *"), ("Add", "* o"));
    let then = |ops: &[(&str, &str)]| ops.iter().fold(bare(), |net, (op, inputs)| net.node(op, inputs, &[]));
    assert_eq!(norm(then(&[sub, mul, add])), "- a m o");
    assert_eq!(norm(then(&[mul, add]).node("Relu", "*", &[])), "- zeros[4] m o");
    assert_eq!(norm(then(&[mul]).node("MaxPool", "*", &pool())), "- zeros[4] m zeros[4]");
    assert_eq!(norm(then(&[("Add", "* a"), mul, add])), "a zeros[4] m o");
    for (ops, why) in [
        (&[sub][..], "`a` is taken from a layer's output, and that is all"),
        (&[sub, add], "takes `o`, which is no bias and no normalisation here"),
        (&[mul, add, add], "no normalisation here"),
        (&[mul, mul], "no normalisation here"),
        (&[mul, add, mul], "no normalisation here"),
        (&[mul, sub], "no normalisation here"),
    ] {
        let text = refusal(&then(ops).bytes());
        assert!(text.contains(why), "{ops:?}: {text}");
    }
    let text = refusal(&then(&[mul]).tensor("zeros[4]", &[4]).bytes());
    assert!(text.contains("names `zeros[4]` twice"), "{text}");
}
