#include "cli/command_table.h"

#include <string.h>

#include "base/defs.h"
#include "cli/acme_control.h"
#include "cli/admin_command.h"
#include "cli/check.h"
#include "cli/completion.h"
#include "cli/convert.h"
#include "cli/doctor.h"
#include "cli/explain.h"
#include "cli/init.h"
#include "cli/new_secret.h"
#include "cli/run.h"
#include "cli/show.h"
#include "cli/top.h"
#include "cli/trace.h"
#include "cli/version.h"

/* Written as lists, so that a row of the table stays a row. */
#define ADMIN                                                                                                                  \
    { "--admin", FLAG_PATH, NULL }
#define JSON                                                                                                                   \
    { "--json", FLAG_ALONE, NULL }
#define END                                                                                                                    \
    { NULL, FLAG_ALONE, NULL }

static const struct command_flag no_flags[] = {END};
static const struct command_flag admin_flags[] = {ADMIN, JSON, END};
static const struct command_flag run_flags[] = {
    {"--config", FLAG_PATH, NULL},         {"--listen", FLAG_TEXT, NULL},
    {"--backend", FLAG_TEXT, NULL},        {"--name", FLAG_TEXT, NULL},
    {"--acme", FLAG_ALONE, NULL},          {"--acme-terms-accepted", FLAG_ALONE, NULL},
    {"--acme-directory", FLAG_TEXT, NULL}, {"--acme-ca-file", FLAG_PATH, NULL},
    {"--ready-fd", FLAG_TEXT, NULL},       END};
static const struct command_flag check_flags[] = {{"--config", FLAG_PATH, NULL}, {"--explain", FLAG_ALONE, NULL}, JSON, END};
static const struct command_flag doctor_flags[] = {{"--config", FLAG_PATH, NULL}, JSON, END};
static const struct command_flag drain_flags[] = {
    {"--after", FLAG_TEXT, NULL}, {"--delay", FLAG_TEXT, NULL}, {"--timeout", FLAG_TEXT, NULL}, ADMIN, JSON, END};
static const struct command_flag top_flags[] = {ADMIN, END};
static const struct command_flag clients_flags[] = {{"--fleet", FLAG_ALONE, NULL},
                                                    {"--sort", FLAG_TEXT, "bytes rate sessions failed client"},
                                                    {"--limit", FLAG_TEXT, NULL},
                                                    {"--client", FLAG_TEXT, NULL},
                                                    {"--over", FLAG_TEXT, NULL},
                                                    {"--format", FLAG_TEXT, "nft json"},
                                                    ADMIN,
                                                    JSON,
                                                    END};
static const struct command_flag sessions_flags[] = {
    {"--service", FLAG_TEXT, NULL}, {"--client", FLAG_TEXT, NULL}, {"--limit", FLAG_TEXT, NULL}, ADMIN, JSON, END};
static const struct command_flag trace_flags[] = {
    {"--for", FLAG_TEXT, NULL}, {"--sessions", FLAG_TEXT, NULL}, ADMIN, JSON, END};
static const struct command_flag acme_flags[] = {
    {"--reason", FLAG_TEXT, NULL}, {"--check", FLAG_ALONE, NULL}, ADMIN, JSON, END};

static const struct command_operands no_operands = {0, 0, NULL, NULL, false};
static const struct command_operands maybe_file = {0, 1, NULL, NULL, true};
static const struct command_operands completion_operands = {1, 1, NULL, "bash zsh fish", false};
static const struct command_operands check_operands = {0, 1 + EXPLAIN_TEXTS, NULL, NULL, true};
static const struct command_operands convert_operands = {2, 2, "FILE", "hitch stunnel haproxy nginx-stream", true};
static const struct command_operands secret_operands = {2, 2, "FILE", "new", true};
static const struct command_operands trace_operands = {1, 1, "CLIENT", NULL, false};
static const struct command_operands explain_operands = {1, EXPLAIN_TEXTS, "ADDRESS", NULL, false};
static const struct command_operands acme_operands = {1, 2, NULL, "status renew revoke rollover record", false};

const struct command commands[] = {
    {"run", COMMANDS_PROXY, cmd_run, "run the proxy in the foreground", run_usage, &maybe_file, run_flags},
    {"version", COMMANDS_PROXY, cmd_version, "what this binary is made of", version_usage, &no_operands, no_flags},
    {"completion", COMMANDS_PROXY, cmd_completion, "completion of these commands for a shell", completion_usage,
     &completion_operands, no_flags},
    {"init", COMMANDS_CONFIG, cmd_init, "write a first configuration", init_usage, &maybe_file, no_flags},
    {"check", COMMANDS_CONFIG, cmd_check, "check a configuration file", check_usage, &check_operands, check_flags},
    {"convert", COMMANDS_CONFIG, cmd_convert, "convert the configuration of another proxy", convert_usage, &convert_operands,
     no_flags},
    {"doctor", COMMANDS_CONFIG, cmd_doctor, "what of this machine and a configuration needs care", doctor_usage, &maybe_file,
     doctor_flags},
    {"ticket-secret", COMMANDS_CONFIG, cmd_ticket_secret, "make the secret behind session tickets", ticket_secret_usage,
     &secret_operands, no_flags},
    {"reload", COMMANDS_CONTROL, cmd_reload, "take up a new configuration and binary", reload_usage, &no_operands, admin_flags},
    {"drain", COMMANDS_CONTROL, cmd_drain, "stop accepting and let sessions end", drain_usage, &no_operands, drain_flags},
    {"stop", COMMANDS_CONTROL, cmd_stop, "stop the running proxy", stop_usage, &no_operands, admin_flags},
    {"status", COMMANDS_VIEW, cmd_status, "state of the running proxy", status_usage, &no_operands, admin_flags},
    {"top", COMMANDS_VIEW, cmd_top, "live view", top_usage, &no_operands, top_flags},
    {"clients", COMMANDS_VIEW, cmd_clients, "throughput by client", clients_usage, &no_operands, clients_flags},
    {"sessions", COMMANDS_VIEW, cmd_sessions, "sessions now", sessions_usage, &no_operands, sessions_flags},
    {"trace", COMMANDS_VIEW, cmd_trace, "events of one client, live", trace_usage, &trace_operands, trace_flags},
    {"explain", COMMANDS_VIEW, cmd_explain, "which service a client reaches, and why", explain_usage, &explain_operands,
     admin_flags},
    {"acme", COMMANDS_CERTIFICATES, cmd_acme, "certificates from issuers", acme_usage, &acme_operands, acme_flags},
};
const size_t commands_len = ARRAY_LEN(commands);

static const char *const group_names[COMMAND_GROUPS] = {
    [COMMANDS_PROXY] = "The proxy",
    [COMMANDS_CONFIG] = "Configuration",
    [COMMANDS_CONTROL] = "Control of the running proxy",
    [COMMANDS_VIEW] = "Views of the running proxy",
    [COMMANDS_CERTIFICATES] = "Certificates",
};

const struct command *command_by_name(const char *name) {
    for (size_t i = 0; i < commands_len; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

void commands_usage(FILE *to) {
    fputs("usage: tls-off COMMAND [ARGUMENTS]\n       tls-off CONFIG.toml\n", to);
    for (unsigned g = 0; g < COMMAND_GROUPS; g++) {
        fprintf(to, "\n%s:\n", group_names[g]);
        for (size_t i = 0; i < commands_len; i++)
            if (commands[i].group == g)
                fprintf(to, "  %-13s %s\n", commands[i].name, commands[i].help);
    }
    fputs("\ntls-off COMMAND --help shows more.\n", to);
}
