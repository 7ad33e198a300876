// SPDX-License-Identifier: Apache-2.0
//
// Runs the command that the words name.

#include "cli/cli.h"

#include "cli/internal.h"

static bool is_word(const char *word, const char *one, const char *other) {
    return word && (strcmp(word, one) == 0 || strcmp(word, other) == 0);
}

// "help deploy" is "deploy --help", "--version" is "version".
static int run_command(int argc, char **argv) {
    static char help[] = "--help", version[] = "version";
    if (argc < 2)
        return cli_help_wanted();
    if (is_word(argv[1], "--version", "-V"))
        argv[1] = version;
    bool asks_help = is_word(argv[1], "help", "help");
    char **words = argv + 1 + asks_help;
    int word_count = 0, count = argc - 1 - asks_help;
    if (count == 0 || is_word(words[0], "--help", "-h"))
        return cli_help();
    const struct cli_command *command = cli_command_find(count, words, &word_count);
    if (!command)
        return cli_help_family(count, words, asks_help);
    if (!asks_help)
        return command->run(count - word_count + 1, words + word_count - 1);
    return command->run(2, (char *[]){words[word_count - 1], help, NULL});
}

// What was printed may still fail to be written when the command is done with it.
int tw_cli_main(int argc, char **argv) {
    int status = run_command(argc, argv);
    bool ok = cli_write_out((struct tw_span){}) && !ferror(stdout);
    return ok || status != CLI_OK ? status : CLI_FAILED;
}
