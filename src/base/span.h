/* A borrowed run of bytes. A span never owns; the function that returns one says how long it stays valid. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *p;
    size_t len;
};

static inline struct span span_of(const void *p, size_t len) {
    return (struct span){p, len};
}

/* The bytes of a C string without its end. */
static inline struct span span_str(const char *s) {
    return (struct span){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool span_has_prefix(struct span s, const char *prefix) {
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.p, prefix, n) == 0;
}

/* Takes the first line off REST, without its "\n", which the last line may lack. False when nothing is left. */
static inline bool span_take_line(struct span *rest, struct span *ret) {
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->p, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->p) : rest->len, used = len + (end != NULL);
    *ret = span_of(rest->p, len);
    *rest = span_of(rest->p + used, rest->len - used);
    return true;
}
