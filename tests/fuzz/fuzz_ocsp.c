/* An OCSP response of a responder, or of a taken-over acme role: whatever the bytes, what is believed is the issuer's word. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/make_cert.h"
#include "base/defs.h"
#include "base/err.h"
#include "ocsp/ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static X509 *ca, *leaf;

/* The issuer's key is gone when the first input comes: nothing can be signed by it. */
static void make_subject(void) {
    EVP_PKEY *key = make_key("EC:P-256");
    ca = make_cert(key, &(struct make_spec){.cn = "CA", .ca = true});
    leaf = make_cert(key, &(struct make_spec){.cn = "a", .issuer = ca, .issuer_key = key});
    EVP_PKEY_free(key);
}

/* A certificate as it may come in a chain: who is its responder? */
static void read_cert(const uint8_t *data, size_t size) {
    const uint8_t *p = data;
    char url[OCSP_URL_MAX];
    X509 *x = d2i_X509(NULL, &p, (long)size);
    if (x && ocsp_responder(x, url) == 0)
        MUST(strncasecmp(url, "http://", 7) == 0 && strlen(url) < OCSP_URL_MAX);
    X509_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    struct ocsp_answer a;
    if (!ca)
        make_subject();
    const struct ocsp_subject s = {leaf, ca, NULL, "a.pem"};
    MUST(ocsp_read(span_of(data, size), &s, &a, &why) == ERR_FORMAT && why.len > 0);
    read_cert(data, size);
    return 0;
}
