#include "supervisor/sets.h"

#include <unistd.h>

int creds_set_take(struct creds_set *c, uint32_t number, int fd) {
    int err = creds_map(fd, &c->store);
    if (err < 0) {
        close(fd);
        return err;
    }
    c->fd = fd;
    c->number = number;
    c->nth = 1;
    return 0;
}

void creds_set_free(struct creds_set *c) {
    if (c->number == 0)
        return;
    creds_unmap(&c->store);
    close(c->fd);
    *c = (struct creds_set){.fd = -1};
}

int access_set_take(struct access_set *a, int fd) {
    int err = access_map(fd, &a->table);
    if (err < 0) {
        close(fd);
        a->fd = -1;
        return err;
    }
    a->fd = fd;
    return 0;
}

void access_set_free(struct access_set *a) {
    if (a->fd < 0)
        return;
    access_unmap(&a->table);
    close(a->fd);
    a->fd = -1;
}
