/*
 * The key log of this handshaker: the secrets of the clients that the configuration names, to the file that the supervisor has
 * opened, until its time is over or the file is full. Nobody else's secrets are ever made into text.
 */
#pragma once

#include "base/wheel.h"
#include "process/role.h"
#include "tls/key_log.h"

struct handshaker;
struct conn;

struct keylog_file {
    int fd; /* -1 = none, or no more */
    struct wtimer end;
    struct key_log log;
};

void keylog_file_init(struct handshaker *h);

/* CONTROL_KEYLOG */
int keylog_file_take(void *ctx, struct ipc_msg *m, struct text *why);

/* The log for a connection whose client is known; NULL: it is not to be logged. It lives as long as H. */
const struct key_log *keylog_file_for(struct handshaker *h, const struct conn *c);

/* The end, by the timer. */
void keylog_file_end(void *ctx, struct wtimer *t);
