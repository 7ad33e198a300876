// SPDX-License-Identifier: Apache-2.0
//
// The commands of a specification test, one after the other; each one's line in the report is its line number, name,
// verdict and reason, separated by tabs. Commands that need what an earlier one could not make are skipped.

#include "spec.h"

// ---- the report ----
enum verdict { PASS, FAIL, SKIP };
static const char *const verdicts[] = {"pass", "fail", "skip"};

static void report(const struct tw_json *command, enum verdict verdict, const char *why) {
    char text[SPEC_TEXT_MAX];
    snprintf(text, sizeof(text), "%s", why);
    for (char *at = text; *at; at++)
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    printf("%" PRId64 "\t%.*s\t%s\t%s\n", tw_json_int(tw_json_get(command, "line")),
           TW_STR_ARG(tw_json_str(tw_json_get(command, "type"))), verdicts[verdict], text);
}

static void copy(char *to, size_t size, const struct tw_json *json, const char *key) {
    snprintf(to, size, "%.*s", TW_STR_ARG(tw_json_str(tw_json_get(json, key))));
}

// ---- actions ----
// What an action gave. Values are not unrooted one by one: the store ends with the test.
struct given {
    struct spec_outcome outcome;
    wasmtime_val_t values[SPEC_VALUES_MAX];
    size_t count;
};

static void lost(struct given *given, const char *why) {
    given->outcome.end = SPEC_LOST;
    snprintf(given->outcome.text, sizeof(given->outcome.text), "%s", why);
}

static size_t result_count(struct spec_run *run, const wasmtime_func_t *func) {
    wasm_functype_t *type = wasmtime_func_type(run->context, func);
    size_t count = wasm_functype_results(type)->size;
    wasm_functype_delete(type);
    return count;
}

static void invoke(struct spec_run *run, const struct tw_json *action, const wasmtime_func_t *func,
                   struct given *given) {
    const struct tw_json *list = tw_json_get(action, "args");
    wasmtime_val_t args[SPEC_VALUES_MAX];
    size_t count = tw_json_count(list);
    given->count = result_count(run, func);
    if (count > SPEC_VALUES_MAX || given->count > SPEC_VALUES_MAX)
        return lost(given, "more values than this program passes");
    for (size_t i = 0; i < count; i++)
        if (!spec_value(run, tw_json_at(list, i), &args[i]))
            return lost(given, "an argument that this program cannot make");
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call(run->context, func, args, count, given->values, given->count, &trap);
    (void)spec_judge(run, trap, error, &given->outcome);
}

static void act(struct spec_run *run, const struct tw_json *command, struct given *given) {
    const struct tw_json *action = tw_json_get(command, "action");
    struct tw_str field = tw_json_str(tw_json_get(action, "field"));
    char module[128];
    wasmtime_extern_t item;
    *given = (struct given){};
    copy(module, sizeof(module), action, "module");
    const struct spec_instance *instance = spec_find(run, module);
    if (!instance)
        return lost(given, "its module is not there");
    if (!wasmtime_instance_export_get(run->context, &instance->handle, field.data, field.len, &item))
        return lost(given, "no such export");
    if (item.kind == WASMTIME_EXTERN_FUNC)
        return invoke(run, action, &item.of.func, given);
    if (item.kind != WASMTIME_EXTERN_GLOBAL)
        return lost(given, "an export that cannot be read");
    wasmtime_global_get(run->context, &item.of.global, &given->values[0]);
    given->count = 1;
}

// ---- what is asserted ----
static void assert_return(struct spec_run *run, const struct tw_json *command) {
    const struct tw_json *expected = tw_json_get(command, "expected");
    struct given given;
    char text[SPEC_TEXT_MAX];
    act(run, command, &given);
    if (given.outcome.end)
        return report(command, given.outcome.end == SPEC_LOST ? SKIP : FAIL, given.outcome.text);
    if (tw_json_count(expected) != given.count)
        return report(command, FAIL, "another count of results");
    for (size_t i = 0; i < given.count; i++)
        if (!spec_matches(run, tw_json_at(expected, i), &given.values[i], text))
            return report(command, FAIL, text);
    report(command, PASS, "");
}

