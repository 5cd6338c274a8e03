/*
 * The supervisor has the rights to open key files and reads nothing of them; signers read them and may open none. A few
 * thousand do not fit into a socket at once, so they go as there is room.
 */
#include "supervisor/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/owner.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control_creds.h"

#define KEYS_A_TURN 64

static const struct creds_set *set_of(const struct super *s, const struct worker *w) {
    if (w->keys.set == w->gen->creds.number)
        return &w->gen->creds;
    return w->gen == s->now && w->keys.set == s->creds.next.number ? &s->creds.next : NULL;
}

static int open_key_file(struct file *f, struct text *why) {
    int err = file_open(f, why);
    if (err < 0 || owner_is_trusted(f->st.st_uid))
        return err;
    text_addf(why, "%s: the file is owned by user %u, expected %s", f->path, (unsigned)f->st.st_uid, owner_expected());
    file_close(f);
    return ERR_FORMAT;
}

/* ERR_NOT_FOUND: a file cannot be opened; the reason is in WHY. */
static int give_file(struct worker *w, uint16_t type, const char *file, struct text *why) {
    const struct control_key k = {w->keys.set, w->keys.next};
    struct file f = {.path = file, .expected = "a PEM file", .max = SIZE_MAX};
    if (open_key_file(&f, why) < 0)
        return ERR_NOT_FOUND;
    int err = control_send_key(w->control, type, &k, f.fd);
    file_close(&f);
    return err;
}

static int give_key(struct worker *w, const struct creds_set *set, struct text *why) {
    struct creds_key k = creds_key(&set->store, w->keys.next);
    int err = k.pass_file ? give_file(w, CONTROL_KEY_PASS, k.pass_file, why) : 0;
    return err < 0 ? err : give_file(w, CONTROL_KEY, k.file, why);
}

static void owe(struct keys_owed *o, uint32_t set) {
    o->sets[o->sets[0] ? 1 : 0] = set;
}

bool keys_answered(struct worker *w, uint32_t set) {
    uint32_t *places[] = {&w->owed.sets[0], &w->owed.sets[1], &w->owed.excused};
    for (size_t i = 0; i < ARRAY_LEN(places) && set; i++)
        if (*places[i] == set) {
            *places[i] = 0;
            return true;
        }
    return false;
}

void keys_excuse(struct worker *w, uint32_t set) {
    if (keys_answered(w, set))
        w->owed.excused = set;
}

static int begin_pump(struct worker *w, const struct creds_set *set) {
    const struct control_creds c = {set->number, creds_keys(&set->store)};
    int err = control_send_creds(w->control, &c, set->fd);
    if (err == 0)
        w->keys = (struct keys_pump){.set = c.nkeys ? c.set : 0};
    if (err == 0)
        owe(&w->owed, set->number);
    return err;
}

/* There is a next set, for W too. */
static bool takes_next(const struct super *s, const struct worker *w) {
    return w->gen == s->now && s->creds.stage == CREDS_TAKING;
}

/* Done with one set: a signer that was started just before a reload, or during it, gets the other one too. */
static void end_pump(struct super *s, struct worker *w) {
    const struct creds_set *next = &s->creds.next;
    bool more = takes_next(s, w) && w->keys.set != next->number;
    w->keys = (struct keys_pump){0};
    if (more && begin_pump(w, next) < 0)
        worker_kill(w); /* restarted like any other */
}

uint32_t keys_pump(struct super *s, struct worker *w, struct text *why) {
    uint32_t failed = 0;
    int err = 0;
    for (unsigned i = 0; i < KEYS_A_TURN && keys_wait(&w->keys) && err == 0; i++) {
        const struct creds_set *set = set_of(s, w);
        if (!set) { /* dropped meanwhile */
            w->keys = (struct keys_pump){0};
            break;
        }
        err = give_key(w, set, why);
        if (err == 0 && ++w->keys.next == creds_keys(&set->store))
            end_pump(s, w);
    }
    if (err < 0 && err != ERR_AGAIN) {
        failed = w->keys.set;
        w->keys = (struct keys_pump){0};
        if (!why->len)
            text_add(why, err_text(err));
    }
    if (w->control >= 0 && worker_watch(s, w) < 0)
        worker_kill(w);
    return failed;
}

int keys_give(struct super *s, struct worker *w) {
    bool lost = takes_next(s, w) && w->lost_set == w->gen->creds.number;
    const struct creds_set *set = lost ? &s->creds.next : &w->gen->creds;
    w->first_set = set->number;
    int err = begin_pump(w, set);
    if (err == 0 && !lost && !keys_wait(&w->keys))
        end_pump(s, w);
    return err;
}

void keys_lost(struct super *s, struct worker *w) {
    if (w->first_set != w->gen->creds.number)
        return;
    w->lost_set = w->first_set;
    if (takes_next(s, w))
        w->backoff_ms = WORKER_BACKOFF_MIN_MS; /* it is not the files of the next one that are bad */
}

int keys_give_set(struct super *s, struct worker *w, const struct creds_set *set) {
    if (keys_wait(&w->keys) && w->keys.set == w->gen->creds.number) /* still being sent: this one follows on its own */
        return 0;
    int err = begin_pump(w, set);
    return err < 0 ? err : worker_watch(s, w);
}
