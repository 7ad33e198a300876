// SPDX-License-Identifier: Apache-2.0
//
// What the commands share: exit codes, the parsed command line, the HTTP client, messages.
#pragma once

#include "service/service.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_OFFERED = 3 };

enum {
    CLI_OPTIONS_MAX = 64,      // options of one command, the global ones included
    CLI_GIVEN_MAX = 192,       // of a command line: those that may be repeated are lists of 64
    CLI_BODY_MAX = 512 << 20,  // bytes of an answer or a file: more than any limit of the server
    CLI_KERNEL_ARGS_MAX = 128, // as the guest ABI
};

// An option a command takes besides the global ones. `value` names what follows in help; NULL: a switch.
struct cli_option {
    const char *name, *value, *help;
};

// A parsed command line. Frozen after cli_parse; texts are borrowed from argv and the environment.
struct cli {
    const struct cli_command *command;
    const struct cli_option *options;    // ends with a NULL name
    const char *values[CLI_OPTIONS_MAX]; // by option; a switch that was given is ""
    struct cli_given {
        const char *option, *value;
    } given[CLI_GIVEN_MAX]; // in their order
    size_t given_count;
    char **args; // what is not an option
    int arg_count;
    const char *server, *tenant, *ca_cert, *token;
    bool is_json; // --output json
};

// ---- commands.c: the table ----
struct cli_command {
    const char *words, *arguments, *summary;
    int (*run)(int argc, char **argv);
};
const struct cli_command *cli_command_at(size_t index); // in the table's order; NULL at the end
const struct cli_command *cli_command_of(int (*run)(int argc, char **argv));
// The command whose words begin argv; `*ret_words` is how many there are. NULL: there is none.
const struct cli_command *cli_command_find(int argc, char **argv, int *ret_words);

// ---- help.c ----
int cli_help(void);        // on all commands, as asked for; CLI_OK
int cli_help_wanted(void); // the same as an answer to no words at all; CLI_USAGE
// Words that name no command: the commands that begin with them, or what may have been meant. CLI_OK only for
// the first, when help was asked for.
int cli_help_family(int count, char **words, bool asks_help);

// ---- options.c ----
// Parses what follows the command's words; `*ret_status` is CLI_OK and false after --help, CLI_USAGE and
// false after a mistake (already told).
[[nodiscard]] bool cli_parse(struct cli *cli, int (*command)(int, char **), const struct cli_option *options,
                             int argc, char **argv, int min_args, int max_args, int *ret_status);
const char *cli_value(const struct cli *cli, const char *option); // NULL: not given
// The next value of an option that may be repeated; NULL: there are no more. `position` starts with 0.
const char *cli_next_value(const struct cli *cli, const char *option, size_t *position);
// A whole number in a range, or `fallback` when it was not given; a wrong one is told and false.
[[nodiscard]] bool cli_number(const struct cli *cli, const char *option, uint64_t fallback, uint64_t min,
                              uint64_t max, uint64_t *ret_number);

// ---- message.c ----
// "tensor-wasm: …" on standard error.
[[gnu::format(printf, 1, 2)]] void cli_message(const char *format, ...);
int cli_fail(const struct tw_error *err); // tells it, CLI_FAILED
// As cli_fail; where the message points into `source`, its line is shown with a caret under the column.
int cli_fail_at(struct tw_str source, const struct tw_error *err);
// Tells in the same way that a kernel is refused; its refusal begins with the place.
void cli_warn_at(struct tw_str source, struct tw_str entry, struct tw_str refusal);
[[gnu::format(printf, 1, 2)]] int cli_usage(const char *format, ...); // tells it, CLI_USAGE

// ---- io.c: files and standard streams; every failure is told ----
// "-" is standard input.
[[nodiscard]] bool cli_read_file(const char *path, struct tw_buf *out);
// "-" is standard output. As a shell's > does it: through links, into devices and pipes.
[[nodiscard]] bool cli_write_file(const char *path, struct tw_span data);
// To standard output, behind what was printed. cli_show remembers a failure.
bool cli_write_out(struct tw_span data);
// What the export returned; NULL: nothing. Borrowed from the answer.
const struct tw_json *cli_result(const struct tw_json *answer);
// What a call wrote to its standard output, text or not. False (told): it could not be decoded or written.
bool cli_write_output(const struct tw_json *answer);
// Is it an array of arguments? Tells why not.
[[nodiscard]] bool cli_args_check(const char *args);
// An answer as it came, ended by a line feed; for cli_ask.
int cli_print_answer(const struct cli *cli, const struct tw_buf *body);
// An object of the server's JSON: as it is with --output json, else by `print`. The exit status.
int cli_show(const struct cli *cli, const struct tw_buf *body, void (*print)(const struct tw_json *object));
int cli_show_json(const struct tw_buf *body); // as it is; the exit status

