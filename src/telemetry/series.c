// SPDX-License-Identifier: Apache-2.0
//
// Series: found without a lock, made under one, never freed. A counter or histogram has one row of words a
// shard, each row on cache lines of its own; a thread adds to the row of its shard, and a reader sums the
// rows. A gauge can be set, so it has one row.
//
//     table of pointers (open addressing) ──► struct tw_series │ label texts │ row 0 │ row 1 │ …
//
// Label sets are bounded: a tenant beyond TW_METRIC_TENANTS_MAX of a metric becomes "other", and so does
// every label of a set beyond the metric's or the process's maximum. When there is no memory for a series
// either, updates go to one that is not shown.

#include <stdatomic.h>
#include <unistd.h>

#include "telemetry/internal.h"

enum {
    CACHE_LINE = 64,
    LINE_WORDS = CACHE_LINE / sizeof(int64_t),
    TABLE_SLOTS = 16'384, // at most half full, so that probes are short
    ROW_WORDS_MAX = 32,   // the largest histogram, rounded up
};

_Static_assert(TABLE_SLOTS >= 2 * (TW_METRIC_SERIES_MAX + TW_METRIC_COUNT), "the table must never fill up");

// Frozen but for its words and `next`. Follows itself with its rows.
struct tw_series {
    _Atomic(struct tw_series *) next; // of the same metric
    enum tw_metric metric;
    const struct telemetry_metric *row;
    uint64_t hash;
    uint64_t tenant;
    bool has_tenant;
    struct tw_str labels[TW_METRIC_LABELS_MAX];
    _Atomic int64_t *words;
    unsigned stride; // words from one shard's row to the next
    unsigned shard_mask;
    char text[];
};

// What a series is found by: label values as they count (cut, absent ones empty; the tenant's is left to
// `tenant`).
struct key {
    enum tw_metric metric;
    const struct telemetry_metric *row;
    struct tw_str labels[TW_METRIC_LABELS_MAX];
    uint64_t tenant;
    bool has_tenant;
    uint64_t hash;
};

// The lists are guarded by `lock` for writing; slots, first and next are read without.
static struct {
    struct tw_lock lock;
    uint64_t seed;
    unsigned shard_count; // a power of two
    unsigned series_count;
    _Atomic(struct tw_series *) slots[TABLE_SLOTS];
    struct {
        _Atomic(struct tw_series *) first;
        struct tw_series *last;
        unsigned count, tenants;
    } metrics[TW_METRIC_COUNT];
} all;

// Takes what finds no room. Not shown.
static _Alignas(CACHE_LINE) _Atomic int64_t lost_words[ROW_WORDS_MAX];
static struct tw_series lost_series[TW_METRIC_COUNT];

static struct tw_series *find_or_make(const struct key *key);
static struct key key_of(enum tw_metric metric, struct tw_labels labels);

static void setup(void) {
    tw_lock_init(&all.lock);
    tw_random(&all.seed, sizeof(all.seed));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    all.shard_count = 1;
    while (all.shard_count < TELEMETRY_SHARDS_MAX && all.shard_count < cores)
        all.shard_count *= 2;
    for (unsigned i = 0; i < TW_METRIC_COUNT; i++) {
        enum tw_metric metric = (enum tw_metric)i;
        const struct telemetry_metric *row = telemetry_metric(metric);
        TW_ASSERT(telemetry_words(row) <= ROW_WORDS_MAX);
        lost_series[i] = (struct tw_series){.metric = metric, .row = row, .words = lost_words};
        // Metrics without labels are there, as zero, before they first move.
        struct key key = key_of(metric, tw_labels());
        if (row->label_count == 0)
            find_or_make(&key);
    }
}

static void setup_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
}

// ---- keys ----

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 32;
}

static uint64_t hash_of(const struct key *key) {
    uint64_t hash = mix(all.seed, (uint64_t)key->metric << 1 | key->has_tenant);
    hash = mix(hash, key->tenant);
    for (unsigned i = 0; i < key->row->label_count; i++) {
        struct tw_str label = key->labels[i];
        for (size_t at = 0; at < label.len; at += sizeof(uint64_t)) {
            uint64_t word = 0;
            size_t left = label.len - at;
            memcpy(&word, label.data + at, left < sizeof(word) ? left : sizeof(word));
            hash = mix(hash, word);
        }
        hash = mix(hash, label.len);
    }
    return hash;
}

