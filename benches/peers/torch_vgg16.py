#!/usr/bin/env python3
"""The same work in PyTorch and cuDNN: VGG16 forward and one fine-tuning step, one JSON object per line.

  torch_vgg16.py                                      # the grid, most telling cases first, stops at --budget-s
  torch_vgg16.py --sizes 150 --batches 20 --modes bf16,tf32 --exec eager,graph,compile
  torch_vgg16.py --what layers                        # per-layer fprop, dgrad, wgrad in TFLOP/s
  torch_vgg16.py --what ceiling                       # copy bandwidth and matmul rate of this very GPU
  torch_vgg16.py --what profile                       # kernel names and times of one step
  torch_vgg16.py --cpu-smoke                          # does it run at all? (tiny, meaningless numbers)

The peer is given what is known to be its best: channels_last (in f32 also --layout contiguous, NCHW), cudnn.benchmark,
CUDA graphs, torch.compile. Weights are random, since time does not depend on them. modes: fp32 | tf32 | bf16 (autocast, fp32 master weights) | bf16pure (inference only).
exec: eager | graph (the eager ops in a CUDA graph) | fused (cudnn_convolution_relu, inference only) | compile
(max-autotune, no graphs) | compile-owngraph (the same in a graph of ours) | compile-graph (inductor's own graphs).
The step is ours: convolutions below --freeze-below frozen; Flatten, Dense 256, ReLU, Dropout 0.5, Dense 1; binary
cross-entropy from logits; RMSprop(1e-5, alpha 0.9, eps 1e-7) with foreach, its fastest form.
Cases are printed as they finish, and none is begun after --budget-s, so a time limit loses nothing.
"""
import argparse
import json
import os
import statistics
import sys
import time

ap = argparse.ArgumentParser()
ap.add_argument("--what", default="ceiling,net,layers,aug")
ap.add_argument("--sizes", default="150,224")
ap.add_argument("--batches", default="20,64,256")
ap.add_argument("--modes", default="bf16,tf32,bf16pure")
ap.add_argument("--exec", default="graph,eager,compile-owngraph,fused,compile-graph")
ap.add_argument("--passes", default="fwd,ft")
ap.add_argument("--freeze-below", default="block3_conv1")
ap.add_argument("--conv-backends", default="", help="inductor conv candidates, e.g. ATEN or ATEN,TRITON (default: torch's)")
ap.add_argument("--layout", default="channels_last", choices=["channels_last", "contiguous"],
                help="of activations and weights; contiguous is NCHW, for which cuDNN has other f32 kernels")
ap.add_argument("--window-ms", type=float, default=15.0, help="length of one timed window")
ap.add_argument("--windows", type=int, default=9)
ap.add_argument("--budget-s", type=float, default=520.0)
ap.add_argument("--cpu-smoke", action="store_true")
a = ap.parse_args()
if a.cpu_smoke:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
T0 = time.time()

import torch
import torch.nn as nn
import torch.nn.functional as F

CPU = a.cpu_smoke or not torch.cuda.is_available()
DEV = "cpu" if CPU else "cuda"
LAYOUT = torch.channels_last if a.layout == "channels_last" else torch.contiguous_format
if CPU:
    torch.set_num_threads(1)
else:
    torch.backends.cudnn.benchmark = True

CFG = [("block1_conv1", 3, 64), ("block1_conv2", 64, 64), "P",
       ("block2_conv1", 64, 128), ("block2_conv2", 128, 128), "P",
       ("block3_conv1", 128, 256), ("block3_conv2", 256, 256), ("block3_conv3", 256, 256), "P",
       ("block4_conv1", 256, 512), ("block4_conv2", 512, 512), ("block4_conv3", 512, 512), "P",
       ("block5_conv1", 512, 512), ("block5_conv2", 512, 512), ("block5_conv3", 512, 512), "P"]
CONVS = [c for c in CFG if c != "P"]
NAMES = [c[0] for c in CONVS]


def emit(**kw):
    kw |= {"t": round(time.time() - T0, 1), "layout": a.layout}
    print(json.dumps(kw), flush=True)


def spent():
    return time.time() - T0 > a.budget_s


