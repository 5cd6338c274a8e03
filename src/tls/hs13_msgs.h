/* The messages we send (RFC 8446 4): each is put behind the others by hs13_out.h. */
#pragma once

#include "tls/certs.h"
#include "tls/hs13_state.h"

/* Numbers of the IANA registry "TLS HandshakeType". */
enum hs13_message {
    MSG_CLIENT_HELLO = 1,
    MSG_SERVER_HELLO = 2,
    MSG_NEW_SESSION_TICKET = 4,
    MSG_ENCRYPTED_EXTENSIONS = 8,
    MSG_CERTIFICATE = 11,
    MSG_CERTIFICATE_REQUEST = 13,
    MSG_CERTIFICATE_VERIFY = 15,
    MSG_FINISHED = 20,
    MSG_COMPRESSED_CERTIFICATE = 25,
};

void hs13_put_server_hello(struct hs13 *h, struct span share);

/* Asks for a share of h->group. */
void hs13_put_retry(struct hs13 *h);

void hs13_put_encrypted_extensions(struct hs13 *h);
void hs13_put_certificate_request(struct hs13 *h);
void hs13_put_certificate_verify(struct hs13 *h, struct span signature);
void hs13_put_finished(struct hs13 *h);

/* What a Finished over the transcript so far says, by a side's handshake traffic secret (RFC 8446 4.4.4); hash_len() bytes. */
void hs13_finished_mac(const struct hs13 *h, const uint8_t *base, uint8_t ret[static HASH_LEN_MAX]);

/*
 * A ticket for the next session, after the client's Finished; none when the client takes none, or has one. Without one the
 * session is as good: a failure leaves nothing.
 */
void hs13_put_ticket(struct hs13 *h);

/* The same right after our Finished, over the Finished that the client will send: it is known where nothing else can come. */
void hs13_put_early_ticket(struct hs13 *h);
