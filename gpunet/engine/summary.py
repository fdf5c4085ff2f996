"""summary(): layers, shapes, weights, memory, FLOPs, what is fused and what runs where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpunet.arguments import check_count
from gpunet.engine.cost import flops
from gpunet.engine.graph import NOMINAL_SIZE, Node, Tensor, tensors_of
from gpunet.engine.plan import Plan
from gpunet.engine.recorder import Record
from gpunet.errors import ArgumentError

if TYPE_CHECKING:
    from gpunet.layers.base import Layer
    from gpunet.models import Model


def print_summary(
    model: Model,
    batch_size: int,
    print_fn: Callable[[str], Any],
    expand_nested: bool = False,
    show_trainable: bool = False,
    **unknown: Any,
) -> None:
    """Print what `gpunet.models.Model.summary` promises."""
    if unknown:
        raise ArgumentError(
            f"summary has no argument {next(iter(unknown))!r}: it takes batch_size, print_fn, "
            "expand_nested and show_trainable."
        )
    batch_size = check_count("summary", "batch_size", batch_size)
    fixed = [tensor.batch_size for tensor in model.graph.inputs if tensor.batch_size is not None]
    batch_size = fixed[0] if fixed else batch_size
    plan, what = _plan_to_show(model, batch_size)
    print_fn(f'Model: "{model.name}"')
    for line in _table(_rows(model, plan, expand_nested, show_trainable)):
        print_fn(line)
    for line in _totals(model, plan, what, batch_size):
        print_fn(line)
    for line in _fused(plan):
        print_fn(line)


def _plan_to_show(model: Model, batch_size: int) -> tuple[Plan, str]:
    """The plan of a training step if the model is compiled, else of inference."""
    if model.is_compiled:
        return model.training_plan(batch_size), "training step"
    return model.inference_plan(batch_size), "inference"


def _rows(model: Model, plan: Plan, expand_nested: bool, show_trainable: bool) -> list[list[str]]:
    """A row for each call of a layer; a connection is a layer, which call of it, which output."""
    cost: dict[str, int] = {}
    for record in plan.recorded:
        for path in _parents(record.layer):
            cost[path] = cost.get(path, 0) + flops(record)
    rows = [["Layer (type)", "Output Shape", "Param #", "FLOPs", "Trainable", "Connected to"]]
    places: dict[Tensor, str] = {}
    calls: dict[Layer, int] = {}

    def add_inputs(tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            if tensor not in model.graph.inputs or tensor in places:
                continue
            places[tensor] = f"{tensor.name}[0][0]"
            if model.lists_inputs:
                rows.append([f"{tensor.name} (InputLayer)", str(tensor.shape), "0", "0", "-", "-"])

    def add(node: Node, path: str, indent: str) -> None:
        add_inputs(node.sources)
        layer, shapes = node.layer, [tensor.shape for tensor in node.outputs]
        call = calls[layer] = calls.get(layer, -1) + 1
        places.update((t, f"{layer.label}[{call}][{t.index}]") for t in node.outputs)
        rows.append(
            [
                f"{indent}{layer.label} ({_type(layer)})",
                str(shapes[0] if len(shapes) == 1 else shapes),
                f"{layer.count_params():,}" if call == 0 else "shared",
                f"{cost.get(path, 0):,}" if call == 0 else "shared",
                _trains(layer),
                ", ".join(places[t] for t in dict.fromkeys(_read_by(node)) if t in places),
            ]
        )
        for inner in node.body.calls if node.body is not None and expand_nested else ():
            add(inner, f"{path}/{inner.layer.label}", f"   {indent or '└ '}")

    for node in model.graph.calls:
        add(node, node.layer.label, "")
    add_inputs(model.graph.inputs)
    outer = {node.layer for node in model.graph.calls}
    once = len(model.graph.calls) == len(outer) and len(model.graph.inputs) == 1
    is_stack = once and all(len(_read_by(node)) == 1 for node in model.graph.calls)
    shown = [True, True, True, True, show_trainable, not is_stack]  # a stack reads the one above
    return [[cell for cell, show in zip(row, shown, strict=True) if show] for row in rows]


def _trains(layer: Layer) -> str:
    """Y or N; a dash without weights."""
    if not layer.parameters:
        return "-"
    return "Y" if any(parameter.is_trainable for parameter in layer.parameters) else "N"


def _read_by(node: Node) -> list[Tensor]:
    """What a call was given: inputs, and tensors that it names besides."""
    return [*node.inputs, *tensors_of(node.options)]


def _parents(path: str) -> list[str]:
    """The path of a layer and of all that it lies in: "a/b/c" in "a/b", in "a"."""
    names = path.split("/")
    return ["/".join(names[: i + 1]) for i in range(len(names))]


def _type(layer: Layer) -> str:
    return type(getattr(layer, "model", layer)).__name__


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = {i for i, title in enumerate(rows[0]) if title in ("Param #", "FLOPs")}
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "─" * max(len(line) for line in lines)
    return [rule, lines[0], rule, *lines[1:], rule]


def _totals(model: Model, plan: Plan, what: str, batch_size: int) -> list[str]:
    total = model.count_params()
    trainable = sum(p.size for p in model.parameters if p.is_trainable)
    itemsize = 8 if model.dtype == "float64" else 4
    sizes = "" if model.graph.is_sized else f" and {NOMINAL_SIZE} for None"
    return [
        f"Total params: {total:,} ({readable_bytes(total * itemsize)})",
        f"Trainable params: {trainable:,} ({readable_bytes(trainable * itemsize)})",
        f"Non-trainable params: {total - trainable:,} "
        f"({readable_bytes((total - trainable) * itemsize)})",
        f"One {what} at batch size {batch_size}{sizes}: {sum(map(flops, plan.recorded)):,} FLOPs, "
        f"{len(plan.records)} launches, {readable_bytes(plan.nbytes)} of activations",
        f"Backend: {model.backend.name} ({model.backend.description}), {model.dtype}",
    ]


def _fused(plan: Plan) -> list[str]:
    """One line for each op that stands for several recorded ones."""
    lines = [f"  {record.layer}: {text}" for record in plan.records if (text := _describe(record))]
    return ["Fused:", *lines] if lines else []


def _describe(record: Record) -> str:
    """What was merged into this op; empty if nothing was."""
    name = record.op.name
    activation = record.attributes.get("activation")
    if name == "gemm_bias_act":
        return f"matrix product, bias and {activation}".replace(" and linear", "")
    if name == "gemm_act_backward":
        return f"gradient of the input and the derivative of {activation}"
    if name == "gemm_column_sum":
        return "gradients of kernel and bias"
    if name in ("softmax_cross_entropy", "sigmoid_cross_entropy"):
        return f"{name} from logits"
    if name == "gather" and (record.attributes["scale"], record.attributes["offset"]) != (1, 0):
        return "gather of the mini-batch and rescaling"
    return ""


def readable_bytes(nbytes: int) -> str:
    """A size as Keras prints it: "27.50 KB"."""
    size = float(nbytes)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"
