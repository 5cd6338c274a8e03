/*
 * What a child may say to the supervisor: every type of message from every role in every state. A sender that breaks the rules
 * is killed and changes nothing.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "supervisor/keys.h"
#include "supervisor/messages.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"

#define PID 4711 /* kill() is replaced */

static unsigned kills;
int __wrap_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig) {
    kills += pid == PID && sig == SIGKILL;
    return 0;
}

static struct super s;
static struct worker worker;
static struct conf conf = {.workers = 1, .drain_ms = 1000};
static int child; /* the worker's end of its control socket */

static void on_child(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)ctx;
    (void)key;
    (void)gen;
    (void)events;
}

static int set_up(void **state) {
    int fd;
    (void)state;
    if (loop_init(&s.loop) < 0 || ring_create(64 * 1024, &fd) < 0 || ring_map(fd, &s.log.ring) < 0)
        return -1;
    close(fd);
    loop_on(&s.loop, SUPER_CHILD, on_child, &s);
    s.log.level = LOG_LEVEL_ERROR;
    s.stats_fd = s.page_fd = -1;
    return 0;
}

enum place { OF_NOW, OF_COMING, OF_GOING, PLACES };

static void begin(enum role role, enum child_state state, enum place place) {
    int pair[2];
    static struct generation other; /* that serves while WORKER is of another */
    struct generation *g = &s.gens[0];
    *g = (struct generation){.used = true, .conf = &conf, .workers = &worker, .nworkers = 1};
    other = (struct generation){.used = true, .conf = &conf};
    s.now = place == OF_NOW ? g : &other;
    s.next = place == OF_COMING ? g : NULL;
    s.previous = place == OF_GOING ? g : NULL;
    s.lifecycle = (struct lifecycle){.ended = true}; /* no command starts anything */
    s.refusal.is_made = false;
    s.proctab.cut = 0;
    s.creds.stage = CREDS_IDLE;
    assert_int_equal(ipc_pair(0, pair), 0);
    child = pair[0];
    worker = (struct worker){.gen = g, .role = role, .state = state, .pid = PID, .control = pair[1], .ring = -1};
    assert_int_equal(worker_attach(&s, &worker), 0);
    kills = 0;
}

static void end(void) {
    static uint8_t record[RING_RECORD_MAX];
    while (ring_get(&s.log.ring, record) > 0)
        continue;
    if (child >= 0)
        close(child);
    close(worker.control);
}

static int send_one(uint16_t type) {
    int fds[4] = {s.loop.epfd, s.loop.epfd, s.loop.epfd, s.loop.epfd};
    static const uint8_t body[16]; /* all zero: EXPORTED of 9, CONFIGURED of two empty texts */
    switch (type) {
    case CONTROL_DRAINED:
        return control_send_number(child, CONTROL_DRAINED, 3);
    case CONTROL_CONFIGURED:
        return control_send_configured(child, &(struct control_configured){span_str("v"), span_str("")}, fds);
    case CONTROL_EXPORTED:
        return ipc_send(child, type, span_of(body, 9), NULL, 0);
    case CONTROL_COMMAND:
        return control_send_command(child, &(struct control_command){COMMAND_RELOAD, 1, 0, 0});
    case CONTROL_CREDS_READ:
    case CONTROL_ACCESS_READ:
    case CONTROL_SECRETS_READ:
        return ipc_send(child, type, span_of(body, 0), fds, 1);
    case CONTROL_KEYS_TAKEN:
        return control_send_keys_taken(child, 7);
    case CONTROL_KEYS_REFUSED:
        return control_send_keys_refused(child, 7, span_str("no"));
    default:
        return control_send(child, (enum control_type)type);
    }
}

#define BIT(x) (1u << (x))
static const unsigned workers = BIT(ROLE_OBSERVER) | BIT(ROLE_RESOLVER) | BIT(ROLE_RELAY) | BIT(ROLE_HANDSHAKER) |
                                BIT(ROLE_SIGNER) | BIT(ROLE_KEYMAKER) | BIT(ROLE_ACME) | BIT(ROLE_FLEET) | BIT(ROLE_EXPORTER);
static const unsigned starting = BIT(CHILD_STARTING), ready = BIT(CHILD_READY);
static const unsigned serves = BIT(CHILD_READY) | BIT(CHILD_SERVING) | BIT(CHILD_DRAINED);
static const unsigned now = BIT(OF_NOW), next = BIT(OF_COMING), previous = BIT(OF_GOING);

