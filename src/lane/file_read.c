/* See file_read.h. */
#include "lane/file_read.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bits.h"

static uint64_t page_bytes(void)
{
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* At a multiple of a huge page: room for it is reserved, and what is too much given back. */
static void *map_aligned(int fd, uint64_t n_bytes)
{
        uint64_t n_reserved = LANEMAP_ALIGN_UP(n_bytes, LANEMAP_LANE_HUGE_PAGE_BYTES) +
                              LANEMAP_LANE_HUGE_PAGE_BYTES;
        char *reserved, *at;

        reserved = mmap(NULL, n_reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1, 0);
        if (reserved == MAP_FAILED)
                return MAP_FAILED;

        at = (char *)LANEMAP_ALIGN_UP((uintptr_t)reserved, (uintptr_t)LANEMAP_LANE_HUGE_PAGE_BYTES);
        if (mmap(at, n_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
                munmap(reserved, n_reserved);
                return MAP_FAILED;
        }

        if (at > reserved)
                munmap(reserved, (size_t)(at - reserved));
        n_bytes = LANEMAP_ALIGN_UP(n_bytes, page_bytes());
        munmap(at + n_bytes, n_reserved - (size_t)(at - reserved) - n_bytes);
        return at;
}

int lanemap_lane_file_map(int fd, bool huge, void **ret_bytes, uint64_t *ret_n_bytes)
{
        struct stat st;
        uint64_t n_bytes;
        void *bytes;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size <= 0)
                return -EBADMSG;

        n_bytes = (uint64_t)st.st_size;
        bytes = huge && n_bytes >= LANEMAP_LANE_HUGE_PAGE_BYTES
                        ? map_aligned(fd, n_bytes)
                        : mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED)
                return -errno;

        *ret_bytes = bytes;
        *ret_n_bytes = n_bytes;
        return 0;
}

/* Return: whether all of it is there; errno of pread(2). */
static int probe_read(int fd, void *bytes, size_t n_bytes, uint64_t offset)
{
        ssize_t n;

        do
                n = pread(fd, bytes, n_bytes, (off_t)offset);
        while (n < 0 && errno == EINTR);

        return n < 0 ? -errno : (size_t)n == n_bytes;
}

int lanemap_lane_file_probe(int fd)
{
        struct lanemap_segment_header_file header;
        struct lanemap_segment_table_file record;
        struct lanemap_segment_section_file section;
        uint32_t n_sections;
        int r;

        r = probe_read(fd, &header, sizeof(header), 0);
        if (r <= 0)
                return r;

        n_sections = LANEMAP_MIN(le32toh(header.n_sections), LANEMAP_SEGMENT_N_SECTIONS_MAX);
        for (uint32_t i = 0; i < n_sections && r > 0; i++) {
                r = probe_read(fd, &record, sizeof(record),
                               sizeof(header) + (uint64_t)i * sizeof(record));
                if (r > 0 && le64toh(record.offset) <= INT64_MAX)
                        r = probe_read(fd, &section, sizeof(section), le64toh(record.offset));
        }

        return r < 0 ? r : 0;
}

/* madvise() takes whole pages. */
static int range_advise(const void *bytes, uint64_t n_bytes, int advice)
{
        uintptr_t start = (uintptr_t)bytes & ~(uintptr_t)(page_bytes() - 1);

        return madvise((void *)start, n_bytes + ((uintptr_t)bytes - start), advice) < 0 ? -errno
                                                                                        : 0;
}

int lanemap_lane_file_populate(const void *bytes, uint64_t n_bytes)
{
        int r;

        if (n_bytes == 0)
                return 0;

        r = range_advise(bytes, n_bytes, MADV_POPULATE_READ);
        if (r == 0)
                return 0;
        if (r != -EINVAL && r != -ENOSYS)
                return -EFAULT;

        /* An older kernel: ask for the bytes, then look at each page. */
        (void)range_advise(bytes, n_bytes, MADV_WILLNEED);
        for (uint64_t at = 0; at < n_bytes; at += page_bytes())
                (void)*((const volatile unsigned char *)bytes + at);
        (void)*((const volatile unsigned char *)bytes + n_bytes - 1);
        return 0;
}

int lanemap_lane_file_collapse(const void *bytes, uint64_t n_bytes)
{
        if (n_bytes < LANEMAP_LANE_HUGE_PAGE_BYTES)
                return 0;

        return range_advise(bytes, n_bytes, MADV_COLLAPSE);
}

int lanemap_lane_file_parse(const struct lanemap_segment_file *header, uint32_t fingerprint_bits,
                            struct lanemap_lane_file *ret_file)
{
        struct lanemap_segment_file_section section;
        struct lanemap_lane_file *file = ret_file;
        int r;

        *file = (struct lanemap_lane_file){
                .number = header->file_number,
                .check = lanemap_load_le64(header->checksum),
                .bytes = header->bytes,
                .n_bytes = header->n_bytes,
                .n_sections = header->n_sections,
        };
        for (uint32_t i = 0; i < header->n_sections; i++) {
                r = lanemap_segment_file_section(header, i, &section);
                if (r == 0)
                        r = lanemap_segment_open(&file->sections[i], header->bytes + section.offset,
                                                 section.n_bytes, fingerprint_bits);
                if (r < 0)
                        return r;
        }

        return 0;
}
