#include "tls/pem_scan.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/err.h"

#define DASHES             "-----"
#define DASHES_LEN         5
#define PEM_SCAN_SHOWN_MAX 80 /* bytes of a line in a message */

static const struct {
    const char *label;
    enum pem_kind kind;
} known[] = {
    {"CERTIFICATE", PEM_CERTIFICATE},
    {"X509 CERTIFICATE", PEM_CERTIFICATE},
    {"TRUSTED CERTIFICATE", PEM_TRUSTED},
    {"PRIVATE KEY", PEM_KEY},
    {"ENCRYPTED PRIVATE KEY", PEM_KEY},
    {"RSA PRIVATE KEY", PEM_KEY},
    {"EC PRIVATE KEY", PEM_KEY},
    {"DSA PRIVATE KEY", PEM_KEY},
    {"EC PARAMETERS", PEM_PARAMETERS},
    {"X509 CRL", PEM_CRL},
    {"CRL", PEM_OTHER},
    {"DH PARAMETERS", PEM_OTHER},
    {"PUBLIC KEY", PEM_OTHER},
    {"CERTIFICATE REQUEST", PEM_OTHER},
    {"PKCS7", PEM_OTHER},
    {"CMS", PEM_OTHER},
    {"OCSP RESPONSE", PEM_OTHER},
};

struct pem_scan pem_scan_of(struct span text, const char *file) {
    return (struct pem_scan){.file = file, .left = text};
}

/* ---- lines ---- */

