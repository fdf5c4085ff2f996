"""gpunet on the CPU against PyTorch (and JAX, where installed), interleaved in one run.

    python tests/benchmarks/cpu.py                 # all workloads, one thread and two
    python tests/benchmarks/cpu.py small adam      # some of them

Where numba is installed (pip install 'gpunet[fast]'), gpunet runs twice: on NumPy alone, and with
the ops that numba compiles.

Each workload is run by the rivals in turn, again and again, and the 20th percentile of each is
compared: noise that lasts hits all alike, noise that does not is cut off. With one thread CPU time
is counted, with two wall time. gpunet's side is what a user calls (fit, predict_on_batch, an op);
PyTorch's is a hand-written eager loop on the same data, as its tutorials write it. gpunet's buffers
are made once and written over; PyTorch allocates its results, which is part of what is compared.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise

THREADS = (1, 2)
Rivals = dict[str, Callable[[], object]]

SETTLE = 0.03
"""Seconds that each rival runs before it is measured, if a run is shorter: threads of PyTorch's
OpenMP and of NumPy's OpenBLAS spin for up to 26 ms after their last work, and take a core from
whoever comes next: layer norm on two threads took 0.55 ms right after PyTorch, and 0.38 alone."""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def measure(rivals: Rivals, threads: int, rounds: int) -> dict[str, float]:
    """The 20th percentile of each rival's time in seconds, all rounds interleaved."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for run in rivals.values():
        run()
    for _ in range(rounds):
        for name, run in rivals.items():
            settled = time.perf_counter() + SETTLE
            while times[name] and times[name][-1] < SETTLE and time.perf_counter() < settled:
                run()
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: percentile(values, 0.2) for name, values in times.items()}


# ---------------------------------------------------------------------------------- workloads


def dense_net(sizes, batch, samples, optimizer: str) -> Rivals:
    """Training of a dense network: one epoch through fit."""
    import numpy as np
    import torch

    import gpunet

    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], samples)
    made = {
        "sgd": gpunet.optimizers.SGD(0.01),
        "momentum": gpunet.optimizers.SGD(0.01, momentum=0.9),
        "adam": gpunet.optimizers.Adam(0.001),
    }[optimizer]
    stack = [gpunet.Input(sizes[:1])]
    stack += [gpunet.layers.Dense(n, "relu") for n in sizes[1:-1]]
    model = gpunet.Sequential([*stack, gpunet.layers.Dense(sizes[-1], "softmax")])
    model.compile(made, "sparse_categorical_crossentropy")

    modules: list[torch.nn.Module] = []
    for inputs, units in pairwise(sizes):
        modules += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    net = torch.nn.Sequential(*modules[:-1])
    loss_of = torch.nn.CrossEntropyLoss()
    steps = {
        "sgd": lambda p: torch.optim.SGD(p, 0.01),
        "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, 0.001),
    }[optimizer](net.parameters())
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def eager() -> None:
        order = torch.randperm(samples)
        for start in range(0, samples, batch):
            rows = order[start : start + batch]
            steps.zero_grad()
            loss_of(net(tx[rows]), ty[rows]).backward()
            steps.step()

    rivals: Rivals = {
        "gpunet": lambda: model.fit(x, y, batch_size=batch, verbose=0),
        "PyTorch": eager,
    }
    jitted = jax_dense_net(sizes, batch, x, y) if optimizer == "sgd" else None
    if jitted is not None:
        rivals["JAX"] = jitted
    return rivals


