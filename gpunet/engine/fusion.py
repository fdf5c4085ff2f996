"""Fusion: a peephole over the recorded ops that merges neighbours into one op.

Each rule looks at one record and at who reads what it writes, and either rewrites the list and
returns True or leaves it alone. A buffer counts as private if one record writes it, one record
reads it, and nobody outside of the plan wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import Any

from gpunet.backend.contract import OPS
from gpunet.engine.recorder import Buffer, Record, Storage

AFTER_SOFTMAX = {
    "cross_entropy": "softmax_cross_entropy",
    "focal_cross_entropy": "softmax_focal_cross_entropy",
}
"""Losses of probabilities, and what computes them from the logits of a softmax."""
AFTER_SIGMOID = {
    "binary_cross_entropy": "sigmoid_cross_entropy",
    "binary_focal_cross_entropy": "sigmoid_focal_cross_entropy",
}
"""The same for a sigmoid."""
CONVOLUTIONS = ("convolution", "transposed_convolution")
COUNTING_LOSSES = {*AFTER_SOFTMAX, *AFTER_SOFTMAX.values(), *AFTER_SIGMOID, *AFTER_SIGMOID.values()}


class _Uses:
    """Who writes and who reads each storage."""

    def __init__(self, records: Sequence[Record], kept: set[Storage]) -> None:
        self.kept = kept
        self.gone: set[Record] = set()  # records that others have taken the place of
        self.writers: dict[Storage, list[Record]] = {}
        self.readers: dict[Storage, list[Record]] = {}
        for record in records:
            for storage in record.writes():
                self.writers.setdefault(storage, []).append(record)
            for storage in record.reads():
                self.readers.setdefault(storage, []).append(record)

    def only_reader(self, buffer: Buffer | None) -> Record | None:
        """The one record that reads a private buffer, or None if it is not private."""
        if buffer is None or buffer.storage in self.kept or buffer.storage.resolve is not None:
            return None
        readers = self.readers.get(buffer.storage, [])
        writers = self.writers.get(buffer.storage, [])
        if len(readers) != 1 or len(writers) != 1 or readers[0] in self.gone:
            return None
        return readers[0]

    def writer(self, buffer: Buffer | None) -> Record | None:
        """The one record that writes a buffer."""
        writers = self.writers.get(buffer.storage, []) if buffer is not None else []
        return writers[0] if len(writers) == 1 else None


def fuse(records: Sequence[Record], kept: set[Storage]) -> list[Record]:
    """Merge ops until no rule applies, and drop ops whose results nobody reads.

    Args:
        records: the recorded ops; not changed.
        kept: storages of the arena that are wanted after the pass.

    Returns:
        The new list.
    """
    fused = [replace(r, arrays=list(r.arrays), attributes=dict(r.attributes)) for r in records]
    changed = True
    while changed:
        fused = drop_dead(fused, kept)
        changed = _apply_rules(fused, _Uses(fused, kept))
    for record in fused:
        if record.function is None:
            record.op.check(record.arrays, record.attributes)
    return fused


def _apply_rules(records: list[Record], uses: _Uses) -> bool:
    """Apply the first rule that fits anywhere; returns whether there is one.

    A rule that merges a record with its only reader goes on with the records behind: of them and
    their memory ``uses`` is still right. A step of a cell occurs hundreds of times in a plan.
    """
    for rule in RULES:
        found = False
        for record in list(records):
            if record in uses.gone:
                continue
            reader = uses.only_reader(record.arrays[0]) if rule in MERGING else None
            if not rule(records, record, uses):
                continue
            if reader is None:
                return True
            uses.gone |= {record, reader}
            found = True
        if found:
            return True
    return False


def drop_dead(
    records: Sequence[Record], kept: set[Storage], unwanted: Set[Storage] = frozenset()
) -> list[Record]:
    """The records without those whose results are neither kept nor read later.

    What lives outside of the arena (weights, counters) is kept unless it is unwanted.
    """
    needed = set(kept)
    alive: list[Record] = []
    for record in reversed(records):
        if any(
            storage in needed or (storage.resolve is not None and storage not in unwanted)
            for storage in record.writes()
        ):
            alive.append(record)
            needed.update(record.reads())
    return alive[::-1]


def softmax_loss_from_logits(records: list[Record], loss: Record, uses: _Uses) -> bool:
    """y = softmax(x); dy = loss(y); dx = softmax_backward(dy)  ->  dx = loss of the logits x."""
    softmax = uses.writer(loss["x"]) if loss.op.name in AFTER_SOFTMAX else None
    if softmax is None or softmax.op.name != "softmax" or softmax["y"] != loss["x"]:
        return False  # also where the loss sees other rows than the softmax, after a Reshape
    dlogits = None
    if loss["dx"] is not None:
        backward = uses.only_reader(loss["dx"])
        if backward is None or backward.op.name != "softmax_backward":
            return False
        dlogits = backward["dx"]
        records.remove(backward)
    _set(loss, "x", softmax["x"])
    _set(loss, "dx", dlogits)
    loss.op = OPS[AFTER_SOFTMAX[loss.op.name]]
    return True


def sigmoid_loss_from_logits(records: list[Record], loss: Record, uses: _Uses) -> bool:
    """y = sigmoid(x + bias); loss(y)  ->  z = x + bias; loss of the logits z.

    The sigmoid may already be part of a product's epilogue. Where a metric or somebody outside
    reads the probabilities, too, y = sigmoid(z) is computed for them.
    """
    forward = uses.writer(loss["x"]) if loss.op.name in AFTER_SIGMOID else None
    if forward is None or forward.attributes.get("activation") != "sigmoid":
        return False
    y = forward.items()[0][1]
    readers = [r for r in uses.readers[y.storage] if r is not loss]
    backward = uses.only_reader(loss["dx"])
    if loss["dx"] is not None:
        if backward is None or backward.op.name != "bias_act_backward":
            return False
        readers = [r for r in readers if r is not backward]
    forward.attributes["activation"] = "linear"
    if backward is not None:
        backward.attributes["activation"] = "linear"
        _set(backward, "saved", None)
    loss.op = OPS[AFTER_SIGMOID[loss.op.name]]
    if readers or y.storage in uses.kept:
        logits = Buffer(Storage("logits", y.storage.nbytes), y.shape, y.dtype)
        forward.arrays[0] = logits
        _set(loss, "x", logits.reshape(*loss["x"].shape))  # type: ignore[union-attr]
        arrays = [y, logits, None]
        sigmoid = {"activation": "sigmoid", "parameters": ()}
        record = Record(OPS["bias_act"], arrays, sigmoid, forward.layer, forward.direction)
        records.insert(records.index(forward) + 1, record)
    return True


def gemm_and_bias_act(records: list[Record], gemm: Record, uses: _Uses) -> bool:
    """z = a b; y = activation(z + bias)  ->  gemm_bias_act."""
    if gemm.op.name != "gemm" or gemm.attributes["accumulate"]:
        return False
    act = uses.only_reader(gemm["c"])
    if act is None or act.op.name != "bias_act" or act["x"] != gemm["c"]:
        return False
    arrays = [act["y"], gemm["a"], gemm["b"], act["bias"]]
    attributes = {**_transposes(gemm), **_activation(act)}
    return _merge(records, gemm, act, "gemm_bias_act", arrays, attributes)


def convolution_and_bias_act(records: list[Record], first: Record, uses: _Uses) -> bool:
    """z = x * kernel; y = activation(z + bias)  ->  one op."""
    if first.op.name not in CONVOLUTIONS or first.attributes["activation"] != "linear":
        return False
    z = first["y"]
    act = uses.only_reader(z) if first["bias"] is None else None
    if act is None or z is None or act.op.name != "bias_act" or act["bias"] is None:
        return False
    y = act["y"]
    if y is None or act["x"] is None or act["x"].shape[-1] != z.shape[-1]:
        return False
    arrays = [y.reshape(*z.shape), first["x"], first["kernel"], act["bias"], first["scratch"]]
    attributes = {**first.attributes, **_activation(act)}
    return _merge(records, first, act, first.op.name, arrays, attributes)


def unwanted_places(records: list[Record], pool: Record, uses: _Uses) -> bool:
    """max_pool leaves out the places that no backward reads."""
    places = pool["argmax"] if pool.op.name == "max_pool" else None
    if places is None or places.storage in uses.kept or uses.readers.get(places.storage):
        return False
    _set(pool, "argmax", None)
    return True


def bias_and_activation(records: list[Record], first: Record, uses: _Uses) -> bool:
    """z = a b + bias or z = x + bias; y = activation(z)  ->  one op, where nobody else reads z."""
    if first.op.name not in ("gemm_bias_act", "bias_act", *CONVOLUTIONS):
        return False
    z = first.arrays[0]
    act = uses.only_reader(z) if first.attributes["activation"] == "linear" else None
    if act is None or z is None or act.op.name != "bias_act" or act["bias"] is not None:
        return False
    y = act["y"]
    if y is None or act["x"] is None:
        return False
    arrays = [y.reshape(*z.shape), *first.arrays[1:]]
    attributes = {**first.attributes, **_activation(act)}
    return _merge(records, first, act, first.op.name, arrays, attributes)


def gemm_and_column_sum(records: list[Record], act: Record, uses: _Uses) -> bool:
    """(dz, dbias) = bias_act_backward; dkernel = x^T dz  ->  gemm_column_sum(dkernel, dbias)."""
    if act.op.name != "bias_act_backward" or act["dbias"] is None or act["dx"] is None:
        return False
    for gemm in uses.readers.get(act["dx"].storage, []):
        if (
            gemm.op.name == "gemm"
            and gemm["b"] == act["dx"]
            and not gemm.attributes["tb"]
            and gemm.attributes["accumulate"] == act.attributes["accumulate"]
            and not _touched_between(records, act, gemm, [act["dbias"].storage])
        ):
            gemm.arrays = [gemm["c"], act["dbias"], gemm["a"], gemm["b"]]
            gemm.op = OPS["gemm_column_sum"]
            del gemm.attributes["tb"]
            _set(act, "dbias", None)
            act.attributes["accumulate"] = False
            return True
    return False


def gemm_and_act_backward(records: list[Record], gemm: Record, uses: _Uses) -> bool:
    """dy = dz kernel^T; dz' = dy * activation'(saved)  ->  gemm_act_backward."""
    if gemm.op.name != "gemm" or gemm.attributes["accumulate"]:
        return False
    act = uses.only_reader(gemm["c"])
    if act is None or act.op.name != "bias_act_backward" or act["dbias"] is not None:
        return False
    dx, saved, c = act["dx"], act["saved"], gemm["c"]
    if dx is None or saved is None or c is None:
        return False
    # Where a Flatten or Reshape lies between, the product's rows are not those of the activation.
    arrays = [dx.reshape(*c.shape), gemm["a"], gemm["b"], saved.reshape(*c.shape)]
    attributes = {**_transposes(gemm), **_activation(act)}
    return _merge(records, gemm, act, "gemm_act_backward", arrays, attributes)


def linear_is_copy(records: list[Record], act: Record, uses: _Uses) -> bool:
    """bias_act and bias_act_backward that do nothing  ->  copy, which often costs nothing."""
    if act.attributes.get("activation") != "linear":
        return False
    if act.op.name == "bias_act" and act["bias"] is None:
        act.arrays = [act["y"], act["x"]]
    elif act.op.name == "bias_act_backward" and act["dbias"] is None:
        act.arrays = [act["dx"], act["dy"]]
    else:
        return False
    act.op, act.attributes = OPS["copy"], {}
    return True


def add_of_copy(records: list[Record], copy: Record, uses: _Uses) -> bool:
    """p = x; y = y + p  ->  y = y + x."""
    if copy.op.name != "copy":
        return False
    add = uses.only_reader(copy["y"])
    if add is None or add.op.name != "add" or add["b"] != copy["y"]:
        return False
    return _merge(records, copy, add, "add", [add["y"], add["a"], copy["x"]], {})


def gather_and_scale(records: list[Record], scale: Record, uses: _Uses) -> bool:
    """x = gather(...) or scale_shift(...); y = scale * x + offset  ->  one op."""
    if scale.op.name != "scale_shift":
        return False
    first = uses.writer(scale["x"])
    if first is None or first.op.name not in ("gather", "scale_shift"):
        return False
    if uses.only_reader(scale["x"]) is not scale:
        return False
    factor = scale.attributes["scale"]
    first.attributes["scale"] *= factor
    first.attributes["offset"] = first.attributes["offset"] * factor + scale.attributes["offset"]
    _set(first, "y", scale["y"].reshape(*first["y"].shape))  # type: ignore[union-attr]
    records.remove(scale)
    return True


def loss_and_accuracy(records: list[Record], accuracy: Record, uses: _Uses) -> bool:
    """loss(x, labels); accuracy(x, labels)  ->  the loss counts what is right."""
    if accuracy.op.name != "accuracy":
        return False
    earlier = records[: records.index(accuracy)]  # what reads the hits comes later
    for loss in uses.readers.get(accuracy["labels"].storage, []):  # type: ignore[union-attr]
        if (
            loss.op.name in COUNTING_LOSSES
            and loss in earlier
            and loss["correct"] is None
            and loss["x"] == accuracy["x"]
            and loss["labels"] == accuracy["labels"]
        ):
            _set(loss, "correct", accuracy["correct"])
            _set(loss, "accuracy_totals", accuracy["accuracy_totals"])
            records.remove(accuracy)
            return True
    return False


RULES: tuple[Callable[[list[Record], Record, _Uses], bool], ...] = (
    loss_and_accuracy,
    softmax_loss_from_logits,
    sigmoid_loss_from_logits,
    add_of_copy,
    gemm_and_bias_act,
    convolution_and_bias_act,
    bias_and_activation,
    gemm_and_column_sum,
    gemm_and_act_backward,
    linear_is_copy,
    gather_and_scale,
    unwanted_places,
)
MERGING = (
    add_of_copy,
    gemm_and_bias_act,
    convolution_and_bias_act,
    bias_and_activation,
    gemm_and_act_backward,
)
"""The rules that put one op in the place of a record and the only reader of its first array."""


def _transposes(gemm: Record) -> dict[str, Any]:
    return {"ta": gemm.attributes["ta"], "tb": gemm.attributes["tb"]}


def _activation(act: Record) -> dict[str, Any]:
    return {key: act.attributes[key] for key in ("activation", "parameters")}


def _set(record: Record, name: str, buffer: Buffer | None) -> None:
    names = [parameter.name for parameter in record.op.parameters]
    record.arrays[names.index(name)] = buffer


def _touched_between(
    records: Sequence[Record], first: Record, last: Record, storages: Sequence[Storage]
) -> bool:
    """Whether a record between two others reads or writes one of these storages."""
    between = records[records.index(first) + 1 : records.index(last)]
    touched = {storage for record in between for storage in (*record.reads(), *record.writes())}
    return any(storage in touched for storage in storages)


def _merge(
    records: list[Record],
    first: Record,
    last: Record,
    name: str,
    arrays: Sequence[Buffer | None],
    attributes: dict[str, Any],
) -> bool:
    """Put one op in the place of the last of two, unless what the first reads changes between."""
    between = records[records.index(first) + 1 : records.index(last)]
    changed = {storage for record in between for storage in record.writes()}
    if any(storage in changed for storage in first.reads()):
        return False
    new = Record(OPS[name], list(arrays), attributes, last.layer, last.direction)
    records[records.index(last)] = new
    records.remove(first)
    return True
