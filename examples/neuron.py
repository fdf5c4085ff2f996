"""From one neuron to a network: what a neuron computes, how it learns, and what one cannot learn.

    python examples/neuron.py

Four chapters, each a few lines: a neuron with weights set by hand; a neuron that learns from its
mistakes; a task that no single neuron can learn; and two layers that learn it, first written out in
NumPy (predict, error, backpropagate), then as a gpunet model, which comes to the same numbers.
"""

import numpy as np

from gpunet import Sequential, layers, optimizers

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)  # (4 samples, 2 inputs)
AND, OR, XOR = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])


def show(title, answers, wanted):
    """A table of what comes out beside what should."""
    print(f"\n{title}\n  inputs   output   wanted")
    for inputs, answer, target in zip(x.astype(int), np.ravel(answers), wanted, strict=True):
        print(f"   {inputs[0]}  {inputs[1]}    {answer:6.3g}   {target:6}")


# ------------------------------------------------------- 1. one neuron, with weights set by hand


def neuron(inputs, weights, bias):
    """1 if the weighted sum of the inputs plus the bias is above the threshold 0, else 0."""
    return (inputs @ weights + bias > 0).astype(int)  # (samples,)


show("1. A neuron with weights 1, 1 and bias -1.5 says AND:", neuron(x, [1, 1], -1.5), AND)


# --------------------------------------------------------- 2. a neuron learns from its mistakes


def learn(wanted, rounds=20):
    """Rosenblatt's rule (1958): after each mistake move the weights towards what was wanted."""
    weights, bias = np.zeros(2), 0.0
    for number in range(1, rounds + 1):
        mistakes = 0
        for inputs, target in zip(x, wanted, strict=True):
            error = target - neuron(inputs, weights, bias)  # -1, 0 or 1
            weights += error * inputs
            bias += error
            mistakes += abs(error)
        if mistakes == 0:
            return weights, bias, f"no mistake any more in round {number}"
    return weights, bias, f"still {mistakes} mistakes in round {rounds}"


weights, bias, outcome = learn(OR)
show(f"2. It learns OR: {outcome}.", neuron(x, weights, bias), OR)


# ----------------------------------------------------------------- 3. what one neuron cannot do

weights, bias, outcome = learn(XOR)
show(f"3. It does not learn XOR: {outcome}.", neuron(x, weights, bias), XOR)
print(
    "   A neuron draws one straight line between 0 and 1; here the ones lie on a diagonal and the\n"
    "   zeros on the other. Three neurons can: two draw a line each, the third joins them."
)


# ---------------------------------------------------- 4. two layers: predict, error, backpropagate

# A step has no slope to follow, so smooth ones take its place: tanh inside, sigmoid at the end.
random = np.random.default_rng(0)
first = random.normal(size=(2, 3))  # (inputs, hidden units)
first_bias = np.zeros(3)
second = random.normal(size=(3, 1))  # (hidden units, outputs)
second_bias = np.zeros(1)
begin = [array.copy() for array in (first, first_bias, second, second_bias)]
target = XOR[:, None]  # (4, 1)
RATE, STEPS = 0.5, 1000
print("\n4. Two layers learn, step by step:")

for step in range(STEPS):
    # Predict: each layer is a weighted sum plus bias, then a function.
    hidden = np.tanh(x @ first + first_bias)  # (4, 3)
    output = 1 / (1 + np.exp(-(hidden @ second + second_bias)))  # (4, 1)
    # Error: the mean of the squared differences, and how it changes with the output.
    error = np.mean((output - target) ** 2)
    doutput = 2 * (output - target) / len(x)
    # Backpropagate: the chain rule, from the last layer to the first.
    dsum = doutput * output * (1 - output)  # through the sigmoid
    dsecond, dsecond_bias = hidden.T @ dsum, dsum.sum(axis=0)
    dhidden = dsum @ second.T * (1 - hidden**2)  # through the second layer and tanh
    dfirst, dfirst_bias = x.T @ dhidden, dhidden.sum(axis=0)
    # Learn: a small step downhill for every weight.
    second -= RATE * dsecond
    second_bias -= RATE * dsecond_bias
    first -= RATE * dfirst
    first_bias -= RATE * dfirst_bias
    if step in (0, 10, 100, STEPS - 1):
        print(f"   step {step + 1:4}: error {error:.4f}")
show("   Two layers have learned XOR:", output, XOR)

# The same network, weights and steps as a model; fit does all that the loop above does.
model = Sequential([layers.Dense(3, "tanh", input_dim=2), layers.Dense(1, "sigmoid")])
model.to("numpy", dtype="float64")
model.set_weights(begin)
model.compile(optimizers.SGD(RATE), "mse")
model.fit(x, target, epochs=STEPS, batch_size=4, shuffle=False, verbose=0)
ours = np.concatenate([array.ravel() for array in (first, first_bias, second, second_bias)])
theirs = np.concatenate([array.ravel() for array in model.get_weights()])
print(f"\nThe model's weights differ from the loop's by at most {np.abs(ours - theirs).max():.0e}.")
