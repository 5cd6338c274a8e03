#include "tls/ca_names.h"

#include "base/err.h"
#include "base/rd.h"

void ca_names_init(struct ca_names *c) {
    *c = (struct ca_names){.n = 0};
    buf_init(&c->vector, CA_NAMES_BYTES_MAX);
}

void ca_names_fini(struct ca_names *c) {
    buf_fini(&c->vector);
}

static bool has_name(const struct ca_names *c, struct span der) {
    for (struct rd r = rd_of(buf_span(&c->vector)); rd_left(&r);)
        if (span_eq(rd_vec16(&r), der))
            return true;
    return false;
}

static int add_name(struct ca_names *c, struct span der) {
    const uint8_t head[] = {(uint8_t)(der.len >> 8), (uint8_t)der.len};
    if (has_name(c, der))
        return 0;
    if (c->n == CA_NAMES_MAX || buf_len(&c->vector) + sizeof(head) + der.len > CA_NAMES_BYTES_MAX) {
        c->left_out = true;
        return 0;
    }
    c->n++;
    int err = buf_append(&c->vector, head, sizeof(head));
    return err ? err : buf_append(&c->vector, der.p, der.len);
}

int ca_names_add(struct ca_names *c, const X509 *ca) {
    uint8_t *der = NULL;
    int len = i2d_X509_NAME(X509_get_subject_name(ca), &der);
    int err = len > 0 ? add_name(c, span_of(der, (size_t)len)) : ERR_FORMAT;
    OPENSSL_free(der);
    return err;
}

struct span ca_names_sent(const struct ca_names *c) {
    return c->left_out ? span_of(NULL, 0) : buf_span(&c->vector);
}
