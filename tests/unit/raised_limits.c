/*
 * In every unit test, before main(): as many descriptors as the host allows, as in the supervisor. Those on their way count for
 * all processes of a user who is not root (unix(7), ETOOMANYREFS), and tests run beside each other.
 */
#include <stdlib.h>
#include <sys/resource.h>

__attribute__((constructor)) static void raise_limits(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        abort();
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        abort();
}
