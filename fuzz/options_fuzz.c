// SPDX-License-Identifier: Apache-2.0
//
// The server's settings: each line of the input is a variable of the environment (NAME=VALUE) or, when it begins with
// "--", an option. What is taken lies within the table's bounds; what is refused is told on standard error, which is
// thrown away here.

#include <unistd.h>

#include "cli/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 64 };

static void check(const struct config *config) {
    static const struct {
        uint64_t min, max;
        bool is_number;
    } bounds[] = {
#define TW_OPTION(id, variable, flag, kind, fallback, min, max, help)                                        \
    {min, max, sizeof #kind == sizeof "NUMBER" && #kind[0] == 'N'},
#include "cli/options.def"
#undef TW_OPTION
    };
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        TW_ASSERT(config->texts[i]);
        if (bounds[i].is_number)
            TW_ASSERT(config->numbers[i] >= bounds[i].min && config->numbers[i] <= bounds[i].max);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *variables[LINES_MAX + 1] = {}, *arguments[LINES_MAX + 2] = {}, **own = environ;
    static char program[] = "serve";
    struct tw_str rest = tw_str_of((const char *)data, size);
    arguments[0] = program;
    int variable_count = 0, argument_count = 1, status;
    while (rest.len && variable_count < LINES_MAX && argument_count < LINES_MAX) {
        char *line = tw_str_dup(tw_str_cut(&rest, '\n'));
        TW_ASSERT(line);
        if (line[0] == '-' && line[1] == '-')
            arguments[argument_count++] = line;
        else
            variables[variable_count++] = line;
    }
    static int is_quiet;
    if (!is_quiet++ && !freopen("/dev/null", "w", stderr))
        return 0;
    struct cli cli;
    struct config config;
    environ = variables;
    if (cli_parse(&cli, cli_serve, cli_config_options(), argument_count, arguments, 0, 0, &status) &&
        cli_config_read(&config, &cli))
        check(&config);
    environ = own;
    for (int i = 0; i < variable_count; i++)
        free(variables[i]);
    for (int i = 1; i < argument_count; i++)
        free(arguments[i]);
    return 0;
}
