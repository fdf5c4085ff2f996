// Finds accesses to the same bytes that nothing puts in an order: happens-before, as in FastTrack
// (Flanagan and Freund, 2009), with CUDA's ways to order things.
//
// Each thread's run is cut into moments: stretches without synchronisation, numbered in the order
// in which they begin. Each word of memory remembers the moments of its last writers and readers.
// One moment comes before another if
//   - it is an earlier one of the same thread;
//   - both are of one block, and a __syncthreads lies between them (`epoch` counts those);
//   - both are of one warp, and a __syncwarp that names both lanes lies between (`seen`);
//   - it was released and acquired: a __threadfence, behind it in this sense, then an atomic (or
//     volatile write); the other thread, in this or another block, has since then done an atomic
//     on (or a volatile read of) the same address.
// Shuffles and votes order nothing. Atomics do not race with each other, nor do volatile accesses
// to global memory; and threads that write the value that is there already do no harm.
#pragma once
#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "observer.h"

namespace gpunet_emulator {

struct Moment {
    unsigned block, epoch, thread;
};

// An access that a word of memory remembers: 12 bytes.
struct Mark {
    uint32_t moment = 0;  // 0: none
    uint32_t code = 0;    // from the beginning of the module
    uint8_t bytes = 0;    // which of the word's four
    uint8_t kind = 0;
};

// Two of each, so that neighbouring 16-bit elements fit, and that no writer is both readers.
struct Word {
    Mark writes[2], reads[2];
};

class ShadowMemory {
  public:
    Word& word(uint64_t address) {
        const uint64_t page = address >> page_bits;
        if (page != last_page_) {
            std::unique_ptr<Page>& found = pages_[page];
            if (!found) found = std::make_unique<Page>();
            last_ = found.get();
            last_page_ = page;
        }
        return last_->words[(address >> 2) % words_per_page];
    }
    size_t pages() const { return pages_.size(); }
    void clear() {
        pages_.clear();
        last_page_ = ~uint64_t{0};
    }

  private:
    static constexpr unsigned page_bits = 12, words_per_page = 1u << (page_bits - 2);
    struct Page {
        Word words[words_per_page];
    };
    std::unordered_map<uint64_t, std::unique_ptr<Page>> pages_;
    Page* last_ = nullptr;
    uint64_t last_page_ = ~uint64_t{0};
};

class Races {
  public:
    void begin_launch(const unsigned char* module);
    void begin_block(unsigned block);
    void barrier() { ++epoch_; }
    void warp_barrier(unsigned first_thread, unsigned lanes);
    void fence(unsigned thread);

    // Notes the access, and returns an earlier one that it races with, or null.
    const Mark* access(const Access& a, bool shared);
    // Whether the word was written in this launch (of shared memory: in this block).
    bool was_written(uint64_t address, bool shared);

    const Moment& moment(uint32_t id) const { return moments_[id - first_of_launch_]; }
    const void* code(const Mark& mark) const { return module_ + mark.code; }

  private:
    using Seen = std::array<uint32_t, warp_size>;  // by lane: its last moment that is known
    struct Fence {
        uint32_t moment;  // the last one in front of it
        unsigned epoch;
        Seen seen;
    };
    struct Release {
        unsigned block, thread, epoch;
        uint32_t moment;
        Seen seen;
    };
    struct Acquire {
        unsigned thread, epoch;
        uint32_t moment;
        uint64_t address;
        size_t count;  // of the releases at that address
    };

    uint32_t now(unsigned thread);
    uint32_t start_moment(unsigned thread);
    const Mark* conflict(const Mark* marks, const Access& a, unsigned bytes, bool shared);
    bool before(const Mark& mark, const Access& a);
    bool released(const Mark& mark, const Moment& then, const Release& release) const;
    bool visible(const Acquire& acquire, unsigned thread) const;
    void synchronise(const Access& a);
    void remember(Mark* marks, const Mark& mark, const Access& a, bool shared);
    bool stale(const Mark& mark, bool shared) const {
        return mark.moment < (shared ? first_of_block_ : first_of_launch_);
    }
    static bool relaxed(unsigned kind, bool shared) {
        return (kind & is_atomic) || ((kind & is_volatile) && !shared);
    }
    static uint64_t key(unsigned block, unsigned thread) {
        return uint64_t{block} * max_threads + thread;
    }

    const unsigned char* module_ = nullptr;
    ShadowMemory shadow_;
    std::vector<Moment> moments_;
    uint32_t next_ = 1, first_of_launch_ = 1, first_of_block_ = 1;
    unsigned block_ = 0, epoch_ = 0;
    uint32_t current_[max_threads] = {};
    Seen seen_[max_threads] = {};
    bool warps_met_ = false;  // seen_ holds something
    bool fenced_ = false;     // by any thread of this launch
    std::unordered_map<uint64_t, std::vector<Fence>> fences_;      // by block and thread
    std::unordered_map<uint64_t, std::vector<Release>> releases_;  // by address
    std::vector<Acquire> acquires_;                                // of this block
};

}  // namespace gpunet_emulator
