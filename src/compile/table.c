// SPDX-License-Identifier: Apache-2.0
//
// Artifacts kept open, so that a hit costs no I/O. A map by key and a list by last use; both maxima of
// limits.h hold after every addition, but an artifact that is larger than the table alone is not kept.

#include "compile/internal.h"

// Guarded by the compiler's lock.
struct entry {
    struct entry *newer, *older;
    struct tw_artifact *artifact; // holds a reference
};

// Guarded by the compiler's lock.
struct compile_table {
    struct tw_map entries;
    struct entry *newest, *oldest;
    size_t bytes;
};

struct compile_table *compile_table_new(void) {
    struct compile_table *table = tw_alloc_zero(1, sizeof(*table));
    if (table)
        tw_map_init(&table->entries, COMPILE_TABLE_ENTRIES);
    return table;
}

static struct tw_span key_span(const struct tw_digest *key) {
    return tw_span_of(key->bytes, sizeof(key->bytes));
}

static void unlink_entry(struct compile_table *table, struct entry *entry) {
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        table->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        table->oldest = entry->newer;
}

static void link_newest(struct compile_table *table, struct entry *entry) {
    entry->newer = NULL;
    entry->older = table->newest;
    if (table->newest)
        table->newest->newer = entry;
    else
        table->oldest = entry;
    table->newest = entry;
}

static void drop(struct compile_table *table, struct entry *entry) {
    struct tw_digest key = tw_artifact_key(entry->artifact);
    unlink_entry(table, entry);
    tw_map_remove(&table->entries, key_span(&key));
    table->bytes -= tw_artifact_bytes(entry->artifact).len;
    tw_artifact_unref(entry->artifact);
    free(entry);
}

void compile_table_free(struct compile_table *table) {
    if (!table)
        return;
    while (table->oldest)
        drop(table, table->oldest);
    tw_map_done(&table->entries);
    free(table);
}

struct tw_artifact *compile_table_find(struct compile_table *table, const struct tw_digest *key) {
    struct entry *entry = tw_map_find(&table->entries, key_span(key));
    if (!entry)
        return NULL;
    unlink_entry(table, entry);
    link_newest(table, entry);
    return tw_artifact_ref(entry->artifact);
}

void compile_table_add(struct compile_table *table, struct tw_artifact *artifact) {
    struct tw_digest key = tw_artifact_key(artifact);
    size_t len = tw_artifact_bytes(artifact).len;
    if (len > COMPILE_TABLE_BYTES || tw_map_find(&table->entries, key_span(&key)))
        return;
    while (table->oldest &&
           (table->entries.count >= COMPILE_TABLE_ENTRIES || table->bytes + len > COMPILE_TABLE_BYTES))
        drop(table, table->oldest);
    struct entry *entry = tw_alloc_zero(1, sizeof(*entry));
    if (!entry || !tw_map_put(&table->entries, key_span(&key), entry)) {
        free(entry);
        return;
    }
    entry->artifact = tw_artifact_ref(artifact);
    table->bytes += len;
    link_newest(table, entry);
}
