// How the checked build sees every load and store. Kernels are compiled with -fsanitize=thread,
// which puts a call such as __tsan_read4(address) in front of each of them, but are not linked
// with that sanitizer's library: these are the functions that get called, and they hand the access
// to the runtime together with the place in the code. -fsanitize=bounds does the same for an index
// beyond an array whose size the compiler knows.
//
// A function of the emulator that the sanitizer must not see is marked GPUNET_UNSEEN (dialect.h).
#pragma once

extern "C" {

#define GPUNET_CALLBACK(NAME, SIZE, KIND)                                                \
    GPUNET_UNSEEN void NAME(void* address) {                                             \
        gpunet_emulator::api->access(address, SIZE, KIND, __builtin_return_address(0));  \
    }
#define GPUNET_CALLBACKS(SIZE)                                                                   \
    GPUNET_CALLBACK(__tsan_read##SIZE, SIZE, gpunet_emulator::reads)                             \
    GPUNET_CALLBACK(__tsan_write##SIZE, SIZE, gpunet_emulator::writes)                           \
    GPUNET_CALLBACK(__tsan_volatile_read##SIZE, SIZE,                                            \
                    gpunet_emulator::reads | gpunet_emulator::is_volatile)                       \
    GPUNET_CALLBACK(__tsan_volatile_write##SIZE, SIZE,                                           \
                    gpunet_emulator::writes | gpunet_emulator::is_volatile)
GPUNET_CALLBACKS(1)
GPUNET_CALLBACKS(2)
GPUNET_CALLBACKS(4)
GPUNET_CALLBACKS(8)
GPUNET_CALLBACKS(16)
#undef GPUNET_CALLBACKS
#undef GPUNET_CALLBACK

// What has no single instruction: structs of other sizes, or of members with a smaller alignment.
GPUNET_UNSEEN void __tsan_read_range(void* address, long size) {
    gpunet_emulator::api->access(address, static_cast<unsigned>(size),
                                 gpunet_emulator::reads | gpunet_emulator::in_parts,
                                 __builtin_return_address(0));
}
GPUNET_UNSEEN void __tsan_write_range(void* address, long size) {
    gpunet_emulator::api->access(address, static_cast<unsigned>(size),
                                 gpunet_emulator::writes | gpunet_emulator::in_parts,
                                 __builtin_return_address(0));
}
GPUNET_UNSEEN void __tsan_init() {}

// The layout is libubsan's: where, then the array's type with its name behind two numbers.
struct gpunet_emulator_bounds {
    const char* file;
    unsigned line, column;
    const struct {
        unsigned short kind, info;
        char name[1];
    }* type;
};
GPUNET_UNSEEN void __ubsan_handle_out_of_bounds(void* data, void* index) {
    const auto where = static_cast<const gpunet_emulator_bounds*>(data);
    gpunet_emulator::api->bad_index(reinterpret_cast<long long>(index), where->type->name,
                                    {where->file, static_cast<int>(where->line)});
}

}  // extern "C"
