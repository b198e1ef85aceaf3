/* See client/state.h. */
#include "daemon/client/state.h"
#include "daemon/loop/job.h"

void lanemap_client_touch(struct lanemap_client *client)
{
        if (client->is_touched)
                return;
        client->is_touched = true;
        TAILQ_INSERT_TAIL(&client->server->touched, client, touched);
}

void lanemap_client_close(struct lanemap_client *client)
{
        client->close_now = true;
        lanemap_client_touch(client);
}

void lanemap_client_job_forget(struct lanemap_client *client)
{
        if (client->job)
                client->job->client = NULL;
        client->job = NULL;
}

void lanemap_client_block(struct lanemap_client *client, enum lanemap_blocked blocked)
{
        if (client->blocked == LANEMAP_BLOCKED_NOT)
                client->server->n_blocked++;
        client->server->n_requests += blocked == LANEMAP_BLOCKED_REQUEST;
        client->blocked = blocked;
}

void lanemap_client_unblock(struct lanemap_client *client)
{
        if (client->blocked == LANEMAP_BLOCKED_NOT)
                return;
        if (client->blocked == LANEMAP_BLOCKED_DURABLE)
                TAILQ_REMOVE(&client->server->durable_waits, client, waits);
        client->server->n_blocked--;
        client->server->n_requests -= client->blocked == LANEMAP_BLOCKED_REQUEST;
        client->blocked = LANEMAP_BLOCKED_NOT;
        lanemap_client_touch(client);
}
