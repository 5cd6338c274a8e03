/*
 * That secrets are being written to the key log is not to be forgotten: a warning when it begins, each minute and at the end,
 * and a sentence in the status. What counts is what handshakers say they do, those of an earlier generation too.
 */
#pragma once

#include <jansson.h>

#include "base/log_pause.h"

struct admin;

struct keylog_notice {
    struct log_pause log; /* zero = it was off when last looked at */
};

/* Once a second. */
void keylog_notice_second(struct admin *a);

/* A sentence while it is on. */
void keylog_notice_status(struct admin *a, json_t *degraded);
