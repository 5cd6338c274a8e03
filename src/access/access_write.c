/* The writer: records grow in plain arrays, the ranges of each list wait as drafts; only access_seal() knows where they will
 * lie. */
#include "access/access_write.h"

#include <stdlib.h>
#include <string.h>

#include "access/access_layout.h"
#include "base/err.h"
#include "base/grow.h"
#include "base/hash.h"
#include "base/sealed.h"

/* The ranges of one list and family: either drafted now or bytes of another table. */
struct ranges_source {
    struct ranges_draft *draft;
    struct span kept;
};

struct list_sources {
    struct ranges_source of[RANGES_FAMILIES];
};

struct access_writer {
    struct grow services, uses, lists, texts;
    struct grow sources; /* struct list_sources, one a list */
    uint64_t data_len;
};

struct access_writer *access_writer_new(void) {
    struct access_writer *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    grow_init(&w->services, sizeof(struct access_service_rec), ACCESS_MAX);
    grow_init(&w->uses, sizeof(struct access_use_rec), ACCESS_MAX);
    grow_init(&w->lists, sizeof(struct access_list_rec), ACCESS_MAX);
    grow_init(&w->texts, 1, ACCESS_MAX);
    grow_init(&w->sources, sizeof(struct list_sources), ACCESS_MAX);
    return w;
}

void access_writer_free(struct access_writer *w) {
    if (!w)
        return;
    for (size_t i = 0; i < w->sources.n; i++)
        for (unsigned f = 0; f < RANGES_FAMILIES; f++)
            ranges_draft_free(((struct list_sources *)grow_at(&w->sources, i))->of[f].draft);
    grow_fini(&w->services);
    grow_fini(&w->uses);
    grow_fini(&w->lists);
    grow_fini(&w->texts);
    grow_fini(&w->sources);
    free(w);
}

int access_add_service(struct access_writer *w) {
    struct access_service_rec *s = grow_add(&w->services, 1);
    if (!s)
        return ERR_NOMEM;
    s->first_use = (uint32_t)w->uses.n;
    return 0;
}

int access_use_list(struct access_writer *w, uint32_t list, bool is_deny) {
    MUST(w->services.n > 0 && list < w->lists.n);
    struct access_service_rec *s = grow_at(&w->services, w->services.n - 1);
    if (s->nuses == ACCESS_LISTS_MAX)
        return ERR_LIMIT;
    struct access_use_rec *u = grow_add(&w->uses, 1);
    if (!u)
        return ERR_NOMEM;
    *u = (struct access_use_rec){list, is_deny};
    s->nuses++;
    return 0;
}

uint32_t access_find_list(const struct access_writer *w, const char *file) {
    for (size_t i = 0; i < w->lists.n; i++) {
        const struct access_list_rec *l = grow_at(&w->lists, i);
        if (strcmp((const char *)w->texts.p + l->file_off, file) == 0)
            return (uint32_t)i;
    }
    return ACCESS_NONE;
}

/* ---- lists ---- */

static int begin_list(struct access_writer *w, const struct access_list *l, struct access_list_rec **ret,
                      struct list_sources **ret_from) {
    size_t len = strlen(l->file);
    char *text = grow_add(&w->texts, len + 1);
    struct access_list_rec *rec = text ? grow_add(&w->lists, 1) : NULL;
    struct list_sources *from = rec ? grow_add(&w->sources, 1) : NULL;
    if (!from) {
        w->lists.n -= rec != NULL;
        return ERR_NOMEM;
    }
    memcpy(text, l->file, len + 1);
    rec->file_off = w->texts.n - len - 1;
    rec->file_len = len;
    rec->networks = l->networks;
    rec->bad = l->bad;
    rec->failing_s = l->failing_s;
    rec->stamp = l->stamp;
    *ret = rec;
    *ret_from = from;
    return 0;
}

static int place_data(struct access_writer *w, struct access_list_rec *l) {
    for (unsigned f = 0; f < RANGES_FAMILIES; f++) {
        l->data_off[f] = w->data_len;
        w->data_len += l->ranges[f] ? ranges_len((enum ranges_family)f, l->ranges[f]) : 0;
    }
    return w->data_len <= ACCESS_MAX ? 0 : ERR_LIMIT;
}

