/*
 * hiredis, loaded at run time by the one role that wants it: only its reader of answers and its writer of commands. The
 * connection is ours (redis.h), so that all of it has limits. Members are named as the library's functions are.
 */
#pragma once

#include <hiredis/hiredis.h>

#include "base/defs.h"
#include "base/text.h"

#define REDIS_FUNCTIONS(X)                                                                                                     \
    X(redisReaderCreate)                                                                                                       \
    X(redisReaderFree)                                                                                                         \
    X(redisReaderFeed)                                                                                                         \
    X(redisReaderGetReply)                                                                                                     \
    X(redisFormatCommandArgv)                                                                                                  \
    X(redisFreeCommand)                                                                                                        \
    X(freeReplyObject)

struct redis_lib {
#define MEMBER(name) __typeof__(name) *name;
    REDIS_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Filled by redis_lib_load(), constant afterwards. */
extern struct redis_lib redis_lib;

/* Before the role gives up its rights. ERR_UNSUPPORTED with a sentence in WHY when the library is not there or too old. */
MUST_CHECK int redis_lib_load(struct text *why);
