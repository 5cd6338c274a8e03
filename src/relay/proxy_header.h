/*
 * The PROXY protocol header a backend gets (haproxy's proxy-protocol.txt, versions 1 and 2), with the TLVs of the service:
 * PP2_TYPE_ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL (version, cipher, group, our certificate's algorithms and signature; of a
 * client with a certificate its common name and, when wanted, the certificate itself).
 */
#pragma once

#include "base/wr.h"
#include "conf/conf.h"
#include "wire/facts.h"

#define PROXY_HEADER_MAX (1536 + FACTS_CERT_MAX)

/* Writes nothing when the service sends none. An unknown client gives UNKNOWN (v1) or LOCAL (v2). */
void proxy_header_write(struct wr *w, const struct conf_service *service, const struct facts *f);
