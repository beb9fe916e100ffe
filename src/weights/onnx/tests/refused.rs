//! Graphs that are nearly a VGG's, and those that are none.

use super::*;
use crate::proto::Message;

#[test]
fn flattening_knows_its_order_or_is_refused() {
    let dense = |net: Net, rows: i64| net.tensor("w", &[rows, 5]).node("MatMul", "* w", &[]).bytes();
    let turned =
        |perm: [i64; 4]| one().node("Transpose", "*", &[ints("perm", &perm)]).node("Reshape", "* s", &[]);
    let order = |bytes: &[u8]| graph(bytes).flatten;
    assert_eq!(order(&dense(flat(), ROWS)), Some(Order::ChannelsFirst));
    assert_eq!(order(&dense(turned([0, 2, 3, 1]), ROWS)), Some(Order::ChannelsLast));
    for perm in [[0, 1, 3, 2], [0, 3, 2, 1], [1, 0, 2, 3]] {
        assert!(refusal(&dense(turned(perm), ROWS)).contains("axes are neither"), "{perm:?}");
    }
    // There and back, and the same in two steps.
    let back = one().node("Transpose", "*", &[ints("perm", &[0, 2, 3, 1])]);
    let back =
        back.node("Transpose", "*", &[ints("perm", &[0, 3, 1, 2])]).node("Flatten", "*", &[int("axis", -3)]);
    assert_eq!(order(&dense(back, ROWS)), Some(Order::ChannelsFirst));
    let steps = one().node("Transpose", "*", &[ints("perm", &[0, 2, 1, 3])]);
    let steps = steps.node("Transpose", "*", &[ints("perm", &[0, 1, 3, 2])]).node("Reshape", "* s", &[]);
    assert_eq!(order(&dense(steps, ROWS)), Some(Order::ChannelsLast));

    assert!(refusal(&dense(flat(), ROWS - 1)).contains("takes 383 numbers where an image has 384"));
    let axis = one().node("Flatten", "*", &[int("axis", 2)]);
    assert!(refusal(&dense(axis, ROWS)).contains("from another axis"));
    assert!(refusal(&dense(one(), 12)).contains("not flattened"));

    // Images of unknown size: any whole number of places but one, which may be each for itself.
    let open = || Net::new(&[0, 3, 0, 0]).conv("k", 3, 4).node("Flatten", "*", &[]);
    assert_eq!(order(&dense(open(), ROWS)), Some(Order::ChannelsFirst));
    for rows in [4, 2, 6] {
        assert!(refusal(&dense(open(), rows)).contains("unknown size"));
    }
    // Nothing is known of what is flattened.
    let bare = Net::new(&[1, 3, 8, 12]).node("Flatten", "*", &[]);
    assert!(refusal(&dense(bare, 288)).contains("order of axes cannot be known"));
    // A classifier alone has nothing to flatten.
    for net in [Net::new(&[1, 7]), Net::new(&[0, 0]), Net::new(&[0, 7]).node("Flatten", "*", &[])] {
        assert_eq!(order(&dense(net, 7)), None);
    }
}

