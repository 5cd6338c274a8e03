/* Bounded text. Once something was cut the buffer is full, so nothing that is added later can close the gap. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

struct text text_of(char *p, size_t cap) {
    MUST(cap >= 1);
    p[0] = 0;
    return (struct text){p, 0, cap, false};
}

void text_add_span(struct text *t, struct span s) {
    size_t room = t->cap - 1 - t->len;
    size_t n = MIN(s.len, room);
    if (n)
        memcpy(t->p + t->len, s.p, n);
    t->len += n;
    t->p[t->len] = 0;
    t->cut = t->cut || n < s.len;
}

void text_add(struct text *t, const char *s) {
    text_add_span(t, span_str(s));
}

void text_addf(struct text *t, const char *fmt, ...) {
    size_t room = t->cap - t->len;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->p + t->len, room, fmt, ap);
    va_end(ap);
    if (n < 0) {
        t->p[t->len] = 0;
        t->cut = true;
        return;
    }
    t->cut = t->cut || (size_t)n >= room;
    t->len += MIN((size_t)n, room - 1);
}

static size_t count_text_lines(const char *s) {
    size_t n = *s && s[strlen(s) - 1] != '\n';
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

void text_add_lines(struct text *t, const char *lines) {
    static const size_t last_line = sizeof("and 18446744073709551615 more lines\n");
    size_t room = t->cap - 1 - t->len, len = strlen(lines);
    if (len <= room) {
        text_add(t, lines);
        return;
    }
    const char *end = room > last_line ? memrchr(lines, '\n', room - last_line) : NULL;
    size_t n = end ? (size_t)(end - lines) + 1 : 0;
    text_add_span(t, span_of(lines, n));
    text_addf(t, "and %zu more lines\n", count_text_lines(lines + n));
    t->cut = true;
}

void text_mark_cut(struct text *t) {
    static const char mark[] = "...";
    if (!t->cut || t->cap < sizeof(mark))
        return;
    t->len = MIN(t->len, t->cap - sizeof(mark));
    while (t->len > 0 && ((unsigned char)t->p[t->len] & 0xc0) == 0x80)
        t->len--;
    memcpy(t->p + t->len, mark, sizeof(mark));
    t->len += sizeof(mark) - 1;
}

void text_add_hex(struct text *t, struct span bytes) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len && !t->cut; i++) {
        char pair[2] = {digits[bytes.p[i] >> 4], digits[bytes.p[i] & 15]};
        text_add_span(t, span_of(pair, sizeof(pair)));
    }
}

static unsigned hex_value(uint8_t c) {
    uint8_t lower = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 16;
}

int text_read_hex(struct span hex, uint8_t *to, size_t cap, size_t *ret_len) {
    if (hex.len % 2)
        return ERR_FORMAT;
    if (hex.len / 2 > cap)
        return ERR_LIMIT;
    for (size_t i = 0; i < hex.len / 2; i++) {
        unsigned high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);
        if (high > 15 || low > 15)
            return ERR_FORMAT;
        to[i] = (uint8_t)(high << 4 | low);
    }
    *ret_len = hex.len / 2;
    return 0;
}

int text_parse_u64(const char *s, uint64_t max, uint64_t *ret) {
    uint64_t v = 0;
    bool over = false;
    if (!*s)
        return ERR_FORMAT;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return ERR_FORMAT;
        unsigned digit = (unsigned)(*s - '0');
        over = over || v > (UINT64_MAX - digit) / 10;
        v = v * 10 + digit;
    }
    if (over || v > max)
        return ERR_LIMIT;
    *ret = v;
    return 0;
}
