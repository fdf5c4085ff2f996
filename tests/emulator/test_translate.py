"""The rewriting of preprocessed text; needs no compiler."""

from __future__ import annotations

import pytest

from gpunet.emulator.translate import translate

HEAD = "struct gpunet_emulator_source_follows;"


def translated(source, *names):
    text = translate(HEAD + source, names)
    body, _, described = text.removeprefix(HEAD).partition('\n# 1 "gpunet_emulator_module"')
    return body, [line for line in described.splitlines() if line.startswith("Kernel<")]


@pytest.mark.parametrize(
    ("source", "kernels"),
    [
        ('extern "C" __global__ void k(int n) {}', ['Kernel<&::k>::info("k", 0, "n"),']),
        ('extern "C" { __global__ void k() {} }', ['Kernel<&::k>::info("k", 0, ""),']),
        (
            'extern "C" __global__ void __launch_bounds__(8 * (2 + 2), 4)\nk() {}',
            ['Kernel<&::k>::info("k", 8 * (2 + 2), ""),'],
        ),
        (
            'extern "C" __global__ __attribute__((used)) void k();',
            ['Kernel<&::k>::info("k", 0, ""),'],
        ),
        ("__global__ void mangled() {}", []),
        ("template <int n> __global__ void k() {}", []),
        ("const char* s = \"; { __global__ void no(\"; char c = '{';", []),
        ('extern "C" { int x; }\n__global__ void outside() {}', []),
    ],
)
def test_kernels_that_can_be_called_by_name(source, kernels):
    body, described = translated(source)
    assert described == kernels
    assert "__launch_bounds__" not in body
    assert body.count("\n") == source.count("\n")


def test_name_expressions_take_their_launch_bounds_along():
    source = "namespace a { template <class T> __global__ void __launch_bounds__(64) k(T* x) {} }"
    _, described = translated(source, "a::k<float>")
    assert described == ['Kernel<&::a::k<float>>::info("a::k<float>", 64, "x"),']


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        (
            "extern __shared__ float s[]",
            "float(* const s) = reinterpret_cast<float (*)>(gpunet_emulator::dynamic_shared)",
        ),
        (
            "extern __shared__ __attribute__((aligned(16))) unsigned char raw[]",
            "unsigned char(* const raw) = reinterpret_cast<unsigned char (*)>"
            "(gpunet_emulator::dynamic_shared)",
        ),
        (
            "extern volatile __shared__ float t[][33]",
            "volatile float(* const t)[33] = reinterpret_cast<volatile float (*)[33]>"
            "(gpunet_emulator::dynamic_shared)",
        ),
    ],
)
def test_dynamic_shared_memory_becomes_a_pointer(declaration, expected):
    body, _ = translated(f"void f() {{ {declaration}; }}")
    squeezed = " ".join(body.split()).replace(" (* const", "(* const")
    assert squeezed == f"void f() {{ {expected}; }}"


def test_each_static_shared_variable_has_a_section_of_its_own():
    body, _ = translated("void f() { __shared__ float a[4]; static __shared__ int b; }")
    sections = [part.partition('"')[0] for part in body.split('section("')[1:]]
    assert len(set(sections)) == 2
    assert all(section.startswith("gpunet_shared.") for section in sections)
    assert body.count("static") == 2
