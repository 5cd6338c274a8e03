#include "certs_bench.h"

/* Reads of files: what the n-th one does. */
static struct {
    int fail_at; /* counts down; at 1 it fails once with this errno */
    int fail_errno;
    size_t most; /* bytes a read gives at the most, 0 = as asked */
} reads;

ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);

ssize_t __wrap_read(int fd, void *to, size_t n) {
    if (reads.fail_at && --reads.fail_at == 0) {
        errno = reads.fail_errno;
        return -1;
    }
    return __real_read(fd, to, reads.most ? MIN(n, reads.most) : n);
}

/* ---- files that are wrong ---- */

static void bad_files_are_reported(void **state) {
    struct shop *c = *state;
    static const char *const files[] = {"cert.pem", "key.pem"};
    for (int i = 0; i < 2; i++) {
        write_good_pair();
        unlink(in_dir(files[i]));
        assert_refused(c, add_pair(c), ERR_SYSTEM, "cannot be opened: No such file or directory");
        mkdir(in_dir(files[i]), 0700);
        assert_refused(c, add_pair(c), ERR_FORMAT, "found a directory");
        rmdir(in_dir(files[i]));
        assert_int_equal(mkfifo(in_dir(files[i]), 0600), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "found a FIFO");
        unlink(in_dir(files[i]));
        make_file(in_dir(files[i]), "", 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "empty");
        make_file(in_dir(files[i]), "hello\0there", 11);
        assert_refused(c, add_pair(c), ERR_FORMAT, i ? "found no private key" : "found no certificate");
        assert_int_equal(truncate(in_dir(files[i]), 1024 * 1024 + 1), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, "longer than 1 MiB");
        assert_int_equal(truncate(in_dir(files[i]), 1024 * 1024), 0);
        assert_refused(c, add_pair(c), ERR_FORMAT, i ? "found no private key" : "found no certificate");
    }
    write_good_pair();
    assert_int_equal(add_pair(c), 0);
}

static void reads_fail_and_come_in_pieces(void **state) {
    struct shop *c = *state;
    write_good_pair();
    reads.most = 7;
    reads.fail_errno = EINTR;
    for (int n = 1; n < 20; n++) {
        reads.fail_at = n;
        assert_int_equal(add_pair(c), 0);
    }
    shop_free(c);
    *state = c = shop_new();
    reads.most = 0;
    reads.fail_errno = EIO;
    for (int n = 1; n <= 4; n++) { /* two files, each read once for its bytes and once for its end */
        reads.fail_at = n;
        assert_refused(c, add_pair(c), ERR_SYSTEM, "cannot be read: Input/output error");
    }
}

static void swapped_files_are_reported(void **state) {
    struct shop *c = *state;
    write_good_pair();
    assert_refused(c, shop_add_files(c, in_dir("key.pem"), in_dir("cert.pem"), &why), ERR_FORMAT, "found no certificate");
}

static void broken_certificates_are_reported(void **state) {
    struct shop *c = *state;
    write_good_pair();
    static const char broken[] = "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n";
    make_file(in_dir("cert.pem"), broken, sizeof(broken) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "certificate 1 of the file cannot be read");

    write_good_pair();
    FILE *f = fopen(in_dir("cert.pem"), "a");
    assert_non_null(f);
    fputs(broken, f);
    fclose(f);
    assert_refused(c, add_pair(c), ERR_FORMAT, "certificate 2 of the file cannot be read");

    static const char cut[] = "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n";
    make_file(in_dir("cert.pem"), cut, sizeof(cut) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "cannot be read");
    static const char bad_key[] = "-----BEGIN PRIVATE KEY-----\nMIIBAAAA\n-----END PRIVATE KEY-----\n";
    write_good_pair();
    make_file(in_dir("key.pem"), bad_key, sizeof(bad_key) - 1);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the private key cannot be read");
}

static void broken_alternative_names_are_reported(void **state) {
    struct shop *c = *state;
    const struct make_spec spec = {.cn = "www.example.org"};
    X509 *x = make_cert(m.p256, &spec);
    ASN1_OCTET_STRING *junk = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(junk, (const unsigned char *)"\x30\x05\x82\x7f", 4);
    X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, junk);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    assert_true(X509_sign(x, m.p256, EVP_sha256()) > 0);
    make_pem(in_dir("cert.pem"), x, NULL, NULL, NULL);
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.p256);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(junk);
    X509_free(x);
    assert_refused(c, add_pair(c), ERR_FORMAT, "alternative names cannot be read");
}

