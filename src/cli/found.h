/* What `tls-off init` finds on a machine: certificates where they usually are, and applications that listen. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOUND_MAX      16
#define FOUND_TEXT_MAX 160

struct found_list {
    char text[FOUND_MAX][FOUND_TEXT_MAX];
    size_t n; /* what does not fit is omitted */
};

/* Items of "certificates": directories with at least one pair, all of which can be read. RET_REFUSED: what is wrong with the
 * others that are there, as text without control characters. */
void found_certificates(struct found_list *ret, struct found_list *ret_refused);

/* "unix:PATH" and "tcp:127.0.0.1:PORT" of applications that listen here, the likely ones first. What belongs to the system
 * (journal, D-Bus, containers) is omitted. */
void found_backends(struct found_list *ret);

/* Whether an address with that port is taken, on any address of this machine. */
bool found_port_taken(uint16_t port);