// Tests name a trap by the beginning of the reference interpreter's words, Wasmtime has its own.
static bool same_trap(const char *expected, const char *found) {
    static const char *const words[][2] = {
        {"undefined element", "undefined element"},
        {"uninitialized element", "uninitialized element"},
        {"indirect call", "indirect call type mismatch"},
        {"out of bounds memory access", "out of bounds memory access"},
        {"out of bounds table access", "out of bounds table access"},
        {"out of bounds table access", "undefined element"},
        {"out of bounds array access", "out of bounds array access"},
        {"call stack exhausted", "call stack exhausted"},
        {"null function", "null reference"},
        {"null structure", "null reference"},
        {"null array", "null reference"},
        {"null i31", "null reference"},
        {"null exception", "null reference"},
        {"null reference", "null reference"},
        {"cast failure", "cast failure"},
        {"integer overflow", "integer overflow"},
        {"integer divide by zero", "integer divide by zero"},
        {"invalid conversion to integer", "invalid conversion to integer"},
        {"unreachable", "wasm `unreachable` instruction executed"},
        {"undefined", "undefined element"},
        {"uninitialized", "uninitialized element"},
    };
    for (size_t i = 0; i < TW_COUNT(words); i++)
        if (strncmp(expected, words[i][0], strlen(words[i][0])) == 0 && strstr(found, words[i][1]))
            return true;
    return false;
}

static void judge_trap(const struct tw_json *command, const struct spec_outcome *outcome) {
    char expected[SPEC_TEXT_MAX], text[SPEC_TEXT_MAX * 2 + 32];
    copy(expected, sizeof(expected), command, "text");
    snprintf(text, sizeof(text), "expected \"%s\", found \"%s\"", expected, outcome->text);
    if (outcome->end == SPEC_LOST || outcome->end == SPEC_UNSUPPORTED)
        report(command, SKIP, outcome->text);
    else if (outcome->end != SPEC_TRAPPED)
        report(command, FAIL, text);
    else
        report(command, same_trap(expected, outcome->text) ? PASS : FAIL,
               same_trap(expected, outcome->text) ? "" : text);
}

static void assert_trap(struct spec_run *run, const struct tw_json *command) {
    struct given given;
    act(run, command, &given);
    judge_trap(command, &given.outcome);
}

static void assert_exception(struct spec_run *run, const struct tw_json *command) {
    struct given given;
    act(run, command, &given);
    report(command,
           given.outcome.end == SPEC_LOST    ? SKIP
           : given.outcome.end == SPEC_THREW ? PASS
                                             : FAIL,
           given.outcome.end == SPEC_THREW ? "" : given.outcome.text);
}

static void just_act(struct spec_run *run, const struct tw_json *command) {
    struct given given;
    act(run, command, &given);
    report(command,
           given.outcome.end == SPEC_LOST ? SKIP
           : given.outcome.end            ? FAIL
                                          : PASS,
           given.outcome.text);
}

// ---- modules ----
// The text format's errors are not ours: only binaries are uploaded.
static bool is_text(const struct tw_json *command) {
    return tw_str_equal(tw_json_str(tw_json_get(command, "module_type")), TW_STR("text")) &&
           !tw_json_get(command, "binary_filename");
}

static void file_of(const struct tw_json *command, char *ret_file, size_t size) {
    copy(ret_file, size, command, tw_json_get(command, "binary_filename") ? "binary_filename" : "filename");
}

static void report_instance(const struct tw_json *command, const struct spec_outcome *outcome) {
    bool lost = outcome->end == SPEC_LOST || outcome->end == SPEC_UNSUPPORTED;
    report(command, lost ? SKIP : outcome->end ? FAIL : PASS, outcome->text);
}

static void module(struct spec_run *run, const struct tw_json *command) {
    struct spec_outcome outcome;
    char file[1024], name[128];
    file_of(command, file, sizeof(file));
    copy(name, sizeof(name), command, "name");
    run->has_current = false;
    spec_instantiate(run, file, name, &outcome);
    report(command,
           outcome.end == SPEC_LOST || outcome.end == SPEC_UNSUPPORTED ? SKIP
           : outcome.end                                               ? FAIL
                                                                       : PASS,
           outcome.text);
}

// A module that is only named now and made an instance of later, maybe more than once.
static void define_module(struct spec_run *run, const struct tw_json *command) {
    if (run->definition_count == SPEC_DEFINITIONS_MAX)
        return report(command, SKIP, "more definitions than this program keeps");
    struct spec_definition *definition = &run->definitions[run->definition_count++];
    copy(definition->name, sizeof(definition->name), command, "name");
    file_of(command, definition->file, sizeof(definition->file));
    report(command, PASS, "");
}

static void make_instance(struct spec_run *run, const struct tw_json *command) {
    struct spec_outcome outcome;
    char name[128], wanted[128];
    copy(name, sizeof(name), command, "instance");
    copy(wanted, sizeof(wanted), command, "module");
    for (size_t i = run->definition_count; i-- > 0;) {
        if (*wanted && strcmp(run->definitions[i].name, wanted) != 0)
            continue;
        run->has_current = false;
        spec_instantiate(run, run->definitions[i].file, name, &outcome);
        return report_instance(command, &outcome);
    }
    report(command, SKIP, "its module is not there");
}

