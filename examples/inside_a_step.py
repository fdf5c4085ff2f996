"""Look into a training step: op by op, number by number, by the clock, at a NaN, as a script.

    python examples/inside_a_step.py

It writes the training step as step.py, a NumPy script that runs without gpunet.
"""

import subprocess
import sys

import numpy as np

from gpunet import Sequential
from gpunet.datasets import digits
from gpunet.layers import Dense, Layer
from gpunet.testing import find_nan
from gpunet.utils import set_random_seed

set_random_seed(1)
(x_train, y_train), _ = digits.load_data()
x, y = x_train[:32].reshape(32, 64) / 16, y_train[:32]


class Look(Layer):
    """y = x, and prints what passes."""

    def forward(self, op, c):
        op.copy(c.y, c.x)
        x = c.x.numpy()  # (batch, features)
        print(f"forward:  {x.shape}, {np.mean(x > 0):.0%} of the units are on")

    def backward(self, op, c):
        op.copy(c.dx, c.dy)
        print(f"backward: the largest gradient is {np.abs(c.dy.numpy()).max():.4f}")


def classifier(*between):
    """64 pixels -> 32 relu -> 10 classes."""
    hidden = Dense(32, activation="relu", input_dim=64)
    return Sequential([hidden, *between, Dense(10, activation="softmax")])


print("--- the ops of a step on 32 samples, in the order in which they run")
model = classifier()
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
explained = set()
for record in model.training_plan(32).records:
    arrays = ", ".join(f"{p.name} {list(b.shape)}" for p, b in record.items())
    print(f"{record.layer:9} {record.direction:8} {record.op.name}: {arrays}")
    if record.op.name not in explained:  # the first sentence of what the contract says of it
        explained.add(record.op.name)
        print(" " * 19 + record.op.doc.split("\n")[0])

print("\n--- a layer that prints its numbers, at every step")
model = classifier(Look())
model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
model.fit(x, y, epochs=2, batch_size=32, verbose=0)

print("--- where the time goes")
model = classifier()
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
print(model.profile(x, y))

print("--- where a NaN comes from")
kernel, *others = model.get_weights()
model.set_weights([kernel * 1e38, *others])
print(find_nan(model, x, y))
model.set_weights([kernel, *others])

print("--- the same step without gpunet: step.py")
model.export_step("step.py", batch_size=32)
model.save_weights("weights.npz")
np.savez("data.npz", x=x, y=y)
model.to("numpy")  # whose bits the script has
subprocess.run([sys.executable, "step.py", "weights.npz", "data.npz", "after.npz"], check=True)
model.train_on_batch(x, y)
with np.load("after.npz") as after:
    same = all(np.array_equal(a, b) for a, b in zip(after.values(), model.weights, strict=True))
print("the same weights afterwards, bit for bit:", same)
