/* Commands about the server: SHUTDOWN, TIME and the like, and those that say why they are not
 * here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "daemon/client/stop.h"
#include "daemon/command/handlers.h"
#include "daemon/loop/log.h"

/* The index is flushed and closed in any case: SAVE and NOSAVE are the same. The end of the
 * connection is the answer. */
void lanemap_command_shutdown(const struct lanemap_call *call)
{
        bool abort = false, save = false, nosave = false, others = false, wrong = false;

        for (uint32_t i = 1; i < call->n_args; i++) {
                if (lanemap_call_is(call, i, "abort"))
                        abort = true;
                else if (lanemap_call_is(call, i, "save"))
                        save = true;
                else if (lanemap_call_is(call, i, "nosave"))
                        nosave = true;
                else if (lanemap_call_is(call, i, "now") || lanemap_call_is(call, i, "force"))
                        others = true;
                else
                        wrong = true;
        }
        if (wrong || (save && nosave) || (abort && (save || nosave || others))) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                return;
        }
        if (abort) {
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR No shutdown in progress.");
                return;
        }
        lanemap_log(LOG_NOTICE, "client %" PRIu64 " asked for a shutdown", call->client->id);
        lanemap_server_stop(call->server);
}

void lanemap_command_time(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct timeval now;
        char text[24];

        gettimeofday(&now, NULL);
        lanemap_reply_array(reply, 2);
        snprintf(text, sizeof(text), "%lld", (long long)now.tv_sec);
        lanemap_reply_text(reply, text);
        snprintf(text, sizeof(text), "%ld", (long)now.tv_usec);
        lanemap_reply_text(reply, text);
}

void lanemap_command_lastsave(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), call->server->started);
}

void lanemap_command_no_keys(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR keys are not stored, only their fingerprints; '%s' cannot be "
                            "answered",
                            call->command->name);
}

void lanemap_command_other_type(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd stores sets of integers only");
}
