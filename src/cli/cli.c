// SPDX-License-Identifier: Apache-2.0
//
// Runs the command that the words name; tells what there is when they name none.

#include "cli/cli.h"

#include "cli/internal.h"

static void show_help(FILE *out) {
    fputs("tensor-wasm runs tenants' WebAssembly functions, which may launch GPU kernels (PTX) on a GPU or "
          "on the CPU.\n\n"
          "usage: tensor-wasm COMMAND [OPTION…] [ARGUMENT…]\n\ncommands:\n",
          out);
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++)
        fprintf(out, "  %-18s %s\n", command->words, command->summary);
    fputs("\ntensor-wasm COMMAND --help tells more about one.\n"
          "exit codes: 0 ok, 1 the operation failed, 2 wrong use or bad local input, 3 the server does not "
          "offer it\n",
          out);
}

static int unknown_command(int argc, char **argv) {
    bool has_second = argc > 2 && argv[2][0] != '-';
    char words[160];
    snprintf(words, sizeof words, "%s%s%s", argv[1], has_second ? " " : "", has_second ? argv[2] : "");
    const struct cli_command *near = cli_command_at(0);
    uint32_t distance = UINT32_MAX;
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        uint32_t far = tw_str_distance(tw_str_from(words), tw_str_from(command->words));
        uint32_t first = tw_str_distance(tw_str_from(argv[1]), tw_str_from(command->words));
        far = first < far ? first : far;
        if (far < distance) {
            near = command;
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
    static char version[] = "version";
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = version;
    int words = 0;
    const struct cli_command *command = cli_command_find(argc - 1, argv + 1, &words);
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
