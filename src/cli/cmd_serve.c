// SPDX-License-Identifier: Apache-2.0
//
// `serve`: reads the settings, opens the service, starts the gateway, waits for SIGTERM or SIGINT, drains.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "cli/config.h"
#include "cli/stop.h"
#include "http/http.h"
#include "telemetry/telemetry.h"

static bool is_pooled(const struct config *config) {
    return strcmp(config->texts[CONFIG_MEMORY_BACKEND], "pooling") == 0;
}

static struct tw_service_options service_options(const struct config *config) {
    enum tw_gpu_tier tier = TW_GPU_TIER_AUTO;
    (void)tw_gpu_tier_parse(config->texts[CONFIG_KERNEL_TIER], &tier); // checked before
    return (struct tw_service_options){
        .data_dir = config->texts[CONFIG_DATA_DIR],
        .device = config->texts[CONFIG_DEVICE],
        .dispatch_permits = (unsigned)config->numbers[CONFIG_PERMITS],
        .kernel_timeout_ms = (unsigned)config->numbers[CONFIG_KERNEL_TIMEOUT],
        .kernel_tier = tier,
        .invoke_timeout_ms = (unsigned)config->numbers[CONFIG_INVOKE_TIMEOUT],
        .queue_target_ms = (uint32_t)config->numbers[CONFIG_QUEUE_WAIT],
        .queue_burst_ms = (uint32_t)config->numbers[CONFIG_QUEUE_BURST],
        .max_instances = (uint32_t)config->numbers[CONFIG_MAX_INSTANCES],
        .warm_per_function = (uint32_t)config->numbers[CONFIG_WARM_PER_FUNCTION],
        .max_warm = (uint32_t)config->numbers[CONFIG_MAX_WARM],
        .max_code_bytes = config->numbers[CONFIG_MAX_CODE],
        .warm_idle_ms = (uint32_t)config->numbers[CONFIG_WARM_IDLE],
        .instance_idle_ms = (uint32_t)config->numbers[CONFIG_INSTANCE_IDLE],
        .max_memory_bytes = config->numbers[CONFIG_MAX_MEMORY],
        .workers = (unsigned)config->numbers[CONFIG_THREADS],
        .rate_qps = (uint32_t)config->numbers[CONFIG_RATE_QPS],
        .rate_burst = (uint32_t)config->numbers[CONFIG_RATE_BURST],
        .interrupt =
            strcmp(config->texts[CONFIG_INTERRUPT], "epoch") == 0 ? TW_INTERRUPT_EPOCH : TW_INTERRUPT_POLL,
        .kernel_keys_file = config->texts[CONFIG_KERNEL_KEYS],
        .blob_grace_s = (uint32_t)config->numbers[CONFIG_BLOB_GRACE],
        .snapshot_key = config->texts[CONFIG_SNAPSHOT_KEY],
        .require_snapshot_signature = config->numbers[CONFIG_SNAPSHOT_SIGNED],
        .require_kernel_signature = config->numbers[CONFIG_KERNEL_SIGNED],
        .reset = strcmp(config->texts[CONFIG_RESET], "madvise") == 0 ? TW_RESET_MADVISE : TW_RESET_AUTO,
        .memory = is_pooled(config) ? TW_MEMORY_POOLING : TW_MEMORY_OWNED,
        .max_long_calls = (uint32_t)config->numbers[CONFIG_MAX_LONG_CALLS],
    };
}

static struct tw_http_options http_options(const struct config *config) {
    return (struct tw_http_options){
        .address = config->texts[CONFIG_ADDR],
        .loops = (unsigned)config->numbers[CONFIG_THREADS],
        .trusted_hosts = config->texts[CONFIG_TRUSTED_HOSTS],
        .cors_origins = config->texts[CONFIG_CORS_ORIGINS],
        .metrics_token = config->texts[CONFIG_METRICS_TOKEN],
        .max_connections = (uint32_t)config->numbers[CONFIG_MAX_CONNECTIONS],
        .max_connections_per_address = (uint32_t)config->numbers[CONFIG_CONNECTIONS_PER_ADDRESS],
    };
}

// Is the setting one of its two words?
static bool check_word(const char *variable, const char *text, const char *one, const char *other,
                       struct tw_error *err) {
    return strcmp(text, one) == 0 || strcmp(text, other) == 0 ||
           tw_fail(err, TW_ERR_INVALID_REQUEST, "%s takes %s or %s, not '%s'", variable, one, other, text);
}

// What Wasmtime's pooling allocator cannot be asked together with.
static bool check_backend(const struct config *config, struct tw_error *err) {
    if (!is_pooled(config))
        return true;
    if (strcmp(config->texts[CONFIG_RESET], "auto") != 0)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "TENSOR_WASM_RESET is for the memory backend owned; with pooling every call gets a "
                       "new instance: leave it at auto");
    if (strncmp(config->texts[CONFIG_DEVICE], "cuda", 4) == 0)
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "TENSOR_WASM_DEVICE=%s needs TENSOR_WASM_MEMORY_BACKEND=owned: devices work on "
                       "memory that the server owns",
                       config->texts[CONFIG_DEVICE]);
    return true;
}

