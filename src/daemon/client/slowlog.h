/* What took longer than slowlog-log-slower-than, newest first, as SLOWLOG GET shows it. */
#ifndef LANEMAP_DAEMON_CLIENT_SLOWLOG_H
#define LANEMAP_DAEMON_CLIENT_SLOWLOG_H

#include "daemon/client/meter.h"

/* As Redis cuts: so many arguments, of so many bytes each. */
#define LANEMAP_SLOWLOG_ARGS      ((uint32_t)32)
#define LANEMAP_SLOWLOG_ARG_BYTES ((uint32_t)128)

struct lanemap_slow {
        TAILQ_ENTRY(lanemap_slow) all;
        uint64_t id;
        time_t time;
        uint64_t us;
        char address[LANEMAP_CLIENT_ADDRESS_BYTES], name[64];
        uint32_t n_args;
        struct {
                uint32_t off, bytes; /* in text */
        } args[LANEMAP_SLOWLOG_ARGS];
        char text[];
};

/* Arguments that are secret are not kept. */
void lanemap_slowlog_add(const struct lanemap_client *client, const struct lanemap_meter_args *args,
                         uint64_t us);
/* No more than slowlog-max-len are kept. */
void lanemap_slowlog_trim(struct lanemap_server *server);
void lanemap_slowlog_reset(struct lanemap_server *server);

#endif
