/*
 * A handshaker and any order of events around it, from accept to hand-off: clients that speak TLS in pieces, say junk, end or
 * leave; signers that answer, do not, lie or die; relays that are full, gone and back; new credentials, drains, time that
 * passes or does not, little memory, and system calls that fail. After every turn conn_bench.h looks whether all is in order:
 * each connection where its state belongs, with a deadline; counts that equal what lives; one end reported of each. In the end
 * nothing is left, no descriptor either; and a client that nobody disturbs gets its session after all that.
 *
 * Input: events of three bytes: kind, who, amount.
 */
#define OWN_TLS13 1 /* TLS 1.3 asks for signatures by our way, TLS 1.2 by libssl's: both use the same links */
#include "../unit/conn_bench.h"
#include "../unit/starttls_ways.h"
#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS_MAX 120

enum event_around {
    CLIENT_CONNECTS,
    CLIENT_SPEAKS, /* connects and begins a handshake */
    CLIENT_STEPS,
    CLIENT_STEPS_ALL,
    CLIENT_SAYS_JUNK,
    CLIENT_SAYS_HTTP,
    CLIENT_SAYS_HEADER,
    CLIENT_ENDS,
    CLIENT_LEAVES,
    TURN,
    TIME_PASSES,
    CLOCK_RUNS, /* in the middle of what is going on: no turn */
    SIGNER_IS,
    SIGNER_IS_LATE_NO_MORE,
    SIGNER_DIES,
    SIGNER_COMES,
    RELAY_READS,
    RELAY_DIES,
    RELAY_COMES,
    CREDS_COME,
    DRAIN,
    SERVE,
    PING,
    LISTENER_OF_OTHER,
    BUDGET_SHRINKS,
    PROCESS_STOOD,
    CALL_FAILS,
    CLIENT_ASKS_FOR_TLS, /* STARTTLS and its kin, in the protocol of LISTEN_MAIL */
    CLIENT_HEARS,
    MAIL_IS, /* another protocol, for those who come */
    EVENT_COUNT,
};

static void connect_client(unsigned n, uint8_t amount) {
    if (bench_clients[n].fd < 0)
        client_connect(n, amount % LISTENERS, (uint8_t)(1 + (amount >> 2) % 8)); /* the eighth is not to be trusted */
}

static void say_header(const struct bench_client *c, uint8_t amount) {
    char header[128];
    int n = snprintf(header, sizeof(header), "PROXY TCP4 10.0.0.%u 192.0.2.1 %u 443\r\n", 1u + amount % 8, 1u + amount);
    if (amount & 128)
        client_says(c, "PROXY UNKNOWN\r\n", 15);
    else
        client_says(c, header, amount & 64 ? (size_t)n / 2 : (size_t)n);
}

static void say_junk(const struct bench_client *c, uint8_t amount) {
    uint8_t junk[64];
    memset(junk, amount, sizeof(junk));
    junk[0] = amount & 1 ? CONTENT_HANDSHAKE : amount;
    junk[1] = 3;
    client_says(c, junk, 1 + amount % sizeof(junk));
}

static void speak(unsigned n, uint8_t amount) {
    connect_client(n, amount);
    struct bench_client *c = &bench_clients[n];
    if (c->ssl || c->fd < 0)
        return;
    if (amount % LISTENERS == LISTEN_PROXY)
        say_header(c, amount & 32 ? 0 : amount & 7);
    client_tls(c, amount & 32 ? TLS_1_2 : TLS_1_3);
    client_step(c, amount & 64 ? 100 : SIZE_MAX);
}

/* All of it, a part, or all and a byte behind it. */
static void ask_for_tls(unsigned n, uint8_t amount) {
    const struct way *w = &ways[0];
    while (w->protocol != hand->conf->listeners[LISTEN_MAIL].starttls)
        w++;
    if (bench_clients[n].fd < 0)
        client_connect(n, LISTEN_MAIL, (uint8_t)(1 + amount % 8));
    client_says(&bench_clients[n], w->asks, amount & 1 ? amount % w->len : w->len);
    if (amount & 2)
        client_says(&bench_clients[n], "\x16", 1);
}

static void drain(uint8_t amount) {
    const struct control_drain d = {amount & 1 ? DRAIN_QUICK : DRAIN_PATIENT, amount * 40u};
    bench_run.drained = bench_run.drained || d.how == DRAIN_QUICK;
    MUST(control_send_drain(bench_control, &d) == 0);
}

/* Another handshaker is gone, and the supervisor gives us its listener. */
static void lend_listener(uint8_t amount) {
    uint16_t i = amount % LISTENERS;
    if (hand->sockets[i].fd >= 0)
        MUST(control_send_listener(bench_control, i, hand->sockets[i].fd) == 0);
}

