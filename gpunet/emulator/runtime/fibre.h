// A fibre: a stack of its own and the switch from one to another. Every CUDA thread that has to
// wait for another one keeps its fibre; all of them share one thread of the operating system.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && !defined(GPUNET_EMULATOR_UCONTEXT)
#define GPUNET_EMULATOR_ASSEMBLY_SWITCH 1
#else
#include <ucontext.h>
#endif

namespace gpunet_emulator {

#ifdef GPUNET_EMULATOR_ASSEMBLY_SWITCH

// Saves what the calling convention says a function must preserve, on the stack that is left,
// and takes it back from the stack that is entered. swapcontext would add two system calls.
extern "C" void gpunet_emulator_switch(void** save_stack_pointer, void* stack_pointer);
asm(R"(
.text
.globl gpunet_emulator_switch
.hidden gpunet_emulator_switch
.type gpunet_emulator_switch, @function
gpunet_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rdx
    jmp *%rdx
.size gpunet_emulator_switch, .-gpunet_emulator_switch
)");

struct Context {
    void* stack_pointer = nullptr;

    void prepare(char* stack_bottom, char* stack_top, void (*entry)()) {
        (void)stack_bottom;
        const auto aligned = reinterpret_cast<uintptr_t>(stack_top) & ~uintptr_t{15};
        auto top = reinterpret_cast<void**>(aligned);
        *--top = nullptr;  // where a return address would lie: keeps the stack aligned at entry
        *--top = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; ++i) *--top = nullptr;  // the six saved registers
        stack_pointer = top;
    }
    void switch_to(Context& other) { gpunet_emulator_switch(&stack_pointer, other.stack_pointer); }
};

#else

struct Context {
    ucontext_t context;

    void prepare(char* stack_bottom, char* stack_top, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack_bottom;
        context.uc_stack.ss_size = static_cast<size_t>(stack_top - stack_bottom);
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }
    void switch_to(Context& other) { swapcontext(&context, &other.context); }
};

#endif

constexpr size_t stack_size = 256 * 1024;
constexpr size_t guard_size = 64 * 1024;  // a multiple of every page size in use

struct Fibre {
    Context context;
    char* stack = nullptr;  // lowest address; the guard pages lie below

    // Maps the stack at the first call, later ones reuse it. False if there is no memory.
    bool prepare(int number, void (*entry)()) {
        if (!stack) {
            void* memory = mmap(nullptr, guard_size + stack_size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (memory == MAP_FAILED) return false;
            mprotect(memory, guard_size, PROT_NONE);
            stack = static_cast<char*>(memory) + guard_size;
        }
        // Stacks start at different offsets within a page: at equal ones, the hot frames of all
        // fibres would compete for the same few sets of the first-level cache.
        size_t colour = static_cast<size_t>(number) * 320 % 4096;
        context.prepare(stack, stack + stack_size - colour, entry);
        return true;
    }
    bool holds(const void* address) const {
        auto p = static_cast<const char*>(address);
        return p >= stack && p < stack + stack_size;
    }
    bool guards(const void* address) const {
        auto p = static_cast<const char*>(address);
        return stack && p < stack && p >= stack - guard_size;
    }
};

}  // namespace gpunet_emulator
