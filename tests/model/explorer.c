/* See explorer.h. */
#include "explorer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/check.h"

#define DEPTH_MAX 256

/* ---- the machine ---- */

static void view_join(struct explorer_view *view, const struct explorer_view *other)
{
        for (uint32_t i = 0; i < EXPLORER_LOCATIONS_MAX; i++)
                view->at[i] = LANEMAP_MAX(view->at[i], other->at[i]);
}

static void LANEMAP_PRINTF(2, 3) step_say(struct explorer_step *step, const char *format, ...)
{
        size_t used = strlen(step->text);
        va_list args;

        va_start(args, format);
        vsnprintf(step->text + used, sizeof(step->text) - used, format, args);
        va_end(args);
}

static const char *order_name(enum explorer_order order)
{
        return order == EXPLORER_ACQUIRE   ? "acquire"
               : order == EXPLORER_RELEASE ? "release"
                                           : "relaxed";
}

uint8_t explorer_load(struct explorer_step *step, uint32_t location, enum explorer_order order)
{
        struct explorer_world *world = step->world;
        struct explorer_thread *thread = &world->threads[step->thread];
        uint32_t first = thread->now.at[location], at = first + step->choice;
        const struct explorer_message *message = &world->messages[location][at];

        step->n_choices = world->n_messages[location] - first;
        thread->now.at[location] = (uint8_t)at;
        view_join(&thread->acquirable, &message->view);
        if (order == EXPLORER_ACQUIRE)
                view_join(&thread->now, &message->view);
        view_join(&thread->acquirable, &thread->now);
        step_say(step, "load %s of %s: %u%s", order_name(order),
                 step->program->location_names[location], message->value,
                 at + 1 < world->n_messages[location] ? " (there is a newer one)" : "");
        return message->value;
}

/* A message is about to be put at `at`: what views say of later ones moves on. */
static void view_make_room(struct explorer_view *view, uint32_t location, uint32_t at)
{
        if (view->at[location] >= at)
                view->at[location]++;
}

static void world_make_room(struct explorer_world *world, uint32_t location, uint32_t at)
{
        for (uint32_t l = 0; l < EXPLORER_LOCATIONS_MAX; l++)
                for (uint32_t m = 0; m < world->n_messages[l]; m++)
                        view_make_room(&world->messages[l][m].view, location, at);
        for (uint32_t t = 0; t < EXPLORER_THREADS_MAX; t++) {
                view_make_room(&world->threads[t].now, location, at);
                view_make_room(&world->threads[t].acquirable, location, at);
                view_make_room(&world->threads[t].released, location, at);
        }
        view_make_room(&world->lock_view, location, at);

        memmove(&world->messages[location][at + 1], &world->messages[location][at],
                (world->n_messages[location] - at) * sizeof(world->messages[0][0]));
        world->n_messages[location]++;
}

void explorer_store(struct explorer_step *step, uint32_t location, uint8_t value,
                    enum explorer_order order)
{
        struct explorer_world *world = step->world;
        struct explorer_thread *thread = &world->threads[step->thread];
        uint32_t at = thread->now.at[location] + 1 + step->choice;
        struct explorer_message *message = &world->messages[location][at];

        lanemap_check(world->n_messages[location] < EXPLORER_MESSAGES_MAX);
        step->n_choices = world->n_messages[location] - thread->now.at[location];
        world_make_room(world, location, at);
        thread->now.at[location] = (uint8_t)at;
        view_join(&thread->acquirable, &thread->now);
        message->value = value;
        message->view = order == EXPLORER_RELEASE ? thread->now : thread->released;
        message->view.at[location] = (uint8_t)at;
        step_say(step, "store %s to %s: %u", order_name(order),
                 step->program->location_names[location], value);
}

void explorer_fence(struct explorer_step *step, enum explorer_order order)
{
        struct explorer_thread *thread = &step->world->threads[step->thread];

        if (order == EXPLORER_ACQUIRE)
                thread->now = thread->acquirable;
        else
                thread->released = thread->now;
        step_say(step, "fence %s", order_name(order));
}

void explorer_lock(struct explorer_step *step)
{
        struct explorer_thread *thread = &step->world->threads[step->thread];

        view_join(&thread->now, &step->world->lock_view);
        view_join(&thread->acquirable, &thread->now);
        step_say(step, "lock");
}

void explorer_unlock(struct explorer_step *step, uint32_t next_thread)
{
        view_join(&step->world->lock_view, &step->world->threads[step->thread].now);
        step->world->lock_turn = (uint8_t)next_thread;
        step_say(step, "unlock");
}

void explorer_violate(struct explorer_step *step, const char *format, ...)
{
        size_t used = strlen(step->text);
        va_list args;

        step->is_violation = true;
        used += (size_t)snprintf(step->text + used, sizeof(step->text) - used, " => ");
        va_start(args, format);
        if (used < sizeof(step->text))
                vsnprintf(step->text + used, sizeof(step->text) - used, format, args);
        va_end(args);
}

/* ---- forgetting what nobody can see ---- */

static void view_rebase(struct explorer_view *view, uint32_t location, uint32_t base)
{
        view->at[location] = (uint8_t)(view->at[location] > base ? view->at[location] - base : 0);
}