/* IPv4 first. The number of IPv4 networks. */
static size_t split_families(struct netlist *l) {
    size_t n4 = 0;
    for (size_t i = 0; i < l->nets.n; i++) {
        struct cidr *c = grow_at(&l->nets, i), *to = grow_at(&l->nets, n4), one = *c;
        if (one.net.family != AF_INET)
            continue;
        *c = *to;
        *to = one;
        n4++;
    }
    return n4;
}

int access_add_list(struct access_writer *w, const struct access_list *l, struct netlist *nets, uint32_t *ret) {
    struct access_list_rec *rec;
    struct list_sources *from;
    int err = begin_list(w, l, &rec, &from);
    size_t n4 = split_families(nets);
    for (unsigned f = 0; f < RANGES_FAMILIES && err == 0; f++) {
        struct cidr *first = nets->nets.n ? grow_at(&nets->nets, f == RANGES_IPV4 ? 0 : n4) : NULL;
        err = ranges_draft(first, f == RANGES_IPV4 ? n4 : nets->nets.n - n4, &from->of[f].draft);
        if (err == 0)
            rec->ranges[f] = ranges_draft_count(from->of[f].draft);
    }
    if (err == 0)
        err = place_data(w, rec);
    if (err == 0)
        *ret = (uint32_t)w->lists.n - 1;
    return err;
}

int access_keep_list(struct access_writer *w, const struct access_list *l, const struct access *old, uint32_t list,
                     uint32_t *ret) {
    struct access_list_rec *rec;
    struct list_sources *from;
    int err = begin_list(w, l, &rec, &from);
    for (unsigned f = 0; f < RANGES_FAMILIES && err == 0; f++)
        from->of[f].kept = access_ranges(old, list, (enum ranges_family)f, &rec->ranges[f]);
    if (err == 0)
        err = place_data(w, rec);
    if (err == 0)
        *ret = (uint32_t)w->lists.n - 1;
    return err;
}

/* ---- sealing ---- */

static struct access_part lay_out(const struct grow *g, uint64_t *end) {
    uint64_t begin = (*end + 7) & ~(uint64_t)7;
    *end = begin + (uint64_t)g->n * g->size;
    return (struct access_part){begin, g->n};
}

static void write_data(const struct access_writer *w, struct access_list_rec *lists, uint8_t *data) {
    static const struct hash_key content_key = {1, 2}; /* compared with our own tables only */
    for (size_t i = 0; i < w->sources.n; i++) {
        const struct list_sources *from = grow_at(&w->sources, i);
        for (unsigned f = 0; f < RANGES_FAMILIES; f++) {
            if (lists[i].ranges[f] == 0)
                continue;
            uint8_t *to = data + lists[i].data_off[f];
            const struct ranges_source *s = &from->of[f];
            if (s->draft)
                ranges_write(s->draft, (enum ranges_family)f, to);
            else
                memcpy(to, s->kept.p, s->kept.len);
            uint64_t len = ranges_len((enum ranges_family)f, lists[i].ranges[f]);
            lists[i].content = lists[i].content * 31 + hash_bytes(&content_key, span_of(to, len));
        }
    }
}

int access_seal(struct access_writer *w, int *ret_fd) {
    struct access_head head = {.magic = ACCESS_MAGIC, .format = ACCESS_FORMAT};
    uint64_t end = sizeof(head);
    uint8_t *p;
    int fd;
    head.services = lay_out(&w->services, &end);
    head.uses = lay_out(&w->uses, &end);
    head.lists = lay_out(&w->lists, &end);
    head.texts = lay_out(&w->texts, &end);
    end = (end + ACCESS_ALIGN - 1) & ~(uint64_t)(ACCESS_ALIGN - 1);
    head.data = (struct access_part){end, w->data_len};
    head.len = end + w->data_len;
    if (head.len > ACCESS_MAX)
        return ERR_LIMIT;
    int err = sealed_begin("tls-off-access", head.len, &fd, &p);
    if (err)
        return err;
    const struct {
        struct access_part part;
        const struct grow *g;
    } parts[] = {{head.services, &w->services}, {head.uses, &w->uses}, {head.lists, &w->lists}, {head.texts, &w->texts}};
    memcpy(p, &head, sizeof(head));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].g->n)
            memcpy(p + parts[i].part.off, parts[i].g->p, parts[i].g->n * parts[i].g->size);
    write_data(w, (void *)(p + head.lists.off), p + head.data.off);
    err = sealed_end(fd, p, head.len);
    if (err == 0)
        *ret_fd = fd;
    return err;
}