// ---- path.c: paths of requests ----
// Appends `text` as one percent-encoded segment.
[[nodiscard]] bool cli_path_append(struct tw_buf *path, struct tw_str text);
// "/functions/" or the like, NAME, and what follows, into a new buffer; failure is told.
[[nodiscard]] bool cli_path(struct tw_buf *path, const char *collection, const char *name, const char *rest);
// "/functions/NAME" and what follows, as cli_path.
[[nodiscard]] bool cli_function_path(struct tw_buf *path, const char *name, const char *rest);

// ---- client.c: one request to the server ----
struct cli_request {
    const char *method;
    const char *path;         // "/functions/x", already encoded
    const char *content_type; // NULL: no body
    struct tw_span body;
    bool show_progress;   // on a terminal
    uint64_t deadline_ms; // of the call; 0: the function's or the server's
};
// The answer's body in `out` (initialised here, the caller does tw_buf_done); true for 2xx. Failures are told
// with the server's own words.
[[nodiscard]] bool cli_call(const struct cli *cli, const struct cli_request *request, struct tw_buf *out,
                            int *ret_status);
// What a call wrote to its standard error, on ours.
void cli_tell_stderr(const struct tw_json *answer);
// A trap's backtrace on standard error; NULL: none.
void cli_tell_frames(const struct tw_json *trace);
// All pages of a list (its path, its member of the answer), each item by `print` or, as JSON, in one array.
int cli_list(const struct cli *cli, const char *path, const char *member,
             void (*print)(const struct tw_json *item));
// Sends a request without a body and shows the answer, if there is one, by `show`.
int cli_ask(const struct cli *cli, const char *method, const char *path,
            int (*show)(const struct cli *cli, const struct tw_buf *body));

// ---- cmd_instances.c ----
void cli_print_instance(const struct tw_json *instance); // a line

// ---- cmd_jobs.c ----
int cli_show_job(const struct cli *cli, const struct tw_buf *body); // a job's JSON; the exit status

// ---- local.c: a service inside this process, for run, kernel and doctor ----
struct cli_local_options {
    const char *data_dir;       // NULL keeps nothing
    const char *device;         // NULL: auto
    const char *memory_backend; // NULL: owned
    enum tw_gpu_tier tier;
    bool unconfined;            // kernels without the sandbox
    unsigned kernel_timeout_ms; // of a launch; 0: ten minutes
};
[[nodiscard]] struct tw_service *cli_local_service(const struct cli_local_options *local,
                                                   struct tw_error *err);

// ---- local_call.c: a module deployed into such a service, for run and bench ----
// Confined while it is opened and closed; cli_local_call may be called on any thread.
struct cli_local {
    struct tw_service *service;
    struct tw_buf wasm, body;
    struct tw_str export;
    bool is_json;
    int64_t deploy_ns; // how long deploying took
};
// Reads the module that is the first argument and what the options --args or --input, --export, --arg, --env,
// --device and --memory-backend say, and deploys it. False: told, with the exit status. cli_local_close in any case.
[[nodiscard]] bool cli_local_open(struct cli_local *local, const struct cli *cli, int *ret_status);
void cli_local_close(struct cli_local *local);
// One call, waited for. False: it was refused. Else call->error tells how it went, and the caller does
// tw_service_call_done.
[[nodiscard]] bool cli_local_call(struct cli_local *local, struct tw_service_call *call,
                                  struct tw_error *err);
// What went wrong with a call, and its backtrace, on standard error.
void cli_tell_call(const struct tw_service_call *call);

#define TW_COMMAND(words, function, arguments, summary) int function(int argc, char **argv);
#include "cli/commands.def"
#undef TW_COMMAND
