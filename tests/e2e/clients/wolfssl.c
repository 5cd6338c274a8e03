/* A TLS client by wolfSSL: PORT CA TIMES [CERT KEY]. Each time a request, a change of keys, a half-close, and all that comes.
 */
#include <wolfssl/options.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wolfssl/ssl.h>

static WOLFSSL_SESSION *kept;

static int dial(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void must(WOLFSSL *ssl, int result, const char *what) {
    char text[WOLFSSL_MAX_ERROR_SZ];
    if (result == WOLFSSL_SUCCESS || result > 1)
        return;
    fprintf(stderr, "%s: %s\n", what, wolfSSL_ERR_error_string((unsigned long)wolfSSL_get_error(ssl, result), text));
    exit(1);
}

static void once(WOLFSSL_CTX *ctx, int port) {
    static char buffer[65536];
    WOLFSSL *ssl = wolfSSL_new(ctx);
    int fd = dial(port);
    long n = 0;
    wolfSSL_set_fd(ssl, fd);
    must(ssl, wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, "localhost", 9), "server name");
    if (kept)
        must(ssl, wolfSSL_set_session(ssl, kept), "session");
    must(ssl, wolfSSL_connect(ssl), "connect");
    must(ssl, wolfSSL_write(ssl, "GET / HTTP/1.0\r\n", 16), "write");
    must(ssl, wolfSSL_update_keys(ssl), "update of keys");
    must(ssl, wolfSSL_write(ssl, "\r\n", 2), "write");
    (void)wolfSSL_shutdown(ssl); /* our half; what comes is read on */
    for (int k; (k = wolfSSL_read(ssl, buffer, sizeof(buffer))) > 0;)
        n += k;
    printf("bytes %ld resumed %s\n", n, wolfSSL_session_reused(ssl) ? "true" : "false");
    if (!kept)
        kept = wolfSSL_get1_session(ssl);
    wolfSSL_free(ssl);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    wolfSSL_Init();
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    if (!ctx || wolfSSL_CTX_load_verify_locations(ctx, argv[2], NULL) != WOLFSSL_SUCCESS)
        return 1;
    if (argc > 5 && (wolfSSL_CTX_use_certificate_file(ctx, argv[4], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS ||
                     wolfSSL_CTX_use_PrivateKey_file(ctx, argv[5], WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS))
        return 1;
    for (int i = atoi(argv[3]); i > 0; i--)
        once(ctx, atoi(argv[1]));
    return 0;
}
