#include "tls/key_log.h"

#include <string.h>

#include "base/secret.h"
#include "base/text.h"

#define LINE_MAX 256 /* the longest label, 32 and 48 bytes in hexadecimal digits */

static void put_key_line(const struct key_log *log, struct text *line) {
    text_add(line, "\n");
    if (!line->cut)
        log->put(log->ctx, span_of(line->p, line->len));
}

void key_log_secret(const struct key_log *log, const char *label, struct span client_random, struct span secret) {
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    if (!log)
        return;
    text_addf(&t, "%s ", label);
    text_add_hex(&t, client_random);
    text_add(&t, " ");
    text_add_hex(&t, secret);
    put_key_line(log, &t);
    secret_wipe(line, sizeof(line));
}

void key_log_line(const struct key_log *log, const char *line) {
    char copy[LINE_MAX];
    struct text t = text_of(copy, sizeof(copy));
    if (!log)
        return;
    text_add(&t, line);
    put_key_line(log, &t);
    secret_wipe(copy, sizeof(copy));
}