def jax_dense_net(sizes, batch, x, y) -> Callable[[], object] | None:
    """One epoch of SGD with a compiled step, if JAX is installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    import numpy as np

    rng = np.random.default_rng(0)
    weights = [
        (jnp.asarray(rng.normal(0, 0.1, (i, o)).astype("f4")), jnp.zeros(o))
        for i, o in pairwise(sizes)
    ]

    def loss_of(weights, x, y):
        for number, (kernel, bias) in enumerate(weights):
            x = x @ kernel + bias
            x = jax.nn.relu(x) if number < len(weights) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()

    @jax.jit
    def step(weights, x, y):
        gradients = jax.grad(loss_of)(weights, x, y)
        return jax.tree_util.tree_map(lambda w, g: w - 0.01 * g, weights, gradients)

    def epoch() -> None:
        nonlocal weights
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            weights = step(weights, x[rows], y[rows])
        jax.block_until_ready(weights)

    return epoch


def loss() -> Rivals:
    """Softmax and cross-entropy of 4096 x 32000 logits: value and gradient."""
    import numpy as np
    import torch

    from gpunet.backend import get_backend

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4096, 32000), dtype=np.float32)
    labels = rng.integers(0, 32000, 4096).astype(np.int32)
    dx, values, totals = np.empty_like(x), np.empty(4096, np.float32), np.zeros(2)
    op = get_backend().ops["softmax_cross_entropy"]
    tx = torch.from_numpy(x).requires_grad_()
    ty = torch.from_numpy(labels.astype(np.int64))

    def eager() -> None:
        tx.grad = None
        torch.nn.functional.cross_entropy(tx, ty).backward()

    def ours() -> None:
        op(dx, values, None, totals, None, x, labels, None, scale=1 / 4096)

    return {"gpunet": ours, "PyTorch": eager}


def adam() -> Rivals:
    """One step of Adam on 25 million parameters."""
    import numpy as np
    import torch

    from gpunet.backend import get_backend

    n = 25_000_000
    gradients = np.random.default_rng(0).standard_normal(n, dtype=np.float32)
    weights, m, v = (np.zeros(n, np.float32) for _ in range(3))
    step, hyper = np.zeros(1, np.int64), np.array([1e-3, 0.0, np.inf, 0.9, 0.999, 1e-7])
    segments = np.array([[0, n, 1, 1, 1, 0]], np.float64)
    op = get_backend().ops["adam"]
    parameter = torch.zeros(n, requires_grad=True)
    parameter.grad = torch.from_numpy(gradients)
    theirs = torch.optim.Adam([parameter], 1e-3)
    return {
        "gpunet": lambda: op(weights, m, v, None, step, gradients, segments, None, hyper),
        "PyTorch": theirs.step,
    }


def layer_norm(backward: bool) -> Rivals:
    """Layer norm of 4096 x 512, forward alone or with its gradients."""
    import numpy as np
    import torch

    from gpunet.backend import get_backend

    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((4096, 512), dtype=np.float32) for _ in range(2))
    y, dx = np.empty_like(x), np.empty_like(x)
    gamma, beta = np.ones(512, np.float32), np.zeros(512, np.float32)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(beta)
    mean, rstd = np.empty(4096, np.float32), np.empty(4096, np.float32)
    ops, how = get_backend().ops, {"norm": "layer", "epsilon": 1e-3}
    tx, tdy = torch.from_numpy(x).requires_grad_(backward), torch.from_numpy(dy)
    module = torch.nn.LayerNorm(512, eps=1e-3).requires_grad_(backward)

    def eager() -> None:
        tx.grad = module.weight.grad = module.bias.grad = None
        result = module(tx)
        if backward:
            result.backward(tdy)

    def ours() -> None:
        ops["layer_norm"](y, mean, rstd, x, gamma, beta, **how)
        if backward:
            ops["layer_norm_backward"](dx, dgamma, dbeta, dy, x, mean, rstd, gamma, **how)

    return {"gpunet": ours, "PyTorch": eager}


def batch_norm() -> Rivals:
    """A training pass of batch norm over 64 images of 32 x 32 with 64 channels, and its gradients.

    gpunet's channels are the last axis, PyTorch's by default the second.
    """
    import numpy as np
    import torch

    from gpunet.backend import get_backend

    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((1, 64 * 32 * 32, 64), dtype=np.float32) for _ in range(2))
    y, dx = np.empty_like(x), np.empty_like(x)
    gamma, beta, dgamma, dbeta, moving, spread = np.ones((6, 64), np.float32)
    mean, variance = np.empty((2, 1, 64), np.float32)
    sums = np.empty((2, 1, 64), np.float32)
    ops, how = get_backend().ops, {"epsilon": 1e-3}
    images = [a.reshape(64, 32, 32, 64).transpose(0, 3, 1, 2).copy() for a in (x, dy)]
    tx, tdy = torch.from_numpy(images[0]).requires_grad_(), torch.from_numpy(images[1])
    module = torch.nn.BatchNorm2d(64, eps=1e-3)

    def eager() -> None:
        tx.grad = module.weight.grad = module.bias.grad = None
        module(tx).backward(tdy)

    def ours() -> None:
        ops["channel_moments"](mean, variance, None, moving, spread, x, None, momentum=0.99)
        ops["channel_norm"](y, x, mean, variance, gamma, beta, **how)
        ops["channel_norm_sums"](sums, dgamma, dbeta, dy, x, mean, variance, **how)
        ops["channel_norm_backward"](dx, dy, x, None, mean, variance, None, gamma, sums, **how)

    return {"gpunet": ours, "PyTorch": eager}


def predict(batch: int) -> Rivals:
    """Inference of 784-512-512-10 on one batch; a single sample 100 times."""
    import numpy as np
    import torch

    import gpunet

    sizes = (784, 512, 512, 10)
    stack = [gpunet.Input(sizes[:1])]
    stack += [gpunet.layers.Dense(n, "relu") for n in sizes[1:-1]]
    model = gpunet.Sequential([*stack, gpunet.layers.Dense(10, "softmax")])
    x = np.random.default_rng(0).standard_normal((batch, 784), dtype=np.float32)
    modules: list[torch.nn.Module] = []
    for inputs, units in pairwise(sizes):
        modules += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    net = torch.nn.Sequential(*modules[:-1], torch.nn.Softmax(dim=1)).eval()
    tx = torch.from_numpy(x)
    times = range(100 if batch == 1 else 5)

    def ours() -> None:
        for _ in times:
            model.predict_on_batch(x)

    def eager() -> None:
        with torch.no_grad():
            for _ in times:
                net(tx).numpy()

    return {"gpunet": ours, "PyTorch": eager}


def lenet() -> Rivals:
    """Training of a small network on images of 28x28, as in Keras' first example: ten steps."""
    from gpunet import layers

    stack = [
        layers.Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, "relu"),
        layers.Dense(10, "softmax"),
    ]

    def theirs(nn):
        return [
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)),
        ]

    return image_net(stack, theirs, (28, 28, 1), 640)


