/*
 * Segment files by interleaving: retired and unlinked while readers open them (src/FORMAT.md
 * section 5, "a flush or merge" and "a takeover"; reader/files.c, writer/compact/commit.c).
 *
 * One key. Operation v makes it say v, in the overlay; operations on others are flushes, here. A flush
 * writes what the key says into a file with a new number, names it in the manifest, swaps the view, unlinks the file before. A
 * writer dies between any two steps; the next one makes a view out of manifest and log in a new
 * generation, publishes it, and removes the files that the manifest does not name. A reader looks
 * up with a table of mapped files by slot; where the view's file is not there, it opens it by name;
 * ENOENT means that the view is old: again. Views are immutable, told here by their number.
 *
 *   F1  an answer is not older than what was acknowledged when the lookup began, and was published
 *   F2  no file of another number is taken for the one that the view names
 *   F3  a file that is gone is an error only if neither generation nor view has changed, which never
 *       happens
 *   F4  at the end only the file that the manifest names has a name
 */
#define UNLINKED_BEFORE_SWAP  1 /* the old file unlinked before the view that does without it */
#define GARBAGE_BEFORE_WORD   2 /* a takeover removes unnamed files before its generation is in force */
#define SLOT_IS_ENOUGH        3 /* the reader does not compare the number of what is in the slot */
#define NUMBER_USED_AGAIN     4 /* a new file under the name of the one before */
#define MANIFEST_AFTER_UNLINK 5 /* the old file unlinked before the manifest that does without it */
#define GONE_IS_AN_ERROR      6 /* the reader does not look whether the view has changed */
#ifndef SABOTAGE
#define SABOTAGE 0
#endif

#ifndef N_WRITERS
#define N_WRITERS 2
#endif
#ifndef N_FLUSHES
#define N_FLUSHES 2
#endif
#define N_FILES  6
#define N_VIEWS  16
#define N_SLOTS  2

/* shared memory: views never change, the word does */
byte view = 0, n_views = 0;
byte view_file[N_VIEWS];      /* 0: none */
byte view_overlay[N_VIEWS];   /* 0: nothing of the key */
byte view_generation[N_VIEWS];
byte generation = 0;

/* the data directory */
bool there[N_FILES];
byte content[N_FILES];
byte n_files = 0;
byte manifest = 0;
byte logged = 0;

byte acknowledged = 0, published = 0;
bool locked = false;
byte n_dead = 0;

#define may_die                        \
        if                             \
        :: true                        \
        :: me < N_WRITERS -> goto dead \
        fi

inline view_make(f, o, g)
{
        d_step {
                n_views++;
                view_file[n_views] = f;
                view_overlay[n_views] = o;
                view_generation[n_views] = g
        }
}

inline garbage_remove()
{
        i = 1;
        do
        :: i < N_FILES ->
                if
                :: there[i] && i != manifest ->
                        there[i] = false;
                        may_die
                :: else
                fi;
                i++
        :: else -> break
        od;
        i = 0
}

proctype writer(byte me)
{
        byte f, old, i, v, n_flushes;

        atomic { !locked && n_dead == me - 1 -> locked = true };

        /* takeover: what the log has is in the new overlay */
        f = manifest;
        if
        :: SABOTAGE == GARBAGE_BEFORE_WORD -> garbage_remove()
        :: else
        fi;
        view_make(f, logged, generation + 1);
        may_die;
        atomic {
                generation = generation + 1;
                view = n_views;
                v = logged /* what a crash undoes was published all the same */
        };
        may_die;
        garbage_remove();

        do
        :: n_flushes < N_FLUSHES ->
                n_flushes++;
                if
                :: true -> /* an operation */
                        v++;
                        atomic {
                                view_make(f, v, generation);
                                view = n_views;
                                if
                                :: v > published -> published = v
                                :: else
                                fi
                        };
                        may_die;
                        logged = v;
                        acknowledged = v;
                        may_die
                :: true /* on another key: nothing of this one in the overlay */
                fi;

                /* a flush */
                old = f;
                if
                :: SABOTAGE == NUMBER_USED_AGAIN && old != 0 ->
                        there[old] = false;
                        f = old
                :: else ->
                        atomic { n_files++; f = n_files }
                fi;
                atomic {
                        content[f] = v;
                        there[f] = true
                };
                may_die;
                if
                :: SABOTAGE == MANIFEST_AFTER_UNLINK && old != 0 ->
                        there[old] = false;
                        may_die
                :: else
                fi;
                manifest = f;
                may_die;
                if
                :: SABOTAGE == UNLINKED_BEFORE_SWAP && old != 0 ->
                        there[old] = false;
                        may_die
                :: else
                fi;
                atomic {
                        view_make(f, 0, generation);
                        view = n_views
                };
                may_die;
                if
                :: old != 0 && old != f -> there[old] = false
                :: else
                fi;
                may_die
        :: else -> break
        od;
        if
        :: me < N_WRITERS -> goto dead
        :: else ->
                i = 1;
                do
                :: i < N_FILES ->
                        assert(there[i] == (i == manifest)); /* F4 */
                        i++
                :: else -> break
                od
        fi;
        goto end;
dead:
        atomic {
                locked = false;
                n_dead++;
                f = 0; old = 0; i = 0; v = 0; n_flushes = 0
        };
end:    skip
}

proctype reader()
{
        byte s, least, said, n_lookups, number;
        byte mapped[N_SLOTS]; /* number of the file, and what is in it: a mapping never changes */
        byte mapped_content[N_SLOTS];
        bool is_done;

        generation != 0;
        do
        :: n_lookups < 2 ->
                n_lookups++;
                is_done = false;
                least = acknowledged;
                do
                :: !is_done ->
                        atomic {
                                s = view;
                                number = view_file[s];
                                said = view_overlay[s]
                        };
                        if
                        :: said != 0 -> is_done = true
                        :: said == 0 && number == 0 -> is_done = true
                        :: else ->
                                if
                                :: mapped[number % N_SLOTS] == number ||
                                   (SABOTAGE == SLOT_IS_ENOUGH && mapped[number % N_SLOTS] != 0) ->
                                        assert(mapped[number % N_SLOTS] == number); /* F2 */
                                        said = mapped_content[number % N_SLOTS];
                                        is_done = true
                                :: else ->
                                        atomic {
                                                if
                                                :: there[number] ->
                                                        mapped[number % N_SLOTS] = number;
                                                        mapped_content[number % N_SLOTS] =
                                                                content[number]
                                                :: else ->
                                                        /* F3: the word first, then the name would be
                                                         * no proof: it is looked at behind it */
                                                        assert(SABOTAGE != GONE_IS_AN_ERROR);
                                                        assert(view != s)
                                                fi
                                        }
                                fi
                        fi
                :: else -> break
                od;
                atomic {
                        assert(said >= least);     /* F1 */
                        assert(said <= published); /* F1 */
                        said = 0; least = 0; number = 0; s = 0
                }
        :: else -> break
        od
}

init
{
        byte i;

        atomic {
                do
                :: i < N_WRITERS ->
                        i++;
                        run writer(i)
                :: else -> break
                od;
                run reader()
        }
}
