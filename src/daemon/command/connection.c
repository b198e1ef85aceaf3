/* Commands about the connection itself, with Redis's texts. */
#include <string.h>

#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/command/handlers.h"
#include "daemon/loop/log.h"

void lanemap_command_ping(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (call->n_args > 2) {
                lanemap_reply_error(reply, "ERR wrong number of arguments for 'ping' command");
        } else if (call->n_args == 2) {
                lanemap_reply_bulk(reply, lanemap_call_bytes(call, 1), call->args[1].bytes);
        } else {
                lanemap_reply_simple(reply, "PONG");
        }
}

void lanemap_command_echo(const struct lanemap_call *call)
{
        lanemap_reply_bulk(lanemap_client_reply(call->client), lanemap_call_bytes(call, 1),
                           call->args[1].bytes);
}

/* Takes the same time for every wrong password of a length. */
static bool password_is(const struct lanemap_server *server, const char *text, size_t n_bytes)
{
        const char *password = server->options.password;
        size_t n_password = strlen(password);
        unsigned different = n_bytes != n_password;

        for (size_t i = 0; i < n_bytes; i++)
                different |= (unsigned char)(text[i] ^ password[n_password ? i % n_password : 0]);
        return !different;
}

/* Argument `user`, if not 0, and argument `pass`. Return: whether they are right. */
static bool client_login(const struct lanemap_call *call, uint32_t user, uint32_t pass)
{
        struct lanemap_client *client = call->client;
        bool right = !user || (call->args[user].bytes == 7 &&
                               memcmp(lanemap_call_bytes(call, user), "default", 7) == 0);

        if (*call->server->options.password)
                right = password_is(call->server, lanemap_call_bytes(call, pass),
                                    call->args[pass].bytes) &&
                        right;
        if (!right) {
                lanemap_reply_error(
                        lanemap_client_reply(client),
                        "WRONGPASS invalid username-password pair or user is disabled.");
                call->server->n_wrong_passwords++;
                lanemap_log_some(&call->server->passwords_said, call->server->seconds, LOG_WARNING,
                                 "client %llu at %s: wrong password",
                                 (unsigned long long)client->id, client->address);
                return false;
        }
        client->authenticated = true;
        client->parser.restricted = false;
        return true;
}

void lanemap_command_auth(const struct lanemap_call *call)
{
        if (call->n_args > 3) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                return;
        }
        if (call->n_args == 2 && !*call->server->options.password) {
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR AUTH <password> called without any password configured "
                                    "for the default user. Are you sure your configuration is "
                                    "correct?");
                return;
        }
        if (client_login(call, call->n_args == 3 ? 1 : 0, call->n_args - 1))
                lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

static void hello_answer(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_map(reply, 7);
        lanemap_reply_text(reply, "server");
        lanemap_reply_text(reply, "lanemapd");
        lanemap_reply_text(reply, "version");
        lanemap_reply_text(reply, LANEMAP_VERSION);
        lanemap_reply_text(reply, "proto");
        lanemap_reply_integer(reply, call->client->out.protocol);
        lanemap_reply_text(reply, "id");
        lanemap_reply_integer(reply, (int64_t)call->client->id);
        lanemap_reply_text(reply, "mode");
        lanemap_reply_text(reply, "standalone");
        lanemap_reply_text(reply, "role");
        lanemap_reply_text(reply, "master");
        lanemap_reply_text(reply, "modules");
        lanemap_reply_array(reply, 0);
}

/* The options behind the version. Return: false when an error was replied. */
static bool hello_options(const struct lanemap_call *call, uint32_t *ret_name)
{
        for (uint32_t i = 2; i < call->n_args; i++) {
                uint32_t n_more = call->n_args - i - 1;

                if (lanemap_call_is(call, i, "auth") && n_more >= 2) {
                        if (!client_login(call, i + 1, i + 2))
                                return false;
                        i += 2;
                } else if (lanemap_call_is(call, i, "setname") && n_more >= 1) {
                        if (!lanemap_command_client_name(call, i + 1))
                                return false;
                        *ret_name = i + 1;
                        i++;
                } else {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR Syntax error in HELLO option '%.*s'",
                                            (int)LANEMAP_MIN(call->args[i].bytes, 128u),
                                            lanemap_call_bytes(call, i));
                        return false;
                }
        }
        return true;
}

static void name_set(struct lanemap_client *client, const char *name, size_t n_bytes)
{
        n_bytes = LANEMAP_MIN(n_bytes, sizeof(client->name) - 1);
        memcpy(client->name, name, n_bytes);
        client->name[n_bytes] = 0;
}

void lanemap_command_hello(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        uint64_t protocol = client->out.protocol;
        uint32_t name = 0;

        if (call->n_args > 1 &&
            lanemap_number_parse(lanemap_call_bytes(call, 1), call->args[1].bytes, INT32_MAX,
                                 &protocol) < 0) {
                lanemap_reply_error(lanemap_client_reply(client),
                                    "ERR Protocol version is not an integer or out of range");
                return;
        }
        if (protocol < 2 || protocol > 3) {
                lanemap_reply_error(lanemap_client_reply(client),
                                    "NOPROTO unsupported protocol version");
                return;
        }
        if (!hello_options(call, &name))
                return;
        if (!client->authenticated) {
                lanemap_reply_error(
                        lanemap_client_reply(client),
                        "NOAUTH HELLO must be called with the client already authenticated, "
                        "otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
                        "authenticate the client and select the RESP protocol version at the same "
                        "time");
                return;
        }
        if (name)
                name_set(client, lanemap_call_bytes(call, name), call->args[name].bytes);
        client->out.protocol = (uint32_t)protocol;
        if (lanemap_transaction_runs(client))
                client->transaction->reply.protocol = (uint32_t)protocol;
        hello_answer(call);
}

void lanemap_command_select(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        const char *text = lanemap_call_bytes(call, 1);
        size_t n_bytes = call->args[1].bytes;
        bool negative = n_bytes > 1 && text[0] == '-';
        uint64_t index;

        if (lanemap_number_parse(text + negative, n_bytes - negative, INT32_MAX, &index) < 0)
                lanemap_reply_error(reply, "ERR value is not an integer or out of range");
        else if (index != 0)
                lanemap_reply_error(reply, "ERR DB index is out of range");
        else
                lanemap_reply_simple(reply, "OK");
}

void lanemap_command_quit(const struct lanemap_call *call)
{
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
        call->client->close_after = true;
}

void lanemap_command_reset(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        struct lanemap_reply *reply = lanemap_client_reply(client);

        lanemap_transaction_leave(client);
        lanemap_watched_forget(client);
        client->out.protocol = 2;
        client->name[0] = 0;
        client->authenticated = !*call->server->options.password;
        client->parser.restricted = !client->authenticated;
        client->unauthenticated_since = call->server->seconds;
        lanemap_reply_simple(reply, "RESET");
}

/* A browser that was talked into speaking to us. Redis closes such connections, too. */
void lanemap_command_cross_protocol(const struct lanemap_call *call)
{
        lanemap_log_some(
                &call->server->browsers_said, call->server->seconds, LOG_WARNING,
                "client %llu at %s: HTTP words on a Redis connection, closing (someone may be "
                "using a browser to reach this port)",
                (unsigned long long)call->client->id, call->client->address);
        lanemap_client_close(call->client);
}