def convolutions() -> Rivals:
    """Training of 3x3 convolutions of 64 channels on 32x32, without normalization: one step."""
    from gpunet import layers

    conv = {"padding": "same", "activation": "relu"}
    stack = [
        layers.Conv2D(64, 3, input_shape=(32, 32, 3), **conv),
        *(layers.Conv2D(64, 3, **conv) for _ in range(4)),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, "softmax"),
    ]

    def theirs(nn):
        modules = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU()]
        for _ in range(4):
            modules += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        return [*modules, nn.AvgPool2d(32), nn.Flatten(), nn.Linear(64, 10)]

    return image_net(stack, theirs, (32, 32, 3), 64)


def resnet() -> Rivals:
    """Training of a stage of a residual network: 3x3 convolutions of 64 channels on 32x32."""
    import torch

    import gpunet
    from gpunet import layers

    def ours(x, shortcut=None):
        x = layers.Conv2D(64, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.ReLU()(x if shortcut is None else layers.Add()([x, shortcut]))

    inputs = gpunet.Input((32, 32, 3))
    x = ours(inputs)
    for _ in range(2):
        x = ours(ours(x), x)
    x = layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x))

    class Stage(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            nn, sizes = torch.nn, (3, 64, 64, 64, 64)
            self.convs = nn.ModuleList(nn.Conv2d(n, 64, 3, padding=1, bias=False) for n in sizes)
            self.norms = nn.ModuleList(nn.BatchNorm2d(64) for _ in sizes)
            self.dense = nn.Linear(64, 10)

        def forward(self, x):
            norm = [lambda x, i=i: self.norms[i](self.convs[i](x)) for i in range(5)]
            x = torch.relu(norm[0](x))
            for first in (1, 3):
                x = torch.relu(norm[first + 1](torch.relu(norm[first](x))) + x)
            return self.dense(x.mean((2, 3)))

    return image_net(gpunet.Model(inputs, x), Stage, (32, 32, 3), 64)


def depthwise() -> Rivals:
    """Training of three depthwise 3x3 convolutions of 64 channels on 32x32: one step."""
    from gpunet import layers

    conv = {"padding": "same", "activation": "relu"}
    stack = [
        layers.DepthwiseConv2D(3, input_shape=(32, 32, 64), **conv),
        *(layers.DepthwiseConv2D(3, **conv) for _ in range(2)),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, "softmax"),
    ]

    def theirs(nn):
        modules = []
        for _ in range(3):
            modules += [nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.ReLU()]
        return [*modules, nn.AvgPool2d(32), nn.Flatten(), nn.Linear(64, 10)]

    return image_net(stack, theirs, (32, 32, 64), 64)


