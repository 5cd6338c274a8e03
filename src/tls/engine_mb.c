/*
 * The engine on intel-ipsec-mb: x86-64 code with VAES and AVX-512 where the CPU has them, and hardly any cost before the first
 * byte. AES-GCM by the direct calls, ChaCha20-Poly1305 by the job interface, which is the faster one for whole records.
 *
 * The library decrypts and computes a tag; comparing it, in constant time, is ours. Its manager (200 KB) exists once a process.
 * LINUX must be defined for every file that includes the library's header, or the expanded key has another size and alignment.
 */
#include "tls/engine.h"

#include <intel-ipsec-mb.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"

_Static_assert(_Alignof(struct gcm_key_data) == 64, "LINUX is not defined");

struct mb_ctx {
    struct gcm_key_data expanded; /* AES-GCM */
    struct gcm_context_data scratch;
    uint8_t key[AEAD_KEY_MAX]; /* ChaCha20-Poly1305 */
    enum aead_id aead;
    bool seal;
};

static IMB_MGR *manager;

static void *mb_ctx_new(enum aead_id aead, bool seal) {
    struct mb_ctx *ctx = secret_alloc(sizeof *ctx, NULL); /* whole pages: aligned, and wiped when it goes */
    if (!ctx)
        return NULL;
    ctx->aead = aead;
    ctx->seal = seal;
    return ctx;
}

static void mb_ctx_free(void *ctx) {
    secret_free(ctx, sizeof(struct mb_ctx));
}

static int mb_set_key(void *opaque, const uint8_t *key) {
    struct mb_ctx *ctx = opaque;
    if (ctx->aead == AEAD_AES_128_GCM)
        IMB_AES128_GCM_PRE(manager, key, &ctx->expanded);
    else if (ctx->aead == AEAD_AES_256_GCM)
        IMB_AES256_GCM_PRE(manager, key, &ctx->expanded);
    else
        memcpy(ctx->key, key, sizeof ctx->key);
    return 0;
}

/* One record by the job interface; it is done when the call returns, as no other job is ever under way. */
static int run_chacha(struct mb_ctx *ctx, const uint8_t *nonce, struct span aad, uint8_t *data, size_t len, uint8_t *tag) {
    IMB_JOB *job = IMB_GET_NEXT_JOB(manager);
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->cipher_direction = ctx->seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = ctx->seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->enc_keys = job->dec_keys = ctx->key;
    job->key_len_in_bytes = sizeof ctx->key;
    job->src = job->dst = data;
    job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = len;
    job->iv = nonce;
    job->iv_len_in_bytes = AEAD_NONCE_LEN;
    job->auth_tag_output = tag;
    job->auth_tag_output_len_in_bytes = AEAD_TAG_LEN;
    job->u.CHACHA20_POLY1305.aad = aad.p;
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = aad.len;
    job = IMB_SUBMIT_JOB(manager);
    return job && job->status == IMB_STATUS_COMPLETED ? 0 : ERR_CRYPTO;
}

static int mb_seal(void *opaque, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                   uint8_t tag[static AEAD_TAG_LEN]) {
    struct mb_ctx *ctx = opaque;
    if (ctx->aead == AEAD_CHACHA20_POLY1305)
        return run_chacha(ctx, nonce, aad, data, len, tag);
    if (ctx->aead == AEAD_AES_128_GCM)
        IMB_AES128_GCM_ENC(manager, &ctx->expanded, &ctx->scratch, data, data, len, nonce, aad.p, aad.len, tag, AEAD_TAG_LEN);
    else
        IMB_AES256_GCM_ENC(manager, &ctx->expanded, &ctx->scratch, data, data, len, nonce, aad.p, aad.len, tag, AEAD_TAG_LEN);
    return 0;
}

static int mb_open(void *opaque, const uint8_t nonce[static AEAD_NONCE_LEN], struct span aad, uint8_t *data, size_t len,
                   const uint8_t tag[static AEAD_TAG_LEN]) {
    struct mb_ctx *ctx = opaque;
    uint8_t computed[AEAD_TAG_LEN] = {0};
    int rc = 0;
    if (ctx->aead == AEAD_CHACHA20_POLY1305)
        rc = run_chacha(ctx, nonce, aad, data, len, computed);
    else if (ctx->aead == AEAD_AES_128_GCM)
        IMB_AES128_GCM_DEC(manager, &ctx->expanded, &ctx->scratch, data, data, len, nonce, aad.p, aad.len, computed,
                           AEAD_TAG_LEN);
    else
        IMB_AES256_GCM_DEC(manager, &ctx->expanded, &ctx->scratch, data, data, len, nonce, aad.p, aad.len, computed,
                           AEAD_TAG_LEN);
    if (rc == 0 && !secret_eq(computed, tag, AEAD_TAG_LEN))
        rc = ERR_BAD_MAC;
    if (rc)
        secret_wipe(data, len); /* decrypted before it was checked */
    return rc;
}

static bool probe_manager(void) {
    IMB_ARCH arch = IMB_ARCH_NONE;
    manager = alloc_mb_mgr(0);
    if (!manager)
        return false;
    init_mb_mgr_auto(manager, &arch);
    /* Without AES instructions the library emulates them: correct, but not what this engine is for. */
    if (arch >= IMB_ARCH_SSE && engine_known_answers(&engine_mb) && engine_agrees(&engine_mb, &engine_libcrypto))
        return true;
    free_mb_mgr(manager);
    manager = NULL;
    return false;
}

static bool mb_usable(void) {
    static bool judged, good;
    if (!judged)
        good = probe_manager();
    judged = true;
    return good;
}

const struct engine engine_mb = {
    .name = "mb",
    .usable = mb_usable,
    .ctx_new = mb_ctx_new,
    .ctx_free = mb_ctx_free,
    .set_key = mb_set_key,
    .seal = mb_seal,
    .open = mb_open,
};