static bool check_words(const struct config *config, struct tw_error *err) {
    const char *const *texts = config->texts;
    if (!check_word("TENSOR_WASM_INTERRUPT", texts[CONFIG_INTERRUPT], "poll", "epoch", err) ||
        !check_word("TENSOR_WASM_RESET", texts[CONFIG_RESET], "auto", "madvise", err) ||
        !check_word("TENSOR_WASM_MEMORY_BACKEND", texts[CONFIG_MEMORY_BACKEND], "owned", "pooling", err) ||
        !check_backend(config, err) ||
        !check_word("TENSOR_WASM_LOG_FORMAT", texts[CONFIG_LOG_FORMAT], "text", "json", err))
        return false;
    enum tw_gpu_tier tier;
    if (!tw_gpu_tier_parse(texts[CONFIG_KERNEL_TIER], &tier))
        return tw_fail(err, TW_ERR_INVALID_REQUEST,
                       "TENSOR_WASM_KERNEL_TIER takes " TW_GPU_TIER_WORDS ", not '%s'",
                       texts[CONFIG_KERNEL_TIER]);
    bool is_json = strcmp(texts[CONFIG_LOG_FORMAT], "json") == 0;
    return tw_log_configure(texts[CONFIG_LOG], is_json ? TW_LOG_JSON : TW_LOG_TEXT, err);
}

static bool is_loopback(const char *address) {
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
           strncmp(address, "localhost", 9) == 0;
}

static void warn_open(const char *address) {
    tw_log(TW_LOG_WARN, "cli",
           "authentication is off: everybody who reaches this address is admin of every tenant", "address",
           address, NULL);
}

// What a running server is made of, in the order it is made. `{}` is none of it.
struct server {
    struct tw_tracer *tracer;
    struct tw_service *service;
    struct tw_tenants *tenants;
    struct tw_audit *audit;
    struct tw_buf config_json;
    struct tw_http *http;
};

// What the operator did to the server as a whole.
static void audit(const struct server *server, const char *actor, const char *action, enum tw_code code,
                  int64_t since_ns) {
    struct tw_audit_entry entry = {.actor = actor,
                                   .action = action,
                                   .outcome = tw_code_name(code),
                                   .latency_us = (tw_clock_ns() - since_ns) / TW_NS_PER_US};
    tw_audit_post(server->audit, &entry);
}

// SIGHUP: the files of tokens and of kernel keys are read again, the audit log is opened anew.
static void reload(const struct server *server) {
    struct tw_error err = {}, key_err = {};
    int64_t since_ns = tw_clock_ns();
    tw_audit_reopen(server->audit);
    bool ok = tw_tenants_reload(server->tenants, &err);
    if (!ok)
        tw_log(TW_LOG_ERROR, "cli", "the tokens stay as they were", "error", err.message, NULL);
    if (!tw_service_reload(server->service, &key_err))
        tw_log(TW_LOG_ERROR, "cli", "the kernel keys stay as they were", "error", key_err.message, NULL);
    else if (ok)
        tw_log(TW_LOG_INFO, "cli", "reloaded", NULL);
    audit(server, "SIGHUP", "reload", ok ? key_err.code : err.code, since_ns);
}

// Returns when SIGTERM or SIGINT came, and which one; SIGHUP reloads. On an open non-loopback address it says so
// every minute.
static int wait_for_signal(const sigset_t *signals, const struct server *server, bool nag,
                           const char *address) {
    for (;;) {
        struct timespec minute = {.tv_sec = 60};
        int found = sigtimedwait(signals, NULL, &minute);
        if (found == SIGHUP)
            reload(server);
        else if (found > 0)
            return found;
        else if (nag && errno == EAGAIN)
            warn_open(address);
    }
}

static void log_start(const struct tw_http *http, const struct config *config,
                      const struct tw_tenants *tenants) {
    char port[8];
    snprintf(port, sizeof port, "%u", tw_http_port(http));
    if (tw_tenants_admin_token_path(tenants))
        tw_log(TW_LOG_INFO, "cli", "made an admin token for this data folder", "file",
               tw_tenants_admin_token_path(tenants), NULL);
    if (tw_tenants_open(tenants))
        warn_open(config->texts[CONFIG_ADDR]);
    tw_log(TW_LOG_INFO, "cli", "listening", "address", config->texts[CONFIG_ADDR], "port", port, "version",
           TW_VERSION, NULL);
}