static bool is_pem_space(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

/* The next line without its end and the blanks around it. False when there is none. */
static bool next_line(struct pem_scan *s, struct span *ret) {
    if (s->left.len == 0)
        return false;
    size_t len = 0;
    while (len < s->left.len && s->left.p[len] != '\n' && s->left.p[len] != '\r')
        len++;
    struct span line = span_of(s->left.p, len);
    size_t end = len + (len < s->left.len);
    if (end < s->left.len && s->left.p[len] == '\r' && s->left.p[end] == '\n')
        end++;
    s->left = span_of(s->left.p + end, s->left.len - end);
    s->line++;
    if (line.len >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
        line = span_of(line.p + 3, line.len - 3);
    while (line.len && is_pem_space(line.p[0]))
        line = span_of(line.p + 1, line.len - 1);
    while (line.len && is_pem_space(line.p[line.len - 1]))
        line.len--;
    *ret = line;
    return true;
}

/* The label of "-----BEGIN LABEL-----", where WORD is "BEGIN "; empty when the line is no such thing. */
static struct span label_of(struct span line, const char *word) {
    size_t head = DASHES_LEN + strlen(word);
    if (line.len <= head + DASHES_LEN || memcmp(line.p, DASHES, DASHES_LEN) != 0 ||
        memcmp(line.p + DASHES_LEN, word, strlen(word)) != 0 || memcmp(line.p + line.len - DASHES_LEN, DASHES, DASHES_LEN) != 0)
        return span_of(NULL, 0);
    struct span label = span_of(line.p + head, line.len - head - DASHES_LEN);
    bool ok = true;
    for (size_t i = 0; i < label.len; i++)
        ok =
            ok && (label.p[i] == ' ' ? i > 0 && i + 1 < label.len : label.p[i] > ' ' && label.p[i] < 0x7f && label.p[i] != '-');
    return ok ? label : span_of(NULL, 0);
}

/* What is left of a line, in upper case, when dashes, blanks and everything beyond ASCII are taken out of it. */
static size_t bare_text(struct span line, char to[static PEM_SCAN_SHOWN_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.p[i];
        if (c == '-' || c <= ' ' || c >= 0x7f)
            continue;
        if (n == PEM_SCAN_SHOWN_MAX)
            return 0;
        to[n++] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    return n;
}

/* BARE is WORD and NAME, of which blanks do not count. */
static bool is_bare(const char *bare, size_t len, const char *word, const char *name) {
    size_t n = strlen(word);
    if (len < n || memcmp(bare, word, n) != 0)
        return false;
    for (; *name; name++)
        if (*name != ' ' && (n >= len || bare[n++] != *name))
            return false;
    return n == len;
}

/* Whether a line is meant to be the begin or the end of a block, and is none that any reader would take. */
static bool is_near(struct span line) {
    static const char *const frames[] = {DASHES "BEGIN", DASHES "END"};
    char bare[PEM_SCAN_SHOWN_MAX];
    if (line.len && line.p[0] == '#') /* the operator has taken it out */
        return false;
    for (size_t i = 0; i < ARRAY_LEN(frames); i++)
        if (line.len &&
            memmem(line.p, line.len, frames[i], strlen(frames[i]))) /* quoted, or behind a text without an end of line */
            return true;
    size_t len = bare_text(line, bare);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (is_bare(bare, len, "BEGIN", known[i].label) || is_bare(bare, len, "END", known[i].label))
            return true;
    return false;
}

/* ---- blocks ---- */

static void quote_line(struct text *to, struct span line) {
    text_add(to, "\"");
    for (size_t i = 0; i < line.len && i < PEM_SCAN_SHOWN_MAX; i++) {
        if (line.p[i] >= ' ' && line.p[i] < 0x7f)
            text_add_span(to, span_of(&line.p[i], 1));
        else
            text_addf(to, "\\x%02x", line.p[i]);
    }
    text_add(to, line.len > PEM_SCAN_SHOWN_MAX ? "...\"" : "\"");
}

static enum step refuse_line(const struct pem_scan *s, struct span line, struct text *why) {
    text_addf(why, "%s: block %u (line %u) cannot be read: found ", s->file, s->n, s->line);
    quote_line(why, line);
    text_add(why, ", expected \"-----BEGIN ...-----\" or \"-----END ...-----\", in this very form");
    return STEP_FAILED;
}

static enum pem_kind pem_kind_of(struct span label) {
    static const char key[] = " PRIVATE KEY";
    size_t n = sizeof(key) - 1;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (span_eq(label, span_str(known[i].label)))
            return known[i].kind;
    return label.len > n && memcmp(label.p + label.len - n, key, n) == 0 ? PEM_KEY : PEM_OTHER;
}

static enum step find_end(struct pem_scan *s, struct pem_block *b, struct text *why) {
    struct span line = span_of(NULL, 0);
    const uint8_t *begin = s->left.p;
    const uint8_t *end = begin;
    while (next_line(s, &line)) {
        if (span_eq(label_of(line, "END "), b->label)) {
            b->body = span_of(begin, (size_t)(end - begin));
            return STEP_DONE;
        }
        if (label_of(line, "BEGIN ").len || is_near(line))
            break;
        end = s->left.p;
        line = span_of(NULL, 0);
    }
    text_addf(why, "%s: block %u (line %u) cannot be read: found ", s->file, b->n, b->line);
    if (line.len)
        quote_line(why, line);
    else
        text_add(why, "no end");
    text_addf(why, "%s, expected \"-----END %.*s-----\"", line.len ? " in it" : "", (int)b->label.len,
              (const char *)b->label.p);
    return STEP_FAILED;
}

enum step pem_scan_next(struct pem_scan *s, struct pem_block *ret, struct text *why) {
    struct span line;
    if (s->line == 0 && s->left.len >= 2 && (memcmp(s->left.p, "\xff\xfe", 2) == 0 || memcmp(s->left.p, "\xfe\xff", 2) == 0)) {
        text_addf(why, "%s: found text in UTF-16, expected ASCII", s->file);
        return STEP_FAILED;
    }
    while (next_line(s, &line)) {
        struct span label = label_of(line, "BEGIN ");
        if (!label.len && !is_near(line))
            continue;
        s->n++;
        if (!label.len)
            return refuse_line(s, line, why);
        *ret = (struct pem_block){.kind = pem_kind_of(label), .n = s->n, .line = s->line, .label = label};
        return find_end(s, ret, why);
    }
    return STEP_EOF;
}

bool pem_scan_has(struct span bytes, enum pem_kind kind) {
    char message[1];
    struct text unused = text_of(message, sizeof(message));
    struct pem_scan s = pem_scan_of(bytes, "");
    struct pem_block b;
    while (pem_scan_next(&s, &b, &unused) == STEP_DONE)
        if (b.kind == kind)
            return true;
    return false;
}

/* ---- what is in them ---- */

int pem_block_decode(const struct pem_block *b, const char *file, uint8_t *to, size_t *ret_len, struct text *why) {
    EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    int len = 0, rest = 0;
    if (ctx)
        EVP_DecodeInit(ctx);
    bool ok = ctx && b->body.len && !memchr(b->body.p, '-', b->body.len) &&
              EVP_DecodeUpdate(ctx, to, &len, b->body.p, (int)b->body.len) >= 0 && EVP_DecodeFinal(ctx, to + len, &rest) == 1;
    EVP_ENCODE_CTX_free(ctx);
    *ret_len = (size_t)len + (size_t)rest;
    if (ok && *ret_len)
        return 0;
    text_addf(why, "%s: block %u (line %u) cannot be read: expected base64 alone, in whole groups of four", file, b->n,
              b->line);
    return ERR_FORMAT;
}

size_t pem_block_text(const struct pem_block *b, char *to) {
    struct pem_scan lines = pem_scan_of(b->body, "");
    struct span line;
    struct text t = text_of(to, PEM_TEXT_CAP(b));
    text_addf(&t, DASHES "BEGIN %.*s" DASHES "\n", (int)b->label.len, (const char *)b->label.p);
    while (next_line(&lines, &line)) {
        text_add_span(&t, line);
        text_add(&t, "\n");
    }
    text_addf(&t, DASHES "END %.*s" DASHES "\n", (int)b->label.len, (const char *)b->label.p);
    return t.len;
}

void pem_block_unused(const struct pem_block *b, const char *file, struct text *to) {
    text_addf(to, "%s: block %u (line %u), ", file, b->n, b->line);
    quote_line(to, b->label);
    text_add(to, ", is not used");
}
