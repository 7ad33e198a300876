// SPDX-License-Identifier: Apache-2.0
//
// WASI preview 1 as far as it is granted: arguments, environment, clocks, random bytes, the three standard
// streams and sleeping. Standard input is the call's input, standard output its output. No files and no
// sockets exist. Every range is checked against the memory as it is now before anything is read or written.

#include "engine/internal.h"

// Of the WASI preview 1 specification.
enum wasi_errno {
    WASI_SUCCESS = 0,
    WASI_BADF = 8,
    WASI_FAULT = 21,
    WASI_INVAL = 28,
    WASI_NOMEM = 48,
    WASI_NOSPC = 51,
    WASI_NOSYS = 52,
    WASI_NOTSOCK = 57,
    WASI_NOTSUP = 58,
    WASI_OVERFLOW = 61,
    WASI_PIPE = 64,
    WASI_SPIPE = 70,
    WASI_NOTCAPABLE = 76,
};
enum { WASI_IOVS_MAX = 1024, WASI_STREAMS = 3, RANDOM_AT_ONCE = 64 << 10 };
enum { WASI_RIGHT_FD_READ = 1 << 1, WASI_RIGHT_FD_WRITE = 1 << 6, WASI_RIGHT_POLL = 1 << 27 };

static wasm_trap_t *answer(wasmtime_val_raw_t *args, enum wasi_errno error) {
    args[0].i32 = (int32_t)error;
    return NULL;
}

static uint32_t u32_of(const wasmtime_val_raw_t *arg) {
    return (uint32_t)arg->i32;
}

static uint32_t load_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t load_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static bool put_u32(struct engine_instance *instance, uint32_t ptr, uint32_t value) {
    uint8_t *at = engine_guest(instance, ptr, sizeof(value));
    if (at)
        memcpy(at, &value, sizeof(value));
    return at != NULL;
}

static bool put_u64(struct engine_instance *instance, uint32_t ptr, uint64_t value) {
    uint8_t *at = engine_guest(instance, ptr, sizeof(value));
    if (at)
        memcpy(at, &value, sizeof(value));
    return at != NULL;
}

static bool is_open(const struct engine_instance *instance, uint32_t fd) {
    return fd < WASI_STREAMS && !(instance->host.closed_fds >> fd & 1);
}

// ---- arguments and environment: a vector of pointers and the texts they point to ----

static wasm_trap_t *strings_sizes(struct engine_instance *instance, wasmtime_val_raw_t *args,
                                  const char *const *strings) {
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (; strings && strings[count]; count++)
        bytes += strlen(strings[count]) + 1;
    if (bytes > UINT32_MAX)
        return answer(args, WASI_OVERFLOW);
    uint32_t count_ptr = u32_of(&args[0]), bytes_ptr = u32_of(&args[1]);
    if (!engine_guest(instance, count_ptr, 4) || !engine_guest(instance, bytes_ptr, 4))
        return answer(args, WASI_FAULT);
    return answer(args, put_u32(instance, count_ptr, count) && put_u32(instance, bytes_ptr, (uint32_t)bytes)
                            ? WASI_SUCCESS
                            : WASI_FAULT);
}

static wasm_trap_t *strings_get(struct engine_instance *instance, wasmtime_val_raw_t *args,
                                const char *const *strings) {
    uint32_t count = 0, pointers = u32_of(&args[0]), texts = u32_of(&args[1]);
    uint64_t bytes = 0;
    for (; strings && strings[count]; count++)
        bytes += strlen(strings[count]) + 1;
    if (!engine_guest(instance, pointers, count * 4ULL) || !engine_guest(instance, texts, bytes))
        return answer(args, WASI_FAULT);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(strings[i]) + 1;
        put_u32(instance, pointers + i * 4, texts);
        memcpy(engine_guest(instance, texts, len), strings[i], len);
        texts += (uint32_t)len;
    }
    return answer(args, WASI_SUCCESS);
}