static void encrypted_keys_are_reported(void **state) {
    struct shop *c = *state;
    write_good_pair();
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, m.p256, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    make_bio_file(in_dir("key.pem"), bio);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key is encrypted, expected passphrase = ");

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(
        PEM_write_bio_PrivateKey_traditional(bio, m.p256, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL),
        1);
    make_bio_file(in_dir("key.pem"), bio);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key is encrypted, expected passphrase = ");
}

static void traditional_keys_are_taken(void **state) {
    struct shop *c = *state;
    EVP_PKEY *keys[] = {m.p256, m.rsa};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
        X509 *x = make_cert(keys[i], &spec);
        make_pem(in_dir("cert.pem"), x, NULL, NULL, NULL);
        X509_free(x);
        BIO *bio = BIO_new(BIO_s_mem());
        if (i == 0) /* as `openssl ecparam -genkey` writes it: prime256v1 in a block of its own */
            BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n");
        assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        make_bio_file(in_dir("key.pem"), bio);
        assert_int_equal(add_pair(c), 0);
    }
}

static void other_keys_are_reported(void **state) {
    struct shop *c = *state;
    static const struct {
        const char *type, *phrase;
    } cases[] = {
        {"RSA:1024", "found an RSA key of 1024 bits, expected 2048 or more"},
        {"RSA-PSS:2048", "found a key of type RSA-PSS"},
        {"EC:P-521", "found an EC key on the curve secp521r1, expected P-256 or P-384"},
        {"EC:secp256k1", "found an EC key on the curve secp256k1"},
        {"ED448", "found a key of type ED448"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
        EVP_PKEY *key = make_key(cases[i].type);
        int err = add_spec(c, key, &spec);
        EVP_PKEY_free(key);
        assert_refused(c, err, ERR_FORMAT, cases[i].phrase);
    }
}

static void keys_of_others_are_reported(void **state) {
    struct shop *c = *state;
    write_good_pair();
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.p256b);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key does not match the certificate in ");
    make_pem(in_dir("key.pem"), NULL, NULL, NULL, m.rsa);
    assert_refused(c, add_pair(c), ERR_FORMAT, "the key does not match the certificate in ");

    /* the usual mistake: the chain in the wrong order */
    const struct make_spec spec = {.cn = "x", .san = "DNS:www.example.org"};
    X509 *leaf = make_cert(m.rsa, &spec), *ca = make_cert(m.rsa2, &spec);
    make_pem(in_dir("cert.pem"), ca, leaf, NULL, NULL);
    assert_refused(c, add_pair(c), ERR_FORMAT, "belongs to certificate 2 of the file, expected it to belong to the first");
    X509_free(leaf);
    X509_free(ca);
}

static void failure_keeps_what_was_there(void **state) {
    struct shop *c = *state;
    add(c, m.p256, "x", "DNS:www.example.org");
    assert_int_equal(shop_add_files(c, "/nonexistent", "/nonexistent", &why), ERR_SYSTEM);
    assert_int_equal(shop_count(c), 1);
    assert_string_equal(served(c, "www.example.org", NULL, TLS_1_3), "x");
}

/* ---- directories ---- */

static void dir_of_pairs(void **state) {
    struct shop *c = *state;
    write_named("c.pem", "c.pem", m.p256, "c.example.org");
    write_named("b.crt", "b.key", m.rsa, "b.example.org");
    write_named("a.pem", "a.key", m.p256, "a.example.org");
    write_named(".hidden.pem", ".hidden.key", m.p256, "hidden.example.org");
    write_named("lonely.pem", NULL, m.p256, "lonely.example.org");
    write_named("lonely2.crt", NULL, m.p256, "lonely2.example.org");
    make_file(in_dir("README"), "x", 1);
    make_file(in_dir("other.key"), "x", 1);
    mkdir(in_dir("directory.pem"), 0700);
    mkdir(in_dir("sub"), 0700);
    assert_int_equal(symlink("/nonexistent", in_dir("dangling.pem")), 0);
    assert_int_equal(shop_add_dir(c, m.dir, &why), 0);
    assert_int_equal(shop_count(c), 3);
    assert_string_equal(served(c, "a.example.org", NULL, TLS_1_3), "a.example.org");
    assert_string_equal(served(c, "b.example.org", NULL, TLS_1_3), "b.example.org");
    assert_string_equal(served(c, "c.example.org", NULL, TLS_1_3), "c.example.org");
    assert_int_equal(shop_lookup(c, "hidden.example.org"), CREDS_DEFAULT);
    assert_int_equal(shop_lookup(c, "lonely.example.org"), CREDS_DEFAULT);
    assert_string_equal(served(c, "", NULL, TLS_1_3), "a.example.org"); /* first by name */
}

