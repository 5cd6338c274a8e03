#include "signer_subject.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ipc.h"
#include "cert_shop.h"
#include "handshaker/signer_link.h"
#include "hs_service.h"
#include "signer/keyring.h"

/* As src/signer/signer.c between two looks at the supervisor: two system calls a message. */
static void serve(int fd, struct keyring *ring) {
    static uint8_t in[2 + SIGN_REQUESTS_MAX], out[2 + SIGN_ANSWERS_MAX] = {0, SIGN_ANSWERS}, sig[SIGN_SIGNATURE_MAX];
    struct sign_request q[SIGN_BATCH_MAX];
    for (ssize_t got; (got = recv(fd, in, sizeof(in), 0)) > 0;) {
        const struct ipc_msg m = {.type = SIGN_REQUESTS, .body = span_of(in + 2, (size_t)got - 2)};
        struct wr w = wr_of(out, sizeof(out));
        unsigned n = 0;
        w.len = 2;
        make_must(sign_read_requests(&m, q, &n) == 0, "request");
        for (unsigned i = 0; i < n; i++) {
            size_t len = 0;
            make_must(keyring_sign(ring, &q[i], sig, &len) == 0, "signature");
            sign_put_answer(&w, &(struct sign_answer){.number = q[i].number, .signature = span_of(sig, len)});
        }
        make_must(wr_end(&w) && send(fd, w.p, w.len, MSG_NOSIGNAL) > 0, "answer");
    }
    _exit(0);
}

/* Both here and in the child: one CPU, so that the clock shows the work of both. */
static void pin(void) {
    cpu_set_t all, one;
    make_must(sched_getaffinity(0, sizeof(all), &all) == 0, "CPU");
    CPU_ZERO(&one);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    make_must(sched_setaffinity(0, sizeof(one), &one) == 0, "CPU");
}

static struct signer_link to_signer;

static void start(const struct creds *store, const char *key_file) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    int pair[2], fd = open(key_file, O_RDONLY | O_CLOEXEC); /* before the file goes */
    make_must(ipc_pair(0, pair) == 0, "link");
    pin();
    pid_t pid = fork();
    make_must(pid >= 0, "fork");
    if (pid == 0) {
        struct keyring *ring = keyring_new();
        make_must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ring && keyring_begin(ring, 1, store) == 0, "keyring");
        make_must(keyring_take(ring, 0, fd, -1, &why) == 0, line);
        keyring_commit(ring);
        close(pair[0]);
        make_must(fcntl(pair[1], F_SETFL, 0) == 0, "link"); /* it blocks */
        serve(pair[1], ring);
    }
    close(pair[1]);
    close(fd);
    signer_link_init(&to_signer, NULL, NULL); /* one request at a time */
    make_must(signer_link_open(&to_signer, pair[0]) == 0, "link");
    key_provider_ask(signer_link_ask, &to_signer);
}

static EVP_PKEY *get(void *ctx, const struct creds *store, uint32_t key) {
    (void)ctx;
    return key_provider_key(creds_key(store, key).spki, (struct key_name){1, key});
}

static int sign(void *ctx, const struct creds *store, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                size_t *ret_len) {
    (void)ctx, (void)store;
    return signer_link_ask(&to_signer, (struct key_name){1, key}, scheme, tbs, sig, cap, ret_len);
}

struct certs *signer_subject_certs(const char *key_type) {
    static const struct certs_keys keys = {.get = get, .sign = sign};
    struct certs *certs = NULL;
    char *dir = make_dir(), line[256];
    struct text why = text_of(line, sizeof(line));
    struct shop *shop = shop_new();
    const char *path = make_path(dir, "pair.pem");
    EVP_PKEY *key = make_key(key_type);
    X509 *cert = make_cert(key, &(struct make_spec){.cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME});
    int fd = -1;
    make_pem(path, cert, NULL, NULL, key);
    const struct cert_load_pair pair = {path, path, NULL};
    make_must(cert_load_files(shop->load, &pair, &why, NULL, NULL) == 0, line);
    make_must(cert_load_seal(shop->load, &fd) == 0 && certs_open(fd, &keys, &certs) == 0, "store");
    start(certs_store(certs), path);
    close(fd);
    X509_free(cert);
    EVP_PKEY_free(key);
    shop_free(shop);
    make_dir_remove(dir);
    return certs;
}
