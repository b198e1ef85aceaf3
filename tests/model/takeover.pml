/*
 * Takeover by interleaving: a writer dies between any two steps of an operation, a flip or a
 * takeover (src/FORMAT.md section 5); the next one, which has been waiting for the lock, takes
 * over; readers attach, look up and follow all the while.
 *
 * A reader makes one lookup, which may begin any time after it has attached: more would show nothing
 * that this one does not, since it is compared with what is true when it begins.
 *
 * One key. Operation number v makes it say v; an object holds it in two blocks, used in turn, so
 * that every operation overwrites what the one before the last wrote, through W. The log outlives
 * its writer (a process dies here, not the machine), the arena's stamps do not. A dead process'
 * mappings and lock are gone, its objects are not.
 *
 *   T1  a lookup that begins after an operation was acknowledged tells it, or a later one (R10)
 *   T2  no answer comes from a generation older than the one in force when the lookup began
 *   T3  what is answered was published in that object: no half-made object, no overwritten block
 *   T4  who attaches finds the object of the generation word, or the word has moved on
 *   T5  never more than two objects have a name, and each is in force, about to be, or was the one
 *       before: what a crash left is gone after the next takeover
 *   T6  at the end one object is left, the one in force
 */
#define NO_GENERATION_CHECK 1 /* the reader goes on in the object that it has */
#define PUBLISHED_EARLY     2 /* the generation word stored before the log is replayed */
#define UNLINKED_EARLY      3 /* the predecessor's object unlinked before the new one is in force */
#define LEFTOVERS_STAY      4 /* a takeover unlinks only its predecessor's object */
#define EPOCH_RESTARTS      5 /* E and W begin again once the new generation is published */
#define REPLY_BEFORE_LOG    6 /* an operation is acknowledged before it is in the log */
#define NO_LOCK             7 /* a second writer does not wait for the end of the first */
#ifndef SABOTAGE
#define SABOTAGE 0
#endif

#ifndef N_READERS
#define N_READERS 1
#endif
#ifndef N_WRITERS
#define N_WRITERS 2
#endif
#ifndef N_OPS
#define N_OPS 2 /* of each writer */
#endif
#define N_TRIES   3
#define N_OBJECTS 8
#define FOREIGN   99

/* the control object */
byte E = 1, W = 0, generation = 0;

/* data objects, 1 .. n_objects */
byte n_objects = 0;
bool linked[N_OBJECTS];
byte word[N_OBJECTS];         /* which block */
byte block[2 * N_OBJECTS];
byte visible[N_OBJECTS];      /* the last operation published in it */
byte newest = 0;              /* made last; nobody is told before it is published (S2) */
byte previous = 0;            /* the generation before */
byte n_linked = 0;

/* the data directory */
bool locked = false;
byte n_dead = 0; /* the writers come in turn: who waits is the same as the next */
byte logged = 0;
byte acknowledged = 0;

#define may_die                 \
        if                      \
        :: true                 \
        :: me < N_WRITERS -> goto dead \
        fi

inline object_unlink(g)
{
        d_step {
                if
                :: linked[g] ->
                        linked[g] = false;
                        n_linked--
                :: else
                fi
        }
}

inline judge() /* T5 */
{
        assert(n_linked <= 2);
        j = 1;
        do
        :: j <= n_objects ->
                assert(!linked[j] || j == generation || j == newest || j == previous);
                j++
        :: else -> break
        od;
        j = 0
}

inline object_create(g)
{
        d_step {
                n_objects++;
                g = n_objects
        };
        may_die;
        atomic {
                newest = g;
                linked[g] = true;
                n_linked++;
                word[g] = 0;
                block[2 * g] = FOREIGN;
                block[2 * g + 1] = FOREIGN;
                stamp[0] = 0;
                stamp[1] = 0;
                judge()
        }
}

inline publish(g)
{
        atomic {
                previous = generation;
                generation = g;
                judge()
        }
}

/* The key says v in object g: into the block that is not in use. */
inline change(g, v)
{
        b = 1 - word[g];
        if
        :: stamp[b] > W -> W = stamp[b]
        :: else
        fi;
        block[2 * g + b] = FOREIGN; /* the bytes change one after the other */
        may_die;
        block[2 * g + b] = v;
        d_step {
                word[g] = b;
                visible[g] = v
        };
        may_die
}

inline end_batch()
{
        stamp[1 - b] = E + 1;
        E = E + 1;
        may_die
}