/* The whole contract. Types that are not listed are valid from no role. */
static const struct {
    uint16_t type;
    unsigned roles, states, places;
} allowed[] = {
    {CONTROL_READY, workers, starting, now | next | previous},
    {CONTROL_REFUSED, workers, starting, now | next | previous},
    {CONTROL_SERVING, BIT(ROLE_HANDSHAKER) | BIT(ROLE_ACME), ready, now | previous},
    {CONTROL_DRAINED, BIT(ROLE_HANDSHAKER) | BIT(ROLE_RELAY), serves, previous},
    {CONTROL_EXPORTED, BIT(ROLE_RELAY), serves, now | next | previous},
    {CONTROL_COMMAND, BIT(ROLE_OBSERVER), serves, now | next | previous},
    {CONTROL_PONG, workers, starting | serves, now | next | previous},
};

static bool may(uint16_t type, enum role role, enum child_state state, enum place place) {
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        if (allowed[i].type == type)
            return allowed[i].roles & BIT(role) && allowed[i].states & BIT(state) && allowed[i].places & BIT(place);
    return false;
}

static void every_type_from_every_role_in_every_state(void **unused) {
    (void)unused;
    unsigned wrong = 0;
    for (uint16_t type = CONTROL_SETUP; type <= CONTROL_CPU + 1; type++)
        for (unsigned role = ROLE_OBSERVER; role < ROLE_COUNT; role++)
            for (unsigned state = CHILD_STARTING; state <= CHILD_DRAINED; state++)
                for (unsigned place = 0; place < PLACES; place++) {
                    begin((enum role)role, (enum child_state)state, (enum place)place);
                    assert_int_equal(send_one(type), 0);
                    messages_event(&s, 0, 0, EPOLLIN);
                    bool right = may(type, worker.role, (enum child_state)state, (enum place)place);
                    bool is_changed = worker.state != (enum child_state)state || s.proctab.cut;
                    if (kills != !right || (!right && is_changed))
                        print_error("type %u from %s in state %u of generation %u: killed %u times\n", type,
                                    role_name(worker.role), state, place, kills);
                    wrong += kills != !right || (!right && is_changed);
                    end();
                }
    assert_int_equal(wrong, 0);
}

/* A relay that a stop drains. */
static void drained_in_a_stop(void **unused) {
    (void)unused;
    begin(ROLE_RELAY, CHILD_READY, OF_NOW);
    s.lifecycle.phase = STOP_HANDSHAKERS;
    assert_int_equal(send_one(CONTROL_DRAINED), 0);
    messages_event(&s, 0, 0, EPOLLIN);
    assert_int_equal(kills, 0);
    assert_int_equal(worker.state, CHILD_DRAINED);
    assert_int_equal(s.proctab.cut, 3);
    end();
}

/* STOP ends a generation that was refused, and each relay counts what it has cut. Handshakers answer DRAIN alone. */
static void drained_when_asked_to_stop(void **unused) {
    (void)unused;
    for (unsigned place = 0; place < PLACES; place++)
        for (unsigned state = CHILD_READY; state <= CHILD_DRAINED; state++) {
            begin(ROLE_RELAY, (enum child_state)state, (enum place)place);
            worker.stopping = true;
            assert_int_equal(send_one(CONTROL_DRAINED), 0);
            messages_event(&s, 0, 0, EPOLLIN);
            assert_int_equal(kills, 0);
            assert_int_equal(worker.state, CHILD_DRAINED);
            assert_int_equal(s.proctab.cut, 3);
            end();
            begin(ROLE_HANDSHAKER, (enum child_state)state, (enum place)place);
            worker.stopping = true;
            assert_int_equal(send_one(CONTROL_DRAINED), 0);
            messages_event(&s, 0, 0, EPOLLIN);
            assert_int_equal(kills, place != OF_GOING);
            end();
        }
}

/* Its end may be noticed before its messages are. */
static void what_one_that_starts_has_said_is_received_before_its_end(void **unused) {
    static const char why[] = "k.pem: does not match";
    (void)unused;
    for (unsigned state = CHILD_STARTING; state <= CHILD_READY; state++) {
        begin(ROLE_SIGNER, (enum child_state)state, OF_COMING);
        assert_int_equal(send_one(CONTROL_PONG), 0);
        assert_int_equal(ipc_send(child, CONTROL_REFUSED, span_str(why), NULL, 0), 0);
        close(child);
        messages_of_starting(&s);
        assert_int_equal(s.refusal.is_made, state == CHILD_STARTING);
        if (s.refusal.is_made)
            assert_string_equal(s.refusal.text, why);
        assert_int_equal(kills, 0);
        child = -1;
        end();
    }
}

