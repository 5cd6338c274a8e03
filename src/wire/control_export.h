/*
 * How the supervisor has live sessions migrated from one relay to another: at a reload from old to new relays, and between
 * relays of one generation for balance. For the messages on the link see wire/export_link.h.
 *
 * The link is an ipc_pair() made by the supervisor, a fresh one for every EXPORT. The exporter gets one end and how many
 * sessions to migrate at the most; EXPORT_ALL: all it has, and those that handshakers still send, until it is asked to stop.
 * The importer gets the other end; several exporters may feed one importer. A relay exports over one link at a time: another
 * EXPORT, as after the death of the importer, takes the place of the one before.
 *
 * EXPORTED answers an EXPORT:
 * - a number: once, when so many have been migrated, none is left that can migrate, or the link broke;
 * - EXPORT_ALL: each time the last session has left (KEPT is 0 then), at once when there is none; and once when the link broke
 *   (KEPT > 0, or BROKEN): those kept are served on where they are, and another EXPORT may be sent. When all handshakers that
 * feed the relay are gone, an EXPORTED with KEPT 0 sent after that means that the relay may exit. Sessions are counted as
 * MIGRATED when the importer has acknowledged them.
 */
#pragma once

#include "base/defs.h"
#include "base/ipc.h"

#define EXPORT_ALL UINT32_MAX

/* Which sessions go first when not all do. */
enum export_first { EXPORT_ANY, EXPORT_IDLE, EXPORT_ACTIVE, EXPORT_FIRSTS };

struct control_export {
    uint32_t max; /* or EXPORT_ALL */
    enum export_first first;
};
MUST_CHECK int control_send_export(int fd, const struct control_export *e, int link);
MUST_CHECK int control_read_export(const struct ipc_msg *m, struct control_export *ret);

/* Has no body. */
MUST_CHECK int control_send_import(int fd, int link);

struct control_exported {
    uint32_t migrated; /* since this EXPORT */
    uint32_t kept;     /* sessions the relay has now, those included that are ending */
    bool broken;       /* the link ended before the work did */
};
MUST_CHECK int control_send_exported(int fd, const struct control_exported *e);
MUST_CHECK int control_read_exported(const struct ipc_msg *m, struct control_exported *ret);
