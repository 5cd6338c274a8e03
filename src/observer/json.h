/* jansson with our kinds of values. Failures (want of memory) leave a member out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "observer/rates.h"

#define JSON_DIGITS 15 /* of numbers, where nothing speaks for fewer */

struct http_reply;

void json_put_u64(json_t *object, const char *name, uint64_t v);
void json_put_real(json_t *object, const char *name, double v);
/* Seconds since 1970; not put when it is 0, for none. */
void json_put_time(json_t *object, const char *name, int64_t s);
void json_put_bool(json_t *object, const char *name, bool v);

/* Bytes that are no UTF-8, or control characters, come out as U+FFFD. NULL is null. */
void json_put_text(json_t *object, const char *name, const char *text);

/* A text of several lines, none of them empty: each is cleaned, and they stay apart. */
void json_put_lines(json_t *object, const char *name, const char *text);
json_t *json_text(struct span text);
void json_append_text(json_t *array, const char *text); /* likewise */

/* Compact, with numbers of so many digits. False: out of memory, or TREE is NULL or too large for TO. */
bool json_write(struct buf *to, const json_t *tree, unsigned digits);

/* A new member, to be filled; NULL when out of memory; all of these accept NULL. */
json_t *json_put_object(json_t *object, const char *name);
json_t *json_put_array(json_t *object, const char *name);
json_t *json_append_object(json_t *array);

/* "NAME": {"1s": .., "10s": .., "60s": ..}. */
void json_put_rates(json_t *o, const char *name, const double rates[static RATES_SPANS]);

/* TREE as the reply's body; the reference is released. */
void json_reply(struct http_reply *r, json_t *tree);
