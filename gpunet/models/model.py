"""`Model`: any graph of layers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import backend as backends
from gpunet import random
from gpunet.backend.base import Backend
from gpunet.backend.spec import FULL, Array
from gpunet.engine.eager import infer_eagerly
from gpunet.engine.graph import Graph, Tensor
from gpunet.engine.infer import InferPlan
from gpunet.engine.inputs import device_dtype
from gpunet.engine.parameters import Block, Parameter, Span, spans_of
from gpunet.engine.plan import Plan
from gpunet.engine.samples import Samples
from gpunet.engine.steps import TRAIN, StepPlan
from gpunet.engine.summary import print_summary
from gpunet.errors import ArgumentError, UsageError
from gpunet.identifiers import snake_case
from gpunet.layers.weights import Weighted, block_of, read_parameter, weights_of
from gpunet.models.nested import NestedModel, layer_from_description
from gpunet.models.structure import take_dtypes, with_inputs
from gpunet.models.subclassed import Subclassed
from gpunet.saving.compiled import compile_config
from gpunet.saving.configs import CustomObjects
from gpunet.saving.model_configs import graph_config, graph_from_config
from gpunet.saving.weights import load_weights, save_weights
from gpunet.structures import Form, flatten

if TYPE_CHECKING:
    from gpunet.engine.profile import Profile


class Model(Subclassed, Weighted):
    """A graph of layers between inputs and outputs.

    Called on symbolic tensors it is a layer of another model, which shares its weights. A subclass
    may write ``call(inputs)`` in place of inputs and outputs: it calls the layers, which are
    attributes, and returns what they give. It runs once, on symbolic tensors, when `build`, `fit`
    or a first call says the shape of the inputs, and what the model is then is this graph.

    Args:
        inputs: a symbolic input, or a list or dict of them, nested in any way. Those of a dict come
            in the order of its sorted keys, as in Keras.
        outputs: a symbolic output, or a list or dict of them, nested in any way.
        name: a name for messages and the summary.

    Raises:
        ArgumentError: an output depends on an input that is not given.

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((4,))
        >>> hidden = layers.Dense(4, "tanh")(x)
        >>> model = Model(x, layers.Add()([x, hidden]))
        >>> model.count_params()
        20
    """

    _layer: NestedModel | None = None
    is_stack = False
    """Whether its config is Keras' of a Sequential."""

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
    ) -> None:
        if inputs is None and outputs is None and hasattr(self, "call"):
            self._start(snake_case(type(self).__name__), name)
            return
        first, last = flatten(inputs), flatten(outputs)
        for tensor in (tensors := [*first, *last]):
            if not isinstance(tensor, Tensor):
                raise ArgumentError(
                    "Model takes symbolic inputs and outputs, as gpunet.Input and calls of layers "
                    f"return them, got {type(tensor).__name__}."
                )
        if len(tensors) < 2 or not last or len(set(first)) < len(first):
            raise ArgumentError(
                "Model takes at least one input and one output, and each input once, got "
                f"{len(first)} inputs and {len(last)} outputs."
            )
        self._start("model", name)
        self._finish(Graph(*with_inputs(first, last)), inputs, outputs)

    def _start(self, default_name: str, name: str | None) -> None:
        super().__init__()
        self.name = name or default_name
        self.named_by_user = name is not None
        self.dtype = "float32"

    def _finish(self, graph: Graph, inputs: Any, outputs: Any) -> None:
        """Take a graph, and the structures of its inputs and outputs.

        Weights that have no block yet get one, on today's backend.
        """
        take_dtypes(graph)
        blocks = [p.block for p in graph.parameters if p.block]
        self.backend_at_build = backends.get_backend()
        self.backend: Backend = blocks[0].backend if blocks else self.backend_at_build
        self.dtype = blocks[0].dtype if blocks else "float32"
        fresh = [p for p in graph.parameters if p.block is None]
        if fresh:
            Block(fresh, self.backend, self.dtype)
        graph.spans = spans_of(graph.parameters)
        self._forms = (
            Form(inputs, (tensor.layer for tensor in graph.inputs), "input"),
            Form(outputs, (tensor.layer for tensor in graph.outputs), "output"),
        )
        self._graph = graph

    def ensure_built(self, x: Any) -> None:
        """A functional model is built from the start; its weights must be where it is.

        Raises:
            UsageError: another model that shares a layer has been moved.
        """
        super().ensure_built(x)
        for block in self.blocks:
            if block.backend is not self.backend or block.dtype != self.dtype:
                raise UsageError(
                    f"{self.name} runs on {self.backend.name} in {self.dtype}, but weights that it "
                    f"shares with another model were moved to {block.backend.name} in "
                    f"{block.dtype}; move it, too, with model.to(...)."
                )

    def as_layer(self) -> NestedModel:
        """What stands for the model in the graph of another one."""
        if self._layer is None:
            self._layer = NestedModel(self)
        self._layer.sample_shape = self.first_shape  # which may not have been known before
        return self._layer

    # ---------------------------------------------------------------------- weights

    @property
    def parameters(self) -> list[Parameter]:
        """All weights, in the order of the layers."""
        return weights_of(self.graph.parameters)

    @property
    def spans(self) -> list[Span]:
        """The stretches of flat buffers that hold the weights."""
        return self.graph.spans

    @property
    def blocks(self) -> list[Block]:
        """The blocks of those stretches."""
        return [span.block for span in (self._graph or self.graph).spans]

    def weight_parameters(self) -> list[Parameter]:
        """All weights, in the order of the layers."""
        return self.parameters

    @property
    def _called(self) -> str:
        return self.name

    @property
    def losses(self) -> list[float]:
        """The penalty of each trainable weight that has a regularizer, as the weights are now."""
        return [
            p.regularizer(read_parameter(p))
            for p in self.parameters
            if p.regularizer is not None and p.is_trainable
        ]

    def get_gradients(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the gradients of all weights, as the last backward left them."""
        blocks = [(block_of(parameter), parameter) for parameter in self.parameters]
        return [block.backend.to_numpy(block.gradient(p)) for block, p in blocks]

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Save all weights in an .npz file, complete or not at all; see `gpunet.saving`."""
        save_weights(self, path, overwrite)

    def load_weights(self, path: Any) -> None:
        """Load weights from `save_weights`; nothing changes if they do not fit."""
        load_weights(self, path)

    def to(self, backend: str | Backend | None = None, dtype: str | None = None) -> Model:
        """Move the model to another backend.

        Args:
            backend: "numpy", "numba", "cupy", "emulator" or "auto".
            dtype: "float32", or "float64" for gradient checks on the CPU.

        Returns:
            The model.

        Raises:
            BackendUnavailable: the backend cannot be used here; the model stays where it is.
            ArgumentError: no such backend, or it does not compute in this dtype.
        """
        parameters = self.graph.parameters
        new = backend if isinstance(backend, Backend) else self.backend
        if backend is not None and not isinstance(backend, Backend):
            new = backends.backend_named(backend)
        dtype = dtype or self.dtype
        if dtype not in FULL:
            raise ArgumentError(f"models compute in {' or '.join(FULL)}, got {dtype!r}.")
        if dtype != "float32" and new.name not in ("numpy", "numba"):
            raise ArgumentError(
                f"{new.name} computes in float32, got {dtype}; pass dtype='float32', too."
            )
        for block in {block_of(parameter) for parameter in parameters}:
            block.move(new, dtype)
        self.backend, self.dtype = new, dtype
        self.backend_at_build = backends.get_backend()
        self.forget_plans()
        if self.is_compiled:
            self.optimizer.attach(new, self.spans)
        return self

    # ------------------------------------------------------------------------ plans

    def step_plan(self, mode: str, rows: int, samples: Samples) -> StepPlan:
        """The plan of a training or evaluation step, made once."""
        key = (mode, rows, samples.signature, self.weights_key())
        return self.plans.get(key, lambda: StepPlan(self, mode, rows, samples))

    def training_plan(self, batch_size: int) -> Plan:
        """The plan of a training step on float32 data with one batch of this size.

        Sizes that differ from batch to batch are `graph.NOMINAL_SIZE`.
        """
        self.prepare(None)
        shapes = self.graph.nominal_shapes(batch_size)
        x = [np.zeros(s, t.dtype) for s, t in zip(shapes, self.graph.inputs, strict=True)]
        outputs = self.graph.output_shapes(shapes)
        y: list[Any] = [None] * len(outputs)
        for head in self.heads:
            shape = outputs[head.output]
            y[head.output] = np.zeros(shape[:-1] if head.loss.sparse else shape, np.float32)
        samples = self.samples(self.input_form.packed(x), self.output_form.packed(y))
        return self.step_plan(TRAIN, batch_size, samples).plan

    def inference_plan(self, batch_size: int) -> Plan:
        """The plan of inference on one batch of this size; unknown sizes as `training_plan`."""
        dtypes = tuple(device_dtype(tensor, self.dtype) for tensor in self.graph.inputs)
        shapes = self.graph.nominal_shapes(batch_size)
        key = ("infer", *shapes, dtypes, self.places_key())
        return self.plans.get(key, lambda: InferPlan(self, shapes, dtypes)).plan

    def forward_batch(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """The outputs for one batch in inference, as NumPy arrays."""
        if self.run_eagerly:
            return infer_eagerly(self, arrays)
        shapes = [array.shape for array in arrays]
        key = ("infer", *shapes, tuple([array.dtype for array in arrays]), self.places_key())
        plan = self.plans.get(key, lambda: InferPlan(self, shapes, self._dtypes(arrays)))
        lease = self.arenas.lease(self.backend, plan.plan.nbytes)
        try:
            return plan.run(lease, arrays)
        finally:
            self.arenas.release(lease)

    def generate(
        self,
        prompts: Any,
        max_length: int | None = None,
        end: int | None = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        beams: int = 1,
        length_penalty: float = 0.6,
        seed: int | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Go on with sequences of tokens, one token a step, without computing the past again.

        The output at a position is taken for the logits of the token that comes next, or for its
        probabilities where the model ends with a softmax. See `gpunet.engine.generation` for which
        layers can do that: those that look at each position by itself, and causal attention.

        Args:
            prompts: the first tokens of a sequence, or a list of such lists, of any lengths.
            max_length: how many tokens a sequence has at most, the prompt's among them; as many as
                the model's input has if None.
            end: the token that ends a sequence.
            temperature: below 1 favours likely tokens; 0 takes the likeliest, see
                `gpunet.text.sample`.
            top_k: how many tokens may be chosen from.
            top_p: the share of probability that may be chosen from, in (0, 1].
            beams: how many hypotheses to keep at each step: above 1 this is a
                `gpunet.text.beam_search`, and nothing is drawn.
            length_penalty: of the beam search.
            seed: for what is drawn; None follows `gpunet.utils.set_random_seed`.
            inputs: the model's other inputs by name, an encoder's for example, with one sample for
                each prompt.

        Returns:
            A list of token numbers that begins with the prompt; a list of lists for several.

        Raises:
            ArgumentError: prompts that are none or leave no room; arguments out of their range.
            UsageError: a layer needs whole sequences.

        Example:
            >>> from gpunet import Input, Model, layers
            >>> tokens = Input((8,), dtype="int32")
            >>> x = layers.TokenAndPositionEmbedding(10, 8, 4)(tokens)
            >>> model = Model(tokens, layers.Dense(10)(layers.TransformerDecoder(8, 2)(x)))
            >>> len(model.generate([1, 2, 3]))
            8
        """
        from gpunet.models.generation import generate  # which no training needs

        generator = None if seed is None else random.seeded_stream(seed)
        choice = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": generator}
        return generate(self, prompts, max_length, end, beams, length_penalty, inputs, choice)

    # ---------------------------------------------------------------------- configs

    def get_config(self) -> dict[str, Any]:
        """The layers and how they are connected, in Keras' form; without weights."""
        return graph_config(self.name, self.graph, self.input_form, self.output_form)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None
    ) -> Model:
        """A new model, with fresh weights, from `get_config`.

        Args:
            config: what get_config returned, here or in Keras.
            custom_objects: classes of your own by name; no other class is ever looked up.

        Raises:
            ArgumentError: the config describes no model, or names an unknown class.
            ShapeError: its layers do not fit together.
        """
        inputs, outputs, name = graph_from_config(config, custom_objects, layer_from_description)
        return cls(inputs, outputs, name)

    def to_json(self, **kwargs: Any) -> str:
        """The config, and how the model was compiled, as JSON that `model_from_json` reads.

        Args:
            **kwargs: for json.dumps: ``indent=2``.
        """
        compiled = compile_config(self) if self.is_compiled else {}
        return json.dumps({**self.description(), "compile_config": compiled}, **kwargs)

    def description(self) -> dict[str, Any]:
        """The model by plain values, in Keras' form; without weights."""
        return {
            "module": "keras" if self.is_stack else "keras.src.models.functional",
            "class_name": "Sequential" if self.is_stack else "Functional",
            "config": self.get_config(),
            "registered_name": None,
        }

    # ---------------------------------------------------------------------- summary

    def summary(
        self, batch_size: int = 32, print_fn: Callable[[str], Any] = print, **options: bool
    ) -> None:
        """Print layers, shapes, weights, memory, FLOPs, what is fused and what runs where.

        Args:
            batch_size: the batch size that memory and FLOPs are given for, if no Input has one.
            print_fn: what prints a line.
            options: Keras' expand_nested, rows for what lies within, and show_trainable.
        """
        print_summary(self, batch_size, print_fn, **options)

    def profile(self, x: Any, y: Any, steps: int = 10) -> Profile:
        """Time each op of a training step on one batch; weights and counters stay as they are.

        Args:
            x: one batch.
            y: its targets.
            steps: how many steps to average over, after two to warm up.

        Returns:
            A table, slowest op first, with calls, milliseconds, share, FLOPs and least bytes of
            one step; print it.

        Raises:
            UsageError: the model is not compiled.
            ArgumentError: steps is not a positive integer.
        """
        from gpunet.engine.profile import profile

        return profile(self, x, y, steps)

    def export_step(
        self,
        path: str | os.PathLike[str],
        batch_size: int | tuple[Any, Any] = 32,
        overwrite: bool = True,
    ) -> None:
        """Write a training step as a commented NumPy script that needs no gpunet.

        The script has the arrays of this model by name, one section for each layer's forward and
        backward, and the source of the ops. From the same weights and data it comes to the same
        weights as `train_on_batch` on the CPU, bit for bit, with an optimizer that starts anew.

        Args:
            path: the file, ending in .py; written completely or not at all.
            batch_size: samples a step; or one batch (x, y), whose dtypes the script then takes.
            overwrite: whether an existing file may be replaced.

        Raises:
            UsageError: the model is not compiled, or a layer runs Python code of its own.
            ArgumentError: another ending, a batch size that is none, or a file that exists and may
                not be replaced.
        """
        from gpunet.export import export_step  # it needs the CPU's ops on every device

        export_step(self, path, batch_size, overwrite)

    def __repr__(self) -> str:
        where = f"on {self.backend.name}" if self._graph is not None else "not built"
        return f"<{type(self).__name__} {self.name} {where}>"
