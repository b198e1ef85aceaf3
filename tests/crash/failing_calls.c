/* See failing_calls.h. */
#include "failing_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef LANEMAP_HAVE_MIMALLOC
#include <mimalloc.h>
#endif

#define N_BLOCKS_MAX 65536

static uint64_t fail_at, n_in_a_row, n_calls;
static const char *failed, *only_name;
static void *blocks[N_BLOCKS_MAX];
static uint64_t n_blocks;
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;

void failing_calls_arm(uint64_t n, bool and_all_later)
{
        __atomic_store_n(&failed, NULL, __ATOMIC_SEQ_CST);
        __atomic_store_n(&n_calls, 0, __ATOMIC_SEQ_CST);
        only_name = NULL;
        n_in_a_row = and_all_later ? UINT64_MAX : 1;
        __atomic_store_n(&fail_at, n, __ATOMIC_SEQ_CST);
}

void failing_calls_arm_only(const char *name, uint64_t n, uint64_t n_failing)
{
        failing_calls_arm(0, false);
        only_name = name;
        n_in_a_row = n_failing;
        __atomic_store_n(&fail_at, n, __ATOMIC_SEQ_CST);
}

uint64_t failing_calls_disarm(void)
{
        __atomic_store_n(&fail_at, 0, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&n_calls, __ATOMIC_SEQ_CST);
}

const char *failing_calls_failed(void)
{
        return __atomic_load_n(&failed, __ATOMIC_SEQ_CST);
}

static bool fails(const char *name)
{
        uint64_t at = __atomic_load_n(&fail_at, __ATOMIC_SEQ_CST), n;
        const char *before;

        if (at == 0 || (only_name && strcmp(name, only_name) != 0))
                return false;

        n = __atomic_add_fetch(&n_calls, 1, __ATOMIC_SEQ_CST);
        before = failing_calls_failed();
        if (n == at)
                __atomic_store_n(&failed, name, __ATOMIC_SEQ_CST);
        return n == at || (n > at && n - at < n_in_a_row && before && strcmp(before, name) == 0);
}

/* ---- blocks ---- */

/* An open table by address; a block that another library took is not in it. */
static uint64_t block_slot(const void *block, const void *content)
{
        uint64_t at = ((uintptr_t)block >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 48;

        for (uint64_t i = 0; i < N_BLOCKS_MAX; i++, at = (at + 1) % N_BLOCKS_MAX)
                if (blocks[at] == content || (content != block && blocks[at] == (void *)1))
                        return at;
                else if (!blocks[at])
                        break;
        return N_BLOCKS_MAX;
}

static void *block_note(void *block)
{
        uint64_t at;

        if (!block)
                return NULL;

        pthread_mutex_lock(&blocks_lock);
        at = block_slot(block, NULL);
        if (at == N_BLOCKS_MAX)
                abort();
        blocks[at] = block;
        n_blocks++;
        pthread_mutex_unlock(&blocks_lock);
        return block;
}

static void block_forget(const void *block)
{
        uint64_t at;

        if (!block)
                return;

        pthread_mutex_lock(&blocks_lock);
        at = block_slot(block, block);
        if (at < N_BLOCKS_MAX) {
                blocks[at] = (void *)1; /* a grave: probing goes on behind it */
                n_blocks--;
        }
        pthread_mutex_unlock(&blocks_lock);
}

uint64_t failing_calls_n_blocks(void)
{
        uint64_t n;

        pthread_mutex_lock(&blocks_lock);
        n = n_blocks;
        pthread_mutex_unlock(&blocks_lock);
        return n;
}

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
        return fails("malloc") ? NULL : block_note(__real_malloc(bytes));
}

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes)
{
        return fails("calloc") ? NULL : block_note(__real_calloc(n, bytes));
}

void *__real_realloc(void *block, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes)
{
        void *grown = fails("realloc") ? NULL : __real_realloc(block, bytes);

        if (grown) {
                block_forget(block);
                block_note(grown);
        }
        return grown;
}

int __real_posix_memalign(void **block, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes)
{
        int r = fails("posix_memalign") ? ENOMEM : __real_posix_memalign(block, alignment, bytes);

        if (r == 0)
                block_note(*block);
        return r;
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
        return fails("strdup") ? NULL : block_note(__real_strdup(text));
}

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
        block_forget(block);
        __real_free(block);
}

#ifdef LANEMAP_HAVE_MIMALLOC
void *__real_mi_malloc(size_t bytes);
void *__wrap_mi_malloc(size_t bytes);
void *__wrap_mi_malloc(size_t bytes)
{
        return fails("mi_malloc") ? NULL : __real_mi_malloc(bytes);
}

void *__real_mi_realloc(void *block, size_t bytes);
void *__wrap_mi_realloc(void *block, size_t bytes);
void *__wrap_mi_realloc(void *block, size_t bytes)
{
        return fails("mi_realloc") ? NULL : __real_mi_realloc(block, bytes);
}

