/*
 * Requests as a taken-over acme role would send them, against a keymaker with real keys; and what comes from disk and network
 * to the acme role: answers, jobs, requests of validators. Whatever the bytes, nobody falls over, and what is signed has the
 * one form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../unit/make_cert.h"
#include "acme/http_responder.h"
#include "acme/job.h"
#include "base/base64url.h"
#include "base/clock.h"
#include "base/defs.h"
#include "base/err.h"
#include "keymaker/account.h"
#include "keymaker/installed.h"
#include "wire/managed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *names[] = {"www.example.org", "192.0.2.7"};
static struct conf_issuer issuer = {.name = "le", .directory = "https://ca.example/dir"};
static struct conf_managed cert = {.id = "web.ecdsa-p256", .names = names, .nnames = ARRAY_LEN(names), .nissuers = 1};
static struct conf_acme conf = {.issuers = &issuer, .nissuers = 1, .certs = &cert, .ncerts = 1};
static struct accounts accounts;

static void make_place(void) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    char *dir = make_dir();
    conf.dir = dir;
    cert.dir = strdup(make_path(dir, "web"));
    make_must(mkdir(cert.dir, 0700) == 0 && mkdir(make_path(dir, "accounts"), 0700) == 0, dir);
    make_must(accounts_init(&accounts, &conf, &why) == 0, line);
}

static void ask_keymaker(const struct keymaking_request *q) {
    static char answer[KEYMAKING_BODY_MAX];
    char line[512];
    struct text to = text_of(answer, sizeof(answer)), why = text_of(line, sizeof(line));
    if (q->op == KEYMAKING_INSTALL) {
        MUST(installed_put(&cert, q->data, &why) < 0); /* nobody here can sign for our key */
        return;
    }
    int err = accounts_answer(&accounts, q, &to, &why);
    bool is_jws = q->op != KEYMAKING_THUMBPRINT && q->op != KEYMAKING_ROLLED_OVER && q->op != KEYMAKING_WAITS;
    if (err == 0 && is_jws && (to.len > 0 || q->op != KEYMAKING_FIND)) { /* nothing is signed by a key that does not wait */
        MUST(span_has_prefix(q->url, "https://") && q->nonce.len > 0);
        MUST(strncmp(answer, "{\"protected\":\"", 14) == 0 && answer[to.len - 1] == '}');
        for (size_t i = 0; i < to.len; i++)
            MUST(answer[i] > ' ' && answer[i] <= '~');
    }
}

static void read_job(struct span s) {
    struct job j = {.cert = &cert};
    if (job_read(&j, s, 1000))
        MUST(j.issuer < cert.nissuers && j.next_s <= 1000 + 86400);
    (void)job_due(&j);
    (void)job_alarms(&j, 1000);
}

static void read_http(struct span s) {
    static struct challenges challenges;
    static char out[16384];
    const struct http_responder h = {.challenges = &challenges, .redirects = true};
    struct text t = text_of(out, sizeof(out));
    if (challenges.n == 0)
        (void)!challenges_offer(&challenges, &challenges, CHALLENGE_HTTP_01, "a", "tok", "thumb");
    if (s.len <= 8192)
        http_responder_answer(&h, s, &t);
}

/* The first byte: what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!conf.dir)
        make_place();
    if (size < 1)
        return 0;
    struct span s = span_of(data + 1, size - 1);
    struct ipc_msg m = {.type = KEYMAKING_REQUEST, .body = s};
    struct keymaking_request q;
    struct keymaking_answer a;
    struct keymaking_cert c;
    struct managed_status status;
    struct managed_command command;
    uint8_t plain[256];
    char text[64] = "";
    int64_t when;
    size_t n;
    switch (data[0] % 5) {
    case 0:
        if (keymaking_read_request(&m, &q) == 0 && q.issuer < conf.nissuers && q.cert < conf.ncerts) /* as keymaker.c does */
            ask_keymaker(&q);
        break;
    case 1:
        m.type = KEYMAKING_DONE;
        if (keymaking_read_answer(&m, &a) == 0)
            (void)!keymaking_unpack_cert(a.data, &c);
        m.type = MANAGED_STATUS;
        (void)!managed_read_status(&m, &status);
        m.type = MANAGED_COMMAND;
        (void)!managed_read_command(&m, &command);
        break;
    case 2:
        read_job(s);
        break;
    case 3:
        read_http(s);
        break;
    default:
        memcpy(text, s.p, MIN(s.len, sizeof(text) - 1));
        (void)!clock_parse(text, &when);
        (void)!base64url_read(s, plain, sizeof(plain), &n);
    }
    return 0;
}
