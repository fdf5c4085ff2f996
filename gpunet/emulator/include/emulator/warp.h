// Shuffles, votes, reductions and matches of the lanes of a warp: all are one exchange of values.
#pragma once

// They touch memory of the runtime, which is none of the kernel's.
#define GPUNET_COLLECTIVE GPUNET_DEVICE GPUNET_UNSEEN

namespace gpunet_emulator {

// The values of the mask's lanes; reading a lane that takes no part is undefined in CUDA.
template <class T> struct Exchanged {
    const LaneValue* values;
    unsigned lanes;

    GPUNET_UNSEEN bool has(int lane) const { return lanes >> lane & 1; }
    GPUNET_UNSEEN T operator[](int lane) const {
        T value;
        // 0xFF bytes (NaN) and not a fault: in `v += __shfl_down_sync(0xff, v, 4)` the upper lanes
        // read beyond the mask, which is harmless as long as nobody uses what they get.
        if (has(lane)) {
            __builtin_memcpy(&value, values[lane].bytes, sizeof value);
        } else {
            __builtin_memset(&value, 0xFF, sizeof value);
        }
        return value;
    }
};

template <class T>
GPUNET_COLLECTIVE Exchanged<T> exchange(unsigned mask, const char* operation, T value, Site site) {
    static_assert(can_shuffle<T>, "CUDA exchanges numbers only; split a struct into its members");
    Exchanged<T> result;
    result.values = api->exchange(mask, operation, &value, sizeof value, &result.lanes, site);
    return result;
}

GPUNET_COLLECTIVE void check_width(int width, Site site) {
    if (width < 1 || width > 32 || (width & (width - 1)))
        api->fail("a shuffle's width must be 1, 2, 4, 8, 16 or 32", site);
}

GPUNET_COLLECTIVE int lane() { return static_cast<int>(api->lane()); }

}  // namespace gpunet_emulator

// Default arguments name the place of the call.
#define GPUNET_CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define GPUNET_HERE \
    gpunet_emulator::Site { file, line }

GPUNET_COLLECTIVE void __syncwarp(unsigned mask = 0xffffffffu, GPUNET_CALLER) {
    gpunet_emulator::exchange(mask, "__syncwarp", 0, GPUNET_HERE);
}

// `SOURCE` gives the lane to read from out of own lane, first lane of the segment and argument;
// a source outside of the segment means the own value.
#define GPUNET_SHUFFLE(NAME, ARGUMENT, SOURCE)                                              \
    template <class T>                                                                      \
    GPUNET_COLLECTIVE T NAME(unsigned mask, T value, ARGUMENT argument, int width = 32,         \
                         GPUNET_CALLER) {                                                   \
        gpunet_emulator::check_width(width, GPUNET_HERE);                                   \
        auto values = gpunet_emulator::exchange(mask, #NAME, value, GPUNET_HERE);           \
        const int own = gpunet_emulator::lane(), first = own & ~(width - 1);                \
        const int number = static_cast<int>(argument), source = SOURCE;                     \
        return source < first || source >= first + width ? value : values[source];          \
    }
GPUNET_SHUFFLE(__shfl_sync, int, first + (number & (width - 1)))
GPUNET_SHUFFLE(__shfl_up_sync, unsigned, own - number)
GPUNET_SHUFFLE(__shfl_down_sync, unsigned, own + number)
#undef GPUNET_SHUFFLE

// Unlike the others it may read from an earlier segment; only later ones give the own value.
template <class T>
GPUNET_COLLECTIVE T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                                GPUNET_CALLER) {
    gpunet_emulator::check_width(width, GPUNET_HERE);
    auto values = gpunet_emulator::exchange(mask, "__shfl_xor_sync", value, GPUNET_HERE);
    const int own = gpunet_emulator::lane(), first = own & ~(width - 1);
    const int source = own ^ (lane_mask & 31);
    return source >= first + width ? value : values[source];
}

