// SPDX-License-Identifier: Apache-2.0
//
// After the answer: what a record that was kept has beside it comes to the disk under its own names, on one thread of the
// store, and then its HEX.ahead goes. What fails, and what a crash finds there, stays ahead: the next change of the record
// or the next start does the same from that file (recover.c).

#include <unistd.h>

#include "store/internal.h"

// The file is durable under that name as well, or another change of the record has done so.
static bool forget(const struct tw_store_ahead *ahead, struct tw_error *err) {
    [[gnu::cleanup(store_unlock_kind)]] int lock = store_lock_kind(ahead->store, ahead->kind, err);
    return lock >= 0 &&
           (!store_is_file_at(ahead->ahead_path, ahead->fd) || unlink(ahead->ahead_path) == 0 ||
            tw_fail_errno(err, TW_ERR_STORE, errno, "%s could not be removed", ahead->ahead_path));
}

static bool settle(const struct tw_store_ahead *ahead, struct tw_error *err) {
    return store_blobs_settle(ahead->store, ahead->drafts, ahead->count, err) &&
           tw_file_sync(&ahead->record, err) && tw_file_sync_folder_of(ahead->path, err) &&
           forget(ahead, err);
}

static void settle_all(struct tw_store_ahead *ahead) {
    while (ahead) {
        struct tw_store_ahead *next = ahead->next;
        struct tw_error err = {};
        (void)store_counted(settle(ahead, &err), "settle", &err);
        store_ahead_free(ahead);
        ahead = next;
    }
}

static struct tw_store_ahead *take_all_locked(struct store_settler *settler) {
    struct tw_store_ahead *all = settler->first;
    settler->first = NULL;
    settler->last = &settler->first;
    return all;
}

static void run(void *context) {
    struct store_settler *settler = context;
    tw_lock_take(&settler->lock);
    while (settler->first || !settler->is_ending) {
        int64_t due_ns = settler->first ? settler->first->due_ns : TW_NO_DEADLINE;
        if (!settler->is_ending && tw_clock_ns() < due_ns) {
            (void)tw_cond_wait(&settler->changed, &settler->lock, due_ns);
            continue;
        }
        struct tw_store_ahead *all = take_all_locked(settler);
        tw_lock_give(&settler->lock);
        settle_all(all);
        tw_lock_take(&settler->lock);
    }
    tw_lock_give(&settler->lock);
}

// False: there is no thread for it.
static bool queue(struct store_settler *settler, struct tw_store_ahead *ahead) {
    struct tw_error ignored = {};
    TW_LOCK_SCOPE(&settler->lock);
    if (!settler->is_started)
        settler->is_started = tw_thread_start(&settler->thread, "tw-settle", run, settler, &ignored);
    if (!settler->is_started)
        return false;
    ahead->due_ns = tw_clock_ns() + STORE_SETTLE_DELAY_NS;
    *settler->last = ahead;
    settler->last = &ahead->next;
    return true;
}

void store_settle_later(struct tw_store_ahead *ahead) {
    struct store_settler *settler = &ahead->store->settler;
    if (queue(settler, ahead))
        tw_cond_wake_one(&settler->changed);
    else
        settle_all(ahead);
}

void store_settler_init(struct store_settler *settler) {
    tw_lock_init(&settler->lock);
    tw_cond_init(&settler->changed);
    settler->last = &settler->first;
}

void store_settler_done(struct store_settler *settler) {
    {
        TW_LOCK_SCOPE(&settler->lock);
        settler->is_ending = true;
        tw_cond_wake_one(&settler->changed);
    }
    if (settler->is_started)
        tw_thread_join(settler->thread);
    tw_cond_done(&settler->changed);
    tw_lock_done(&settler->lock);
}