wasm_trap_t *engine_wasi_args_sizes_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return strings_sizes(instance, args, instance->call->invoke->wasi_args);
}
wasm_trap_t *engine_wasi_args_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return strings_get(instance, args, instance->call->invoke->wasi_args);
}
wasm_trap_t *engine_wasi_environ_sizes_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return strings_sizes(instance, args, instance->call->invoke->wasi_env);
}
wasm_trap_t *engine_wasi_environ_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return strings_get(instance, args, instance->call->invoke->wasi_env);
}

// ---- clocks, random bytes, the process ----

enum { WASI_CLOCK_REALTIME, WASI_CLOCK_MONOTONIC, WASI_CLOCK_PROCESS, WASI_CLOCK_THREAD };

wasm_trap_t *engine_wasi_clock_res_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    if (u32_of(&args[0]) > WASI_CLOCK_THREAD)
        return answer(args, WASI_INVAL);
    return answer(args, put_u64(instance, u32_of(&args[1]), 1) ? WASI_SUCCESS : WASI_FAULT);
}

wasm_trap_t *engine_wasi_clock_time_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    int64_t now_ns = 0;
    switch (u32_of(&args[0])) {
    case WASI_CLOCK_REALTIME:
        now_ns = tw_clock_wall_ns();
        break;
    case WASI_CLOCK_MONOTONIC:
        now_ns = tw_clock_ns();
        break;
    case WASI_CLOCK_PROCESS: // a guest's process is its call; a fiber has no CPU clock of its own
    case WASI_CLOCK_THREAD:
        now_ns = tw_clock_ns() - instance->call->invoke->times.running_ns;
        break;
    default:
        return answer(args, WASI_INVAL);
    }
    return answer(args, put_u64(instance, u32_of(&args[2]), (uint64_t)now_ns) ? WASI_SUCCESS : WASI_FAULT);
}

wasm_trap_t *engine_wasi_random_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t len = u32_of(&args[1]);
    uint8_t *bytes = engine_guest(instance, u32_of(&args[0]), len);
    if (!bytes)
        return answer(args, WASI_FAULT);
    for (uint32_t done = 0, part; done < len; done += part) {
        if (engine_is_stopping(instance))
            return engine_stop_trap();
        part = len - done < RANDOM_AT_ONCE ? len - done : RANDOM_AT_ONCE;
        tw_random(bytes + done, part);
    }
    return answer(args, WASI_SUCCESS);
}

wasm_trap_t *engine_wasi_proc_exit(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    instance->call->exited = true;
    instance->call->invoke->exit_code = args[0].i32;
    return engine_stop_trap();
}

wasm_trap_t *engine_wasi_proc_raise(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    (void)instance;
    return answer(args, WASI_NOSYS);
}

static void finish_yield(struct engine_call *call, wasmtime_val_raw_t *result) {
    (void)call;
    result->i32 = WASI_SUCCESS;
}

wasm_trap_t *engine_wasi_sched_yield(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    engine_call_yield(instance->call, finish_yield);
    return answer(args, WASI_SUCCESS);
}

// ---- the standard streams ----

// An entry once it was checked; NULL: it leaves the guest's memory.
struct iov {
    uint8_t *at;
    uint32_t len;
};
struct iovs {
    const uint8_t *list;
    uint32_t count;
    uint64_t bytes;
};

// As it lies in the guest's memory, at any address.
struct [[gnu::packed, gnu::may_alias]] raw_iov {
    uint32_t ptr, len;
};

// Reads an entry once, and checks what it read: a kernel that still runs may change the list between two looks, and
// reading into the list changes it too.
static struct iov iov_at(const struct engine_instance *instance, const uint8_t *list, uint32_t index) {
    const volatile struct raw_iov *entry = (const volatile struct raw_iov *)(list + index * 8);
    struct iov iov = {.len = entry->len};
    iov.at = engine_guest(instance, entry->ptr, iov.len);
    return iov;
}

