// SPDX-License-Identifier: Apache-2.0
//
// The server's settings, from flags, environment and defaults (options.def).
#pragma once

#include "cli/internal.h"

enum config_id {
#define TW_OPTION(id, variable, flag, kind, fallback, min, max, help) CONFIG_##id,
#include "cli/options.def"
#undef TW_OPTION
    CONFIG_COUNT
};

enum config_source { CONFIG_DEFAULT, CONFIG_VARIABLE, CONFIG_FLAG };

// Frozen after cli_config_read; texts are borrowed from argv and the environment.
struct config {
    const char *texts[CONFIG_COUNT];
    uint64_t numbers[CONFIG_COUNT]; // NUMBER and SWITCH
    enum config_source sources[CONFIG_COUNT];
};

// A row of the table.
struct config_row {
    const char *variable, *flag, *fallback, *help;
};
struct config_row cli_config_row(enum config_id id);
// A number that another command takes as well: its flag there, with the server's default and bounds.
[[nodiscard]] bool cli_config_number(const struct cli *cli, enum config_id id, uint64_t *ret_number);
// The flags as command options, for cli_parse: CONFIG_COUNT of them, then `print-config`, then the end.
const struct cli_option *cli_config_options(void);
// Checks everything, also that no TENSOR_WASM_* variable is unknown; the first mistake is told and gives
// false.
[[nodiscard]] bool cli_config_read(struct config *config, const struct cli *cli);
enum { CONFIG_TEXT_MAX = 1 << 20 }; // bytes of the settings as JSON: an argument is 128 KiB at most
// {VARIABLE: {"value", "source"}, …}; secrets are not shown.
[[nodiscard]] bool cli_config_json(const struct config *config, struct tw_buf *out);
// Every setting, its value and where it came from; secrets are not shown.
void cli_config_print(const struct config *config, bool as_json);
