/*
 * The link to the fleet role: what the instances of a fleet share (wire/sharing.h). Requests go out, answers come back by
 * number; nothing waits for the store.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/channel.h"
#include "base/defs.h"
#include "base/log_pause.h"
#include "wire/sharing.h"

/* A's result is SHARING_AWAY when the store or the fleet role is away. */
typedef void (*share_fn)(void *ctx, const struct sharing_answer *a);

struct log;

struct share_link {
    struct channel fleet;
    bool up;                /* the store can be used */
    uint64_t away_since_ms; /* monotonic; of one that is away */
    uint32_t numbers;
    struct share_pending {
        uint32_t number; /* 0 = free */
        share_fn fn;
        void *ctx;
        uint64_t until_ms;
    } pending[SHARING_CALL_LIMIT];
    struct alarm_clock late;
    struct log *log;
    struct log_pause pause;
    void (*changed)(void *ctx);                /* UP is another one */
    void (*news)(void *ctx, struct span name); /* an object has changed; empty = any may have */
    void *ctx;
};

/* LOG, CHANGED, NEWS and CTX are set by the caller afterwards. From now on it is away. */
void share_link_init(struct share_link *s, struct loop *loop, unsigned kind);

/* A new fleet role: FD is owned from here. As channel_open(). */
MUST_CHECK int share_link_take(struct share_link *s, int fd);

/* FN is called once, from the loop, unless it is cancelled; NULL: nobody wants the answer. ERR_*: it is not called. */
MUST_CHECK int share_link_ask(struct share_link *s, struct sharing_request *q, share_fn fn, void *ctx);

/* The answer to a write of WHAT, which is not needed: that it was not done is logged now and then, with how often that was. */
void share_link_note(struct share_link *s, const char *what, const struct sharing_answer *a);

/* Nothing that was asked for CTX is answered. */
void share_link_cancel(struct share_link *s, const void *ctx);

/* An object of the store as the keymaker wants it: VERSION in eight bytes, then DATA. The caller's; NULL: no memory. */
MUST_CHECK uint8_t *sealed_with_version(uint64_t version, struct span data, size_t *ret_len);

/* The version of such an object. */
uint64_t sealed_version(const uint8_t *sealed);
