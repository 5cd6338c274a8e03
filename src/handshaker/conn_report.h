/* What is known of a connection: for its hand-off and for the log. */
#pragma once

#include "creds/creds.h"
#include "wire/conn_info.h"

struct conn;
struct handshaker;

/* Its connection info so far. Borrows C. */
void conn_fill_info(const struct handshaker *h, const struct conn *c, struct conn_info *ret);

/* What the client of a finished handshake was served: matched name and certificate. */
void conn_fill_served(const struct handshaker *h, const struct conn *c, struct conn_info *ret);

/* Which name it was served for; RET_ENTRIES: the certificates of that name. */
enum matched_name conn_matched_name(const struct handshaker *h, const struct conn *c, uint32_t ret_entries[static CREDS_SLOTS]);

/* One event per failed connection: the reason, and the detail known only here. */
void conn_report_failure(struct handshaker *h, const struct conn *c);