static void dir_without_pairs(void **state) {
    struct shop *c = *state;
    write_named("cert.pem", NULL, m.p256, "x.example.org");
    assert_refused(c, shop_add_dir(c, m.dir, &why), ERR_NOT_FOUND, "found no certificate with its key");
    assert_refused(c, shop_add_dir(c, "/nonexistent", &why), ERR_SYSTEM, "the directory cannot be read");
    assert_refused(c, shop_add_dir(c, in_dir("cert.pem"), &why), ERR_FORMAT, "found no key for this certificate");
    make_file(in_dir("cert.der"), "x", 1);
    assert_refused(c, shop_add_dir(c, in_dir("cert.der"), &why), ERR_FORMAT, "found a file of this name");
    assert_refused(c, shop_add_dir(c, in_dir("*.crt"), &why), ERR_NOT_FOUND, "nothing matches this pattern");
    assert_refused(c, shop_add_dir(c, in_dir("cert.*"), &why), ERR_NOT_FOUND, "nothing matches this pattern");
}

/* A directory as an ACME client keeps it: SUB/CERT and SUB/KEY, with other forms of the same beside them. */
static void write_kept(const char *sub, const char *cert, const char *key, const char *host) {
    char name[2][128];
    assert_int_equal(mkdir(in_dir(sub), 0700), 0);
    snprintf(name[0], sizeof(name[0]), "%s/%s", sub, cert);
    snprintf(name[1], sizeof(name[1]), "%s/%s", sub, key);
    write_named(name[0], name[1], m.p256, host);
}

static void directories_of_acme_clients(void **state) {
    struct shop *c = *state;
    write_kept("a", "fullchain.pem", "privkey.pem", "certbot.example.org");
    write_named("a/cert.pem", NULL, m.p256, "certbot.example.org");
    write_named("a/chain.pem", NULL, m.p256, "ca.example.org");
    write_kept("b_ecc", "fullchain.cer", "b.example.org.key", "acmesh.example.org");
    write_named("b_ecc/b.example.org.cer", NULL, m.p256, "acmesh.example.org");
    write_kept("c", "fullchain.cer", "one.key", "two.keys.example.org");
    make_file(in_dir("c/another.key"), "x", 1);
    assert_refused(c, shop_add_dir(c, in_dir("c"), &why), ERR_NOT_FOUND, "found no certificate with its key");
    write_kept("d", "d.pem", "d.key", "old.example.org"); /* pairs by name are taken from the directory that is named alone */
    write_kept(".hidden", "fullchain.pem", "privkey.pem", "hidden.example.org");
    write_named("lego.crt", "lego.key", m.p256, "lego.example.org");
    write_named("lego.issuer.crt", NULL, m.p256, "ca.example.org");
    write_named("lego.pem", "lego.pem", m.p256, "lego.example.org");
    assert_int_equal(shop_add_dir(c, m.dir, &why), 0);
    assert_int_equal(shop_count(c), 3);
    assert_string_equal(c->warned, "");
    assert_int_equal(shop_add_dir(c, in_dir("a"), &why), 0);
    assert_int_equal(shop_add_dir(c, in_dir("b_ecc"), &why), 0);
    assert_int_equal(shop_count(c), 5);
}

static void patterns_and_files(void **state) {
    struct shop *c = *state;
    write_named("b.pem", "b.pem", m.p256, "b.example.org");
    write_named("a.crt", "a.key", m.p256, "a.example.org");
    write_named("lonely.crt", NULL, m.p256, "lonely.example.org");
    write_kept("live", "x.pem", "x.key", "x.example.org");
    assert_int_equal(shop_add_dir(c, in_dir("b.pem"), &why), 0);
    assert_int_equal(shop_add_dir(c, in_dir("a.crt"), &why), 0);
    assert_int_equal(shop_count(c), 2);
    assert_int_equal(shop_add_dir(c, in_dir("*"), &why), 0); /* keys and what has none are passed over */
    assert_int_equal(shop_count(c), 5);
    assert_int_equal(shop_add_dir(c, in_dir("liv?/*.pem"), &why), 0);
    assert_int_equal(shop_add_dir(c, in_dir("[k-m]ive/"), &why), 0);
    assert_int_equal(shop_count(c), 7);
}

