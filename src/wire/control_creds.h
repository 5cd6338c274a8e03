/*
 * How a set of credentials travels: from the config role to the supervisor, and from there to signers and handshakers.
 *
 *   supervisor                              config role
 *   REQUEST_CREDS (snapshot)  ------------>             reads the files that the running configuration names, and nothing else
 *                             <------------  CREDS_READ (store, warnings) | REFUSED (text)
 *
 *   supervisor                              signer
 *   CREDS (set, store)        ------------>
 *   KEY_PASS, KEY (set, index, file) ----->             each key of the store once; KEY_PASS comes before the KEY it belongs to
 *                             <------------  KEYS_TAKEN (set) | KEYS_REFUSED (set, text)
 *   supervisor                              handshaker
 *   CREDS (set, store)        ------------>             new handshakes use it; those under way end with what they began
 *
 * A set is numbered by the supervisor. A store taken by the signers and used stays good there until the next but one is taken;
 * one that was taken and not used makes room for the next attempt at the same change. Only a signer that was started again
 * when the keys of the one in use were gone has the next one alone (sign.h: ERR_NOT_FOUND).
 */
#pragma once

#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"

struct control_creds {
    uint32_t set;
    uint32_t nkeys; /* as in the store */
};

/* Attempts at one change of credentials: their numbers differ in the last 8 bits alone. */
static inline uint32_t control_creds_change(uint32_t set) {
    return set >> 8;
}

/* The number of the next attempt: USED is the set in use, LAST the attempt before. No other attempt since USED has it, nor has
 * a set that was used before, whose numbers are lower. */
static inline uint32_t control_creds_attempt(uint32_t used, uint32_t last) {
    uint32_t change = control_creds_change(used) + 1;
    return change << 8 | (control_creds_change(last) == change ? (last + 1) & 0xff : 0);
}

MUST_CHECK int control_send_creds(int fd, const struct control_creds *c, int store);
MUST_CHECK int control_read_creds(const struct ipc_msg *m, struct control_creds *ret);

/* TYPE is CONTROL_KEY (FILE: the private key) or CONTROL_KEY_PASS (its passphrase); INDEX is the key's number in the store. */
struct control_key {
    uint32_t set;
    uint32_t index;
};
MUST_CHECK int control_send_key(int fd, uint16_t type, const struct control_key *k, int file);
MUST_CHECK int control_read_key(const struct ipc_msg *m, struct control_key *ret);

MUST_CHECK int control_send_keys_taken(int fd, uint32_t set);
MUST_CHECK int control_read_keys_taken(const struct ipc_msg *m, uint32_t *ret_set);

/* TEXT for the operator names the file, what was found and what was expected; read, it borrows the message. */
MUST_CHECK int control_send_keys_refused(int fd, uint32_t set, struct span text);
MUST_CHECK int control_read_keys_refused(const struct ipc_msg *m, uint32_t *ret_set, struct span *ret_text);

/* No body, one descriptor: the snapshot of the configuration that runs. */
MUST_CHECK int control_send_request_creds(int fd, int snapshot);
