// The simplest observer: it writes every access down, for Python to read (trace.py).
#pragma once
#include <vector>

#include "observer.h"

namespace gpunet_emulator {

// trace.py has the same layout.
struct TraceRecord {
    uint64_t address, code;
    uint32_t block, size;
    uint16_t thread;
    uint8_t kind;
};

class Trace : public Observer {
  public:
    void begin_launch(const Launch&) override { records.clear(); }
    void access(const Access& a) override {
        records.push_back({a.address, reinterpret_cast<uint64_t>(a.code), a.block, a.size,
                           static_cast<uint16_t>(a.thread), static_cast<uint8_t>(a.kind)});
    }
    std::vector<TraceRecord> records;
};

}  // namespace gpunet_emulator
