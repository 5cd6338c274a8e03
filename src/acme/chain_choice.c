#include "acme/chain_choice.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

bool chain_is_by(struct span pem, const char *name) {
    char cn[256] = "";
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    for (X509 *x; bio && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)); X509_free(x))
        if (X509_NAME_get_text_by_NID(X509_get_issuer_name(x), NID_commonName, cn, sizeof(cn)) < 0)
            cn[0] = 0;
    BIO_free(bio);
    ERR_clear_error();
    return strcmp(cn, name) == 0;
}