static void assert_refused(struct spec_run *run, const struct tw_json *command) {
    struct spec_outcome outcome;
    wasmtime_module_t *module;
    char file[1024], text[SPEC_TEXT_MAX];
    if (is_text(command))
        return report(command, SKIP, "text format");
    file_of(command, file, sizeof(file));
    copy(text, sizeof(text), command, "text");
    if (!spec_compile(run, file, &module, &outcome))
        return report(command, outcome.end == SPEC_LOST ? SKIP : PASS, "");
    wasmtime_module_delete(module);
    report(command, FAIL, text);
}

static void assert_unlinkable(struct spec_run *run, const struct tw_json *command) {
    struct spec_outcome outcome;
    char file[1024];
    file_of(command, file, sizeof(file));
    bool had_current = run->has_current;
    size_t count = run->instance_count;
    spec_instantiate(run, file, "", &outcome);
    run->has_current = had_current;
    run->instance_count = count;
    bool lost = outcome.end == SPEC_LOST || outcome.end == SPEC_UNSUPPORTED;
    report(command,
           lost                             ? SKIP
           : outcome.end == SPEC_UNLINKABLE ? PASS
                                            : FAIL,
           outcome.end == SPEC_UNLINKABLE ? "" : outcome.text);
}

// A trap in an active segment or in start code. A data segment that cannot fit is refused before anything runs.
static void assert_uninstantiable(struct spec_run *run, const struct tw_json *command) {
    struct spec_outcome outcome;
    char file[1024];
    file_of(command, file, sizeof(file));
    bool had_current = run->has_current;
    size_t count = run->instance_count;
    spec_instantiate(run, file, "", &outcome);
    bool unfit = outcome.end == SPEC_REFUSED && strstr(outcome.text, "does not fit memory");
    if (unfit)
        spec_pretend(run, file);
    run->has_current = had_current;
    run->instance_count = count;
    if (unfit)
        report(command, PASS, "");
    else
        judge_trap(command, &outcome);
}

static void name_instance(struct spec_run *run, const struct tw_json *command) {
    char name[128], as[256];
    copy(name, sizeof(name), command, "name");
    copy(as, sizeof(as), command, "as");
    const struct spec_instance *instance = spec_find(run, name);
    if (!instance)
        return report(command, SKIP, "its module is not there");
    wasmtime_error_t *error =
        wasmtime_linker_define_instance(run->linker, run->context, as, strlen(as), &instance->handle);
    if (error)
        wasmtime_error_delete(error);
    report(command, error ? FAIL : PASS, "");
}

// ---- commands ----
static const struct {
    const char *name;
    void (*run)(struct spec_run *run, const struct tw_json *command);
} commands[] = {
    {"module", module},
    {"module_definition", define_module},
    {"module_instance", make_instance},
    {"action", just_act},
    {"register", name_instance},
    {"assert_return", assert_return},
    {"assert_trap", assert_trap},
    {"assert_exhaustion", assert_trap},
    {"assert_exception", assert_exception},
    {"assert_invalid", assert_refused},
    {"assert_malformed", assert_refused},
    {"assert_unlinkable", assert_unlinkable},
    {"assert_uninstantiable", assert_uninstantiable},
};

static void run_command(struct spec_run *run, const struct tw_json *command) {
    struct tw_str type = tw_json_str(tw_json_get(command, "type"));
    for (size_t i = 0; i < TW_COUNT(commands); i++)
        if (tw_str_equal(type, tw_str_from(commands[i].name)))
            return commands[i].run(run, command);
    report(command, SKIP, "a command that this program does not know");
}

static int usage(void) {
    fprintf(stderr, "usage: spec_run [--plain | --epoch] TEST.json\n");
    return 2;
}

int main(int argc, char **argv) {
    enum spec_mode mode = SPEC_REWRITTEN;
    static struct spec_run run;
    struct tw_error err = {};
    struct tw_buf text;
    if (argc == 3)
        mode = strcmp(argv[1], "--plain") == 0 ? SPEC_PLAIN : SPEC_EPOCH;
    if (argc < 2 || argc > 3 || (mode == SPEC_EPOCH && strcmp(argv[1], "--epoch") != 0))
        return usage();
    char *path = argv[argc - 1];
    tw_buf_init(&text, SPEC_BYTES_MAX);
    struct tw_json *test = tw_file_read(path, &text, &err) ? tw_json_parse(tw_buf_span(&text), &err) : NULL;
    if (!test) {
        fprintf(stderr, "spec_run: %s: %s\n", path, err.message);
        return 2;
    }
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    spec_open(&run, mode, slash ? path : ".");
    const struct tw_json *list = tw_json_get(test, "commands");
    for (size_t i = 0; i < tw_json_count(list); i++) {
        run_command(&run, tw_json_at(list, i));
        fflush(stdout);
    }
    spec_close(&run);
    tw_json_free(test);
    tw_buf_done(&text);
    return 0;
}
