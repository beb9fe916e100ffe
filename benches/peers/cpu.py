#!/usr/bin/env python3
"""VGG16 on this machine's processor: ours beside ONNX Runtime, TensorFlow and PyTorch, one table.

  scripts/peers                                   # installs the peers, builds ours, runs all of it
  cpu.py --ours PATH --work forward-150-b20,step-block3_conv1 --rounds 9 --json FILE

Each peer is a process of its own with all threads, which does one piece of work when it is told to. A round asks
each in turn, in an order drawn anew for every round, and lets the machine rest in between, since some pools
of threads spin for a while. Reported are medians over the rounds after two that do not count, their ratio to ours,
and the peak of each process's resident memory (ours with a check of its results before the first round).

Work: the convolutional base on 20 images of 150x150 and on one of 224x224, and steps of training at batch 20 with
the notebook's classifier (Dense 256, ReLU, Dropout 0.5, Dense 1; binary cross-entropy; RMSprop 1e-5), everything in
front of a layer frozen. Peers have their best form that was found: graphs optimised, channels last for PyTorch, also
compiled, and TensorFlow's tf.function. Weights are random, since time does not depend on them.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

BLOCKS = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
WORK = ["forward-150-b20", "forward-224-b1", "step-dense", "step-block5_conv1", "step-block3_conv1"]


def layers():
    """(name, inputs, outputs), None for a pool."""
    c_in = 3
    for block, (count, c_out) in enumerate(BLOCKS, 1):
        for layer in range(1, count + 1):
            yield f"block{block}_conv{layer}", c_in, c_out
            c_in = c_out
        yield None


def size(work):
    return (224, 1) if "224" in work else (150, 20)


def onnx_model(work):
    """The base as the bytes of an ONNX file."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    side, batch = size(work)
    rng = np.random.default_rng(1)
    nodes, weights, x = [], [], "x"
    for layer in layers():
        y = f"y{len(nodes)}"
        if layer is None:
            nodes.append(helper.make_node("MaxPool", [x], [y], kernel_shape=[2, 2], strides=[2, 2]))
            x = y
            continue
        name, c_in, c_out = layer
        w = rng.standard_normal((c_out, c_in, 3, 3), dtype=np.float32) * (2 / (9 * c_in)) ** 0.5
        weights += [numpy_helper.from_array(w, name), numpy_helper.from_array(np.zeros(c_out, np.float32), name + "_b")]
        nodes.append(helper.make_node("Conv", [x, name, name + "_b"], [y], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [y], [y + "r"]))
        x = y + "r"
    shape = lambda name, axes: helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)
    graph = helper.make_graph(nodes, "vgg16", [shape("x", [batch, 3, side, side])], [shape(x, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def onnx_file(work):
    """The same as a file of its own, written by a process that ends: its memory is nobody's."""
    file = tempfile.NamedTemporaryFile(suffix=".onnx")
    subprocess.run([sys.executable, __file__, "--onnx", work, file.name], check=True)
    return file


def onnxruntime_worker(work):
    import numpy as np
    import onnxruntime as ort

    side, batch = size(work)
    # From a file, so that the model is in memory once.
    with onnx_file(work) as file:
        session = ort.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(1).random((batch, 3, side, side), dtype=np.float32)
    return f"onnxruntime {ort.__version__}", lambda: session.run(None, {"x": pixels})


def tensorflow_worker(work):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    import tensorflow as tf

    side, batch = size(work)
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(side, side, 3))
    pixels = tf.constant(np.random.default_rng(1).random((batch, side, side, 3), dtype=np.float32))
    name = f"tensorflow {tf.__version__}"
    if work.startswith("forward"):
        run = tf.function(lambda x: base(x, training=False))
        return name, lambda: run(pixels).numpy()
    freeze(base.layers, work)
    model = keras.Sequential([
        base, keras.layers.Flatten(), keras.layers.Dense(256, activation="relu"), keras.layers.Dropout(0.5),
        keras.layers.Dense(1),
    ])
    model.compile(
        optimizer=keras.optimizers.RMSprop(1e-5), loss=keras.losses.BinaryCrossentropy(from_logits=True)
    )
    labels = tf.constant(np.arange(batch, dtype=np.float32)[:, None] % 2)
    return name, lambda: model.train_on_batch(pixels, labels)


def freeze(named, work):
    """Layers in front of the work's do not learn; of the base none where it is `dense`."""
    learns = False
    for layer in named:
        learns = learns or layer.name == work.removeprefix("step-")
        layer.trainable = learns


def torch_worker(work, compiled):
    import torch
    import torch.nn as nn

    side, batch = size(work)
    modules, learns = [], not work.startswith("step")
    for layer in layers():
        if layer is None:
            modules.append(nn.MaxPool2d(2))
            continue
        name, c_in, c_out = layer
        learns = learns or name == work.removeprefix("step-")
        conv = nn.Conv2d(c_in, c_out, 3, padding=1)
        conv.requires_grad_(learns and work.startswith("step"))
        modules += [conv, nn.ReLU(inplace=True)]
    pixels = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
    name = f"torch {torch.__version__}{' compiled' if compiled else ''}"
    wrap = torch.compile if compiled else lambda it: it
    if work.startswith("forward"):
        base = wrap(nn.Sequential(*modules).to(memory_format=torch.channels_last).eval())

        def forward():
            with torch.inference_mode():
                base(pixels)

        return name, forward
    flat = 512 * (side // 32) ** 2
    head = [nn.Flatten(), nn.Linear(flat, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1)]
    plain = nn.Sequential(*modules, *head).to(memory_format=torch.channels_last)
    model = wrap(plain)
    rule = torch.optim.RMSprop([p for p in plain.parameters() if p.requires_grad], lr=1e-5, alpha=0.9, eps=1e-7)
    labels = (torch.arange(batch) % 2).float()[:, None]
    loss = nn.BCEWithLogitsLoss()

    def step():
        rule.zero_grad(set_to_none=True)
        loss(model(pixels), labels).backward()
        rule.step()

    return name, step


WORKERS = {
    "onnxruntime": onnxruntime_worker,
    "tensorflow": tensorflow_worker,
    "torch": lambda work: torch_worker(work, False),
    "torch-compiled": lambda work: torch_worker(work, True),
}


def serve(peer, work):
    """One line in, one line out."""
    name, run = WORKERS[peer](work)
    out, sys.stdout = sys.stdout, sys.stderr
    print(name, file=out, flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            status = open("/proc/self/status").read().split("VmHWM:")[1]
            print(int(status.split()[0]) << 10, file=out, flush=True)
            continue
        begin = time.perf_counter()
        run()
        print(time.perf_counter() - begin, file=out, flush=True)


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.name = self.process.stdout.readline().strip()
        if not self.name:
            raise SystemExit(f"error: {' '.join(command)} did not start; run it by hand to see why")

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"error: {self.name} ended in the middle of its work")
        return float(answer)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ours", help="the program of `cargo bench --no-run --bench peer`")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PYTHON", help="whose interpreter has what")
    parser.add_argument("--rust", help="the program of benches/peers/rust, for tract and candle")
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rest", type=float, default=0.3, help="seconds between two pieces of work")
    parser.add_argument("--json", help="file for all times")
    parser.add_argument("--worker", nargs=2, metavar=("PEER", "WORK"), help="(what this script starts)")
    parser.add_argument("--onnx", nargs=2, metavar=("WORK", "FILE"), help="(what it starts for the model)")
    args = parser.parse_args()
    if args.onnx:
        with open(args.onnx[1], "wb") as file:
            file.write(onnx_model(args.onnx[0]))
        return
    if args.worker:
        return serve(*args.worker)
    if not args.ours:
        parser.error("--ours is missing: scripts/peers builds it")
    interpreters = dict(entry.split("=", 1) for entry in args.python)
    results = []
    for work in args.work.split(","):
        commands = {"vgg-ft": [args.ours, "--worker", work]}
        for peer, interpreter in interpreters.items():
            if work.startswith("step") and peer == "onnxruntime":
                continue
            commands[peer] = [interpreter, __file__, "--worker", peer, work]
        if args.rust and work.startswith("forward"):
            model = onnx_file(work)
            sizes = [str(number) for number in size(work)]
            commands["tract"] = [args.rust, "tract", model.name, *sizes]
            commands["candle"] = [args.rust, "candle", *sizes]
        workers = {peer: Worker(command) for peer, command in commands.items()}
        times = {peer: [] for peer in workers}
        for round in range(-2, args.rounds):
            order = list(workers)
            random.Random(round).shuffle(order)
            for peer in order:
                time.sleep(args.rest)
                seconds = workers[peer].ask("run")
                if round >= 0:
                    times[peer].append(seconds)
        print(f"\n{work}, {args.rounds} rounds")
        ours = statistics.median(times["vgg-ft"])
        for peer, worker in workers.items():
            median, memory = statistics.median(times[peer]), worker.ask("memory")
            worker.stop()
            spread = f"{min(times[peer]):.3f} to {max(times[peer]):.3f}"
            ratio = median / ours
            print(f"  {worker.name:44} {median:7.3f} s ({spread})  {ratio:5.2f}x  {memory / 1e6:6.0f} MB", flush=True)
            results.append({
                "work": work, "peer": worker.name, "median_s": median, "seconds": times[peer],
                "ratio_to_ours": ratio, "peak_resident_bytes": memory,
            })
        if args.json:  # after each work: what comes later may fail
            with open(args.json, "w") as file:
                json.dump(results, file, indent=1)


main()
