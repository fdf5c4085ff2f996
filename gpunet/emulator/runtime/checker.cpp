// See checker.h.
#include "checker.h"

namespace gpunet_emulator {

void Checker::begin_launch(const Launch& launch) {
    launch_ = &launch;
    suspects_.clear();
    races_.begin_launch(launch.module->image_begin);
}

void Checker::begin_block(unsigned block) {
    races_.begin_block(block);
    for (const Region& region : map.regions())
        if (region.shared)
            fill_with_poison(reinterpret_cast<unsigned char*>(region.begin),
                             region.end - region.begin);
}

void Checker::access(const Access& a) {
    const Region* region = map.find(a);
    if (!region) report(FaultKind::out_of_bounds, a, a.address);
    if (!(a.kind & in_parts) && a.address % a.size) report(FaultKind::misaligned, a, a.address);
    if (a.writes_memory() && !region->writable) report(FaultKind::read_only, a, a.address);
    if (a.reads_memory()) check_written(a, *region);
    check_order(a, *region);
}

void Checker::check_written(const Access& a, const Region& region) {
    const uint64_t end = a.address + a.size;
    for (uint64_t word = a.address & ~uint64_t{3}; word < end; word += 4) {
        const uint64_t first = std::max(word, a.address), last = std::min(word + 4, end);
        if (is_poison(first, static_cast<unsigned>(last - first)) &&
            !races_.was_written(word, region.shared))
            report(FaultKind::unwritten, a, first);
    }
}

void Checker::check_order(const Access& a, const Region& region) {
    const Mark* other = races_.access(a, region.shared);
    if (!other) return;
    if (!a.writes_memory()) report_race(a, *other);
    auto bytes = reinterpret_cast<const unsigned char*>(a.address);
    suspects_.push_back({a, *other, {bytes, bytes + a.size}});
}

void Checker::pause(unsigned) {
    for (const Suspect& suspect : suspects_) {
        auto now = reinterpret_cast<const void*>(suspect.access.address);
        if (std::memcmp(now, suspect.before.data(), suspect.before.size()) != 0)
            report_race(suspect.access, suspect.other);
    }
    suspects_.clear();
}

void Checker::report_race(const Access& a, const Mark& other) {
    const Moment& moment = races_.moment(other.moment);
    Fault& fault = *launch_->fault;
    fault.other_code = races_.code(other);
    fault.other_access = other.kind;
    fault.other_block = block.block_index(moment.block);
    fault.other_thread = block.thread_index(moment.thread);
    report(FaultKind::race, a, a.address);
}

void Checker::report(FaultKind kind, const Access& a, uint64_t address) {
    Fault& fault = *launch_->fault;
    fault.kind = kind;
    fault.access = a.kind;
    fault.size = a.size;
    fault.address = reinterpret_cast<const void*>(address);
    fault.code = a.code;
    block.stop_with_fault();
}

}  // namespace gpunet_emulator
