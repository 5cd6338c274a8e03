#include "tls/hs_own.h"

#include <stdlib.h>

#include "base/err.h"
#include "tls/cert_compress.h"
#include "tls/hs13.h"
#include "tls/selftest_own.h"
#include "tls/server_internal.h"

#define SIGNATURE_MAX 1024

/* One environment a process, set up by handshake_own_begin(). */
static struct hs13_env env;
static struct engine_contexts aead;
static bool ready;

struct hs_own {
    struct handshake base;
    const struct tls_server *server;
    struct hs13 *h;
    enum hs13_step step;
    size_t read_before; /* bytes of the ClientHello whose records the caller has not taken off its input yet */
};

bool handshake_own_begin(uint32_t max) {
    if (ready)
        return true;
    engine_contexts_init(&aead, &engine_libcrypto);
    if (!engine_libcrypto.usable() || !hs13_groups_selftest() || hs13_env_init(&env, &aead, max) < 0)
        return false;
    cert_compress_load();
    ready = true; /* for its test */
    ready = selftest_own();
    if (!ready) {
        hs13_env_fini(&env);
        engine_contexts_fini(&aead);
    }
    return ready;
}

void handshake_own_forget(void) {
    engine_contexts_forget(&aead);
    tickets_forget();
}

bool hs_own_takes(const struct tls_server *s, const struct hello *hello) {
    return ready && s->own_tls13 && tls_server_version(s, hello) == TLS_1_3;
}

/* A signature is wanted: at once, where the keys are in this process; else who drives the handshake asks for it. */
static void want_signature(struct hs_own *o) {
    const struct certs *certs = o->server->certs;
    struct handshake_sign q;
    uint8_t sig[SIGNATURE_MAX];
    size_t len = 0;
    if (!certs_signs(certs))
        return;
    hs13_sign_request(o->h, &q);
    int err = certs_sign(certs, q.key, q.scheme, span_of(q.tbs, q.tbs_len), sig, sizeof(sig), &len);
    o->step = hs13_signed(o->h, err, span_of(sig, len));
}

static struct hs_own *own_of(const struct handshake *h) {
    return (struct hs_own *)((uintptr_t)h - offsetof(struct hs_own, base));
}

static void free_own(struct handshake *base) {
    struct hs_own *o = own_of(base);
    hs13_free(o->h);
    free(o);
}

static size_t own_memory(const struct handshake *base) {
    return HANDSHAKE_OWN_BYTES + hs13_held(own_of(base)->h);
}

/* Takes the records of the ClientHello, which hello_find() has judged, off the input. */
static void skip_hello(struct hs_own *o, struct span *in) {
    while (o->read_before && in->len >= RECORD_HEADER_LEN) {
        size_t body = (size_t)(in->p[3] << 8 | in->p[4]), len = RECORD_HEADER_LEN + body;
        if (len > in->len || body > o->read_before)
            return;
        o->read_before -= body;
        *in = span_of(in->p + len, in->len - len);
    }
}

static enum step own_step(struct handshake *base, struct span *in) {
    struct hs_own *o = own_of(base);
    size_t used = 0;
    skip_hello(o, in);
    if (o->read_before)
        return STEP_WANT_READ;
    if (o->step == HS13_WANT_READ) {
        o->step = hs13_step(o->h, (uint8_t *)(uintptr_t)in->p, in->len, &used); /* opened in place */
        if (o->step == HS13_WANT_SIGN)
            want_signature(o);
    }
    if (used)
        *in = span_of(in->p + used, in->len - used);
    switch (o->step) {
    case HS13_DONE:
        return STEP_DONE;
    case HS13_FAILED:
        return STEP_FAILED;
    default:
        return STEP_WANT_READ;
    }
}

static bool wants_signature(const struct handshake *base) {
    return own_of(base)->step == HS13_WANT_SIGN;
}

static void own_sign_request(const struct handshake *base, struct handshake_sign *ret) {
    hs13_sign_request(own_of(base)->h, ret);
}

static void signed_by(struct handshake *base, int err, struct span signature) {
    struct hs_own *o = own_of(base);
    o->step = hs13_signed(o->h, err, signature);
}

static int own_error(const struct handshake *base, uint8_t *ret_alert) {
    return hs13_error(own_of(base)->h, ret_alert);
}

static const char *own_detail(const struct handshake *base) {
    return hs13_detail(own_of(base)->h);
}

static const char *own_waiting_for(const struct handshake *base) {
    const struct hs_own *o = own_of(base);
    return o->read_before ? "ClientHello" : hs13_waiting_for(o->h);
}

static int own_finish(struct handshake *base, struct handshake_result *ret) {
    return hs13_finish(own_of(base)->h, ret);
}

static void alert(struct handshake *base, int err) {
    hs13_abort(own_of(base)->h, err);
}

static const struct handshake_path own_path = {
    .own = true,
    .free = free_own,
    .bytes = own_memory,
    .step = own_step,
    .wants_signature = wants_signature,
    .sign_request = own_sign_request,
    .signed_by = signed_by,
    .alert = alert,
    .error = own_error,
    .detail = own_detail,
    .waiting_for = own_waiting_for,
    .finish = own_finish,
};

int hs_own_new(const struct tls_server *s, const struct hello *hello, struct buf *out, const struct key_log *log,
               struct handshake **ret) {
    struct hs_own *o = calloc(1, sizeof(*o));
    if (o)
        o->h = hs13_new(&env, s, out, log);
    if (!o || !o->h) {
        free(o);
        return ERR_NOMEM;
    }
    o->base.path = &own_path;
    o->server = s;
    o->read_before = hello->message.len;
    o->step = hs13_begin(o->h, hello, hello->message);
    if (o->step == HS13_WANT_SIGN)
        want_signature(o);
    *ret = &o->base;
    return 0;
}
