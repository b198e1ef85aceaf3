/* See client/stop.h. */
#include "common/clock.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/client/stop.h"
#include "daemon/client/transaction.h"
#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"
#include "daemon/loop/notify.h"

#define STOP_LIMIT_NS UINT64_C(10000000000) /* replies that nobody takes, or that cannot leave */

void lanemap_server_stop(struct lanemap_server *server)
{
        struct lanemap_client *client;

        if (server->stopping)
                return;
        server->stopping = true;
        server->stop_deadline_ns = lanemap_now_ns(&lanemap_clock_monotonic) + STOP_LIMIT_NS;
        lanemap_notify("STOPPING=1\nSTATUS=Stopping");
        lanemap_log(LOG_NOTICE, "stopping");
        lanemap_listen_close(server);
        TAILQ_FOREACH(client, &server->clients, all)
        {
                bool drops = client->blocked != LANEMAP_BLOCKED_EXEC ||
                             lanemap_transaction_may_drop(client->transaction); /* EX2 */

                if (client->blocked != LANEMAP_BLOCKED_NOT && drops) {
                        lanemap_client_job_forget(client);
                        if (client->blocked == LANEMAP_BLOCKED_EXEC)
                                lanemap_transaction_leave(client);
                        lanemap_reply_error(&client->out, "ERR lanemapd is stopping");
                        lanemap_client_reply_end(client);
                        lanemap_client_unblock(client);
                }
                client->close_after = true;
                lanemap_client_touch(client);
        }
}
