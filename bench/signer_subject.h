/* A signer for handshake_bench: the product's keyring in a child process, the product's link to it, on one CPU. */
#pragma once

#include "tls/certs.h"

/* Certificates whose keys, all of one type (as make_key() takes it), are in a child that ends with this process. */
struct certs *signer_subject_certs(const char *key_type);
