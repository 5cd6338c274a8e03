/* The handshaker role: owns TCP connections until their handshake is done, then hands them to a relay. */
#pragma once

#include "conf/conf.h"

/* Serves until told to stop; returns the process' exit status. CONTROL is the socket to the supervisor. */
int handshaker_run(int control);
