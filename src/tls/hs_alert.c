#include "tls/hs_alert.h"

#include <string.h>

#include "base/err.h"
#include "tls/hs_keys.h"

/* A fatal alert as the client expects it now: in plain, or as the next record under our key. */
static int make_alert(const struct hs_libssl *h, enum alert alert, uint8_t out[static RECORD_LAYER_CONTROL_MAX],
                      size_t *ret_len) {
    const uint8_t plain[] = {CONTENT_ALERT, 3, 3, 0, 2, 2, (uint8_t)alert};
    if (!hs_keys_protect(h)) {
        memcpy(out, plain, sizeof(plain));
        *ret_len = sizeof(plain);
        return 0;
    }
    struct engine_contexts contexts;
    struct record_layer p = {.out_max = RECORD_PLAIN_MAX};
    engine_contexts_init(&contexts, &engine_libcrypto);
    int err = hs_keys_take_out(h, &p);
    if (err == 0)
        err = record_layer_alert(&p, &contexts, alert, out, ret_len);
    engine_contexts_fini(&contexts);
    record_layer_wipe(&p);
    return err;
}

void hs_libssl_alert(struct handshake *base, int err) {
    struct hs_libssl *h = hs_libssl_of(base);
    uint8_t record[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    int alert = err_alert(err);
    if (alert == ALERT_NONE || h->alert_sent || h->alert)
        return;
    if (alert == ALERT_CERTIFICATE_REQUIRED && hs_libssl_version(h) == TLS_1_2) /* RFC 5246 7.4.6 */
        alert = ALERT_HANDSHAKE_FAILURE;
    h->alert_sent = true;
    if (make_alert(h, (enum alert)alert, record, &len) == 0)
        (void)!buf_append(h->bio.out, record, len); /* without memory: no alert */
}

void hs_alert_replace(struct hs_libssl *h, size_t out_before) {
    int alert = err_alert(h->err);
    struct buf *out = h->bio.out;
    uint8_t record[RECORD_LAYER_CONTROL_MAX];
    size_t len = 0;
    if (alert == ALERT_NONE || h->bio.out_since_feed != 1 || h->bio.header_len != 0 || buf_len(out) <= out_before)
        return;
    if (make_alert(h, (enum alert)alert, record, &len) == 0 &&
        buf_len(out) - out_before == len) /* the same kind of record, so the same length */
        memcpy(out->p + out->off + out_before, record, len);
}
