// SPDX-License-Identifier: Apache-2.0
//
// Fiber stacks for guests, recycled: mapping one and faulting its pages in costs more than a short call. They are cut
// from slabs. Below each lies a guard page; Wasmtime checks guests' depth before that, the page catches host functions.
//
//     | guard | stack 0, `size` bytes, grows down | guard | stack 1 | …
//
// Where the kernel can make a page a guard within a mapping (Linux 6.13) a slab is one mapping, else each stack is two:
// the number of mappings of a process is limited. A guest cannot read what an earlier one left on a stack.

#include <sys/mman.h>
#include <unistd.h>

#include "engine/internal.h"

enum { STACKS_A_SLAB = 32, GUARD_INSTALL = 102 }; // MADV_GUARD_INSTALL; older headers lack it

struct engine_stack {
    struct engine_stacks *owner;
    struct engine_stack *next;
    uint8_t *base; // above its guard
    size_t size;
};

struct engine_slab {
    struct engine_slab *next;
    uint8_t *mapping;
    size_t bytes;
    struct engine_stack stacks[STACKS_A_SLAB];
};

static uint8_t *get_stack(void *env, size_t *ret_len) {
    struct engine_stack *stack = env;
    *ret_len = stack->size;
    return stack->base + stack->size;
}

static void push_locked(struct engine_stacks *owner, struct engine_stack *stack) {
    stack->next = owner->free;
    owner->free = stack;
    owner->free_count++;
}

// Its instance is gone.
static void give_stack(void *env) {
    struct engine_stack *stack = env;
    struct engine_stacks *owner = stack->owner;
    tw_lock_take(&owner->lock);
    bool is_kept = owner->free_count < ENGINE_STACKS_KEPT_MAX;
    tw_lock_give(&owner->lock);
    size_t kept = is_kept ? ENGINE_STACK_KEEP_BYTES : 0;
    if (stack->size > kept)
        madvise(stack->base, stack->size - kept, MADV_DONTNEED);
    TW_LOCK_SCOPE(&owner->lock);
    push_locked(owner, stack);
}

static bool make_guard(uint8_t *page, size_t bytes) {
    return madvise(page, bytes, GUARD_INSTALL) == 0 || mprotect(page, bytes, PROT_NONE) == 0;
}

static struct engine_slab *slab_new(struct engine_stacks *owner, size_t guard, size_t size) {
    struct engine_slab *slab = tw_alloc_zero(1, sizeof(*slab));
    if (!slab)
        return NULL;
    slab->bytes = STACKS_A_SLAB * (guard + size);
    slab->mapping = mmap(NULL, slab->bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (slab->mapping == MAP_FAILED) {
        free(slab);
        return NULL;
    }
    madvise(slab->mapping, slab->bytes,
            MADV_NOHUGEPAGE); // a stack uses a few pages. Kernels without them say EINVAL
    bool ok = true;
    for (size_t i = 0; i < STACKS_A_SLAB; i++) {
        uint8_t *at = slab->mapping + i * (guard + size);
        ok = ok && make_guard(at, guard);
        slab->stacks[i] = (struct engine_stack){.owner = owner, .base = at + guard, .size = size};
    }
    if (ok)
        return slab;
    munmap(slab->mapping, slab->bytes);
    free(slab);
    return NULL;
}

// All stacks of an engine have one size.
static struct engine_stack *take_stack(struct engine_stacks *owner, size_t size) {
    TW_LOCK_SCOPE(&owner->lock);
    if (!owner->free) {
        struct engine_slab *slab = slab_new(owner, (size_t)sysconf(_SC_PAGESIZE), size);
        if (!slab)
            return NULL;
        slab->next = owner->slabs;
        owner->slabs = slab;
        for (size_t i = STACKS_A_SLAB; i > 0; i--)
            push_locked(owner, &slab->stacks[i - 1]);
    }
    struct engine_stack *stack = owner->free;
    TW_ASSERT(stack->size == size);
    owner->free = stack->next;
    owner->free_count--;
    return stack;
}

static wasmtime_error_t *new_stack(void *env, size_t size, bool zeroed, wasmtime_stack_memory_t *ret_stack) {
    struct engine_stacks *owner = env;
    (void)zeroed; // off in our settings: guests cannot see what is on a stack
    size = tw_align_up(size, (size_t)sysconf(_SC_PAGESIZE));
    struct engine_stack *stack = take_stack(owner, size);
    if (!stack)
        return wasmtime_error_new(ENGINE_NO_STACK);
    ret_stack->env = stack;
    ret_stack->get_stack_memory = get_stack;
    ret_stack->finalizer = give_stack;
    return NULL;
}

void engine_stacks_init(struct engine_stacks *stacks) {
    tw_lock_init(&stacks->lock);
}

void engine_stacks_done(struct engine_stacks *stacks) {
    while (stacks->slabs) {
        struct engine_slab *slab = stacks->slabs;
        stacks->slabs = slab->next;
        munmap(slab->mapping, slab->bytes);
        free(slab);
    }
    tw_lock_done(&stacks->lock);
}

void engine_stacks_configure(struct engine_stacks *stacks, wasm_config_t *config) {
    wasmtime_stack_creator_t creator = {.env = stacks, .new_stack = new_stack};
    wasmtime_config_host_stack_creator_set(config, &creator);
}
