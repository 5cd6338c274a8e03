/* What is known of a connection: for its hand-off and for the log. */
#pragma once

#include "wire/conn_info.h"

struct conn;
struct handshaker;

/* Its connection info so far. Borrows C. */
void conn_fill_info(const struct handshaker *h, const struct conn *c, struct conn_info *ret);

/* One event per failed connection: the reason, and the detail known only here. */
void conn_report_failure(struct handshaker *h, const struct conn *c);
