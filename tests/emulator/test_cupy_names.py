"""The look-alike offers what CuPy 14.2 offers, and gpunet uses nothing that CuPy lacks.

What gpunet uses is read off the source of gpunet/backend/cuda, so that the list cannot drift:
every name that starts at ``cp``, and every attribute and call of what it returns, as far as the
look-alike's own annotations say what that is.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from pathlib import Path

from gpunet.emulator import cupy as cp
from gpunet.emulator.functions import AS_NUMPY, METHODS

SOURCES = sorted((Path(__file__).parents[2] / "gpunet" / "backend" / "cuda").glob("*.py"))
CLASSES = {
    "ndarray": cp.ndarray,
    "RawModule": cp.RawModule,
    "RawKernel": cp.RawKernel,
    **{f"cuda.{n}": value for n in cp.cuda.__all__ if inspect.isclass(value := vars(cp.cuda)[n])},
}
PATHS = {value: path for path, value in CLASSES.items()}
# By their names in gpunet/backend/cuda, since Any is the type of all of them there.
CONVENTIONS = {
    "cp": cp,
    "_cp": cp,
    "array": cp.ndarray,
    "kernel": cp.RawKernel,
    "stream": cp.cuda.Stream,
    "event": cp.cuda.Event,
    "graph": cp.cuda.Graph,
    "pinned": cp.cuda.PinnedMemoryPointer,
}


# ------------------------------------------------------------------ what a callable takes


def look_alike_parameters(function):
    """The parameters of a callable of the look-alike, without self."""
    parameters = list(inspect.signature(function).parameters.values())
    return [p for p in parameters if p.name not in ("self", "cls")]


def real_parameters(function):
    """The same of CuPy; Cython writes signatures into the first line of docstrings."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
        if inspect.isfunction(function) or all(p.name != "args" for p in parameters):
            return [p for p in parameters if p.name not in ("self", "cls")]
    except (ValueError, TypeError):
        pass
    if type(function).__name__ == "ufunc":
        return parsed_parameters("x1, x2, /, out=None, **kwargs")
    text = re.search(r"\w\((.*?)\)(?: ->|\n|$)", inspect.getdoc(function) or "")
    assert text is not None, f"CuPy does not say what {function} takes"
    return parsed_parameters(text.group(1))


