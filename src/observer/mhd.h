/*
 * libmicrohttpd, loaded at run time. It brings gnutls and a dozen libraries of its own, which as a linked library every role
 * would carry: 400 KB of private memory a process, and more code beside the keys than there must be. docs/decisions/ has the
 * statistics. Members are named as the library's functions are, without MHD_.
 */
#pragma once

#include <microhttpd.h>

#include "base/defs.h"
#include "base/text.h"

#define MHD_FUNCTIONS(X)                                                                                                       \
    X(start_daemon)                                                                                                            \
    X(stop_daemon)                                                                                                             \
    X(run)                                                                                                                     \
    X(get_timeout)                                                                                                             \
    X(get_daemon_info)                                                                                                         \
    X(get_connection_info)                                                                                                     \
    X(lookup_connection_value)                                                                                                 \
    X(get_connection_values)                                                                                                   \
    X(suspend_connection)                                                                                                      \
    X(resume_connection)                                                                                                       \
    X(create_response_from_buffer)                                                                                             \
    X(create_response_from_buffer_with_free_callback)                                                                          \
    X(create_response_from_callback)                                                                                           \
    X(add_response_header)                                                                                                     \
    X(queue_response)                                                                                                          \
    X(destroy_response)

struct mhd {
#define MEMBER(name) __typeof__(MHD_##name) *name;
    MHD_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Filled by mhd_load(), constant afterwards. */
extern struct mhd mhd;

/* Before the role gives up its rights. ERR_UNSUPPORTED with a sentence in WHY when the library is not there or too old. */
MUST_CHECK int mhd_load(struct text *why);
