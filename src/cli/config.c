// SPDX-License-Identifier: Apache-2.0
//
// Reading the table of settings: a flag wins over its variable, the variable over the default. What is
// malformed or unknown stops the start.

#include "cli/config.h"

#include <unistd.h>

enum config_kind { TEXT, NUMBER, SWITCH, SECRET };

static const struct {
    const char *variable, *flag, *fallback, *help;
    enum config_kind kind;
    uint64_t min, max;
} table[] = {
#define TW_OPTION(id, variable, flag, kind, fallback, min, max, help)                                        \
    {variable, flag, fallback, help, kind, min, max},
#include "cli/options.def"
#undef TW_OPTION
};

// Variables of the same prefix that the server does not read: the client's.
static const char *const client_variables[] = {"TENSOR_WASM_SERVER", "TENSOR_WASM_TOKEN"};

struct config_row cli_config_row(enum config_id id) {
    return (struct config_row){table[id].variable, table[id].flag, table[id].fallback, table[id].help};
}

bool cli_config_number(const struct cli *cli, enum config_id id, uint64_t *ret_number) {
    uint64_t fallback;
    bool is_number = tw_str_u64(tw_str_from(table[id].fallback), &fallback);
    TW_ASSERT(is_number);
    return cli_number(cli, table[id].flag, fallback, table[id].min, table[id].max, ret_number);
}

const struct cli_option *cli_config_options(void) {
    static struct cli_option options[CONFIG_COUNT + 2];
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        const char *value = table[i].kind == SWITCH ? NULL : table[i].kind == NUMBER ? "N" : "TEXT";
        options[i] = (struct cli_option){table[i].flag, value, table[i].help};
    }
    options[CONFIG_COUNT] = (struct cli_option){
        "print-config", NULL, "show the effective settings and where each came from, then exit"};
    return options;
}

static bool is_known(struct tw_str name) {
    for (size_t i = 0; i < CONFIG_COUNT; i++)
        if (tw_str_equal(name, tw_str_from(table[i].variable)))
            return true;
    for (size_t i = 0; i < TW_COUNT(client_variables); i++)
        if (tw_str_equal(name, tw_str_from(client_variables[i])))
            return true;
    return false;
}

// The nearest name, by the part after the common prefix; NULL: none is near.
static const char *nearest(struct tw_str name) {
    static const size_t prefix = sizeof "TENSOR_WASM_" - 1;
    const char *near = NULL;
    uint32_t distance = 0;
    for (size_t i = 0; i < CONFIG_COUNT + TW_COUNT(client_variables); i++) {
        const char *variable = i < CONFIG_COUNT ? table[i].variable : client_variables[i - CONFIG_COUNT];
        uint32_t far =
            tw_str_distance(tw_str_of(name.data + prefix, name.len - prefix), tw_str_from(variable + prefix));
        if (!near || far < distance) {
            near = variable;
            distance = far;
        }
    }
    return distance <= (name.len - prefix) / 2 ? near : NULL;
}

static bool check_environment(void) {
    for (char **entry = environ; *entry; entry++) {
        struct tw_str rest = tw_str_from(*entry);
        struct tw_str name = tw_str_cut(&rest, '=');
        if (tw_str_starts(name, TW_STR("TENSOR_WASM_")) && !is_known(name)) {
            const char *near = nearest(name);
            cli_usage("the environment variable %.*s is not known to this version; %s%s", TW_STR_ARG(name),
                      near ? "did you mean " : "unset it", near ? near : "");
            return false;
        }
    }
    return true;
}

static bool read_switch(const char *text, uint64_t *ret_value) {
    static const char *const words[][2] = {{"false", "true"}, {"0", "1"}, {"off", "on"}, {"no", "yes"}};
    for (size_t i = 0; i < TW_COUNT(words); i++)
        for (unsigned value = 0; value < 2; value++)
            if (strcmp(text, words[i][value]) == 0) {
                *ret_value = value;
                return true;
            }
    return false;
}

static bool read_value(struct config *config, size_t i, const char *origin) {
    const char *text = config->texts[i];
    switch (table[i].kind) {
    case NUMBER:
        if (tw_str_u64(tw_str_from(text), &config->numbers[i]) && config->numbers[i] >= table[i].min &&
            config->numbers[i] <= table[i].max)
            return true;
        cli_usage("%s takes a whole number from %" PRIu64 " to %" PRIu64 ", not '%s'", origin, table[i].min,
                  table[i].max, text);
        return false;
    case SWITCH:
        if (read_switch(text, &config->numbers[i]))
            return true;
        cli_usage("%s takes true or false, not '%s'", origin, text);
        return false;
    case TEXT:
    case SECRET:
        return true;
    }
    return false;
}

bool cli_config_read(struct config *config, const struct cli *cli) {
    *config = (struct config){};
    if (!check_environment())
        return false;
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        const char *flag = cli->values[i], *variable = getenv(table[i].variable);
        char origin[64];
        config->sources[i] = flag ? CONFIG_FLAG : variable ? CONFIG_VARIABLE : CONFIG_DEFAULT;
        config->texts[i] = flag       ? (table[i].kind == SWITCH ? "true" : flag)
                           : variable ? variable
                                      : table[i].fallback;
        snprintf(origin, sizeof origin, "%s%s", flag ? "--" : "", flag ? table[i].flag : table[i].variable);
        if (!read_value(config, i, origin))
            return false;
    }
    return true;
}

static const char *shown_value(const struct config *config, size_t i) {
    if (table[i].kind == SECRET)
        return config->texts[i][0] ? "(set, not shown)" : "(not set)";
    return config->texts[i];
}

static const char *const sources[] = {"default", "environment", "flag"};

bool cli_config_json(const struct config *config, struct tw_buf *out) {
    struct tw_json_writer writer;
    tw_json_write_init(&writer, out);
    tw_json_write_object(&writer);
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        tw_json_write_key(&writer, table[i].variable);
        tw_json_write_object(&writer);
        tw_json_write_text(&writer, "value", tw_str_from(shown_value(config, i)));
        tw_json_write_text(&writer, "source", tw_str_from(sources[config->sources[i]]));
        tw_json_write_end(&writer, '}');
    }
    tw_json_write_end(&writer, '}');
    return tw_json_write_done(&writer);
}

void cli_config_print(const struct config *config, bool as_json) {
    if (!as_json) {
        for (size_t i = 0; i < CONFIG_COUNT; i++)
            printf("%-36s %-28s %s\n", table[i].variable, shown_value(config, i),
                   sources[config->sources[i]]);
        return;
    }
    struct tw_buf out;
    tw_buf_init(&out, CONFIG_TEXT_MAX);
    if (cli_config_json(config, &out))
        printf("%s\n", (const char *)out.data);
    tw_buf_done(&out);
}