#[test]
fn pooling_halves_and_averages_do_nothing() {
    let rows = |net: Net, rows: i64| {
        let net = net.node("Flatten", "*", &[]).tensor("w", &[rows, 5]);
        graph(&net.node("MatMul", "* w", &[]).bytes()).layers.len()
    };
    assert_eq!(rows(one().node("MaxPool", "*", &pool()), 4 * 4 * 6), 2);
    // 7x13 becomes 3x6.
    let odd = || Net::new(&[1, 3, 7, 13]).conv("k", 3, 4);
    assert_eq!(rows(odd().node("MaxPool", "*", &pool()), 4 * 3 * 6), 2);
    let single = [ints("kernel_shape", &[1, 1]), ints("strides", &[1, 1])];
    assert_eq!(rows(one().node("AveragePool", "*", &single), ROWS), 2);
    let small = || Net::new(&[1, 3, 1, 1]).conv("k", 3, 4);
    assert_eq!(rows(small().node("GlobalAveragePool", "*", &[]), 4), 2);
    assert_eq!(rows(small().node("ReduceMean", "*", &[ints("axes", &[-1, 2])]), 4), 2);

    let with = |more: Message<'static>| [pool().to_vec(), vec![more]].concat();
    assert_eq!(rows(one().node("MaxPool", "*", &with(int("ceil_mode", 1))), 4 * 4 * 6), 2);
    let turned = |net: Net| net.node("Transpose", "*", &[ints("perm", &[0, 2, 3, 1])]);
    let whole =
        |more: Message<'static>| one().node("AveragePool", "*", &[ints("kernel_shape", &[8, 12]), more]);
    let bare = || {
        let net = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]);
        net.node("Conv", "* k", &[ints("pads", &[1; 4])])
    };
    for (net, why) in [
        (odd().node("MaxPool", "*", &with(int("ceil_mode", 1))), "pads images"),
        (odd().node("MaxPool", "*", &with(word("auto_pad", "SAME_UPPER"))), "pads images"),
        (one().node("MaxPool", "*", &with(ints("pads", &[0, 0, 1, 1]))), "pads images"),
        (one().node("MaxPool", "*", &with(ints("dilations", &[2, 2]))), "no pooling of 2x2"),
        (one().node("MaxPool", "*", &[ints("kernel_shape", &[2, 2])]), "no pooling of 2x2"),
        (
            one().node("MaxPool", "*", &[ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])]),
            "no pooling of 2x2",
        ),
        (flat().node("MaxPool", "*", &pool()), "takes no image"),
        (one().node("AveragePool", "*", &pool()), "averages over windows of 2x2"),
        (one().node("AveragePool", "*", &[single[0].clone(), ints("strides", &[2, 2])]), "averages over"),
        (one().node("GlobalMaxPool", "*", &[]), "makes one value of each channel"),
        (turned(one()).node("GlobalAveragePool", "*", &[]), "pools along other axes"),
        (turned(small()).node("GlobalAveragePool", "*", &[]), "pools along other axes"),
        (one().node("AveragePool", "*", &[ints("kernel_shape", &[8, 11])]), "averages over windows of 8x11"),
        (whole(word("auto_pad", "SAME_UPPER")), "averages over windows of 8x12"),
        (whole(ints("pads", &[0, 0, 1, 1])), "averages over windows of 8x12"),
        (whole(ints("dilations", &[1, 2])), "averages over windows of 8x12"),
        (bare().node("GlobalAveragePool", "*", &[]), "averages what went through no ReLU"),
        (flat().node("GlobalAveragePool", "*", &[]), "averages over what is no image"),
        (one().node("ReduceMean", "*", &[ints("axes", &[2])]), "averages over other axes"),
        (one().node("ReduceMean", "*", &[ints("axes", &[1, 2, 3])]), "averages over other axes"),
        (small().node("ReduceMean", "*", &[ints("axes", &[1, 2, 3])]), "averages over other axes"),
        (small().node("ReduceMean", "*", &[]), "averages over other axes"),
        (small().node("ReduceMean", "*", &[ints("axes", &[])]), "averages over other axes"),
        (flat().node("ReduceMean", "*", &[ints("axes", &[2, 3])]), "averages over what is no image"),
        (small().node("MaxPool", "*", &pool()), "leaves nothing of images of one place"),
        (one().node("Resize", "*", &[]), "is nothing that a VGG does"),
    ] {
        let text = refusal(&net.bytes());
        assert!(text.contains("is not a VGG: the node `") && text.contains(why), "{why}: {text}");
    }
}

