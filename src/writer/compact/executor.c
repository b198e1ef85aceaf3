/*
 * Parts of a build, done also by workers that have nothing else to do (common/executor.h).
 *
 * The builder puts a job on the list, works on it until every part is taken, takes it off the list,
 * and waits for the workers that joined. A worker joins when it would otherwise sleep, and stays
 * until no part is left. So a job never waits for a thread that is busy with something else.
 */
#include "writer/compact/compact.h"

#include "common/order.h"
#include "writer/core/core.h"

struct writer_job {
        struct writer_job *next_job;
        void (*task)(void *arg, uint32_t i, uint32_t thread);
        void *arg;
        uint32_t n;
        uint32_t next;      /* atomic: the next part that nobody has taken */
        uint32_t n_joined;  /* under workers.lock: threads that ever were at work, the builder's one
                             of
                             * them */
        uint32_t n_helping; /* under workers.lock: others that are at work now */
};

static void job_work(struct writer_job *job, uint32_t thread)
{
        uint32_t i;

        while ((i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < job->n)
                job->task(job->arg, i, thread);
}

static void executor_run(struct lanemap_executor *executor,
                         void (*task)(void *arg, uint32_t i, uint32_t thread), void *arg,
                         uint32_t n)
{
        struct lanemap_writer *writer =
                LANEMAP_CONTAINER_OF(executor, struct lanemap_writer, workers.executor);
        struct writer_job job = {.task = task, .arg = arg, .n = n, .n_joined = 1};
        struct writer_job **link;

        if (n > 1) {
                lanemap_mutex_lock(&writer->workers.lock);
                job.next_job = writer->workers.jobs;
                writer->workers.jobs = &job;
                pthread_cond_broadcast(&writer->workers.wake);
                lanemap_mutex_unlock(&writer->workers.lock);
        }

        job_work(&job, 0);
        if (n <= 1)
                return;

        lanemap_mutex_lock(&writer->workers.lock);
        for (link = &writer->workers.jobs; *link != &job; link = &(*link)->next_job)
                ;
        *link = job.next_job;
        while (job.n_helping > 0)
                lanemap_cond_wait(&writer->workers.job_done, &writer->workers.lock);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_executor_init(struct lanemap_writer *writer, uint32_t n_workers)
{
        pthread_cond_init(&writer->workers.job_done, NULL);
        writer->workers.executor = (struct lanemap_executor){
                .run = executor_run,
                .n_threads = n_workers + 1,
        };
}

/* Under workers.lock. A job that has a part left, and room for one more thread. */
static struct writer_job *job_open(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->workers.lock)
{
        struct writer_job *job = writer->workers.jobs;

        while (job && (lanemap_load_relaxed(&job->next) >= job->n ||
                       job->n_joined == writer->workers.executor.n_threads))
                job = job->next_job;

        return job;
}

/* Under workers.lock, which it gives back meanwhile. */
static void job_help(struct lanemap_writer *writer, struct writer_job *job)
        LANEMAP_REQUIRES(writer->workers.lock)
{
        uint32_t thread = job->n_joined++;

        job->n_helping++;
        lanemap_mutex_unlock(&writer->workers.lock);
        job_work(job, thread);
        lanemap_mutex_lock(&writer->workers.lock);
        if (--job->n_helping == 0)
                pthread_cond_broadcast(&writer->workers.job_done);
}

uint64_t lanemap_engine_worker_wait(struct lanemap_writer *writer, uint64_t seen)
{
        struct writer_job *job = NULL;

        lanemap_mutex_lock(&writer->workers.lock);
        while (writer->workers.signal == seen && !lanemap_load_acquire(&writer->workers.stopping)) {
                job = job_open(writer);
                if (!job) {
                        lanemap_engine_cond_wait_ns(&writer->workers.wake, &writer->workers.lock,
                                                    UINT64_C(1000) * 1000 * 1000);
                        job = job_open(writer);
                }
                if (!job)
                        break;
                job_help(writer, job);
        }
        seen = writer->workers.signal;
        lanemap_mutex_unlock(&writer->workers.lock);
        return seen;
}
