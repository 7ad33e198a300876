// SPDX-License-Identifier: Apache-2.0
//
// `doctor`: shows what the service finds out about this machine. Exit 1 when something is in the way.

#include <unistd.h>

#include "cli/internal.h"

// Where the findings go.
struct doctor_output {
    struct tw_json_writer *writer; // NULL: text
    int errors, warnings;
};

static void show(void *context, const struct tw_finding *finding) {
    static const char *const marks[] = {"ok", "hint", "warning", "error"};
    struct doctor_output *output = context;
    output->errors += finding->level == TW_FINDING_ERROR;
    output->warnings += finding->level == TW_FINDING_WARNING;
    if (!output->writer) {
        printf("%-8s %-22s %s\n", marks[finding->level], finding->name, finding->text);
        if (finding->remedy[0])
            printf("%-8s %-22s -> %s\n", "", "", finding->remedy);
        return;
    }
    tw_json_write_object(output->writer);
    tw_json_write_key(output->writer, "level");
    tw_json_write_str(output->writer, tw_str_from(marks[finding->level]));
    tw_json_write_key(output->writer, "name");
    tw_json_write_str(output->writer, tw_str_from(finding->name));
    tw_json_write_key(output->writer, "text");
    tw_json_write_str(output->writer, tw_str_from(finding->text));
    tw_json_write_key(output->writer, "remedy");
    tw_json_write_str(output->writer, tw_str_from(finding->remedy));
    tw_json_write_end(output->writer, '}');
}

int cli_doctor(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"data-dir", "DIR", "look at this data folder (default: a temporary one)"},
        {"memory-backend", "NAME", "owned or pooling: where instances would have their memory"},
        {}};
    struct cli cli;
    int status;
    if (!cli_parse(&cli, cli_doctor, options, argc, argv, 0, 0, &status))
        return status;
    struct tw_error err = {};
    struct tw_buf text;
    struct tw_json_writer writer;
    struct doctor_output output = {.writer = cli.is_json ? &writer : NULL};
    tw_buf_init(&text, 1 << 20);
    tw_json_write_init(&writer, &text);
    tw_json_write_array(&writer);
    struct tw_service *service =
        cli_local_service(&(struct cli_local_options){.data_dir = cli_value(&cli, "data-dir"),
                                                      .memory_backend = cli_value(&cli, "memory-backend")},
                          &err);
    if (!service) {
        struct tw_finding finding = {.level = TW_FINDING_ERROR, .name = "service"};
        snprintf(finding.text, sizeof finding.text, "%s: %s", tw_code_name(err.code), err.message);
        show(&output, &finding);
    }
    tw_service_doctor(service, show, &output);
    tw_service_free(service);
    tw_json_write_end(&writer, ']');
    if (cli.is_json && tw_json_write_done(&writer))
        printf("%s\n", (const char *)text.data);
    else if (!cli.is_json)
        printf("%d errors, %d warnings\n", output.errors, output.warnings);
    tw_buf_done(&text);
    return output.errors ? CLI_FAILED : CLI_OK;
}