static enum wasi_errno check_iovs(const struct engine_instance *instance, uint32_t ptr, uint32_t count,
                                  struct iovs *ret_iovs) {
    if (count > WASI_IOVS_MAX)
        return WASI_INVAL;
    struct iovs iovs = {.list = engine_guest(instance, ptr, count * 8ULL), .count = count};
    if (!iovs.list)
        return WASI_FAULT;
    for (uint32_t i = 0; i < count; i++) {
        struct iov iov = iov_at(instance, iovs.list, i);
        if (!iov.at)
            return WASI_FAULT;
        iovs.bytes += iov.len;
    }
    *ret_iovs = iovs;
    return WASI_SUCCESS;
}

wasm_trap_t *engine_wasi_fd_read(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct iovs iovs;
    uint32_t fd = u32_of(&args[0]), done_ptr = u32_of(&args[3]);
    if (!is_open(instance, fd))
        return answer(args, WASI_BADF);
    if (fd != 0)
        return answer(args, WASI_NOTCAPABLE);
    enum wasi_errno error = check_iovs(instance, u32_of(&args[1]), u32_of(&args[2]), &iovs);
    if (!error && !engine_guest(instance, done_ptr, 4))
        error = WASI_FAULT;
    if (error)
        return answer(args, error);
    struct tw_span input = instance->call->invoke->input;
    size_t *at = &instance->host.input_at, before = *at;
    for (uint32_t i = 0; i < iovs.count && *at < input.len; i++) {
        struct iov iov = iov_at(instance, iovs.list, i);
        size_t left = input.len - *at, len = iov.len < left ? iov.len : left;
        if (!iov.at)
            break; // it was changed meanwhile
        if (!engine_copy(instance, iov.at, input.data + *at, len))
            return engine_stop_trap();
        *at += len;
    }
    put_u32(instance, done_ptr, (uint32_t)(*at - before));
    return answer(args, WASI_SUCCESS);
}

static enum wasi_errno write_stream(struct engine_instance *instance, uint32_t fd, struct tw_span bytes) {
    if (fd == 2) {
        engine_append_stderr(instance, bytes);
        return WASI_SUCCESS;
    }
    int emitted = engine_emit(instance, bytes);
    return emitted == 0 ? WASI_SUCCESS : emitted == -2 ? WASI_NOSPC : WASI_PIPE;
}

wasm_trap_t *engine_wasi_fd_write(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct iovs iovs;
    uint32_t fd = u32_of(&args[0]), done_ptr = u32_of(&args[3]);
    if (!is_open(instance, fd))
        return answer(args, WASI_BADF);
    if (fd == 0)
        return answer(args, WASI_NOTCAPABLE);
    enum wasi_errno error = check_iovs(instance, u32_of(&args[1]), u32_of(&args[2]), &iovs);
    if (!error && (!engine_guest(instance, done_ptr, 4) || iovs.bytes > UINT32_MAX))
        error = WASI_FAULT;
    uint32_t done = 0;
    for (uint32_t i = 0; i < iovs.count && !error; i++) {
        struct iov iov = iov_at(instance, iovs.list, i);
        if (!iov.at)
            error = WASI_FAULT; // it was changed meanwhile
        else if (iov.len)
            error = write_stream(instance, fd, tw_span_of(iov.at, iov.len));
        if (!error)
            done += iov.len;
    }
    if (error && !done)
        return answer(args, error);
    put_u32(instance, done_ptr, done); // what was written is told, the error by the next call
    return fd == 1 ? engine_emitted(instance, args, WASI_SUCCESS) : answer(args, WASI_SUCCESS);
}

wasm_trap_t *engine_wasi_fd_close(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t fd = u32_of(&args[0]);
    if (!is_open(instance, fd))
        return answer(args, WASI_BADF);
    instance->host.closed_fds |= (uint8_t)(1U << fd);
    return answer(args, WASI_SUCCESS);
}