#[test]
fn only_layers_of_a_vgg_are_taken() {
    let conv = |more: Message<'static>| {
        let net = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]);
        net.node("Conv", "* k", &[ints("pads", &[1; 4]), more])
    };
    let gemm = |more: Message<'static>| flat().tensor("w", &[ROWS, 5]).node("Gemm", "* w", &[more]);
    let clip = |low: f32, high: f32| {
        let net = Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]);
        let net = net.node("Conv", "* k", &[ints("pads", &[1; 4])]);
        net.node("Clip", "*", &[float("min", low), float("max", high)]).conv("k2", 4, 4)
    };
    assert_eq!(graph(&clip(0.0, f32::MAX).bytes()).layers.len(), 2);
    assert_eq!(graph(&conv(word("auto_pad", "NOTSET")).bytes()).layers.len(), 1);
    assert_eq!(graph(&gemm(float("alpha", 1.0)).bytes()).layers.len(), 2);
    let two = || flat().tensor("w", &[ROWS, 5]).node("MatMul", "* w", &[]).tensor("v", &[5, 2]);
    assert_eq!(graph(&two().node("Relu", "*", &[]).node("MatMul", "* v", &[]).bytes()).layers.len(), 3);
    let one_unit = flat().tensor("w", &[ROWS, 1]).node("MatMul", "* w", &[]).node("Sigmoid", "*", &[]);
    for net in [two().node("Softmax", "*", &[]), two().node("Softmax", "*", &[int("axis", 1)]), one_unit] {
        assert_eq!(graph(&net.bytes()).layers.len(), 2);
    }
    for (net, why) in [
        (clip(0.0, 6.0), "is no ReLU"),
        (clip(-1.0, f32::MAX), "is no ReLU"),
        (conv(int("group", 3)), "in groups"),
        (conv(ints("strides", &[2, 2])), "in steps"),
        (conv(ints("dilations", &[2, 2])), "with holes"),
        (conv(word("auto_pad", "VALID")), "does not keep the size"),
        (
            Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3, 3]).node("Conv", "* k", &[]),
            "does not keep the size",
        ),
        (Net::new(&[1, 3, 8, 12]).tensor("k", &[4, 3, 3]).node("Conv", "* k", &[]), "a kernel of 3 axes"),
        (one().conv("k2", 5, 4), "with 5 channels first"),
        (Net::new(&[1, 8, 12, 3]).conv("k", 3, 4), "with 3 channels first"),
        (flat().conv("k2", 4, 4), "with 4 channels first"),
        (gemm(float("alpha", 0.5)), "multiplies by alpha"),
        (gemm(float("beta", 0.5)), "multiplies by alpha or beta"),
        (gemm(int("transA", 1)), "turns its input"),
        (two().node("MatMul", "* v", &[]), "without a ReLU"),
        (two().node("Softmax", "*", &[]).node("MatMul", "* v", &[]), "follows a softmax"),
        (two().node("Sigmoid", "*", &[]), "a sigmoid of one"),
        (two().node("LogSoftmax", "*", &[]), "is nothing that a VGG does"),
        (two().node("Softmax", "*", &[int("axis", 0)]), "a softmax of several"),
        (two().node("Softmax", "*", &[]).node("Softmax", "*", &[]), "something else than a dense layer"),
        (two().node("Relu", "*", &[]).node("Softmax", "*", &[]), "something else than a dense layer"),
        (two().node("Relu", "*", &[]), "its last dense layer ends in a ReLU"),
        (flat().tensor("w", &[ROWS, 1]).node("MatMul", "* w", &[]).node("Softmax", "*", &[]), "of several"),
        (flat().node("Softmax", "*", &[]), "something else than a dense layer"),
        (two().node("MatMul", "v *", &[]), "the data as operand 2"),
        (two().node("MatMul", "* *", &[]), "the same value twice"),
        (two().node("MatMul", "* nothing", &[]), "takes a kernel, `nothing`, that is not stored"),
        (one().node("Tanh", "*", &[]), "(Tanh) is nothing that a VGG does"),
        (one().node("Concat", "* k", &[]), "(Concat) is nothing that a VGG does"),
        (one().node("QuantizeLinear", "* k", &[]), "is nothing that a VGG does"),
        (one().node("Cast", "*", &[int("to", 7)]), "something else than floats"),
        (Net::new(&[1, 3, 8, 12]).node("Relu", "*", &[]), "before any layer"),
        (Net::new(&[1, 3, 8, 12]).node("Identity", "*", &[]), "no layer with weights"),
    ] {
        let text = refusal(&net.bytes());
        assert!(text.contains("is not a VGG: ") && text.contains(why), "{why}: {text}");
    }
}

