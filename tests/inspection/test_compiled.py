"""Every kernel is compiled for real GPUs: what NVIDIA's compiler makes of it, without a GPU."""

import subprocess
from collections import Counter

import pytest

from gpunet.backend.cuda.kernels import ELEMENT_TYPES, find_kernels
from gpunet.errors import ArgumentError, KernelError, MissingDependency
from gpunet.inspection import ARCHITECTURES, Toolkit, inspect_kernels, inspect_source, occupancy
from gpunet.inspection.code import memory_accesses

ALWAYS = (75, 90, 120)
SOURCES = sorted(path.stem for path in find_kernels().glob("*.cu"))


@pytest.fixture(scope="module")
def toolkit():
    return Toolkit()


@pytest.mark.nvrtc
@pytest.mark.parametrize("element_type", ELEMENT_TYPES)
@pytest.mark.parametrize(
    "architecture",
    [a if a in ALWAYS else pytest.param(a, marks=pytest.mark.slow) for a in ARCHITECTURES],
)
def test_all_kernels_compile_and_stay_in_registers(toolkit, element_type, architecture):
    kernels = inspect_kernels(toolkit, element_type, architecture)
    assert {kernel.source for kernel in kernels} == set(SOURCES)
    assert [fault for kernel in kernels for fault in kernel.faults()] == []
    assert all(0 < kernel.registers <= 255 for kernel in kernels)


@pytest.mark.nvrtc
@pytest.mark.parametrize(
    "source",
    [s if s == "row_norms" else pytest.param(s, marks=pytest.mark.slow) for s in SOURCES],
)
@pytest.mark.parametrize("architecture", ALWAYS)
def test_without_a_stack_no_instruction_touches_local_memory(toolkit, source, architecture):
    """Therefore `KernelCode.faults` disassembles only what has one, which is nothing as a rule."""
    for kernel in inspect_source(toolkit, source, "float16", architecture):
        assert kernel.accesses
        assert (kernel.stack, kernel.local_accesses) == (0, 0)


# ------------------------------------------------------------------ the checks find what is wrong


def inspect_text(toolkit, text, architecture=90):
    (kernel,) = inspect_source(toolkit, "planted", "float32", architecture, text)
    return kernel


@pytest.mark.nvrtc
@pytest.mark.parametrize("architecture", ALWAYS)
def test_a_spill_is_found(toolkit, architecture):
    kernel = inspect_text(
        toolkit,
        """extern "C" __global__ void __launch_bounds__(1024) greedy(float* x, int n) {
            float v[96];
            #pragma unroll
            for (int i = 0; i < 96; ++i) v[i] = x[i * 1024 + threadIdx.x];
            for (int round = 0; round < n; ++round) {
                #pragma unroll
                for (int i = 0; i < 96; ++i) v[i] = v[i] * v[(i * 7 + 3) % 96] + v[(i + 1) % 96];
            }
            #pragma unroll
            for (int i = 0; i < 96; ++i) x[i * 1024 + threadIdx.x] = v[i];
        }""",
        architecture,
    )
    assert kernel.spills > 0
    assert kernel.local_accesses > 0
    assert any(
        f"greedy of planted.cu, float32, sm_{architecture} spills" in f for f in kernel.faults()
    )


@pytest.mark.nvrtc
def test_an_array_in_local_memory_is_found(toolkit):
    kernel = inspect_text(
        toolkit,
        """extern "C" __global__ void indexed(float* x, const int* at) {
            float v[64];
            for (int i = 0; i < 64; ++i) v[at[i]] = x[i];
            x[threadIdx.x] = v[at[threadIdx.x]];
        }""",
    )
    assert kernel.spills == 0
    assert kernel.stack == 256
    assert len(kernel.faults()) == 2


@pytest.mark.nvrtc
@pytest.mark.parametrize("name", ["INFINITY", "FLT_MAX", "uint32_t", "std::min"])
def test_names_that_nvrtc_lacks_are_found(toolkit, name):
    text = f'extern "C" __global__ void f(float* x) {{ auto y = ({name})(0); x[0] = y; }}'
    with pytest.raises(KernelError, match=r"planted\.cu does not compile for sm_90"):
        inspect_text(toolkit, text)


