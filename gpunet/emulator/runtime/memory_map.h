// Which addresses a launch may touch, and whether what it reads was ever written.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "observer.h"

namespace gpunet_emulator {

// A stretch of memory that belongs to one array; regions.py has the same layout.
struct Region {
    uint64_t begin, end;
    uint32_t writable;
    uint32_t shared;

    bool holds(uint64_t first, unsigned size) const { return first >= begin && first + size <= end; }
};

class MemoryMap {
  public:
    // The regions are sorted and do not overlap.
    void set(const Region* regions, int count) {
        regions_.assign(regions, regions + count);
        last_ = regions_.data();
    }

    // The region that holds all bytes of the access, or null.
    const Region* find(const Access& a) {
        if (regions_.empty()) return nullptr;
        if (last_->holds(a.address, a.size)) return last_;
        auto next = std::upper_bound(
            regions_.begin(), regions_.end(), a.address,
            [](uint64_t address, const Region& region) { return address < region.begin; });
        if (next == regions_.begin()) return nullptr;
        const Region& region = *--next;
        if (!region.holds(a.address, a.size)) return nullptr;
        last_ = &region;
        return last_;
    }
    const std::vector<Region>& regions() const { return regions_; }

  private:
    std::vector<Region> regions_;
    const Region* last_ = nullptr;
};

// What memory holds until somebody writes to it: in every 4 bytes a word that is NaN as a float, as
// each half of it, and as the upper half of a double. No program computes just this NaN, so a word
// that still holds it was not written: by no kernel and, which no shadow memory would know, by no
// host code either. memory.py has the same word.
constexpr uint32_t poison = 0xFFF9FFE7;

inline void fill_with_poison(unsigned char* begin, size_t size) {
    const auto address = reinterpret_cast<uintptr_t>(begin);
    for (size_t i = 0; i < size; ++i)
        begin[i] = static_cast<unsigned char>(poison >> 8 * ((address + i) % 4));
}

inline uint32_t word_at(uint64_t address) {
    uint32_t word;
    std::memcpy(&word, reinterpret_cast<const void*>(address & ~uint64_t{3}), sizeof word);
    return word;
}

// Whether `count` bytes at this address, all of one word, still hold poison. A single byte may do
// so by chance: then the whole word has to. (Arrays end in red zones: the word can be read.)
inline bool is_poison(uint64_t address, unsigned count) {
    uint32_t mask = ~0u;
    if (count == 2 || count == 3) mask = ((1u << 8 * count) - 1) << 8 * (address % 4);
    return ((word_at(address) ^ poison) & mask) == 0;
}

}  // namespace gpunet_emulator