// fdstat: u8 type, u16 flags at 2, u64 rights at 8, u64 inherited rights at 16. The type stays 0 (unknown),
// as for a pipe: a character device would make C libraries buffer by lines.
wasm_trap_t *engine_wasi_fd_fdstat_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    uint32_t fd = u32_of(&args[0]);
    if (!is_open(instance, fd))
        return answer(args, WASI_BADF);
    uint8_t *stat = engine_guest(instance, u32_of(&args[1]), 24);
    if (!stat)
        return answer(args, WASI_FAULT);
    uint64_t rights = WASI_RIGHT_POLL | (fd == 0 ? WASI_RIGHT_FD_READ : WASI_RIGHT_FD_WRITE);
    memset(stat, 0, 24);
    memcpy(stat + 8, &rights, sizeof(rights));
    return answer(args, WASI_SUCCESS);
}

wasm_trap_t *engine_wasi_fd_fdstat_set_flags(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return answer(args, is_open(instance, u32_of(&args[0])) ? WASI_SUCCESS
                                                            : WASI_BADF); // none changes anything here
}

wasm_trap_t *engine_wasi_fd_filestat_get(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    if (!is_open(instance, u32_of(&args[0])))
        return answer(args, WASI_BADF);
    uint8_t *stat = engine_guest(instance, u32_of(&args[1]), 64);
    if (!stat)
        return answer(args, WASI_FAULT);
    memset(stat, 0, 64);
    return answer(args, WASI_SUCCESS);
}

wasm_trap_t *engine_wasi_fd_seek(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return answer(args, is_open(instance, u32_of(&args[0])) ? WASI_SPIPE : WASI_BADF);
}

wasm_trap_t *engine_wasi_fd_tell(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return engine_wasi_fd_seek(instance, args);
}

// ---- what is not granted ----

wasm_trap_t *engine_wasi_no_right(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return answer(args, is_open(instance, u32_of(&args[0])) ? WASI_NOTCAPABLE : WASI_BADF);
}

// A socket's call on what is none.
wasm_trap_t *engine_wasi_no_socket(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return answer(args, is_open(instance, u32_of(&args[0])) ? WASI_NOTSOCK : WASI_BADF);
}

// path_symlink names its folder third.
wasm_trap_t *engine_wasi_no_right_third(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    return answer(args, is_open(instance, u32_of(&args[2])) ? WASI_NOTCAPABLE : WASI_BADF);
}

// Asked for the folders that are granted: C libraries stop at the first BADF.
wasm_trap_t *engine_wasi_no_file(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    (void)instance;
    return answer(args, WASI_BADF);
}

// ---- poll_oneoff ----

// subscription: u64 userdata, u8 kind at 8, then for a clock u32 id at 16, u64 timeout at 24, u16 flags at
// 40; for a stream u32 fd at 16. event: u64 userdata, u16 errno at 8, u8 kind at 10, u64 bytes at 16.
enum {
    SUBSCRIPTION_SIZE = 48,
    EVENT_SIZE = 32,
    KIND_CLOCK = 0,
    KIND_READ = 1,
    KIND_WRITE = 2,
    CLOCK_ABSOLUTE = 1
};

// When a clock subscription is due, on the monotonic clock.
static int64_t due_at(const uint8_t *subscription, const struct engine_wait *wait) {
    uint64_t timeout = load_u64(subscription + 24);
    uint16_t flags;
    memcpy(&flags, subscription + 40, sizeof(flags));
    int64_t limited = timeout > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)timeout;
    if (!(flags & CLOCK_ABSOLUTE))
        return wait->started_ns + limited;
    return load_u32(subscription + 16) == WASI_CLOCK_REALTIME ? limited - wait->wall_offset_ns : limited;
}

