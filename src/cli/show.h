/* `tls-off status`, `tls-off clients`, `tls-off sessions`: tables of what runs. Each returns the exit status. */
#pragma once

int cmd_status(int argc, char **argv);
int cmd_clients(int argc, char **argv);
int cmd_sessions(int argc, char **argv);
