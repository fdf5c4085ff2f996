// The one place where kernels, the runtime and Python (launch.py) meet. A compiled module
// describes itself in a ModuleInfo; the runtime hands it a table of functions. Nothing is bound
// by symbol name, so that modules of several build profiles can live in one process.
#pragma once

namespace gpunet_emulator {

struct Index {
    unsigned x, y, z;
};

// Where a call stands in the kernel's source; the strings are literals of the module.
struct Site {
    const char* file;
    int line;
};

// One element a lane hands to the other lanes of its warp.
struct alignas(16) LaneValue {
    unsigned char bytes[16];
};

// What an access to memory does, as a sum of these.
constexpr unsigned reads = 1, writes = 2;
constexpr unsigned is_atomic = 4;
constexpr unsigned is_volatile = 8;
constexpr unsigned in_parts = 16;  // a struct that no single instruction can move

struct RuntimeApi {
    // Waits for all threads of the block and returns for how many of them `predicate` held. `id`
    // tells barriers apart: neither a line nor a return address does, since a macro may hold two
    // barriers and the compiler may duplicate one.
    int (*barrier)(int id, int predicate, Site site);
    // Waits until all lanes that `mask` names arrive, with the same `operation`, and returns the
    // values of 32 lanes, of which `lanes` gets those that took part. The values are valid until
    // the next call.
    const LaneValue* (*exchange)(unsigned mask, const char* operation, const void* value, int size,
                                 unsigned* lanes, Site site);
    unsigned (*lane)();
    [[noreturn]] void (*fail)(const char* message, Site site);
    int (*print)(const char* format, ...);

    // Only modules of the checked build call these; see callbacks.h.
    // An access that is about to happen; `code` is the return address of the call in front of it.
    void (*access)(const void* address, unsigned size, unsigned kind, const void* code);
    void (*fence)();
    void (*bad_index)(long long index, const char* type, Site site);
};

struct ArgumentInfo {
    const char* dtype;  // NumPy's name of the scalar (or of the vector's element); "" if unknown
    int size;           // of the argument itself
    int pointee_size;   // 0 unless the argument is a pointer
    int is_pointer, is_const;  // of what a pointer points to
};

struct KernelInfo {
    const char* name;
    void (*call)(void** arguments);
    const ArgumentInfo* arguments;
    int argument_count;
    const char* argument_names;  // with commas between them
    int max_threads;  // __launch_bounds__, or 0
};

struct ModuleInfo {
    const RuntimeApi** api;
    Index *thread, *block, *block_dim, *grid_dim;
    unsigned char *shared_begin, *shared_end;  // every static __shared__ variable of the module
    unsigned char* dynamic_shared;
    unsigned char *image_begin, *image_end;  // the module as loaded: code, constants, variables
    const KernelInfo* kernels;
    int kernel_count;
};

// 227 KB is the most that a block can have on any GPU to date; the rest is a red zone.
constexpr int max_dynamic_shared = 232448;
constexpr int dynamic_shared_guard = 256;

}  // namespace gpunet_emulator