/// As PyTorch writes an adaptive pooling, and as tf2onnx writes Keras' global one.
#[test]
fn a_classifier_may_take_means() {
    let dense = |net: Net| net.tensor("w", &[4, 5]).node("MatMul", "* w", &[]);
    let axes = |axes: &[i64]| ints("axes", axes);
    for (net, means) in [
        (one().node("GlobalAveragePool", "*", &[]).node("Flatten", "*", &[]), true),
        (one().node("ReduceMean", "*", &[axes(&[2, 3])]), true),
        (one().node("AveragePool", "*", &[ints("kernel_shape", &[8, 12])]).node("Flatten", "*", &[]), true),
        (one().node("ReduceMean", "*", &[axes(&[-1, -2])]).node("Flatten", "*", &[]), true),
        (
            one().node("Transpose", "*", &[ints("perm", &[0, 2, 3, 1])]).node(
                "ReduceMean",
                "*",
                &[axes(&[1, 2])],
            ),
            true,
        ),
        (
            Net::new(&[1, 3, 1, 1]).conv("k", 3, 4).node("GlobalAveragePool", "*", &[]).node(
                "Flatten",
                "*",
                &[],
            ),
            false,
        ),
    ] {
        let read = graph(&dense(net).bytes());
        assert_eq!((read.layers.len(), read.means), (2, means));
    }
}

/// timm's classifier: a convolution as large as the image, one of 1x1, a mean over the one place.
#[test]
fn a_window_as_large_as_the_image_is_a_dense_layer() {
    let wide = || one().tensor("w", &[5, 4, 8, 12]).node("Conv", "* w", &[]);
    let next = |net: Net| net.node("Relu", "*", &[]).tensor("v", &[6, 5, 1, 1]).node("Conv", "* v", &[]);
    let head = next(wide()).node("Relu", "*", &[]).node("ReduceMean", "*", &[ints("axes", &[2, 3])]);
    let read = graph(&head.tensor("u", &[2, 6]).node("Gemm", "* u", &[int("transB", 1)]).bytes());
    let ops: Vec<_> = read.layers.iter().map(|layer| (layer.op, layer.kernel.as_str())).collect();
    let dense = GraphOp::Dense { outputs_first: true };
    assert_eq!(ops, [(GraphOp::Conv2d, "k"), (dense, "w"), (dense, "v"), (dense, "u")]);
    assert_eq!(read.flatten, Some(Order::ChannelsFirst));
    let bias = wide().tensor("b", &[5, 1, 1]).node("Add", "* b", &[]);
    assert_eq!(graph(&bias.bytes()).layers[1].bias.as_deref(), Some("b"));
    let norm = |net: Net| net.tensor("s", &[5]).node("BatchNormalization", "* s s s s", &[]);
    for (net, why) in [
        (one().tensor("w", &[5, 4, 8, 11]).node("Conv", "* w", &[]), "does not keep the size"),
        (one().tensor("w", &[5, 4, 7, 11]).node("Conv", "* w", &[]), "does not keep the size"),
        (wide().node("Relu", "*", &[]).conv("v", 5, 6), "a convolution behind a dense layer"),
        (norm(wide()), "does not follow a convolution"),
        (wide().tensor("m", &[5, 1, 1]).node("Mul", "* m", &[]), "no normalisation here"),
        (
            Net::new(&[1, 3, 8, 12]).tensor("w", &[5, 3, 8, 12]).node("Conv", "* w", &[]),
            "does not keep the size",
        ),
        (
            Net::new(&[1, 3, 0, 0]).conv("k", 3, 4).tensor("w", &[5, 4, 7, 7]).node("Conv", "* w", &[]),
            "of 7x7 that does",
        ),
    ] {
        let text = refusal(&net.bytes());
        assert!(text.contains("is not a VGG: ") && text.contains(why), "{why}: {text}");
    }
}

