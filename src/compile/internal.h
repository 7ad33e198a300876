// SPDX-License-Identifier: Apache-2.0
//
// What the files of compile/ share. There are three kinds of process:
//
//     server ──job + 3 descriptors──▶ fork server ──fork──▶ child (sandboxed; compiles one input; dies)
//        ▲ ◀──────── exit ──────────────┘                      │
//        └────────────── reply (pipe) and code (memory file) ──┘   whichever comes first ends the request
//
// The *fork server* is tensor-wasm-compiler after its start-up: it sees no tenant's bytes, only forks. The
// *child* sees one tenant's input and nothing else: a read-only mapping of it, the memory file it writes the
// code to, and a pipe for its reply. So what one input does to a compiler no other input ever meets. The
// server believes the exit packet, and checks the reply.
//
// Files: wire.c the packets; process.c one fork server as the server sees it; serve.c the fork server;
// spare.c, child.c the child; sandbox.c its limits; artifact.c mapped code; table.c open artifacts; cache.c files,
// sweep.c how many; identity.c what keys are made of; crew.c who gets a process; compiler.c all together.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "compile/compile.h"
#include "compile/limits.h"

// ---- wire.c: packets of one fixed struct each, over SOCK_SEQPACKET; both ends are the same build or refuse
// at hello ----

enum { COMPILE_PROTOCOL = 3 };
#define COMPILE_MAGIC_HELLO UINT64_C(0x316f6c6c65487754) // "TwHello1"
#define COMPILE_MAGIC_JOB   UINT64_C(0x3130626f4a7754)   // "TwJob01"
#define COMPILE_MAGIC_EXIT  UINT64_C(0x3174697845775f54) // "T_wExit1"
#define COMPILE_MAGIC_REPLY UINT64_C(0x31796c7065527754) // "TwReply1"

// Fork server → server, once. A code other than TW_OK: the start failed, and `message` says why.
struct compile_hello {
    uint64_t magic;
    uint32_t version;
    uint32_t code; // enum tw_code
    char target[COMPILE_TARGET_MAX];
    char message[TW_ERROR_MESSAGE_MAX];
};

// Server → fork server, with the descriptors {input, output, reply pipe}.
struct compile_job {
    uint64_t magic;
    uint64_t id;           // random; the reply must repeat it
    uint64_t input_bytes;  // of the sealed input file
    uint64_t memory_bytes; // the child's, beyond what the fork server has
    uint32_t cpu_seconds, wall_ms;
    uint32_t kind;      // enum tw_compile_kind
    uint32_t interrupt; // enum tw_compile_interrupt
    struct tw_kernel_variant variant;
    char stage[16];
    char entry[TW_KERNEL_NAME_MAX + 1];
    uint8_t background;
    char padding[6]; // zero
};
enum { COMPILE_JOB_FDS = 3 };

// Fork server → server: the child is gone. One for each job, in their order; the server may have the reply before, and
// have sent the next job: then the fork server ends what is left of the child.
struct compile_exit {
    uint64_t magic;
    uint64_t id;
    int32_t wait_status; // as waitpid gives it
    uint32_t killed;     // 1: the fork server killed it when its wall time was over
};

// Child → server, through the pipe; from a process that may be in a tenant's hands.
struct compile_reply {
    uint64_t magic;
    uint64_t id;
    uint64_t output_bytes;
    uint32_t code; // TW_OK: the output is the artifact
    uint32_t reserved;
    char message[TW_ERROR_MESSAGE_MAX];
};

enum compile_received { COMPILE_GOT, COMPILE_CLOSED, COMPILE_LATE, COMPILE_BROKEN };
// False with errno. Never raises SIGPIPE. `fds` may be NULL when count is 0.
[[nodiscard]] bool compile_send(int socket, const void *packet, size_t size, const int *fds, size_t fd_count);
// Waits until one of `waits` has what it waits for: GOT, LATE or BROKEN.
enum compile_received compile_await(struct pollfd *waits, size_t count, int64_t deadline_ns);
// Waits until `deadline_ns` for a packet of exactly `size` bytes with exactly `fd_count` descriptors
// (close-on-exec, the caller's from then on); anything else is BROKEN, and no descriptor stays open.
enum compile_received compile_receive(int socket, void *ret_packet, size_t size, int *ret_fds,
                                      size_t fd_count, int64_t deadline_ns);

enum compile_verdict { COMPILE_MADE, COMPILE_REFUSED, COMPILE_GARBAGE };
// Checks everything about a reply to request `id` whose output file has `file_bytes` bytes. REFUSED fills
// `ret_error`.
enum compile_verdict compile_reply_decode(struct tw_span bytes, uint64_t id, uint64_t file_bytes,
                                          struct tw_error *ret_error);

// ---- sandbox.c (child) ----

