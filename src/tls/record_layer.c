#include "tls/record_layer.h"

#include <string.h>

#include "base/secret.h"
#include "tls/post.h"

const struct suite *record_layer_suite(const struct record_layer *p) {
    return suite_by_id(p->suite_id);
}

bool record_layer_valid(const struct record_layer *p) {
    return record_layer_suite(p) && p->out_max > 0 && p->out_max <= RECORD_PLAIN_MAX && p->post_len < sizeof p->post &&
           p->idle_records <= RECORD_LAYER_IDLE_MAX && p->idle_records >= -RECORD_LAYER_SAVED_MAX;
}

void record_layer_progress(struct record_layer *p, size_t n) {
    int saved = p->idle_records < 0 ? -p->idle_records : 0;
    p->idle_records = (int16_t)-MIN((size_t)saved + n, (size_t)RECORD_LAYER_SAVED_MAX);
}

/* Returns the plain bytes of a data record. */
static int take_data(struct record_layer *p, struct span plain, struct record_layer_opened *ret) {
    if (plain.len == 0)
        return post_count_idle(p);
    record_layer_progress(p, 1);
    ret->iov[ret->niov++] = (struct iovec){.iov_base = (void *)(uintptr_t)plain.p, .iov_len = plain.len};
    ret->plain_len += plain.len;
    return 0;
}

/* What one opened record means. STEP_DONE: go on. */
static enum step take_opened(struct record_layer *p, const struct suite *suite, enum content_type type, struct span plain,
                             struct record_layer_opened *ret, bool *ret_rekeyed) {
    int rc = ERR_RECORD_TYPE;
    /* RFC 8446 5.1: nothing may come between the parts of a handshake message. */
    bool torn = suite->version == TLS_1_3 && p->post_len > 0 && type != CONTENT_HANDSHAKE;

    if (type == CONTENT_APPLICATION_DATA && !torn)
        rc = take_data(p, plain, ret);
    else if (type == CONTENT_HANDSHAKE)
        rc = post_handshake(p, suite, plain, ret_rekeyed);
    else if (type == CONTENT_ALERT && !torn)
        return post_alert(p, suite, plain, &ret->err);
    if (rc == 0)
        return STEP_DONE;
    ret->err = rc;
    return STEP_FAILED;
}

static enum step fail_opened(struct record_layer_opened *ret, int err) {
    ret->err = err;
    return STEP_FAILED;
}

enum step record_layer_open(struct record_layer *p, struct engine_contexts *contexts, uint8_t *in, size_t in_len,
                            struct record_layer_opened *ret) {
    const struct suite *suite = record_layer_suite(p);
    struct record_run run;
    bool loaded = false;

    ret->consumed = ret->plain_len = ret->padding = 0;
    ret->niov = 0;
    ret->err = 0;
    MUST(suite);
    if (p->close_seen) {
        ret->consumed = in_len;
        return STEP_EOF;
    }
    while (ret->niov < RECORD_LAYER_IOV_MAX) {
        uint8_t *rec = in + ret->consumed;
        size_t left = in_len - ret->consumed;
        enum content_type type;
        struct span plain;

        int len = record_frame(suite, rec, left);
        if (len < 0)
            return fail_opened(ret, len);
        if (len == 0 || (size_t)len > left)
            return STEP_WANT_READ;
        int rc = loaded ? 0 : record_run_begin(&run, contexts, suite, &p->in, false);
        if (rc)
            return fail_opened(ret, rc);
        rc = record_open(&run, rec, (size_t)len, &type, &plain);
        if (rc)
            return fail_opened(ret, rc);
        ret->consumed += (size_t)len;
        ret->padding += (size_t)len - record_prefix(suite) - AEAD_TAG_LEN - (suite->version == TLS_1_3) - plain.len;

        bool rekeyed = false;
        enum step step = take_opened(p, suite, type, plain, ret, &rekeyed);
        if (step != STEP_DONE)
            return step;
        loaded = !rekeyed;
    }
    return STEP_DONE;
}

/* Whether the key for sealing is near its end. */
static bool seals_low(const struct record_layer *p, const struct suite *suite) {
    uint64_t low = suite->version == TLS_1_3 ? RECORD_LAYER_SEALS_LOW_1_3 : RECORD_LAYER_SEALS_LOW_1_2;
    return record_seals_left(suite, &p->out) < low;
}

bool record_layer_control_owed(const struct record_layer *p) {
    return !p->close_sent && (p->key_update_owed || p->no_renegotiation_owed || seals_low(p, record_layer_suite(p)));
}

/* Seals a short message of our own. */
static int seal_short(struct record_layer *p, struct engine_contexts *contexts, enum content_type type, struct span msg,
                      uint8_t *out, size_t *ret_len) {
    const struct suite *suite = record_layer_suite(p);
    struct record_run run;
    int rc = record_run_begin(&run, contexts, suite, &p->out, true);
    if (rc)
        return rc;
    memcpy(out + record_prefix(suite), msg.p, msg.len);
    return record_seal(&run, type, out, msg.len, ret_len);
}

int record_layer_control(struct record_layer *p, struct engine_contexts *contexts, uint8_t *out, size_t *ret_len) {
    /* RFC 8446 4.6.3: one answer serves several requests, and never asks back. */
    static const uint8_t key_update[] = {24, 0, 0, 1, 0};
    static const uint8_t no_renegotiation[] = {1, ALERT_NO_RENEGOTIATION};
    const struct suite *suite = record_layer_suite(p);
    size_t n = 0;

    *ret_len = 0;
    if (!record_layer_control_owed(p))
        return 0;
    if (suite->version == TLS_1_3) {
        int rc = seal_short(p, contexts, CONTENT_HANDSHAKE, span_of(key_update, sizeof key_update), out, &n);
        if (rc == 0)
            rc = post_next_key(suite, &p->out);
        if (rc)
            return rc;
        p->key_update_owed = false;
        p->key_updates_out++;
        *ret_len = n;
        return 0;
    }
    if (seals_low(p, suite))
        return ERR_KEY_LIMIT;
    int rc = seal_short(p, contexts, CONTENT_ALERT, span_of(no_renegotiation, sizeof no_renegotiation), out, &n);
    if (rc)
        return rc;
    p->no_renegotiation_owed = false;
    *ret_len = n;
    return 0;
}

int record_layer_alert(struct record_layer *p, struct engine_contexts *contexts, enum alert alert, uint8_t *out,
                       size_t *ret_len) {
    bool warning = alert == ALERT_CLOSE_NOTIFY || alert == ALERT_USER_CANCELED;
    const uint8_t msg[] = {warning ? 1 : 2, (uint8_t)alert};

    *ret_len = 0;
    if (p->close_sent)
        return 0;
    int rc = seal_short(p, contexts, CONTENT_ALERT, span_of(msg, sizeof msg), out, ret_len);
    if (rc == 0 && alert != ALERT_USER_CANCELED)
        p->close_sent = true;
    return rc;
}

static void wipe_traffic_keys(struct traffic_keys *keys) {
    secret_wipe(keys->secret, sizeof keys->secret);
    secret_wipe(keys->key, sizeof keys->key);
    secret_wipe(keys->iv, sizeof keys->iv);
}

void record_layer_wipe(struct record_layer *p) {
    wipe_traffic_keys(&p->in);
    wipe_traffic_keys(&p->out);
}
