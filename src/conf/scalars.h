/*
 * Keys whose value is one number, word or text: their types, how they are read from the file, and how they lie in the conf.
 * What is read is in bounds; scalar_number_fits() and scalar_string_fits() ask the same of a value from elsewhere.
 */
#pragma once

#include "conf/schema.h"

extern const struct key_type scalar_boolean;
extern const struct key_type scalar_integer;
extern const struct key_type scalar_rate; /* 0, or within bounds */
extern const struct key_type scalar_word;
extern const struct key_type scalar_duration;        /* milliseconds; CONF_NEVER = none */
extern const struct key_type scalar_finite_duration; /* the same, never none */
extern const struct key_type scalar_ratio;           /* 0 to 1, in parts per million */
extern const struct key_type scalar_size;            /* bytes */
extern const struct key_type scalar_text;
extern const struct key_type scalar_path; /* absolute */

/* The value of ROW in BASE: a conf, a service or a listener. Of a row that stores a number. */
uint64_t scalar_number(const struct key_row *row, const void *base);
void scalar_set_number(const struct key_row *row, void *base, uint64_t v);
bool scalar_number_fits(const struct key_row *row, uint64_t v);

/* The same of a row that stores a text; NULL = not set. The text is borrowed: it must live as long as the conf. */
const char *scalar_string(const struct key_row *row, const void *base);
void scalar_set_string(const struct key_row *row, void *base, const char *s);
bool scalar_string_fits(const struct key_row *row, const char *s);

/* Every key below PREFIX ("service.*", "listener.*", or "" = outside of both) gets its default in BASE. */
void scalar_defaults(const char *prefix, void *base);
