/*
 * Small definitions that every file may use: contracts checked by the compiler and by the program.
 *
 * Three kinds of check exist. What a peer sends takes an error path, always. An invariant of ours whose breach would harm
 * memory or secrecy is a MUST(), which aborts in release builds too. The rest is a DEBUG_ASSERT().
 * No byte from outside the process may ever decide a MUST().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN                __attribute__((noreturn))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The structure of type T whose member M is at P. */
#define CONTAINER_OF(p, T, m) ((T *)(void *)((char *)(p)-offsetof(T, m)))

/* Prints the broken invariant to stderr and aborts. */
NORETURN void must_failed(const char *what, const char *file, int line);

#define MUST(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))

#ifdef NDEBUG
#define DEBUG_ASSERT(cond) ((void)sizeof(cond))
#else
#define DEBUG_ASSERT(cond) MUST(cond)
#endif
