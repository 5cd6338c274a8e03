#include "tls/libcrypto.h"

#include <openssl/crypto.h>

bool libcrypto_begin(void) {
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
}