#[test]
fn graphs_that_are_no_chain_are_refused() {
    let second = || Message::default().text(1, "in2");
    let mut two_inputs = Net::new(&[1, 3, 8, 12]).conv("k", 3, 4).node("Add", "* in2", &[]);
    two_inputs.inputs.push(second());
    // An input that nobody takes, as Keras' `training` once was.
    let mut spare = one();
    spare.inputs.push(second());
    assert_eq!(graph(&spare.bytes()).layers.len(), 1);

    let mut branch = one();
    let value = branch.value.clone();
    branch = branch.conv("k2", 4, 4).node("Add", &format!("* {value}"), &[]);

    let mut aside = one();
    let value = std::mem::replace(&mut aside.value, "elsewhere".into());
    aside = aside.conv("k2", 4, 4);
    aside.value = value;

    let mut lost = one();
    lost.value = "nowhere".into();

    let mut domain = one();
    let node =
        Message::default().text(1, &domain.value).text(2, "y").text(4, "Relu").text(7, "com.microsoft");
    domain.nodes.push(node);
    domain.value = "y".into();

    for (net, why) in [
        (two_inputs, "it has the inputs `in` and `in2`"),
        (branch, "`conv3` (Conv) and `add5` (Add) take the same value: the way branches"),
        (aside, "`conv3` (Conv) is not on the way from the input to the output"),
        (lost, "ends at `relu2`, no output"),
        (domain, "`y` (com.microsoft.Relu) is no operation of the standard"),
        (Net::new(&[1, 3, 8, 12]), "no node takes an input"),
    ] {
        let text = refusal(&net.bytes());
        assert!(text.contains("is not a VGG: ") && text.contains(why), "{why}: {text}");
    }
    // The shape of a value goes where it will.
    let shape = one().node("Shape", "*", &[]);
    let mut net = Net { value: "relu2".into(), ..shape };
    net = net.node("Reshape", "* shape3", &[]).tensor("w", &[ROWS, 5]).node("MatMul", "* w", &[]);
    assert_eq!(graph(&net.bytes()).layers.len(), 2);
}

#[test]
fn a_circle_ends() {
    // conv → relu → add → relu → the same add.
    let mut circle = one();
    circle = circle.node("Mul", "* relu4", &[]).node("Relu", "*", &[]);
    let text = refusal(&circle.bytes());
    assert!(text.contains("joins two ways"), "{text}");
    // A circle of nodes that take one value each cannot be entered; one that makes itself can, in its operand.
    let mut alone = Net::new(&[1, 3, 8, 12]);
    alone = alone.node("Reshape", "* identity2", &[]).node("Identity", "*", &[]);
    let text = refusal(&alone.bytes());
    assert!(text.contains("order of axes cannot be known"), "{text}");
    let mut around = flat().node("Reshape", "* identity5", &[]).node("Identity", "*", &[]);
    around.value = "nowhere".into();
    let text = refusal(&around.bytes());
    assert!(
        text.contains("`reshape4` (Reshape) takes what comes from itself: the graph is a circle"),
        "{text}"
    );
    // Behind a kernel.
    let mut kernel = one();
    let value = kernel.value.clone();
    kernel = kernel.node("Identity", "identity4", &[]).node("Identity", "*", &[]);
    kernel.value = value;
    let text = refusal(&kernel.node("Conv", "* identity4", &[ints("pads", &[1; 4])]).bytes());
    assert!(text.contains("`identity4`, that is not stored"), "{text}");
}

