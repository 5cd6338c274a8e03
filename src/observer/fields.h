/*
 * An event as a flat list of names and values, the same for every format and every target. Values are still raw bytes of
 * outsiders here; format.h makes them harmless.
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf.h"
#include "observer/observer.h"
#include "wire/event.h"

#define FIELDS_MAX       40
#define FIELDS_SPACE     1024 /* for values that are made here: numbers, addresses, hex */
#define FIELDS_HEAD      4    /* time, level, event, role: in front of every line, in this order */
#define FIELD_EVENT_LOG  "log"
#define FIELD_EVENT_MANY "sampled"

struct field {
    const char *name;
    struct span value;
    bool bare; /* a number, true or false: JSON takes no quotes */
};

struct fields {
    struct field list[FIELDS_MAX];
    size_t n;
    enum log_level level;
    char memory[FIELDS_SPACE];
    struct text space;
};

/* How much an event matters: what the operator should look at is a warning, whatever outsiders do wrong is not. */
enum log_level event_level(const struct event *e);

/* The service of that name; UINT16_MAX when the configuration has none (any more). */
uint16_t service_index(const struct conf *conf, struct span name);

/* RET borrows E and NAMES' texts. */
void fields_of_event(const struct event *e, const struct format_names *names, struct fields *ret);

/* COUNT failures of one service and reason that were not written one by one within the last SECONDS. */
struct sampled {
    uint16_t service;
    int reason;
    uint64_t count;
    unsigned seconds;
};
void fields_of_sampled(const struct sampled *s, uint64_t wall_us, uint16_t index, const struct conf *conf, struct fields *ret);

/* COUNT events of a traced client found no room. */
void fields_of_dropped(uint64_t count, uint64_t wall_us, uint16_t index, struct fields *ret);
