// SPDX-License-Identifier: Apache-2.0
//
// Finds the command in the table, shows help, parses options with getopt_long.

#include "cli/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <unistd.h>

#include "cli/internal.h"

static const struct cli_command commands[] = {
#define TW_COMMAND(words, function, arguments, summary) {words, arguments, summary, function},
#include "cli/commands.def"
#undef TW_COMMAND
};

static const struct cli_option global_options[] = {
    {"server", "URL", "the server (TENSOR_WASM_SERVER, http://127.0.0.1:8080)"},
    {"tenant", "N", "the tenant to act for"},
    {"ca-cert", "FILE", "certificates to trust for https"},
    {"output", "text|json", "how to print results"},
    {"help", NULL, "show this help"},
};

const struct cli_command *cli_command_of(int (*run)(int argc, char **argv)) {
    for (size_t i = 0; i < TW_COUNT(commands); i++)
        if (commands[i].run == run)
            return &commands[i];
    return NULL;
}

const struct cli_command *cli_command_at(size_t index) {
    return index < TW_COUNT(commands) ? &commands[index] : NULL;
}

void cli_message(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("tensor-wasm: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int cli_fail(const struct tw_error *err) {
    cli_message("%s: %s", tw_code_name(err->code), err->message);
    return CLI_FAILED;
}

int cli_fail_at(struct tw_str source, const struct tw_error *err) {
    struct tw_source_mark mark;
    cli_fail(err);
    if (tw_source_mark_find(source, err->message, &mark))
        fprintf(stderr, "%s\n%s\n", mark.text, mark.caret);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("tensor-wasm: ", stderr);
    vfprintf(stderr, format, args);
    fputs(" (--help shows how)\n", stderr);
    va_end(args);
    return CLI_USAGE;
}

static void show_help(FILE *out) {
    fputs("tensor-wasm runs tenants' WebAssembly functions, which may launch GPU kernels (PTX) on a GPU or "
          "on the CPU.\n\n"
          "usage: tensor-wasm COMMAND [OPTION…] [ARGUMENT…]\n\ncommands:\n",
          out);
    for (size_t i = 0; i < TW_COUNT(commands); i++)
        fprintf(out, "  %-18s %s\n", commands[i].words, commands[i].summary);
    fputs("\ntensor-wasm COMMAND --help tells more about one.\n"
          "exit codes: 0 ok, 1 the operation failed, 2 wrong use or bad local input, 3 the server does not "
          "offer it\n",
          out);
}

static void show_options(const struct cli_option *options, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof text, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-28s %s\n", text, options[i].help);
    }
}

static size_t count_options(const struct cli_option *options) {
    size_t count = 0;
    while (options && options[count].name)
        count++;
    return count;
}

void cli_command_help(const struct cli_command *command, const struct cli_option *options) {
    printf("%s\n\nusage: tensor-wasm %s %s\n", command->summary, command->words, command->arguments);
    if (count_options(options)) {
        puts("\noptions:");
        show_options(options, count_options(options));
    }
    puts("\nglobal options:");
    show_options(global_options, TW_COUNT(global_options));
}

// The command whose words begin argv; `*ret_words` is how many there are.
static const struct cli_command *find_command(int argc, char **argv, int *ret_words) {
    enum { WORDS_MAX = 3 };
    char words[WORDS_MAX][128];
    int count = argc < WORDS_MAX ? argc : WORDS_MAX;
    for (int i = 0; i < count; i++)
        snprintf(words[i], sizeof words[i], "%s%s%s", i ? words[i - 1] : "", i ? " " : "", argv[i]);
    for (int i = 0; i < count; i++)
        for (size_t c = 0; c < TW_COUNT(commands); c++)
            if (strcmp(commands[c].words, words[i]) == 0) {
                *ret_words = i + 1;
                return &commands[c];
            }
    return NULL;
}

static int unknown_command(int argc, char **argv) {
    bool has_second = argc > 2 && argv[2][0] != '-';
    char words[160];
    snprintf(words, sizeof words, "%s%s%s", argv[1], has_second ? " " : "", has_second ? argv[2] : "");
    const struct cli_command *near = &commands[0];
    uint32_t distance = UINT32_MAX;
    for (size_t i = 0; i < TW_COUNT(commands); i++) {
        uint32_t far = tw_str_distance(tw_str_from(words), tw_str_from(commands[i].words));
        uint32_t first = tw_str_distance(tw_str_from(argv[1]), tw_str_from(commands[i].words));
        far = first < far ? first : far;
        if (far < distance) {
            near = &commands[i];
            distance = far;
        }
    }
    if (distance <= strlen(near->words) / 3)
        return cli_usage("there is no command '%s'; did you mean '%s'?", words, near->words);
    return cli_usage("there is no command '%s'", words);
}

