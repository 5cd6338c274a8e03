#include "tls/post.h"

#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/keysched.h"

#define MSG_CLIENT_HELLO  1
#define MSG_KEY_UPDATE    24
#define MSG_HEADER_LEN    4
#define KEY_UPDATE_LEN    (MSG_HEADER_LEN + 1)
#define HELLO_REFUSED_MAX (1 << 17) /* of a ClientHello that is only skipped; far more than any sends */
#define ALERT_LEVEL_WARN  1
#define ALERT_LEVEL_FATAL 2
#define UPDATE_REQUESTED  1

int post_count_idle(struct record_layer *p) {
    if (p->idle_records >= RECORD_LAYER_IDLE_MAX)
        return ERR_RECORD_FLOOD;
    p->idle_records++;
    return 0;
}

enum step post_alert(struct record_layer *p, const struct suite *suite, struct span body, int *ret_err) {
    if (body.len != 2) {
        *ret_err = body.len == 0 ? ERR_RECORD_TYPE : ERR_RECORD_DECODE; /* RFC 8446 5.4, 6 */
        return STEP_FAILED;
    }
    uint8_t level = body.p[0], description = body.p[1];
    if (description == ALERT_CLOSE_NOTIFY) {
        p->close_seen = true;
        return STEP_EOF;
    }

    bool harmless;
    if (suite->version == TLS_1_3) { /* RFC 8446 6: the level is ignored */
        harmless = description == ALERT_USER_CANCELED;
    } else if (level != ALERT_LEVEL_WARN && level != ALERT_LEVEL_FATAL) {
        *ret_err = ERR_RECORD_ILLEGAL;
        return STEP_FAILED;
    } else {
        harmless = level == ALERT_LEVEL_WARN;
    }
    if (harmless) {
        *ret_err = post_count_idle(p);
        return *ret_err ? STEP_FAILED : STEP_DONE;
    }
    p->alert_seen = description;
    *ret_err = ERR_PEER_ALERT;
    return STEP_FAILED;
}

int post_next_key(const struct suite *suite, struct traffic_keys *keys) {
    struct traffic_keys next = *keys;
    int rc = keysched_next_secret(suite, next.secret);
    if (rc == 0)
        rc = keysched_traffic_key(suite, next.secret, next.key, next.iv);
    if (rc == 0) {
        next.seq = 0;
        *keys = next;
    }
    secret_wipe(&next, sizeof next);
    return rc;
}

/* What is wrong with the bytes of a KeyUpdate that are here so far (RFC 8446 4.6.3). */
static int judge_key_update(const uint8_t *msg, size_t len) {
    static const uint8_t header[MSG_HEADER_LEN] = {MSG_KEY_UPDATE, 0, 0, 1};
    if (len > 0 && msg[0] != MSG_KEY_UPDATE)
        return ERR_RECORD_TYPE;
    if (memcmp(msg, header, MIN(len, sizeof header)) != 0)
        return ERR_RECORD_DECODE;
    if (len == KEY_UPDATE_LEN && msg[MSG_HEADER_LEN] > UPDATE_REQUESTED)
        return ERR_RECORD_ILLEGAL;
    return 0;
}

/* TLS 1.3: the only message a client may send is KeyUpdate, and a key ends with its record (RFC 8446 5.1). */
static int take_key_update(struct record_layer *p, const struct suite *suite, struct span body, bool *ret_rekeyed) {
    size_t n = MIN(body.len, (size_t)KEY_UPDATE_LEN - p->post_len);
    size_t have = p->post_len + n;
    memcpy(p->post + p->post_len, body.p, n);
    p->post_len = 0;

    int rc = judge_key_update(p->post, have);
    if (rc)
        return rc;
    if (n < body.len)
        return ERR_RECORD_TYPE;
    if (have < KEY_UPDATE_LEN) {
        p->post_len = (uint8_t)have;
        return 0;
    }

    rc = post_count_idle(p);
    if (rc == 0)
        rc = post_next_key(suite, &p->in);
    if (rc)
        return rc;
    p->key_updates_in++;
    p->key_update_owed = p->key_update_owed || p->post[MSG_HEADER_LEN] == UPDATE_REQUESTED;
    *ret_rekeyed = true;
    return 0;
}

static uint32_t hello_left(const struct record_layer *p) {
    return (uint32_t)p->post[1] << 16 | (uint32_t)p->post[2] << 8 | p->post[3];
}

static void set_hello_left(struct record_layer *p, uint32_t left) {
    p->post[1] = (uint8_t)(left >> 16);
    p->post[2] = (uint8_t)(left >> 8);
    p->post[3] = (uint8_t)left;
}

/*
 * TLS 1.2: a ClientHello here asks to renegotiate, and is answered by a warning (RFC 5246 7.2.2). It is skipped over, not
 * kept: of a message under way only the header is remembered, its length counting down.
 */
static int skip_client_hello(struct record_layer *p, struct span body) {
    while (body.len > 0) {
        if (p->post_len < MSG_HEADER_LEN) {
            p->post[p->post_len++] = body.p[0];
            body = span_of(body.p + 1, body.len - 1);
            if (p->post[0] != MSG_CLIENT_HELLO)
                return ERR_RECORD_TYPE;
            if (p->post_len < MSG_HEADER_LEN)
                continue;
            if (hello_left(p) > HELLO_REFUSED_MAX)
                return ERR_RECORD_DECODE;
        }
        uint32_t left = hello_left(p);
        size_t n = MIN((size_t)left, body.len);
        body = span_of(body.p + n, body.len - n);
        set_hello_left(p, left - (uint32_t)n);
        if (n < left)
            break;
        p->post_len = 0;
        if (p->renegotiations >= RECORD_LAYER_RENEGOTIATIONS_MAX)
            return ERR_RECORD_FLOOD;
        p->renegotiations++;
        p->no_renegotiation_owed = true;
    }
    return 0;
}

int post_handshake(struct record_layer *p, const struct suite *suite, struct span body, bool *ret_rekeyed) {
    if (body.len == 0)
        return ERR_RECORD_TYPE; /* RFC 8446 5.4; RFC 5246 6.2.1 forbids it too */
    if (suite->version == TLS_1_3)
        return take_key_update(p, suite, body, ret_rekeyed);
    int rc = post_count_idle(p);
    return rc ? rc : skip_client_hello(p, body);
}
