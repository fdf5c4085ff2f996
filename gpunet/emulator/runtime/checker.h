// The checks of one access: inside of an array, aligned, written before, in order with the others.
// What is wrong goes into the launch's Fault by kind and address; Python finds the words
// (reports.py), since it knows the arrays' names.
#pragma once
#include "memory_map.h"
#include "races.h"

namespace gpunet_emulator {

class Checker : public Observer {
  public:
    MemoryMap map;

    void begin_launch(const Launch& launch) override;
    void begin_block(unsigned block) override;
    void access(const Access& a) override;
    void fence(unsigned thread) override { races_.fence(thread); }
    void barrier() override { races_.barrier(); }
    void warp_barrier(unsigned first_thread, unsigned lanes) override {
        races_.warp_barrier(first_thread, lanes);
    }
    void pause(unsigned thread) override;

  private:
    // A write that races, unless it writes what was there: known when the thread pauses.
    struct Suspect {
        Access access;
        Mark other;
        std::vector<unsigned char> before;
    };

    void check_written(const Access& a, const Region& region);
    void check_order(const Access& a, const Region& region);
    [[noreturn]] void report_race(const Access& a, const Mark& other);
    [[noreturn]] void report(FaultKind kind, const Access& a, uint64_t address);

    const Launch* launch_ = nullptr;
    Races races_;
    std::vector<Suspect> suspects_;
};

}  // namespace gpunet_emulator
