#include "tls/ocsp_file.h"

#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/path.h"
#include "ocsp/ocsp.h"
#include "tls/pem_scan.h"

void ocsp_file_fini(struct ocsp_file *o) {
    pem_file_fini(&o->bytes);
}

/* The first of the two names that is there. */
static bool find_file(const char *cert_file, char room[static PATH_MAX]) {
    size_t len = strlen(cert_file);
    size_t stem =
        len > 4 && (strcmp(cert_file + len - 4, ".pem") == 0 || strcmp(cert_file + len - 4, ".crt") == 0) ? len - 4 : 0;
    for (int i = stem ? 0 : 1; i < 2; i++) {
        struct text t = text_of(room, PATH_MAX);
        text_add_span(&t, span_of(cert_file, i == 0 ? stem : len));
        text_add(&t, ".ocsp");
        if (!t.cut && access(room, F_OK) == 0)
            return true;
    }
    return false;
}

/* "2026-11-29 16:00" */
static void add_date_and_time(struct text *t, int64_t at) {
    char date[32];
    struct tm tm;
    time_t when = (time_t)at;
    if (!gmtime_r(&when, &tm) || strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm) == 0)
        memcpy(date, "?", 2);
    text_add(t, date);
}

static int judge_file_answer(const struct ocsp_answer *a, const char *file, int64_t now, struct ocsp_file *o,
                             struct text *why) {
    if (a->says != OCSP_SAYS_GOOD) {
        text_addf(why, "%s: found status \"%s\", expected \"good\"", file, ocsp_says_name(a->says));
        return ERR_FORMAT;
    }
    o->from = a->from;
    o->until = a->until ? a->until : CREDS_NEVER;
    if (o->until > now)
        return 0;
    text_addf(why, "%s: the response ended on ", file);
    add_date_and_time(why, o->until);
    text_add(why, " UTC, expected a newer one");
    return ERR_FORMAT;
}

/* PEM is the usual mistake. */
static void explain_blocks(const struct ocsp_file *o, struct text *why) {
    char message[1];
    struct text unused = text_of(message, sizeof(message));
    struct pem_scan s = pem_scan_of(pem_file_span(&o->bytes), "");
    struct pem_block b;
    if (pem_scan_next(&s, &b, &unused) == STEP_DONE)
        text_addf(why, "; block %u (line %u) is \"%.*s\" in PEM", b.n, b.line, (int)b.label.len, (const char *)b.label.p);
}

static int parse_response(const struct cert_chain *c, const char *file, struct ocsp_file *o, struct ocsp_answer *ret,
                          struct text *why) {
    const struct ocsp_subject subject = {c->leaf, ocsp_issuer(c->leaf, c->others), c->others, c->file};
    char reason[512];
    struct text t = text_of(reason, sizeof(reason));
    if (!subject.issuer) {
        text_addf(why, "%s: cannot be checked: expected the issuer's certificate behind the first one in %s", file, c->file);
        return ERR_FORMAT;
    }
    int err = ocsp_read(pem_file_span(&o->bytes), &subject, ret, &t);
    if (err) {
        text_addf(why, "%s: %s", file, reason);
        explain_blocks(o, why);
    }
    return err;
}

int ocsp_file_load(const struct cert_chain *c, int64_t now, struct ocsp_file *ret, struct text *why) {
    char file[PATH_MAX];
    struct ocsp_answer a;
    *ret = (struct ocsp_file){.from = 0, .until = 0};
    if (!find_file(c->file, file))
        return 0;
    int err = pem_file_read(file, "an OCSP response", &ret->bytes, why);
    if (!err)
        err = parse_response(c, file, ret, &a, why);
    if (!err)
        err = judge_file_answer(&a, file, now, ret, why);
    if (err)
        ocsp_file_fini(ret);
    return err;
}

int ocsp_file_load_fetched(const struct cert_chain *c, struct span leaf, const char *dir, int64_t now, struct ocsp_file *ret,
                           struct text *why) {
    char name[OCSP_FILE_NAME_MAX], file[PATH_MAX];
    struct ocsp_answer a;
    *ret = (struct ocsp_file){.from = 0, .until = 0};
    int err = ocsp_file_name(leaf, name);
    if (err || access(path_join(file, dir, name), F_OK) != 0) /* there will be one later */
        return 0;
    err = pem_file_read(file, "an OCSP response", &ret->bytes, why);
    if (!err && ret->bytes.len > OCSP_RESPONSE_MAX) {
        text_addf(why, "%s: the response is longer than %d bytes", file, OCSP_RESPONSE_MAX);
        err = ERR_FORMAT;
    }
    if (!err)
        err = parse_response(c, file, ret, &a, why);
    if (!err) {
        a.until = ocsp_fetched_until(&a);
        err = judge_file_answer(&a, file, now, ret, why);
    }
    if (err)
        ocsp_file_fini(ret);
    return err;
}
