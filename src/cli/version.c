#include "cli/version.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "cli/arguments.h"
#include "tls/engine.h"
#include "tls/handshake.h"

const char version_usage[] = "usage: tls-off version\n";

int cmd_version(const struct arguments *a) {
    (void)a;
    const struct engine *e = engine_find("auto");
    printf("tls-off %s\n%s\nrecord engine: %s\nown TLS 1.3 handshake: self-test %s\n", TLS_OFF_VERSION,
           OpenSSL_version(OPENSSL_VERSION), e ? e->name : "none usable", handshake_own_begin(1) ? "passed" : "failed");
    return 0;
}
