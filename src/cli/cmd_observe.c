// SPDX-License-Identifier: Apache-2.0
//
// `observe`: the server on one page, drawn again and again on a terminal (q ends it), one page after the other in a
// pipe; `--once` prints everything there is to know as JSON.

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/board.h"

enum { INTERVAL_MS = 1000, FIRST_MS = 200, PLAIN_ROWS = 200, PLAIN_WIDTH = 200 };

static volatile sig_atomic_t is_ended; // by a signal

static void on_signal(int number) {
    (void)number;
    is_ended = 1;
}

// ---- the terminal ----

// A screen of its own while it is there, and keys that come one by one.
struct screen {
    bool is_terminal, has_keys;
    struct termios before;
};

static void screen_open(struct screen *screen) {
    *screen = (struct screen){.is_terminal = isatty(STDOUT_FILENO)};
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!screen->is_terminal)
        return;
    screen->has_keys = tcgetattr(STDIN_FILENO, &screen->before) == 0;
    struct termios raw = screen->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    if (screen->has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\x1b[?1049h\x1b[?25l", stdout); // another screen, no cursor
    fflush(stdout);
}

static void screen_close(const struct screen *screen) {
    if (!screen->is_terminal)
        return;
    fputs("\x1b[?25h\x1b[?1049l", stdout);
    fflush(stdout);
    if (screen->has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}

// Waits; true when the user wants to leave.
static bool screen_wait(const struct screen *screen, int64_t until_ns) {
    while (!is_ended) {
        int64_t left_ms = (until_ns - tw_clock_ns()) / TW_NS_PER_MS;
        if (left_ms <= 0)
            return false;
        struct pollfd keys = {.fd = screen->has_keys ? STDIN_FILENO : -1, .events = POLLIN};
        char key;
        if (poll(&keys, 1, (int)left_ms) == 1 &&
            (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
            return true;
    }
    return true;
}

// The page takes the place of the one before, line by line, so that nothing flickers.
static bool screen_show(const struct screen *screen, const struct tw_buf *page) {
    if (!screen->is_terminal)
        return cli_write_out(tw_buf_span(page)) && cli_write_out(tw_span_of("\n", 1));
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf out;
    tw_buf_init(&out, 2 * page->len + 4096);
    bool ok = tw_buf_append_str(&out, TW_STR("\x1b[H"));
    for (struct tw_str rest = tw_buf_str(page); rest.len && ok;)
        ok =
            tw_buf_append_str(&out, tw_str_cut(&rest, '\n')) && tw_buf_append_str(&out, TW_STR("\x1b[K\r\n"));
    return ok && tw_buf_append_str(&out, TW_STR("\x1b[J")) && cli_write_out(tw_buf_span(&out));
}

static void screen_size(const struct screen *screen, struct board *board) {
    struct winsize size;
    board->rows = PLAIN_ROWS;
    board->width = PLAIN_WIDTH;
    if (screen->is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 &&
        size.ws_col) {
        board->rows = size.ws_row - 1U;
        board->width = size.ws_col;
    }
}

// ---- the answers ----

// An answer of the server and when it came.
struct sample {
    struct tw_json *root;
    int64_t time_ns;
};

static bool ask(const struct cli *cli, struct sample *ret_sample, int *ret_status) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf answer = {};
    struct tw_error err = {};
    if (!cli_call(cli, &(struct cli_request){.method = "GET", .path = "/observe"}, &answer, ret_status))
        return false;
    *ret_sample = (struct sample){tw_json_parse(tw_buf_span(&answer), &err), tw_clock_ns()};
    if (ret_sample->root)
        return true;
    *ret_status = cli_fail(&err);
    return false;
}

static bool draw(const struct cli *cli, const struct screen *screen, const struct sample *before,
                 const struct sample *now) {
    [[gnu::cleanup(tw_buf_done)]] struct tw_buf page;
    tw_buf_init(&page, 1 << 20);
    struct board board = {.server = cli->server,
                          .now = now->root,
                          .before = before->root,
                          .seconds = (double)(now->time_ns - before->time_ns) * 1e-9};
    screen_size(screen, &board);
    return cli_board_draw(&board, &page) && screen_show(screen, &page);
}

// Draws `count` pages (0: until the user ends it); the exit status.
static int watch(const struct cli *cli, const struct screen *screen, int64_t interval_ns, uint64_t count) {
    struct sample before = {}, now;
    int status;
    if (!ask(cli, &before, &status))
        return status;
    int64_t first_ns = FIRST_MS * TW_NS_PER_MS;
    int64_t next_ns = before.time_ns + (interval_ns < first_ns ? interval_ns : first_ns);
    bool ok = true;
    for (uint64_t drawn = 0; ok && !screen_wait(screen, next_ns) && ask(cli, &now, &status); drawn++) {
        ok = draw(cli, screen, &before, &now);
        tw_json_free(before.root);
        before = now;
        next_ns = now.time_ns + interval_ns;
        if (drawn + 1 == count)
            break;
    }
    tw_json_free(before.root);
    return ok ? status : CLI_FAILED;
}

int cli_observe(int argc, char **argv) {
    static const struct cli_option options[] = {
        {"once", NULL, "print everything an incident report needs as JSON, and end"},
        {"interval-ms", "N", "time between two pages (1000)"},
        {"count", "N", "end after so many pages (default: at q or Ctrl-C)"},
        {}};
    struct cli cli;
    int status;
    uint64_t interval_ms, count;
    if (!cli_parse(&cli, cli_observe, options, argc, argv, 0, 0, &status))
        return status;
    if (!cli_number(&cli, "interval-ms", INTERVAL_MS, 50, 3600000, &interval_ms) ||
        !cli_number(&cli, "count", 0, 1, UINT32_MAX, &count))
        return CLI_USAGE;
    if (cli_value(&cli, "once") || cli.is_json)
        return cli_ask(&cli, "GET", "/observe", cli_print_answer);
    struct screen screen;
    screen_open(&screen);
    status = watch(&cli, &screen, (int64_t)interval_ms * TW_NS_PER_MS, count);
    screen_close(&screen);
    return status;
}
