/*
 * The PROXY protocol header a backend gets (haproxy's proxy-protocol.txt, versions 1 and 2), with the TLVs of the service:
 * PP2_TYPE_ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL (version, cipher, group, our certificate's algorithms and signature; of a
 * client with a certificate, when wanted, the certificate itself), and of our own PROXY_HEADER_CLIENT: by which name a client
 * was admitted.
 *
 * PP2_SUBTYPE_SSL_CN is sent only where a rule matched that common name, or where the service has no rules: a backend that
 * relies on it must not get a name that the client chose and nobody checked.
 */
#pragma once

#include "base/wr.h"
#include "conf/conf.h"
#include "wire/conn_info.h"

#define PROXY_HEADER_MAX (1536 + 32 + CONN_INFO_NAME_MAX + CONN_INFO_CERT_MAX)
#define PROXY_HEADER_CLIENT                                                                                                    \
    0xe0 /* PP2_TYPE_MIN_CUSTOM; the value is "kind:name" as a rule has it, "uri:spiffe://example.org/web" */

/* Writes nothing when the service sends none. An unknown client gives UNKNOWN (v1) or LOCAL (v2). */
void proxy_header_write(struct wr *w, const struct conf_service *service, const struct conn_info *f);