class Vgg(nn.Module):
    def __init__(self, size, fused=False, drop=0.5):
        super().__init__()
        self.fused = fused
        self.convs = nn.ModuleList(nn.Conv2d(ci, co, 3, padding=1) for _, ci, co in CONVS)
        for m in self.convs:
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu"); nn.init.uniform_(m.bias, -0.05, 0.05)
        self.f = (size // 32) ** 2 * 512
        self.d1, self.drop, self.d2 = nn.Linear(self.f, 256), nn.Dropout(drop), nn.Linear(256, 1)

    def forward(self, x):
        i = 0
        for c in CFG:
            if c == "P":
                x = F.max_pool2d(x, 2, 2)
            else:
                m = self.convs[i]; i += 1
                if self.fused:
                    x = torch.ops.aten.cudnn_convolution_relu(x, m.weight, m.bias, [1, 1], [1, 1], [1, 1], 1)
                else:
                    x = F.relu(m(x), inplace=True)
        x = x.flatten(1)
        return self.d2(self.drop(F.relu(self.d1(x))))


def flops(size, pas):
    h, tot, first = size, 0, NAMES.index(a.freeze_below)
    i = 0
    for c in CFG:
        if c == "P":
            h //= 2; continue
        f = 2 * h * h * 9 * c[1] * c[2]
        k = 1
        if pas == "ft":
            k += (i > first) + (i >= first)
        tot += k * f; i += 1
    d = 2 * (h * h * 512 * 256 + 256)
    return tot + d * (3 if pas == "ft" else 1)


def set_mode(mode):
    tf = mode == "tf32"
    torch.backends.cudnn.allow_tf32 = tf
    torch.backends.cuda.matmul.allow_tf32 = tf


def ctx(mode, train, graph):
    if mode == "bf16":
        return torch.autocast(DEV, dtype=torch.bfloat16, cache_enabled=not graph)
    return torch.autocast(DEV, enabled=False)


def sync():
    if not CPU:
        torch.cuda.synchronize()


def timed(fn):
    """median / p10 / p90 of per-call milliseconds over several event-bracketed windows"""
    for _ in range(3):
        fn()
    sync()
    if CPU:
        t = time.perf_counter(); fn(); d = (time.perf_counter() - t) * 1e3
        return d, d, d, 1
    e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    e0.record()
    for _ in range(5):
        fn()
    e1.record(); sync()
    per = max(1, int(a.window_ms / max(e0.elapsed_time(e1) / 5, 1e-3)))
    xs = []
    for _ in range(a.windows):
        e0.record()
        for _ in range(per):
            fn()
        e1.record(); sync()
        xs.append(e0.elapsed_time(e1) / per)
    xs.sort()
    return statistics.median(xs), xs[len(xs) // 10], xs[-1 - len(xs) // 10], per


def graphed(fn):
    s = torch.cuda.Stream(); s.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(s):
        for _ in range(4):
            fn()
    torch.cuda.current_stream().wait_stream(s); sync()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        fn()
    return g.replay


def compiled(f, ex):
    import torch._inductor.config as ic
    if a.conv_backends:
        ic.max_autotune_conv_backends = a.conv_backends
    return torch.compile(f, dynamic=False, mode="max-autotune" if ex == "compile-graph" else "max-autotune-no-cudagraphs")


def case(size, B, mode, ex, pas):
    if (pas == "ft" and (mode == "bf16pure" or ex == "fused")) or (ex == "fused" and mode == "bf16"):
        return                                          # fused+bf16 would repeat fused+bf16pure
    if CPU and ex not in ("eager",):
        return
    set_mode(mode)
    torch.manual_seed(0)
    dt = torch.bfloat16 if mode == "bf16pure" else torch.float32
    net = Vgg(size, fused=(ex == "fused")).to(DEV).to(dt).to(memory_format=LAYOUT)
    x = torch.rand(B, 3, size, size, device=DEV, dtype=dt).contiguous(memory_format=LAYOUT)
    y = (torch.rand(B, 1, device=DEV) > 0.5).float()
    graph = ex in ("graph", "compile-owngraph")
    if pas == "fwd":
        net.eval().requires_grad_(False)

        def step(inp):
            with ctx("none" if ex == "fused" else mode, False, graph):
                return net(inp)
        run = compiled(step, ex) if ex.startswith("compile") else step

        def fn():
            with torch.inference_mode() if not ex.startswith("compile") else torch.no_grad():
                return run(x)
    else:
        net.train()
        first = NAMES.index(a.freeze_below)
        for m in net.convs[:first]:
            m.requires_grad_(False)
        ps = [p for p in net.parameters() if p.requires_grad]
        opt = torch.optim.RMSprop(ps, lr=1e-5, alpha=0.9, eps=1e-7, foreach=True, capturable=not CPU and ex != "eager")

        def loss_fn(inp, lab):
            with ctx(mode, True, graph):
                return F.binary_cross_entropy_with_logits(net(inp).float(), lab)
        lf = compiled(loss_fn, ex) if ex.startswith("compile") else loss_fn
        ostep = torch.compile(lambda: opt.step(), dynamic=False) if ex in ("compile", "compile-graph") else opt.step

        def fn():
            opt.zero_grad(set_to_none=True)
            lf(x, y).backward()
            ostep()
    t = time.time()
    if graph:
        fn = graphed(fn)
    else:
        for _ in range(3):
            fn()
        sync()
    setup = time.time() - t
    med, lo, hi, per = timed(fn)
    fl = flops(size, pas) * B
    emit(kind="net", passes=pas, size=size, batch=B, mode=mode, exec=ex, ms=round(med, 4), ms_p10=round(lo, 4), ms_p90=round(hi, 4),
         img_s=round(B / med * 1e3, 1), tflops=round(fl / med / 1e9, 2), setup_s=round(setup, 1), per_window=per,
         mem_gib=None if CPU else round(torch.cuda.max_memory_allocated() / 2**30, 2))


def layers(size, B, mode):
    set_mode(mode)
    dt = torch.float32 if mode in ("tf32", "fp32") else torch.bfloat16
    h = size
    for c in CFG:
        if c == "P":
            h //= 2; continue
        n, ci, co = c
        cl = dict(memory_format=LAYOUT)
        x = torch.randn(B, ci, h, h, device=DEV, dtype=dt).contiguous(**cl)
        w = torch.randn(co, ci, 3, 3, device=DEV, dtype=dt).contiguous(**cl)
        g = torch.randn(B, co, h, h, device=DEV, dtype=dt).contiguous(**cl)
        bw = lambda mask: torch.ops.aten.convolution_backward(g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)
        fl = 2 * B * h * h * 9 * ci * co
        r = {}
        for k, fn in (("fprop", lambda: F.conv2d(x, w, padding=1)), ("dgrad", lambda: bw([True, False, False])), ("wgrad", lambda: bw([False, True, False]))):
            if k == "dgrad" and ci == 3:
                continue
            try:
                med = timed(fn)[0]
                r[k + "_us"] = round(med * 1e3, 2); r[k + "_tflops"] = round(fl / med / 1e9, 1)
            except Exception as e:
                r[k + "_error"] = str(e)[:120]
        emit(kind="layer", layer=n, size=size, batch=B, mode=mode, H=h, Cin=ci, Cout=co, **r)
        if spent():
            return


def aug(size, B):
    """Keras-style augmentation on the GPU with stock torch ops: u8 store -> random affine, bilinear, border fill, /255"""
    st = torch.randint(0, 256, (64 if CPU else 2000, size, size, 3), dtype=torch.uint8, device=DEV)
    gen = torch.rand

    def fn():
        idx = torch.randint(0, st.shape[0], (B,), device=DEV)
        x = st[idx].permute(0, 3, 1, 2).float().mul_(1 / 255)
        th = (gen(B, device=DEV) - 0.5) * (80 * 3.14159265 / 180); z = 1 + (gen(B, 2, device=DEV) - 0.5) * 0.4
        sh = (gen(B, device=DEV) - 0.5) * 0.4; t = (gen(B, 2, device=DEV) - 0.5) * 0.8
        fl = torch.where(gen(B, device=DEV) < 0.5, -1.0, 1.0)
        c, s2 = th.cos(), th.sin()
        m = torch.stack([torch.stack([fl * c * z[:, 0], -(s2 + sh) * z[:, 1], t[:, 0]], -1),
                         torch.stack([fl * s2 * z[:, 0], (c) * z[:, 1], t[:, 1]], -1)], 1)
        return F.grid_sample(x, F.affine_grid(m, list(x.shape), align_corners=False), mode="bilinear", padding_mode="border", align_corners=False)
    med = timed(fn)[0]
    r = {}
    if not CPU:
        cf = torch.compile(fn, dynamic=False)
        try:
            r["compiled_us"] = round(timed(cf)[0] * 1e3, 2)
        except Exception as e:
            r["compiled_error"] = str(e)[:120]
    emit(kind="aug", size=size, batch=B, eager_us=round(med * 1e3, 2), min_mb=round(B * size * size * 3 * 5 / 1e6, 2), **r)


def ceiling():
    if CPU:
        return
    n = 1 << 30
    s = torch.empty(n, dtype=torch.uint8, device=DEV).random_(); d = torch.empty_like(s)
    m = timed(lambda: d.copy_(s))[0]
    emit(kind="ceiling", name="copy", tb_s=round(2 * n / m / 1e9, 3), ms=round(m, 4))
    del s, d
    for mode, dt in (("bf16", torch.bfloat16), ("tf32", torch.float32), ("fp32", torch.float32)):
        set_mode(mode)
        for k in (4096, 8192):
            A, Bm = (torch.randn(k, k, device=DEV, dtype=dt) for _ in range(2))
            m = timed(lambda: A @ Bm)[0]
            emit(kind="ceiling", name="matmul", n=k, mode=mode, tflops=round(2 * k**3 / m / 1e9, 1), ms=round(m, 4))


def profile(size, B, mode):
    from torch.profiler import ProfilerActivity, profile as prof
    set_mode(mode)
    net = Vgg(size).to(DEV).to(memory_format=LAYOUT); net.train()
    for m in net.convs[:NAMES.index(a.freeze_below)]:
        m.requires_grad_(False)
    opt = torch.optim.RMSprop([p for p in net.parameters() if p.requires_grad], lr=1e-5, alpha=0.9, eps=1e-7, foreach=True)
    x = torch.rand(B, 3, size, size, device=DEV).contiguous(memory_format=LAYOUT); y = torch.ones(B, 1, device=DEV)

    def fn():
        opt.zero_grad(set_to_none=True)
        with ctx(mode, True, False):
            l = F.binary_cross_entropy_with_logits(net(x).float(), y)
        l.backward(); opt.step()
    for _ in range(5):
        fn()
    sync()
    with prof(activities=[ProfilerActivity.CUDA]) as p:
        for _ in range(3):
            fn()
        sync()
    rows = sorted(p.key_averages(), key=lambda e: -getattr(e, "self_device_time_total", 0))[:30]
    for e in rows:
        emit(kind="kernel", size=size, batch=B, mode=mode, name=e.key[:160], calls=e.count, us_per_step=round(e.self_device_time_total / 3, 1))


def main():
    sizes, batches = [int(s) for s in a.sizes.split(",")], [int(b) for b in a.batches.split(",")]
    modes, exs, passes, what = a.modes.split(","), a.exec.split(","), a.passes.split(","), a.what.split(",")
    if a.cpu_smoke:
        sizes, batches, modes, exs = [32], [2], ["fp32", "bf16"], ["eager"]
    emit(kind="env", torch=torch.__version__, cuda=torch.version.cuda, cudnn=None if CPU else torch.backends.cudnn.version(),
         device="cpu" if CPU else torch.cuda.get_device_name(), args=" ".join(sys.argv[1:]))
    if "ceiling" in what:
        ceiling()
    if "profile" in what and not CPU:
        for m in modes[:2]:
            profile(sizes[0], batches[0], m)
    if "net" in what:
        order = [(s, b, m, e, p) for e in exs for b in batches for s in sizes for m in modes for p in passes]
        for s, b, m, e, p in order:
            if spent():
                emit(kind="skipped", reason="budget", size=s, batch=b, mode=m, exec=e, passes=p); continue
            try:
                if not CPU:
                    torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
                torch._dynamo.reset()
                case(s, b, m, e, p)
            except Exception as ex:
                emit(kind="error", size=s, batch=b, mode=m, exec=e, passes=p, error=f"{type(ex).__name__}: {ex}"[:300])
    if "layers" in what:
        for s in sizes:
            for b in batches[:1] if not a.cpu_smoke else [2]:
                for m in ("bf16", "tf32"):
                    if not spent():
                        layers(s, b, m)
    if "aug" in what:
        for s in sizes:
            for b in batches:
                if not spent():
                    aug(s, b)
    emit(kind="done", spent_s=round(time.time() - T0, 1))


main()
