// SPDX-License-Identifier: Apache-2.0
//
// The board that `observe` shows: what two answers of GET /observe, some time apart, say as a page of text.
#pragma once

#include "cli/internal.h"

// Borrowed for the drawing.
struct board {
    const char *server;
    const struct tw_json *now, *before;
    double seconds;       // between them
    unsigned rows, width; // of the screen; lines beyond are left out, what is longer is cut
};
// Lines that end with "\n". False without memory.
[[nodiscard]] bool cli_board_draw(const struct board *board, struct tw_buf *out);
