// SPDX-License-Identifier: Apache-2.0
//
// Paths of requests: names become percent-encoded segments (RFC 3986 section 2.1).

#include "cli/internal.h"

bool cli_path_append(struct tw_buf *path, struct tw_str text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (!(c && strchr(plain, c) ? tw_buf_append_byte(path, c) : tw_buf_printf(path, "%%%02X", c)))
            return false;
    }
    return true;
}

bool cli_path(struct tw_buf *path, const char *collection, const char *name, const char *rest) {
    tw_buf_init(path, 4096);
    if (tw_buf_append_str(path, tw_str_from(collection)) && cli_path_append(path, tw_str_from(name)) &&
        tw_buf_append_str(path, tw_str_from(rest)))
        return true;
    cli_message("the name is too long");
    return false;
}

bool cli_function_path(struct tw_buf *path, const char *name, const char *rest) {
    return cli_path(path, "/functions/", name, rest);
}
