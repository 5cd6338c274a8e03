/* The commands of operators in the process table: their order, and which make room, whatever the clock says. */
#include "supervisor/commands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "supervisor/super.h"

static struct super s;
static uint64_t wall_us;

uint64_t __wrap_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void) {
    return wall_us;
}

static int begin(void **state) {
    (void)state;
    memset(&s, 0, sizeof(s));
    s.lifecycle.serving = true;
    wall_us = 1000000000;
    return 0;
}

static void open_reload(uint64_t id) {
    assert_true(command_open(&s, &(struct control_command){.kind = COMMAND_RELOAD, .id = id}));
}

static void end_reload(uint64_t id) {
    open_reload(id);
    command_run_reloads(&s);
    command_end(&s, COMMAND_RELOAD, PROCTAB_DONE, "well");
}

static void they_stay_in_order_when_the_clock_is_set_back(void **state) {
    (void)state;
    for (uint64_t id = 1; id <= 3 * PROCTAB_COMMANDS; id++) {
        wall_us -= 1000000;
        end_reload(id);
        size_t n = id < PROCTAB_COMMANDS ? id : PROCTAB_COMMANDS;
        for (size_t i = 0; i < n; i++)
            assert_int_equal(s.proctab.commands[i].id, id - n + 1 + i);
    }
}

static void one_that_waits_makes_no_room(void **state) {
    (void)state;
    open_reload(1);
    s.proctab.commands[0].result = PROCTAB_QUEUED;
    for (uint64_t id = 2; id <= 2 * PROCTAB_COMMANDS; id++) {
        open_reload(id);
        s.proctab.commands[id < PROCTAB_COMMANDS ? id - 1 : PROCTAB_COMMANDS - 1].result = PROCTAB_DONE;
        assert_int_equal(s.proctab.commands[0].id, 1);
    }
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        s.proctab.commands[i].result = PROCTAB_RUNNING;
    assert_false(command_open(&s, &(struct control_command){.kind = COMMAND_RELOAD, .id = 99}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(they_stay_in_order_when_the_clock_is_set_back, begin),
        cmocka_unit_test_setup(one_that_waits_makes_no_room, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