static struct key key_of(enum tw_metric metric, struct tw_labels labels) {
    struct key key = {.metric = metric, .row = telemetry_metric(metric)};
    for (unsigned i = 0; i < key.row->label_count; i++) {
        if (labels.has_tenant && key.row->tenant_label == (int)i) {
            key.tenant = labels.tenant;
            key.has_tenant = true;
            key.labels[i] = TW_STR("");
            continue;
        }
        struct tw_str value = tw_str_from(labels.values[i]);
        if (value.len > TELEMETRY_LABEL_VALUE_MAX)
            value.len = TELEMETRY_LABEL_VALUE_MAX;
        key.labels[i] = value;
    }
    key.hash = hash_of(&key);
    return key;
}

// The key whose tenant, or whose every label, is "other".
static struct key folded(const struct key *key, bool tenant_only) {
    struct key other = *key;
    for (unsigned i = 0; i < key->row->label_count; i++) {
        if (!tenant_only || key->row->tenant_label == (int)i)
            other.labels[i] = TW_STR("other");
    }
    other.tenant = 0;
    other.has_tenant = false;
    other.hash = hash_of(&other);
    return other;
}

static bool holds(const struct tw_series *series, const struct key *key) {
    if (series->hash != key->hash || series->metric != key->metric || series->has_tenant != key->has_tenant ||
        series->tenant != key->tenant)
        return false;
    for (unsigned i = 0; i < key->row->label_count; i++) {
        bool is_tenant = key->has_tenant && key->row->tenant_label == (int)i;
        if (!is_tenant && !tw_str_equal(series->labels[i], key->labels[i]))
            return false;
    }
    return true;
}

// ---- finding and making ----

// The slot of the series, or the empty one where it would go.
static _Atomic(struct tw_series *) *probe(const struct key *key) {
    size_t index = key->hash % TABLE_SLOTS;
    for (;;) {
        struct tw_series *series = atomic_load_explicit(&all.slots[index], memory_order_acquire);
        if (!series || holds(series, key))
            return &all.slots[index];
        index = (index + 1) % TABLE_SLOTS;
    }
}

static struct tw_series *find(const struct key *key) {
    return atomic_load_explicit(probe(key), memory_order_acquire);
}

// Puts the label texts behind the series.
static void copy_labels(struct tw_series *series, const struct key *key, struct tw_str tenant) {
    char *text = series->text;
    for (unsigned i = 0; i < key->row->label_count; i++) {
        bool is_tenant = key->has_tenant && key->row->tenant_label == (int)i;
        struct tw_str value = is_tenant ? tenant : key->labels[i];
        if (value.len)
            memcpy(text, value.data, value.len);
        series->labels[i] = tw_str_of(text, value.len);
        text += value.len;
    }
}

static struct tw_series *new_series(const struct key *key) {
    char tenant[24];
    int tenant_len = snprintf(tenant, sizeof(tenant), "%" PRIu64, key->tenant);
    size_t text_size = (size_t)tenant_len;
    for (unsigned i = 0; i < key->row->label_count; i++)
        text_size += key->labels[i].len;
    unsigned shards = key->row->kind == TELEMETRY_GAUGE ? 1 : all.shard_count;
    unsigned stride = (telemetry_words(key->row) + LINE_WORDS - 1) / LINE_WORDS * LINE_WORDS;
    size_t rows_size = (size_t)shards * stride * sizeof(int64_t);
    struct tw_series *series = tw_alloc_zero(1, sizeof(*series) + text_size + CACHE_LINE + rows_size);
    if (!series)
        return NULL;
    series->metric = key->metric;
    series->row = key->row;
    series->hash = key->hash;
    series->tenant = key->tenant;
    series->has_tenant = key->has_tenant;
    series->stride = stride;
    series->shard_mask = shards - 1;
    uintptr_t after_text = (uintptr_t)(series->text + text_size);
    series->words = (_Atomic int64_t *)tw_align_up(after_text, CACHE_LINE);
    copy_labels(series, key, tw_str_of(tenant, (size_t)tenant_len));
    return series;
}

// Makes the series in the empty slot it belongs to; NULL without memory. The caller holds the lock.
static struct tw_series *make_locked(const struct key *key) {
    struct tw_series *series = new_series(key);
    if (!series)
        return NULL;
    typeof(all.metrics[0]) *list = &all.metrics[key->metric];
    atomic_store_explicit(list->last ? &list->last->next : &list->first, series, memory_order_release);
    list->last = series;
    list->count++;
    list->tenants += key->has_tenant;
    all.series_count++;
    atomic_store_explicit(probe(key), series, memory_order_release);
    return series;
}

