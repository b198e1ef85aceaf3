/* See hanging_files.h. */
#include "hanging_files.h"

static void hang(const struct lanemap_files *files, unsigned call)
{
        struct hanging_files *hanging = LANEMAP_CONTAINER_OF(
                (struct lanemap_files *)(uintptr_t)files, struct hanging_files, files);

        pthread_mutex_lock(&hanging->mutex);
        hanging->n_hanging++;
        pthread_cond_broadcast(&hanging->wake);
        while (hanging->calls & call)
                pthread_cond_wait(&hanging->wake, &hanging->mutex);
        hanging->n_hanging--;
        pthread_mutex_unlock(&hanging->mutex);
}

static int hanging_sync(const struct lanemap_files *files, int fd)
{
        hang(files, HANGING_SYNC);
        return lanemap_files_posix.sync(&lanemap_files_posix, fd);
}

static int hanging_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        hang(files, HANGING_ALLOCATE);
        return lanemap_files_posix.allocate(&lanemap_files_posix, fd, at, n_bytes);
}

static ssize_t hanging_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                              size_t n_bytes, off_t at)
{
        hang(files, HANGING_PWRITE);
        return lanemap_files_posix.pwrite(&lanemap_files_posix, fd, bytes, n_bytes, at);
}

void hanging_files_init(struct hanging_files *hanging)
{
        *hanging = (struct hanging_files){.files = lanemap_files_posix};
        hanging->files.sync = hanging_sync;
        hanging->files.allocate = hanging_allocate;
        hanging->files.pwrite = hanging_pwrite;
        pthread_mutex_init(&hanging->mutex, NULL);
        pthread_cond_init(&hanging->wake, NULL);
}

void hanging_files_deinit(struct hanging_files *hanging)
{
        pthread_cond_destroy(&hanging->wake);
        pthread_mutex_destroy(&hanging->mutex);
}

void hanging_files_hang(struct hanging_files *hanging, unsigned calls)
{
        pthread_mutex_lock(&hanging->mutex);
        hanging->calls = calls;
        pthread_cond_broadcast(&hanging->wake);
        pthread_mutex_unlock(&hanging->mutex);
}

void hanging_files_wait(struct hanging_files *hanging)
{
        pthread_mutex_lock(&hanging->mutex);
        while (hanging->calls && hanging->n_hanging == 0)
                pthread_cond_wait(&hanging->wake, &hanging->mutex);
        pthread_mutex_unlock(&hanging->mutex);
}