// Whether it has something to tell at `now_ns`, and what.
static bool is_ready(const struct engine_instance *instance, const uint8_t *subscription,
                     const struct engine_wait *wait, int64_t now_ns, enum wasi_errno *ret_error,
                     uint64_t *ret_bytes) {
    uint8_t kind = subscription[8];
    uint32_t id = load_u32(subscription + 16);
    *ret_error = WASI_SUCCESS;
    *ret_bytes = 0;
    if (kind == KIND_CLOCK) {
        if (id > WASI_CLOCK_MONOTONIC) {
            *ret_error = WASI_NOTSUP;
            return true;
        }
        return due_at(subscription, wait) <= now_ns;
    }
    if (kind > KIND_WRITE)
        *ret_error = WASI_INVAL;
    else if (!is_open(instance, id))
        *ret_error = WASI_BADF;
    else if ((id == 0) != (kind == KIND_READ))
        *ret_error = WASI_NOTCAPABLE;
    else if (kind == KIND_READ)
        *ret_bytes = instance->call->invoke->input.len - instance->host.input_at;
    return true;
}

// Writes the events that are ready; how many.
static uint32_t write_events(struct engine_instance *instance, const struct engine_wait *wait,
                             int64_t now_ns) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < wait->subscription_count; i++) {
        uint8_t subscription[SUBSCRIPTION_SIZE], event[EVENT_SIZE] = {};
        memcpy(subscription,
               engine_guest(instance, wait->subscriptions_ptr + i * SUBSCRIPTION_SIZE, SUBSCRIPTION_SIZE),
               SUBSCRIPTION_SIZE);
        enum wasi_errno error;
        uint64_t bytes;
        if (!is_ready(instance, subscription, wait, now_ns, &error, &bytes))
            continue;
        uint16_t code = (uint16_t)error;
        memcpy(event, subscription, 8);
        memcpy(event + 8, &code, sizeof(code));
        event[10] = subscription[8];
        memcpy(event + 16, &bytes, sizeof(bytes));
        memcpy(engine_guest(instance, wait->events_ptr + count * EVENT_SIZE, EVENT_SIZE), event, EVENT_SIZE);
        count++;
    }
    put_u32(instance, wait->count_ptr, count);
    return count;
}

static void finish_sleep(struct engine_call *call, wasmtime_val_raw_t *result) {
    int64_t now_ns = tw_clock_ns();
    write_events(call->instance, &call->wait, now_ns > call->sleep.due_ns ? now_ns : call->sleep.due_ns);
    result->i32 = WASI_SUCCESS;
}

wasm_trap_t *engine_wasi_poll_oneoff(struct engine_instance *instance, wasmtime_val_raw_t *args) {
    struct engine_call *call = instance->call;
    struct engine_wait *wait = &call->wait;
    uint32_t count = u32_of(&args[2]);
    if (count == 0 || count > ENGINE_SUBSCRIPTIONS_MAX)
        return answer(args, WASI_INVAL);
    wait->subscriptions_ptr = u32_of(&args[0]);
    wait->events_ptr = u32_of(&args[1]);
    wait->subscription_count = count;
    wait->count_ptr = u32_of(&args[3]);
    wait->started_ns = tw_clock_ns();
    wait->wall_offset_ns = tw_clock_wall_ns() - wait->started_ns;
    const uint8_t *subscriptions =
        engine_guest(instance, wait->subscriptions_ptr, (uint64_t)count * SUBSCRIPTION_SIZE);
    if (!subscriptions || !engine_guest(instance, wait->events_ptr, (uint64_t)count * EVENT_SIZE) ||
        !engine_guest(instance, wait->count_ptr, 4))
        return answer(args, WASI_FAULT);
    int64_t due_ns = INT64_MAX;
    bool ready = false;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *subscription = subscriptions + i * SUBSCRIPTION_SIZE;
        enum wasi_errno error;
        uint64_t bytes;
        ready = ready || is_ready(instance, subscription, wait, wait->started_ns, &error, &bytes);
        if (!ready && due_at(subscription, wait) < due_ns)
            due_ns = due_at(subscription, wait);
    }
    if (ready) {
        write_events(instance, wait, wait->started_ns);
        return answer(args, WASI_SUCCESS);
    }
    return answer(args, engine_call_sleep(call, due_ns, finish_sleep) ? WASI_SUCCESS : WASI_NOMEM);
}