static bool has_room_locked(const struct key *key) {
    // Each metric's "other" is always granted: TABLE_SLOTS has room for one more a metric.
    return all.series_count < TW_METRIC_SERIES_MAX &&
           all.metrics[key->metric].count < TELEMETRY_METRIC_SERIES_MAX;
}

// The key under which a set that is not there yet would be kept. The caller holds the lock.
static struct key fold_locked(const struct key *key) {
    if (key->has_tenant && all.metrics[key->metric].tenants >= TW_METRIC_TENANTS_MAX) {
        struct key other = folded(key, true);
        if (find(&other) || has_room_locked(&other))
            return other;
    }
    return has_room_locked(key) ? *key : folded(key, false);
}

static struct tw_series *find_or_make(const struct key *key) {
    struct tw_series *series = find(key);
    if (series)
        return series;
    TW_LOCK_SCOPE(&all.lock);
    series = find(key); // another thread may have made it meanwhile
    if (series)
        return series;
    struct key kept = fold_locked(key);
    series = find(&kept);
    if (!series)
        series = make_locked(&kept);
    return series ? series : &lost_series[key->metric];
}

struct tw_series *tw_series_get(enum tw_metric metric, struct tw_labels labels) {
    setup_once();
    struct key key = key_of(metric, labels);
    return find_or_make(&key);
}

// ---- values ----

static unsigned own_shard(void) {
    static _Atomic unsigned next;
    static _Thread_local unsigned shard; // plus one; 0: not given yet
    if (shard == 0)
        shard = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % TELEMETRY_SHARDS_MAX + 1;
    return shard - 1;
}

static _Atomic int64_t *own_row(const struct tw_series *series) {
    return series->words + (size_t)(own_shard() & series->shard_mask) * series->stride;
}

static void add_word(_Atomic int64_t *word, int64_t delta) {
    atomic_fetch_add_explicit(word, delta, memory_order_relaxed);
}

void tw_series_add(struct tw_series *series, int64_t delta) {
    TW_ASSERT(!series->row->buckets);
    if (series->row->kind == TELEMETRY_COUNTER && delta <= 0)
        return; // a counter never falls
    add_word(own_row(series), delta);
}

void tw_series_observe(struct tw_series *series, double seconds) {
    static const double longest = 1e9; // 31 years: far beyond the last bucket, and the sum still fits
    const struct telemetry_metric *row = series->row;
    TW_ASSERT(row->buckets);
    if (!(seconds > 0)) // NaN too
        seconds = 0;
    if (seconds > longest)
        seconds = longest;
    unsigned bucket = 0;
    while (bucket < row->bucket_count && seconds > row->buckets[bucket])
        bucket++;
    _Atomic int64_t *words = own_row(series);
    add_word(&words[bucket], 1);
    add_word(&words[row->bucket_count + 1], (int64_t)(seconds * 1e9 + 0.5));
}

int64_t telemetry_series_read(const struct tw_series *series, unsigned word) {
    int64_t sum = 0;
    for (unsigned shard = 0; shard <= series->shard_mask; shard++)
        sum +=
            atomic_load_explicit(&series->words[(size_t)shard * series->stride + word], memory_order_relaxed);
    return sum;
}

void tw_metric_add(enum tw_metric metric, struct tw_labels labels, int64_t delta) {
    tw_series_add(tw_series_get(metric, labels), delta);
}

void tw_metric_observe(enum tw_metric metric, struct tw_labels labels, double seconds) {
    tw_series_observe(tw_series_get(metric, labels), seconds);
}

void tw_metric_set(enum tw_metric metric, struct tw_labels labels, int64_t value) {
    struct tw_series *series = tw_series_get(metric, labels);
    TW_ASSERT(series->row->kind == TELEMETRY_GAUGE);
    atomic_store_explicit(&series->words[0], value, memory_order_relaxed);
}

int64_t tw_metric_get(enum tw_metric metric, struct tw_labels labels) {
    setup_once();
    struct key key = key_of(metric, labels);
    const struct tw_series *series = find(&key);
    if (!series) {
        TW_LOCK_SCOPE(&all.lock);
        struct key kept = fold_locked(&key);
        series = find(&kept);
    }
    return series && !series->row->buckets ? telemetry_series_read(series, 0) : 0;
}

// ---- walking ----

const struct tw_series *telemetry_series_first(enum tw_metric metric) {
    setup_once();
    return atomic_load_explicit(&all.metrics[metric].first, memory_order_acquire);
}

const struct tw_series *telemetry_series_next(const struct tw_series *series) {
    return atomic_load_explicit(&series->next, memory_order_acquire);
}

struct tw_str telemetry_series_label(const struct tw_series *series, unsigned index) {
    return series->labels[index];
}
