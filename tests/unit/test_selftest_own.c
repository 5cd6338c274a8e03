/* The self-test of our own handshake: passes here, and fails when any part of the handshake does not do what it should. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/hs13_keys.h"
#include "tls/hs13_ticket.h"
#include "tls/record.h"

static enum fault { NO_FAULT, FAULT_MAC, FAULT_SEAL, FAULT_SECRET, FAULT_SHARE, FAULT_TICKET, FAULT_MEMORY, FAULTS } fault;

void __real_hs13_keys_mac(unsigned hash, const uint8_t *base, const uint8_t *digest, uint8_t *ret);
void __wrap_hs13_keys_mac(unsigned hash, const uint8_t *base, const uint8_t *digest, uint8_t *ret);
void __wrap_hs13_keys_mac(unsigned hash, const uint8_t *base, const uint8_t *digest, uint8_t *ret) {
    __real_hs13_keys_mac(hash, base, digest, ret);
    ret[0] ^= fault == FAULT_MAC;
}

int __real_record_seal(struct record_run *run, enum content_type type, uint8_t *rec, size_t len, size_t *ret_len);
int __wrap_record_seal(struct record_run *run, enum content_type type, uint8_t *rec, size_t len, size_t *ret_len);
int __wrap_record_seal(struct record_run *run, enum content_type type, uint8_t *rec, size_t len, size_t *ret_len) {
    int err = __real_record_seal(run, type, rec, len, ret_len);
    rec[*ret_len - 1] ^= fault == FAULT_SEAL;
    return err;
}

int __real_hs13_exchange(uint16_t group, struct span peer, struct hs13_share *ret);
int __wrap_hs13_exchange(uint16_t group, struct span peer, struct hs13_share *ret);
int __wrap_hs13_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    int err = __real_hs13_exchange(group, peer, ret);
    ret->secret[0] ^= fault == FAULT_SECRET;
    ret->public[0] ^= fault == FAULT_SHARE;
    return err;
}

int __real_hs13_ticket_open(struct tickets *t, struct span ticket, uint8_t *room, struct hs13_ticket *ret);
int __wrap_hs13_ticket_open(struct tickets *t, struct span ticket, uint8_t *room, struct hs13_ticket *ret);
int __wrap_hs13_ticket_open(struct tickets *t, struct span ticket, uint8_t *room, struct hs13_ticket *ret) {
    int err = __real_hs13_ticket_open(t, ticket, room, ret);
    return fault == FAULT_TICKET ? ERR_NOT_FOUND : err;
}

void *__real_secret_alloc(size_t n, bool *ret_locked);
void *__wrap_secret_alloc(size_t n, bool *ret_locked);
void *__wrap_secret_alloc(size_t n, bool *ret_locked) {
    return fault == FAULT_MEMORY ? NULL : __real_secret_alloc(n, ret_locked);
}

/* A process whose test failed stays with libssl; here it is tried again. */
static void every_fault_is_found(void **state) {
    (void)state;
    for (fault = NO_FAULT + 1; fault < FAULTS; fault++)
        if (handshake_own_begin(4))
            fail_msg("fault %d was not found", (int)fault);
    fault = NO_FAULT;
    assert_true(handshake_own_begin(4));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_is_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
