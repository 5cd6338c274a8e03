#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/defs.h"

struct err_row {
    const char *name;
    const char *text;
    int alert;
};

static const struct err_row err_rows[] = {
#define ERR_ROW_(sym, name, text, alert) {name, text, alert},
    ERR_TABLE(ERR_ROW_)
#undef ERR_ROW_
};

static const struct err_row *err_row_of(int err) {
    return err_known(err) ? &err_rows[err - ERR_BASE_ - 1] : NULL;
}

bool err_known(int err) {
    return err > ERR_BASE_ && err < ERR_END_;
}

const char *err_name(int err) {
    const struct err_row *row = err_row_of(err);
    if (row)
        return row->name;
    return err == 0 ? "ok" : "unknown";
}

const char *err_text(int err) {
    const struct err_row *row = err_row_of(err);
    if (row)
        return row->text;
    return err == 0 ? "ok" : "unknown error";
}

const char *err_describe(int err, int error) {
    return err == ERR_SYSTEM ? strerror(error) : err_text(err);
}

const char *err_process_limit(int error) {
    switch (error) {
    case EMFILE:
        return " (RLIMIT_NOFILE)";
    case EFBIG: /* ftruncate() of memory that processes share, too */
        return " (RLIMIT_FSIZE)";
    case EAGAIN: /* fork() */
        return " (RLIMIT_NPROC, or the pids of the control group)";
    default:
        return "";
    }
}

bool err_by_name(struct span name, int *ret_err) {
    for (size_t i = 0; i < ARRAY_LEN(err_rows); i++)
        if (span_eq(span_str(err_rows[i].name), name)) {
            *ret_err = ERR_BASE_ + 1 + (int)i;
            return true;
        }
    return false;
}

int err_alert(int err) {
    const struct err_row *row = err_row_of(err);
    return row ? row->alert : ALERT_NONE;
}

/* RFC 8446 6 and the IANA registry "TLS Alerts". */
static const struct {
    int alert;
    const char *name;
} alert_names[] = {
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
};

const char *alert_name(int alert) {
    for (size_t i = 0; i < ARRAY_LEN(alert_names); i++)
        if (alert_names[i].alert == alert)
            return alert_names[i].name;
    return "unknown";
}

void must_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "tls-off: broken invariant: %s (%s:%d)\n", what, file, line);
    abort();
}
