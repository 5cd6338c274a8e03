/*
 * See postgresql.h. A client without TLS so far begins with a length and a code: SSLRequest leads to TLS, GSSENCRequest is
 * declined (libpq then asks for TLS on the same connection), a StartupMessage is refused with an error that drivers show.
 * A unit is eight bytes, but for a CancelRequest, which is used as a whole.
 */
#include "prelude/postgresql.h"

#include "base/err.h"
#include "base/rd.h"

#define CODE_CANCEL 80877102u /* 1234.5678 and so on, as if a version */
#define CODE_SSL    80877103u
#define CODE_GSSENC 80877104u

#define REQUEST_LEN    8
#define CANCEL_LEN_MIN 16 /* process and a secret of 4 bytes; of up to 256 since version 3.2 */
#define CANCEL_LEN_MAX (12 + 256)
#define STARTUP_MAX    10000 /* of the server: MAX_STARTUP_PACKET_LENGTH */

enum { GSSENC_DECLINED = 1 }; /* the stage */

static bool fits_code(uint32_t len, uint32_t code) {
    switch (code) {
    case CODE_CANCEL:
        return len >= CANCEL_LEN_MIN && len <= CANCEL_LEN_MAX;
    case CODE_SSL:
    case CODE_GSSENC:
        return len == REQUEST_LEN;
    default:
        return len >= REQUEST_LEN && len <= STARTUP_MAX;
    }
}

static enum step postgresql_cut(struct span in, size_t *ret_len) {
    if (in.p[0] != 0) /* no length that is taken is as long as that */
        return STEP_FAILED;
    struct rd r = rd_of(in);
    uint32_t len = rd_u32(&r);
    if (r.bad)
        return STEP_WANT_READ;
    if (len < REQUEST_LEN || len > STARTUP_MAX)
        return STEP_FAILED;
    uint32_t code = rd_u32(&r);
    if (r.bad)
        return STEP_WANT_READ;
    if (!fits_code(len, code))
        return STEP_FAILED;
    *ret_len = code == CODE_CANCEL ? len : REQUEST_LEN;
    return STEP_DONE;
}

static void put_field(struct wr *w, char type, const char *text) {
    wr_u8(w, (uint8_t)type);
    wr_bytes(w, text, strlen(text) + 1);
}

/* ErrorResponse: severity twice, since servers of 9.6 and later say it untranslated too. */
static void put_fatal(struct wr *w, const char *code, const char *text) {
    uint8_t fields[256];
    struct wr f = wr_of(fields, sizeof(fields));
    put_field(&f, 'S', "FATAL");
    put_field(&f, 'V', "FATAL");
    put_field(&f, 'C', code);
    put_field(&f, 'M', text);
    wr_u8(&f, 0);
    wr_u8(w, 'E');
    wr_u32(w, (uint32_t)(4 + f.len));
    wr_span(w, wr_written(&f));
    w->bad |= f.bad;
}

static int postgresql_take(struct prelude *p, struct span unit, struct wr *answer) {
    struct rd r = rd_of(unit);
    (void)rd_u32(&r); /* the length, checked */
    uint32_t code = rd_u32(&r);
    if (code == CODE_CANCEL)
        return PRELUDE_CANCEL;
    if (code == CODE_SSL) {
        wr_u8(answer, 'S');
        return PRELUDE_GO;
    }
    if (code == CODE_GSSENC && p->stage != GSSENC_DECLINED) { /* once, as in the server */
        p->stage = GSSENC_DECLINED;
        wr_u8(answer, 'N');
        return PRELUDE_ANSWERED;
    }
    if (code >> 16 == 3)
        put_fatal(answer, "28000", "TLS is required here: use sslmode=require, verify-ca or verify-full");
    else
        put_fatal(answer, "0A000", "unsupported frontend protocol");
    return ERR_STARTTLS_CLEAR;
}

/* As the server: bytes behind the request are an error that is answered, what is no message at all gets no answer. */
static void postgresql_last_words(const struct prelude *p, int reason, struct wr *answer) {
    (void)p;
    if (reason == ERR_STARTTLS_INJECTION)
        put_fatal(answer, "08P01", "received unencrypted data after SSL request");
}

const struct prelude_protocol prelude_postgresql = {
    .name = "postgresql",
    .cut = postgresql_cut,
    .take = postgresql_take,
    .last_words = postgresql_last_words,
};
