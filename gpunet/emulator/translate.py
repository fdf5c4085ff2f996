"""Turns preprocessed CUDA C++ into C++ that g++ compiles.

Only three words of the dialect need more than a macro: ``__global__`` (the kernels have to be
listed), ``__launch_bounds__`` (its argument is a limit to check) and ``__shared__`` (a static
variable, or the one dynamic buffer). They are rewritten in the preprocessed text, where macros
are expanded and comments gone. Line numbers stay as they are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SOURCE_FOLLOWS = "struct gpunet_emulator_source_follows;"

# String and character literals and line marks, so that nothing inside of them is seen.
# (A quote behind a digit separates digits: 1'000.)
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'"
    r"|^\#[^\n]*"
    r"|[{};]"
    r"|\b(?:__global__|__shared__)",
    re.MULTILINE,
)
_WORD = re.compile(r"(?:\s|^\#[^\n]*\n)*(\w+)\s*", re.MULTILINE)
_ALIGNMENT = re.compile(
    r"__attribute__\s*\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)|alignas\s*\([^()]*\)"
)
_UNSIZED_ARRAY = re.compile(r"(?s)(.*?)(\w+)\s*\[\s*\]((?:\s*\[[^\]]*\])*)\s*")

_QUALIFIERS = {"const", "volatile", "struct", "__restrict__", "__restrict"}
_TYPES = {"bool", "char", "short", "int", "long", "float", "double", "unsigned", "signed"}
_KERNEL_ATTRIBUTES = "__attribute__((noinline))"
# Each variable has a section of its own: g++ refuses one section for variables of inline and of
# other functions. See include/emulator/link.ld.
_SHARED_ATTRIBUTES = '__attribute__((section("gpunet_shared.{number}")))'

_MODULE = """
# 1 "gpunet_emulator_module"
namespace gpunet_emulator {{
const RuntimeApi* api;
Index thread_index, block_index, block_extent, grid_extent;
unsigned char dynamic_shared[max_dynamic_shared + dynamic_shared_guard];
extern "C" GPUNET_HIDDEN unsigned char gpunet_emulator_shared_begin[];
extern "C" GPUNET_HIDDEN unsigned char gpunet_emulator_shared_end[];
extern "C" GPUNET_HIDDEN unsigned char __ehdr_start[], _end[];
extern "C" __attribute__((visibility("default"))) const ModuleInfo* gpunet_emulator_module() {{
static const KernelInfo kernels[] = {{
# 1 "name_expressions"
{kernels}
{{}} }};
static const ModuleInfo module = {{
    &api, &thread_index, &block_index, &block_extent, &grid_extent,
    gpunet_emulator_shared_begin, gpunet_emulator_shared_end, dynamic_shared,
    __ehdr_start, _end, kernels, {count} }};
return &module;
}}
}}
""".replace("GPUNET_HIDDEN", '__attribute__((visibility("hidden")))')


@dataclass(frozen=True)
class _Kernel:
    name: str
    callable_by_name: bool  # extern "C", and no template
    launch_bound: str  # a C++ expression; "0" if there is none or it cannot be used outside
    parameters: str  # their names, with commas between them


def translate(preprocessed: str, name_expressions: tuple[str, ...] = ()) -> str:
    """Return C++ with a description of its kernels at the end.

    Args:
        preprocessed: Output of ``g++ -E`` with ``emulator/dialect.h`` included in front.
        name_expressions: Kernels named as C++ expressions, for instance ``scale<float, 4>``.
    """
    head, mark, body = preprocessed.partition(_SOURCE_FOLLOWS)
    body, kernels = _rewrite(body)
    by_name = {kernel.name: kernel for kernel in kernels}
    exported = {kernel.name: kernel for kernel in kernels if kernel.callable_by_name}
    for expression in name_expressions:
        base = expression.partition("<")[0].rpartition("::")[2].strip()
        exported[expression] = by_name.get(base, _Kernel(base, False, "0", ""))
    described = "\n".join(
        f"Kernel<&::{name.removeprefix('::')}>::info("
        f"{json.dumps(name)}, {kernel.launch_bound}, {json.dumps(kernel.parameters)}),"
        for name, kernel in exported.items()
    )
    return head + mark + body + _MODULE.format(kernels=described, count=len(exported))


def _rewrite(body: str) -> tuple[str, list[_Kernel]]:
    """Replace the three words; return the new text and the kernels that it declares."""
    pieces: list[str] = []
    kernels: list[_Kernel] = []
    scopes: list[bool] = []  # for each open brace: is it that of extern "C" { ?
    statement = copied = 0
    for token in _TOKEN.finditer(body):
        text, position = token.group(), token.start()
        if position < copied:  # inside of something already replaced
            continue
        if text == "{":
            scopes.append(body[statement:position].rstrip().endswith('"C"'))
        elif text == "}" and scopes:
            scopes.pop()
        if text in ("{", "}", ";"):
            statement = token.end()
        elif text == "__global__":
            name, end = _kernel_name(body, position)
            bound, signature = _split_launch_bounds(body[position:end])
            pieces += [body[copied:position], signature.replace(text, _KERNEL_ATTRIBUTES, 1)]
            names = ",".join(_parameter_names(body[end + 1 : _closing(body, end)]))
            kernels.append(_describe(name, bound, names, body[statement:position], any(scopes)))
            copied = end
        elif text == "__shared__":
            end = body.find(";", position)
            end = len(body) if end < 0 else end
            pieces += [body[copied:statement], _rewrite_shared(body[statement:end], position)]
            copied = end
    return "".join([*pieces, body[copied:]]), kernels


def _kernel_name(text: str, position: int) -> tuple[str, int]:
    """Return the first word behind ``__global__`` that parameters follow, and where it ends."""
    end = position
    while (word := _WORD.match(text, end)) is not None:
        end = word.end()
        if text[end : end + 1] != "(":
            continue
        if not word.group(1).startswith("__"):
            return word.group(1), end
        end = _closing(text, end) + 1  # __launch_bounds__(...), __attribute__((...))
    return "", end


def _parameter_names(parameters: str) -> list[str]:
    """Return the name of each parameter, "" for one without."""
    names = []
    rest = re.sub(r"^#[^\n]*", "", parameters, flags=re.MULTILINE)
    while rest.strip():
        one = _until_comma(rest, "(<", ")>")
        rest = rest.lstrip()[len(one) + 1 :]
        declared = one.partition("=")[0]
        pointer = re.search(r"\(\s*[*&]\s*(\w+)\s*\)", declared)  # float (*x)[4]
        words = re.findall(r"[A-Za-z_]\w*", re.sub(r"\[[^\]]*\]|<[^<>]*>", " ", declared))
        words = [word for word in words if word not in _QUALIFIERS]
        named = len(words) > 1 and words[-1] not in _TYPES
        names.append(pointer.group(1) if pointer else words[-1] if named else "")
    return names


def _describe(name: str, bound: str, parameters: str, before: str, in_extern_c: bool) -> _Kernel:
    """Describe a kernel by what stands between ``__global__`` and the statement before."""
    is_template = re.search(r"\btemplate\b", before) is not None
    if is_template and not bound.isdigit():
        bound = "0"  # may depend on the template's parameters
    by_name = not is_template and (in_extern_c or '"C"' in before)
    return _Kernel(name, by_name, bound, parameters)


def _split_launch_bounds(signature: str) -> tuple[str, str]:
    """Return the most threads that ``__launch_bounds__`` names, and the signature without it."""
    match = re.search(r"__launch_bounds__\s*\(", signature)
    if match is None:
        return "0", signature
    end = _closing(signature, match.end() - 1)
    return _until_comma(signature[match.end() : end]), signature[: match.start()] + signature[
        end + 1 :
    ]


def _rewrite_shared(statement: str, number: int) -> str:
    """Rewrite a declaration of shared memory, given without its semicolon.

    Args:
        statement: The declaration.
        number: Different for every declaration.
    """
    if re.search(r"\bextern\b", statement):
        plain = _ALIGNMENT.sub("", re.sub(r"\b(?:extern|__shared__)\b", "", statement))
        array = _UNSIZED_ARRAY.fullmatch(plain)
        if array is not None:
            # A pointer and not an array, so that two kernels may give it different types.
            element, name, rest = array.groups()
            cast = " ".join(element.split())
            return (
                f"{element}(* const {name}){rest} = "
                f"reinterpret_cast<{cast} (*){rest}>(gpunet_emulator::dynamic_shared)"
            )
    static = "" if re.search(r"\bstatic\b", statement) else "static "
    attributes = static + _SHARED_ATTRIBUTES.format(number=number)
    return re.sub(r"\b__shared__\b", attributes, statement, count=1)


def _closing(text: str, opening: int) -> int:
    """Return the index of the parenthesis that closes the one at ``opening``."""
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return index
    return len(text)


def _until_comma(arguments: str, opening: str = "(", closing: str = ")") -> str:
    """Return the first of several arguments, which may itself hold commas in brackets."""
    depth = 0
    for index, character in enumerate(arguments):
        depth += (character in opening) - (character in closing)
        if character == "," and depth == 0:
            return arguments[:index].strip()
    return arguments.strip()
