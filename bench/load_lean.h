/*
 * A TLS 1.3 client that costs less than any server, so that it is the proxy that is at its limit: libssl's takes two to three
 * times the CPU time of a handshake of ours. It keeps one key pair for all its connections, offers X25519 and one suite, and
 * looks at no certificate and no signature; it does compare the server's Finished. What it sends is what libssl's client sends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct lean; /* one connection */

/* Once a process; SUITE by its IANA name, NULL = TLS_AES_128_GCM_SHA256. False: said on stderr. */
bool lean_init(const char *suite);

/* On a TCP connection, whose descriptor stays the caller's. NULL when out of memory. With RESUME the last ticket is offered,
 * and no other is taken. */
struct lean *lean_new(int fd, bool resume);
void lean_free(struct lean *l);

/* Bytes moved, 0 = not now, -1 = the connection is gone, or the server breaks the rules. The first send makes the handshake. */
ssize_t lean_send(struct lean *l, const uint8_t *p, size_t n);
ssize_t lean_recv(struct lean *l, uint8_t *p, size_t n);

/* close_notify, best effort. */
void lean_shutdown(struct lean *l);

bool lean_is_established(const struct lean *l);
bool lean_is_resumed(const struct lean *l);
const char *lean_suite(void);
