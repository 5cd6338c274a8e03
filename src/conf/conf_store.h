/* Where the instances of a fleet meet: a part of the configuration. Texts as in conf.h. */
#pragma once

#define CONF_CLUSTER_MAX 63

struct conf_store {
    const char *socket;   /* of a Redis server, absolute; NULL = nothing is shared */
    const char *cluster;  /* whose objects are ours, of letters, digits, '.', '_' and '-' */
    const char *key_file; /* what private keys are sealed with there, absolute; NULL = none */
};
