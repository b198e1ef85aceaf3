/*
 * Parts of a build, done also by workers that have nothing else to do (common/executor.h).
 *
 * Whoever builds puts a job on the list, works on it himself until every part is taken, takes it off
 * the list, and waits for those who joined. A worker joins when it would otherwise sleep, and stays
 * until no part is left. So a job never waits for a thread that is busy with something else.
 */
#include "writer/core/engine.h"

#include "common/order.h"

struct writer_job {
        struct writer_job *next_job;
        void (*task)(void *arg, uint32_t i, uint32_t thread);
        void *arg;
        uint32_t n;
        uint32_t next;      /* atomic: the next part that nobody has taken */
        uint32_t n_joined;  /* under work_lock: threads that ever were at work, the builder's one of
                             * them */
        uint32_t n_helping; /* under work_lock: others that are at work now */
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
                LANEMAP_CONTAINER_OF(executor, struct lanemap_writer, executor);
        struct writer_job job = {.task = task, .arg = arg, .n = n, .n_joined = 1};
        struct writer_job **link;

        if (n > 1) {
                pthread_mutex_lock(&writer->work_lock);
                job.next_job = writer->jobs;
                writer->jobs = &job;
                pthread_cond_broadcast(&writer->worker_wake);
                pthread_mutex_unlock(&writer->work_lock);
        }

        job_work(&job, 0);
        if (n <= 1)
                return;

        pthread_mutex_lock(&writer->work_lock);
        for (link = &writer->jobs; *link != &job; link = &(*link)->next_job)
                ;
        *link = job.next_job;
        while (job.n_helping > 0)
                pthread_cond_wait(&writer->job_done, &writer->work_lock);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_executor_init(struct lanemap_writer *writer, uint32_t n_workers)
{
        pthread_cond_init(&writer->job_done, NULL);
        writer->executor = (struct lanemap_executor){
                .run = executor_run,
                .n_threads = n_workers + 1,
        };
}

/* Under work_lock. A job that has a part left, and room for one more thread. */
static struct writer_job *job_open(struct lanemap_writer *writer)
{
        struct writer_job *job = writer->jobs;

        while (job && (lanemap_load_relaxed(&job->next) >= job->n ||
                       job->n_joined == writer->executor.n_threads))
                job = job->next_job;

        return job;
}

/* Under work_lock, which it gives back meanwhile. */
static void job_help(struct lanemap_writer *writer, struct writer_job *job)
{
        uint32_t thread = job->n_joined++;

        job->n_helping++;
        pthread_mutex_unlock(&writer->work_lock);
        job_work(job, thread);
        pthread_mutex_lock(&writer->work_lock);
        if (--job->n_helping == 0)
                pthread_cond_broadcast(&writer->job_done);
}

uint64_t lanemap_engine_worker_wait(struct lanemap_writer *writer, uint64_t seen)
{
        struct writer_job *job = NULL;

        pthread_mutex_lock(&writer->work_lock);
        while (writer->worker_signal == seen && !lanemap_load_acquire(&writer->stopping)) {
                job = job_open(writer);
                if (!job) {
                        lanemap_engine_cond_wait_ns(&writer->worker_wake, &writer->work_lock,
                                                    UINT64_C(1000) * 1000 * 1000);
                        job = job_open(writer);
                }
                if (!job)
                        break;
                job_help(writer, job);
        }
        seen = writer->worker_signal;
        pthread_mutex_unlock(&writer->work_lock);
        return seen;
}
