/*
 * Instructions that a relay spends on the bytes of one session of TLS 1.3, over its own code in one process: to be run under
 * callgrind, which counts alike however busy the machine is.
 *
 *   valgrind --tool=callgrind --toggle-collect=loop_run build/bench/flow_bench echo|up|down BYTES TIMES
 *
 * echo: so many bytes up, then the same number down; each TIMES times.
 */
#include "../tests/unit/relay_bench.h"

static void say_all(size_t bytes) {
    for (size_t left = bytes; left; left -= MIN(left, (size_t)RECORD_PLAIN_MAX))
        client_say(MIN(left, (size_t)RECORD_PLAIN_MAX));
}

static void move_up(size_t bytes) {
    say_all(bytes);
    while (bench.up_got < bench.up_sent) {
        client_write(SIZE_MAX);
        bench_turn();
        backend_read(SIZE_MAX);
    }
}

static void move_down(size_t bytes) {
    for (uint64_t end = bench.down_got + bytes; bench.down_got < end;) {
        backend_write((size_t)(end - bench.down_sent));
        bench_turn();
        client_read(SIZE_MAX);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: flow_bench echo|up|down BYTES TIMES\n");
        return 2;
    }
    bool up = argv[1][0] != 'd', down = argv[1][0] != 'u';
    size_t bytes = strtoul(argv[2], NULL, 10);
    bench_begin(64 * 1024 * 1024);
    bench_open(&(struct bench_way){.suite = suite_by_id(0x1301), .out_max = RECORD_PLAIN_MAX});
    for (unsigned long n = strtoul(argv[3], NULL, 10); n--;) {
        if (up)
            move_up(bytes);
        if (down)
            move_down(bytes);
    }
    return 0;
}
