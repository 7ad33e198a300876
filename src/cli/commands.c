// SPDX-License-Identifier: Apache-2.0
//
// The table of commands (commands.def) and how words find one.

#include "cli/internal.h"

static const struct cli_command commands[] = {
#define TW_COMMAND(words, function, arguments, summary) {words, arguments, summary, function},
#include "cli/commands.def"
#undef TW_COMMAND
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

const struct cli_command *cli_command_find(int argc, char **argv, int *ret_words) {
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
