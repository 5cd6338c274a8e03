#include "base/base64url.h"

#include <string.h>

#include "base/err.h"

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char url_alphabet[] = LETTERS_AND_DIGITS "-_", common_alphabet[] = LETTERS_AND_DIGITS "+/";

void base64url_add(struct text *to, struct span bytes) {
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = MIN(bytes.len - i, (size_t)3);
        uint32_t v = (uint32_t)bytes.p[i] << 16;
        v |= n > 1 ? (uint32_t)bytes.p[i + 1] << 8 : 0;
        v |= n > 2 ? bytes.p[i + 2] : 0;
        char four[4];
        for (size_t k = 0; k < 4; k++)
            four[k] = url_alphabet[v >> (18 - 6 * k) & 63];
        text_add_span(to, span_of(four, n + 1));
    }
}

static int read_base64(const char *digits, struct span s, uint8_t *to, size_t cap, size_t *ret_len) {
    uint32_t v = 0;
    unsigned bits = 0;
    size_t len = 0;
    if (s.len % 4 == 1)
        return ERR_FORMAT;
    for (size_t i = 0; i < s.len; i++) {
        const char *at = s.p[i] ? strchr(digits, s.p[i]) : NULL;
        if (!at)
            return ERR_FORMAT;
        v = (v << 6 | (uint32_t)(at - digits)) & 0xffffff;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        if (len == cap)
            return ERR_LIMIT;
        to[len++] = (uint8_t)(v >> bits);
    }
    if (v & ((1u << bits) - 1))
        return ERR_FORMAT;
    *ret_len = len;
    return 0;
}

int base64url_read(struct span s, uint8_t *to, size_t cap, size_t *ret_len) {
    return read_base64(url_alphabet, s, to, cap, ret_len);
}

int base64_read(struct span s, uint8_t *to, size_t cap, size_t *ret_len) {
    return read_base64(common_alphabet, s, to, cap, ret_len);
}
