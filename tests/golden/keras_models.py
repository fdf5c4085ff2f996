"""Golden configs: models as Keras 3 writes them.

    KERAS_BACKEND=torch python tests/golden/keras_models.py

writes keras_models.json beside this file.
"""

import json
from pathlib import Path

PATH = Path(__file__).with_name("keras_models.json")


def stack(k):
    dense = k.layers.Dense(
        3,
        "relu",
        kernel_regularizer="l2",
        kernel_constraint=k.constraints.MaxNorm(2),
        activity_regularizer=k.regularizers.L2(0.1),
        name="hidden",
    )
    end = k.layers.Dense(2, "softmax", name="end")
    model = k.Sequential([k.Input((4,)), dense, k.layers.Dropout(0.25, name="drop"), end], name="s")
    model.compile(k.optimizers.SGD(0.125), "categorical_crossentropy", metrics=["accuracy"])
    return model


def graph(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(4, name="shared", bias_initializer=k.initializers.Constant(0.5))
    y = k.layers.Add(name="add")([shared(a), shared(b)])
    y = k.layers.Reshape((2, 2), name="reshape")(k.layers.Rescaling(0.5, name="scale")(y))
    y = k.layers.Flatten(name="flat")(y)
    return k.Model([a, b], [y, shared(y)], name="g")


def nested(k):
    dense, dropout = k.layers.Dense(5, "tanh", name="wide"), k.layers.Dropout(0.1, name="drop")
    last = k.layers.Dense(4, name="narrow")
    stack = k.Sequential([k.Input((4,), name="s"), dense, dropout, last], name="stack")
    x = k.Input((4,), name="x")
    ends = [k.layers.Dense(4, name="one")(x), k.layers.Dense(2, name="two")(x)]
    fork = k.Model(x, ends, name="fork")
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    one, two = fork(k.layers.Add(name="add")([stack(a), stack(b)]))
    return k.Model([a, b], [two, k.layers.Dense(1, name="end")(one)], name="outer")


def recurrent(k):
    x = k.Input((5, 4), name="x")
    both = k.layers.Bidirectional(
        k.layers.LSTM(3, "relu", return_sequences=True, name="lstm"), "sum", name="both"
    )
    y = k.layers.TimeDistributed(k.layers.Dense(4, name="dense"), name="each")(both(x))
    y = k.layers.GRU(3, reset_after=False, return_sequences=True, name="gru")(y)
    y, h = k.layers.SimpleRNN(2, return_sequences=True, return_state=True, name="simple")(y)
    cells = [k.layers.LSTMCell(3, name="first"), k.layers.GRUCell(2, name="second")]
    return k.Model(x, [k.layers.RNN(cells, name="cells")(y), h], name="r")


def translator(k):
    words, said = k.Input((7,), dtype="int32", name="words"), k.Input((5, 3), name="said")
    embedded = k.layers.Embedding(10, 4, mask_zero=True, name="embedding")(words)
    _, *states = k.layers.LSTM(6, return_state=True, name="encoder")(embedded)
    decoder = k.layers.LSTM(6, return_sequences=True, name="decoder")
    return k.Model([words, said], decoder(said, initial_state=states), name="t")


def structures(k):
    a, b, late = (k.Input((4,), name=name) for name in ("a", "b", "late"))
    y = k.layers.Dense(4, name="second")(k.layers.Dense(4, name="first")(a))
    joined = k.layers.Add(name="joined")([y, late])
    ends = {"main": k.layers.Dense(2, name="head")(joined), "aux": [y, k.layers.ReLU(name="r")(b)]}
    return k.Model([{"b": b, "a": a}, late], ends, name="structures")


def operators(k):
    x, y = k.Input((4, 3), name="x"), k.Input((4, 3), name="y")
    z = (x + y) * 2.0 - x / 4.0 + 1.0 - (1 - y) * x
    z = -z[:, 1:, :2] + (y**2)[:, -1, None, :2]
    return k.Model([x, y], [z[..., 0], z @ x[:, :2]], name="operators")


def main():
    import keras

    makers = (stack, graph, nested, recurrent, translator, structures, operators)
    models = {make.__name__: make(keras) for make in makers}
    PATH.write_text(
        json.dumps({name: json.loads(m.to_json()) for name, m in models.items()}) + "\n"
    )


if __name__ == "__main__":
    main()