// How a child ends when it noticed its own misfortune.
enum compile_exit_code {
    COMPILE_EXIT_OK = 0,
    COMPILE_EXIT_MEMORY = 77,
    COMPILE_EXIT_ABORT = 78,
    COMPILE_EXIT_STACK = 79,
    COMPILE_EXIT_SETUP = 80
};
enum { COMPILE_OUTPUT_FD = 3, COMPILE_REPLY_FD = 4 };

struct compile_sandbox; // compiled seccomp programs; frozen
[[nodiscard]] struct compile_sandbox *compile_sandbox_new(struct tw_error *err);
void compile_sandbox_free(struct compile_sandbox *sandbox);
// Limits, signal handlers, then the system-call filter: irrevocable. False with errno.
[[nodiscard]] bool compile_sandbox_enter(const struct compile_sandbox *sandbox,
                                         const struct compile_job *job);

// ---- child.c ----

// The descriptors are those of the job; `complaints` becomes standard error.
[[gnu::noreturn]] void compile_child_run(const struct compile_job *job, const int fds[COMPILE_JOB_FDS],
                                         int complaints, const struct compile_sandbox *sandbox,
                                         const struct tw_compile_handlers *handlers);

// ---- spare.c (fork server) ----

// A child without a request, or one that has just been given its. Confined to the fork server.
struct compile_spare {
    pid_t pid;      // 0: none
    int socket;     // where it waits for its job
    int complaints; // what it says on standard error
};

// Confined to the fork server's one thread.
struct compile_fork_server {
    int socket;
    const struct compile_sandbox *sandbox;
    const struct tw_compile_handlers *handlers;
    struct compile_spare spare;
};
// Forks a child and lets it warm up, unless there is one. Not having one costs time only.
void compile_spare_start(struct compile_fork_server *server);
// Gives the job to the spare child, or to one forked now. The caller waits for it and closes its complaints. False:
// no process could be made.
[[nodiscard]] bool compile_spare_take(struct compile_fork_server *server, const struct compile_job *job,
                                      const int fds[COMPILE_JOB_FDS], struct compile_spare *ret_child);

// ---- artifact.c ----

// A new artifact over `fd` (taken, in failure too), whose first `len` bytes are it. NULL on failure.
struct tw_artifact *compile_artifact_new(int fd, size_t len, const struct tw_digest *key,
                                         struct tw_error *err);

// ---- process.c ----

// Confined to whoever took it from the compiler.
struct compile_process {
    pid_t pid;
    int socket;
    bool alive, busy;
};

enum compile_end {
    COMPILE_END_MADE,    // fd is the sealed artifact of `len` bytes, the caller's
    COMPILE_END_REFUSED, // the input is at fault; `error` says how
    COMPILE_END_CRASH,   // the child died; `error` says how
    COMPILE_END_MEMORY,
    COMPILE_END_TIMEOUT, // of wall or CPU time
    COMPILE_END_LOST,    // the fork server itself died; the input need not be at fault
    COMPILE_END_LOCAL,   // this process lacks something (memory, descriptors)
};
struct compile_outcome {
    enum compile_end end;
    int fd;
    size_t len;
    struct tw_error error;
};

// Starts the program behind `program_fd` and waits for its hello. INTERNAL when it cannot be run. *ret_died: it ran, and
// ended without a word.
[[nodiscard]] bool compile_process_start(struct compile_process *process, int program_fd,
                                         struct compile_hello *ret_hello, bool *ret_died,
                                         struct tw_error *err);
void compile_process_stop(struct compile_process *process); // kills and reaps; harmless when it is not alive
// One request. `job` needs everything but magic and id. After LOST the process is not alive.
void compile_process_run(struct compile_process *process, const struct compile_job *job,
                         const struct tw_compile_request *request, struct compile_outcome *ret_outcome);

// ---- identity.c ----

// What, beside the input and options, decides the code: part of every key. Plain value.
struct compile_identity {
    struct tw_digest program; // sha256 of the compiler program
    char target[COMPILE_TARGET_MAX];
};
// Says whether the program and the processor are those an identity was made for, without reading the program.
// False when it cannot be known.
[[nodiscard]] bool compile_identity_stamp(int program_fd, struct tw_digest *ret_stamp, struct tw_error *err);
[[nodiscard]] bool compile_program_digest(int program_fd, struct tw_digest *ret_digest, struct tw_error *err);
struct tw_digest compile_key(const struct compile_identity *identity,
                             const struct tw_compile_request *request);

// ---- cache.c: the folder. Any thread; failures mean "not there" or "not kept" ----

struct compile_cache {
    char *folder;
    uint8_t secret[TW_DIGEST_SIZE]; // the HMAC key; frozen
    uint64_t max_bytes;             // frozen
    uint64_t used_bytes;            // about; the writing thread's
    bool is_counted;                // the writing thread's
};
// NULL when the folder cannot be used at all (it then keeps nothing): `err` says why.
[[nodiscard]] struct compile_cache *compile_cache_new(const char *folder, uint64_t max_bytes,
                                                      struct tw_error *err);
