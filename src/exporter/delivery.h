/*
 * Spans on their way to the collector: gathered in batches, one request at a time, tried again with growing pauses. All of it
 * is bounded: what finds no room is dropped, and so is a batch that nobody takes for five minutes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/alarm_clock.h"
#include "base/buf.h"
#include "exporter/otlp_answer.h"
#include "http_out/http_out.h"

#define DELIVERY_BATCHES      16
#define DELIVERY_BATCH_MAX    (512 * 1024) /* bytes of its spans */
#define DELIVERY_SPANS_MAX    512          /* of a batch */
#define DELIVERY_GATHER_MS    1000         /* the first span of a batch waits so long for others */
#define DELIVERY_PAUSE_MIN_MS 1000
#define DELIVERY_PAUSE_MAX_MS 30000
#define DELIVERY_RETRY_MAX_MS 300000 /* also of what the collector asks for */

struct delivery_batch {
    struct buf spans;
    uint32_t n;
};

/* What became of spans; WHY is of one line, empty = all is well, and may have words of others. */
struct delivery_result {
    enum otlp_verdict verdict;
    int cause; /* of the verdict, without words: the status, or the number of libcurl's error, negative */
    uint32_t taken, refused, dropped;
    const char *why;
};

typedef void (*delivery_fn)(void *ctx, const struct delivery_result *r);

struct delivery {
    struct loop *loop;
    struct http_out *http;
    struct http_out_request request;
    struct http_out_question question; /* all but the body */
    struct span head;                  /* of each request */
    delivery_fn fn;
    void *ctx;
    struct delivery_batch batches[DELIVERY_BATCHES]; /* a ring; the last one is open */
    size_t first, n;
    struct alarm_clock gather, retry;
    uint32_t pause_ms; /* before the next try; 0 = the last one was good */
    uint64_t tried_ms; /* when the first batch was first tried; 0 = not yet */
    bool under_way;
    bool last; /* the end: what is there is tried once */
};

/* QUESTION and HEAD are kept with all that they name. */
void delivery_init(struct delivery *d, struct loop *loop, struct http_out *http, const struct http_out_question *question,
                   struct span head, delivery_fn fn, void *ctx);

/* False: there is no room for it. */
MUST_CHECK bool delivery_add(struct delivery *d, struct span json);

/* From now on nothing waits for others or for a better time: what fails is dropped. */
void delivery_hurry(struct delivery *d);

/* Nothing is left to be sent. */
bool delivery_done(const struct delivery *d);

/* Ends all; the number of spans that are lost. */
uint32_t delivery_stop(struct delivery *d);
