// SPDX-License-Identifier: Apache-2.0
//
// Help on all commands or on a family of them, and what to say when the words name none.

#include "cli/internal.h"

// Is `words` the command's first words? "" is the beginning of all.
static bool begins(const struct cli_command *command, const char *words) {
    size_t len = strlen(words);
    return len == 0 || (strncmp(command->words, words, len) == 0 && command->words[len] == ' ');
}

static void show_commands(FILE *out, const char *family) {
    const struct cli_command *command;
    int width = 0;
    for (size_t i = 0; (command = cli_command_at(i)); i++)
        if (begins(command, family) && (int)strlen(command->words) > width)
            width = (int)strlen(command->words);
    for (size_t i = 0; (command = cli_command_at(i)); i++)
        if (begins(command, family))
            fprintf(out, "  %-*s  %s\n", width, command->words, command->summary);
}

static void show_help(FILE *out) {
    fputs("tensor-wasm runs tenants' WebAssembly functions, which may launch GPU kernels (PTX) on a GPU or "
          "on the CPU.\n\n"
          "usage: tensor-wasm COMMAND [OPTION…] [ARGUMENT…]\n\ncommands:\n",
          out);
    show_commands(out, "");
    fputs("\ntensor-wasm COMMAND --help tells more about one.\n"
          "exit codes: 0 ok, 1 the operation failed, 2 wrong use or bad local input, 3 the server does not "
          "offer it\n",
          out);
}

int cli_help(void) {
    show_help(stdout);
    return CLI_OK;
}

int cli_help_wanted(void) {
    show_help(stderr);
    return CLI_USAGE;
}

// How far `words` are from the command's words, or from as many of the first of those as reach to a space.
static uint32_t distance_to(const struct cli_command *command, const char *words) {
    uint32_t least = tw_str_distance(tw_str_from(words), tw_str_from(command->words));
    for (const char *space = command->words; (space = strchr(space, ' ')); space++) {
        struct tw_str first = {command->words, (size_t)(space - command->words)};
        uint32_t distance = tw_str_distance(tw_str_from(words), first);
        least = distance < least ? distance : least;
    }
    return least;
}

// NULL: none is near enough to have been meant.
static const struct cli_command *nearest(const char *words) {
    const struct cli_command *command, *near = NULL;
    uint32_t least = (uint32_t)strlen(words) / 3 + 1;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        uint32_t distance = distance_to(command, words);
        if (distance < least) {
            near = command;
            least = distance;
        }
    }
    return near;
}

// What follows a command of one word may be its first argument.
static int unknown(const char *words) {
    char first[160];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(words, " "), words);
    const struct cli_command *near = nearest(words);
    if (!near)
        near = nearest(first);
    if (near)
        return cli_usage("there is no command '%s'; did you mean '%s'?", words, near->words);
    return cli_usage("there is no command '%s'", words);
}

int cli_help_family(int count, char **argv, bool asks_help) {
    char words[160] = "";
    int used = 0;
    for (; used < count && argv[used][0] != '-' && used < 3; used++) {
        size_t len = strlen(words);
        snprintf(words + len, sizeof words - len, "%s%s", used ? " " : "", argv[used]);
    }
    asks_help =
        asks_help || (used < count && (strcmp(argv[used], "--help") == 0 || strcmp(argv[used], "-h") == 0));
    const struct cli_command *command = NULL;
    size_t i = 0;
    while ((command = cli_command_at(i)) && !(words[0] && begins(command, words)))
        i++;
    if (!command)
        return unknown(words[0] ? words : argv[0]);
    FILE *out = asks_help ? stdout : stderr;
    fprintf(out, "usage: tensor-wasm %s COMMAND [OPTION…] [ARGUMENT…]\n\ncommands:\n", words);
    show_commands(out, words);
    return asks_help ? CLI_OK : CLI_USAGE;
}