void compile_cache_free(struct compile_cache *cache);
// The artifact, checked; NULL when it is missing or not ours.
struct tw_artifact *compile_cache_load(const struct compile_cache *cache, const struct tw_digest *key);
[[nodiscard]] bool compile_cache_store(const struct compile_cache *cache, const struct tw_artifact *artifact,
                                       struct tw_error *err);
void compile_cache_remove(const struct compile_cache *cache, const struct tw_digest *key);
// After `written` more bytes were stored: removes the least recently used when that is too much (sweep.c).
// The writing thread only.
void compile_cache_sweep(struct compile_cache *cache, size_t written);
bool compile_cache_load_identity(const struct compile_cache *cache, const struct tw_digest *stamp,
                                 struct compile_identity *ret_identity);
[[nodiscard]] bool compile_cache_store_identity(const struct compile_cache *cache,
                                                const struct tw_digest *stamp,
                                                const struct compile_identity *identity,
                                                struct tw_error *err);

// ---- turns.c: who may use a process next. Guarded by the compiler's lock ----

// What a tenant has of the processes.
struct compile_share {
    uint64_t tenant;
    unsigned waiting, held; // its requests that wait; processes that it has
    int64_t used_ns;        // how long it had one, as fair queueing counts
    bool is_last;           // nobody's: for what nobody waits for
};
// One request's wait for a process, then its use of it.
struct compile_turn {
    struct compile_turn *next;
    struct compile_share *share; // of the tenant that has the best claim among those who want it
    bool is_waiting, is_refused;
    struct compile_process *process; // the request's until it gives it back; NULL: it has none
    int64_t began_ns;                // when it got that
    struct tw_cond changed;
};
struct compile_turns {
    struct compile_turn *first, *last; // in the order in which they came
    unsigned waiting, share_count;
    int64_t virtual_ns; // where the tenant stood that was served last
    struct compile_share background, shares[COMPILE_MAX_SHARES];
};
// Waits for a process. TIMEOUT, CAPACITY when too many wait; else `turn->process` is the caller's, alive or not, until it
// gives it back.
[[nodiscard]] bool compile_turn_take(struct tw_compiler *compiler, struct compile_turn *turn,
                                     const struct tw_compile_request *request, int64_t deadline_ns,
                                     struct tw_error *err);
void compile_turn_give(struct tw_compiler *compiler, struct compile_turn *turn);
// Another request wants the same: where its claim is the better one, the turn is its tenant's from now on.
void compile_turn_share_locked(struct tw_compiler *compiler, struct compile_turn *turn,
                               const struct tw_compile_request *request);
// Gives idle processes to those who wait.
void compile_turns_serve_locked(struct tw_compiler *compiler);

// ---- crew.c: the processes, and what the compiler knows of itself ----

// Guarded by `lock` but for the frozen part.
struct tw_compiler {
    struct tw_compiler_options options; // frozen; the strings are not kept
    int program_fd;                     // frozen: the program of the start, though the file be replaced
    struct compile_cache *cache;        // frozen; NULL: nothing is kept on disk
    struct tw_digest stamp;             // frozen
    struct tw_pool *writer;             // frozen: one thread that writes to the cache

    struct tw_lock lock;
    struct tw_cond landed; // a flight ended
    struct compile_process processes[COMPILE_MAX_PROCESSES];
    struct compile_turns turns;
    bool is_starting;                    // the first process, for nobody yet
    struct tw_task start;                // frozen while it is
    bool identity_known, identity_asked; // asked: somebody is starting a process to learn it
    struct compile_identity identity;
    struct tw_map flights; // by key: struct flight (compiler.c)
    struct compile_table *table;
    struct tw_compiler_stats stats;
};
// The identity, asking a compiler process when nobody has yet, before the request's deadline.
[[nodiscard]] bool compile_crew_identity(struct tw_compiler *compiler,
                                         const struct tw_compile_request *request,
                                         struct compile_identity *ret_identity, struct tw_error *err);
// Waits for a process, in `turn`, starts it if need be, runs the request on it. On true `ret_fd` and `ret_len` are the
// sealed artifact. `ret_own` says that the failure was of this caller's making (its deadline, a full queue),
// not the input's.
[[nodiscard]] bool compile_crew_run(struct tw_compiler *compiler, const struct tw_compile_request *request,
                                    struct compile_turn *turn, int *ret_fd, size_t *ret_len, bool *ret_own,
                                    struct tw_error *err);
void compile_crew_stop(struct tw_compiler *compiler);

// ---- table.c: artifacts kept open, the least recently used dropped. Guarded by the compiler's lock ----

struct compile_table;
struct compile_table *compile_table_new(void); // NULL: no memory
void compile_table_free(struct compile_table *table);
struct tw_artifact *compile_table_find(struct compile_table *table,
                                       const struct tw_digest *key); // a reference, or NULL
void compile_table_add(struct compile_table *table,
                       struct tw_artifact *artifact); // takes its own reference; may decline
