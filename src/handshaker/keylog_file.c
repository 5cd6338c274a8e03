#include "handshaker/keylog_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "conf/keylog.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"

static void close_file(struct handshaker *h) {
    if (h->keylog.fd < 0)
        return;
    close(h->keylog.fd);
    h->keylog.fd = -1;
    wheel_cancel(&h->loop.wheel, &h->keylog.end);
    stats_process_set(&h->child.stats, STATS_KEYLOG_ON, 0);
}

static void give_up_keylog(struct handshaker *h, const char *why) {
    log_msg(&h->child.log, LOG_LEVEL_WARNING, "key log %s: no more is written: %s", h->conf->keylog.file, why);
    close_file(h);
}

/* One line, one write: those of several handshakers stay whole. */
static void write_key_line(void *ctx, struct span line) {
    struct handshaker *h = ctx;
    struct stat st;
    if (h->keylog.fd < 0)
        return;
    if (!keylog_is_on(&h->conf->keylog, clock_wall_us())) {
        close_file(h);
        return;
    }
    if (fstat(h->keylog.fd, &st) < 0 || (uint64_t)st.st_size + line.len > KEYLOG_FILE_MAX) {
        give_up_keylog(h, "it is full; move it away and reload");
        return;
    }
    ssize_t n = write(h->keylog.fd, line.p, line.len);
    if (n == (ssize_t)line.len)
        stats_process_add(&h->child.stats, STATS_KEYLOG_LINES, 1);
    else
        give_up_keylog(h, n < 0 ? strerror(errno) : "the disk is full");
}

void keylog_file_init(struct handshaker *h) {
    h->keylog.fd = -1;
    h->keylog.log = (struct key_log){write_key_line, h};
}

int keylog_file_take(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    (void)why;
    uint64_t now_us = clock_wall_us(), end_us = h->conf->keylog.until_s * 1000000;
    close_file(h);
    if (!keylog_is_on(&h->conf->keylog, now_us))
        return 0;
    h->keylog.fd = ipc_take(m, 0);
    wheel_arm(&h->loop.wheel, &h->keylog.end, clock_mono_ms() + (end_us - now_us + 999) / 1000);
    stats_process_set(&h->child.stats, STATS_KEYLOG_ON, 1);
    return 0;
}

void keylog_file_end(void *ctx, struct wtimer *t) {
    (void)t;
    close_file(ctx);
}

const struct key_log *keylog_file_for(struct handshaker *h, const struct conn *c) {
    const struct conf_keylog *k = &h->conf->keylog;
    if (h->keylog.fd < 0)
        return NULL;
    for (size_t i = 0; i < k->nclients; i++)
        if (cidr_has(&k->clients[i], &c->client))
            return &h->keylog.log;
    return NULL;
}