static void location_forget(struct explorer_world *world, uint32_t n_threads, uint32_t location)
{
        uint32_t base = world->n_messages[location] - 1u, n;

        for (uint32_t t = 0; t < n_threads; t++)
                if (!world->threads[t].is_done)
                        base = LANEMAP_MIN(base, (uint32_t)world->threads[t].now.at[location]);
        if (base == 0)
                return;

        n = world->n_messages[location] - base;
        memmove(&world->messages[location][0], &world->messages[location][base],
                n * sizeof(world->messages[0][0]));
        memset(&world->messages[location][n], 0, base * sizeof(world->messages[0][0]));
        world->n_messages[location] = (uint8_t)n;

        for (uint32_t l = 0; l < EXPLORER_LOCATIONS_MAX; l++)
                for (uint32_t m = 0; m < world->n_messages[l]; m++)
                        view_rebase(&world->messages[l][m].view, location, base);
        for (uint32_t t = 0; t < n_threads; t++) {
                view_rebase(&world->threads[t].now, location, base);
                view_rebase(&world->threads[t].acquirable, location, base);
                view_rebase(&world->threads[t].released, location, base);
        }
        view_rebase(&world->lock_view, location, base);
}

static void world_forget(struct explorer_world *world, const struct explorer_program *program)
{
        for (uint32_t t = 0; t < program->n_threads; t++) {
                struct explorer_thread *thread = &world->threads[t];

                if (!thread->is_done)
                        continue;
                memset(&thread->now, 0, sizeof(thread->now));
                memset(&thread->acquirable, 0, sizeof(thread->acquirable));
                memset(&thread->released, 0, sizeof(thread->released));
        }
        for (uint32_t l = 0; l < program->n_locations; l++)
                location_forget(world, program->n_threads, l);
}

/* ---- the search ---- */

struct seen {
        XXH128_hash_t *slots; /* all zero: free */
        uint64_t capacity;
        uint64_t n;
};

struct search {
        const struct explorer_program *program;
        struct explorer_result *result;
        struct seen seen;
        struct {
                uint32_t thread;
                char text[sizeof(((struct explorer_step *)0)->text)];
        } path[DEPTH_MAX];
};

static bool seen_insert(struct seen *seen, XXH128_hash_t hash)
{
        uint64_t at = hash.low64 & (seen->capacity - 1);

        while (seen->slots[at].low64 || seen->slots[at].high64) {
                if (XXH128_isEqual(seen->slots[at], hash))
                        return false;
                at = (at + 1) & (seen->capacity - 1);
        }
        seen->slots[at] = hash;
        seen->n++;
        return true;
}

static bool seen_add(struct seen *seen, const struct explorer_world *world)
{
        if (seen->n * 2 >= seen->capacity) {
                struct seen grown = {.capacity = seen->capacity ? seen->capacity * 2 : 1 << 16};

                grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
                lanemap_check(grown.slots);
                for (uint64_t i = 0; i < seen->capacity; i++)
                        if (seen->slots[i].low64 || seen->slots[i].high64)
                                (void)seen_insert(&grown, seen->slots[i]);
                free(seen->slots);
                *seen = grown;
        }

        return seen_insert(seen, XXH3_128bits(world, sizeof(*world)));
}

static void trace_print(const struct search *search, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                printf("    %*sthread %u: %s\n", (int)search->path[i].thread * 4, "",
                       search->path[i].thread, search->path[i].text);
}

static void search_visit(struct search *search, const struct explorer_world *world, uint32_t depth);

/* One step of one thread, for every choice that it has. */
static void search_thread(struct search *search, const struct explorer_world *world,
                          uint32_t thread, uint32_t depth)
{
        struct explorer_step step = {.program = search->program, .thread = thread};

        do {
                struct explorer_world next = *world;

                step.world = &next;
                step.n_choices = 1;
                step.text[0] = '\0';
                search->program->run(&step);
                search->path[depth].thread = thread;
                memcpy(search->path[depth].text, step.text, sizeof(step.text));
                if (step.is_violation) {
                        search->result->is_violated = true;
                        trace_print(search, depth + 1);
                        return;
                }

                world_forget(&next, search->program);
                if (seen_add(&search->seen, &next))
                        search_visit(search, &next, depth + 1);
        } while (++step.choice < step.n_choices && !search->result->is_violated);
}

static void search_visit(struct search *search, const struct explorer_world *world, uint32_t depth)
{
        const struct explorer_program *program = search->program;
        bool is_end = true;

        lanemap_check(depth + 1 < DEPTH_MAX);
        for (uint32_t t = 0; t < program->n_threads && !search->result->is_violated; t++) {
                if (world->threads[t].is_done)
                        continue;

                is_end = false;
                if (!program->is_enabled || program->is_enabled(program, world, t))
                        search_thread(search, world, t, depth);
        }
        if (!is_end)
                return;

        search->result->n_ends++;
        if (program->finish) {
                struct explorer_world end = *world;
                struct explorer_step step = {.program = program, .world = &end};

                program->finish(&step);
                if (step.is_violation) {
                        search->result->is_violated = true;
                        trace_print(search, depth);
                        printf("    end%s\n", step.text);
                }
        }
}

void explorer_run(const struct explorer_program *program, struct explorer_result *ret_result)
{
        struct search *search = calloc(1, sizeof(*search));
        struct explorer_world world;

        lanemap_check(search);
        memset(&world, 0, sizeof(world));
        for (uint32_t l = 0; l < program->n_locations; l++)
                world.n_messages[l] = 1;
        program->init(program, &world);

        *ret_result = (struct explorer_result){0};
        search->program = program;
        search->result = ret_result;
        (void)seen_add(&search->seen, &world);
        search_visit(search, &world, 0);
        ret_result->n_states = search->seen.n;
        free(search->seen.slots);
        free(search);
}
