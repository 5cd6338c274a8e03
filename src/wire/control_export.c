#include "wire/control_export.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/control.h"

#define EXPORT_LEN   5
#define EXPORTED_LEN 9

int control_send_export(int fd, const struct control_export *e, int link) {
    uint8_t body[EXPORT_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, e->max);
    wr_u8(&w, (uint8_t)e->first);
    return wr_end(&w) ? ipc_send(fd, CONTROL_EXPORT, wr_written(&w), &link, 1) : ERR_LIMIT;
}

int control_read_export(const struct ipc_msg *m, struct control_export *ret) {
    struct rd r = rd_of(m->body);
    uint32_t max = rd_u32(&r);
    uint8_t first = rd_u8(&r);
    if (m->type != CONTROL_EXPORT || !rd_end(&r) || first >= EXPORT_FIRSTS)
        return ERR_FORMAT;
    *ret = (struct control_export){max, (enum export_first)first};
    return 0;
}

int control_send_import(int fd, int link) {
    return ipc_send(fd, CONTROL_IMPORT, span_of(NULL, 0), &link, 1);
}

int control_send_exported(int fd, const struct control_exported *e) {
    uint8_t body[EXPORTED_LEN];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, e->migrated);
    wr_u32(&w, e->kept);
    wr_u8(&w, e->broken);
    return wr_end(&w) ? ipc_send(fd, CONTROL_EXPORTED, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int control_read_exported(const struct ipc_msg *m, struct control_exported *ret) {
    struct rd r = rd_of(m->body);
    struct control_exported e = {.migrated = rd_u32(&r)};
    e.kept = rd_u32(&r);
    uint8_t broken = rd_u8(&r);
    e.broken = broken == 1;
    if (m->type != CONTROL_EXPORTED || !rd_end(&r) || broken > 1)
        return ERR_FORMAT;
    *ret = e;
    return 0;
}