/* One that sends for ever holds nobody up; of one that breaks the rules nothing more is read. */
static void but_not_for_ever(void **unused) {
    (void)unused;
    begin(ROLE_SIGNER, CHILD_STARTING, OF_COMING);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(send_one(CONTROL_PONG), 0);
    assert_int_equal(send_one(CONTROL_REFUSED), 0);
    messages_of_starting(&s);
    assert_false(s.refusal.is_made);
    end();
    begin(ROLE_SIGNER, CHILD_STARTING, OF_COMING);
    assert_int_equal(send_one(CONTROL_COMMAND), 0);
    assert_int_equal(send_one(CONTROL_REFUSED), 0);
    messages_of_starting(&s);
    assert_int_equal(kills, 1);
    assert_false(s.refusal.is_made);
    end();
}

static void keys_only_from_signers_that_owe_them(void **unused) {
    static const uint16_t types[] = {CONTROL_KEYS_TAKEN, CONTROL_KEYS_REFUSED};
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        for (unsigned role = ROLE_OBSERVER; role < ROLE_COUNT; role++)
            for (uint32_t owed = 6; owed <= 8; owed++) {
                begin((enum role)role, CHILD_READY, OF_NOW);
                worker.owed.sets[owed % 2] = owed;
                assert_int_equal(send_one(types[i]), 0);
                messages_event(&s, 0, 0, EPOLLIN);
                assert_int_equal(kills, role != ROLE_SIGNER || owed != 7);
                end();
            }
}

static void an_answer_is_owed_once(void **unused) {
    (void)unused;
    begin(ROLE_SIGNER, CHILD_READY, OF_NOW);
    worker.owed.sets[0] = 7;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(send_one(CONTROL_KEYS_TAKEN), 0);
        messages_event(&s, 0, 0, EPOLLIN);
        assert_int_equal(kills, i);
    }
    end();
}

/* An abandoned set: its signer may have answered already, once. */
static void an_excused_answer_may_come(void **unused) {
    (void)unused;
    begin(ROLE_SIGNER, CHILD_READY, OF_NOW);
    worker.owed.sets[0] = 7;
    keys_excuse(&worker, 7);
    assert_false(keys_owe(&worker.owed));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(send_one(CONTROL_KEYS_REFUSED), 0);
        messages_event(&s, 0, 0, EPOLLIN);
        assert_int_equal(kills, i);
    }
    keys_excuse(&worker, 8); /* was never owed */
    assert_int_equal(worker.owed.excused, 0);
    end();
}

static void the_config_role_and_the_successor_have_their_own_answers(void **unused) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    (void)unused;
    for (uint16_t type = CONTROL_SETUP; type <= CONTROL_CPU + 1; type++)
        for (unsigned role = ROLE_SUPERVISOR; role <= ROLE_CONFIG; role++) {
            struct ipc_msg m = {.type = 0};
            int err = 0;
            begin((enum role)role, CHILD_READY, OF_NOW);
            assert_int_equal(send_one(type), 0);
            enum step step = control_hear(worker.control, (enum role)role, scratch, sizeof(scratch), &m, &err);
            bool right = type == CONTROL_REFUSED || (role == ROLE_SUPERVISOR && type == CONTROL_READY) ||
                         (role == ROLE_CONFIG && (type == CONTROL_CONFIGURED || type == CONTROL_CREDS_READ ||
                                                  type == CONTROL_ACCESS_READ || type == CONTROL_SECRETS_READ));
            if ((step == STEP_DONE) != right)
                fail_msg("type %u from %s: step %d", type, role_name((enum role)role), (int)step);
            assert_true(right || (err == ERR_FORMAT && m.nfds == 0));
            ipc_msg_close(&m);
            end();
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_from_every_role_in_every_state),
        cmocka_unit_test(drained_in_a_stop),
        cmocka_unit_test(drained_when_asked_to_stop),
        cmocka_unit_test(what_one_that_starts_has_said_is_received_before_its_end),
        cmocka_unit_test(but_not_for_ever),
        cmocka_unit_test(keys_only_from_signers_that_owe_them),
        cmocka_unit_test(an_answer_is_owed_once),
        cmocka_unit_test(an_excused_answer_may_come),
        cmocka_unit_test(the_config_role_and_the_successor_have_their_own_answers),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
