"""What a layer is: it declares weights and records its forward and its backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import AT_LEAST_0, check_flag, check_names, shown
from gpunet.engine.graph import Graph, Node, Option, Shape, Tensor, tensors_of
from gpunet.engine.parameters import Parameter
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.identifiers import snake_case
from gpunet.layers import calls
from gpunet.layers.context import Context as Context
from gpunet.layers.sizes import sample_shape_of, shapes_out
from gpunet.layers.weights import Weighted, weights_of
from gpunet.saving.configs import describe
from gpunet.structures import flatten, mapped


class Layer(Weighted):
    """Base class of all layers.

    A subclass writes ``forward(op, c)`` and ``backward(op, c)``; if it has weights also
    ``build(input_shape)``, if it changes the shape also ``compute_output_shape(input_shape)``.
    Each op writes a buffer completely and once; several contributions to one gradient add up by
    themselves, and what nobody needs in the end (a frozen weight's gradient) is not run.

    A subclass that is made of other layers writes ``call(x)`` instead, which calls them on symbolic
    tensors and returns what the last one returned. It runs once for each call of the layer, when
    the model is put together, and never with numbers; weights and gradients are those of the
    layers within.

    Args:
        name: the layer's name; given by the model if None (dense, dense_1, ...).
        trainable: whether an optimizer may change its weights.
        learning_rate_factor: by what the optimizer's learning rate is multiplied for its weights.
        input_shape: the shape of one sample, for a first layer without an Input.
        input_dim: the same for vectors.
        activity_regularizer: a penalty on the output, divided by the batch size: "l2".
        **unknown: nothing; raises an error with a suggestion.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or an unknown name.

    Example:
        >>> class Double(Layer):
        ...     def forward(self, op, c):
        ...         op.scale_shift(c.y, c.x, scale=2.0, offset=0.0)
        ...
        ...     def backward(self, op, c):
        ...         op.scale_shift(c.dx, c.dy, scale=2.0, offset=0.0)
        >>> class Twice(Layer):
        ...     def __init__(self, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.double = Double()
        ...
        ...     def call(self, x):
        ...         return self.double(self.double(x))
    """

    inputs: int | None = 1
    """How many inputs a call takes; None for any number."""
    input_dtype = "float32"
    """The dtype of the input that a `Sequential` makes for it as its first layer."""
    integers: int | None = None
    """Its inputs are the integers from 0 on, so many; None for any inputs. `fit`, `evaluate` and
    `predict` check it."""
    takes_arguments = False
    """Whether several inputs come as arguments, ``layer(query, value)``, and not as one list."""
    call_options: tuple[str, ...] = ()
    """What a call may switch on besides, ``use_causal_mask`` for example: ``c.options``."""
    call_tensors: tuple[str, ...] = ()
    """Tensors, or lists of them, that a call may name besides, ``initial_state`` for example: each
    stands on the context under its name, and its gradient under d + name; None if not given."""
    supports_masking = False
    """Whether the mask of its (first) input is that of its output, too; see `compute_mask`."""
    by_position = False
    """Whether each step (axis 1) of the output depends on that step of the inputs alone."""

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        learning_rate_factor: float = 1.0,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        check_names(type(self), unknown)
        if not isinstance(name, str | None) or name == "":
            raise ArgumentError(
                f"{type(self).__name__} takes a string for name, got {shown(name)}."
            )
        self.name = name
        self.named_by_model = False
        self.graphs: WeakSet[Graph] = WeakSet()  # the models that it belongs to
        self.nodes: list[Node] = []  # its calls
        self.sublayers: list[Layer] = []  # what `call` called
        self.trainable = trainable
        self.learning_rate_factor = learning_rate_factor
        self.sample_shape: Shape | None = None
        for shape in (input_shape, input_dim):
            if shape is not None:
                self.sample_shape = sample_shape_of(shape)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.parameters: list[Parameter] = []
        self.built_for: Shape | tuple[Shape, ...] | None = None

    # ------------------------------------------------------------------ for subclasses

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape (batch first, None)."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for inputs of this shape (batch first, None).

        Args:
            input_shape: the shape of the input, or a tuple of them where there are several.

        Returns:
            A shape; or a list of them, for a layer with several outputs: then c.y and c.dy are
            tuples, and what nobody needs of c.dy is None.
        """
        return tuple(input_shape)

    def output_shapes(self, input_shape: Any, options: Mapping[str, Option]) -> list[Shape]:
        """The shapes of all outputs, of which the options of a call may ask for more."""
        shapes = self.compute_output_shape(input_shape)
        return shapes if isinstance(shapes, list) else [shapes]

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Which steps of the output are there.

        Args:
            inputs: the symbolic input, or a tuple of them where there are several.
            mask: the mask of the input, or a tuple of them; None where there is none.

        Returns:
            One of these masks, None, or the shape of a new one, which forward makes: uint8 (1: is
            there, 0: is not), put on the context as ``c.new_mask``. A list of such answers, one for
            each output, where there are several; else the other outputs have no mask.
        """
        del inputs
        if not self.supports_masking:
            return None
        return mask[0] if isinstance(mask, tuple) else mask

    def can_step(self, moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
        """Whether forward works on a few steps of those inputs that move, beside c.positions."""
        return self.by_position and all(moving)

    def passes_through(self, training: bool) -> bool:
        """Whether the output is the input itself under its output shape: then nothing is run."""
        return False

    def forward(self, op: Recorder, c: Context) -> None:
        """Record the ops that write c.y."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(op, c).")

    def backward(self, op: Recorder, c: Context) -> None:
        """Record the ops that write c.dx and the gradients of the weights, given c.dy."""
        raise NotImplementedError(f"{type(self).__name__} needs a method backward(op, c).")

    def add_weight(
        self,
        name: str = "",
        shape: Sequence[int] = (),
        initializer: object = "glorot_uniform",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Parameter:
        """Declare a weight: c.name and c.dname in forward and backward.

        Args:
            name: its name, an identifier.
            shape: its shape.
            initializer: its first values: a name or an Initializer.
            trainable: whether an optimizer may change it.
            regularizer: its penalty in the loss: a name such as "l2", or a Regularizer.
            constraint: what is done to it after each step: a name, or a Constraint.

        Raises:
            ArgumentError: the name is no identifier, or taken; an unknown name of another kind; a
                shape that is none.
            ShapeError: the constraint's axis is none of this weight's, or the regularizer is for
                matrices and this is none.
        """
        taken = {*Context.__annotations__, *(p.name for p in self.parameters)}
        if not name.isidentifier() or name in taken or hasattr(Context, name):
            raise ArgumentError(
                f"a weight of layer {self.label!r} needs an identifier as its name that is not "
                f"taken, got {name!r}."
            )
        constraint, regularizer = constraints.get(constraint), regularizers.get(regularizer)
        for rule in (constraint, regularizer):
            if rule is not None:
                rule.check(tuple(shape))
        start = initializers.get(initializer)
        parameter = Parameter(name, tuple(shape), start, self, trainable, regularizer, constraint)
        self.parameters.append(parameter)
        return parameter

    # ------------------------------------------------------------------ for users

    @property
    def label(self) -> str:
        """The layer's name, or before it has one its class in snake_case."""
        return self.name or self.base_name

    @property
    def base_name(self) -> str:
        """The class in snake_case: what automatic names begin with."""
        return snake_case(type(self).__name__)

    @property
    def is_composite(self) -> bool:
        """Whether it is made of other layers, which ``call`` calls."""
        return hasattr(self, "call")

    def __call__(
        self, *inputs: Any, training: bool | None = None, mask: Any = None, **options: Any
    ) -> Any:
        """Call the layer on symbolic tensors.

        Args:
            inputs: a tensor, or a list of them; what else ``call`` takes if there is one.
            training: None: in fit, not in predict; False: never, True: always act as in training.
            mask: a tensor of dtype "bool" that says which steps of the input are there (a list of
                them, or None, where there are several inputs); None: the mask that it has already.
            options: True or False for what the layer names in ``call_options``, and tensors for
                what it names in ``call_tensors``.

        Returns:
            A tensor, or a list of them; in the structure that ``call`` returned if there is one.

        Raises:
            ArgumentError: something else than symbolic tensors, a wrong number of them, or an
                option that the layer does not have.
            ShapeError: shapes that the layer does not take.
        """
        calls.check_started(self)
        given = {**options, "mask": mask, "training": training}
        said = calls.checked_options(self.label, self.call_options, self.call_tensors, given)
        flat = calls.flat_inputs(self.label, inputs, nested=self.is_composite)
        masks = calls.masks_of(self, flat, said.get("mask"))
        if self.is_composite:
            return self._call_layers(inputs, flat, said, masks)
        wrong_form = (len(inputs) > 1) > self.takes_arguments
        if wrong_form or (self.inputs is not None and len(flat) != self.inputs):
            raise ArgumentError(
                f"layer {self.label!r} takes {self.inputs or 'a list of'} input(s), got {len(flat)}"
                f"{' arguments: write [...]' if len(inputs) > 1 else ''}."
            )
        shapes = tuple(tensor.shape for tensor in flat)
        self.ensure_built(shapes[0] if self.inputs == 1 else shapes)
        outputs = self.shapes_out(shapes, said)
        of_one = (flat[0], masks[0]) if self.inputs == 1 else (tuple(flat), masks)
        answer = self.compute_mask(*of_one)
        answers = answer if isinstance(answer, list) else [answer]
        new = [mask for mask in answers if isinstance(mask, tuple)]
        node = Node(self, inputs, outputs, None, None, said, masks, new)
        made = iter(node.new_masks)
        for output, answer in zip(node.outputs, answers, strict=False):
            output.mask = next(made) if isinstance(answer, tuple) else answer
        return node.result

    shapes_out = shapes_out
    operator = staticmethod(calls.operator)

    def _call_layers(
        self,
        inputs: Sequence[Any],
        flat: Sequence[Tensor],
        options: dict[str, Option],
        masks: Sequence[Tensor | None],
    ) -> Any:
        """Let ``call`` call other layers, and wrap up what they did as one call of this one."""
        if self.built_for is None:
            self.built_for = flat[0].shape if len(flat) == 1 else tuple(t.shape for t in flat)
            is_dict = isinstance(inputs[0], Mapping)
            shape = mapped(lambda tensor: tensor.shape, inputs[0]) if is_dict else self.built_for
            self.build(shape)
        own_weights = any(parameter.layer is self for parameter in self.parameters)
        if self.activity_regularizer is not None or own_weights:
            raise ArgumentError(
                f"layer {self.label!r} has call(), so that weights and activity_regularizer belong "
                "to the layers that it calls; a layer with weights of its own has forward and "
                "backward."
            )
        returned = calls.call_of(self, inputs, options)
        results = flatten(returned)
        if not results or not all(isinstance(result, Tensor) for result in results):
            raise ArgumentError(
                f"call() of layer {self.label!r} must return a symbolic tensor or a list or dict "
                f"of them, got {shown(returned)}."
            )
        known = [*flat, *tensors_of(options), *(mask for mask in masks if mask is not None)]
        found = dict.fromkeys(r.mask for r in results if r.mask not in (None, *known))
        new = [mask for mask in found if mask is not None]
        body = Graph(known, [*results, *new], is_body=True)
        self._adopt(body)
        calls.say_training(body, options)
        shapes = [result.shape for result in results]
        new_shapes = [mask.shape for mask in new]
        node = Node(self, inputs, shapes, returned, body, options, masks, new_shapes)
        outer = dict(zip(new, node.new_masks, strict=True))
        for output, result in zip(node.outputs, results, strict=True):
            output.mask = None if result.mask is None else outer.get(result.mask, result.mask)
        return node.result

    def _adopt(self, body: Graph) -> None:
        """The layers of a call's body, and their weights, are those of this layer."""
        new = [layer for layer in body.layers if layer not in self.sublayers]
        self.sublayers = calls.in_order_of_attributes(self, [*self.sublayers, *new])
        for layer in new:
            if not self.trainable:
                layer.trainable = False
            if self.learning_rate_factor != 1:
                layer.learning_rate_factor = self.learning_rate_factor
        of_all = (p for layer in self.sublayers for p in layer.parameters)
        self.parameters = list(dict.fromkeys(of_all))

    def forget_build(self) -> None:
        """Go back to before the first call, which turned out to be a mistake."""
        self.built_for = None
        self.parameters = []
        self.nodes.clear()
        for layer in self.sublayers:
            layer.forget_build()
        self.sublayers = []

    @property
    def input(self) -> Any:
        """What it was called on first: a symbolic tensor, or a list or dict of them.

        Raises:
            UsageError: the layer has not been called.
        """
        arguments = self._first_node().arguments
        return arguments[0] if len(arguments) == 1 else list(arguments)

    @property
    def output(self) -> Any:
        """What its first call returned: ``Model(model.input, layer.output)`` shows what it does.

        Raises:
            UsageError: the layer has not been called.
        """
        return self._first_node().result

    def _first_node(self) -> Node:
        if not self.nodes:
            raise UsageError(
                f"layer {self.label!r} has no input and output yet: call it on a tensor, or build "
                "the model that it belongs to."
            )
        return self.nodes[0]

    def description(self) -> dict[str, Any]:
        """The layer by plain values, as Keras writes it."""
        return describe(self)

    def ensure_built(self, shape: Any) -> None:
        """Build once; a later call must have the same features."""
        if self.built_for is None:
            self.build(shape)
            self.built_for = shape
        elif self.parameters:
            self.check_same_features(shape)

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if weights that were built for one shape are used for another."""
        if self.built_for is not None and shape[-1] != self.built_for[-1]:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} was built for inputs with last dimension "
                f"{self.built_for[-1]}, got {shape}; make another layer for other features."
            )

    @property
    def trainable(self) -> bool:
        """Whether an optimizer may change its weights; of a layer made of layers, theirs."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag(f"layer {self.label!r}", "trainable", value)
        for layer in self.sublayers:
            layer.trainable = self._trainable

    @property
    def learning_rate_factor(self) -> float:
        """By what the optimizer's learning rate is multiplied for the weights of this layer."""
        return self._learning_rate_factor

    @learning_rate_factor.setter
    def learning_rate_factor(self, value: float) -> None:
        where = f"layer {self.label!r}"
        self._learning_rate_factor = AT_LEAST_0.check(where, "learning_rate_factor", value)
        for layer in self.sublayers:
            layer.learning_rate_factor = self._learning_rate_factor

    @property
    def built(self) -> bool:
        """Whether it knows the shape of its inputs, and thereby of its weights."""
        return self.built_for is not None

    def weight_parameters(self) -> list[Parameter]:
        """Its weights, in the order in which build made them."""
        return weights_of(self.parameters)

    @property
    def _called(self) -> str:
        return f"layer {self.label!r}"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; without input_shape, which a model's Input says."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.learning_rate_factor != 1:
            config["learning_rate_factor"] = self.learning_rate_factor
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = describe(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new layer from `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"