inline unlink_others(keep)
{
        i = 1;
        do
        :: i <= n_objects ->
                if
                :: i != keep && linked[i] ->
                        object_unlink(i);
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
        byte g, old, b, i, j, v, n_ops, stamp[2];
        bool has_flipped;

        /* takeover */
        if
        :: atomic { (!locked && n_dead == me - 1) || SABOTAGE == NO_LOCK -> locked = true }
        fi;
        old = generation;
        may_die;
        if
        :: SABOTAGE == LEFTOVERS_STAY
        :: SABOTAGE == UNLINKED_EARLY -> unlink_others(0)
        :: else -> unlink_others(old)
        fi;
        object_create(g);
        may_die;
        if
        :: SABOTAGE == PUBLISHED_EARLY -> publish(g)
        :: else
        fi;
        v = logged;
        change(g, 0); /* the replay overwrites what it has written itself */
        end_batch();
        if
        :: v > 0 ->
                change(g, v);
                end_batch()
        :: else
        fi;
        if
        :: SABOTAGE != PUBLISHED_EARLY -> publish(g)
        :: else
        fi;
        may_die;
        if
        :: SABOTAGE == LEFTOVERS_STAY && old != 0 -> object_unlink(old)
        :: SABOTAGE == LEFTOVERS_STAY && old == 0
        :: else -> unlink_others(g)
        fi;
        may_die;
        if
        :: SABOTAGE == EPOCH_RESTARTS ->
                W = 0;
                E = 1;
                stamp[0] = 1;
                stamp[1] = 1
        :: else
        fi;

        do
        :: n_ops < N_OPS -> /* an operation */
                n_ops++;
                v++;
                change(g, v);
                if
                :: SABOTAGE == REPLY_BEFORE_LOG -> acknowledged = v
                :: else
                fi;
                may_die;
                logged = v;
                may_die;
                end_batch();
                acknowledged = v;
                may_die
        :: !has_flipped && me == 2 -> /* a flip: what is there, copied */
                has_flipped = true;
                old = g;
                object_create(g);
                may_die;
                change(g, v);
                publish(g);
                may_die;
                object_unlink(old);
                may_die
        :: n_ops == N_OPS -> break
        od;
        if
        :: me < N_WRITERS -> goto dead
        :: else -> assert(n_linked == 1 && linked[generation]); /* T6 */
        fi;
        goto end;
dead:
        atomic {
                locked = false;
                n_dead++;
                g = 0; old = 0; b = 0; i = 0; v = 0; n_ops = 0; stamp[0] = 0; stamp[1] = 0;
                has_flipped = false
        };
end:    skip
}

proctype reader()
{
        byte attached, g, e, w, c, least, least_generation, tries;
        bool is_done;

        do
        :: !is_done && attached == 0 ->
                atomic { generation != 0 -> g = generation };
                atomic {
                        if
                        :: linked[g] -> attached = g
                        :: else -> assert(generation != g) /* T4; otherwise again */
                        fi;
                        g = 0
                }
        :: !is_done && attached != 0 ->
                atomic {
                        if
                        :: tries == 0 ->
                                least = acknowledged;
                                least_generation = generation
                        :: else
                        fi;
                        e = E
                };
                if
                :: generation != attached && SABOTAGE != NO_GENERATION_CHECK ->
                        attached = 0;
                        tries = 1 /* the same lookup goes on: what it may not be older than stays */
                :: else ->
                        w = word[attached];
                        c = block[2 * attached + w];
                        if
                        :: atomic {
                                W <= e ->
                                assert(c != FOREIGN);                 /* T3 */
                                assert(c <= visible[attached]);       /* T3 */
                                assert(c >= least);                   /* T1 */
                                assert(attached >= least_generation); /* T2 */
                                is_done = true
                           }
                        :: atomic {
                                else ->
                                tries++;
                                if
                                :: tries == N_TRIES -> is_done = true /* -EAGAIN is no answer */
                                :: else
                                fi
                           }
                        fi;
                        d_step {
                                e = 0;
                                w = 0;
                                c = 0;
                                if
                                :: is_done ->
                                        least = 0;
                                        least_generation = 0;
                                        attached = 0;
                                        tries = 0
                                :: else
                                fi
                        }
                fi
        :: is_done -> break
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
                i = 0;
                do
                :: i < N_READERS ->
                        i++;
                        run reader()
                :: else -> break
                od
        }
}
