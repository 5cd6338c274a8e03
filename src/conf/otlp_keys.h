/* [otlp]: where spans go, and what has to be right for it. The files are read by the exporter; a check reads them as it does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_otlp.h"

struct load;

#define OTLP_TRUST_MAX        (4 * 1024 * 1024) /* bytes of ca_file */
#define OTLP_HEADERS_MAX      16
#define OTLP_HEADERS_FILE_MAX 8192 /* bytes */

/* The parts of an endpoint. */
struct otlp_endpoint {
    const char *scheme; /* "http", "https" */
    char host[256];     /* without brackets */
    uint16_t port;
};

/* http:// or https://, a host, perhaps a port, a path; nothing that could be a password. False otherwise. */
MUST_CHECK bool otlp_endpoint_parse(const char *url, struct otlp_endpoint *ret);

/* Fields of requests, which may be secrets. */
struct otlp_headers {
    char *secret;                             /* OTLP_HEADERS_FILE_MAX + 1 bytes of secret memory; NULL = none */
    const char *fields[OTLP_HEADERS_MAX + 1]; /* "Name: value" in it, ended by NULL */
};

/*
 * Lines of "Name: value"; empty ones and those that begin with '#' are passed over. The file belongs to root or the starter,
 * and others cannot read it. ERR_FORMAT, ERR_SYSTEM (errno), ERR_NOMEM, with a sentence in WHY, which has no value in it.
 */
MUST_CHECK int otlp_headers_read(const char *file, struct otlp_headers *ret, struct text *why);
void otlp_headers_free(struct otlp_headers *h);

/* After all keys are read: keys against each other; and what they name on this machine. */
void check_otlp(struct load *l);
void check_otlp_files(struct load *l);
