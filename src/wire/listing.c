#include "wire/listing.h"

#include "base/err.h"

#define ASK_MIN  (4 + 4 + 2 + 1 + 16 + 2 + 1)
#define ASK_MAX  (ASK_MIN + CONN_INFO_NAME_MAX + 255)
#define PAGE_MIN (4 + 4 + 2)

const struct ipc_rule listing_to_relay[] = {
    {LISTING_ASK, 0, ASK_MIN, ASK_MAX},
    {0, 0, 0, 0},
};
const struct ipc_rule listing_to_observer[] = {
    {LISTING_PAGE, 0, PAGE_MIN, LISTING_BODY_MAX},
    {0, 0, 0, 0},
};

int listing_ask_send(int fd, const struct listing_ask *a) {
    uint8_t body[ASK_MAX];
    struct wr w = wr_of(body, sizeof(body));
    wr_u32(&w, a->id);
    wr_u32(&w, a->from);
    wr_u16(&w, a->max);
    wr_u8(&w, a->by_client);
    wr_bytes(&w, a->client, sizeof(a->client));
    wr_vec16(&w, a->name);
    wr_vec8(&w, a->service);
    return wr_end(&w) ? ipc_send(fd, LISTING_ASK, wr_written(&w), NULL, 0) : ERR_LIMIT;
}

int listing_ask_read(const struct ipc_msg *m, struct listing_ask *ret) {
    struct rd r = rd_of(m->body);
    struct listing_ask a = {.id = rd_u32(&r)};
    a.from = rd_u32(&r);
    a.max = rd_u16(&r);
    uint8_t by_client = rd_u8(&r);
    a.by_client = by_client != 0;
    rd_copy(&r, a.client, sizeof(a.client));
    a.name = rd_vec16(&r);
    a.service = rd_vec8(&r);
    if (m->type != LISTING_ASK || !rd_end(&r) || by_client > 1)
        return ERR_FORMAT;
    *ret = a;
    return 0;
}

/* What comes next and how many rows are written when they are known. */
void listing_page_begin(struct listing_page *p, uint32_t id) {
    p->w = wr_of(p->body, sizeof(p->body));
    p->rows = 0;
    wr_u32(&p->w, id);
    wr_u32(&p->w, LISTING_END);
    wr_u16(&p->w, 0);
}

bool listing_page_add(struct listing_page *p, const struct listing_row *row) {
    struct wr before = p->w, *w = &p->w;
    wr_u8(w, row->state);
    wr_vec8(w, row->service);
    wr_vec16(w, row->backend);
    wr_u64(w, row->bytes_in);
    wr_u64(w, row->bytes_out);
    wr_u32(w, row->waiting_in);
    wr_u32(w, row->waiting_out);
    wr_u64(w, row->idle_ms);
    wr_u32(w, row->connect_us);
    wr_u16(w, row->retries);
    wr_vec16(w, row->conn_info);
    if (!wr_end(w)) {
        p->w = before;
        return false;
    }
    p->rows++;
    return true;
}

int listing_page_send(int fd, struct listing_page *p, uint32_t next) {
    struct wr head = wr_of(p->body + 4, PAGE_MIN - 4);
    wr_u32(&head, next);
    wr_u16(&head, p->rows);
    return wr_end(&head) ? ipc_send(fd, LISTING_PAGE, wr_written(&p->w), NULL, 0) : ERR_LIMIT;
}

int listing_read(const struct ipc_msg *m, struct listing_reader *ret) {
    struct listing_reader l = {.r = rd_of(m->body)};
    l.id = rd_u32(&l.r);
    l.next = rd_u32(&l.r);
    l.rows = rd_u16(&l.r);
    if (m->type != LISTING_PAGE || l.r.bad || l.rows > LISTING_ROWS_MAX || (l.rows == 0 && rd_left(&l.r) > 0))
        return ERR_FORMAT;
    *ret = l;
    return 0;
}

int listing_read_row(struct listing_reader *l, struct listing_row *ret, struct conn_info *ret_conn_info) {
    struct listing_row row = {.state = rd_u8(&l->r)};
    row.service = rd_vec8(&l->r);
    row.backend = rd_vec16(&l->r);
    row.bytes_in = rd_u64(&l->r);
    row.bytes_out = rd_u64(&l->r);
    row.waiting_in = rd_u32(&l->r);
    row.waiting_out = rd_u32(&l->r);
    row.idle_ms = rd_u64(&l->r);
    row.connect_us = rd_u32(&l->r);
    row.retries = rd_u16(&l->r);
    row.conn_info = rd_vec16(&l->r);
    struct rd conn_info = rd_of(row.conn_info);
    if (l->rows == 0 || l->r.bad || row.state >= LISTING_STATES)
        return ERR_FORMAT;
    conn_info_unpack(&conn_info, ret_conn_info);
    if (conn_info.bad || (--l->rows == 0 && !rd_end(&l->r)))
        return ERR_FORMAT;
    *ret = row;
    return 0;
}
