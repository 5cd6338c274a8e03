/*
 * One line of who may come in: "dns:*.svc.example.org", "uri:spiffe://example.org/ns/" and so on, "cn:robot", "ou:ops",
 * "spki-sha256:<hex or base64>". Read once, then held against the names of a certificate.
 *
 *   dns   a host name; "*." in front stands for exactly one label. Upper and lower case are the same. A name of a certificate
 *         that is a wildcard itself is no host and matches nothing.
 *   uri   byte by byte. One '*' in each segment of the path stands for one or more characters other than '/'; at the very end
 *         of the rule for one or more of any. There is none before the path: the trust domain is always written out.
 *   cn, ou  the whole value, byte by byte, UTF-8.
 *   spki-sha256  SHA-256 of the certificate's public key (SubjectPublicKeyInfo).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "creds/identity_source.h"

#define CLIENT_RULE_MAX      512 /* bytes of a rule's text */
#define CLIENT_RULE_SPKI_LEN 32

struct client_rule {
    enum identity_source by;
    struct span value; /* behind the colon; borrows the text */
    uint8_t spki[CLIENT_RULE_SPKI_LEN];
};

/* Reads TEXT (kept by the rule). ERR_FORMAT, with what was expected in WHY. */
MUST_CHECK int client_rule_read(const char *text, struct client_rule *ret, struct text *why);

/* Whether a certificate's name of this kind matches the rule; VALUE is outside bytes, for IDENTITY_SPKI the digest. */
bool client_rule_takes(const struct client_rule *r, enum identity_source by, struct span value);
