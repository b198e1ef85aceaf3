/* See intake.h. */
#include "segment/intake.h"

#include <string.h>

#include "segment/filter/build.h"
#include "segment/read.h"

int lanemap_build_intake_init(struct lanemap_build_intake *intake,
                              const struct lanemap_segment_build_options *options)
{
        uint32_t bits = options->fingerprint_bits;

        if (!options->slot_bitmap || !lanemap_fingerprint_bits_known(bits))
                return -EINVAL;

        *intake = (struct lanemap_build_intake){.fingerprint_bits = bits, .slot = LANEMAP_N_SLOTS};
        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                intake->slot_bitmap[i] = options->slot_bitmap[i];
                intake->slot_ranks[i] = (uint16_t)intake->n_slots;
                intake->n_slots += (uint32_t)__builtin_popcountll(options->slot_bitmap[i]);
        }

        return 0;
}

void lanemap_build_intake_restart(struct lanemap_build_intake *intake)
{
        intake->n_keys = 0;
        intake->n_pairs = 0;
        intake->n_tombstones = 0;
}

bool lanemap_build_intake_agrees(const struct lanemap_build_intake *a,
                                 const struct lanemap_build_intake *b)
{
        return a->n_keys == b->n_keys && a->n_pairs == b->n_pairs &&
               a->n_tombstones == b->n_tombstones;
}

/* Entries come in the order of their slots, so the rank is seldom looked up. */
int lanemap_build_intake_enter_slot(struct lanemap_build_intake *intake, uint32_t slot)
{
        uint64_t word = intake->slot_bitmap[slot >> 6], bit = UINT64_C(1) << (slot & 63);

        if (!(word & bit))
                return -EINVAL;

        intake->slot = slot;
        intake->rank =
                intake->slot_ranks[slot >> 6] + (uint32_t)__builtin_popcountll(word & (bit - 1));
        return 0;
}

int lanemap_build_values_settle(struct lanemap_build_values *values, uint64_t n_tombstones)
{
        uint32_t list_bits = values->n_lists ? lanemap_bits_width(values->last_list_off + 1) : 0;

        values->flagged = values->n_lists > 0 || n_tombstones > 0;
        values->value_bits = LANEMAP_MAX(lanemap_bits_width(values->inline_max), list_bits);
        return values->value_bits > LANEMAP_SEGMENT_VALUE_BITS_MAX ? -EFBIG : 0;
}

int lanemap_build_values_put_list(struct lanemap_build_values *values,
                                  const struct lanemap_entry *entry, uint64_t *ret_value)
{
        uint64_t n_bytes = lanemap_segment_posting_size(entry->ids, entry->n_ids);

        if (values->n_lists == 0 || values->postings_at > values->last_list_off ||
            entry->n_ids > values->ids_max ||
            n_bytes > values->postings_bytes - values->postings_at)
                return -EINVAL;

        *ret_value = UINT64_C(1) << values->value_bits | values->postings_at;
        lanemap_segment_posting_encode(values->postings + values->postings_at, entry->ids,
                                       entry->n_ids);
        values->postings_at += n_bytes;
        return 0;
}

void lanemap_build_header_put(unsigned char *bytes, struct lanemap_segment_section_file *header,
                              const struct lanemap_build_intake *intake,
                              const struct lanemap_build_values *values,
                              const struct lanemap_segment_layout *layout)
{
        header->magic = htole64(LANEMAP_SEGMENT_SECTION_MAGIC);
        header->version = htole32(LANEMAP_SEGMENT_FORMAT_VERSION);
        header->fingerprint_bits = htole32(intake->fingerprint_bits);
        header->section_bytes = htole64(layout->section_bytes);
        header->n_keys = htole64(intake->n_keys);
        header->n_pairs = htole64(intake->n_pairs);
        header->n_tombstones = htole64(intake->n_tombstones);
        header->index_off = htole64(layout->index_off);
        header->tags_off = htole64(layout->tags_off);
        header->payload_off = htole64(layout->payload_off);
        header->postings_off = htole64(layout->postings_off);
        header->postings_bytes = htole64(values->postings_bytes);
        header->ids_max = htole32(values->ids_max);
        header->n_slots = htole32(intake->n_slots);
        header->value_flags = htole32(values->flagged ? LANEMAP_SEGMENT_VALUE_FLAGGED : 0);
        header->value_bits = htole32(values->value_bits);
        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                header->slot_bitmap[i] = htole64(intake->slot_bitmap[i]);
                header->slot_ranks[i] = htole16(intake->slot_ranks[i]);
        }
        header->check = 0;
        header->check = htole64(lanemap_segment_check_of(header, sizeof(*header)));
        memcpy(bytes, header, sizeof(*header));
}

int lanemap_build_buffer_extend(struct lanemap_build_buffer *buffer, uint64_t n_more)
{
        uint64_t need = buffer->n_bytes + n_more;

        if (need > buffer->capacity) {
                uint64_t capacity = LANEMAP_MAX(need + need / 2, 4096);
                unsigned char *bytes = lanemap_realloc(buffer->bytes, capacity);

                if (!bytes)
                        return -ENOMEM;
                memset(bytes + buffer->capacity, 0, capacity - buffer->capacity);
                buffer->bytes = bytes;
                buffer->capacity = capacity;
        }

        buffer->n_bytes = need;
        return 0;
}

unsigned char *lanemap_build_block(struct lanemap_heap *heap,
                                   const struct lanemap_segment_build_options *options,
                                   uint64_t section_bytes, uint64_t n_keys)
{
        uint64_t n_bytes = section_bytes + lanemap_filter_room(options->filter, n_keys);
        unsigned char *bytes = lanemap_heap_alloc(heap, n_bytes);

        if (bytes)
                memset(bytes, 0, n_bytes);
        return bytes;
}