#[test]
fn normalisation_follows_a_convolution_and_has_its_channels() {
    let bare = |net: Net| net.tensor("k", &[4, 3, 3, 3]).tensor("s", &[4]).tensor("t", &[1, 4, 1, 1]);
    let conv = || bare(Net::new(&[1, 3, 8, 12])).node("Conv", "* k", &[ints("pads", &[1; 4])]);
    let norm = |net: Net, more: &[Message<'static>]| net.node("BatchNormalization", "* s s s s", more);
    let read = |net: Net| graph(&net.bytes()).layers[0].norm.as_ref().unwrap().epsilon;
    // The standard's default, and a proto3 writer's way to write no epsilon at all.
    assert_eq!(read(norm(conv(), &[])), 1e-5);
    assert_eq!(read(norm(conv(), &[float("epsilon", 1e-3), int("training_mode", 0)])), 1e-3);
    assert_eq!(read(norm(conv(), &[Message::default().text(1, "epsilon").int(20, 1)])), 0.0);
    let turned = [ints("perm", &[0, 2, 3, 1])];
    for (net, why) in [
        (norm(conv(), &[int("training_mode", 1)]), "as in training"),
        (norm(conv(), &[int("spatial", 0)]), "as in training"),
        (norm(conv().node("Relu", "*", &[]), &[]), "does not follow a convolution"),
        (norm(conv().node("Transpose", "*", &turned), &[]), "does not follow a convolution"),
        (norm(norm(conv(), &[]), &[]), "does not follow a convolution"),
        (norm(bare(Net::new(&[1, 3, 8, 12])), &[]), "does not follow a convolution"),
        (conv().node("BatchNormalization", "* s s s", &[]), "has no variance"),
        (
            conv().node("BatchNormalization", "* s t s s", &[]),
            "its offset is of [1, 4, 1, 1] where there are 4 channels",
        ),
        (
            norm(conv(), &[]).tensor("k2", &[4, 4, 3, 3]).node("Conv", "* k2", &[ints("pads", &[1; 4])]),
            "without a ReLU",
        ),
    ] {
        let text = refusal(&net.bytes());
        assert!(text.contains("is not a VGG: ") && text.contains(why), "{why}: {text}");
    }
}

#[test]
fn names_are_there_once() {
    let twice = one().tensor("k", &[1]);
    assert!(refusal(&twice.bytes()).contains("x.onnx names `k` twice"));
    let mut made = one();
    made.nodes.push(Message::default().text(1, "in").text(2, "k").text(4, "Identity"));
    assert!(refusal(&made.bytes()).contains("names `k` twice"));
    let mut again = one();
    again.nodes.push(Message::default().text(1, "in").text(2, "relu2").text(4, "Identity"));
    assert!(refusal(&again.bytes()).contains("names `relu2` twice"));
}

#[test]
fn what_is_done_to_images_first_is_noted() {
    let net = Net::new(&[1, 8, 12, 3]).tensor("c", &[3]).node("Sub", "* c", &[]).node("Div", "* c", &[]);
    let net = net.node("Transpose", "*", &[ints("perm", &[0, 3, 1, 2])]).conv("k", 3, 4);
    let bytes = net.bytes();
    let contents = read(Path::new("x.onnx"), &bytes).unwrap();
    assert_eq!(contents.metadata["preprocessing"], "Sub, Div");
    let text = refusal(&Net::new(&[1, 3, 8, 12]).node("Mul", "* nothing", &[]).conv("k", 3, 4).bytes());
    assert!(text.contains("`mul1` (Mul) joins two ways, or takes what is not stored"), "{text}");
}

/// RGB to BGR as Keras' `preprocess_input` has it in a graph: three cuts, put together again.
#[test]
fn channels_in_another_order_are_noted() {
    let net = |inputs: &str, cuts: usize| {
        let mut net = Net::new(&[1, 3, 8, 12]).tensor("c", &[3, 1, 1]);
        for _ in 0..cuts {
            net = Net { value: "in".into(), ..net.node("Slice", "* c c c", &[]) };
        }
        net.node("Concat", inputs, &[int("axis", 1)]).node("Add", "* c", &[]).conv("k", 3, 4)
    };
    let bytes = net("slice3 slice2 slice1", 3).bytes();
    let contents = read(Path::new("x.onnx"), &bytes).unwrap();
    assert_eq!(contents.metadata["preprocessing"], "Slice, Concat, Add");
    // A cut that goes elsewhere, one that is there twice, the input itself.
    for (inputs, cuts) in [("slice3 slice2 slice1", 4), ("slice2 slice1 slice1", 2), ("slice2 slice1 in", 2)]
    {
        let text = refusal(&net(inputs, cuts).bytes());
        assert!(text.contains("take the same value: the way branches"), "{inputs}: {text}");
    }
    let mut net = one();
    for _ in 0..2 {
        net = Net { value: "relu2".into(), ..net.node("Slice", "* c c c", &[]) };
    }
    let text = refusal(&net.node("Concat", "slice3 slice4", &[]).bytes());
    assert!(text.contains("the way branches"), "{text}");
}
