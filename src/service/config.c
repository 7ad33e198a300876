// SPDX-License-Identifier: Apache-2.0
//
// A function's settings: {"memory_bytes", "timeout_ms", "env": {…}, "args": […]}. Unknown members are refused
// by name.

#include "service/internal.h"

static bool add_text(char **list, size_t *count, struct tw_error *err, const char *name,
                     struct tw_str value) {
    size_t name_len = name ? strlen(name) + 1 : 0;
    char *text = tw_alloc(name_len + value.len + 1);
    if (!text)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    if (name)
        snprintf(text, name_len + 1, "%s=", name);
    memcpy(text + name_len, value.data, value.len);
    text[name_len + value.len] = 0;
    list[(*count)++] = text;
    return true;
}

static bool parse_env(const struct tw_json *env, struct service_config *config, struct tw_error *err) {
    if (tw_json_type(env) != TW_JSON_OBJECT || tw_json_count(env) > SERVICE_ENV_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "config.env takes an object of at most %d strings",
                       SERVICE_ENV_MAX);
    size_t count = 0;
    const char *name;
    const struct tw_json *value;
    for (void *iter = NULL; tw_json_next(env, &iter, &name, &value);) {
        if (tw_json_type(value) != TW_JSON_STRING || !*name || strchr(name, '='))
            return tw_fail(err, TW_ERR_INVALID_REQUEST,
                           "config.env: '%.64s' has to be a name without '=' and a string value", name);
        if (!add_text(config->env, &count, err, name, tw_json_str(value)))
            return false;
    }
    return true;
}

static bool parse_args(const struct tw_json *args, struct service_config *config, struct tw_error *err) {
    if (tw_json_type(args) != TW_JSON_ARRAY || tw_json_count(args) > SERVICE_ARGS_MAX)
        return tw_fail(err, TW_ERR_INVALID_REQUEST, "config.args takes an array of at most %d strings",
                       SERVICE_ARGS_MAX);
    size_t count = 1; // args[0] is the name
    for (size_t i = 0; i < tw_json_count(args); i++) {
        const struct tw_json *value = tw_json_at(args, i);
        if (tw_json_type(value) != TW_JSON_STRING)
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "config.args[%zu] has to be a string", i);
        if (!add_text(config->args, &count, err, NULL, tw_json_str(value)))
            return false;
    }
    return true;
}

static bool parse_number(const char *name, const struct tw_json *value, uint64_t min, uint64_t max,
                         uint64_t *ret_number, struct tw_error *err) {
    int64_t number = tw_json_int(value);
    if (tw_json_type(value) != TW_JSON_INT || number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "config.%s takes a whole number from %" PRIu64 " to %" PRIu64, name, min, max);
    *ret_number = (uint64_t)number;
    return true;
}

static bool parse_member(const struct tw_service *service, const char *key, const struct tw_json *value,
                         struct service_config *config, struct tw_error *err) {
    if (strcmp(key, "memory_bytes") == 0)
        return parse_number(key, value, 65536, service->options.max_memory_bytes, &config->memory_bytes, err);
    if (strcmp(key, "timeout_ms") == 0) {
        uint64_t number = 0;
        bool ok = parse_number(key, value, 1, SERVICE_TIMEOUT_MS_MAX, &number, err);
        config->timeout_ms = (uint32_t)number;
        return ok;
    }
    if (strcmp(key, "env") == 0)
        return parse_env(value, config, err);
    if (strcmp(key, "args") == 0)
        return parse_args(value, config, err);
    return tw_fail(err, TW_ERR_INVALID_REQUEST,
                   "config.%.64s is not known; there are memory_bytes, timeout_ms, env and args", key);
}

static void write_env(const struct service_config *config, struct tw_json_writer *writer) {
    tw_json_write_key(writer, "env");
    tw_json_write_object(writer);
    for (char **entry = config->env; *entry; entry++) {
        struct tw_str value = tw_str_from(*entry);
        struct tw_str name = tw_str_cut(&value, '=');
        char key[SERVICE_CONFIG_TEXT_MAX / 16];
        snprintf(key, sizeof key, "%.*s", TW_STR_ARG(name));
        tw_json_write_key(writer, key);
        tw_json_write_str(writer, value);
    }
    tw_json_write_end(writer, '}');
}

// The settings as they are stored: written from the parsed values, so that equal settings are equal text.
static bool write_text(struct service_config *config, struct tw_error *err) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    tw_buf_init(&out, SERVICE_CONFIG_TEXT_MAX);
    struct tw_json_writer writer;
    tw_json_write_init(&writer, &out);
    tw_json_write_object(&writer);
    if (config->memory_bytes) {
        tw_json_write_key(&writer, "memory_bytes");
        tw_json_write_u64(&writer, config->memory_bytes);
    }
    if (config->timeout_ms) {
        tw_json_write_key(&writer, "timeout_ms");
        tw_json_write_u64(&writer, config->timeout_ms);
    }
    if (config->env[0])
        write_env(config, &writer);
    if (config->args[0] && config->args[1]) {
        tw_json_write_key(&writer, "args");
        tw_json_write_array(&writer);
        for (char **entry = config->args + 1; *entry; entry++)
            tw_json_write_str(&writer, tw_str_from(*entry));
        tw_json_write_end(&writer, ']');
    }
    tw_json_write_end(&writer, '}');
    if (!tw_json_write_done(&writer))
        return tw_buf_fail(&out, err, TW_ERR_INVALID_REQUEST, "config is larger than %d bytes",
                           SERVICE_CONFIG_TEXT_MAX);
    config->text = tw_str_dup(tw_buf_str(&out));
    return config->text || tw_fail(err, TW_ERR_CAPACITY, "out of memory");
}

static bool parse(const struct tw_service *service, struct tw_str name, const struct tw_json *json,
                  struct service_config *config, struct tw_error *err) {
    size_t count = 0;
    config->env = tw_alloc_zero(SERVICE_ENV_MAX + 1, sizeof *config->env);
    config->args = tw_alloc_zero(SERVICE_ARGS_MAX + 2, sizeof *config->args);
    if (!config->env || !config->args)
        return tw_fail(err, TW_ERR_CAPACITY, "out of memory");
    if (!add_text(config->args, &count, err, NULL, name))
        return false;
    if (json && tw_json_type(json) != TW_JSON_NULL) {
        if (tw_json_type(json) != TW_JSON_OBJECT)
            return tw_fail(err, TW_ERR_INVALID_REQUEST, "config has to be an object");
        const char *key;
        const struct tw_json *value;
        for (void *iter = NULL; tw_json_next(json, &iter, &key, &value);)
            if (!parse_member(service, key, value, config, err))
                return false;
    }
    return write_text(config, err);
}

bool service_config_parse(const struct tw_service *service, struct tw_str name, const struct tw_json *json,
                          struct service_config *ret_config, struct tw_error *err) {
    struct service_config config = {};
    if (!parse(service, name, json, &config, err)) {
        service_config_done(&config);
        return false;
    }
    *ret_config = config;
    return true;
}

static void free_list(char **list) {
    for (char **entry = list; entry && *entry; entry++)
        free(*entry);
    free(list);
}

void service_config_done(struct service_config *config) {
    free_list(config->env);
    free_list(config->args);
    free(config->text);
    *config = (struct service_config){};
}
