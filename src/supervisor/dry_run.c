#include "supervisor/dry_run.h"

#include <poll.h>

#include "base/err.h"
#include "base/text.h"
#include "supervisor/state.h"
#include "supervisor/super.h"

static int refuse_dry_run(int control, const char *why, int err) {
    char line[256];
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "tls-off " TLS_OFF_VERSION ": %s: %s", why, err_text(err));
    (void)!control_send_text(control, CONTROL_REFUSED, span_of(line, t.len), NULL, 0); /* no answer is a refusal as well */
    return 1;
}

int supervisor_dry_run(int control_fd) {
    static struct super s;
    struct ipc_msg m;
    int err = 0;
    enum step step;
    do {
        struct pollfd p = {.fd = control_fd, .events = POLLIN};
        (void)poll(&p, 1, -1); /* the next call reports any error */
        step = ipc_recv(control_fd, s.scratch, sizeof(s.scratch), control_to_child, &m, &err);
    } while (step == STEP_WANT_READ);
    if (step != STEP_DONE || m.type != CONTROL_STATE)
        return 1;
    err = state_read(&s, m.fds[0]);
    if (err < 0)
        return refuse_dry_run(control_fd, "the state of the running supervisor cannot be read", err);
    return control_send(control_fd, CONTROL_READY) == 0 ? 0 : 1;
}