def transposed() -> Rivals:
    """Training of two transposed 3x3 convolutions that double the size, 8x8 to 32x32: one step."""
    from gpunet import layers

    conv = {"strides": 2, "padding": "same", "activation": "relu"}
    stack = [
        layers.Conv2DTranspose(64, 3, input_shape=(8, 8, 64), **conv),
        layers.Conv2DTranspose(32, 3, **conv),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, "softmax"),
    ]

    def theirs(nn):
        more = {"stride": 2, "padding": 1, "output_padding": 1}
        modules = [nn.ConvTranspose2d(64, 64, 3, **more), nn.ReLU()]
        modules += [nn.ConvTranspose2d(64, 32, 3, **more), nn.ReLU()]
        return [*modules, nn.AvgPool2d(32), nn.Flatten(), nn.Linear(32, 10)]

    return image_net(stack, theirs, (8, 8, 64), 64)


def image_net(stack, theirs, shape: tuple[int, int, int], samples: int) -> Rivals:
    """One epoch of SGD on images in batches of 64; PyTorch gets them channels first."""
    import numpy as np
    import torch

    import gpunet

    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, *shape), dtype=np.float32)
    y = rng.integers(0, 10, samples)
    model = gpunet.Sequential(stack) if isinstance(stack, list) else stack
    model.compile(gpunet.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    net = torch.nn.Sequential(*theirs(torch.nn)) if isinstance(stack, list) else theirs()
    loss_of = torch.nn.CrossEntropyLoss()
    step = torch.optim.SGD(net.parameters(), 0.01)
    tx = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    ty = torch.from_numpy(y)

    def eager() -> None:
        order = torch.randperm(samples)
        for start in range(0, samples, 64):
            rows = order[start : start + 64]
            step.zero_grad()
            loss_of(net(tx[rows]), ty[rows]).backward()
            step.step()

    return {"gpunet": lambda: model.fit(x, y, batch_size=64, verbose=0), "PyTorch": eager}


def lstm() -> Rivals:
    """One training step of LSTM 64 -> 256 over 64 steps of sequences, batch 32."""
    import numpy as np
    import torch

    import gpunet

    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 64, 64), dtype=np.float32)
    y = rng.standard_normal((32, 64, 256), dtype=np.float32)
    layer = gpunet.layers.LSTM(256, return_sequences=True, input_shape=(64, 64))
    model = gpunet.Sequential([layer])
    model.compile(gpunet.optimizers.SGD(0.01), "mse")
    net, loss_of = torch.nn.LSTM(64, 256, batch_first=True), torch.nn.MSELoss()
    step = torch.optim.SGD(net.parameters(), 0.01)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def eager() -> None:
        step.zero_grad()
        loss_of(net(tx)[0], ty).backward()
        step.step()

    return {"gpunet": lambda: model.train_on_batch(x, y), "PyTorch": eager}


