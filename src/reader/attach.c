/*
 * Attaching: control object by name, the generation word, that data object, its segments.
 * Everything may change in between: ENOENT, a uuid or a generation that does not match mean
 * "again", never "corrupt".
 */
#include "reader/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takeovers in the midst of attaching that are followed before it is called a failure. */
#define ATTACH_TRIES_MAX 100

/* 16 TiB: what a 64-bit process can map without asking itself whether it may. */
#define DATA_BYTES_MAX (UINT64_C(1) << 44)

/* A mapping is half as large again as the object, and this much at least: so it is made anew a
 * logarithmic number of times while the object grows. */
#define DATA_SLACK_BYTES_MIN (UINT64_C(1) << 20)
#define DATA_PAGE_BYTES      UINT64_C(4096)

static int control_map(const struct lanemap_reader *reader, struct reader_attachment *attachment)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        const struct lanemap_shm_control *control;
        uint32_t version;
        struct stat st;
        int fd, r = 0;

        lanemap_shm_control_name(reader->name, object);
        fd = lanemap_shm_open_object(reader->shm_dir_fd, object, &st);
        if (fd < 0)
                return fd;

        attachment->control_inode = st.st_ino;
        attachment->trust = reader->trust;
        if (reader->trust.kind == LANEMAP_TRUST_ONE_OWNER)
                attachment->trust.uid = st.st_uid;
        if (st.st_size != LANEMAP_SHM_CONTROL_BYTES)
                r = lanemap_reader_detail(attachment, -EBADMSG, "%s has %lld bytes", object,
                                          (long long)st.st_size);
        if (r == 0)
                r = lanemap_reader_trust_check(attachment, object, &st);
        if (r < 0) {
                close(fd);
                return r;
        }

        control = mmap(NULL, LANEMAP_SHM_CONTROL_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (control == MAP_FAILED)
                return -errno;

        attachment->region.control = control;
        if (lanemap_load_relaxed(&control->magic) != LANEMAP_SHM_CONTROL_MAGIC)
                return lanemap_reader_detail(attachment, -EBADMSG, "%s has no magic", object);
        version = lanemap_load_relaxed(&control->version);
        if (version != LANEMAP_SHM_CONTROL_VERSION)
                return lanemap_reader_detail(attachment, -EPROTONOSUPPORT,
                                             "%s has format version %u, known is %u", object,
                                             version, LANEMAP_SHM_CONTROL_VERSION);

        return 0;
}

uint64_t lanemap_reader_data_mapped_bytes(uint64_t bytes, uint64_t bytes_max)
{
        uint64_t slack = LANEMAP_MAX(bytes / 2, DATA_SLACK_BYTES_MIN);

        return LANEMAP_MIN(bytes_max, LANEMAP_ALIGN_UP(bytes + slack, DATA_PAGE_BYTES));
}

bool lanemap_reader_is_outgrown(const struct reader_attachment *attachment, bool soon)
{
        uint64_t mapped = attachment->mapped_bytes;
        struct stat st;

        if (!attachment->data || mapped >= attachment->bytes_max ||
            fstat(attachment->data_fd, &st) < 0)
                return false;

        return (uint64_t)st.st_size > (soon ? mapped - mapped / 8 : mapped);
}

void lanemap_reader_data_populate(const struct reader_attachment *attachment)
{
#ifdef MADV_POPULATE_READ
        (void)madvise((void *)(uintptr_t)attachment->data,
                      lanemap_load_relaxed(&attachment->region.bytes), MADV_POPULATE_READ);
#endif
}

/*
 * Maps the data object with some room to grow: it only ever grows at its end. One that has outgrown
 * its mapping is attached to anew, as another generation would be: guards that are open, views
 * among them, go on in the old mapping, where all that they can reach is mapped still (an offset
 * beyond is "bad bytes", and the attachment is refreshed).
 */
static int data_map(const struct lanemap_reader *reader, struct reader_attachment *attachment)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        const struct reader_attachment *before = attachment->predecessor;
        struct lanemap_shm_data head;
        uint64_t bytes, mapped_bytes;
        struct stat st;
        void *base;
        int r;

        lanemap_shm_data_name(reader->name, attachment->region.generation, object);
        attachment->data_fd = lanemap_shm_open_object(reader->shm_dir_fd, object, &st);
        if (attachment->data_fd < 0)
                return attachment->data_fd;

        r = lanemap_reader_trust_check(attachment, object, &st);
        if (r < 0)
                return r;

        bytes = (uint64_t)st.st_size;
        if (pread(attachment->data_fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
            head.bytes_max < bytes || head.bytes_max > DATA_BYTES_MAX)
                return -EBADMSG;

        mapped_bytes = lanemap_reader_data_mapped_bytes(bytes, head.bytes_max);
        base = mmap(NULL, mapped_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, attachment->data_fd,
                    0);
        if (base == MAP_FAILED)
                return lanemap_reader_map_error(attachment, errno, object, mapped_bytes);

        attachment->data = base;
        attachment->mapped_bytes = mapped_bytes;
        attachment->bytes_max = head.bytes_max;
        r = lanemap_shm_region_init(&attachment->region, base, bytes);
        if (r == -EPROTONOSUPPORT)
                return lanemap_reader_detail(
                        attachment, r,
                        "%s has format version %u, features 0x%x, layout %016" PRIx64
                        "; known are %u, 0 and %016" PRIx64,
                        object, head.version, head.incompatible, head.layout_hash,
                        LANEMAP_SHM_DATA_VERSION, (uint64_t)LANEMAP_SHM_LAYOUT_HASH);
        if (r < 0)
                return r;
        if (memcmp(attachment->data->uuid, attachment->region.control->uuid, sizeof(head.uuid)) !=
            0)
                return -EBADMSG;

        attachment->region.kept = lanemap_shm_kept_new(attachment->region.n_lanes);
        if (!attachment->region.kept)
                return -ENOMEM;

        /* One that has only grown: a lookup may be waiting, and has what it needs in memory. */
        if (!before || before->region.generation != attachment->region.generation)
                lanemap_reader_data_populate(attachment);
        return 0;
}

