// SPDX-License-Identifier: Apache-2.0
//
// `completions SHELL` and `man`: what shells and man(1) want to know, from the tables of commands and settings.
// Completions ask a command's own --help for its options, so they never lag behind it.

#include "cli/config.h"

// ---- completions ----

static const char bash_head[] =
    "# bash completion for tensor-wasm: source it, or put it into /etc/bash_completion.d\n"
    "_tensor_wasm() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} typed=() i line\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do typed+=(\"${COMP_WORDS[i]}\"); done\n"
    "    if [[ $cur == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(tensor-wasm \"${typed[@]}\" --help 2>/dev/null |\n"
    "            sed -n 's/^  \\(--[a-z0-9-]*\\).*/\\1/p')\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    local before=\"${typed[*]}\" words=()\n"
    "    [[ -n $before ]] && before+=' '\n"
    "    while IFS= read -r line; do\n"
    "        [[ \"$line \" == \"$before\"* && $line != \"${before% }\" ]] || continue\n"
    "        line=${line#\"$before\"}\n"
    "        words+=(\"${line%% *}\")\n"
    "    done <<'COMMANDS'\n";

static const char bash_tail[] = "COMMANDS\n"
                                "    COMPREPLY=($(compgen -W \"${words[*]}\" -- \"$cur\"))\n"
                                "    ((${#COMPREPLY[@]})) || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                                "}\n"
                                "complete -o filenames -F _tensor_wasm tensor-wasm\n";

static void bash(void) {
    fputs(bash_head, stdout);
    for (size_t i = 0; cli_command_at(i); i++)
        puts(cli_command_at(i)->words);
    fputs(bash_tail, stdout);
}

// zsh runs bash's completions.
static void zsh(void) {
    puts("#compdef tensor-wasm\nautoload -U +X bashcompinit && bashcompinit");
    bash();
}

// Single quotes do not stand in summaries within quotes.
static void put_fish_text(const char *text) {
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
}

static void fish(void) {
    puts("# fish completion for tensor-wasm: put it into ~/.config/fish/completions/tensor-wasm.fish");
    puts("function __tensor_wasm_options\n"
         "    set -l typed (commandline -opc)\n"
         "    command tensor-wasm $typed[2..-1] --help 2>/dev/null | "
         "string replace -rf '^  (--[a-z0-9-]*)[^ ]*( [A-Z|a-z-]+)?  +(.*)' '$1\\t$3'\n"
         "end\n"
         "complete -c tensor-wasm -n 'string match -q -- \"-*\" (commandline -ct)' -f -a "
         "'(__tensor_wasm_options)'");
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *command = cli_command_at(i);
        const char *last = strrchr(command->words, ' ');
        if (last)
            printf("complete -c tensor-wasm -n 'test (commandline -opc | string join \" \") = \"tensor-wasm "
                   "%.*s\"' -f -a %s -d '",
                   (int)(last - command->words), command->words, last + 1);
        else
            printf("complete -c tensor-wasm -n __fish_use_subcommand -a %s -d '", command->words);
        put_fish_text(command->summary);
        puts("'");
    }
    // The first words of those with two.
    for (size_t i = 0; cli_command_at(i); i++) {
        const char *words = cli_command_at(i)->words, *space = strchr(words, ' ');
        size_t len = space ? (size_t)(space - words) : 0;
        bool is_first = space && (i == 0 || strncmp(cli_command_at(i - 1)->words, words, len + 1) != 0);
        if (is_first)
            printf("complete -c tensor-wasm -n __fish_use_subcommand -f -a %.*s\n", (int)len, words);
    }
}

int cli_completions(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_completions, NULL, argc, argv, 1, 1, &status))
        return status;
    for (size_t i = 0; i < TW_COUNT(shells); i++)
        if (strcmp(cli.args[0], shells[i].name) == 0) {
            shells[i].print();
            return CLI_OK;
        }
    return cli_usage("there are completions for bash, zsh and fish, not for '%s'", cli.args[0]);
}

// ---- the manual page ----

// Roff takes a backslash, a hyphen and a point at a line's beginning for its own.
static void put_roff(const char *text) {
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void put_entry(const char *bold, const char *rest, const char *text) {
    fputs(".TP\n.B ", stdout);
    put_roff(bold);
    fputs("\n", stdout);
    if (*rest) {
        put_roff(rest);
        fputs("\n.br\n", stdout);
    }
    put_roff(text);
    fputs("\n", stdout);
}

static void put_settings(void) {
    puts(".SH SETTINGS OF THE SERVER\n"
         "A flag of\n.B serve\nwins over its variable, the variable over the default.");
    for (unsigned i = 0; i < CONFIG_COUNT; i++) {
        struct config_row row = cli_config_row((enum config_id)i);
        char names[160], text[512];
        snprintf(names, sizeof names, "--%s, %s", row.flag, row.variable);
        snprintf(text, sizeof text, "%s%s%s%s", row.help, *row.fallback ? " (default: " : "", row.fallback,
                 *row.fallback ? ")" : "");
        put_entry(names, "", text);
    }
}

int cli_man(int argc, char **argv) {
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_man, NULL, argc, argv, 0, 0, &status))
        return status;
    puts(".TH TENSOR\\-WASM 1 \"\" \"tensor\\-wasm " TW_VERSION "\"\n"
         ".SH NAME\ntensor\\-wasm \\- runs tenants' WebAssembly functions, which may launch GPU kernels\n"
         ".SH SYNOPSIS\n.B tensor\\-wasm\n.I COMMAND\n[OPTION...] [ARGUMENT...]\n"
         ".SH DESCRIPTION\n"
         "One program is server and client. Data goes to standard output, messages to standard error.\n"
         ".SH COMMANDS");
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *command = cli_command_at(i);
        put_entry(command->words, command->arguments, command->summary);
    }
    puts(".SH ENVIRONMENT\nOf the client:");
    put_entry("TENSOR_WASM_SERVER", "", "the server's URL (default: http://127.0.0.1:8080)");
    put_entry("TENSOR_WASM_TOKEN", "", "the bearer token");
    put_settings();
    puts(".SH EXIT STATUS\n0 ok, 1 the operation failed, 2 wrong use or bad local input, 3 the server does "
         "not "
         "offer it.");
    return CLI_OK;
}
