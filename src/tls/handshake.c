/* Which path a handshake takes, once and before the first byte of ours; from then on everything goes to that one. */
#include "tls/handshake.h"

#include "tls/handshake_path.h"
#include "tls/hs_libssl.h"
#include "tls/hs_own.h"

int handshake_new(const struct tls_server *s, const struct hello *hello, struct buf *out, const struct key_log *log,
                  struct handshake **ret) {
    return hs_own_takes(s, hello) ? hs_own_new(s, hello, out, log, ret) : hs_libssl_new(s, hello, out, log, ret);
}

void handshake_free(struct handshake *h) {
    if (h)
        h->path->free(h);
}

bool handshake_is_own(const struct handshake *h) {
    return h->path->own;
}

size_t handshake_bytes(const struct handshake *h) {
    return h->path->bytes(h);
}

enum step handshake_step(struct handshake *h, struct span *in) {
    return h->path->step(h, in);
}

bool handshake_wants_signature(const struct handshake *h) {
    return h->path->wants_signature && h->path->wants_signature(h);
}

void handshake_sign_request(const struct handshake *h, struct handshake_sign *ret) {
    h->path->sign_request(h, ret);
}

void handshake_signed(struct handshake *h, int err, struct span signature) {
    h->path->signed_by(h, err, signature);
}

void handshake_alert(struct handshake *h, int err) {
    h->path->alert(h, err);
}

int handshake_error(const struct handshake *h, uint8_t *ret_alert) {
    return h->path->error(h, ret_alert);
}

const char *handshake_detail(const struct handshake *h) {
    return h->path->detail(h);
}

const char *handshake_waiting_for(const struct handshake *h) {
    return h->path->waiting_for(h);
}

int handshake_finish(struct handshake *h, struct handshake_result *ret) {
    return h->path->finish(h, ret);
}
