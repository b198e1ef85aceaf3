/*
 * See segments_private.h: CHD and BDZ of libcmph, as a segment would have to use them.
 *
 * A perfect hash alone answers something for every key, so that is compared which answers the same
 * question as a segment: beside the packed function lies an array of entries, 8 bytes of
 * fingerprint and 4 of id each, in the order of the function. A merge is a build: nothing in them
 * is sorted, and the library has no other way.
 *
 * Sources: Belazzougui, Botelho, Dietzfelbinger, "Hash, displace, and compress", ESA 2009; Botelho,
 * Pagh, Ziviani, "Simple and space-efficient minimal perfect hash functions", WADS 2007.
 */
#include "segments/private.h"

#include <cmph.h>
#include <errno.h>
#include <string.h>

#include "common/base.h"

#define ENTRY_BYTES 12

struct method {
        const char *name;
        CMPH_ALGO algorithm;
};

static const struct method methods[] = {{"cmph_chd", CMPH_CHD}, {"cmph_bdz", CMPH_BDZ}};

struct function {
        unsigned char *packed; /* the function, then the entries from the next line of a cache */
        unsigned char *entries;
        size_t packed_bytes;
        size_t n_bytes;
        uint64_t n_keys;
};

static uint64_t function_place(const struct function *function, uint64_t hash)
{
        return cmph_search_packed(function->packed, (const char *)&hash, sizeof(hash));
}

/* ---- building ---- */

static cmph_t *library_build(const struct segments_run *run, const struct method *method)
{
        cmph_io_adapter_t *source =
                cmph_io_struct_vector_adapter(run->hashes, sizeof(*run->hashes), 0,
                                              sizeof(*run->hashes), (cmph_uint32)run->n_keys);
        cmph_config_t *config = cmph_config_new(source);
        cmph_t *library;

        cmph_config_set_algo(config, method->algorithm);
        library = cmph_new(config);
        cmph_config_destroy(config);
        cmph_io_struct_vector_adapter_destroy(source);
        if (!library)
                perf_die(method->name, -ENOMEM);
        return library;
}

static void entries_put(const struct segments_run *run, struct function *function)
{
        for (uint64_t i = 0; i < run->n_keys; i++) {
                uint64_t hash = run->hashes[i], place = function_place(function, hash);
                uint32_t id = perf_hash_id(hash);

                if (place >= run->n_keys)
                        perf_die("a place that is none", 0);
                memcpy(function->entries + place * ENTRY_BYTES, &hash, sizeof(hash));
                memcpy(function->entries + place * ENTRY_BYTES + sizeof(hash), &id, sizeof(id));
        }
}

/* Return: nanoseconds per key. */
static double function_make(const struct segments_run *run, const struct method *method,
                            struct function *ret_function)
{
        uint64_t from = perf_thread_ns();
        cmph_t *library = library_build(run, method);
        struct function function = {.packed_bytes = cmph_packed_size(library)};
        size_t entries_off = LANEMAP_ALIGN_UP(function.packed_bytes, 64);

        function.n_keys = run->n_keys;
        function.n_bytes = entries_off + run->n_keys * ENTRY_BYTES;
        function.packed = perf_map(function.n_bytes);
        function.entries = function.packed + entries_off;
        cmph_pack(library, function.packed);
        cmph_destroy(library);
        entries_put(run, &function);
        *ret_function = function;
        return (double)(perf_thread_ns() - from) / (double)run->n_keys;
}

/* ---- lookups ---- */

static bool entry_is(const struct function *function, uint64_t place, uint64_t hash,
                     uint32_t *ret_id)
{
        const unsigned char *entry = function->entries + place * ENTRY_BYTES;
        uint64_t fingerprint;

        memcpy(&fingerprint, entry, sizeof(fingerprint));
        if (fingerprint != hash)
                return false;

        memcpy(ret_id, entry + sizeof(fingerprint), sizeof(*ret_id));
        return true;
}

static double singles_run(const void *structure, const uint64_t *hashes, size_t n, bool hit)
{
        const struct function *function = structure;
        uint64_t mask = segments_zero, carry = 0, from = perf_thread_ns();

        for (size_t i = 0; i < n; i++) {
                uint64_t hash = hashes[i] ^ carry, place = function_place(function, hash);
                uint32_t id = 0;
                bool found = entry_is(function, place, hash, &id);

                segments_answer_check(found, id, hashes[i], hit);
                carry = ((uint64_t)id + found) & mask;
        }

        return (double)(perf_thread_ns() - from) / (double)n;
}

/* The library cannot be asked to prefetch its own lines; the entries can be requested together. */
static double batches_run(const void *structure, const uint64_t *hashes, size_t n, bool hit)
{
        const struct function *function = structure;
        uint64_t from = perf_thread_ns();

        for (size_t i = 0; i + SEGMENTS_BATCH_KEYS <= n; i += SEGMENTS_BATCH_KEYS) {
                uint64_t places[SEGMENTS_BATCH_KEYS];

                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++) {
                        places[k] = function_place(function, hashes[i + k]);
                        lanemap_prefetch(function->entries + places[k] * ENTRY_BYTES);
                }
                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++) {
                        uint32_t id = 0;
                        bool found = entry_is(function, places[k], hashes[i + k], &id);

                        segments_answer_check(found, id, hashes[i + k], hit);
                }
        }

        return (double)(perf_thread_ns() - from) /
               (double)(n / SEGMENTS_BATCH_KEYS * SEGMENTS_BATCH_KEYS);
}

static void method_measure(struct segments_run *run, const struct method *method)
{
        struct segments_subject subject = {
                .name = method->name, .singles = singles_run, .batches = batches_run};
        struct function function;

        segments_row(run, method->name, "build", function_make(run, method, &function), "ns/key");
        subject.structure = &function;
        subject.n_bytes = function.n_bytes;
        subject.index_bytes = (double)function.packed_bytes;
        segments_subject_measure(run, &subject);
        perf_unmap(function.packed, function.n_bytes);
}

void segments_cmph_measure(struct segments_run *run)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(methods); i++) {
                if (!segments_wanted(run, methods[i].name))
                        continue;
                if (run->n_keys > run->cmph_keys_max && !run->all)
                        perf_table_note(&run->table,
                                        "%s: left out above %llu keys (--cmph-keys, --all)",
                                        methods[i].name, (unsigned long long)run->cmph_keys_max);
                else
                        method_measure(run, &methods[i]);
        }
}
