#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc32c.h"

/* RFC 3720 B.4; the vectors there are in the order of the bytes on the wire. */
static void rfc_3720_vectors(void **state) {
    uint8_t b[32] = {0};
    assert_int_equal(crc32c(b, 32), 0x8a9136aa);
    for (int i = 0; i < 32; i++)
        b[i] = 0xff;
    assert_int_equal(crc32c(b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        b[i] = (uint8_t)i;
    assert_int_equal(crc32c(b, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        b[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(b, 32), 0x113fdb5c);
}

/* The check value of CRC-32C in the catalogue of CRCs. */
static void check_value(void **state) {
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
}

static void of_nothing_is_zero(void **state) {
    assert_int_equal(crc32c(NULL, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_3720_vectors),
        cmocka_unit_test(check_value),
        cmocka_unit_test(of_nothing_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