mi_heap_t *__real_mi_heap_new(void);
mi_heap_t *__wrap_mi_heap_new(void);
mi_heap_t *__wrap_mi_heap_new(void)
{
        return fails("mi_heap_new") ? NULL : __real_mi_heap_new();
}

void *__real_mi_heap_malloc(mi_heap_t *heap, size_t bytes);
void *__wrap_mi_heap_malloc(mi_heap_t *heap, size_t bytes);
void *__wrap_mi_heap_malloc(mi_heap_t *heap, size_t bytes)
{
        return fails("mi_heap_malloc") ? NULL : __real_mi_heap_malloc(heap, bytes);
}
#endif

/* ---- system calls ---- */

static int failure(int error)
{
        errno = error;
        return -1;
}

/* WRAP(answer, name, error, parameters, arguments): a call that answers -1 and sets errno. */
#define WRAP(type, name, error, parameters, arguments)                          \
        type __real_##name parameters;                                          \
        type __wrap_##name parameters;                                          \
        type __wrap_##name parameters                                           \
        {                                                                       \
                return fails(#name) ? failure(error) : __real_##name arguments; \
        }

WRAP(int, openat64, EMFILE, (int dir_fd, const char *name, int flags, mode_t mode),
     (dir_fd, name, flags, mode))
WRAP(int, open64, EMFILE, (const char *name, int flags, mode_t mode), (name, flags, mode))
WRAP(int, fstat64, EIO, (int fd, struct stat *st), (fd, st))
WRAP(int, fstatat64, EIO, (int dir_fd, const char *name, struct stat *st, int flags),
     (dir_fd, name, st, flags))
WRAP(ssize_t, pread64, EIO, (int fd, void *bytes, size_t n_bytes, off_t at),
     (fd, bytes, n_bytes, at))
WRAP(ssize_t, pwrite64, EIO, (int fd, const void *bytes, size_t n_bytes, off_t at),
     (fd, bytes, n_bytes, at))
WRAP(int, ftruncate64, EIO, (int fd, off_t n_bytes), (fd, n_bytes))
WRAP(int, fdatasync, EIO, (int fd), (fd))
WRAP(int, fsync, EIO, (int fd), (fd))
WRAP(int, fchmod, EIO, (int fd, mode_t mode), (fd, mode))
WRAP(int, renameat, EIO, (int from_fd, const char *from, int to_fd, const char *to),
     (from_fd, from, to_fd, to))
WRAP(int, renameat2, EIO,
     (int from_fd, const char *from, int to_fd, const char *to, unsigned flags),
     (from_fd, from, to_fd, to, flags))
WRAP(int, unlinkat, EIO, (int dir_fd, const char *name, int flags), (dir_fd, name, flags))
WRAP(int, linkat, EIO, (int from_fd, const char *from, int to_fd, const char *to, int flags),
     (from_fd, from, to_fd, to, flags))
WRAP(int, mkdir, ENOSPC, (const char *name, mode_t mode), (name, mode))
WRAP(int, mkdirat, ENOSPC, (int dir_fd, const char *name, mode_t mode), (dir_fd, name, mode))
WRAP(int, memfd_create, EMFILE, (const char *name, unsigned flags), (name, flags))
WRAP(int, eventfd, EMFILE, (unsigned value, int flags), (value, flags))
WRAP(int, madvise, ENOMEM, (void *at, size_t n_bytes, int advice), (at, n_bytes, advice))
WRAP(ssize_t, getrandom, EINTR, (void *bytes, size_t n_bytes, unsigned flags),
     (bytes, n_bytes, flags))
WRAP(int, fstatfs64, EIO, (int fd, void *st), (fd, st))
WRAP(int, fstatvfs64, EIO, (int fd, void *st), (fd, st))
WRAP(int, fcntl64, ENOLCK, (int fd, int command, void *argument), (fd, command, argument))

void *__real_mmap64(void *at, size_t n_bytes, int protection, int flags, int fd, off_t from);
void *__wrap_mmap64(void *at, size_t n_bytes, int protection, int flags, int fd, off_t from);
void *__wrap_mmap64(void *at, size_t n_bytes, int protection, int flags, int fd, off_t from)
{
        if (!fails("mmap"))
                return __real_mmap64(at, n_bytes, protection, flags, fd, from);

        errno = ENOMEM;
        return MAP_FAILED;
}

int __real_posix_fallocate64(int fd, off_t at, off_t n_bytes);
int __wrap_posix_fallocate64(int fd, off_t at, off_t n_bytes);
int __wrap_posix_fallocate64(int fd, off_t at, off_t n_bytes)
{
        return fails("posix_fallocate") ? ENOSPC : __real_posix_fallocate64(fd, at, n_bytes);
}

/* The descriptor is gone all the same, as with the real one. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
        bool failing = fails("close");
        int r = __real_close(fd);

        return failing ? failure(EIO) : r;
}

DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
        if (!fails("fdopendir"))
                return __real_fdopendir(fd);

        errno = ENOMEM;
        return NULL;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *arg), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *arg), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*main)(void *arg), void *arg)
{
        return fails("pthread_create") ? EAGAIN
                                       : __real_pthread_create(thread, attributes, main, arg);
}
