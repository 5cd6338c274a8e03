/*
 * Arbitrary bytes as a session from another relay or from a handshaker: in any version, with descriptors that work. What is
 * taken goes to work for some turns, moves on to another relay, and ends; nothing may be left, no invariant may break.
 *
 * Input: a byte for the version, the number of descriptors and the sender, then the session.
 */
#include "../unit/relay_bench.h"
#include "wire/export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both ends of what the session believes to be its sockets. */
static int ends[4];

static void open_ends(void) {
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, &ends[0]) == 0);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, &ends[2]) == 0);
}

static void speak(void) {
    static const uint8_t bytes[300] = {23, 3, 3, 0, 40};
    (void)!send(ends[1], bytes, sizeof(bytes), MSG_NOSIGNAL);
    (void)!send(ends[3], bytes, sizeof(bytes), MSG_NOSIGNAL);
}

/* One message of one session. */
static void offer(int link, struct span blob, uint8_t minor, unsigned nfds) {
    static uint8_t body[IPC_BODY_MAX];
    struct wr w = wr_of(body, sizeof(body));
    export_batch_pack(&w, &(struct export_batch){EXPORT_MAJOR, minor, 1, 1});
    wr_u8(&w, (uint8_t)nfds);
    wr_u24(&w, (uint32_t)blob.len);
    wr_span(&w, blob);
    if (wr_end(&w))
        (void)!ipc_send(link, EXPORT_SESSIONS, wr_written(&w), (int[]){ends[0], ends[2]}, nfds);
}

static void cut_all(struct relay *r) {
    uint32_t slot = 0;
    for (struct session *s; (s = slab_next(&r->sessions, &slot));)
        session_cut(r, s);
    bench_turn_of(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    int link[2];
    if (!begun)
        bench_begin(1024 * 1024);
    begun = true;
    if (size < 1 || size > IPC_BODY_MAX - 64)
        return 0;
    open_ends();
    MUST(ipc_pair(0, link) == 0);
    bool handed_over = data[0] & 16;
    if (!handed_over)
        migrate_in_begin(&relay, link[1]);
    offer(link[0], span_of(data + 1, size - 1), data[0] & 7, data[0] & 8 || handed_over ? 1 : 2);
    if (handed_over) {
        relay.arrivals.links[0] = link[1];
        arrivals_read(&relay);
    }
    bench_turn();
    speak();
    bench_turns(2);
    if (relay.sessions.used)
        bench_hop(&relay, &bench_other);
    speak();
    for (int i = 0; i < 3; i++)
        bench_turn_of(&bench_other);
    for (int i = 0; i < 4; i++)
        close(ends[i]);
    bench_turn_of(&bench_other);
    close(link[0]);
    if (handed_over)
        arrivals_read(&relay);
    bench_turn();
    cut_all(&relay);
    cut_all(&bench_other);
    MUST(relay.sessions.used == 0 && bench_other.sessions.used == 0 && list_empty(&relay.importing) &&
         relay.arrivals.links[0] < 0);
    MUST(relay.pool.used == 0 && bench_other.pool.used == 0 && bench_other.backlog_waiters == 0);
    MUST(relay.services[0].backends.list[0].sessions == 0 && bench_other.services[0].backends.list[0].sessions == 0);
    for (size_t i = 1; i < relay.nservices; i++)
        MUST(!relay.services[i].conf);
    for (int fd; (fd = accept4(bench.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    bench_drop_events();
    return 0;
}
