// SPDX-License-Identifier: Apache-2.0
//
// Fiber stacks for guests, recycled: mapping one and faulting its pages in costs more than a short call.
// Below each lies a page that is never mapped; Wasmtime checks guests' depth before that, the page catches
// host functions.
//
//     | never mapped: a page | the stack, `size` bytes, grows down | (top)
//
// A guest cannot read what an earlier one left on a stack.

#include <sys/mman.h>
#include <unistd.h>

#include "engine/internal.h"

struct engine_stack {
    struct engine_stacks *owner;
    struct engine_stack *next;
    uint8_t *base; // of the mapping
    size_t guard, size;
};

static void unmap(struct engine_stack *stack) {
    munmap(stack->base, stack->guard + stack->size);
    free(stack);
}

static uint8_t *get_stack(void *env, size_t *ret_len) {
    struct engine_stack *stack = env;
    *ret_len = stack->size;
    return stack->base + stack->guard + stack->size;
}

// Its instance is gone.
static void give_stack(void *env) {
    struct engine_stack *stack = env;
    struct engine_stacks *owner = stack->owner;
    if (stack->size > ENGINE_STACK_KEEP_BYTES)
        madvise(stack->base + stack->guard, stack->size - ENGINE_STACK_KEEP_BYTES, MADV_DONTNEED);
    tw_lock_take(&owner->lock);
    bool keep = owner->free_count < ENGINE_STACKS_KEPT_MAX;
    if (keep) {
        stack->next = owner->free;
        owner->free = stack;
        owner->free_count++;
    }
    tw_lock_give(&owner->lock);
    if (!keep)
        unmap(stack);
}

static struct engine_stack *take_kept(struct engine_stacks *owner, size_t size) {
    TW_LOCK_SCOPE(&owner->lock);
    struct engine_stack *stack = owner->free;
    if (!stack || stack->size != size)
        return NULL;
    owner->free = stack->next;
    owner->free_count--;
    return stack;
}

static struct engine_stack *map_stack(struct engine_stacks *owner, size_t size) {
    struct engine_stack *stack = tw_alloc_zero(1, sizeof(*stack));
    if (!stack)
        return NULL;
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base =
        mmap(NULL, guard + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED) {
        free(stack);
        return NULL;
    }
    *stack = (struct engine_stack){.owner = owner, .base = base, .guard = guard, .size = size};
    if (mprotect(base + guard, size, PROT_READ | PROT_WRITE) == 0)
        return stack;
    unmap(stack);
    return NULL;
}

static wasmtime_error_t *new_stack(void *env, size_t size, bool zeroed, wasmtime_stack_memory_t *ret_stack) {
    struct engine_stacks *owner = env;
    (void)zeroed; // off in our settings: guests cannot see what is on a stack
    size = tw_align_up(size, (size_t)sysconf(_SC_PAGESIZE));
    struct engine_stack *stack = take_kept(owner, size);
    if (!stack)
        stack = map_stack(owner, size);
    if (!stack)
        return wasmtime_error_new("no memory for a stack");
    ret_stack->env = stack;
    ret_stack->get_stack_memory = get_stack;
    ret_stack->finalizer = give_stack;
    return NULL;
}

void engine_stacks_init(struct engine_stacks *stacks) {
    tw_lock_init(&stacks->lock);
}

void engine_stacks_done(struct engine_stacks *stacks) {
    while (stacks->free) {
        struct engine_stack *stack = stacks->free;
        stacks->free = stack->next;
        unmap(stack);
    }
    tw_lock_done(&stacks->lock);
}

void engine_stacks_configure(struct engine_stacks *stacks, wasm_config_t *config) {
    wasmtime_stack_creator_t creator = {.env = stacks, .new_stack = new_stack};
    wasmtime_config_host_stack_creator_set(config, &creator);
}