static void client_event(unsigned event, unsigned n, uint8_t amount) {
    struct bench_client *c = &bench_clients[n];
    switch (event) {
    case CLIENT_CONNECTS:
        connect_client(n, amount);
        break;
    case CLIENT_SPEAKS:
        speak(n, amount);
        break;
    case CLIENT_STEPS:
        client_step(c, amount);
        break;
    case CLIENT_STEPS_ALL:
        client_step(c, SIZE_MAX);
        break;
    case CLIENT_SAYS_JUNK:
        say_junk(c, amount);
        break;
    case CLIENT_SAYS_HTTP:
        client_says(c, "GET / HTTP/1.1\r\n\r\n", amount % 19u);
        break;
    case CLIENT_SAYS_HEADER:
        say_header(c, amount);
        break;
    case CLIENT_ASKS_FOR_TLS:
        ask_for_tls(n, amount);
        break;
    case CLIENT_HEARS:
        if (c->fd >= 0 && !c->ssl)
            (void)client_heard(c); /* a go-ahead: TLS is next */
        break;
    case MAIL_IS:
        hand->conf->listeners[LISTEN_MAIL].starttls = ways[amount % ARRAY_LEN(ways)].protocol;
        break;
    case CLIENT_ENDS:
        client_end(c);
        break;
    default:
        client_leave(c);
    }
}

/* One, or a few of them. */
static void calls_fail(uint8_t who, uint8_t amount) {
    bench_calls = 0;
    bench_fail_at = amount;
    bench_fail_more = who >> 1 & 3;
    bench_fail_kind = who >> 3 & 15;
}

static void around_event(unsigned event, uint8_t who, uint8_t amount) {
    uint16_t i = who % BENCH_WORKERS;
    switch (event) {
    case TIME_PASSES:
        bench_later(amount < 128 ? amount : (amount - 127u) * 100u);
        break;
    case CLOCK_RUNS:
        bench_us += amount * 10u;
        break;
    case SIGNER_IS:
        bench_signers[i].how = amount % SIGNS_COUNT;
        break;
    case SIGNER_IS_LATE_NO_MORE:
        bench_sign(&bench_signers[i], SIGNS_WELL);
        break;
    case SIGNER_DIES:
        bench_signer_dies(i);
        break;
    case SIGNER_COMES:
        bench_signer_comes(i);
        break;
    case RELAY_READS:
        (void)bench_relay_reads(i, amount);
        break;
    case RELAY_DIES:
        bench_relay_dies(i);
        break;
    case RELAY_COMES:
        bench_relay_comes(i);
        break;
    case CREDS_COME:
        bench_new_creds(amount & 1);
        break;
    case DRAIN:
        drain(amount);
        break;
    case SERVE:
        MUST(control_send(bench_control, CONTROL_SERVE) == 0);
        break;
    case PING:
        MUST(control_send(bench_control, CONTROL_PING) == 0);
        break;
    case LISTENER_OF_OTHER:
        lend_listener(amount);
        break;
    case BUDGET_SHRINKS:
        hand->budget.max = MAX((uint64_t)amount * 2048, hand->budget.used);
        break;
    case PROCESS_STOOD:
        hand->loop.paused_us = amount * 100000u;
        break;
    case CALL_FAILS:
        calls_fail(who, amount);
        break;
    default:
        bench_turn();
    }
}

/* After all that it serves as before. */
static void finish_well(void) {
    bench_begin_run();
    struct bench_client *c = client_connect(0, LISTEN_WEB, 1);
    client_tls(c, TLS_1_3);
    for (unsigned i = 0; i < 4; i++) {
        client_step(c, SIZE_MAX);
        bench_turns(2);
    }
    MUST(SSL_is_init_finished(c->ssl) && bench_count(STATS_HANDED_OVER) == bench_run.handed + 1);
    MUST(bench_relay_reads(0, UINT32_MAX) + bench_relay_reads(1, UINT32_MAX) == 1);
    bench_end_run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun)
        bench_begin();
    begun = true;
    bench_run.fds = 0; /* between two inputs the fuzzer opens some: its symbolizer stays */
    bench_begin_run();
    hand->conf->listeners[LISTEN_MAIL].starttls = STARTTLS_SMTP;
    struct rd r = rd_of(span_of(data, size));
    for (unsigned i = 0; i < EVENTS_MAX && rd_left(&r) >= 3; i++) {
        unsigned event = rd_u8(&r) % EVENT_COUNT, who = rd_u8(&r);
        uint8_t amount = rd_u8(&r);
        if (event <= CLIENT_LEAVES || event >= CLIENT_ASKS_FOR_TLS)
            client_event(event, who % BENCH_CLIENTS, amount);
        else
            around_event(event, (uint8_t)who, amount);
        if (who & 128)
            bench_turn();
    }
    bench_end_run();
    finish_well();
    return 0;
}