// NULL without an error: no traces are asked for.
static struct tw_tracer *open_tracer(const struct config *config, struct tw_error *err) {
    if (!config->texts[CONFIG_OTLP_ENDPOINT][0])
        return NULL;
    char host[80] = "", instance[112], *end;
    (void)gethostname(host, sizeof host - 1);
    snprintf(instance, sizeof instance, "%s:%d", host, (int)getpid());
    struct tw_tracer_options options = {.endpoint = config->texts[CONFIG_OTLP_ENDPOINT],
                                        .protocol = config->texts[CONFIG_OTLP_PROTOCOL],
                                        .headers = config->texts[CONFIG_OTLP_HEADERS],
                                        .instance = instance,
                                        .ratio = strtod(config->texts[CONFIG_TRACE_RATIO], &end)};
    if (end == config->texts[CONFIG_TRACE_RATIO] || *end) {
        tw_fail(err, TW_ERR_INVALID_REQUEST, "TENSOR_WASM_TRACE_RATIO takes a number from 0 to 1, not '%s'",
                config->texts[CONFIG_TRACE_RATIO]);
        return NULL;
    }
    return tw_tracer_new(&options, err);
}

static struct tw_tenants *open_tenants(const struct config *config, struct tw_service *service,
                                       struct tw_error *err) {
    bool is_kept = strcmp(config->texts[CONFIG_DATA_DIR], ":memory:") != 0;
    struct tw_tenants_options options = {.tokens = config->texts[CONFIG_TOKENS],
                                         .tokens_file = config->texts[CONFIG_TOKENS_FILE],
                                         .data_dir = is_kept ? config->texts[CONFIG_DATA_DIR]
                                                             : tw_service_path(service),
                                         .dev_mode = config->numbers[CONFIG_DEV_MODE],
                                         .require_tenant = config->numbers[CONFIG_REQUIRE_TENANT]};
    return tw_tenants_new(&options, err);
}

static bool start_http(struct server *server, const struct config *config, struct tw_error *err) {
    struct tw_http_options http = http_options(config);
    tw_buf_init(&server->config_json, CONFIG_TEXT_MAX);
    if (!cli_config_json(config, &server->config_json))
        return tw_fail(err, TW_ERR_CAPACITY, "no memory for the settings' text");
    http.config_json = (const char *)server->config_json.data;
    http.service = server->service;
    http.tenants = server->tenants;
    http.audit = server->audit;
    http.tracer = server->tracer;
    server->http = tw_http_start(&http, err);
    return server->http;
}

// The audit log comes first, so that it tells of a start that fails. It may lie in the data folder, which the service makes
// when it is not there yet: then it has to wait for that.
static bool open_server(struct server *server, const struct config *config, struct tw_error *err) {
    struct tw_service_options service = service_options(config);
    struct tw_error no_folder = {};
    int64_t since_ns = tw_clock_ns();
    server->audit = tw_audit_new(config->texts[CONFIG_AUDIT], &no_folder);
    server->tracer = open_tracer(config, err);
    if (err->code == TW_OK)
        server->service = tw_service_new(&service, err);
    if (server->service && !server->audit)
        server->audit = tw_audit_new(config->texts[CONFIG_AUDIT], err);
    if (server->service && server->audit)
        server->tenants = open_tenants(config, server->service, err);
    bool ok = server->tenants && start_http(server, config, err);
    audit(server, "serve", "start", err->code, since_ns);
    return ok;
}

static void close_server(struct server *server) {
    if (server->http)
        tw_http_free(server->http);
    tw_audit_free(server->audit);
    tw_tenants_free(server->tenants);
    tw_service_free(server->service);
    tw_tracer_free(server->tracer);
    tw_buf_done(&server->config_json);
}

// False when a second signal cut the end short.
static bool serve_until_signal(const struct server *server, const struct config *config,
                               const sigset_t *signals) {
    const char *address = config->texts[CONFIG_ADDR];
    log_start(server->http, config, server->tenants);
    tw_service_warm_up(server->service);
    int found =
        wait_for_signal(signals, server, tw_tenants_open(server->tenants) && !is_loopback(address), address);
    int64_t since_ns = tw_clock_ns();
    bool ok = cli_serve_stop(server->http, server->service, config, signals);
    audit(server, found == SIGINT ? "SIGINT" : "SIGTERM", "stop", ok ? TW_OK : TW_ERR_CANCELLED, since_ns);
    return ok;
}

static bool serve(const struct config *config, struct tw_error *err) {
    // Every thread made from here on has these blocked, so that only wait_for_signal sees them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!check_words(config, err) || !tw_log_start(err))
        return false;
    struct server server = {};
    bool ok = open_server(&server, config, err) &&
              (serve_until_signal(&server, config, &signals) ||
               tw_fail(err, TW_ERR_CANCELLED, "a second signal stopped the server at once"));
    close_server(&server);
    tw_log_stop();
    return ok;
}

int cli_serve(int argc, char **argv) {
    struct cli cli;
    struct config config;
    int status;
    if (!cli_parse(&cli, cli_serve, cli_config_options(), argc, argv, 0, 0, &status))
        return status;
    if (!cli_config_read(&config, &cli))
        return CLI_USAGE;
    if (cli_value(&cli, "print-config")) {
        cli_config_print(&config, cli.is_json);
        return CLI_OK;
    }
    struct tw_error err = {};
    if (serve(&config, &err))
        return CLI_OK;
    cli_fail(&err);
    return err.code == TW_ERR_INVALID_REQUEST ? CLI_USAGE : CLI_FAILED;
}