def gpt() -> Rivals:
    """One training step of 4 blocks of a GPT: width 256, 4 heads, 128 tokens, batch 16, AdamW."""
    import numpy as np
    import torch
    from torch.nn import functional

    import gpunet
    from gpunet.layers import Dense, LayerNormalization, TokenAndPositionEmbedding

    vocabulary, length, width, heads, blocks, batch = 128, 128, 256, 4, 4, 16
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, vocabulary, (batch, length)).astype(np.int32) for _ in range(2))
    block = {"activation": "gelu", "normalize_first": True}
    model = gpunet.Sequential(
        [
            TokenAndPositionEmbedding(vocabulary, length, width, input_shape=(length,)),
            *(gpunet.layers.TransformerDecoder(4 * width, heads, **block) for _ in range(blocks)),
            LayerNormalization(epsilon=1e-5),
            Dense(vocabulary),
        ]
    )
    loss = gpunet.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(gpunet.optimizers.AdamW(1e-3), loss)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = torch.nn.LayerNorm(width)
            self.project = torch.nn.Linear(width, 3 * width)
            self.output = torch.nn.Linear(width, width)
            self.between = torch.nn.LayerNorm(width)
            self.inner = torch.nn.Linear(width, 4 * width)
            self.outer = torch.nn.Linear(4 * width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shape = (batch, length, heads, width // heads)
            qkv = (a.view(shape).transpose(1, 2) for a in self.project(self.before(x)).chunk(3, 2))
            taken = functional.scaled_dot_product_attention(*qkv, is_causal=True)
            x = x + self.output(taken.transpose(1, 2).reshape(batch, length, width))
            return x + self.outer(functional.gelu(self.inner(self.between(x))))

    tokens = torch.nn.Embedding(vocabulary, width)
    places = torch.nn.Embedding(length, width)
    stack = torch.nn.Sequential(
        *(Block() for _ in range(blocks)),
        torch.nn.LayerNorm(width),
        torch.nn.Linear(width, vocabulary),
    )
    parameters = [*tokens.parameters(), *places.parameters(), *stack.parameters()]
    step = torch.optim.AdamW(parameters, 1e-3, fused=True)
    tx, ty, order = torch.from_numpy(x), torch.from_numpy(y).long(), torch.arange(length)

    def eager() -> None:
        step.zero_grad()
        logits = stack(tokens(tx) + places(order))
        functional.cross_entropy(logits.view(-1, vocabulary), ty.view(-1)).backward()
        step.step()

    return {"gpunet": lambda: model.train_on_batch(x, y), "PyTorch": eager}


WORKLOADS: dict[str, tuple[str, Callable[[], Rivals], int]] = {
    # name: (what it is, how to make it, rounds)
    "small": (
        "fit 100-64-10, batch 32, SGD",
        lambda: dense_net((100, 64, 10), 32, 12800, "sgd"),
        20,
    ),
    "medium": (
        "fit 784-512-512-10, batch 128, momentum",
        lambda: dense_net((784, 512, 512, 10), 128, 6400, "momentum"),
        12,
    ),
    "large": (
        "fit 4096-4096-4096-1000, batch 512, Adam",
        lambda: dense_net((4096, 4096, 4096, 1000), 512, 1024, "adam"),
        5,
    ),
    "loss": ("softmax + cross-entropy, 4096 x 32000", loss, 5),
    "adam": ("Adam, 25 M parameters", adam, 10),
    "batch_norm": ("batch norm, 64 x 32 x 32 x 64, with gradients", batch_norm, 20),
    "layer_norm": ("layer norm, 4096 x 512", lambda: layer_norm(False), 30),
    "layer_norm_backward": (
        "layer norm, 4096 x 512, with gradients",
        lambda: layer_norm(True),
        30,
    ),
    "lenet": ("fit LeNet on 28x28, batch 64", lenet, 5),
    "convolutions": ("fit 4 convolutions 3x3x64 on 32x32, batch 64", convolutions, 5),
    "resnet": ("fit residual stage with batch norm, batch 64", resnet, 5),
    "depthwise": ("fit 3 depthwise convolutions, batch 64", depthwise, 5),
    "transposed": ("fit 2 transposed convolutions, batch 64", transposed, 8),
    "lstm": ("LSTM 64 -> 256, 64 steps, batch 32, return_sequences", lstm, 15),
    "gpt": ("GPT: 4 blocks of width 256, 128 tokens, batch 16, AdamW", gpt, 8),
    "predict1": ("predict_on_batch 784-512-512-10, batch 1", lambda: predict(1), 20),
    "predict1024": ("predict_on_batch, batch 1024", lambda: predict(1024), 15),
}


def worker(name: str, threads: int) -> None:
    """Measure one workload in a process of its own, and print the times as JSON."""
    import torch

    import gpunet
    from gpunet.backend import numba_problem

    torch.set_num_threads(threads)
    _, make, rounds = WORKLOADS[name]
    gpunet.set_backend("numpy")
    rivals = make()
    if not numba_problem():
        rivals["gpunet"]()  # builds its model while this is the backend
        warnings.simplefilter("ignore", gpunet.errors.GpunetWarning)  # it stays where it was built
        gpunet.set_backend("numba")
        rivals["numba"] = make()["gpunet"]
    print(json.dumps(measure(rivals, threads, rounds)))


def run(name: str, threads: int) -> dict[str, float]:
    count = str(threads)
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = dict(os.environ, **dict.fromkeys(variables, count))
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(variable, None)  # they would slow NumPy's BLAS down
    if threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    command = [sys.executable, __file__, "--worker", name, count]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} with {threads} thread(s) failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    names = sys.argv[1:] or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        sys.exit(f"unknown workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'workload':64} {'threads':>7} {'gpunet ms':>10} ratios (gpunet / rival)")
    for name in names:
        for threads in THREADS:
            times = run(name, threads)
            own = {"": times.pop("gpunet"), ", numba": times.pop("numba", None)}
            for how, ours in own.items():
                if ours is None:
                    continue
                ratios = ", ".join(f"{rival} {ours / t:.2f}" for rival, t in times.items())
                what = f"{WORKLOADS[name][0]}{how}"
                print(f"{what:64} {threads:7} {ours * 1e3:10.2f} {ratios}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        main()
