/* See section.h. */
#include "section.h"

#include <errno.h>
#include <string.h>

#include "common/slot.h"
#include "die.h"
#include "memory.h"
#include "timer.h"

static int hash_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        struct perf_hash_cursor *cursor = (struct perf_hash_cursor *)base;

        while (cursor->wanted && cursor->at < cursor->n && !cursor->wanted(cursor, cursor->at))
                cursor->at++;
        if (cursor->at == cursor->n)
                return LANEMAP_CURSOR_END;

        ret_entry->fingerprint = (struct lanemap_fingerprint){.hash = cursor->hashes[cursor->at++]};
        cursor->id = perf_hash_id(ret_entry->fingerprint.hash);
        ret_entry->n_ids = 1;
        ret_entry->ids = &cursor->id;
        return 0;
}

static int hash_rewind(struct lanemap_cursor *base)
{
        ((struct perf_hash_cursor *)base)->at = 0;
        return 0;
}

void perf_hash_cursor_init(struct perf_hash_cursor *cursor, const uint64_t *hashes, uint64_t n)
{
        *cursor = (struct perf_hash_cursor){
                .cursor = {hash_next, hash_rewind}, .hashes = hashes, .n = n};
}

void perf_section_make(const char *name, const struct lanemap_segment_build_options *options,
                       struct lanemap_cursor *cursor, struct perf_section *ret_section)
{
        struct lanemap_segment_build_options all = *options;
        uint64_t slots[LANEMAP_SLOT_WORDS], cpu_ns, wall_ns;
        struct perf_section *section = ret_section;
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        int r;

        if (!heap)
                perf_die("memory", -ENOMEM);
        memset(slots, 0xff, sizeof(slots));
        all.slot_bitmap = slots;
        all.fingerprint_bits = 64;
        cpu_ns = perf_thread_ns();
        wall_ns = perf_now_ns();
        r = lanemap_segment_build(heap, &all, cursor, &built);
        cpu_ns = perf_thread_ns() - cpu_ns;
        wall_ns = perf_now_ns() - wall_ns;
        if (r < 0)
                perf_die(name, r);

        section->n_keys = built.n_keys;
        section->cpu_ns = (double)cpu_ns / (double)built.n_keys;
        section->wall_ns = (double)wall_ns / (double)built.n_keys;
        section->n_bytes = built.n_bytes;
        section->bytes = perf_map(built.n_bytes);
        memcpy(section->bytes, built.bytes, built.n_bytes);
        lanemap_heap_free(heap);
        r = lanemap_segment_open(&section->segment, section->bytes, section->n_bytes, 64);
        if (r < 0)
                perf_die(name, r);
}

void perf_section_free(struct perf_section *section)
{
        perf_unmap(section->bytes, section->n_bytes);
}
