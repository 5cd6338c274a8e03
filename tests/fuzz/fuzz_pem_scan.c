/* Arbitrary bytes as a PEM file: blocks lie inside of it, in order, and what is made of one fits where it is put. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "tls/pem_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char message[512];
    struct text why = text_of(message, sizeof(message));
    struct pem_scan s = pem_scan_of(span_of(data, size), "x.pem");
    struct pem_block b;
    const uint8_t *at = data;
    enum step step;
    while ((step = pem_scan_next(&s, &b, &why)) == STEP_DONE) {
        size_t len = 0;
        uint8_t *der = malloc(b.body.len + 1);
        char *text = malloc(PEM_TEXT_CAP(&b));
        MUST(der && text && b.label.len && b.label.p >= at && b.body.p >= b.label.p);
        MUST(b.body.p + b.body.len <= data + size && s.left.p >= b.body.p + b.body.len);
        MUST(pem_block_decode(&b, "x.pem", der, &len, &why) < 0 || len <= b.body.len);
        MUST(pem_block_text(&b, text) < PEM_TEXT_CAP(&b));
        pem_block_unused(&b, "x.pem", &why);
        at = s.left.p;
        free(der);
        free(text);
    }
    MUST(step == STEP_EOF ? s.left.len == 0 : why.len > 0);
    return 0;
}
