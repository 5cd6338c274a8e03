/* The link to the keymaker: requests go out, answers come back by number. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/channel.h"
#include "base/defs.h"
#include "wire/keymaking.h"

#define KEY_LINK_PENDING 64

/* A is NULL when the keymaker is gone or does not answer. */
typedef void (*key_link_fn)(void *ctx, const struct keymaking_answer *a);

struct key_link {
    struct channel channel;
    uint32_t numbers;
    struct key_link_pending {
        uint32_t number; /* 0 = free */
        key_link_fn fn;
        void *ctx;
        uint64_t until_ms;
    } pending[KEY_LINK_PENDING];
    struct alarm_clock late;
};

void key_link_init(struct key_link *k, struct loop *loop, unsigned kind);

/* A new keymaker: FD is owned from here. What was asked of the one before is answered by NULL. ERR_SYSTEM (errno). */
MUST_CHECK int key_link_take(struct key_link *k, int fd);

/* FN is called once, from the loop, unless it is cancelled. ERR_CLOSED, ERR_LIMIT, ERR_AGAIN: it is not. */
MUST_CHECK int key_link_ask(struct key_link *k, struct keymaking_request *q, key_link_fn fn, void *ctx);

/* Nothing that was asked for CTX is answered. */
void key_link_cancel(struct key_link *k, const void *ctx);
