#include "cli/version.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "tls/engine.h"
#include "tls/handshake.h"

int cmd_version(int argc, char **argv) {
    bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
    if (argc > 1 && !help) {
        fprintf(stderr, "tls-off version: unexpected \"%s\"\n", argv[1]);
        return 2;
    }
    if (help) {
        puts("usage: tls-off version");
        return 0;
    }
    const struct engine *e = engine_find("auto");
    printf("tls-off %s\n%s\nrecord engine: %s\nown TLS 1.3 handshake: self-test %s\n", TLS_OFF_VERSION,
           OpenSSL_version(OPENSSL_VERSION), e ? e->name : "none usable", handshake_own_begin(1) ? "passed" : "failed");
    return 0;
}
