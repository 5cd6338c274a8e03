/* `tls-off status`, `tls-off clients`, `tls-off sessions`: tables of what runs. Each returns the exit status. */
#pragma once

struct arguments;
extern const char status_usage[];
int cmd_status(const struct arguments *a);
extern const char clients_usage[];
int cmd_clients(const struct arguments *a);
extern const char sessions_usage[];
int cmd_sessions(const struct arguments *a);
