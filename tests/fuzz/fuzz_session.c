/*
 * One session of the relay's own code, and any order of events at its two ends: bytes in pieces, key updates, sides that do not
 * read, ends, resets, junk, time that passes, a stop, little memory, moves to another relay. Whatever arrives must be the right
 * bytes in the right order (checked at arrival); when nothing went wrong on purpose, all of them, with truthful ends; and
 * nothing may be left in any case.
 *
 * Input: 4 bytes choose the session, then events of two bytes: kind and amount.
 */
#include "../unit/relay_bench.h"
#include "base/rd.h"
#include "shm/stats_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS_MAX 400
#define MEMORY_KIB 1024u

enum event_at_an_end {
    CLIENT_SAYS,
    CLIENT_WRITES,
    CLIENT_WRITES_ALL,
    CLIENT_READS,
    CLIENT_UPDATES_KEY,
    CLIENT_SAYS_CLOSE,
    CLIENT_ENDS,
    CLIENT_LEAVES,
    CLIENT_SAYS_JUNK,
    BACKEND_ACCEPTS,
    BACKEND_WRITES,
    BACKEND_READS,
    BACKEND_ENDS,
    BACKEND_LEAVES,
    TURN,
    TIME_PASSES,
    STOP,
    BUFFERS_GO,
    MOVES, /* to another relay and back */
    EVENT_COUNT,
};

static bool harmed;   /* something happened that may cost bytes, or the good end */
static bool torn_end; /* the client ended TCP without close_notify */
static unsigned updates_in_a_row, updates_asked;
static uint64_t passed_ms;
static uint64_t evicted_before;

/* The client's end of TCP: orderly only when all it said has been written and said to be the end. */
static void end_client(void) {
    if (bench.client_fin || bench.client_gone)
        return;
    client_end();
    if (buf_len(&bench.to_relay))
        harmed = true; /* what was not written will never be */
    torn_end = bench.way.suite && !bench.client_said_end;
    harmed = harmed || (torn_end && bench_service.truncation == TRUNCATION_RESET);
}

static bool may_speak(void) {
    return !bench.client_said_end && !bench.client_fin && !bench.client_gone;
}

static void say(uint8_t amount) {
    if (may_speak() && buf_len(&bench.to_relay) < 1000 * 1000)
        client_say(amount < 128 ? amount + 1u : (amount - 127u) * 128u);
    updates_in_a_row = 0;
}

/* Without data between them only so many are borne. */
static void update_key(bool ask) {
    if (!bench.way.suite || bench.way.suite->version != TLS_1_3 || !may_speak() || updates_in_a_row == RECORD_LAYER_IDLE_MAX)
        return;
    client_update_key(ask);
    updates_in_a_row++;
    updates_asked += ask;
}

static void say_junk(uint8_t amount) {
    uint8_t junk[32];
    memset(junk, amount, sizeof(junk));
    if (!bench.way.suite)
        return;
    MUST(buf_append(&bench.to_relay, junk, 1 + amount % sizeof(junk)) == 0);
    harmed = true;
}

/* So much is left of the budget, as if others held the rest. */
static void set_budget(size_t kib) {
    relay.pool.budget = kib * 1024;
    relay.pool.limit = MAX(relay.pool.budget, relay.pool.used);
}

static uint64_t evicted(void) {
    return relay.child.stats.area->process[STATS_EVICTED];
}

static void stop(void) {
    struct session *s = bench_session();
    if (!s)
        return;
    session_stop(&relay, s, ERR_STOPPED);
    harmed = true;
}

