/* Answers of name servers about TXT records. */
#include <stddef.h>
#include <stdint.h>

#include "cli/dns_txt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_text(void *ctx, struct span text) {
    unsigned *sum = ctx;
    for (size_t i = 0; i < text.len; i++)
        *sum += text.p[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned sum = 0;
    (void)!dns_txt_read(span_of(data, size), on_text, &sum);
    return (int)(sum & 0);
}
