// SPDX-License-Identifier: Apache-2.0
//
// A command's options and the global ones: parsed with getopt_long, and shown as help.

#include <getopt.h>

#include "cli/internal.h"

static const struct cli_option global_options[] = {
    {"server", "URL", "the server (TENSOR_WASM_SERVER, http://127.0.0.1:8080)"},
    {"tenant", "N", "the tenant to act for"},
    {"ca-cert", "FILE", "certificates to trust for https"},
    {"output", "text|json", "how to print results"},
    {"help", NULL, "show this help"},
};

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

static void show_command(const struct cli_command *command, const struct cli_option *options) {
    printf("%s\n\nusage: tensor-wasm %s%s%s\n", command->summary, command->words,
           *command->arguments ? " " : "", command->arguments);
    if (count_options(options)) {
        puts("\noptions:");
        show_options(options, count_options(options));
    }
    puts("\nglobal options:");
    show_options(global_options, TW_COUNT(global_options));
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

// One too few, or too many.
static int tell_wrong_count(const struct cli *cli, int max_args) {
    const char *words = cli->command->words, *arguments = cli->command->arguments,
               *gap = *arguments ? " " : "";
    if (cli->arg_count > max_args)
        return cli_usage("'%s' is one argument too many; usage: tensor-wasm %s%s%s", cli->args[max_args],
                         words, gap, arguments);
    return cli_usage("an argument is missing; usage: tensor-wasm %s%s%s", words, gap, arguments);
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
            show_command(cli->command, options);
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
        *ret_status = tell_wrong_count(cli, max_args);
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
