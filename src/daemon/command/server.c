/* Commands about the server: SHUTDOWN, TIME and the like, and those that say why they are not here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "daemon/client/stop.h"
#include "daemon/command/handlers.h"
#include "daemon/loop/log.h"

void lanemap_command_shutdown(const struct lanemap_call *call)
{
        for (uint32_t i = 1; i < call->n_args; i++) {
                if (lanemap_call_is(call, i, "abort")) {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR No shutdown in progress.");
                        return;
                }
                if (!lanemap_call_is(call, i, "save") && !lanemap_call_is(call, i, "nosave") &&
                    !lanemap_call_is(call, i, "now") && !lanemap_call_is(call, i, "force")) {
                        lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                        return;
                }
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

void lanemap_command_wait(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint64_t number;

        if (lanemap_number_parse(lanemap_call_bytes(call, 1), call->args[1].bytes, INT64_MAX,
                                 &number) < 0)
                lanemap_reply_error(reply, "ERR value is not an integer or out of range");
        else if (lanemap_call_bytes(call, 2)[0] == '-' && call->args[2].bytes > 1)
                lanemap_reply_error(reply, "ERR timeout is negative");
        else if (lanemap_number_parse(lanemap_call_bytes(call, 2), call->args[2].bytes, INT64_MAX,
                                      &number) < 0)
                lanemap_reply_error(reply, "ERR timeout is not an integer or out of range");
        else
                lanemap_reply_integer(reply, 0);
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
