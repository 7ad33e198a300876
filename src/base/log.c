// SPDX-License-Identifier: Apache-2.0
//
// A line is put together in an array on the stack and leaves in one write(2), by a thread for it where there is
// one (log_writer.c), so that lines of different threads never mix and logging works without memory. A value that
// is too long is cut; a pair that no longer fits is left out, and the line says so.
//
//     2026-11-21T07:45:00.123Z WARN  http: listener failed address=0.0.0.0:8080 error="address in use"
//     trace=4bf9…

#include "base/log.h"

#include <stdarg.h>

#include "base/clock.h"
#include "base/internal.h"
#include "base/json.h"

enum {
    LINE_MAX_BYTES = 4096, // one pipe write of at most PIPE_BUF bytes is not torn
    VALUE_MAX_BYTES = 1024,
    ROOMS_MAX = 32,
    ROOM_NAME_SIZE = 24,
    TAIL_BYTES = 128, // kept for the trace id, the cut mark and the end of the line
};

static const struct {
    const char *name, *upper;
} levels[] = {
    [TW_LOG_ERROR] = {"error", "ERROR"}, [TW_LOG_WARN] = {"warn", "WARN "},
    [TW_LOG_INFO] = {"info", "INFO "},   [TW_LOG_DEBUG] = {"debug", "DEBUG"},
    [TW_LOG_TRACE] = {"trace", "TRACE"},
};

struct room_level {
    char name[ROOM_NAME_SIZE];
    enum tw_log_level level;
};

// Frozen once threads start.
static struct {
    enum tw_log_level level;
    enum tw_log_format format;
    struct room_level rooms[ROOMS_MAX];
    size_t room_count;
} config = {.level = TW_LOG_INFO};

static _Thread_local const char *trace;

static bool parse_level(struct tw_str text, enum tw_log_level *ret_level, struct tw_error *err) {
    for (unsigned i = 0; i < TW_COUNT(levels); i++) {
        if (tw_str_equal_nocase(text, tw_str_from(levels[i].name))) {
            *ret_level = (enum tw_log_level)i;
            return true;
        }
    }
    return tw_fail(err, TW_ERR_INVALID_REQUEST,
                   "\"%.*s\" is no log level; use error, warn, info, debug or trace", TW_STR_ARG(text));
}

bool tw_log_configure(const char *filter, enum tw_log_format format, struct tw_error *err) {
    typeof(config) next = {.level = TW_LOG_INFO, .format = format};
    struct tw_str rest = tw_str_from(filter);
    while (rest.len) {
        struct tw_str value = tw_str_trim(tw_str_cut(&rest, ','));
        bool has_room = value.len && memchr(value.data, '=', value.len);
        struct tw_str room = has_room ? tw_str_trim(tw_str_cut(&value, '=')) : TW_STR("");
        enum tw_log_level level = TW_LOG_INFO;
        if (!parse_level(tw_str_trim(value), &level, err))
            return false;
        if (!has_room) {
            next.level = level;
            continue;
        }
        if (room.len == 0 || room.len >= ROOM_NAME_SIZE || next.room_count == ROOMS_MAX)
            return tw_fail(
                err, TW_ERR_INVALID_REQUEST,
                "log filter: a folder's name has 1 to %d characters, and there are at most %d of them",
                ROOM_NAME_SIZE - 1, ROOMS_MAX);
        struct room_level *entry = &next.rooms[next.room_count++];
        memcpy(entry->name, room.data, room.len);
        entry->level = level;
    }
    config = next;
    return true;
}

bool tw_log_enabled(enum tw_log_level level, const char *room) {
    for (size_t i = 0; i < config.room_count; i++) {
        if (strcmp(config.rooms[i].name, room) == 0)
            return level <= config.rooms[i].level;
    }
    return level <= config.level;
}

void tw_log_trace_set(const char *trace_id) {
    trace = trace_id;
}

// The line so far. Confined to one tw_log call.
struct line {
    struct tw_buf out;
    struct tw_json_writer json;
    bool as_json, full;
};

static struct tw_str cut_value(const char *text) {
    struct tw_str value = tw_str_from(text);
    value.len = base_utf8_cut(value.data, value.len, VALUE_MAX_BYTES);
    return value;
}

// Text values stand bare when they are one visible ASCII word, else quoted as JSON strings are.
static bool is_word(struct tw_str value) {
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return value.len > 0;
}

static bool append_pair(struct line *line, const char *key, struct tw_str value) {
    if (line->as_json) {
        tw_json_write_key(&line->json, key);
        tw_json_write_str(&line->json, value);
        return !line->json.failed;
    }
    if (!tw_buf_printf(&line->out, " %s=", key))
        return false;
    if (is_word(value))
        return tw_buf_append_str(&line->out, value);
    struct tw_json_writer quoted;
    tw_json_write_init(&quoted, &line->out);
    tw_json_write_str(&quoted, value);
    return tw_json_write_done(&quoted);
}

// Adds the pair wholly or not at all, leaving `spare` bytes free.
static void add_pair(struct line *line, const char *key, const char *text, size_t spare) {
    struct line before = *line;
    line->out.max -= spare;
    bool fits = append_pair(line, key, cut_value(text));
    line->out.max += spare;
    if (fits)
        return;
    *line = before;
    line->out.data[line->out.len] = '\0';
    line->full = true;
}

static void add_head(struct line *line, enum tw_log_level level, const char *room, const char *event) {
    char when[TW_TIME_TEXT_SIZE];
    tw_clock_text(tw_clock_wall_ns(), when);
    if (line->as_json) {
        tw_json_write_object(&line->json);
        add_pair(line, "time", when, TAIL_BYTES);
        add_pair(line, "level", levels[level].name, TAIL_BYTES);
        add_pair(line, "room", room, TAIL_BYTES);
        add_pair(line, "event", event, TAIL_BYTES);
    } else if (!tw_buf_printf(&line->out, "%s %s %s: %.*s", when, levels[level].upper, room,
                              TW_STR_ARG(cut_value(event)))) {
        line->full = true;
    }
}

static void send_line(struct line *line) {
    if (line->as_json)
        tw_json_write_end(&line->json, '}');
    // TAIL_BYTES were kept free for this.
    line->full |= !tw_buf_append_byte(&line->out, '\n');
    struct tw_str text = tw_buf_str(&line->out);
    if (!base_log_post(text.data, text.len))
        base_log_write(text.data, text.len);
}

void tw_log(enum tw_log_level level, const char *room, const char *event, ...) {
    if (!tw_log_enabled(level, room))
        return;
    char storage[LINE_MAX_BYTES];
    struct line line = {.out = base_buf_fixed(storage, sizeof(storage)),
                        .as_json = config.format == TW_LOG_JSON};
    tw_json_write_init(&line.json, &line.out);
    add_head(&line, level, room, event);
    va_list args;
    va_start(args, event);
    const char *key;
    bool has_trace = false;
    while ((key = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        has_trace = has_trace || strcmp(key, "trace") == 0;
        add_pair(&line, key, value ? value : "", TAIL_BYTES);
        if (!value)
            break; // a key without a value is a caller's slip; the list ended
    }
    va_end(args);
    if (trace && !has_trace)
        add_pair(&line, "trace", trace, 32);
    if (line.full)
        add_pair(&line, "cut", "true", 2);
    send_line(&line);
}