@pytest.mark.nvrtc
@pytest.mark.parametrize("architecture", ALWAYS)
def test_widths_of_accesses_are_counted(toolkit, architecture):
    kernel = inspect_text(
        toolkit,
        """extern "C" __global__ void widths(float4* y, const float4* x, unsigned char* z) {
            __shared__ float4 tile[64];
            tile[threadIdx.x] = x[threadIdx.x];
            z[threadIdx.x] = z[threadIdx.x + 64];
            __syncthreads();
            y[threadIdx.x] = tile[63 - threadIdx.x];
        }""",
        architecture,
    )
    assert kernel.faults() == []
    assert kernel.shared == 1024
    assert kernel.accesses == Counter(
        {
            ("LDG", 128): 1,
            ("STG", 128): 1,
            ("LDG", 8): 1,
            ("STG", 8): 1,
            ("STS", 128): 1,
            ("LDS", 128): 1,
        }
    )
    assert (kernel.wide("LDG"), kernel.wide("LDS"), kernel.wide("LDL")) == (1, 1, 0)


def test_a_listing_is_read_by_function():
    listing = """
        .section	.text.first,"ax",@progbits
        /*00c0*/               @P0 EXIT ;
        /*0150*/                   LDG.E.64.STRONG.GPU R8, desc[UR14][R4.64+0x8] ;
        /*0160*/              @!P0 STL [R1], R6 ;
        /*0160*/                   LDGSTS.E.128 [R1], [R2] ;
        .section	.text.second,"ax",@progbits
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   LD.E.U16 R1, [R2.64] ;
        """
    assert memory_accesses(listing) == {
        "first": {("LDG", 64): 1, ("STL", 32): 1},
        "second": {("LD", 16): 1},
    }


def test_a_missing_compiler_is_named(tmp_path):
    with pytest.raises(MissingDependency, match=r"libnvrtc.* pip install 'gpunet\[kernels\]'"):
        Toolkit([tmp_path])


# ---------------------------------------------------------------------------------- occupancy

# maxThreadsPerMultiprocessor, sharedMemPerMultiprocessor, reservedSharedMemPerBlock as the CUDA
# Programming Guide lists them (Technical Specifications per Compute Capability).
GUIDE = {
    75: (1024, 65536, 0),
    80: (2048, 167936, 1024),
    86: (1536, 102400, 1024),
    89: (1536, 102400, 1024),
    90: (2048, 233472, 1024),
    100: (2048, 233472, 1024),
    120: (1536, 102400, 1024),
}

NVIDIAS = """
#include <cstdio>
#include "cuda_occupancy.h"
int main()
{
    int arch, per_multiprocessor, shared_total, reserved, threads, registers, shared;
    while (scanf("%d %d %d %d %d %d %d", &arch, &per_multiprocessor, &shared_total, &reserved,
                 &threads, &registers, &shared) == 7) {
        cudaOccDeviceProp device;
        device.computeMajor = arch / 10, device.computeMinor = arch % 10;
        device.maxThreadsPerBlock = 1024, device.warpSize = 32, device.numSms = 1;
        device.maxThreadsPerMultiprocessor = per_multiprocessor;
        device.regsPerBlock = device.regsPerMultiprocessor = 65536;
        device.sharedMemPerBlock = 48 * 1024;
        device.sharedMemPerMultiprocessor = shared_total;
        device.sharedMemPerBlockOptin = shared_total - reserved;
        device.reservedSharedMemPerBlock = reserved;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = 1024, kernel.numRegs = registers;
        kernel.sharedSizeBytes = shared, kernel.numBlockBarriers = 1;
        cudaOccDeviceState state;
        cudaOccResult result;
        int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state,
                                                            threads, 0);
        printf("%d\\n", error ? -1 : result.activeBlocksPerMultiprocessor);
    }
}
"""


@pytest.mark.nvrtc
@pytest.mark.emulator
def test_the_occupancy_is_that_of_nvidias_own_calculator(toolkit, tmp_path):
    (tmp_path / "occupancy.cpp").write_text(NVIDIAS)
    command = ["g++", "-w", f"-I{toolkit.headers}", "occupancy.cpp", "-o", "occupancy"]
    subprocess.run(command, cwd=tmp_path, check=True)
    cases = [
        (architecture, threads, registers, shared)
        for architecture in ARCHITECTURES
        for threads in (32, 33, 96, 256, 1000, 1024)
        for registers in (16, 32, 33, 64, 80, 128, 168, 255)
        for shared in (0, 1, 4000, 9216, 33792, 49152)
    ]
    lines = "\n".join(
        " ".join(map(str, (architecture, *GUIDE[architecture], *rest)))
        for architecture, *rest in cases
    )
    result = subprocess.run(
        [tmp_path / "occupancy"], input=lines, capture_output=True, text=True, check=True
    )
    for case, blocks in zip(cases, result.stdout.split(), strict=True):
        architecture, threads, registers, shared = case
        warps = int(blocks) * -(-threads // 32)
        expected = warps * 32 / GUIDE[architecture][0]
        assert occupancy(architecture, threads, registers, shared) == expected, case


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ArgumentError, match=r"sm_75, 80.*got 30"):
        occupancy(30, 256, 32, 0)
