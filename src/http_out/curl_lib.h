/*
 * libcurl, loaded at run time by the roles that want it: it brings two dozen libraries, and what a proxy that asks nobody does
 * not have cannot be attacked. Members are named as the library's functions are, without curl_.
 */
#pragma once

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "base/defs.h"
#include "base/text.h"

#define CURL_FUNCTIONS(X)                                                                                                      \
    X(global_init)                                                                                                             \
    X(easy_init)                                                                                                               \
    X(easy_setopt)                                                                                                             \
    X(easy_getinfo)                                                                                                            \
    X(easy_cleanup)                                                                                                            \
    X(easy_strerror)                                                                                                           \
    X(slist_append)                                                                                                            \
    X(slist_free_all)                                                                                                          \
    X(multi_init)                                                                                                              \
    X(multi_setopt)                                                                                                            \
    X(multi_add_handle)                                                                                                        \
    X(multi_remove_handle)                                                                                                     \
    X(multi_assign)                                                                                                            \
    X(multi_socket_action)                                                                                                     \
    X(multi_info_read)                                                                                                         \
    X(multi_cleanup)

struct curl_lib {
#define MEMBER(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Filled by curl_lib_load(), constant afterwards. */
extern struct curl_lib curl_lib;

/* Before the role gives up its rights. ERR_UNSUPPORTED with a sentence in WHY when the library is not there or too old. */
MUST_CHECK int curl_lib_load(struct text *why);