static void happens(unsigned event, uint8_t amount) {
    size_t n = amount < 64 ? amount : (size_t)amount * 256;
    switch (event) {
    case CLIENT_SAYS:
        say(amount);
        break;
    case CLIENT_WRITES:
        client_write(n);
        break;
    case CLIENT_WRITES_ALL:
        client_write(SIZE_MAX);
        break;
    case CLIENT_READS:
        client_read(n);
        break;
    case CLIENT_UPDATES_KEY:
        update_key(amount & 1);
        break;
    case CLIENT_SAYS_CLOSE:
        if (bench.way.suite && may_speak())
            client_say_close();
        break;
    case CLIENT_ENDS:
        end_client();
        break;
    case CLIENT_LEAVES:
        client_leave();
        harmed = true;
        break;
    case CLIENT_SAYS_JUNK:
        say_junk(amount);
        break;
    case BACKEND_ACCEPTS:
        bench_accept();
        break;
    case BACKEND_WRITES:
        backend_write(n);
        break;
    case BACKEND_READS:
        backend_read(n);
        break;
    case BACKEND_ENDS:
        harmed = harmed || (bench.way.greets && bench.greeted < strlen(bench.way.greets)); /* the greeting is not whole */
        backend_end();
        break;
    case BACKEND_LEAVES:
        backend_leave();
        harmed = true;
        break;
    case TIME_PASSES:
        passed_ms += amount * 10u;
        harmed = harmed || passed_ms >= bench_service.connect_ms; /* the shortest deadline */
        bench_later(amount * 10u);
        break;
    case STOP:
        stop();
        break;
    case BUFFERS_GO:
        set_budget(amount);
        break;
    case MOVES:
        bench_migrate();
        break;
    default:
        bench_turn();
    }
}

/* All that was said has arrived, and both ends know that it was all. */
static void finish_ok(void) {
    bench_settle();
    if (bench.way.suite && may_speak())
        client_say_close();
    bench_settle();
    client_end();
    backend_end();
    bench_settle();
    bench_expect_gone();
    struct event e = bench_event();
    MUST(e.reason == 0 && e.backend_end == END_CLOSE);
    MUST(e.client_end == (torn_end ? END_TRUNCATED : END_CLOSE));
    MUST(e.bytes_in == bench.up_sent && e.bytes_out == bench.down_sent);
    MUST(bench.up_got == bench.up_sent && bench.down_got == bench.down_sent && bench.header_left == 0);
    MUST(bench.client_heard_fin && bench.backend_heard_fin);
    MUST(bench.client_heard_close == (bench.way.suite != NULL) && bench.alert < 0);
}

/* Whatever happened: it is over at last. */
static void finish_anyhow(void) {
    bench_settle();
    client_leave();
    backend_leave();
    bench_settle();
    bench_later(bench_service.idle_ms + 10);
    bench_later(bench_service.linger_ms + 10);
    bench_settle();
    bench_expect_gone();
    (void)bench_event();
}

static void choose(struct rd *r) {
    static const uint16_t limits[] = {RECORD_PLAIN_MAX, 1, 64, 512, 1400};
    struct bench_way way = {.suite = suite_at(rd_u8(r) % 10)}; /* the tenth is none */
    uint8_t flags = rd_u8(r);
    way.read_ahead = rd_u8(r) * (size_t)140;
    way.out_max = limits[rd_u8(r) % ARRAY_LEN(limits)];
    way.read_ahead_torn = flags & 1;
    way.no_accept = flags & 2;
    way.client_sndbuf = flags & 4 ? 1 : 0;
    way.backend_sndbuf = flags & 8 ? 1 : 0;
    bench_service.truncation = flags & 16 ? TRUNCATION_RESET : TRUNCATION_CLOSE;
    if (flags & 128 && way.suite) {
        way.greeting = GREETING_SMTP;
        way.greets = "220-mail.example.org\r\n220-no\r\n220 ESMTP\r\n";
    }
    bench_service.proxy_send = flags & 64 ? PROXY_SEND_V2 : flags & 32 ? PROXY_SEND_V1 : PROXY_SEND_NONE;
    bench_open(&way);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun)
        bench_begin(MEMORY_KIB * 1024);
    begun = true;
    if (size < 4)
        return 0;
    harmed = torn_end = false;
    updates_in_a_row = updates_asked = 0;
    passed_ms = 0;
    evicted_before = evicted();
    struct rd r = rd_of(span_of(data, size));
    choose(&r);
    for (unsigned i = 0; i < EVENTS_MAX && rd_left(&r) >= 2; i++) {
        unsigned event = rd_u8(&r) % EVENT_COUNT;
        happens(event, rd_u8(&r));
        MUST(event != TURN || !pool_over(&relay.pool));
        harmed = harmed || evicted() > evicted_before; /* for bytes that its own two ends made the relay hold */
    }
    set_budget(MEMORY_KIB);
    if (harmed)
        finish_anyhow();
    else
        finish_ok();
    MUST(bench.key_updates <= updates_asked);
    bench_close();
    return 0;
}
