#include "tls/ja4.h"

#include <stdbool.h>
#include <string.h>

#include "tls/sha2.h"

#define EXT_SERVER_NAME 0x0000
#define EXT_ALPN        0x0010

#define HASH_CHARS 12

static const char hex_digits[] = "0123456789abcdef";

/* RFC 8701: both bytes equal, low nibble a. */
static bool is_grease(uint16_t v) {
    return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

static uint16_t u16_at(struct span list, size_t i) {
    return (uint16_t)(list.p[2 * i] << 8 | list.p[2 * i + 1]);
}

/* One pass of the sort below: stable, by the byte at SHIFT. */
static void sort_by_byte(const uint16_t *from, uint16_t *to, size_t n, unsigned shift) {
    uint16_t at[256] = {0}; /* n <= JA4_LIST_MAX */
    for (size_t i = 0; i < n; i++)
        at[from[i] >> shift & 0xff]++;
    for (unsigned b = 0, sum = 0, count; b < 256; b++, sum += count) {
        count = at[b];
        at[b] = (uint16_t)sum;
    }
    for (size_t i = 0; i < n; i++)
        to[at[from[i] >> shift & 0xff]++] = from[i];
}

/* In two passes for a long list: a hostile hello brings 32,000 suites, whose sorting by comparison costs more than ten
 * handshakes. */
static void sort_u16(uint16_t *v, size_t n) {
    static uint16_t other[JA4_LIST_MAX];
    if (n > 64) {
        sort_by_byte(v, other, n, 0);
        sort_by_byte(other, v, n, 8);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint16_t x = v[i];
        size_t at = i;
        for (; at > 0 && v[at - 1] > x; at--)
            v[at] = v[at - 1];
        v[at] = x;
    }
}

/* Text on its way into a digest, some hundred characters at a time. */
struct hashing {
    union sha2 sha;
    size_t len;
    char chunk[640];
};

static void hash_flush(struct hashing *h) {
    sha2_add(HASH_SHA256, &h->sha, h->chunk, h->len);
    h->len = 0;
}

static void hash_char(struct hashing *h, char c) {
    if (h->len == sizeof(h->chunk))
        hash_flush(h);
    h->chunk[h->len++] = c;
}

static void hash_u16(struct hashing *h, bool first, uint16_t v) {
    if (h->len > sizeof(h->chunk) - 5)
        hash_flush(h);
    if (!first)
        h->chunk[h->len++] = ',';
    for (unsigned shift = 16; shift > 0; shift -= 4)
        h->chunk[h->len++] = hex_digits[v >> (shift - 4) & 0xf];
}

/* The sorted list and, behind a '_', the signature algorithms as they came. An empty list is written as zeroes. */
static void write_hash(const uint16_t *sorted, size_t n, struct span sigalgs, char ret[static HASH_CHARS]) {
    if (n == 0) {
        memset(ret, '0', HASH_CHARS);
        return;
    }
    struct hashing h;
    h.len = 0;
    sha2_begin(HASH_SHA256, &h.sha);
    for (size_t i = 0; i < n; i++)
        hash_u16(&h, i == 0, sorted[i]);
    bool first = true;
    for (size_t i = 0; i < sigalgs.len / 2; i++) {
        uint16_t v = u16_at(sigalgs, i);
        if (is_grease(v))
            continue;
        if (first)
            hash_char(&h, '_');
        hash_u16(&h, first, v);
        first = false;
    }
    hash_flush(&h);

    uint8_t digest[HASH_LEN_MAX];
    sha2_end(HASH_SHA256, &h.sha, digest);
    for (size_t i = 0; i < HASH_CHARS / 2; i++) {
        ret[2 * i] = hex_digits[digest[i] >> 4];
        ret[2 * i + 1] = hex_digits[digest[i] & 0xf];
    }
}

static const char *version_text(const struct ja4_conn_info *f) {
    uint16_t max = f->versions.len ? 0 : f->legacy_version;
    for (size_t i = 0; i < f->versions.len / 2; i++) {
        uint16_t v = u16_at(f->versions, i);
        if (!is_grease(v) && v > max)
            max = v;
    }
    static const struct {
        uint16_t version;
        char text[3];
    } table[] = {{0x0304, "13"}, {0x0303, "12"}, {0x0302, "11"}, {0x0301, "10"}, {0x0300, "s3"},
                 {0x0002, "s2"}, {0xfeff, "d1"}, {0xfefd, "d2"}, {0xfefc, "d3"}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].version == max)
            return table[i].text;
    return "00";
}

static bool is_alnum(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* First and last character of the first protocol name, or of its hex form when one of them is not alphanumeric. */
static void write_alpn(struct span alpn, char ret[static 2]) {
    ret[0] = ret[1] = '0';
    if (alpn.len < 2 || alpn.p[0] == 0 || alpn.p[0] > alpn.len - 1)
        return;
    uint8_t first = alpn.p[1], last = alpn.p[alpn.p[0]];
    bool plain = is_alnum(first) && is_alnum(last);
    ret[0] = plain ? (char)first : hex_digits[first >> 4];
    ret[1] = plain ? (char)last : hex_digits[last & 0xf];
}

static void write_count(size_t n, char ret[static 2]) {
    n = MIN(n, 99);
    ret[0] = (char)('0' + n / 10);
    ret[1] = (char)('0' + n % 10);
}

/* Fills LIST with the sorted extensions but SNI and ALPN; returns its length. *RET_COUNT has both. */
static size_t sorted_extensions(const struct ja4_conn_info *f, uint16_t *list, size_t *ret_count, bool *ret_sni) {
    size_t n = 0, count = 0;
    *ret_sni = false;
    for (size_t i = 0; i < MIN(f->nextensions, JA4_LIST_MAX); i++) {
        uint16_t v = f->extensions[i];
        if (is_grease(v))
            continue;
        count++;
        *ret_sni = *ret_sni || v == EXT_SERVER_NAME;
        if (v != EXT_SERVER_NAME && v != EXT_ALPN)
            list[n++] = v;
    }
    sort_u16(list, n);
    *ret_count = count;
    return n;
}

void ja4_write(const struct ja4_conn_info *f, char ret[static JA4_LEN + 1]) {
    static const struct span none = {NULL, 0};
    char text[JA4_LEN + 1] = "tvvsccccaa_bbbbbbbbbbbb_cccccccccccc";
    static uint16_t list[JA4_LIST_MAX]; /* on the stack its clearing would cost more than all the rest */
    size_t n = 0;
    for (size_t i = 0; i < MIN(f->suites.len / 2, JA4_LIST_MAX); i++)
        if (!is_grease(u16_at(f->suites, i)))
            list[n++] = u16_at(f->suites, i);
    sort_u16(list, n);
    write_count(n, text + 4);
    write_hash(list, n, none, text + 11);

    size_t count;
    bool sni;
    n = sorted_extensions(f, list, &count, &sni);
    write_count(count, text + 6);
    memcpy(text + 1, version_text(f), 2);
    text[3] = sni ? 'd' : 'i';
    write_alpn(f->alpn, text + 8);
    write_hash(list, n, f->sigalgs, text + 24);
    memcpy(ret, text, sizeof(text));
}
