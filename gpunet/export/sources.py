"""The source text of functions, with all that they use, to be put into one stand-alone file."""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator
from typing import Any

from gpunet.backend.spec import ACTIVATIONS

WIDTH = 100
_FORMULAS = "gpunet.backend.cpu.formulas"


_FORMULA = """def formula(activation, ending="", parameters=()):
    function = (BACKWARD if ending else FORWARD)[activation]
    return functools.partial(function, **dict(zip(PARAMETERS[activation], parameters)))"""


class _Module:
    """The text of a module, and the statement behind each of its names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = inspect.getsource(sys.modules[name]).splitlines()
        body = ast.parse("\n".join(self.lines)).body
        self.statements: dict[str, ast.stmt] = {}
        self._last_lines: dict[ast.stmt, int] = {}
        for statement, following in zip(body, [*body[1:], None], strict=True):
            self._last_lines[statement] = _last_line(statement, following)
            for defined in _defined(statement):
                self.statements[defined] = statement

    def text(self, statement: ast.stmt) -> list[str]:
        """The lines of a statement with the comments above it, without annotations."""
        lines = list(self.lines)
        classes = [n for n in ast.walk(statement) if isinstance(n, ast.ClassDef)]
        fields = [node for each in classes for node in each.body]
        for node in ast.walk(statement):
            if isinstance(node, ast.AnnAssign):
                (_quote if node in fields else _cut)(lines, node)
        first = min([statement.lineno, *_decorator_lines(statement)]) - 1
        while first > 0 and lines[first - 1].startswith("# ") and "---" not in lines[first - 1]:
            first -= 1
        last = self._last_lines[statement]
        functions = [n for n in ast.walk(statement) if isinstance(n, ast.FunctionDef)]
        for function in sorted(functions, key=lambda f: -f.lineno):
            end = function.lineno
            while not lines[end - 1].endswith(":"):
                end += 1
            header = _header(function)
            lines[function.lineno - 1 : end] = header
            last += len(header) - (end - function.lineno + 1)
        return lines[first:last]


class Sources:
    """Collects functions of gpunet and what they use, in an order in which the text can run.

    The modules of gpunet that they stand in import each other's functions by name, not as modules.

    Args:
        activations: the element-wise activations that the text must know; None for all.

    Attributes:
        imports: the import statements that it needs.
        parts: the pieces of text.
    """

    def __init__(self, activations: Collection[str] | None = None) -> None:
        self._activations = ACTIVATIONS if activations is None else activations
        self.imports: set[str] = set()
        self.parts: list[str] = []
        self._modules: dict[str, _Module] = {}
        self._done: set[ast.stmt] = set()
        self._owners: dict[str, str] = {}  # name in the text -> module

    @property
    def names(self) -> set[str]:
        """Every name that the text defines or imports."""
        imported = re.findall(r"(\w+)$", "\n".join(self.imports), re.MULTILINE)
        return {*self._owners, *imported}

    def add(self, function: Callable[..., Any]) -> str:
        """Add a function of a module; returns its name in the text."""
        return self._add(self._module(function.__module__), function.__name__)

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = _Module(name)
        return self._modules[name]

    def _add_formulas(self) -> None:
        """The tables of formulas/__init__.py with the activations that are needed and no others."""
        forward, backward, parameters = [], [], []
        for activation in ACTIVATIONS:
            if activation in self._activations:
                entry = ACTIVATIONS[activation]
                module = self._module(f"{_FORMULAS}.from_{entry.saves}")
                names = [self._add(module, activation + end) for end in ("", "_backward")]
                given = "".join(f", {key}={value!r}" for key, value in entry.parameters.items())
                bound = [f"functools.partial({name}{given})" if given else name for name in names]
                forward.append(f'    "{activation}": {bound[0]},')
                backward.append(f'    "{activation}": {bound[1]},')
                parameters.append(f'    "{activation}": {tuple(entry.parameters)},')
        self.imports.add("import functools")
        self._owners |= dict.fromkeys(("FORWARD", "BACKWARD", "PARAMETERS", "formula"), _FORMULAS)
        text = [
            *("FORWARD = {", *forward, "}", "BACKWARD = {", *backward, "}"),
            *("PARAMETERS = {", *parameters, "}", "", "", _FORMULA),
        ]
        self.parts.append("\n".join(text).replace("=inf", "=float('inf')"))

    def _add(self, module: _Module, name: str) -> str:
        if module.name == _FORMULAS:
            if "formula" not in self._owners:
                self._add_formulas()
            return name
        statement = module.statements[name]
        if isinstance(statement, ast.Import | ast.ImportFrom):
            alias = next(a for a in statement.names if name in (a.asname, a.name))
            origin = statement.module if isinstance(statement, ast.ImportFrom) else None
            if origin is not None and origin.split(".")[0] == "gpunet":
                return self._add(self._module(origin), alias.name)
            start = f"from {origin} " if origin else ""
            end = f" as {alias.asname}" if alias.asname else ""
            self.imports.add(f"{start}import {alias.name}{end}")
            return name
        own = {defined: self._own_name(module, defined) for defined in _defined(statement)}
        if statement not in self._done:
            self._done.add(statement)
            used = {used for used in _used(statement) if used in module.statements}
            new = own | {n: self._add(module, n) for n in sorted(used - own.keys())}
            text = "\n".join(module.text(statement))
            for old in new:
                if new[old] != old:
                    text = re.sub(rf"(?<!\.)\b{old}\b", new[old], text)
            self.parts.append(text)
        return own[name]

    def _own_name(self, module: _Module, name: str) -> str:
        """The name itself, or another one where two modules use the same."""
        number = 1
        new = name
        while self._owners.setdefault(new, module.name) != module.name:
            number += 1
            new = f"{name}_{number}"
        return new


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return []


def _used(node: ast.AST) -> Iterator[str]:
    """The names in some code, leaving out annotations."""
    if isinstance(node, ast.Name):
        yield node.id
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _used(child)


def _last_line(statement: ast.stmt, following: ast.stmt | None) -> int:
    """Where a statement ends: a constant with the string below it that describes it."""
    is_constant = isinstance(statement, ast.Assign | ast.AnnAssign)
    if (
        is_constant
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    ):
        return following.end_lineno or following.lineno
    return statement.end_lineno or statement.lineno


def _decorator_lines(statement: ast.stmt) -> list[int]:
    return [decorator.lineno for decorator in getattr(statement, "decorator_list", [])]


def _cut(lines: list[str], node: ast.AnnAssign) -> None:
    """Take the annotation out of ``name: type = value``."""
    annotation = node.annotation
    if annotation.end_lineno != node.lineno or annotation.end_col_offset is None:
        return
    line = lines[node.lineno - 1].encode()
    start = node.target.end_col_offset
    lines[node.lineno - 1] = (line[:start] + line[annotation.end_col_offset :]).decode()


def _quote(lines: list[str], node: ast.AnnAssign) -> None:
    """Make text of the annotation of a field, ``name: type``, whose names the text may not have."""
    annotation = node.annotation
    names = {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}
    if not names <= vars(builtins).keys():
        line = lines[node.lineno - 1]
        start, end = annotation.col_offset, annotation.end_col_offset
        lines[node.lineno - 1] = f'{line[:start]}"{line[start:end]}"{line[end:]}'


def _header(function: ast.FunctionDef) -> list[str]:
    """``def name(arguments):`` without annotations."""
    indent = " " * function.col_offset
    arguments = copy.deepcopy(function.args)
    for node in ast.walk(arguments):
        if isinstance(node, ast.arg):
            node.annotation = None
    text = ast.unparse(arguments).replace("'", '"')
    return wrap_call(f"{indent}def {function.name}", text, "):")


def wrap(text: str, first: str, rest: str) -> list[str]:
    """Lines of at most WIDTH characters."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def wrap_call(start: str, arguments: str, end: str) -> list[str]:
    """``start(arguments)end`` in one line, or the arguments indented in lines of their own."""
    line = f"{start}({arguments}{end}"
    if len(line) <= WIDTH:
        return [line]
    indent = start[: len(start) - len(start.lstrip())]
    return [f"{start}(", *wrap(arguments, indent + " " * 4, indent + " " * 4), indent + end]
