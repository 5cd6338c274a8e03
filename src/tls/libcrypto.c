#include "tls/libcrypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "base/err.h"

bool libcrypto_begin(void) {
    return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1;
}

int libcrypto_reason(int err) {
    for (unsigned long e; (e = ERR_get_error());)
        if (err && ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            err = ERR_NOMEM;
    return err;
}
