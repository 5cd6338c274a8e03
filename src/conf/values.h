/* Single values of the file: text to number, and a value as it is shown to the operator. */
#pragma once

#include "conf/loader.h"

/* One word of a choice; a list ends with a NULL name. */
struct word {
    const char *name;
    unsigned value;
};

/* "250ms", "10s", "5m", "1h", "none" (CONF_NEVER). ERR_FORMAT; ERR_LIMIT above CONF_DURATION_MAX. */
MUST_CHECK int value_duration(const char *text, uint64_t *ret_ms);

/* "4096", "64KiB", "256MiB", "1GiB". ERR_FORMAT, ERR_LIMIT. */
MUST_CHECK int value_size(const char *text, uint64_t *ret_bytes);

/* The word's value, or -1. */
int value_word(const struct word *words, const char *text);

/* "/path", "path", "@name": absolute, or with its '@', in the conf's arena. Expectations as below. ERR_FORMAT, ERR_LIMIT. */
MUST_CHECK int value_socket(struct load *l, const char *name, const char **ret, struct text *why);

/*
 * "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%eth0]:443". ERR_FORMAT, and then WHY is left to the caller; ERR_NOT_FOUND:
 * the interface is missing, or too much.
 */
MUST_CHECK int value_address(const char *text, struct addr *ret, struct text *why);

/*
 * "unix:/path", "unix:@name", "tcp:host:port", "tcp:[v6]:port", "tcp:[fe80::1%eth0]:port" into the conf's arena. On failure
 * what was expected is added to WHY. ERR_FORMAT, ERR_LIMIT, ERR_NOT_FOUND.
 */
MUST_CHECK int value_backend(struct load *l, const char *text, struct conf_backend *ret, struct text *why);

/* A value as text: "text" in quotes and cut, a number, "an array", ...; returns TO. */
#define VALUE_SHOWN_MAX 128
const char *value_shown(const struct toml_node *n, char to[static VALUE_SHOWN_MAX]);

/* "a string", "an integer", ...; static storage. */
const char *value_kind(enum toml_kind kind);

/* "a", "b" or "c". */
void value_words_text(const struct word *words, struct text *t);

/* The member NAME of a table; NULL when it has none. */
const struct toml_node *value_member(const struct toml_node *table, const char *name);
