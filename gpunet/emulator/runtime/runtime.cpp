// The emulated device: runs the grids that launch.py asks for. Built once per content of these
// files (build.py) and loaded with ctypes; the launching Python thread holds a lock meanwhile.
#include <pthread.h>
#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <string>
#include <vector>

#include "block.cpp"
#include "checker.cpp"
#include "races.cpp"
#include "trace.h"

#define GPUNET_EXPORT extern "C" __attribute__((visibility("default")))

namespace gpunet_emulator {

// ---- what kernels can call -------------------------------------------------------------------

static std::string printed;  // printf's output: Python writes it to sys.stdout after the launch

static int print(const char* format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, arguments);
    va_end(arguments);
    if (length > 0) {
        const size_t before = printed.size();
        printed.resize(before + static_cast<size_t>(length) + 1);
        std::vsnprintf(&printed[before], static_cast<size_t>(length) + 1, format, again);
        printed.pop_back();
    }
    va_end(again);
    return length;
}

static const RuntimeApi api = {
    [](int id, int predicate, Site site) { return block.barrier(id, predicate, site); },
    [](unsigned mask, const char* operation, const void* value, int size, unsigned* lanes,
       Site site) {
        return block.exchange(mask, operation, value, size, lanes, site);
    },
    [] { return block.lane(); },
    [](const char* message, Site site) { block.fail(site, "%s", message); },
    print,
    [](const void* address, unsigned size, unsigned kind, const void* code) {
        block.access(address, size, kind, code);
    },
    [] { block.fence(); },
    [](long long index, const char* type, Site site) {
        block.fail(site, "index %lld is out of bounds of an array %s", index, type);
    },
};

// ---- faults of the CPU inside a kernel -------------------------------------------------------

static sigjmp_buf launching_context;
static pthread_t launching_thread;
static volatile sig_atomic_t in_kernel = 0;
static Fault* current_fault;

static const void* instruction_of(const void* context) {
    auto machine = &static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    return reinterpret_cast<const void*>(machine->gregs[REG_RIP]);
#elif defined(__aarch64__)
    return reinterpret_cast<const void*>(machine->pc);
#else
    (void)machine;
    return nullptr;
#endif
}

static void on_signal(int signal, siginfo_t* info, void* context) {
    if (!in_kernel || !pthread_equal(pthread_self(), launching_thread)) {
        std::signal(signal, SIG_DFL);  // not ours: happens again at once, and kills as usual
        return;
    }
    const char* what = "illegal instruction (undefined behaviour, or a missing return value)";
    if (signal == SIGFPE) what = "integer division by zero";
    if (signal == SIGSEGV || signal == SIGBUS) {
        what = "illegal memory access";
        current_fault->address = info->si_addr;
        if (info->si_code == SI_KERNEL) {  // the CPU names no address
            what = "misaligned access (vector types need an aligned address) or wild pointer";
            current_fault->address = nullptr;
        } else if (block.overflowed_stack(info->si_addr)) {
            what = "stack overflow: the thread's local variables need more than 256 KB";
            current_fault->address = nullptr;
        }
    }
    std::snprintf(current_fault->message, sizeof current_fault->message, "%s", what);
    current_fault->code = instruction_of(context);
    block.describe_current(*current_fault);
    siglongjmp(launching_context, 1);
}

// Takes over the CPU's fault signals for the length of a launch, on a stack of its own since
// the fibre's may just have overflowed.
class SignalGuard {
  public:
    SignalGuard() {
        static char memory[64 * 1024];
        stack_t stack{};
        stack.ss_sp = memory;
        stack.ss_size = sizeof memory;
        sigaltstack(&stack, &old_stack_);
        struct sigaction action {};
        action.sa_sigaction = on_signal;
        // NODEFER: the handler leaves by siglongjmp, which does not restore the signal mask.
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < count; ++i) sigaction(signals[i], &action, &old_actions_[i]);
    }
    ~SignalGuard() {
        for (int i = 0; i < count; ++i) sigaction(signals[i], &old_actions_[i], nullptr);
        sigaltstack(&old_stack_, nullptr);
    }

  private:
    static constexpr int count = 4;
    static constexpr int signals[count] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    stack_t old_stack_{};
    struct sigaction old_actions_[count];
};

// ---- a grid ----------------------------------------------------------------------------------

static bool run_grid(const Launch& launch) {
    const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    for (int i = 0; i < launch.observer_count; ++i) launch.observers[i]->begin_launch(launch);
    std::vector<unsigned> order;
    if (launch.seed) {
        Shuffle shuffle;
        shuffle.seed(launch.seed);
        for (unsigned n = 0; n < blocks; ++n) order.push_back(n);
        for (auto n = static_cast<unsigned>(blocks); n > 1; --n)
            std::swap(order[n - 1], order[shuffle.below(n)]);
    }
    for (unsigned n = 0; n < blocks; ++n)
        if (!block.run(launch, launch.seed ? order[n] : n)) return false;
    for (int i = 0; i < launch.observer_count; ++i) launch.observers[i]->end_launch();
    return true;
}

static Trace trace;
static Checker checker;

}  // namespace gpunet_emulator

using namespace gpunet_emulator;

GPUNET_EXPORT const RuntimeApi* gpunet_emulator_api() { return &api; }

// Which observers a launch has (module.py).
constexpr unsigned with_trace = 1, with_checks = 2;

// Runs the kernel over the whole grid. Returns 0, or 1 with *fault filled in.
GPUNET_EXPORT int gpunet_emulator_launch(const ModuleInfo* module, const KernelInfo* kernel,
                                         void** arguments, const Index* grid,
                                         const Index* block_dim, unsigned shared_bytes,
                                         Fault* fault, unsigned observed, uint64_t seed) {
    const int threads = static_cast<int>(block_dim->x * block_dim->y * block_dim->z);
    Observer* observers[2];
    int count = 0;
    if (observed & with_checks) observers[count++] = &checker;
    if (observed & with_trace) observers[count++] = &trace;
    const Launch launch = {module, kernel->call, arguments, *grid,     *block_dim, threads,
                           shared_bytes, fault,  observers, count, seed};
    *module->grid_dim = *grid;
    *module->block_dim = *block_dim;
    SignalGuard guard;
    launching_thread = pthread_self();
    current_fault = fault;
    in_kernel = 1;
    const bool completed = sigsetjmp(launching_context, 0) == 0 && run_grid(launch);
    in_kernel = 0;
    if (!completed) block.abandon();
    return completed ? 0 : 1;
}

// What the kernels printed since the last call; valid until the next launch.
GPUNET_EXPORT const char* gpunet_emulator_printed() {
    static std::string taken;
    taken.swap(printed);
    printed.clear();
    return taken.c_str();
}

// What the next launch may touch, if it is checked.
GPUNET_EXPORT void gpunet_emulator_regions(const Region* regions, int count) {
    checker.map.set(regions, count);
}

// The accesses of the last launch that was traced; valid until the next one.
GPUNET_EXPORT const TraceRecord* gpunet_emulator_trace(uint64_t* count) {
    *count = trace.records.size();
    return trace.records.data();
}
