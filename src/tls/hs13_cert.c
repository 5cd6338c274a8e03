#include "tls/hs13_cert.h"

#include <stdlib.h>

#include "base/wr.h"
#include "tls/cert_compress.h"
#include "tls/hs13_msgs.h"
#include "tls/hs13_out.h"

#define STATUS_OCSP      1
#define STAPLE_MORE      8           /* extension's head, its type, the response's length */
#define COMPRESSED_MORE  (2 + 3 + 3) /* what CompressedCertificate has beside the bytes */
#define COMPRESSIBLE_MAX (64 * 1024) /* a longer chain goes as it is: other clients wait meanwhile */

/* RFC 8446 4.4.2.1: in the leaf's entry. */
static void put_staple(struct wr *w, struct span ocsp) {
    wr_u16(w, (uint16_t)(ocsp.len ? STAPLE_MORE + ocsp.len : 0));
    if (ocsp.len == 0)
        return;
    wr_u16(w, 5); /* status_request */
    wr_u16(w, (uint16_t)(4 + ocsp.len));
    wr_u8(w, STATUS_OCSP);
    wr_u24(w, (uint32_t)ocsp.len);
    wr_span(w, ocsp);
}

/* The message's body in memory of its own; NULL when there is none. */
static uint8_t *make_body(const struct creds *store, uint32_t entry, struct span ocsp, size_t *ret_len) {
    uint32_t n = creds_entry(store, entry).nchain;
    size_t list = ocsp.len ? STAPLE_MORE + ocsp.len : 0;
    for (uint32_t i = 0; i < n; i++)
        list += 3 + creds_cert(store, entry, i).der.len + 2;
    uint8_t *body = malloc(1 + 3 + list);
    if (!body)
        return NULL;
    struct wr w = wr_of(body, 1 + 3 + list);
    wr_u8(&w, 0); /* no context */
    wr_u24(&w, (uint32_t)list);
    for (uint32_t i = 0; i < n; i++) {
        struct span der = creds_cert(store, entry, i).der;
        wr_u24(&w, (uint32_t)der.len);
        wr_span(&w, der);
        put_staple(&w, i == 0 ? ocsp : span_of(NULL, 0));
    }
    *ret_len = w.len;
    return body;
}

/* The rest of CompressedCertificate behind its algorithm, into PACKED; empty when it saves nothing. */
static void pack_cert(int way, struct span body, struct certs_packed *packed) {
    size_t cap = body.len > COMPRESSED_MORE ? body.len - COMPRESSED_MORE : 0;
    uint8_t *room = cap && body.len <= COMPRESSIBLE_MAX ? malloc(body.len) : NULL;
    size_t len = room ? cert_compress(way, body, room, cap) : 0;
    packed->tried = true;
    packed->body_len = (uint32_t)body.len;
    packed->len = (uint32_t)len;
    packed->p = len ? realloc(room, len) : NULL; /* a smaller block */
    if (!packed->p) {
        free(room);
        packed->len = 0;
    }
}

static void put_packed(struct hs13 *h, int way, const struct certs_packed *packed) {
    uint8_t head[COMPRESSED_MORE];
    struct wr w = wr_of(head, sizeof(head));
    wr_u16(&w, cert_compress_id(way));
    wr_u24(&w, packed->body_len);
    wr_u24(&w, packed->len);
    hs13_out_begin(h, MSG_COMPRESSED_CERTIFICATE, sizeof(head) + packed->len);
    hs13_out_put(h, wr_written(&w));
    hs13_out_put(h, span_of(packed->p, packed->len));
    h->compression = cert_compress_id(way);
}

void hs13_put_certificate(struct hs13 *h, const struct certs_choice *c, struct span offered) {
    struct span ocsp = h->wants_ocsp && c->ocsp.len <= UINT16_MAX - STAPLE_MORE ? c->ocsp : span_of(NULL, 0);
    int way = cert_compress_choose(offered);
    struct certs_packed *packed = way < 0 ? NULL : certs_packed(h->server->certs, c->entry, way, ocsp.len > 0);
    size_t len = 0;
    uint8_t *body = packed && packed->len ? NULL : make_body(certs_store(h->server->certs), c->entry, ocsp, &len);
    if (packed && body && !packed->tried)
        pack_cert(way, span_of(body, len), packed);
    if (packed && packed->len)
        put_packed(h, way, packed);
    else if (body)
        hs13_out_message(h, MSG_CERTIFICATE, span_of(body, len));
    else
        h->out_err = ERR_NOMEM;
    free(body);
}
