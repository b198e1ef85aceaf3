/*
 * Requests: long work that a caller starts and asks about later. They go through a wait-free queue
 * from any thread to the flusher, which serves them in order.
 */
#include "writer/life/life.h"

#include <errno.h>

#include "common/alloc.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"

int lanemap_writer_request(struct lanemap_writer *writer, uint32_t request, uint64_t *ret_ticket)
{
        struct writer_request *entry;

        if (request < LANEMAP_REQUEST_FLUSH || request > LANEMAP_REQUEST_FLIP)
                return -EINVAL;

        entry = lanemap_alloc_zero(sizeof(*entry));
        if (!entry)
                return -ENOMEM;

        entry->request = request;
        entry->result = LANEMAP_PENDING;
        cds_wfcq_node_init(&entry->node);

        lanemap_mutex_lock(&writer->requests.lock);
        entry->ticket = ++writer->requests.next_ticket;
        entry->next = writer->requests.list;
        writer->requests.list = entry;
        *ret_ticket = entry->ticket;
        lanemap_mutex_unlock(&writer->requests.lock);

        cds_wfcq_enqueue(&writer->requests.head, &writer->requests.tail, &entry->node);
        lanemap_engine_flusher_signal(writer);
        return 0;
}

static int request_run(struct lanemap_writer *writer, uint32_t request)
{
        int r;

        r = lanemap_engine_flush_run(writer, true);
        if (r < 0 || request == LANEMAP_REQUEST_FLUSH)
                return r;

        if (request == LANEMAP_REQUEST_COMPACT) {
                r = lanemap_engine_compact(writer);
                if (r < 0)
                        return r;
        }

        return lanemap_engine_flip_run(writer, request == LANEMAP_REQUEST_COMPACT
                                                       ? WRITER_FLIP_WORTH_IT
                                                       : WRITER_FLIP_ASKED);
}

void lanemap_engine_requests_serve(struct lanemap_writer *writer)
{
        struct cds_wfcq_node *node;

        while ((node = __cds_wfcq_dequeue_blocking(&writer->requests.head,
                                                   &writer->requests.tail))) {
                struct writer_request *entry =
                        LANEMAP_CONTAINER_OF(node, struct writer_request, node);
                uint32_t request;
                int r;

                /* The queue is order enough; a race detector sees only the lock. */
                lanemap_mutex_lock(&writer->requests.lock);
                request = entry->request;
                lanemap_mutex_unlock(&writer->requests.lock);
                r = request_run(writer, request);

                lanemap_mutex_lock(&writer->requests.lock);
                entry->result = r;
                pthread_cond_broadcast(&writer->requests.done);
                lanemap_mutex_unlock(&writer->requests.lock);
                lanemap_engine_event_notify(writer);
        }
}

/* Under requests.lock: a result is returned once, and then freed. */
static int request_take(struct lanemap_writer *writer, uint64_t ticket)
{
        struct writer_request **link = &writer->requests.list;

        for (; *link; link = &(*link)->next) {
                struct writer_request *entry = *link;
                int r = entry->result;

                if (entry->ticket != ticket)
                        continue;
                if (r == LANEMAP_PENDING)
                        return r;

                *link = entry->next;
                lanemap_free(entry);
                return r;
        }

        return -ENOENT;
}

int lanemap_writer_request_state(struct lanemap_writer *writer, uint64_t ticket)
{
        int r;

        lanemap_mutex_lock(&writer->requests.lock);
        r = request_take(writer, ticket);
        lanemap_mutex_unlock(&writer->requests.lock);
        return r;
}

int lanemap_writer_request_wait(struct lanemap_writer *writer, uint64_t ticket)
{
        int r;

        lanemap_mutex_lock(&writer->requests.lock);
        while ((r = request_take(writer, ticket)) == LANEMAP_PENDING)
                lanemap_cond_wait(&writer->requests.done, &writer->requests.lock);
        lanemap_mutex_unlock(&writer->requests.lock);
        return r;
}

void lanemap_engine_requests_free(struct lanemap_writer *writer)
{
        while (writer->requests.list) {
                struct writer_request *next = writer->requests.list->next;

                lanemap_free(writer->requests.list);
                writer->requests.list = next;
        }
}
