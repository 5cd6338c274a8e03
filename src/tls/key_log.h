/*
 * Secrets of handshakes as text, in the format that NSS began and Wireshark reads (draft-ietf-tls-keylogfile): a line a secret,
 * "LABEL client_random secret" in hexadecimal digits. Anyone who gets the lines can decrypt what was recorded of that
 * connection.
 */
#pragma once

#include "base/span.h"

/* Where the lines of one handshake go. LINE ends with a line feed, and is wiped afterwards. */
struct key_log {
    void (*put)(void *ctx, struct span line);
    void *ctx;
};

/* LOG may be NULL: then nothing happens. */
void key_log_secret(const struct key_log *log, const char *label, struct span client_random, struct span secret);

/* The same of a line as libssl makes it, without a line feed. */
void key_log_line(const struct key_log *log, const char *line);
