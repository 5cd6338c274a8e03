#include "tls/hs_keys.h"

#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/keysched.h"

static const struct kdf_secrets *secrets_of(const struct hs_libssl *h) {
    return h->logged.server_len ? &h->logged : &h->provided;
}

static int set_traffic_keys(const struct suite *suite, const uint8_t *secret, size_t len, struct traffic_keys *keys) {
    if (len != hash_len(suite->hash))
        return ERR_LEAVE;
    memcpy(keys->secret, secret, len);
    return keysched_traffic_key(suite, keys->secret, keys->key, keys->iv);
}

/* The keys of TLS 1.2 follow from the master secret, which libssl gives away. */
static int tls12_keys(const struct hs_libssl *h, const struct suite *suite, struct keysched_tls12 *ret) {
    struct hs_libssl_tls12 of;
    int err = hs_libssl_tls12(h, &of);
    if (err == 0)
        err = keysched_tls12_block(suite, of.master, of.client_random, of.server_random, ret);
    secret_wipe(&of, sizeof(of));
    return err;
}

/* TLS 1.3: the application key is used from our Finished on; then only tickets, behind the client's, use up numbers of it. */
static int take_out13(const struct hs_libssl *h, const struct suite *suite, struct record_layer *p) {
    const struct kdf_secrets *s = secrets_of(h);
    p->out.seq = hs_libssl_is_finished(h) ? h->bio.out_since_feed : 0;
    return set_traffic_keys(suite, s->server, s->server_len, &p->out);
}

/* TLS 1.2: every record behind a ChangeCipherSpec has used up a number: Finished may come in several. */
static void set_traffic_keys12(const struct hs_libssl *h, const struct keysched_tls12 *keys, struct record_layer *p) {
    memcpy(p->in.key, keys->client_key, sizeof(p->in.key));
    memcpy(p->in.iv, keys->client_iv, sizeof(p->in.iv));
    memcpy(p->out.key, keys->server_key, sizeof(p->out.key));
    memcpy(p->out.iv, keys->server_iv, sizeof(p->out.iv));
    p->in.seq = h->bio.in_protected;
    p->out.seq = h->bio.out_protected;
    /* libssl began its explicit nonces at random: going on from there can never repeat one */
    p->out.explicit_nonce = h->bio.out_first8 + 1;
}

static int take12(const struct hs_libssl *h, const struct suite *suite, struct record_layer *p) {
    struct keysched_tls12 keys;
    int err = tls12_keys(h, suite, &keys);
    if (err == 0)
        set_traffic_keys12(h, &keys, p);
    secret_wipe(&keys, sizeof(keys));
    return err;
}

int hs_keys_take(const struct hs_libssl *h, struct record_layer *p) {
    const struct suite *suite = hs_libssl_suite(h);
    if (!suite)
        return ERR_LEAVE;
    if (suite->version == TLS_1_2)
        return h->bio.in_protected && h->bio.out_protected ? take12(h, suite, p) : ERR_LEAVE;
    const struct kdf_secrets *s = secrets_of(h);
    int err = set_traffic_keys(suite, s->client, s->client_len, &p->in);
    return err < 0 ? err : take_out13(h, suite, p);
}

bool hs_keys_protect(const struct hs_libssl *h) {
    return hs_libssl_version(h) == TLS_1_3 ? secrets_of(h)->server_len != 0 : h->bio.out_ccs;
}

int hs_keys_take_out(const struct hs_libssl *h, struct record_layer *p) {
    const struct suite *suite = hs_libssl_suite(h);
    if (!suite)
        return ERR_LEAVE;
    p->suite_id = suite->id;
    return suite->version == TLS_1_3 ? take_out13(h, suite, p) : take12(h, suite, p);
}

size_t hs_keys_expansion(const struct hs_libssl *h, uint8_t type) {
    const struct suite *suite = hs_libssl_suite(h);
    if (hs_libssl_version(h) == TLS_1_3) /* early data under another suite is as long */
        return type == CONTENT_APPLICATION_DATA ? 1 + AEAD_TAG_LEN : 0;
    return suite && h->bio.in_ccs ? record_prefix(suite) - RECORD_HEADER_LEN + AEAD_TAG_LEN : 0;
}