static int run_command(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        show_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(1, argv);
    int words = 0;
    const struct cli_command *command = find_command(argc - 1, argv + 1, &words);
    if (!command)
        return unknown_command(argc, argv);
    return command->run(argc - words, argv + words);
}

// What was printed may still fail to be written when the command is done with it.
int tw_cli_main(int argc, char **argv) {
    int status = run_command(argc, argv);
    bool ok = cli_write_out((struct tw_span){}) && !ferror(stdout);
    return ok || status != CLI_OK ? status : CLI_FAILED;
}

// getopt_long's table: the command's options, then the global ones; `val` is the index plus 256.
static size_t fill_table(const struct cli_option *options, struct option table[CLI_OPTIONS_MAX + 1]) {
    size_t own = count_options(options), count = own + TW_COUNT(global_options);
    TW_ASSERT(count <= CLI_OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *option = i < own ? &options[i] : &global_options[i - own];
        table[i] = (struct option){.name = option->name,
                                   .has_arg = option->value ? required_argument : no_argument,
                                   .val = 256 + (int)i};
    }
    table[count] = (struct option){};
    return own;
}

static bool set_globals(struct cli *cli, size_t own, int *ret_status) {
    const char *const *values = cli->values + own;
    const char *server = values[0] ? values[0] : getenv("TENSOR_WASM_SERVER");
    cli->server = server && *server ? server : "http://127.0.0.1:8080";
    cli->tenant = values[1];
    cli->ca_cert = values[2];
    cli->token = getenv("TENSOR_WASM_TOKEN");
    const char *output = values[3] ? values[3] : "text";
    cli->is_json = strcmp(output, "json") == 0;
    if (!cli->is_json && strcmp(output, "text") != 0) {
        *ret_status = cli_usage("--output takes text or json, not '%s'", output);
        return false;
    }
    return true;
}

bool cli_parse(struct cli *cli, int (*command)(int, char **), const struct cli_option *options, int argc,
               char **argv, int min_args, int max_args, int *ret_status) {
    struct option table[CLI_OPTIONS_MAX + 1];
    *cli = (struct cli){.command = cli_command_of(command), .options = options};
    size_t own = fill_table(options, table);
    optind = 1;
    opterr = 0;
    for (int found; (found = getopt_long(argc, argv, ":h", table, NULL)) != -1;) {
        if (found == 'h' || found == 256 + (int)(own + TW_COUNT(global_options)) - 1) {
            cli_command_help(cli->command, options);
            *ret_status = CLI_OK;
            return false;
        }
        if (found == '?' || found == ':') {
            *ret_status =
                cli_usage(found == ':' ? "'%s' wants a value" : "'%s' is not an option of this command",
                          argv[optind - 1]);
            return false;
        }
        cli->values[found - 256] = optarg ? optarg : "";
        if (cli->given_count == CLI_GIVEN_MAX) {
            *ret_status = cli_usage("a command takes at most %d options", CLI_GIVEN_MAX);
            return false;
        }
        cli->given[cli->given_count++] = (struct cli_given){table[found - 256].name, optarg};
    }
    cli->args = argv + optind;
    cli->arg_count = argc - optind;
    if (cli->arg_count < min_args || cli->arg_count > max_args) {
        *ret_status = cli_usage("usage: tensor-wasm %s %s", cli->command->words, cli->command->arguments);
        return false;
    }
    return set_globals(cli, own, ret_status);
}

const char *cli_value(const struct cli *cli, const char *option) {
    for (size_t i = 0; cli->options && cli->options[i].name; i++)
        if (strcmp(cli->options[i].name, option) == 0)
            return cli->values[i];
    return NULL;
}

const char *cli_next_value(const struct cli *cli, const char *option, size_t *position) {
    while (*position < cli->given_count) {
        const struct cli_given *given = &cli->given[(*position)++];
        if (strcmp(given->option, option) == 0)
            return given->value;
    }
    return NULL;
}

bool cli_number(const struct cli *cli, const char *option, uint64_t fallback, uint64_t min, uint64_t max,
                uint64_t *ret_number) {
    const char *text = cli_value(cli, option);
    *ret_number = fallback;
    if (!text || (tw_str_u64(tw_str_from(text), ret_number) && *ret_number >= min && *ret_number <= max))
        return true;
    cli_usage("--%s takes a whole number from %" PRIu64 " to %" PRIu64 ", not '%s'", option, min, max, text);
    return false;
}
