/*
 * Trace points (USDT, sys/sdt.h) for bpftrace, perf and systemtap: provider "tls_off", one a step in the life of a connection.
 * Arguments are texts and numbers, the first two always the unique id (hex, as in the log) and the client's address.
 *
 * A point that is not traced is a load and a branch: arguments are made only while TRACE_ON(). Without sys/sdt.h at build
 * time nothing of it is there.
 *
 *     accept(id, client, client's port)
 *     hello(id, client, sni, us since accept)
 *     handshake(id, client, service, us since accept, resumed, cipher suite as in the IANA registry)
 *     failed(id, client, service, us since accept, reason)
 *     handoff(id, client, service, us since accept, number of the relay)
 *     connect(id, client, service, us of the connect, backend)
 *     first_byte(id, client, service, us since the relay took the session)
 *     end(id, client, reason or "", us since accept, bytes in, bytes out)
 *
 * Six arguments at the most: bpftrace of Debian 12 knows no more.
 */
#pragma once

#define TRACE_POINTS(X)                                                                                                        \
    X(accept)                                                                                                                  \
    X(hello)                                                                                                                   \
    X(handshake)                                                                                                               \
    X(failed)                                                                                                                  \
    X(handoff)                                                                                                                 \
    X(connect)                                                                                                                 \
    X(first_byte)                                                                                                              \
    X(end)

#define TRACE_ID_MAX 33

/* The 16 bytes of a unique id as text; returns TO. */
const char *trace_id(const void *id, char to[static TRACE_ID_MAX]);

#ifdef HAVE_SDT
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC    1
#include <sys/sdt.h>

/* How many watch the point: the kernel counts here. */
#define TRACE_EXTERN_(point) extern volatile unsigned short tls_off_##point##_semaphore;
TRACE_POINTS(TRACE_EXTERN_)
#undef TRACE_EXTERN_

#define TRACE_ON(point)   __builtin_expect(tls_off_##point##_semaphore != 0, 0)
#define TRACE(point, ...) STAP_PROBEV(tls_off, point, __VA_ARGS__)
#else
#define TRACE_ON(point)   0
#define TRACE(point, ...) trace_nothing(__VA_ARGS__)
static inline void trace_nothing(const char *id, ...) {
    (void)id;
}
#endif