/* One certificate in two forms: what is named is taken, and what takes in both has it once. */
static void forms_beside_each_other(void **state) {
    struct shop *c = *state;
    write_named("a.crt", "a.key", m.p256, "a.example.org");
    write_named("a.pem", "a.pem", m.p256, "a.example.org");
    static const char *const items[] = {"a.pem", "a.crt", "*.pem", "?.crt", "a.*", ""};
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        assert_int_equal(shop_add_dir(c, in_dir(items[i]), &why), 0);
        assert_int_equal(shop_count(c), i + 1);
    }
}

static void names_that_lead_to_no_file(void **state) {
    struct shop *c = *state;
    assert_int_equal(symlink("/nonexistent", in_dir("e.pem")), 0);
    assert_refused(c, shop_add_dir(c, in_dir("e.*"), &why), ERR_NOT_FOUND, "nothing matches this pattern");
    assert_non_null(strstr(c->warned, "e.pem: the link leads to nothing"));
    c->warnings = text_of(c->warned, sizeof(c->warned));
    write_kept("a", "fullchain.pem", "privkey.pem", "a.example.org");
    write_kept("b", "fullchain.pem", "privkey.pem", "b.example.org");
    write_named("c.crt", NULL, m.p256, "c.example.org");
    assert_int_equal(mkdir(in_dir("d"), 0700), 0);
    assert_int_equal(unlink(in_dir("b/privkey.pem")), 0);
    assert_int_equal(symlink("../../archive/b/privkey1.pem", in_dir("b/privkey.pem")), 0);
    assert_int_equal(symlink("/nonexistent", in_dir("c.key")), 0);
    assert_int_equal(symlink("fullchain.cer", in_dir("d/fullchain.cer")), 0); /* a loop */
    assert_int_equal(shop_add_dir(c, m.dir, &why), 0);
    assert_int_equal(shop_count(c), 1);
    assert_non_null(strstr(c->warned, "b/privkey.pem: the link leads to nothing: what it belongs to is not served"));
    assert_non_null(strstr(c->warned, "c.key: the link leads to nothing"));
    assert_non_null(strstr(c->warned, "d/fullchain.cer: Too many levels of symbolic links"));
    assert_non_null(strstr(c->warned, "e.pem: the link leads to nothing"));
}

static void dir_reports_every_fault(void **state) {
    struct shop *c = *state;
    write_named("a.pem", "a.key", m.p256, "a.example.org");
    make_pem(in_dir("a.key"), NULL, NULL, NULL, m.rsa);
    write_named("b.pem", "b.key", m.p256, "b.example.org");
    write_named("c.pem", "c.key", m.p256, "c.example.org");
    make_file(in_dir("c.key"), "", 0);
    write_named("d.pem", "d.key", m.p256, "d.example.org");
    assert_int_equal(shop_add_dir(c, m.dir, &why), ERR_FORMAT);
    assert_non_null(strstr(why.p, "a.key: the key does not match"));
    assert_non_null(strstr(why.p, "; "));
    assert_non_null(strstr(why.p, "c.key: the file is empty"));
    assert_string_not_equal(why.p + why.len - 2, "; ");
    assert_int_equal(shop_count(c), 2);
}

/* ---- warnings ---- */

