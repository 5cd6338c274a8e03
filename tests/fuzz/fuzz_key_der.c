/* Arbitrary bytes as a private key in DER, and as the public key it is compared with: spans stay within the bytes. */
#include <stdint.h>

#include "base/defs.h"
#include "tls/key_der.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte: the form; the second: where the public key begins. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const forms[] = {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "CERTIFICATE"};
    struct key_der k;
    if (size < 2)
        return 0;
    size_t cut = MIN((size_t)data[1] * 8, size - 2);
    struct span der = span_of(data + 2 + cut, size - 2 - cut), spki = span_of(data + 2, cut);
    if (!key_der_read(forms[data[0] % ARRAY_LEN(forms)], der, &k))
        return 0;
    for (size_t i = 0; i < (k.kind == CREDS_RSA ? KEY_DER_NUMBERS : 1); i++) {
        MUST(k.numbers[i].len > 0 && k.numbers[i].len <= der.len);
        MUST(k.numbers[i].p >= der.p && k.numbers[i].p + k.numbers[i].len <= der.p + der.len);
    }
    (void)key_der_is(&k, span_of(data, MIN(size, (size_t)65)), spki);
    return 0;
}