/* The second path in the field, if there is one. A reader without it uses the originals, so nothing
 * that is wrong here is an error. */
static int copy_directory_keep(struct reader_attachment *attachment, const char *field)
{
        size_t first = strnlen(field, LANEMAP_SHM_DIRECTORY_BYTES);
        const char *path = field + first + 1;

        if (first + 1 >= LANEMAP_SHM_DIRECTORY_BYTES || *path != '/' ||
            !memchr(path, '\0', LANEMAP_SHM_DIRECTORY_BYTES - first - 1))
                return 0;

        attachment->copy_directory = strdup(path);
        return attachment->copy_directory ? 0 : -ENOMEM;
}

static int directory_open(const struct lanemap_reader *reader, struct reader_attachment *attachment)
{
        char field[LANEMAP_SHM_DIRECTORY_BYTES];
        const char *path = reader->directory;

        /* A copy: what is checked is what is opened. */
        memcpy(field, attachment->data->directory, sizeof(field));
        if (!path) {
                if (field[0] != '/' || !memchr(field, '\0', sizeof(field)))
                        return -EBADMSG;
                path = field;
        }

        attachment->directory_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return attachment->directory_fd < 0 ? -errno : copy_directory_keep(attachment, field);
}

static int attachment_try(const struct lanemap_reader *reader, struct reader_attachment *attachment)
{
        int r;

        r = control_map(reader, attachment);
        if (r < 0)
                return r;

        attachment->region.generation =
                lanemap_load_acquire(&attachment->region.control->generation);
        if (attachment->region.generation == 0)
                return -ETIMEDOUT;

        r = data_map(reader, attachment);
        if (r < 0)
                return r;

        r = directory_open(reader, attachment);
        if (r < 0)
                return r;

        return lanemap_reader_files_map_all(attachment);
}

/* Return: true if a takeover may be the cause of the failure. */
static bool attachment_moved_on(const struct reader_attachment *attachment)
{
        const struct lanemap_shm_control *control = attachment->region.control;

        return control && attachment->region.generation != 0 &&
               lanemap_load_acquire(&control->generation) != attachment->region.generation;
}

int lanemap_reader_attachment_new(struct lanemap_reader *reader,
                                  struct reader_attachment **ret_attachment)
{
        struct reader_attachment *attachment;
        int r = -ENOENT;

        for (int i = 0; i < ATTACH_TRIES_MAX; i++) {
                bool again;

                attachment = calloc(1, sizeof(*attachment));
                if (!attachment)
                        return -ENOMEM;

                attachment->retired.release = lanemap_reader_attachment_release;
                attachment->detail = reader->detail;
                attachment->data_fd = -1;
                attachment->directory_fd = -1;
                attachment->predecessor = reader->attachment;
                r = attachment_try(reader, attachment);
                attachment->predecessor = NULL;
                if (r == 0) {
                        *ret_attachment = attachment;
                        return 0;
                }

                again = r == LANEMAP_SHM_E_GENERATION || attachment_moved_on(attachment) ||
                        (r == -EBADMSG && lanemap_reader_is_outgrown(attachment, false));
                lanemap_reader_attachment_release(&attachment->retired);
                if (!again)
                        return r;
        }

        return r > 0 ? -ETIMEDOUT : r;
}

void lanemap_reader_attachment_release(struct reader_retired *retired)
{
        struct reader_attachment *attachment = (struct reader_attachment *)retired;

        if (!attachment)
                return;

        lanemap_reader_files_release(attachment->region.files);
        if (attachment->data)
                munmap((void *)(uintptr_t)attachment->data, attachment->mapped_bytes);
        if (attachment->region.control)
                munmap((void *)(uintptr_t)attachment->region.control, LANEMAP_SHM_CONTROL_BYTES);
        if (attachment->data_fd >= 0)
                close(attachment->data_fd);
        if (attachment->directory_fd >= 0)
                close(attachment->directory_fd);
        free(attachment->region.kept);
        free(attachment->copy_directory);
        free(attachment);
}
