#include "tls/hs_bio.h"

#include <string.h>

#include "tls/record.h"

/* The record whose header is complete begins its body. */
static void body_begin(struct hs_bio *h) {
    h->body_left = (uint32_t)(h->header[3] << 8 | h->header[4]);
    h->body_seen = 0;
    h->out_first8 = 0;
    h->out_since_feed++;
    if (h->out_ccs)
        h->out_protected++;
    if (h->header[0] == CONTENT_CHANGE_CIPHER_SPEC)
        h->out_ccs = true;
}

/* Follows the record borders through written bytes, which come cut in any way. */
static void count_written(struct hs_bio *h, const uint8_t *p, size_t n) {
    while (n > 0) {
        if (h->body_left == 0 && h->header_len < RECORD_HEADER_LEN) {
            h->header[h->header_len++] = *p++;
            n--;
            if (h->header_len == RECORD_HEADER_LEN)
                body_begin(h);
        } else {
            size_t take = MIN(n, h->body_left);
            for (size_t i = 0; i < take && h->body_seen < 8; i++, h->body_seen++)
                h->out_first8 = h->out_first8 << 8 | p[i];
            h->body_left -= (uint32_t)take;
            p += take;
            n -= take;
        }
        if (h->header_len == RECORD_HEADER_LEN && h->body_left == 0)
            h->header_len = 0;
    }
}

static int bio_write(BIO *bio, const char *data, size_t n, size_t *ret_n) {
    struct hs_bio *h = BIO_get_data(bio);
    if (buf_append(h->out, data, n) < 0) {
        h->overflow = true;
        return 0;
    }
    count_written(h, (const uint8_t *)data, n);
    *ret_n = n;
    return 1;
}

static int bio_read(BIO *bio, char *to, size_t n, size_t *ret_n) {
    struct hs_bio *h = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (h->in.len == 0) {
        BIO_set_retry_read(bio);
        *ret_n = 0;
        return 0;
    }
    size_t take = MIN(n, h->in.len);
    memcpy(to, h->in.p, take);
    h->in.p += take;
    h->in.len -= take;
    *ret_n = take;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr) {
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *method(void) {
    static BIO_METHOD *made;
    if (made)
        return made;
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "handshake");
    if (m && BIO_meth_set_write_ex(m, bio_write) && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_ctrl(m, bio_ctrl))
        made = m;
    else
        BIO_meth_free(m);
    return made;
}

BIO *hs_bio_new(struct hs_bio *h) {
    BIO_METHOD *m = method();
    BIO *bio = m ? BIO_new(m) : NULL;
    if (!bio)
        return NULL;
    BIO_set_data(bio, h);
    BIO_set_init(bio, 1);
    return bio;
}

void hs_bio_feed(struct hs_bio *h, struct span record) {
    MUST(h->in.len == 0);
    MUST(record.len >= RECORD_HEADER_LEN);
    h->in = record;
    h->out_since_feed = 0;
    if (h->in_ccs)
        h->in_protected++;
    if (record.p[0] == CONTENT_CHANGE_CIPHER_SPEC)
        h->in_ccs = true;
}