def parsed_parameters(text):
    """The parameters of ``self, size_t size, stream=None, *, bool jitify=False``."""
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for piece in filter(None, re.split(r",\s*(?![^(]*\))", text)):
        name, _, default = piece.strip().partition("=")
        name = name.split()[-1].replace("\\", "")
        if name == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif name.startswith("**"):
            parameters.append(inspect.Parameter(name[2:], inspect.Parameter.VAR_KEYWORD))
        elif name.startswith("*"):
            parameters.append(inspect.Parameter(name[1:], inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        elif name not in ("self", "/"):
            value = ast.literal_eval(default) if is_literal(default) else default
            default = inspect.Parameter.empty if default == "" else value
            parameters.append(inspect.Parameter(name, kind, default=default))
    return parameters


def is_literal(text):
    return re.fullmatch(r"None|True|False|-?\d+|'[^']*'|\(\)", text) is not None


# ----------------------------------------------------------------- what the look-alike offers


def offered():
    """(path, value) of everything public in the look-alike."""
    yield from ((name, vars(cp)[name]) for name in cp.__all__)
    for name in cp.cuda.__all__:
        yield f"cuda.{name}", vars(cp.cuda)[name]
    yield from ((name, cp.__getattr__(name)) for name in sorted(AS_NUMPY))
    yield from ((f"ndarray.{name}", None) for name in sorted(METHODS))
    yield from ((f"testing.{name}", vars(cp.testing)[name]) for name in cp.testing.__all__)
    yield from ((f"random.{name}", vars(cp.random)[name]) for name in cp.random.__all__)
    runtime = vars(cp.cuda.runtime)
    names = {n for n in runtime if re.match(r"(mem|stream|get|set|driver|runtime|device|is_)", n)}
    yield from ((f"cuda.runtime.{name}", runtime[name]) for name in sorted(names - {"memory"}))
    yield "cuda.runtime.CUDARuntimeError", runtime["CUDARuntimeError"]
    yield "cuda.driver.CUDADriverError", cp.cuda.driver.CUDADriverError
    yield "cuda.compiler.CompileException", cp.cuda.compiler.CompileException
    for path, kind in CLASSES.items():
        for name in dir(kind):
            special = name.startswith("__") and hasattr(object, name)
            if not special and (not name.startswith("_") or name.endswith("__")):
                yield f"{path}.{name}", inspect.getattr_static(kind, name)


# What every Python class has, and what keeps the look-alike's own house.
PYTHONS_OWN = {
    *("__dict__", "__weakref__", "__module__", "__annotations__", "__abstractmethods__"),
    *(
        "__imatmul__",
        "__getattr__",
        "__firstlineno__",
        "__static_attributes__",
        "__slots__",
        "__del__",
        "__match_args__",
    ),
    *("cuda.Graph.from_nodes", "cuda.Memory.damage", "cuda.MemoryPool.add"),
}
OFFERED = {
    path: value
    for path, value in offered()
    if not {path, path.rpartition(".")[2]} & PYTHONS_OWN and not path.startswith("dtype.")
}


def resolve(root, path):
    value = root
    for name in path.split("."):
        documented = re.search(rf"~(\w+\.)?{name} ?\(", getattr(value, "__doc__", None) or "")
        # What only instances have is told by the docstring of the class.
        value = getattr(value, name, None) if documented else getattr(value, name)
    return value


def differences(path, value, real):
    """Say where the parameters of a function differ from those of CuPy's."""
    theirs, mine = {p.name: p for p in real_parameters(real)}, look_alike_parameters(value)
    for number, parameter in enumerate(mine):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in theirs:
            yield f"{path} has no parameter {parameter.name}: {[*theirs]}"
            continue
        positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if positional and [*theirs][number] != parameter.name:
            yield f"{path} has its parameters in another order: {[*theirs]}"
        defaults = (parameter.default, theirs[parameter.name].default)
        comparable = all(isinstance(d, int | str | types.NoneType) for d in defaults)
        if comparable and defaults[0] != defaults[1]:
            yield f"{path} has another default of {parameter.name}: {defaults[1]}"
    needed = {p.name for p in theirs.values() if p.default is p.empty and p.kind < p.VAR_KEYWORD}
    if not any(p.kind is p.VAR_POSITIONAL for p in mine):
        left = needed - {p.name for p in mine} - {"shape", "axes"}  # *shape in one of the two
        if left:
            yield f"{path} needs {left}"


def test_cupy_has_what_the_look_alike_offers(real_cupy):
    problems = []
    for path, value in OFFERED.items():
        try:
            real = resolve(real_cupy, path)
        except AttributeError:
            problems.append(f"CuPy has no {path}")
            continue
        if isinstance(value, int | float | str) and value != real and path != "nan":
            problems.append(f"{path} is {real}")
        if inspect.isfunction(value) and not path.endswith("__"):
            problems += differences(path, value, real)
    assert problems == []
    assert len(OFFERED) > 200


# ------------------------------------------------------------------------ what gpunet uses


class Uses(ast.NodeVisitor):
    """Finds (path, call or None) of everything in a file that belongs to CuPy."""

    def __init__(self, tree):
        self.found = []
        self.known = dict(CONVENTIONS)  # what names and attributes of self stand for
        self.visit(tree)

    def visit_arg(self, node):
        if node.annotation is not None and re.match(r"Array\b", ast.unparse(node.annotation)):
            self.known[node.arg] = cp.ndarray
        elif node.arg not in CONVENTIONS:
            self.known.pop(node.arg, None)

    def visit_withitem(self, node):
        self.generic_visit(node)
        if isinstance(node.optional_vars, ast.Name):
            self.known[node.optional_vars.id] = self.kind(node.context_expr)

    def visit_Assign(self, node):
        self.generic_visit(node)
        kind = self.kind(node.value)
        for target in node.targets:
            name = getattr(target, "id", getattr(target, "attr", None))
            if name and name not in CONVENTIONS:
                self.known[name] = kind

    def visit_Call(self, node):
        self.generic_visit(node)
        callee = self.kind(node.func)
        if callee is cp.RawKernel and isinstance(node.func, ast.Name):
            self.found.append(("RawKernel.__call__", node))
        elif isinstance(node.func, ast.Attribute) and (path := self.path(node.func)):
            self.found.append((path, node))

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if path := self.path(node):
            self.found.append((path, None))

    def path(self, node):
        """The dotted path of an attribute below cupy, or None."""
        owner = self.kind(node.value)
        if inspect.ismodule(owner) and owner.__name__.startswith("gpunet.emulator"):
            prefix = {cp: "", cp.cuda: "cuda.", cp.cuda.runtime: "cuda.runtime."}[owner]
            return prefix + node.attr
        if inspect.isclass(owner):
            return f"{PATHS[owner]}.{node.attr}" if owner in PATHS else None
        if getattr(node.value, "id", None) in ("device", "self"):  # gpunet's own
            return None
        candidates = [path for path, kind in CLASSES.items() if node.attr in vars(kind)]
        unmistakable = len(candidates) == 1 and candidates[0] != "ndarray"
        return f"{candidates[0]}.{node.attr}" if unmistakable else None

    def kind(self, node):
        """What an expression stands for: a module, a class for its instances, or None."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            if getattr(node.value, "id", None) == "self":
                return self.known.get(node.attr)
            owner = self.kind(node.value)
            value = getattr(owner, node.attr, None) if owner is not None else None
            return self.returned(value.fget) if isinstance(value, property) else value
        if isinstance(node, ast.Call):
            callee = self.kind(node.func)
            return callee if inspect.isclass(callee) else self.returned(callee)
        return None

    @staticmethod
    def returned(function):
        try:
            kind = typing.get_type_hints(function).get("return")
        except (TypeError, NameError):
            return None
        return kind if kind in PATHS else None


USES = [
    (path, call, f"{source.name}:{getattr(call, 'lineno', 0)}")
    for source in SOURCES
    for path, call in Uses(ast.parse(source.read_text("utf-8"))).found
]


def test_the_uses_are_found():
    calls = {path for path, call, _ in USES if call is not None}
    assert calls >= {
        *("empty", "zeros", "cuda.get_current_stream", "cuda.Stream.synchronize"),
        *("cuda.runtime.getDevice", "cuda.runtime.getDeviceProperties"),
        *("RawModule", "RawModule.get_function", "RawKernel.__call__"),
        *("ndarray.get", "ndarray.set", "ndarray.view"),
    }
    assert {path for path, *_ in USES} >= {"ndarray", "ndarray.dtype", "ndarray.shape"}


def test_cupy_has_what_gpunet_uses(real_cupy):
    problems = []
    for path, call, place in USES:
        try:
            real = resolve(real_cupy, path)
        except AttributeError:
            problems.append(f"{place}: CuPy has no {path}")
            continue
        if call is None:
            continue
        if path == "RawKernel.__call__":  # its keywords are those of a Function
            parameters = parsed_parameters("grid, block, args, shared_mem=0, stream=None")
        else:
            parameters = real_parameters(real)
        try:
            keywords = {keyword.arg: "?" for keyword in call.keywords if keyword.arg}
            inspect.Signature(parameters).bind(*call.args, **keywords)
        except TypeError as error:
            problems.append(f"{place}: cupy.{path} does not take this: {error}")
    assert problems == []