GPUNET_COLLECTIVE unsigned __ballot_sync(unsigned mask, int predicate, GPUNET_CALLER) {
    auto votes = gpunet_emulator::exchange(mask, "__ballot_sync", predicate != 0, GPUNET_HERE);
    unsigned result = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (votes.has(lane) && votes[lane]) result |= 1u << lane;
    return result;
}
GPUNET_COLLECTIVE int __any_sync(unsigned mask, int predicate, GPUNET_CALLER) {
    auto votes = gpunet_emulator::exchange(mask, "__any_sync", predicate != 0, GPUNET_HERE);
    for (int lane = 0; lane < 32; ++lane)
        if (votes.has(lane) && votes[lane]) return 1;
    return 0;
}
GPUNET_COLLECTIVE int __all_sync(unsigned mask, int predicate, GPUNET_CALLER) {
    auto votes = gpunet_emulator::exchange(mask, "__all_sync", predicate != 0, GPUNET_HERE);
    for (int lane = 0; lane < 32; ++lane)
        if (votes.has(lane) && !votes[lane]) return 0;
    return 1;
}

// A thread of its own as far as scheduling goes, which CUDA allows: code that needs more lanes
// here than its own is wrong on GPUs since Volta as well.
GPUNET_COLLECTIVE unsigned __activemask() { return 1u << gpunet_emulator::lane(); }

#define GPUNET_REDUCE(T, NAME, COMBINED)                                           \
    GPUNET_COLLECTIVE T NAME(unsigned mask, T value, GPUNET_CALLER) {                  \
        auto values = gpunet_emulator::exchange(mask, #NAME, value, GPUNET_HERE);  \
        T result = value;                                                          \
        const int own = gpunet_emulator::lane();                                   \
        for (int lane = 0; lane < 32; ++lane) {                                    \
            if (lane == own || !values.has(lane)) continue;                        \
            const T other = values[lane];                                          \
            result = COMBINED;                                                     \
        }                                                                          \
        return result;                                                             \
    }
#define GPUNET_REDUCE_BOTH(NAME, COMBINED) \
    GPUNET_REDUCE(int, NAME, COMBINED) GPUNET_REDUCE(unsigned, NAME, COMBINED)
GPUNET_REDUCE(unsigned, __reduce_add_sync, result + other)
// Signed sums wrap around on the device.
GPUNET_COLLECTIVE int __reduce_add_sync(unsigned mask, int value, GPUNET_CALLER) {
    return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value), file, line));
}
GPUNET_REDUCE_BOTH(__reduce_min_sync, other < result ? other : result)
GPUNET_REDUCE_BOTH(__reduce_max_sync, other > result ? other : result)
GPUNET_REDUCE(unsigned, __reduce_and_sync, result & other)
GPUNET_REDUCE(unsigned, __reduce_or_sync, result | other)
GPUNET_REDUCE(unsigned, __reduce_xor_sync, result ^ other)
#undef GPUNET_REDUCE_BOTH
#undef GPUNET_REDUCE

namespace gpunet_emulator {
// Lanes whose value has the same bits; `lanes` gets all that take part.
template <class T>
GPUNET_COLLECTIVE unsigned matching(unsigned mask, const char* operation, T value, unsigned* lanes,
                                Site site) {
    auto values = exchange(mask, operation, value, site);
    *lanes = values.lanes;
    unsigned result = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (values.has(lane) && !__builtin_memcmp(values.values[lane].bytes, &value, sizeof value))
            result |= 1u << lane;
    return result;
}
}  // namespace gpunet_emulator

template <class T> GPUNET_COLLECTIVE unsigned __match_any_sync(unsigned mask, T value, GPUNET_CALLER) {
    unsigned lanes;
    return gpunet_emulator::matching(mask, "__match_any_sync", value, &lanes, GPUNET_HERE);
}
template <class T>
GPUNET_COLLECTIVE unsigned __match_all_sync(unsigned mask, T value, int* predicate, GPUNET_CALLER) {
    unsigned lanes;
    const unsigned same =
        gpunet_emulator::matching(mask, "__match_all_sync", value, &lanes, GPUNET_HERE);
    *predicate = same == lanes;
    return *predicate ? lanes : 0;
}
