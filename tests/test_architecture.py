"""Who may import whom, and what may stand in no file: the laws of the design, read off the source.

Rooms are ranked; a module imports from lower ranks, or from its own room.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "gpunet"
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 450

RANKS = [
    ["errors"],
    ["arguments"],
    [
        "identifiers",
        "structures",
        "random",
        "progress",
        "geometry",
        "backend.spec",
        "backend.precision",
    ],
    ["engine.order"],
    ["saving.configs", "schedules"],
    ["utils", "initializers", "callbacks", "datasets", "backend.contract"],
    ["text"],
    ["emulator", "backend.base", "backend.uploads", "backend.cpu", "backend.cuda"],
    ["backend", "pytest_plugin"],
    ["ops", "engine.graph", "engine.recorder", "engine.moves", "engine.parameters", "engine.data"],
    ["activations", "losses", "optimizers", "engine.cost", "engine.fusion"],
    ["regularizers", "constraints"],
    ["metrics"],
    ["layers", "engine.plan"],
    ["engine", "saving"],  # the rest of the engine runs layers, losses and optimizers
    ["export"],
    ["models"],
    ["testing"],
    ["inspection"],
    [""],  # gpunet/__init__.py
    ["doctor"],
    ["__main__"],
]


def module_name(file):
    """The dotted name below gpunet: "engine.plan"; "" for gpunet itself."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


@cache
def tree(file):
    return ast.parse(file.read_text("utf-8"))


def statements(file, inside_functions=True):
    """All nodes of a file but those that only type checkers see."""
    stack = list(tree(file).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if not inside_functions and isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        yield node
        stack.extend(ast.iter_child_nodes(node))


def imports(file, inside_functions=True):
    """The modules that a file imports, by full name."""
    for node in statements(file, inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                below = f"{node.module}.{alias.name}".removeprefix("gpunet.")
                yield f"gpunet.{below}" if below in MODULES else node.module


def own_imports(file, inside_functions=True):
    """The same for modules of gpunet, below gpunet."""
    for name in imports(file, inside_functions):
        if name == "gpunet" or name.startswith("gpunet."):
            yield name.removeprefix("gpunet").removeprefix(".")


def rank(name):
    """The rank of the longest entry that a module lies in, and that entry."""
    entries = [
        (len(entry), number, entry)
        for number, row in enumerate(RANKS)
        for entry in row
        if entry == name or (entry and name.startswith(f"{entry}."))
    ]
    assert entries, f"give {name} a rank"
    _, number, entry = max(entries)
    return number, entry


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "gpunet")
def test_nothing_imports_upwards(name):
    number, entry = rank(name)
    for other in own_imports(MODULES[name]):
        other_number, other_entry = rank(other)
        same_room = entry.split(".")[0] == other_entry.split(".")[0]
        fine = other_number < number or (other_number == number and same_room)
        assert fine, f"{name} imports {other}, which stands higher"


def test_no_import_goes_in_circles():
    graph = {
        name: set(own_imports(file, inside_functions=False)) - {name}
        for name, file in MODULES.items()
    }
    while graph:
        leaves = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert leaves, f"these import each other: {sorted(graph)}"
        for leaf in leaves:
            del graph[leaf]


ALLOWED = {
    "layers": [
        *("layers", "activations", "initializers", "regularizers", "constraints"),
        *("arguments", "errors", "identifiers", "geometry", "structures", "saving.configs"),
        *("engine.graph", "engine.recorder", "engine.parameters", "engine.data", "engine.moves"),
    ],
    "activations": [
        *("activations", "backend", "ops", "arguments", "errors", "identifiers"),
        *("engine.recorder", "engine.moves", "engine.graph"),
    ],
    "metrics": [
        *("metrics", "losses", "arguments", "errors", "identifiers"),
        *("engine.recorder", "engine.data", "backend"),
    ],
    "ops": ["ops", "backend", "errors", "geometry"],
    "backend.cpu": ["backend", "errors"],
    "backend.contract": ["backend.contract", "backend.spec", "errors"],
    "emulator": ["emulator", "errors"],
    "pytest_plugin": ["emulator", "errors"],
    "saving": [
        *("saving", "layers", "engine.graph", "arguments", "errors", "identifiers", "structures"),
        *("losses", "metrics", "optimizers"),
    ],
    "datasets": ["datasets", "errors", "random"],
}


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_knows_only_its_neighbours(room):
    for name, file in MODULES.items():
        if name == room or name.startswith(f"{room}."):
            for other in own_imports(file):
                known = any(other == a or other.startswith(f"{a}.") for a in ALLOWED[room])
                assert known, f"{name} imports {other}"


def test_the_engine_knows_no_device():
    for name, file in MODULES.items():
        if name.startswith("engine"):
            for other in own_imports(file):
                assert not other.startswith(("backend.cpu", "backend.cuda", "emulator", "ops")), (
                    name
                )


def test_nobody_imports_cupy_but_the_choice_of_the_backend():
    for name, file in MODULES.items():
        assert not any(i.split(".")[0] == "cupy" for i in imports(file)), name
    dynamic = {
        name
        for name, file in MODULES.items()
        for node in statements(file)
        if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }
    assert dynamic <= {"backend", ""}  # gpunet/__init__.py imports three modules when used


# ------------------------------------------------------------------- what stands nowhere

FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "gpunet")
def test_no_assert_eval_exec_or_pickle(name):
    file = MODULES[name]
    for node in ast.walk(tree(file)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), where
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", None) not in FORBIDDEN_CALLS, where
            for keyword in node.keywords:
                safe = keyword.arg != "allow_pickle" or keyword.value.value is False
                assert safe, where
            if getattr(node.func, "attr", None) == "load" and "np" in ast.dump(node.func):
                assert "allow_pickle" in {k.arg for k in node.keywords}, where
    assert not {i.split(".")[0] for i in imports(file)} & FORBIDDEN_MODULES


# The emulator is a device: it has memory and streams, as a driver has. OPS is filled on import.
STATEFUL = {"backend", "backend.precision", "random", "backend.spec"}
MUTATORS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "remove"}


def changed_names(file):
    """Names of the module's own variables that its functions change."""
    own = {
        target.id
        for node in tree(file).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    functions = [n for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef)]
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Global):
            yield from node.names
        target = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            target = node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in MUTATORS:
            target = node.func.value
        if isinstance(target, ast.Name) and target.id in own:
            yield target.id


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "gpunet")
def test_state_lives_in_objects_not_in_modules(name):
    if name not in STATEFUL and not name.startswith("emulator"):
        assert set(changed_names(MODULES[name])) == set()


def test_the_only_state_is_the_backend_and_the_seed():
    assert set(changed_names(MODULES["backend"])) == {"_chosen"}
    assert set(changed_names(MODULES["backend.precision"])) == {"_precision"}
    assert set(changed_names(MODULES["random"])) == {"_seed", "_stream_numbers"}
    assert set(changed_names(MODULES["backend.spec"])) == {"OPS"}


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "gpunet")
def test_files_are_short(name):
    assert len(MODULES[name].read_text("utf-8").splitlines()) <= LONGEST