static void warns_of_times(void **state) {
    static const struct {
        long begins, ends;
        const char *phrase;
    } cases[] = {
        {-MAKE_DAY, 90 * MAKE_DAY, NULL},
        {-MAKE_DAY, 14 * MAKE_DAY + 600, NULL},
        {-MAKE_DAY, 14 * MAKE_DAY - 600, "certificate 1 of the chain expires on "},
        {-MAKE_DAY, MAKE_DAY + 600, ", in 1 day\n"},
        {-MAKE_DAY, -10, "certificate 1 of the chain expired on "},
        {-9 * MAKE_DAY, -8 * MAKE_DAY, "certificate 1 of the chain expired on "},
        {3600, 90 * MAKE_DAY, "certificate 1 of the chain is not valid before "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct make_spec spec = {
            .cn = "x", .san = "DNS:www.example.org", .begins_s = cases[i].begins, .ends_s = cases[i].ends};
        struct shop *c = shop_new();
        assert_non_null(c);
        assert_int_equal(add_spec(c, m.p256, &spec), 0);
        if (cases[i].phrase)
            assert_non_null(strstr(c->warned, cases[i].phrase));
        else
            assert_string_equal(c->warned, "");
        shop_free(c);
    }
}

static void warns_of_the_chain(void **state) {
    struct shop *c = *state;
    const struct make_spec ca_spec = {.cn = "ca", .ca = true, .begins_s = -9 * MAKE_DAY, .ends_s = -MAKE_DAY};
    X509 *ca = make_cert(m.rsa, &ca_spec);
    const struct make_spec leaf_spec = {.cn = "leaf", .issuer = ca, .issuer_key = m.rsa};
    X509 *leaf = make_cert(m.p256, &leaf_spec);
    make_pem(in_dir("x.pem"), leaf, ca, NULL, m.p256);
    X509_free(leaf);
    X509_free(ca);
    assert_int_equal(shop_add_dir(c, m.dir, &why), 0);
    assert_non_null(strstr(c->warned, "certificate 2 of the chain expired on "));
}

static void warns_of_open_keys(void **state) {
    struct shop *c = *state;
    write_good_pair();
    assert_int_equal(chmod(in_dir("key.pem"), 0640), 0);
    assert_int_equal(add_pair(c), 0);
    assert_null(strstr(c->warned, "open to other users"));
    assert_int_equal(chmod(in_dir("key.pem"), 0644), 0);
    assert_int_equal(add_pair(c), 0);
    assert_non_null(strstr(c->warned, "key.pem: the private key is open to other users (mode 0644), expected 0600 or 0640"));
}

/* ---- what is taken with a word ---- */

static void names_served_by_another_are_reported(void **state) {
    struct shop *c = *state;
    write_named("a.pem", "a.pem", m.p256, "www.example.org");
    write_named("b.pem", "b.pem", m.rsa, "www.example.org"); /* another kind of key: both serve it */
    assert_int_equal(shop_add_dir(c, m.dir, &why), 0);
    assert_string_equal(c->warned, "");
    add(c, m.p256b, "x", "DNS:one.example.org,DNS:www.example.org,DNS:www.example.org");
    assert_non_null(strstr(c->warned, "cert.pem: the name www.example.org (and 1 more) is served by "));
    assert_non_null(strstr(c->warned, "/a.pem, which comes first"));
    assert_string_equal(served(c, "one.example.org", NULL, TLS_1_3), "x");
}

static void passphrases_are_read_from_their_file(void **state) {
    struct shop *c = *state;
    BIO *bio = BIO_new(BIO_s_mem());
    char paths[4][512];
    static const char *const names[] = {"cert.pem", "key.pem", "pass", "nowhere"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        snprintf(paths[i], sizeof(paths[i]), "%s", in_dir(names[i]));
    struct cert_load_pair pair = {.cert = paths[0], .key = paths[1], .passphrase = paths[2]};
    write_good_pair();
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, m.p256, EVP_aes_256_cbc(), "secret", 6, NULL, NULL), 1);
    make_bio_file(in_dir("key.pem"), bio);
    make_file(in_dir("pass"), "wrong\n", 6);
    assert_int_equal(cert_load_files(c->load, &pair, &why, NULL, NULL), ERR_FORMAT);
    assert_non_null(strstr(why.p, "key.pem: the key cannot be decrypted with the passphrase in "));
    make_file(in_dir("pass"), "secret\r\nmore\n", 14);
    assert_int_equal(cert_load_files(c->load, &pair, &why, NULL, NULL), 0);
    pair.passphrase = paths[3];
    why = text_of(why_bytes, sizeof(why_bytes));
    assert_int_equal(cert_load_files(c->load, &pair, &why, NULL, NULL), ERR_SYSTEM);
    assert_non_null(strstr(why.p, "nowhere: cannot be opened"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(bad_files_are_reported),
        CASE(reads_fail_and_come_in_pieces),
        CASE(swapped_files_are_reported),
        CASE(broken_certificates_are_reported),
        CASE(broken_alternative_names_are_reported),
        CASE(encrypted_keys_are_reported),
        CASE(traditional_keys_are_taken),
        CASE(other_keys_are_reported),
        CASE(keys_of_others_are_reported),
        CASE(failure_keeps_what_was_there),
        CASE(dir_of_pairs),
        CASE(dir_without_pairs),
        CASE(directories_of_acme_clients),
        CASE(patterns_and_files),
        CASE(forms_beside_each_other),
        CASE(names_that_lead_to_no_file),
        CASE(dir_reports_every_fault),
        CASE(warns_of_times),
        CASE(warns_of_the_chain),
        CASE(warns_of_open_keys),
        CASE(names_served_by_another_are_reported),
        CASE(passphrases_are_read_from_their_file),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
